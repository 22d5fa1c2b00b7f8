//! The machine's clock.

use std::time::SystemTime;

/// Current time in Unix seconds; 0 before 1970.
pub(crate) fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
