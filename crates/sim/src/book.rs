//! What must hold, checked against a book of its own: what miners sent and were told, what the pool
//! took, what is on the disk, and what became of each block.
//!
//! A broken rule is a panic; `run` says in which seed and at which step.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use hstratum::store::ledger::Batch;
use hstratum_core::accounting::ledger::{BlockState, Credit};
use hstratum_core::chain::block::Verdict;
use hstratum_core::units::{Hash, Height};

use crate::server::DIFFICULTY_MIN;

/// Height, account and the bits of the difficulty: what a share counts for.
pub(crate) type ShareKey = (Height, Arc<str>, u64);

/// Shares by what they count for.
pub(crate) type Counts = BTreeMap<ShareKey, u64>;

/// What is known of a block of ours.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) prev: Hash,
    /// When, in milliseconds, and by which process.
    pub(crate) at_ms: u64,
    pub(crate) boot: u32,
    /// The node had the offer.
    pub(crate) reached_node: bool,
    /// The whole block was durable in the spool, at some time.
    pub(crate) was_spooled: bool,
    /// It is or was in the ledger.
    pub(crate) was_recorded: bool,
    /// What the node has said: the last of it, or that it refuses, once it has said so.
    pub(crate) verdict: Option<Verdict>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Book {
    /// Valid shares that were sent, by their hash.
    sent: HashSet<Hash>,
    sent_counts: Counts,
    acknowledged: HashSet<Hash>,
    acknowledged_counts: Counts,
    recorded_counts: Counts,
    /// On the disk, whatever anybody knows of it.
    pub(crate) committed: Counts,
    pub(crate) blocks: BTreeMap<Hash, Found>,
    /// Blocks found in the moment of a crash, before anything of them was on a disk.
    pub(crate) lost_with_process: HashSet<Hash>,
}

fn add(counts: &mut Counts, key: &ShareKey, count: u64) -> u64 {
    match counts.get_mut(key) {
        Some(sum) => {
            *sum += count;
            *sum
        }
        None => {
            counts.insert(key.clone(), count);
            count
        }
    }
}

fn of(counts: &Counts, key: &ShareKey) -> u64 {
    counts.get(key).copied().unwrap_or(0)
}

impl Book {
    /// A miner sends a share that is good for its job; true if it is the first time.
    pub(crate) fn send(&mut self, hash: Hash, key: &ShareKey) -> bool {
        let is_first = self.sent.insert(hash);
        if is_first {
            add(&mut self.sent_counts, key, 1);
        }
        is_first
    }

    /// A miner is told that its share counts.
    pub(crate) fn acknowledge(&mut self, hash: Hash, key: &ShareKey) {
        assert!(
            self.sent.contains(&hash),
            "a share that is none was accepted: {hash} for {key:?}"
        );
        assert!(
            self.acknowledged.insert(hash),
            "one share was accepted twice: {hash} for {key:?}"
        );
        if let Some(block) = self.blocks.get(&hash) {
            assert!(
                block.was_recorded,
                "a block's share was acknowledged, and the block is in no ledger: {hash}"
            );
        }
        let told = add(&mut self.acknowledged_counts, key, 1);
        let kept = of(&self.committed, key);
        assert!(
            told <= kept,
            "a share was acknowledged that is not on the disk: {hash} for {key:?}, \
             {told} told, {kept} kept"
        );
    }

    /// The pool has taken a share. What an account has at a height are few rows: no difficulty is below
    /// the floor, and there are so many to each doubling.
    pub(crate) fn record(&mut self, credit: &Credit) {
        let (difficulty, network) = (credit.difficulty, credit.network_difficulty);
        assert!(
            difficulty == network || difficulty.get() >= DIFFICULTY_MIN,
            "a share was taken below the floor: {difficulty:?}"
        );
        assert!(
            difficulty == network || difficulty == difficulty.on_grid(),
            "a share was taken off the grid: {difficulty:?}"
        );
        let key = (
            credit.height,
            credit.account.clone(),
            credit.difficulty.get().to_bits(),
        );
        add(&mut self.recorded_counts, &key, 1);
    }

    /// Shares are on the disk.
    pub(crate) fn commit(&mut self, batch: &Batch) {
        for (key, count) in &batch.shares.counts {
            let kept = add(&mut self.committed, key, *count);
            let recorded = of(&self.recorded_counts, key);
            assert!(
                kept <= recorded,
                "more is in the ledger than the pool has taken: {kept} > {recorded} for {key:?}"
            );
            let sent = of(&self.sent_counts, key);
            assert!(
                kept <= sent,
                "more is in the ledger than was earned: {kept} > {sent} for {key:?}"
            );
        }
        for block in &batch.found {
            if let Some(found) = self.blocks.get_mut(&block.hash) {
                found.was_recorded = true;
            }
        }
    }

    /// The ledger as it is read back, against what was committed. Heights that were merged count at
    /// the last of them, so that sums up to each of `cuts` are compared.
    pub(crate) fn compare(&self, ledger: &Counts, cuts: &[Height]) {
        let mut cuts = cuts.to_vec();
        cuts.push(Height(u32::MAX));
        cuts.sort_unstable();
        let spans = |counts: &Counts| {
            let mut sums: BTreeMap<(Height, Arc<str>, u64), u64> = BTreeMap::new();
            for ((height, account, difficulty), count) in counts {
                let cut = cuts[cuts.partition_point(|cut| cut < height)];
                *sums.entry((cut, account.clone(), *difficulty)).or_default() += count;
            }
            sums
        };
        let (is, ought) = (spans(ledger), spans(&self.committed));
        for (key, count) in &ought {
            let kept = is.get(key).copied().unwrap_or(0);
            assert_eq!(
                kept, *count,
                "the ledger has lost or invented credit: {key:?}"
            );
        }
        assert_eq!(is.len(), ought.len(), "credit that nobody committed");
    }

    /// Everything that was acknowledged is on the disk.
    pub(crate) fn check_acknowledged(&self) {
        for (key, told) in &self.acknowledged_counts {
            let kept = of(&self.committed, key);
            assert!(*told <= kept, "{told} told, {kept} kept for {key:?}");
        }
    }

    /// How many shares the pool took, and how many are on the disk.
    pub(crate) fn sums(&self) -> (u64, u64) {
        let sum = |counts: &Counts| counts.values().sum::<u64>();
        (sum(&self.recorded_counts), sum(&self.committed))
    }

    /// In a run with no fault but the one start at its end nearly all is there that the pool took.
    pub(crate) fn check_mostly_complete(&self) {
        let (took, kept) = self.sums();
        assert!(
            took - kept < 20,
            "the pool took {took}, the ledger has {kept}"
        );
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged_counts.values().sum()
    }

    /// The state that a block must come to.
    pub(crate) fn fate(&self, hash: &Hash, place: Place) -> Option<BlockState> {
        let found = &self.blocks[hash];
        match (place, &found.verdict) {
            (Place::Mature, _) => Some(BlockState::Confirmed),
            (Place::Main, _) => Some(BlockState::Accepted),
            (_, Some(Verdict::Refused(_))) => None,
            (Place::Side, _) => Some(BlockState::Orphaned),
            (Place::Nowhere, _) => None,
        }
    }
}

/// Where the node has a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the main chain, deep.
    Mature,
    /// On the main chain.
    Main,
    /// On another branch.
    Side,
    /// Not at all.
    Nowhere,
}
