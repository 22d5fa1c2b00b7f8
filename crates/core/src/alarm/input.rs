//! The reports from which alarms are derived.

use std::sync::Arc;

use crate::accounting::ledger::Tallied;
use crate::occupancy::Occupancy;
use crate::units::{Hash, Height};

/// One report to a [`AlarmMonitor`](super::AlarmMonitor).
pub enum AlarmInput {
    /// The chain has a new tip.
    Tip(Hash),
    /// There is a template on this block.
    Template(Hash),
    /// The node has no template, for this reason.
    NoTemplate(String),
    /// The node's reason to refuse the block of its template; none once templates are valid again.
    TemplateInvalid(Option<String>),
    /// The outcome of a drill: the reason why a found block would be lost, or none.
    BlockPath(Option<String>),
    /// A block was found and offered to the node. The account is unknown for a block of an earlier run.
    Found(Hash, Height, Option<Arc<str>>),
    /// The state of a block has changed.
    Block(Hash, Option<Height>, BlockOutcome),
    /// The state of the ledger.
    Ledger(LedgerInput),
    /// The node has less work than the ledger was shown, up to this height; `None` once it has caught up.
    Behind(Option<Height>),
    /// The payouts that the server makes.
    Payout(PayoutInput),
    /// The connection to the ledger that several servers share.
    Link(SharedLedgerInput),
    /// Names of the background tasks that have not been done for too long.
    Duties(Vec<&'static str>),
    /// True while another server that is alive has this one's name.
    Twin(bool),
    /// The question that the node has not answered for too long; `None` if there is none.
    Overdue(Option<String>),
    /// Size of the ledger's log, in bytes.
    Log(u64),
    /// Shares submitted by miners.
    Work(Vec<Tallied>),
    /// Occupancy of the sockets.
    Occupancy(Occupancy),
    /// The operator has started or ended a drain.
    Drain(Draining),
    /// The pool has failed and is started anew.
    PoolFailed,
    /// The server stops.
    Stop,
    /// Time has passed.
    Tick,
}

/// State of a drain ordered by the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draining {
    /// The server takes no connections, as ordered.
    Yes,
    /// The server takes connections.
    No,
}

/// The state of a block after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockOutcome {
    /// On the main chain.
    Accepted,
    /// On the main chain, deep enough that its reward can be spent.
    Confirmed,
    /// Valid, but not on the main chain.
    Orphaned,
    /// Refused by the node, for this reason.
    Refused(String),
    /// Without a verdict of the node, for this reason.
    Unjudged(String),
}

/// State of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerInput {
    /// Shares are taken.
    Fine,
    /// Shares wait, because another process is writing to the ledger.
    Stalled,
    /// Shares are refused, for this reason.
    Failing(String),
}

/// A report of the thread that pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayoutInput {
    /// A payment was made: amount, number of accounts, transaction.
    Sent(String),
    /// A run came to its end.
    Well,
    /// A run met this obstacle.
    Failed(String),
}

/// State of the connection to the ledger that several servers share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SharedLedgerInput {
    /// The ledger can be reached.
    Up,
    /// The ledger cannot be reached, for this reason.
    Down(String),
}
