//! The process's limit of open file descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, and returns the limit.
pub(crate) fn raise() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current.map_or(usize::MAX, |current| {
        usize::try_from(current).unwrap_or(usize::MAX)
    })
}

/// Number of descriptors that the process may still open; `None` if the system does not report the number of
/// open ones without listing them (Linux 6.2 and later do, in the size of /proc/self/fd).
pub(crate) fn left() -> Option<u64> {
    let open = std::fs::metadata("/proc/self/fd").ok()?.len();
    let limit = getrlimit(Resource::Nofile).current?;
    (open > 0).then(|| limit.saturating_sub(open))
}
