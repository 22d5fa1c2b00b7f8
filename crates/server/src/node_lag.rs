//! How late the node's event loop is, as the node itself measures it now and then.

use std::sync::Mutex;

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

/// The last one told.
#[derive(Default)]
pub(crate) struct NodeLag(Mutex<Option<Lag>>);

impl NodeLag {
    pub(crate) fn tell(&self, lag: Lag) {
        *self.0.lock().expect("nothing panics while it is held") = Some(lag);
    }

    pub(crate) fn read(&self) -> Option<Lag> {
        *self.0.lock().expect("nothing panics while it is held")
    }
}
