//! Interface between the decisions of `GroupCommit` and the storage: one durable transaction a call, and the few
//! reads that it needs.
//!
//! A commit writes all of its [`Batch`] or nothing. A commit that failed may have taken effect all the same,
//! so a batch of shares is offered again unchanged, and counts once.

use crate::node::{BlockQuery, Look};
use std::collections::BTreeMap;
use std::sync::Arc;

use hstratum_core::accounting::ledger::{BlockState, Credit, Knowledge, Tally, Verdict};
use hstratum_core::chain::block::FoundBlock;
use hstratum_core::units::{Hash, Height, Seq};
use thiserror::Error;

pub use crate::messages::{AccountSetting, SetAccountCommand};
use crate::sql::sqlite_schema::FileId;

/// Storage of the ledger.
pub trait Ledger {
    /// Makes a batch durable.
    ///
    /// # Errors
    /// When the batch is not known to be durable; it may be all the same.
    fn commit(&mut self, batch: &Batch) -> Result<Advanced, LedgerError>;

    /// Writes about as many bytes as a group of shares, to see whether writing works.
    ///
    /// # Errors
    /// When it does not.
    fn probe(&mut self) -> Result<(), LedgerError>;

    /// Blocks whose place in the chain may still change: those that the node is asked about next.
    ///
    /// # Errors
    /// When they cannot be read.
    fn watched(&mut self, tip: Height) -> Result<Vec<BlockQuery>, LedgerError>;

    /// One slice of compaction: merges old credit and old statistics. Sums do not change.
    ///
    /// # Errors
    /// When nothing was done.
    fn compact(&mut self, tip: Option<Height>, unix_s: u64) -> Result<Compacted, LedgerError>;
}

/// Result of a slice of compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compacted {
    /// More is left to merge.
    More,
    /// Nothing is left to merge for now.
    All,
}

/// Reason why something is not known to be durable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// Somebody else writes: it will pass.
    #[error("another process writes to it")]
    Busy,
    /// The disk refuses, or the file is no longer what it was.
    #[error("{0}")]
    Failed(String),
    /// The ledger's log, the file of this name, is gone: only a restart helps.
    #[error("{0} is missing: stop the node, see docs/ledger.md, Backup and restore")]
    LogMissing(String),
}

impl LedgerError {
    /// Advice for the operator, where trying again may help; empty else.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::Busy | Self::Failed(_) => {
                "; make room or mend the disk: it is tried again every two seconds"
            }
            Self::LogMissing(_) => "",
        }
    }
}

/// Key of equal shares: height, account and difficulty. The difficulty is stored as its bits, whose order is
/// that of the numbers since all are above zero.
pub type ShareKey = (Height, Arc<str>, u64);

/// Shares that are made durable together.
#[derive(Debug, Clone, Default)]
pub struct ShareGroup {
    /// First and last sequence number.
    pub range: Option<(Seq, Seq)>,
    /// Number of shares of each key.
    pub counts: BTreeMap<ShareKey, u64>,
    /// Network difficulty at the heights.
    pub heights: BTreeMap<Height, f64>,
}

impl ShareGroup {
    /// Counts a share. Shares come in the order of their sequence numbers.
    pub fn add(&mut self, credit: Credit) {
        let first = self.range.map_or(credit.seq, |(first, _)| first);
        self.range = Some((first, credit.seq));
        self.heights
            .entry(credit.height)
            .or_insert(credit.network_difficulty.get());
        let key = (
            credit.height,
            credit.account,
            credit.difficulty.get().to_bits(),
        );
        *self.counts.entry(key).or_default() += 1;
    }

    /// Number of shares.
    pub fn len(&self) -> u64 {
        self.counts.values().sum()
    }

    /// True if there are no shares.
    pub fn is_empty(&self) -> bool {
        self.range.is_none()
    }
}

/// Key of worker statistics: the start of their ten minutes, account and worker.
pub type TallyKey = (u64, Arc<str>, Box<str>);

/// Everything that one transaction writes, in the order of the fields.
#[derive(Default)]
pub struct Batch {
    /// Time of the batch, Unix seconds.
    pub unix_s: u64,
    /// Shares, that is, money.
    pub shares: ShareGroup,
    /// Blocks that were offered to the node.
    pub found: Vec<FoundBlock>,
    /// Looks at the chain, with the places of blocks.
    pub looks: Vec<Look>,
    /// The node's verdicts on blocks.
    pub verdicts: Vec<(Hash, Verdict)>,
    /// Blocks whose dump is on the disk, with the round's effort.
    pub dumped: Vec<(Hash, f64)>,
    /// Settings of accounts.
    pub accounts: Vec<SetAccountCommand>,
    /// Worker statistics.
    pub tallies: Vec<(TallyKey, Tally)>,
    /// Batches known to be in the shared ledger.
    pub shipped: Vec<BatchMark>,
    /// Set when the file is to begin a new origin.
    pub fork: Option<OriginFork>,
    /// Set when what is pending is to be sealed for the shared ledger.
    pub seal: Option<Seal>,
}

/// A batch for the shared ledger, and all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMark {
    /// Number of the origin in the file.
    pub origin: i64,
    /// Number of the batch.
    pub sequence: i64,
}

/// Order to begin a new origin: the shared ledger has different batches under the numbers of this file's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginFork {
    /// Number of the old origin in the file.
    pub from: i64,
    /// Last batch that the shared ledger has as this file does; the later ones are shipped anew.
    pub kept: i64,
    /// Random id of the new origin.
    pub origin: FileId,
}

/// Order to seal what is pending: all shares from before the node had this tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// `None` as long as the node has not shown a tip.
    pub tip: Option<Height>,
}

impl Batch {
    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
            && self.found.is_empty()
            && self.verdicts.is_empty()
            && self.looks.is_empty()
            && self.dumped.is_empty()
            && self.accounts.is_empty()
            && self.tallies.is_empty()
            && self.shipped.is_empty()
            && self.fork.is_none()
            && self.seal.is_none()
    }
}

/// Reason for a block's change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A verdict of the node.
    Verdict,
    /// A look at the chain.
    Chain,
}

/// A block's change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockChange {
    /// The block.
    pub hash: Hash,
    /// Its height.
    pub height: Height,
    /// State before.
    pub from: BlockState,
    /// State after.
    pub to: BlockState,
    /// Reason.
    pub cause: Cause,
}

/// Result of applying looks and verdicts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advanced {
    /// Blocks that changed their state, lowest height first.
    pub changes: Vec<BlockChange>,
    /// Comparison of the chain work of the node that looked last with the highest tip.
    pub knowledge: Option<Knowledge>,
    /// Blocks that the main chain has, or has another for good at their height.
    pub answered: Vec<Hash>,
}
