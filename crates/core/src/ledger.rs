//! What a ledger keeps: credit, the life of a found block, and what miners have sent.
//!
//! Rounds are cut by height, not by clock: a share counts for the height its job was mining, so a
//! late one falls into the right round. How the ledger is kept is not in here.

use std::sync::Arc;

use crate::event::Verdict;
use crate::units::{Difficulty, Height, Seq};

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

/// Where a block is as the chain stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// Not on the main chain.
    Elsewhere,
    /// Not on it, and its height so deep below the tip that a reward there could be spent.
    Gone,
    /// On it, with a reward that cannot be spent yet.
    OnMain,
    /// On it, so deep that its reward can be spent in the next block.
    Mature,
}

impl Sighting {
    /// Of a block at `height`, by a node whose chain ends at `tip`. `maturity`: how deep a block
    /// must be for its reward to be spent in the next one.
    pub fn of(on_main: bool, height: Height, tip: Height, maturity: u32) -> Self {
        let depth = (u64::from(tip.0) + 1).saturating_sub(height.0.into());
        match (on_main, depth >= maturity.into()) {
            (true, true) => Self::Mature,
            (true, false) => Self::OnMain,
            (false, true) => Self::Gone,
            (false, false) => Self::Elsewhere,
        }
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

    /// After a look at the chain. Until the node has answered, absence says nothing, unless others'
    /// blocks lie deep above: the answer may never come, and payouts of later blocks wait for it.
    #[must_use]
    pub fn after_sighting(self, sighting: Sighting) -> Self {
        match (self, sighting) {
            (_, Sighting::Mature) => Self::Confirmed,
            (_, Sighting::OnMain) => Self::Accepted,
            (Self::Refused, Sighting::Elsewhere | Sighting::Gone) => self,
            (Self::Found, Sighting::Elsewhere) => self,
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

    #[test]
    fn reward_is_mature_when_the_next_block_may_spend_it() {
        let sighting = |tip| Sighting::of(true, Height(100), Height(tip), 100);
        assert_eq!(sighting(100), Sighting::OnMain);
        assert_eq!(sighting(198), Sighting::OnMain);
        assert_eq!(sighting(199), Sighting::Mature);
        // The node's chain may have become shorter than the block is high.
        assert_eq!(sighting(50), Sighting::OnMain);
        let elsewhere = |tip| Sighting::of(false, Height(100), Height(tip), 100);
        assert_eq!(elsewhere(198), Sighting::Elsewhere);
        assert_eq!(elsewhere(199), Sighting::Gone);
    }

    #[test]
    fn absence_says_nothing_until_the_node_has_answered() {
        let after = |state: BlockState| state.after_sighting(Sighting::Elsewhere);
        assert_eq!(after(BlockState::Found), BlockState::Found);
        assert_eq!(after(BlockState::Refused), BlockState::Refused);
        assert_eq!(after(BlockState::Accepted), BlockState::Orphaned);
        assert_eq!(after(BlockState::Confirmed), BlockState::Orphaned);
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
