//! Credit by round: what each account is owed for the heights since the pool's last block.
//!
//! Rounds are cut by height, not by clock: a share counts for the height its job was mining, so a
//! late one falls into the right round. Sums are kept as (difficulty, count), exactly.

use std::collections::BTreeMap;
use std::sync::Arc;

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
