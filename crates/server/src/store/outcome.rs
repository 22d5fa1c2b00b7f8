//! What becomes of what the ledger was told, for all who wait to hear of it.

use std::sync::mpsc::Sender;

use hstratum_core::event::Level;
use hstratum_core::ledger::BlockState;
use hstratum_core::units::{Hash, Height, Seq};

use super::ledger::BlockChange;

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
    Locate(Vec<Hash>),
    /// The node's height, and whether it saw the shared ledger's blocks on its main chain.
    Seen(Height, Vec<(Hash, bool)>),
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
            Self::Moved(change) => tell(change),
            Self::Log(level, text) => (*level, text.clone()),
            _ => return None,
        })
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
