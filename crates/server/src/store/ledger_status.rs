//! Status of the ledger, for other threads.

use std::sync::Arc;
use std::time::Duration;

use hstratum_core::accounting::ledger::Tally;
use parking_lot::Mutex;

use super::ledger::TallyKey;
use super::unproven_workers::UnprovenWorkers;
use crate::telemetry::histogram::Histogram;

/// Status of the ledger, shared between threads.
#[derive(Debug, Default)]
pub struct LedgerStatus {
    reading: Mutex<LedgerReading>,
    unproven: Mutex<UnprovenWorkers>,
}

/// The status at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LedgerReading {
    /// Reason why shares are refused; `None` while they are accepted.
    pub failing: Option<String>,
    /// Another process is writing to it, and shares wait.
    pub is_stalled: bool,
    /// Duration of the last commit.
    pub last_commit: Duration,
    /// Durations of all commits.
    pub commits: Histogram,
    /// Bytes used in the write-ahead log; its file may be longer.
    pub wal_bytes: u64,
    /// Groups of shares committed since the start.
    pub groups: u64,
    /// Shares committed since the start.
    pub shares: u64,
}

impl LedgerReading {
    /// Description of what is wrong; `None` if nothing is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let stalled = || "another process holds the ledger: shares wait".to_owned();
        let failing = self.failing.clone();
        failing.or_else(|| self.is_stalled.then(stalled))
    }
}

impl LedgerStatus {
    /// The status now.
    pub fn read(&self) -> LedgerReading {
        self.reading.lock().clone()
    }

    /// Bytes used in the write-ahead log.
    pub(crate) fn wal_bytes(&self) -> u64 {
        self.reading.lock().wal_bytes
    }

    pub(super) fn committed(&self, took: Duration, shares: u64, wal_bytes: u64) {
        let mut reading = self.reading.lock();
        reading.last_commit = took;
        reading.commits.observe(took, 1);
        reading.wal_bytes = wal_bytes;
        reading.shares += shares;
        reading.groups += u64::from(shares > 0);
    }

    /// Records that the log was copied and truncated.
    pub(super) fn log_is_short(&self) {
        self.reading.lock().wal_bytes = 0;
    }

    pub(super) fn set_failing(&self, reason: Option<String>) {
        self.reading.lock().failing = reason;
    }

    /// Statistics of the last hour of workers that never had a share accepted.
    pub(crate) fn unproven(&self, unix_s: u64) -> Vec<(TallyKey, Tally)> {
        self.unproven.lock().list(unix_s)
    }

    pub(super) fn unproven_of(&self, account: &Arc<str>, worker: &str) -> Vec<(u64, Tally)> {
        self.unproven.lock().of(account, worker)
    }

    /// Records that these are durable, except those that were left out.
    pub(super) fn tallied(
        &self,
        tallies: &[(TallyKey, Tally)],
        left_out: &[&(TallyKey, Tally)],
        unix_s: u64,
    ) {
        let mut unproven = self.unproven.lock();
        for ((_, account, worker), tally) in tallies {
            if tally.accepted.count > 0 {
                unproven.forget(account, worker);
            }
        }
        for (key, tally) in left_out {
            unproven.add(key, tally, unix_s);
        }
    }

    pub(super) fn set_stalled(&self, is_stalled: bool) {
        self.reading.lock().is_stalled = is_stalled;
    }
}
