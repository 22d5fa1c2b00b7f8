//! What a ledger keeps: credit, the life of a found block, and what miners have sent.
//!
//! Rounds are cut by height, not by clock: a share counts for the height its job was mining, so a
//! late one falls into the right round. Sums are kept as (difficulty, count), exactly.

use std::collections::BTreeMap;
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
    /// On it, with a reward that cannot be spent yet.
    OnMain,
    /// On it, so deep that its reward can be spent in the next block.
    Mature,
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
            (Self::Found, Verdict::Side) => Self::Orphaned,
            (Self::Found, Verdict::Refused(_)) => Self::Refused,
            (state, _) => state,
        }
    }

    /// After a look at the chain. Until the node has answered, absence says nothing.
    #[must_use]
    pub fn after_sighting(self, sighting: Sighting) -> Self {
        match (self, sighting) {
            (_, Sighting::Mature) => Self::Confirmed,
            (_, Sighting::OnMain) => Self::Accepted,
            (Self::Found | Self::Refused, Sighting::Elsewhere) => self,
            (_, Sighting::Elsewhere) => Self::Orphaned,
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

/// Count of shares by the bits of their difficulty.
type Counts = BTreeMap<u64, u64>;

/// Credit that no block has closed yet.
#[derive(Debug, Default)]
pub struct Rounds {
    open: BTreeMap<Height, BTreeMap<Arc<str>, Counts>>,
}

impl Rounds {
    /// Counts a share.
    pub fn add(&mut self, credit: &Credit) {
        let accounts = self.open.entry(credit.height).or_default();
        let counts = match accounts.get_mut(&credit.account) {
            Some(counts) => counts,
            None => accounts.entry(credit.account.clone()).or_default(),
        };
        *counts.entry(credit.difficulty.get().to_bits()).or_default() += 1;
    }

    /// Ends the round of a pool block at `height`: all heights up to it that no earlier block
    /// closed. Returns each account's difficulty, by name.
    pub fn close(&mut self, height: Height) -> BTreeMap<Arc<str>, f64> {
        let later = self.open.split_off(&Height(height.0 + 1));
        let closed = std::mem::replace(&mut self.open, later);
        let mut sums: BTreeMap<Arc<str>, Counts> = BTreeMap::new();
        for (account, counts) in closed.into_values().flatten() {
            let sum = sums.entry(account).or_default();
            for (difficulty, count) in counts {
                *sum.entry(difficulty).or_default() += count;
            }
        }
        sums.into_iter()
            .map(|(account, counts)| (account, difficulty_of(&counts)))
            .collect()
    }
}

/// The sum is taken in the order of the difficulties, so that it is the same on every run.
#[expect(clippy::cast_precision_loss, reason = "a count stays far below 2^53")]
fn difficulty_of(counts: &Counts) -> f64 {
    counts
        .iter()
        .map(|(&difficulty, &count)| f64::from_bits(difficulty) * count as f64)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(rounds: &mut Rounds, height: u32, account: &str, difficulty: f64) {
        rounds.add(&Credit {
            seq: Seq(0),
            height: Height(height),
            account: account.into(),
            difficulty: Difficulty::new(difficulty).unwrap(),
            network_difficulty: Difficulty::new(1.0).unwrap(),
        });
    }

    fn close(rounds: &mut Rounds, height: u32) -> Vec<(String, f64)> {
        let sums = rounds.close(Height(height));
        sums.into_iter().map(|(a, d)| (a.to_string(), d)).collect()
    }

    #[test]
    fn a_block_closes_the_heights_since_the_last_one() {
        let mut rounds = Rounds::default();
        for height in 1..=4 {
            add(&mut rounds, height, "alice", 8.0);
        }
        add(&mut rounds, 2, "bob", 0.5);
        assert_eq!(
            close(&mut rounds, 3),
            [("alice".into(), 24.0), ("bob".into(), 0.5)]
        );
        assert_eq!(close(&mut rounds, 4), [("alice".into(), 8.0)]);
        assert_eq!(close(&mut rounds, 4), []);
    }

    #[test]
    fn a_late_share_of_a_closed_height_falls_into_the_next_round() {
        let mut rounds = Rounds::default();
        close(&mut rounds, 10);
        add(&mut rounds, 9, "alice", 1.0);
        add(&mut rounds, 11, "alice", 1.0);
        assert_eq!(close(&mut rounds, 11), [("alice".into(), 2.0)]);
    }

    #[test]
    fn many_small_shares_sum_without_drift() {
        let mut rounds = Rounds::default();
        for _ in 0..1_000_000 {
            add(&mut rounds, 1, "alice", 0.1);
        }
        assert_eq!(close(&mut rounds, 1), [("alice".into(), 100_000.0)]);
    }
}
