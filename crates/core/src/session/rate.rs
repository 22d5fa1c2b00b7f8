//! Hashrate of a connection or the pool, estimated from accepted work with exponential decay.

use crate::units::{Difficulty, HASHES_PER_DIFFICULTY};

/// Time constant of the decay: the older a share, the less it counts.
const RATE_MS: f64 = 300_000.0;

/// Shortest time that a rate is taken over; the first share would give far too high a rate without it.
const RATE_MS_MIN: f64 = 60_000.0;

/// Accepted work with exponential decay: each share counts by `e^(-age / RATE_MS)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    since_ms: u64,
    at_ms: u64,
    work: f64,
}

impl Rate {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            since_ms: now_ms,
            at_ms: now_ms,
            work: 0.0,
        }
    }

    pub(crate) fn add(&mut self, difficulty: Difficulty, now_ms: u64) {
        self.work = self.faded(now_ms) + difficulty.get();
        self.at_ms = now_ms;
    }

    fn faded(&self, now_ms: u64) -> f64 {
        self.work * (-((now_ms - self.at_ms) as f64) / RATE_MS).exp()
    }

    /// Hashes per second.
    pub(crate) fn hashes_per_s(&self, now_ms: u64) -> f64 {
        let age_ms = ((now_ms - self.since_ms) as f64).max(RATE_MS_MIN);
        // The decayed sum that a steady stream of 1 would have reached in that time.
        let seen_ms = RATE_MS * (1.0 - (-age_ms / RATE_MS).exp());
        self.faded(now_ms) * HASHES_PER_DIFFICULTY * 1000.0 / seen_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_miner_has_its_rate_from_the_first_minute_on() {
        let mut rate = Rate::new(0);
        let difficulty = Difficulty::new(8.0).expect("above zero");
        let expected = 8.0 * HASHES_PER_DIFFICULTY / 5.0;
        for second in (5..3600).step_by(5) {
            rate.add(difficulty, second * 1000);
            if second >= 60 {
                let error = rate.hashes_per_s(second * 1000) / expected - 1.0;
                assert!(error.abs() < 0.1, "{second}: {error}");
            }
        }
        let later = rate.hashes_per_s(3600 * 1000 + 1_500_000);
        assert!(later < expected / 100.0, "a silent miner's rate fades");
    }
}
