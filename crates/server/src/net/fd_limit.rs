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

/// Raises the limit, and gives how many connections fit, each of so many descriptors beside those that are
/// kept; and a line for the operator where that is less than was wanted.
pub(crate) fn conns_max(wanted: usize, kept: usize, each: usize) -> (usize, Option<String>) {
    let allowed = raise();
    let fitting = (allowed.saturating_sub(kept) / each).max(1);
    let lowered = (fitting < wanted).then(|| {
        format!(
            "max-inbound is lowered from {wanted} to {fitting}: only {allowed} file descriptors are \
             allowed; raise LimitNOFILE (systemd) or ulimit -n"
        )
    });
    (fitting.min(wanted), lowered)
}

/// Descriptors that the process may still open; none where the system does not say how many are open
/// without listing them (Linux 6.2 and later do, in the size of /proc/self/fd).
pub(crate) fn left() -> Option<u64> {
    let open = std::fs::metadata("/proc/self/fd").ok()?.len();
    let limit = getrlimit(Resource::Nofile).current?;
    (open > 0).then(|| limit.saturating_sub(open))
}
