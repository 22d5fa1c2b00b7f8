//! The records of a ledger: credit, the states of a found block, and counts of submitted shares.
//!
//! Rounds are cut by height, not by clock: a share counts for the height its job was mining, so a late
//! one falls into the right round. Storing the records is the server's part.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::units::{Difficulty, Hash, Height, Seq, hex};

/// The credit of one accepted share.
#[derive(Debug, Clone, PartialEq)]
pub struct Credit {
    /// Its place in the order of acceptance.
    pub seq: Seq,
    /// The height its job was mining.
    pub height: Height,
    /// The account that is paid.
    pub account: Arc<str>,
    /// The difficulty it was assigned.
    pub difficulty: Difficulty,
    /// The difficulty of a block at its height.
    pub network_difficulty: Difficulty,
}

/// The state of a found block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlockState {
    /// Offered to the node, which has not answered yet.
    Found,
    /// On the main chain; its reward cannot be spent yet.
    Accepted,
    /// On the main chain, so deep that its reward can be spent.
    Confirmed,
    /// Valid, but not on the main chain.
    Orphaned,
    /// Rejected by the node.
    Refused,
}

/// The node's answer about a found block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// On the main chain.
    Accepted,
    /// Valid and stored, on a side chain.
    Side,
    /// Not in the chain, for the reason given.
    Refused(String),
    /// The node could not tell, for the reason given: the block stays in the spool.
    Unknown(String),
}

/// The total work of a chain, as hsd counts it (`chainwork`): a big-endian number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Chainwork(pub [u8; 32]);

impl Chainwork {
    /// Reads 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        // Hashes are written the same way, first byte first.
        Hash::from_hex(text).map(|hash| Self(hash.0))
    }
}

impl From<u64> for Chainwork {
    fn from(work: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[24..].copy_from_slice(&work.to_be_bytes());
        Self(bytes)
    }
}

impl fmt::Display for Chainwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// The tip of a chain. Of two, the one with more work is better, whatever their heights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tip {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: Hash,
    /// Total work of the chain up to it.
    pub work: Chainwork,
}

/// A node's report of its chain at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainView {
    /// The tip of its main chain.
    pub tip: Tip,
    /// True if the node says that it is synchronized.
    pub is_synced: bool,
}

/// The trust that a node's view of the chain deserves. The ledger keeps the tip with the most work that
/// any node has reported, and compares with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Knowledge {
    /// Trusted: it is synchronized, and has this very tip or more work.
    Enough,
    /// Not trusted: it is still downloading.
    Unsynced,
    /// Not trusted: it has another tip with as much work as the one given here, and either may stay.
    Tied(Tip),
    /// Not trusted: it has less work than the tip given here.
    Behind(Tip),
}

impl Knowledge {
    /// Judges a node's view against the tip with the most work that is known.
    pub fn of(view: &ChainView, highest: &Tip) -> Self {
        match view.tip.work.cmp(&highest.work) {
            Ordering::Less => Self::Behind(*highest),
            _ if !view.is_synced => Self::Unsynced,
            Ordering::Equal if view.tip.hash != highest.hash => Self::Tied(*highest),
            _ => Self::Enough,
        }
    }
}

/// The position of a block in a node's chain now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// The chain does not reach its height, so nothing is known.
    Above,
    /// Another block is at its height.
    Elsewhere,
    /// Another block is at its height, so deep that the reward of a block there could be spent.
    Gone,
    /// On the main chain; its reward cannot be spent yet.
    OnMain,
    /// On the main chain, so deep that its reward can be spent in the next block.
    Mature,
}

impl Sighting {
    /// Finds the position of a block by the node's chain, which ends at `tip` and has the block `there`
    /// at the block's height. `maturity` is the depth at which a reward can be spent in the next block.
    pub fn of(
        (hash, height): (&Hash, Height),
        there: Option<&Hash>,
        tip: Height,
        maturity: u32,
    ) -> Self {
        let Some(there) = there else {
            return Self::Above;
        };
        let depth = (u64::from(tip.0) + 1).saturating_sub(height.0.into());
        match (there == hash, depth >= maturity.into()) {
            (true, true) => Self::Mature,
            (true, false) => Self::OnMain,
            (false, true) => Self::Gone,
            (false, false) => Self::Elsewhere,
        }
    }

    /// True if the block need not be offered again: it is on the chain, or another has its place for
    /// good.
    pub fn is_answer(self) -> bool {
        matches!(self, Self::OnMain | Self::Mature | Self::Gone)
    }
}

