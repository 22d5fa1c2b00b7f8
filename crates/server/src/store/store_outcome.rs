//! Results of the ledger's work, and their log lines.

use std::sync::mpsc::Sender;

use hstratum_core::accounting::ledger::{BlockState, ChainView, Knowledge};
use hstratum_core::event::Level;
use hstratum_core::units::{Hash, Seq};

use super::ledger::BlockChange;
use crate::node::{BlockQuery, Look};

/// A result that another thread is told.
pub enum StoreOutcome {
    /// Every share up to this one is durable.
    Durable(Seq),
    /// Shares up to this one that are not durable were given up.
    NotDurable(Seq),
    /// The disk refuses, for this reason: shares are refused.
    Failing(String),
    /// The disk accepts writes again.
    RecoveredState,
    /// The spool may drop this block.
    Answered(Hash),
    /// A share dump is owed.
    DumpOwed,
    /// The node is to be asked where these blocks are.
    Locate(Vec<BlockQuery>),
    /// The node's view, and where it saw the shared ledger's blocks.
    Seen(Look),
    /// The node's knowledge of the chain has become sufficient, or no longer is.
    Knows(Knowledge),
    /// The node's view and knowledge, after each look.
    Weighed(ChainView, Knowledge),
    /// Answer to whoever waits for an address to be stored.
    AccountKept(Sender<anyhow::Result<()>>, anyhow::Result<()>),
    /// Shares wait while another process writes.
    Stalled,
    /// Another process has released the ledger, after this many seconds.
    Free(u64),
    /// A look at the chain has changed a block's state.
    Moved(BlockChange),
    /// A log line for the operator.
    Log(Level, String),
}

impl StoreOutcome {
    /// Its log line, if it has one.
    pub fn line(&self) -> Option<(Level, String)> {
        Some(match self {
            Self::Stalled => {
                let text = "the ledger is being written to by another process: shares wait for it";
                (Level::Warning, text.to_owned())
            }
            Self::Free(seconds) => {
                let text = format!("the ledger is free again after {seconds} s");
                (Level::Info, text)
            }
            Self::Knows(knowledge) => say(*knowledge),
            Self::Moved(change) => tell(change),
            Self::Log(level, text) => (*level, text.clone()),
            _ => return None,
        })
    }
}

/// Log line for a change of the node's knowledge.
fn say(knowledge: Knowledge) -> (Level, String) {
    let wait = "no block is called confirmed or orphaned, and payouts wait";
    match knowledge {
        Knowledge::Enough => {
            let text = "the node has caught up with the chain that this ledger was shown";
            (Level::Info, text.to_owned())
        }
        Knowledge::Unsynced => (
            Level::Info,
            format!("the node is not synchronized: until it is, {wait}"),
        ),
        Knowledge::Tied(tip) => (
            Level::Info,
            format!(
                "the node has another tip than this ledger was shown, with as much work as {} {}: \
                 until one of the two has more, {wait}",
                tip.height.0, tip.hash
            ),
        ),
        Knowledge::Behind(tip) => (
            Level::Warning,
            format!(
                "the node knows less of the chain than this ledger was shown, up to {} {}: until it has \
                 caught up, {wait}",
                tip.height.0, tip.hash
            ),
        ),
    }
}

/// Log line for a block whose state a look at the chain has changed. Verdicts are logged by the pool.
fn tell(change: &BlockChange) -> (Level, String) {
    let (level, what) = match (change.from, change.to) {
        (_, BlockState::Confirmed) => (Level::Info, "block confirmed"),
        (_, BlockState::Orphaned) => (Level::Warning, "block orphaned, no reward"),
        (BlockState::Confirmed, _) => (Level::Warning, "block no longer deep enough"),
        (BlockState::Found, _) => (Level::Info, "block on the main chain"),
        (_, _) => (Level::Info, "block back on the main chain"),
    };
    (
        level,
        format!("{what}: {} {}", change.height.0, change.hash),
    )
}
