//! Times of payouts.
//!
//! Within a process they follow the monotonic clock, so that a wall clock that is set neither skips nor doubles
//! a run. The ledger's record of the last run is compared with the wall clock only when it has changed: at the
//! start, and after a run of another process. A record of the future counts as one of now.

use std::time::{Duration, Instant};

use crate::limits::PAYOUT_AGAIN;
use crate::payout::{LastRun, PayoutRecord};

/// Schedule of a server's payouts.
pub(super) struct Schedule {
    every: Duration,
    /// Time of the next run, and the number of runs in the record that it was computed from; `None` before the
    /// record was read.
    due: Option<(Instant, u64)>,
}

impl Schedule {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, due: None }
    }

    /// Takes the ledger's record.
    pub(super) fn see(&mut self, record: &PayoutRecord, now: Instant, unix_s: u64) {
        if self.due.is_none_or(|(_, runs)| runs != record.runs) {
            let remaining = self.remaining_after(record.last_run.as_ref(), unix_s);
            self.due = Some((now + remaining, record.runs));
        }
    }

    fn remaining_after(&self, last: Option<&LastRun>, unix_s: u64) -> Duration {
        let Some(last) = last else {
            return Duration::ZERO;
        };
        let interval = match last.failure {
            Some(_) => self.every.min(PAYOUT_AGAIN),
            None => self.every,
        };
        interval.saturating_sub(Duration::from_secs(unix_s.saturating_sub(last.at)))
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|(at, _)| at <= now)
    }

    /// Time until the next run; `None` before the record was read.
    pub(super) fn remaining(&self) -> Option<Duration> {
        let (at, _) = self.due?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Time of the next run; `None` before the record was read.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn record(runs: u64, at: u64, failure: Option<&str>) -> PayoutRecord {
        PayoutRecord {
            runs,
            last_run: Some(LastRun {
                at,
                by: "here".to_owned(),
                failure: failure.map(str::to_owned),
            }),
            ..PayoutRecord::default()
        }
    }

    /// Time from a start until its first run, with this record at this time of the wall clock.
    fn first(record: &PayoutRecord, unix_s: u64) -> Duration {
        let (mut schedule, now) = (Schedule::new(HOUR), Instant::now());
        schedule.see(record, now, unix_s);
        schedule.due.expect("seen").0 - now
    }

    #[test]
    fn a_restart_continues_where_the_record_ends() {
        assert_eq!(first(&PayoutRecord::default(), 9_000), Duration::ZERO);
        assert_eq!(
            first(&record(1, 9_000, None), 10_000),
            HOUR - Duration::from_secs(1_000)
        );
        assert_eq!(first(&record(1, 9_000, None), 99_000), Duration::ZERO);
        assert_eq!(
            first(&record(1, 9_000, Some("locked")), 9_010),
            Duration::from_secs(50)
        );
    }

    #[test]
    fn a_clock_that_jumps_neither_skips_nor_doubles_a_run() {
        // At a start: a record of the future waits an interval, and no longer.
        assert_eq!(first(&record(1, 999_999, None), 9_000), HOUR);
        // Later: only the monotonic clock counts.
        let (mut schedule, begin) = (Schedule::new(HOUR), Instant::now());
        schedule.see(&record(1, 9_000, None), begin, 9_000);
        for jumped in [0, 9_000_000] {
            schedule.see(&record(1, 9_000, None), begin + HOUR / 2, jumped);
            assert!(!schedule.is_due(begin + HOUR / 2));
        }
        assert!(schedule.is_due(begin + HOUR));
    }

    #[test]
    fn the_run_of_another_process_counts() {
        let (mut schedule, begin) = (Schedule::new(HOUR), Instant::now());
        schedule.see(&record(1, 9_000, None), begin, 9_000);
        schedule.see(&record(2, 12_000, None), begin + HOUR, 12_600);
        assert!(!schedule.is_due(begin + HOUR));
        assert!(schedule.is_due(begin + HOUR + Duration::from_secs(3_000)));
    }
}
