//! When shares are due at a given rate, and whose turn it is.

use std::time::{Duration, Instant};

/// A rate that begins at some time and never waits for the server.
pub(crate) struct SharePace {
    begun: Instant,
    /// Shares a second.
    rate: u32,
    /// Shares sent or skipped: the next one's number.
    next: u64,
    skipped: u64,
    turn: usize,
}

impl SharePace {
    pub(crate) fn new(begun: Instant, rate: u32) -> Self {
        Self {
            begun,
            rate,
            next: 0,
            skipped: 0,
            turn: 0,
        }
    }

    /// When the next share is due.
    fn at(&self) -> Instant {
        let rate = u64::from(self.rate);
        let nanos = self.next % rate * 1_000_000_000 / rate;
        self.begun + Duration::from_secs(self.next / rate) + Duration::from_nanos(nanos)
    }

    /// When the next share was due, if it is.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        Some(self.at()).filter(|at| *at <= now)
    }

    pub(crate) fn until_due(&self, now: Instant) -> Duration {
        self.at().saturating_duration_since(now)
    }

    /// The miner whose turn it is, counted on without end.
    pub(crate) fn turn(&self) -> usize {
        self.turn
    }

    /// The share that is due has been sent.
    pub(crate) fn advance(&mut self) {
        self.next += 1;
        self.turn = self.turn.wrapping_add(1);
    }

    /// The miner whose turn it is cannot send: the next one shall.
    pub(crate) fn pass_over(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// Nobody can send: what is due will not be sent.
    pub(crate) fn skip(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.begun);
        let due = (elapsed.as_nanos() * u128::from(self.rate) / 1_000_000_000) as u64;
        self.skipped += due.saturating_sub(self.next);
        self.next = self.next.max(due);
    }

    /// Shares that nobody could send.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_due_evenly_and_late_ones_keep_their_time() {
        let begun = Instant::now();
        let mut pace = SharePace::new(begun, 4);
        let later = begun + Duration::from_millis(600);
        assert_eq!(pace.due(later), Some(begun));
        pace.advance();
        pace.advance();
        assert_eq!(pace.due(later), Some(begun + Duration::from_millis(500)));
        pace.advance();
        assert_eq!(pace.due(later), None);
        assert_eq!(pace.until_due(later), Duration::from_millis(150));
    }

    #[test]
    fn what_nobody_could_send_is_skipped_and_counted() {
        let begun = Instant::now();
        let mut pace = SharePace::new(begun, 1_000);
        let later = begun + Duration::from_secs(3);
        pace.skip(later);
        assert_eq!(pace.skipped(), 3_000);
        assert_eq!(pace.due(later), Some(later));
    }
}
