//! What becomes of what the ledger was told, for all who wait to hear of it.

use std::sync::mpsc::Sender;

use hstratum_core::accounting::ledger::{BlockState, Knowledge, View};
use hstratum_core::event::Level;
use hstratum_core::units::{Hash, Seq};

use super::ledger::BlockChange;
use crate::node::{Asked, Look};

/// What others are to be told.
pub enum Outcome {
    /// Everything up to here is durable.
    Durable(Seq),
    /// What is not durable up to here was given up.
    NotDurable(Seq),
    /// The disk refuses, for this reason: shares are refused.
    Failing(String),
    /// It takes shares again.
    Recovered,
    /// The spool may forget this block.
    Answered(Hash),
    /// A block's dump is owed.
    DumpOwed,
    /// Ask the node where these are.
    Locate(Vec<Asked>),
    /// What the node knows, and where it saw the shared ledger's blocks.
    Seen(Look),
    /// What the node knows of the chain is enough now, or no longer.
    Knows(Knowledge),
    /// The same, each time that it looked.
    Weighed(View, Knowledge),
    /// Whether the address is kept.
    AddressKept(Sender<anyhow::Result<()>>, anyhow::Result<()>),
    /// Shares wait for another process that writes.
    Stalled,
    /// They do no more, after so many seconds.
    Free(u64),
    /// A look at the chain has brought a block to another state.
    Moved(BlockChange),
    /// For the operator.
    Log(Level, String),
}

impl Outcome {
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

/// The line for what the node knows of the chain.
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

/// The line for a block that a look at the chain has brought to another state. Verdicts are told by
/// the pool.
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
