//! The ledger as a few maps: the reference for `Sqlite`, small enough to be copied and compared in the
//! exhaustive check of a block's life cycle.
//!
//! It merges no heights and keeps no statistics, because neither changes what an account is owed.

use std::collections::BTreeMap;
use std::sync::Arc;

use hstratum::node::{BlockQuery, Look};
use hstratum::store::ledger::{
    Advanced, Batch, BlockChange, Cause, Compacted, Ledger, LedgerError,
};
use hstratum_core::accounting::ledger::{BlockState, Knowledge, Sighting, Tip, Verdict};
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::units::{Hash, Height, Seq};

/// The row of a found block.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelBlock {
    /// Its height.
    pub height: Height,
    /// Recipient of its reward.
    pub payout: Payout,
    /// Its state.
    pub state: BlockState,
    /// The first height of the round it closed, once it did.
    pub round_from: Option<Height>,
    /// Count of rounds that it closed; more than one is an error.
    pub closings: u32,
    /// True once its share dump is known to be written.
    pub is_dumped: bool,
}

/// The ledger in memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LedgerModel {
    /// The last share counted.
    pub seq: Seq,
    /// The blocks found by the pool.
    pub blocks: BTreeMap<Hash, ModelBlock>,
    /// Shares by height, account and difficulty.
    pub credit: BTreeMap<(Height, Arc<str>, u64), u64>,
    /// The tip with the most work that the ledger was shown.
    pub highest: Option<Tip>,
    maturity: u32,
}

impl LedgerModel {
    /// An empty ledger for this maturity of rewards, in blocks.
    #[must_use]
    pub fn new(maturity: u32) -> Self {
        Self {
            seq: Seq(0),
            blocks: BTreeMap::new(),
            credit: BTreeMap::new(),
            highest: None,
            maturity,
        }
    }

    /// True if the shares of this batch are not counted yet.
    #[must_use]
    pub fn is_new(&self, batch: &Batch) -> bool {
        batch.shares.range.is_some_and(|(_, last)| last > self.seq)
    }

    /// The work in a closed round.
    #[must_use]
    pub fn work_of(&self, row: &ModelBlock) -> f64 {
        let from = row.round_from.unwrap_or(row.height);
        let shares = self.credit.iter();
        let shares = shares.filter(|((height, ..), _)| (from..=row.height).contains(height));
        shares
            .map(|((.., difficulty), count)| f64::from_bits(*difficulty) * *count as f64)
            .sum()
    }

    fn judge(&mut self, hash: &Hash, verdict: &Verdict) -> Option<BlockChange> {
        let to = self.blocks.get(hash)?.state.after_verdict(verdict);
        self.change(hash, to, Cause::Verdict)
    }

    fn sight(&mut self, tip: Height, (hash, there): &(Hash, Option<Hash>), done: &mut Advanced) {
        let Some(row) = self.blocks.get(hash) else {
            return;
        };
        let sighting = Sighting::of((hash, row.height), there.as_ref(), tip, self.maturity);
        let to = row.state.after_sighting(sighting);
        done.changes.extend(self.change(hash, to, Cause::Chain));
        if sighting.is_answer() {
            done.answered.push(*hash);
        }
    }

    /// Applies a node's view of the chain and the positions of blocks in it; adds blocks seen on the main
    /// chain to `seen`.
    fn look(&mut self, look: &Look, done: &mut Advanced, seen: &mut Vec<(Height, Hash)>) {
        let tip = look.view.tip;
        let highest = self
            .highest
            .filter(|highest| highest.work >= tip.work)
            .unwrap_or(tip);
        self.highest = Some(highest);
        let knowledge = Knowledge::of(&look.view, &highest);
        if knowledge == Knowledge::Enough {
            for place in &look.places {
                self.sight(tip.height, place, done);
                if let Some(row) = self.blocks.get(&place.0)
                    && place.1 == Some(place.0)
                {
                    seen.push((row.height, place.0));
                }
            }
        }
        done.knowledge = Some(knowledge);
    }

    fn change(&mut self, hash: &Hash, to: BlockState, cause: Cause) -> Option<BlockChange> {
        let row = self.blocks.get_mut(hash)?;
        let (height, from) = (row.height, std::mem::replace(&mut row.state, to));
        if from == to {
            return None;
        }
        Some(BlockChange {
            hash: *hash,
            height,
            from,
            to,
            cause,
        })
    }
}

impl LedgerModel {
    /// Closes the round since the block below on the main chain, when a block is there for the first
    /// time. Blocks that pay their finder close none, and none begins after them.
    fn close_round(&mut self, hash: &Hash) {
        let height = self.blocks[hash].height;
        let is_pools = |row: &ModelBlock| row.payout == Payout::Operator;
        let others = self.blocks.values().filter(|other| is_pools(other));
        let below = others.filter(|other| other.height < height && other.state.is_on_main());
        let round_from = below.map(|other| other.height.0 + 1).max().unwrap_or(0);
        let row = self.blocks.get_mut(hash).expect("it was just there");
        if is_pools(row) && row.state.is_on_main() && row.round_from.is_none() {
            row.round_from = Some(Height(round_from));
            row.closings += 1;
        }
    }
}

impl Ledger for LedgerModel {
    fn commit(&mut self, batch: &Batch) -> Result<Advanced, LedgerError> {
        if self.is_new(batch) {
            for (key, count) in &batch.shares.counts {
                *self.credit.entry(key.clone()).or_default() += count;
            }
            self.seq = batch.shares.range.map_or(self.seq, |(_, last)| last);
        }
        for block in &batch.found {
            self.blocks.entry(block.hash).or_insert(ModelBlock {
                height: block.height,
                payout: block.payout,
                state: BlockState::Found,
                round_from: None,
                closings: 0,
                is_dumped: false,
            });
        }
        let (mut done, mut seen) = (Advanced::default(), Vec::new());
        for look in &batch.looks {
            self.look(look, &mut done, &mut seen);
        }
        for (hash, verdict) in &batch.verdicts {
            done.changes.extend(self.judge(hash, verdict));
        }
        done.changes.sort_by_key(|change| change.height);
        seen.sort_unstable();
        for (_, hash) in &seen {
            self.close_round(hash);
        }
        for (hash, _) in &batch.dumped {
            if let Some(row) = self.blocks.get_mut(hash) {
                row.is_dumped = true;
            }
        }
        Ok(done)
    }

    fn probe(&mut self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn watched(&mut self, _: Height) -> Result<Vec<BlockQuery>, LedgerError> {
        let rows = self.blocks.iter();
        Ok(rows.map(|(hash, row)| (*hash, row.height)).collect())
    }

    fn compact(&mut self, _: Option<Height>, _: u64) -> Result<Compacted, LedgerError> {
        Ok(Compacted::All)
    }
}
