//! The invariants of credit and blocks, checked against independent records: the shares that miners sent
//! and that were acknowledged, the shares the pool recorded, the shares on the disk, and the state of
//! each block.
//!
//! A violated invariant panics; `run` reports the seed and the step.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use hstratum::store::ledger::Batch;
use hstratum_core::accounting::ledger::{BlockState, Credit, Verdict};
use hstratum_core::units::{Hash, Height};

use crate::server::DIFFICULTY_MIN;

/// Height, account and bits of the difficulty: everything that decides what a share earns.
pub(crate) type CreditKey = (Height, Arc<str>, u64);

/// Counts of shares by what they earn.
pub(crate) type CreditCounts = BTreeMap<CreditKey, u64>;

/// The record of a block found by the pool.
#[derive(Debug, Clone)]
pub(crate) struct OracleBlock {
    pub(crate) prev: Hash,
    /// Time at which it was found, in milliseconds, and the process that found it.
    pub(crate) at_ms: u64,
    pub(crate) boot: u32,
    /// True once the node had the offer.
    pub(crate) reached_node: bool,
    /// True once the whole block was durable in the spool.
    pub(crate) was_spooled: bool,
    /// True once it was in the ledger.
    pub(crate) was_recorded: bool,
    /// The node's last verdict; a refusal is kept for good.
    pub(crate) verdict: Option<Verdict>,
}

/// The independent records.
#[derive(Default)]
pub(crate) struct Oracle {
    /// Hashes of the valid shares sent.
    sent: HashSet<Hash>,
    sent_counts: CreditCounts,
    acknowledged: HashSet<Hash>,
    acknowledged_counts: CreditCounts,
    recorded_counts: CreditCounts,
    /// Shares on the disk, even if nobody was told of them.
    pub(crate) committed: CreditCounts,
    pub(crate) blocks: BTreeMap<Hash, OracleBlock>,
    /// Blocks lost with the process that found them, before anything of them was on a disk.
    pub(crate) lost_with_process: HashSet<Hash>,
}

fn add(counts: &mut CreditCounts, key: &CreditKey, count: u64) -> u64 {
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

fn of(counts: &CreditCounts, key: &CreditKey) -> u64 {
    counts.get(key).copied().unwrap_or(0)
}

impl Oracle {
    /// Records a valid share sent by a miner; true if it was not sent before.
    pub(crate) fn send(&mut self, hash: Hash, key: &CreditKey) -> bool {
        let is_first = self.sent.insert(hash);
        if is_first {
            add(&mut self.sent_counts, key, 1);
        }
        is_first
    }

    /// Checks a share that was acknowledged to its miner.
    pub(crate) fn acknowledge(&mut self, hash: Hash, key: &CreditKey) {
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

    /// Checks a share recorded by the pool. No difficulty is below the minimum, and all are on the grid,
    /// so that an account has few ledger rows at a height.
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

    /// Checks a batch that was committed to the disk.
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

    /// Compares the ledger, as it is read back, with the committed shares. Merged heights count at the
    /// last of them, so the sums up to each of `cuts` are compared.
    pub(crate) fn compare(&self, ledger: &CreditCounts, cuts: &[Height]) {
        let mut cuts = cuts.to_vec();
        cuts.push(Height(u32::MAX));
        cuts.sort_unstable();
        let spans = |counts: &CreditCounts| {
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

    /// Checks that every acknowledged share is on the disk.
    pub(crate) fn check_acknowledged(&self) {
        for (key, told) in &self.acknowledged_counts {
            let kept = of(&self.committed, key);
            assert!(*told <= kept, "{told} told, {kept} kept for {key:?}");
        }
    }

    /// Counts of shares that the pool recorded and of those on the disk.
    pub(crate) fn sums(&self) -> (u64, u64) {
        let sum = |counts: &CreditCounts| counts.values().sum::<u64>();
        (sum(&self.recorded_counts), sum(&self.committed))
    }

    /// Checks that nearly all recorded shares are on the disk, in a run without faults except the restart
    /// at its end.
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

    /// The state that a block must reach; `None` if several are possible.
    pub(crate) fn fate(&self, hash: &Hash, place: BlockPlace) -> Option<BlockState> {
        let found = &self.blocks[hash];
        match (place, &found.verdict) {
            (BlockPlace::Mature, _) => Some(BlockState::Confirmed),
            (BlockPlace::Main, _) => Some(BlockState::Accepted),
            (_, Some(Verdict::Refused(_))) => None,
            (BlockPlace::Side, _) => Some(BlockState::Orphaned),
            (BlockPlace::Nowhere, _) => None,
        }
    }
}

/// The position of a block in the node's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockPlace {
    /// On the main chain, deep enough for its reward to be spent.
    Mature,
    /// On the main chain.
    Main,
    /// On another branch.
    Side,
    /// In no branch.
    Nowhere,
}
