//! The seam between what is decided about the ledger and where it is kept: one durable
//! transaction a call, and the few reads that the keeper needs.
//!
//! A commit is all of its [`Batch`] or nothing. One that failed may be there all the same, so a
//! batch of shares is offered again unchanged, and counts once.

use crate::node::{Asked, Look};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hstratum_core::accounting::ledger::{BlockState, Credit, Knowledge, Tally};
use hstratum_core::chain::block::{FoundBlock, Verdict};
use hstratum_core::units::{Hash, Height, Seq};

pub use crate::messages::AddressMail;
use crate::store::schema::FileId;

/// Where the ledger is kept.
pub trait Ledger {
    /// Makes a batch durable.
    ///
    /// # Errors
    /// When it is not known to be; it may be all the same.
    fn commit(&mut self, batch: &Batch) -> Result<Advanced, LedgerError>;

    /// Writes something of a group's size, to see whether that can be done.
    ///
    /// # Errors
    /// When it cannot.
    fn probe(&mut self) -> Result<(), LedgerError>;

    /// Blocks whose place in the chain may still change: those that the node is asked about next.
    ///
    /// # Errors
    /// When they cannot be read.
    fn watched(&mut self, tip: Height) -> Result<Vec<Asked>, LedgerError>;

    /// One slice of the upkeep: merges old credit and old statistics. Sums do not change.
    ///
    /// # Errors
    /// When nothing was done.
    fn tidy(&mut self, tip: Option<Height>, unix_s: u64) -> Result<Tidied, LedgerError>;
}

/// Whether there is more to tidy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tidied {
    /// There is.
    More,
    /// Not for a while.
    All,
}

/// Why something is not known to be durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerError {
    /// Somebody else writes: it will pass.
    Busy,
    /// The disk refuses, or the file is no longer what it was.
    Failed(String),
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("another process writes to it"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

/// Shares of one height, account and difficulty. The difficulty is in bits: all are above zero, so
/// that the order is that of the numbers.
pub type ShareKey = (Height, Arc<str>, u64);

/// Shares that become durable together.
#[derive(Debug, Clone, Default)]
pub struct Shares {
    /// The first and the last.
    pub range: Option<(Seq, Seq)>,
    /// How many of each kind.
    pub counts: BTreeMap<ShareKey, u64>,
    /// The network's difficulty at the heights.
    pub heights: BTreeMap<Height, f64>,
}

impl Shares {
    /// Counts a share. Shares come in the order of their numbers.
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

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.range.is_none()
    }
}

/// The ten minutes, the account and the worker of a tally.
pub type TallyKey = (u64, Arc<str>, Box<str>);

/// What becomes durable together. It is carried out in the order of the fields.
#[derive(Default)]
pub struct Batch {
    /// The clock.
    pub unix_s: u64,
    /// Money.
    pub shares: Shares,
    /// Blocks that were offered to the node.
    pub found: Vec<FoundBlock>,
    /// Where they were seen.
    pub looks: Vec<Look>,
    /// What the node said of them.
    pub verdicts: Vec<(Hash, Verdict)>,
    /// Those whose dump is on the disk, with the round's effort.
    pub dumped: Vec<(Hash, f64)>,
    /// Where accounts want to be paid.
    pub addresses: Vec<AddressMail>,
    /// Statistics.
    pub tallies: Vec<(TallyKey, Tally)>,
    /// What is known to be in the shared ledger.
    pub shipped: Vec<Mark>,
    /// The shared ledger has gone on without this file.
    pub parting: Option<Parting>,
    /// What is pending is to be sealed for the shared ledger.
    pub seal: Option<Seal>,
}

/// A batch for the shared ledger, and all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The origin's number in the file.
    pub origin: i64,
    /// The batch's number.
    pub sequence: i64,
}

/// What becomes of batches when the shared ledger has others of the same numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parting {
    /// The origin's number in the file.
    pub from: i64,
    /// Up to this batch the shared ledger has what is in ours; the others are new there.
    pub kept: i64,
    /// Random: what they are shipped as.
    pub origin: FileId,
}

/// What is sealed holds all shares that came before the node had this tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// None as long as the node has not said.
    pub tip: Option<Height>,
}

impl Batch {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
            && self.found.is_empty()
            && self.verdicts.is_empty()
            && self.looks.is_empty()
            && self.dumped.is_empty()
            && self.addresses.is_empty()
            && self.tallies.is_empty()
            && self.shipped.is_empty()
            && self.parting.is_none()
            && self.seal.is_none()
    }
}

/// What brought a block to another state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The node's verdict.
    Verdict,
    /// A look at the chain.
    Chain,
}

/// A block has come to another state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockChange {
    /// Which.
    pub hash: Hash,
    /// Its height.
    pub height: Height,
    /// What it was.
    pub from: BlockState,
    /// What it is.
    pub to: BlockState,
    /// Why.
    pub cause: Cause,
}

/// What looks and verdicts have come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advanced {
    /// Blocks that came to another state, the lowest first.
    pub changes: Vec<BlockChange>,
    /// What the node that looked last is known to know.
    pub knowledge: Option<Knowledge>,
    /// Blocks that it has, or another in their place for good.
    pub answered: Vec<Hash>,
}

/// What helps where the ledger's log is not in its place; room on the disk does not.
pub(super) const LOG_ADVICE: &str = "stop the node, see docs/ledger.md, Backup and restore";

/// What else is said of a ledger that cannot be written, for this reason.
pub(super) fn advice(reason: &str) -> &'static str {
    match reason.contains(LOG_ADVICE) {
        true => "",
        false => "; make room or mend the disk: it is tried again every two seconds",
    }
}
