//! Statistics written long after their time, because a database or a disk was away. Such hours are recorded,
//! so that cached sums of them (the pool's chart, hashrates of the last day) are read again.

use std::collections::BTreeSet;

use super::group_commit::SPAN_S;
use crate::sql::signed;

/// Step in seconds in which late statistics are recorded.
pub(crate) const LATE_STEP_S: i64 = 3_600;

/// Seconds after a span's end during which nobody has cached its sum yet, with a margin for differing clocks.
const LATE_S: u64 = 300;

/// Hours, each once, of those spans that ended long ago.
pub(crate) fn late_hours(starts: impl Iterator<Item = i64>, unix_s: u64) -> Vec<i64> {
    let latest = signed(unix_s.saturating_sub(SPAN_S + LATE_S));
    let late = starts.filter(|start| *start < latest);
    let hours: BTreeSet<i64> = late.map(|start| start - start % LATE_STEP_S).collect();
    hours.into_iter().collect()
}
