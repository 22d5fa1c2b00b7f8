//! Counts of shares by what became of them, for each account. A share is submitted once, and then it is acknowledged,
//! refused, unanswered, or still outstanding.
//!
//! Work is kept as (difficulty, count), so that it can be compared with a ledger exactly.

use std::collections::BTreeMap;

use hstratum_core::units::Difficulty;
use hstratum_core::wire::client::RequestRefusal;
use serde_json::{Value, json};

use crate::limits::KINDS_MAX;

/// Shares by the difficulty they are credited with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CreditedWork {
    /// By the bits of the difficulty: those of positive numbers are in their order.
    counts: BTreeMap<u64, u64>,
}

impl CreditedWork {
    pub(crate) fn add(&mut self, difficulty: Difficulty) {
        *self.counts.entry(difficulty.get().to_bits()).or_default() += 1;
    }

    /// The number of shares.
    pub(crate) fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Their difficulties' sum, from the smallest up.
    pub(crate) fn difficulty(&self) -> f64 {
        let parts = self.counts.iter();
        parts
            .map(|(&bits, &count)| f64::from_bits(bits) * count as f64)
            .sum()
    }

    fn add_all(&mut self, other: &Self) {
        for (&bits, &count) in &other.counts {
            *self.counts.entry(bits).or_default() += count;
        }
    }

    /// `[[difficulty, count], …]`
    pub(crate) fn to_json(&self) -> Value {
        let parts = self.counts.iter();
        parts
            .map(|(&bits, &count)| json!([f64::from_bits(bits), count]))
            .collect()
    }
}

/// Counts of an account's shares.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccountShares {
    /// All shares sent.
    pub(crate) submitted: u64,
    /// Shares that the server said yes to.
    pub(crate) acknowledged: CreditedWork,
    /// Shares that the server said no to, by code.
    pub(crate) refused: BTreeMap<i64, u64>,
    /// Shares whose connection, or the run, ended before the answer came: nobody knows.
    pub(crate) unanswered: CreditedWork,
}

impl AccountShares {
    /// Shares that the server said no to.
    pub(crate) fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    pub(crate) fn refuse(&mut self, refusal: &RequestRefusal) {
        if self.refused.len() < KINDS_MAX || self.refused.contains_key(&refusal.code) {
            *self.refused.entry(refusal.code).or_default() += 1;
        } else {
            // 0 is the code of what has no code.
            *self.refused.entry(0).or_default() += 1;
        }
    }

    /// Adds another account's.
    pub(crate) fn add_all(&mut self, other: &Self) {
        self.submitted += other.submitted;
        self.acknowledged.add_all(&other.acknowledged);
        self.unanswered.add_all(&other.unanswered);
        for (&code, &count) in &other.refused {
            *self.refused.entry(code).or_default() += count;
        }
    }

    /// For scripts.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "submitted": self.submitted,
            "acknowledged": self.acknowledged.to_json(),
            "refused": self.refused,
            "unanswered": self.unanswered.to_json(),
        })
    }
}

/// Texts and how often each came; beyond a limit, all others together.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    counts: BTreeMap<String, u64>,
}

impl Kinds {
    pub(crate) fn add(&mut self, text: String) {
        let is_known = self.counts.contains_key(&text);
        let kind = if is_known || self.counts.len() < KINDS_MAX {
            text
        } else {
            "others".to_owned()
        };
        *self.counts.entry(kind).or_default() += 1;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts.iter().map(|(text, &count)| (&**text, count))
    }

    pub(crate) fn to_json(&self) -> Value {
        json!(self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_kept_apart_by_difficulty_and_adds_up() {
        let difficulty = |value| Difficulty::new(value).expect("above zero");
        let mut work = CreditedWork::default();
        for value in [0.5, 8.0, 0.5, 2.3e-10] {
            work.add(difficulty(value));
        }
        assert_eq!(work.count(), 4);
        assert_eq!(work.difficulty(), 2.3e-10 + 1.0 + 8.0);
        assert_eq!(work.to_json().to_string(), "[[2.3e-10,1],[0.5,2],[8.0,1]]");
    }

    #[test]
    fn kinds_are_limited_and_none_is_lost() {
        let mut kinds = Kinds::default();
        for number in 0..1_000 {
            kinds.add(format!("kind {number}"));
        }
        assert_eq!(kinds.iter().count(), KINDS_MAX + 1);
        assert_eq!(kinds.iter().map(|(_, count)| count).sum::<u64>(), 1_000);
    }
}
