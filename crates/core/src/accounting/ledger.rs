//! What a ledger keeps: credit, the life of a found block, and what miners have sent.
//!
//! Rounds are cut by height, not by clock: a share counts for the height its job was mining, so a
//! late one falls into the right round. How the ledger is kept is not in here.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::chain::block::Verdict;
use crate::units::{Difficulty, Hash, Height, Seq, hex};

/// One accepted share, as money.
#[derive(Debug, Clone, PartialEq)]
pub struct Credit {
    /// Its place in the order of acceptance.
    pub seq: Seq,
    /// The height its job was mining.
    pub height: Height,
    /// Who is paid.
    pub account: Arc<str>,
    /// The difficulty it was assigned.
    pub difficulty: Difficulty,
    /// The difficulty of a block at its height.
    pub network_difficulty: Difficulty,
}

/// How far a found block has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlockState {
    /// Offered to the node, which has not answered.
    Found,
    /// On the main chain, and its reward cannot be spent yet.
    Accepted,
    /// On the main chain so deep that its reward can be spent.
    Confirmed,
    /// Valid, and not on the main chain.
    Orphaned,
    /// Not taken by the node.
    Refused,
}

/// How much work a chain has, as hsd counts it (`chainwork`): big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Chainwork(pub [u8; 32]);

impl Chainwork {
    /// From 64 hex digits.
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

/// The end of a chain. Of two, the one with more work is the better one, whatever their heights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tip {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: Hash,
    /// All work up to it.
    pub work: Chainwork,
}

/// What a node knows of the chain at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct View {
    /// The end of its main chain.
    pub tip: Tip,
    /// Whether it calls itself synchronized.
    pub is_synced: bool,
}

/// What a node's word is worth to a ledger, which keeps the tip with the most work that anybody has
/// shown it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Knowledge {
    /// It is synchronized, and knows this very tip or more work.
    Enough,
    /// It is still downloading.
    Unsynced,
    /// Its tip is another one, with as much work as this: which of the two stays is not known.
    Tied(Tip),
    /// It knows less work than this tip has.
    Behind(Tip),
}

impl Knowledge {
    /// Of a node with this view, by the highest tip that is known.
    pub fn of(view: &View, highest: &Tip) -> Self {
        match view.tip.work.cmp(&highest.work) {
            Ordering::Less => Self::Behind(*highest),
            _ if !view.is_synced => Self::Unsynced,
            Ordering::Equal if view.tip.hash != highest.hash => Self::Tied(*highest),
            _ => Self::Enough,
        }
    }
}

/// Where a block is as a node's chain stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// The chain does not reach its height: that says nothing of it.
    Above,
    /// Another block is at its height.
    Elsewhere,
    /// Another block is at its height, so deep that a reward there could be spent.
    Gone,
    /// On the main chain, with a reward that cannot be spent yet.
    OnMain,
    /// On it, so deep that its reward can be spent in the next block.
    Mature,
}

impl Sighting {
    /// Of a block, by a node whose chain ends at `tip` and has the block `there` at its height.
    /// `maturity`: how deep a block must be for its reward to be spent in the next one.
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

    /// Whether the block need not be offered again: the chain has it, or another in its place for good.
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

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether the block is on the main chain, and its round closed.
    pub fn is_on_main(self) -> bool {
        matches!(self, Self::Accepted | Self::Confirmed)
    }

    /// After the node's verdict.
    #[must_use]
    pub fn after_verdict(self, verdict: &Verdict) -> Self {
        match (self, verdict) {
            (Self::Found | Self::Orphaned | Self::Refused, Verdict::Accepted) => Self::Accepted,
            (Self::Found | Self::Refused, Verdict::Side) => Self::Orphaned,
            (Self::Found, Verdict::Refused(_)) => Self::Refused,
            (state, _) => state,
        }
    }

    /// After a look at the chain by a node that knows enough. Until the node has answered, absence
    /// says nothing, unless others' blocks lie deep above: the answer may never come, and payouts of
    /// later blocks wait for it. What was confirmed may have been paid for: it is lost only when
    /// another block is as deep as it had to be.
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

/// Number and summed difficulty of shares.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// How many.
    pub count: u64,
    /// The sum of the difficulties they were assigned.
    pub difficulty: f64,
}

impl Work {
    /// Counts a share.
    pub fn add_share(&mut self, difficulty: Difficulty) {
        self.count += 1;
        self.difficulty += difficulty.get();
    }
}

/// What one worker has sent, by outcome. Not money.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Accepted.
    pub accepted: Work,
    /// For a job whose parent is no longer the tip, or that is too old to be known.
    pub stale: Work,
    /// Above the target.
    pub low: Work,
    /// Sent before.
    pub duplicate: Work,
    /// When the first and the last share of these were accepted, Unix seconds; none where none was.
    pub times: Option<(u64, u64)>,
}

impl Work {
    /// Adds what was counted elsewhere.
    pub(crate) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.difficulty += other.difficulty;
    }
}

impl Tally {
    /// Adds what was counted elsewhere.
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
    }
}

/// Whose [`Tally`] it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Tallied {
    /// Who is paid.
    pub account: Arc<str>,
    /// Which machine; empty where the name says none.
    pub worker: Box<str>,
    /// What it has sent.
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
            let view = View {
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
            let view = View {
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
        // Its answer may come all the same.
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
