//! How the ledger does, for whoever asks from another thread.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::histogram::Histogram;

/// See the module.
#[derive(Debug, Default)]
pub struct Status {
    reading: Mutex<Reading>,
}

/// The status at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Why shares are refused; none when they are taken.
    pub failing: Option<String>,
    /// Whether another process writes to it and shares wait.
    pub is_stalled: bool,
    /// How long the last commit took.
    pub last_commit: Duration,
    /// How long commits took.
    pub commits: Histogram,
    /// What is in the ledger's log, in bytes; its file may be longer.
    pub wal_bytes: u64,
    /// Groups of shares committed since the start.
    pub groups: u64,
    /// Shares committed since the start.
    pub shares: u64,
}

impl Reading {
    /// What is wrong with it; none where nothing is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let stalled = || "another process holds the ledger: shares wait".to_owned();
        let failing = self.failing.clone();
        failing.or_else(|| self.is_stalled.then(stalled))
    }
}

impl Status {
    /// How it is now.
    pub fn read(&self) -> Reading {
        self.lock().clone()
    }

    /// What is in the ledger's log.
    pub(crate) fn wal_bytes(&self) -> u64 {
        self.lock().wal_bytes
    }

    pub(super) fn committed(&self, took: Duration, shares: u64, wal_bytes: u64) {
        let mut reading = self.lock();
        reading.last_commit = took;
        reading.commits.observe(took, 1);
        reading.wal_bytes = wal_bytes;
        reading.shares += shares;
        reading.groups += u64::from(shares > 0);
    }

    /// It was copied and made short.
    pub(super) fn log_is_short(&self) {
        self.lock().wal_bytes = 0;
    }

    pub(super) fn set_failing(&self, reason: Option<String>) {
        self.lock().failing = reason;
    }

    pub(super) fn set_stalled(&self, is_stalled: bool) {
        self.lock().is_stalled = is_stalled;
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.reading
            .lock()
            .expect("nothing panics while it is held")
    }
}
