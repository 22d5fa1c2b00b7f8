//! Statistics of workers that never had a share accepted. They get no rows in the ledger, since a name costs
//! nothing; they are kept in memory, for an hour and up to a limit, so that an operator looking for a miner
//! whose shares all fail finds it. With the worker's first accepted share they go into the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use hstratum_core::accounting::ledger::Tally;
use serde::{Deserialize, Serialize};

use super::group_commit::SPAN_S;
use super::ledger::TallyKey;
use crate::limits::UNPROVEN_MAX;
use crate::sql::signed;

/// Seconds for which a row is kept after its ten minutes are over.
const KEPT_S: u64 = 3_600;

/// One row of it, as shown over HTTP and told to other servers of the pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RefusedSubmits {
    /// Untrusted text.
    pub account: String,
    /// Untrusted text; empty where the miner names none.
    pub worker: String,
    /// Start of the ten minutes, Unix seconds.
    pub start: i64,
    /// Submits for a job that is no longer valid.
    pub stale: i64,
    /// Submits above the target.
    pub low: i64,
    /// Submits that were sent before.
    pub duplicate: i64,
    /// The worker is connected now.
    pub is_connected: bool,
}

impl RefusedSubmits {
    /// Number of submits of all outcomes.
    pub(crate) fn all(&self) -> i64 {
        self.stale
            .saturating_add(self.low)
            .saturating_add(self.duplicate)
    }
}

impl From<(TallyKey, Tally)> for RefusedSubmits {
    fn from(((start, account, worker), tally): (TallyKey, Tally)) -> Self {
        Self {
            account: account.to_string(),
            worker: worker.into(),
            start: signed(start),
            stale: signed(tally.stale.count),
            low: signed(tally.low.count),
            duplicate: signed(tally.duplicate.count),
            is_connected: false,
        }
    }
}

/// The rows by key, at most [`UNPROVEN_MAX`].
#[derive(Debug, Default)]
pub(crate) struct UnprovenWorkers(BTreeMap<TallyKey, Tally>);

impl UnprovenWorkers {
    /// Adds statistics of a worker that the ledger does not know. Without room they are not counted.
    pub(crate) fn add(&mut self, key: &TallyKey, tally: &Tally, unix_s: u64) {
        self.expire(unix_s);
        if let Some(sum) = self.0.get_mut(key) {
            sum.add(tally);
        } else if self.0.len() < UNPROVEN_MAX {
            self.0.insert(key.clone(), *tally);
        }
    }

    /// All statistics of a worker, one item for each ten minutes.
    pub(crate) fn of(&self, account: &Arc<str>, worker: &str) -> Vec<(u64, Tally)> {
        let found = self.starts().into_iter().filter_map(|start| {
            let key = (start, account.clone(), worker.into());
            Some((start, *self.0.get(&key)?))
        });
        found.collect()
    }

    /// Removes a worker that is in the ledger now.
    pub(crate) fn forget(&mut self, account: &Arc<str>, worker: &str) {
        for start in self.starts() {
            self.0.remove(&(start, account.clone(), worker.into()));
        }
    }

    /// Statistics of all workers.
    pub(crate) fn list(&mut self, unix_s: u64) -> Vec<(TallyKey, Tally)> {
        self.expire(unix_s);
        let rows = self.0.iter();
        rows.map(|(key, tally)| (key.clone(), *tally)).collect()
    }

    /// The distinct starts, which are few.
    fn starts(&self) -> Vec<u64> {
        let mut starts = Vec::new();
        let mut next = self.0.keys().next();
        while let Some((start, _, _)) = next {
            starts.push(*start);
            let above = (start + 1, Arc::from(""), Box::from(""));
            next = self.0.range(above..).next().map(|(key, _)| key);
        }
        starts
    }

    fn expire(&mut self, unix_s: u64) {
        let oldest = unix_s.saturating_sub(SPAN_S + KEPT_S);
        while let Some(first) = self.0.first_entry()
            && first.key().0 < oldest
        {
            first.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use hstratum_core::accounting::ledger::ShareTotals;

    use super::*;

    fn low(count: u64) -> Tally {
        Tally {
            low: ShareTotals {
                count,
                difficulty: 1.0,
            },
            ..Tally::default()
        }
    }

    fn key(start: u64, worker: &str) -> TallyKey {
        (start, "carol".into(), worker.into())
    }

    #[test]
    fn an_hour_of_it_is_kept_and_a_flood_of_names_is_not() {
        let mut unproven = UnprovenWorkers::default();
        let carol: Arc<str> = "carol".into();
        unproven.add(&key(600, "a"), &low(1), 600);
        unproven.add(&key(600, "a"), &low(2), 600);
        unproven.add(&key(1_200, "a"), &low(4), 1_200);
        unproven.add(&key(1_200, "b"), &low(8), 1_200);
        let counts = |of: Vec<(u64, Tally)>| -> Vec<_> {
            of.iter().map(|(at, sum)| (*at, sum.low.count)).collect()
        };
        assert_eq!(counts(unproven.of(&carol, "a")), [(600, 3), (1_200, 4)]);
        for name in 0..2 * UNPROVEN_MAX {
            unproven.add(&key(1_200, &name.to_string()), &low(1), 1_200);
        }
        assert_eq!(unproven.list(1_200).len(), UNPROVEN_MAX);
        unproven.add(&key(1_200, "b"), &low(1), 1_200);
        assert_eq!(counts(unproven.of(&carol, "b")), [(1_200, 9)]);
        unproven.list(600 + SPAN_S + KEPT_S + 1);
        assert_eq!(counts(unproven.of(&carol, "a")), [(1_200, 4)]);
        unproven.forget(&carol, "a");
        assert_eq!(counts(unproven.of(&carol, "a")), []);
        assert_eq!(counts(unproven.of(&carol, "b")), [(1_200, 9)]);
    }
}
