//! What workers sent that never had a share accepted. They make no rows in the ledger, since a name costs
//! nothing: it is kept here, in memory, for an hour and up to a limit, so that whoever looks for a miner
//! that only fails finds it. With its first share all of it goes into the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use hstratum_core::accounting::ledger::Tally;
use serde::{Deserialize, Serialize};

use super::keeper::SPAN_S;
use super::ledger::TallyKey;
use super::sqlite::signed;
use crate::limits::UNPROVEN_MAX;

/// So long it is kept after its ten minutes are over, in seconds.
const KEPT_S: u64 = 3_600;

/// One row of it, for whoever shows it; servers of one pool tell each other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refused {
    /// Untrusted text.
    pub account: String,
    /// Untrusted text; empty where the miner names none.
    pub worker: String,
    /// The begin of the ten minutes, Unix seconds.
    pub start: i64,
    /// For a job that is no longer worth anything.
    pub stale: i64,
    /// Above the target.
    pub low: i64,
    /// Sent before.
    pub duplicate: i64,
    /// Whether the worker is there now.
    pub is_connected: bool,
}

impl Refused {
    /// Submits of every outcome.
    pub(crate) fn all(&self) -> i64 {
        self.stale
            .saturating_add(self.low)
            .saturating_add(self.duplicate)
    }
}

impl From<(TallyKey, Tally)> for Refused {
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

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Unproven(BTreeMap<TallyKey, Tally>);

impl Unproven {
    /// What came of a worker that the ledger does not know. Where there is no room it is not counted.
    pub(crate) fn add(&mut self, key: &TallyKey, tally: &Tally, unix_s: u64) {
        self.expire(unix_s);
        if let Some(sum) = self.0.get_mut(key) {
            sum.add(tally);
        } else if self.0.len() < UNPROVEN_MAX {
            self.0.insert(key.clone(), *tally);
        }
    }

    /// Ten minutes by ten minutes, all of a worker.
    pub(crate) fn of(&self, account: &Arc<str>, worker: &str) -> Vec<(u64, Tally)> {
        let found = self.starts().into_iter().filter_map(|start| {
            let key = (start, account.clone(), worker.into());
            Some((start, *self.0.get(&key)?))
        });
        found.collect()
    }

    /// It is in the ledger now.
    pub(crate) fn forget(&mut self, account: &Arc<str>, worker: &str) {
        for start in self.starts() {
            self.0.remove(&(start, account.clone(), worker.into()));
        }
    }

    /// Everybody.
    pub(crate) fn list(&mut self, unix_s: u64) -> Vec<(TallyKey, Tally)> {
        self.expire(unix_s);
        let rows = self.0.iter();
        rows.map(|(key, tally)| (key.clone(), *tally)).collect()
    }

    /// The few that there are.
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
    use hstratum_core::accounting::ledger::Work;

    use super::*;

    fn low(count: u64) -> Tally {
        Tally {
            low: Work {
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
        let mut unproven = Unproven::default();
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
