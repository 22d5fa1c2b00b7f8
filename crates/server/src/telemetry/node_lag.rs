//! Health of the node: the delay of its event loop, as the node measures it, a request that it has not
//! answered in time, and whether it knows less chain work than the ledgers were shown.

use std::sync::{Mutex, MutexGuard};

use hstratum_core::units::Height;

/// Delays of the event loop in one period, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lag {
    /// Mean.
    pub mean_s: f64,
    /// 99th percentile.
    pub p99_s: f64,
    /// Maximum.
    pub max_s: f64,
}

/// The last report of each kind.
#[derive(Default)]
pub(crate) struct NodeLag {
    lag: Mutex<Option<Lag>>,
    overdue: Mutex<Option<String>>,
    behind: Mutex<Option<Height>>,
}

impl NodeLag {
    pub(crate) fn tell(&self, lag: Lag) {
        *lock(&self.lag) = Some(lag);
    }

    pub(crate) fn read(&self) -> Option<Lag> {
        *lock(&self.lag)
    }

    pub(crate) fn set_overdue(&self, what: Option<String>) {
        *lock(&self.overdue) = what;
    }

    /// Message about a request that the node has not answered, with its age.
    pub(crate) fn overdue(&self) -> Option<String> {
        lock(&self.overdue).clone()
    }

    pub(crate) fn set_behind(&self, height: Option<Height>) {
        *lock(&self.behind) = height;
    }

    /// Message that the node knows less of the chain than a ledger was shown.
    pub(crate) fn behind(&self) -> Option<String> {
        lock(&self.behind).map(|height| {
            format!(
                "it knows less of the chain than the ledger was shown, up to height {}",
                height.0
            )
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it is held")
}
