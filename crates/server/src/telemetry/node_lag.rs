//! Health of the node: the delay of its event loop, as the node measures it, a request that it has not
//! answered in time, whether it knows less chain work than the ledgers were shown, and whether it would
//! refuse the block of its own template or of a drill.

use hstratum_core::units::Height;
use parking_lot::Mutex;

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
    invalid: Mutex<Option<String>>,
    block_path: Mutex<BlockPath>,
}

/// Outcome of the last drill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BlockPath {
    /// None has ended yet.
    #[default]
    Untried,
    /// A found block would be built and accepted.
    Works,
    /// A found block would be lost, for this reason.
    Broken(String),
}

impl NodeLag {
    pub(crate) fn tell(&self, lag: Lag) {
        *self.lag.lock() = Some(lag);
    }

    pub(crate) fn read(&self) -> Option<Lag> {
        *self.lag.lock()
    }

    pub(crate) fn set_overdue(&self, what: Option<String>) {
        *self.overdue.lock() = what;
    }

    /// Message about a request that the node has not answered, with its age.
    pub(crate) fn overdue(&self) -> Option<String> {
        self.overdue.lock().clone()
    }

    pub(crate) fn set_invalid(&self, reason: Option<String>) {
        *self.invalid.lock() = reason;
    }

    /// The node's reason to refuse the block of its own template.
    pub(crate) fn invalid(&self) -> Option<String> {
        self.invalid.lock().clone()
    }

    pub(crate) fn set_block_path(&self, outcome: BlockPath) {
        *self.block_path.lock() = outcome;
    }

    pub(crate) fn block_path(&self) -> BlockPath {
        self.block_path.lock().clone()
    }

    /// Reason why the last drill failed.
    pub(crate) fn block_path_broken(&self) -> Option<String> {
        match self.block_path() {
            BlockPath::Broken(reason) => Some(reason),
            BlockPath::Untried | BlockPath::Works => None,
        }
    }

    pub(crate) fn set_behind(&self, height: Option<Height>) {
        *self.behind.lock() = height;
    }

    /// Message that the node knows less of the chain than a ledger was shown.
    pub(crate) fn behind(&self) -> Option<String> {
        self.behind.lock().map(|height| {
            format!(
                "it knows less of the chain than the ledger was shown, up to height {}",
                height.0
            )
        })
    }
}
