//! How late the node's event loop is, as the node itself measures it now and then, what it should
//! have answered long ago, and whether it knows less of the chain than it should.

use std::sync::{Mutex, MutexGuard};

use hstratum_core::units::Height;

/// Delays of one period, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lag {
    /// The mean.
    pub mean_s: f64,
    /// The greatest but one in a hundred.
    pub p99_s: f64,
    /// The greatest.
    pub max_s: f64,
}

/// The last that was told of each.
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

    /// What the node has not answered, and for how long at least.
    pub(crate) fn overdue(&self) -> Option<String> {
        lock(&self.overdue).clone()
    }

    pub(crate) fn set_behind(&self, height: Option<Height>) {
        *lock(&self.behind) = height;
    }

    /// That it knows less of the chain than a ledger was shown.
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