impl BlockState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Found,
        Self::Accepted,
        Self::Confirmed,
        Self::Orphaned,
        Self::Refused,
    ];

    /// Its name in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Accepted => "accepted",
            Self::Confirmed => "confirmed",
            Self::Orphaned => "orphaned",
            Self::Refused => "refused",
        }
    }

    /// The state of that name; `None` for any other name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// True if the block is on the main chain, so that its round is closed.
    pub fn is_on_main(self) -> bool {
        matches!(self, Self::Accepted | Self::Confirmed)
    }

    /// The state after the node's verdict.
    #[must_use]
    pub fn after_verdict(self, verdict: &Verdict) -> Self {
        match (self, verdict) {
            (Self::Found | Self::Orphaned | Self::Refused, Verdict::Accepted) => Self::Accepted,
            (Self::Found | Self::Refused, Verdict::Side) => Self::Orphaned,
            (Self::Found, Verdict::Refused(_)) => Self::Refused,
            (state, _) => state,
        }
    }

    /// The state after a trusted node was asked for the block's position. Absence of a block that the
    /// node has not answered yet means nothing, until other blocks lie deep above its height: then the
    /// answer may never come, while payouts of later blocks wait for it. A confirmed block may have been
    /// paid out already: it is orphaned only when another block at its height has reached the same depth.
    #[must_use]
    pub fn after_sighting(self, sighting: Sighting) -> Self {
        match (self, sighting) {
            (_, Sighting::Mature) => Self::Confirmed,
            (_, Sighting::OnMain) => Self::Accepted,
            (_, Sighting::Above) => self,
            (Self::Refused, Sighting::Elsewhere | Sighting::Gone) => self,
            (Self::Found | Self::Confirmed, Sighting::Elsewhere) => self,
            (_, Sighting::Elsewhere | Sighting::Gone) => Self::Orphaned,
        }
    }
}

/// Count and summed difficulty of shares.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ShareTotals {
    /// Count of shares.
    pub count: u64,
    /// Sum of the difficulties they were assigned.
    pub difficulty: f64,
}

impl ShareTotals {
    /// Counts a share.
    pub fn add_share(&mut self, difficulty: Difficulty) {
        self.count += 1;
        self.difficulty += difficulty.get();
    }
}

/// The shares that one worker has submitted, by result. Statistics only, not money.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Accepted shares.
    pub accepted: ShareTotals,
    /// Shares for a job whose parent is no longer the tip, or that is too old to be known.
    pub stale: ShareTotals,
    /// Shares above the target.
    pub low: ShareTotals,
    /// Shares sent before.
    pub duplicate: ShareTotals,
    /// Time of the first and of the last accepted share, in Unix seconds; `None` if none was accepted.
    pub times: Option<(u64, u64)>,
    /// The best of the accepted shares, if it was better than those reported before.
    pub best: Option<BestShare>,
}

/// The share with the smallest hash. Nobody is paid for it: it is a record that miners like to know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestShare {
    /// The greatest difficulty that its hash meets.
    pub difficulty: Difficulty,
    /// Time of its acceptance, in Unix seconds.
    pub unix_s: u64,
}

impl ShareTotals {
    /// Adds another count.
    pub(crate) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.difficulty += other.difficulty;
    }
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        self.accepted.add(&other.accepted);
        self.stale.add(&other.stale);
        self.low.add(&other.low);
        self.duplicate.add(&other.duplicate);
        self.times = match (self.times, other.times) {
            (Some((first, last)), Some((other_first, other_last))) => {
                Some((first.min(other_first), last.max(other_last)))
            }
            (one, other) => one.or(other),
        };
        self.add_best(other.best);
    }

    /// Keeps a best share if it is better than the one known.
    pub(crate) fn add_best(&mut self, other: Option<BestShare>) {
        let is_better =
            |one: BestShare| other.is_some_and(|other| other.difficulty > one.difficulty);
        if self.best.is_none_or(is_better) {
            self.best = other;
        }
    }
}

