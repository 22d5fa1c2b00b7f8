//! What the watch over alarms is told.

use std::sync::Arc;

use crate::accounting::ledger::Tallied;
use crate::occupancy::Door;
use crate::units::{Hash, Height};

/// Something that a [`Watch`](super::Watch) is told.
pub enum Sign {
    /// The chain has a new tip.
    Tip(Hash),
    /// There is a template on this block.
    Template(Hash),
    /// Why there can be no job.
    NoTemplate(String),
    /// A block was found and offered to the node; none knows by whom when it is of an earlier run.
    Found(Hash, Height, Option<Arc<str>>),
    /// What has become of a block.
    Block(Hash, Option<Height>, Fate),
    /// How the ledger is.
    Ledger(LedgerSign),
    /// The node knows less of the chain than the ledger was shown, up to this height; or no longer.
    Behind(Option<Height>),
    /// Whether the ledger that several servers share can be reached.
    Link(LinkSign),
    /// What threads have left undone for too long, by its name.
    Duties(Vec<&'static str>),
    /// Whether another server that is alive has this one's name.
    Twin(bool),
    /// What the node should have answered long ago; none where there is nothing.
    Overdue(Option<String>),
    /// How long the ledger's log is, in bytes.
    Log(u64),
    /// What miners have sent.
    Work(Vec<Tallied>),
    /// How full the sockets are.
    Door(Door),
    /// Whether the operator has the server drained.
    Drain(Draining),
    /// The pool has failed and begins anew.
    PoolFailed,
    /// The server stops.
    Stop,
    /// Time has passed.
    Tick,
}

/// Whether the server is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draining {
    /// It takes no connections, as ordered.
    Yes,
    /// It does.
    No,
}

/// What has become of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// On the main chain.
    Accepted,
    /// Its reward can be spent.
    Confirmed,
    /// Valid, and not on the main chain.
    Orphaned,
    /// Not taken by the node, for this reason.
    Refused(String),
}

/// How the ledger is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerSign {
    /// Shares are taken.
    Fine,
    /// Shares wait for another process.
    Stalled,
    /// Shares are refused, for this reason.
    Failing(String),
}

/// Whether the ledger that several servers share can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkSign {
    /// It can.
    Up,
    /// It cannot, for this reason.
    Down(String),
}
