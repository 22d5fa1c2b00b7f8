//! Checks the statistics: the shares reported to the ledger for each worker are those the worker saw
//! answered.
//!
//! A pool that fails or dies may have lost unreported counts, so only the last pool of a run is checked,
//! which starts when the faults have stopped.

use std::collections::BTreeMap;

use hstratum_core::accounting::ledger::{ShareTotals, Tallied};

/// Account and worker.
type WorkerKey = (String, String);

/// Counts of a worker's shares: accepted, stale, low, duplicate.
type Outcomes = [u64; 4];

/// Shares by worker: seen answered by the miner, and reported to the ledger.
#[derive(Default)]
pub(crate) struct WorkerStatsCheck {
    seen: BTreeMap<WorkerKey, Outcomes>,
    told: BTreeMap<WorkerKey, Outcomes>,
    /// Shares whose answer never came.
    unanswered: BTreeMap<WorkerKey, u64>,
}

fn name_of(user: &str) -> WorkerKey {
    let (account, worker) = user.split_once('.').unwrap_or((user, ""));
    (account.to_owned(), worker.to_owned())
}

impl WorkerStatsCheck {
    /// Counts the answer to a miner's share; `code` is that of its error.
    pub(crate) fn see(&mut self, user: &str, code: Option<i64>) {
        let place = match code {
            None => 0,
            Some(21) => 1,
            Some(23) => 2,
            Some(22) => 3,
            Some(_) => return,
        };
        self.seen.entry(name_of(user)).or_default()[place] += 1;
    }

    /// Counts shares whose answers will not come, because the connection has ended.
    pub(crate) fn miss(&mut self, user: &str, count: u64) {
        *self.unanswered.entry(name_of(user)).or_default() += count;
    }

    /// Counts a report to the ledger.
    pub(crate) fn tell(&mut self, tallied: &[Tallied]) {
        for one in tallied {
            let name = (one.account.to_string(), one.worker.to_string());
            let tally = one.tally;
            let of = [tally.accepted, tally.stale, tally.low, tally.duplicate];
            let told = self.told.entry(name).or_default();
            for (sum, ShareTotals { count, difficulty }) in told.iter_mut().zip(of) {
                assert_eq!(count > 0, difficulty > 0.0, "a tally without work");
                *sum += count;
            }
        }
    }

    /// Compares both, when everything is reported.
    pub(crate) fn check(&self) {
        let names = self.seen.keys().chain(self.told.keys());
        for name in names {
            let of =
                |map: &BTreeMap<WorkerKey, Outcomes>| map.get(name).copied().unwrap_or_default();
            let (seen, told) = (of(&self.seen), of(&self.told));
            let missed = self.unanswered.get(name).copied().unwrap_or(0);
            let mut beyond = 0;
            for (seen, told) in seen.into_iter().zip(told) {
                assert!(told >= seen, "{name:?} has seen {seen}, the ledger {told}");
                beyond += told - seen;
            }
            assert!(
                beyond <= missed,
                "the ledger has {beyond} of {name:?} that were never sent"
            );
        }
    }
}