/// A [`Tally`] with its worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Tallied {
    /// The account.
    pub account: Arc<str>,
    /// The worker; empty if the name has no worker part.
    pub worker: Box<str>,
    /// The shares.
    pub tally: Tally,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Hash = Hash([1; 32]);
    const OTHER: Hash = Hash([2; 32]);

    #[test]
    fn reward_is_mature_when_the_next_block_may_spend_it() {
        let block = (&OURS, Height(100));
        let sighting = |tip| Sighting::of(block, Some(&OURS), Height(tip), 100);
        assert_eq!(sighting(100), Sighting::OnMain);
        assert_eq!(sighting(198), Sighting::OnMain);
        assert_eq!(sighting(199), Sighting::Mature);
        let elsewhere = |tip| Sighting::of(block, Some(&OTHER), Height(tip), 100);
        assert_eq!(elsewhere(198), Sighting::Elsewhere);
        assert_eq!(elsewhere(199), Sighting::Gone);
    }

    #[test]
    fn chain_that_does_not_reach_a_block_says_nothing_of_it() {
        let above = Sighting::of((&OURS, Height(100)), None, Height(99), 2);
        assert_eq!(above, Sighting::Above);
        for state in BlockState::ALL {
            assert_eq!(state.after_sighting(above), state);
        }
    }

    #[test]
    fn absence_says_nothing_until_the_node_has_answered_or_of_what_was_confirmed() {
        let after = |state: BlockState| state.after_sighting(Sighting::Elsewhere);
        assert_eq!(after(BlockState::Found), BlockState::Found);
        assert_eq!(after(BlockState::Refused), BlockState::Refused);
        assert_eq!(after(BlockState::Accepted), BlockState::Orphaned);
        assert_eq!(after(BlockState::Confirmed), BlockState::Confirmed);
    }

    #[test]
    fn node_with_less_work_knows_too_little_whatever_its_height() {
        let tip = |height, work: u64| Tip {
            height: Height(height),
            hash: OURS,
            work: work.into(),
        };
        let known = |height, work, is_synced| {
            let view = ChainView {
                tip: tip(height, work),
                is_synced,
            };
            Knowledge::of(&view, &tip(50, 500))
        };
        assert_eq!(known(50, 500, true), Knowledge::Enough);
        assert_eq!(known(40, 501, true), Knowledge::Enough);
        assert_eq!(known(60, 499, true), Knowledge::Behind(tip(50, 500)));
        assert_eq!(known(60, 499, false), Knowledge::Behind(tip(50, 500)));
        assert_eq!(known(60, 600, false), Knowledge::Unsynced);
    }

    #[test]
    fn node_on_another_tip_with_as_much_work_judges_nothing_until_one_has_more() {
        let tip = |hash, work: u64| Tip {
            height: Height(50),
            hash,
            work: work.into(),
        };
        let highest = tip(OURS, 500);
        let known = |hash, work, is_synced| {
            let view = ChainView {
                tip: tip(hash, work),
                is_synced,
            };
            Knowledge::of(&view, &highest)
        };
        assert_eq!(known(OURS, 500, true), Knowledge::Enough);
        assert_eq!(known(OTHER, 500, true), Knowledge::Tied(highest));
        assert_eq!(known(OTHER, 500, false), Knowledge::Unsynced);
        assert_eq!(known(OTHER, 501, true), Knowledge::Enough);
    }

    #[test]
    fn work_is_written_as_hsd_writes_it_and_compared_as_a_number() {
        let work = Chainwork::from(258);
        let text = format!("{:0>64}", "102");
        assert_eq!(work.to_string(), text);
        assert_eq!(Chainwork::from_hex(&text), Some(work));
        assert!(work > Chainwork::from(255) && work < Chainwork::from(u64::MAX));
    }

    #[test]
    fn block_that_is_never_answered_finds_its_end() {
        let gone = |state: BlockState| state.after_sighting(Sighting::Gone);
        assert_eq!(gone(BlockState::Found), BlockState::Orphaned);
        assert_eq!(gone(BlockState::Refused), BlockState::Refused);
        assert_eq!(gone(BlockState::Confirmed), BlockState::Orphaned);
        // Its answer may still come.
        let late = gone(BlockState::Found).after_verdict(&Verdict::Accepted);
        assert_eq!(late, BlockState::Accepted);
    }

    #[test]
    fn refused_block_that_is_valid_after_all_is_orphaned() {
        let refused = BlockState::Found.after_verdict(&Verdict::Refused("no parent".into()));
        assert_eq!(refused, BlockState::Refused);
        assert_eq!(refused.after_verdict(&Verdict::Side), BlockState::Orphaned);
        assert_eq!(
            refused.after_verdict(&Verdict::Accepted),
            BlockState::Accepted
        );
    }

    #[test]
    fn every_state_has_its_name() {
        for state in BlockState::ALL {
            assert_eq!(BlockState::from_name(state.name()), Some(state));
        }
    }
}
