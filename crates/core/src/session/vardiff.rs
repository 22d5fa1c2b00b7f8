//! Vardiff: picks the difficulty at which a connection sends shares at a steady rate.
//!
//! The hashrate is estimated from the work of the shares since the difficulty last changed. It is raised
//! quickly, since a machine far too fast sends thousands of shares a second; it is lowered when shares
//! fail to come. Shares of jobs sent under an earlier difficulty are not counted: some miners apply a new
//! difficulty to jobs they already have.

use crate::units::Difficulty;

/// Target rate: shares a minute of each worker.
pub const SHARES_PER_MINUTE: f64 = 8.0;

/// Shares after which the rate is estimated; the estimate is then within about a quarter.
const SAMPLE: u32 = 16;
/// Shares after which a sample that caused no change is dropped and a new one begins.
const SAMPLE_MAX: u32 = 64;
/// Shortest duration assumed for a sample, in milliseconds: several shares can arrive in one TCP segment.
const SAMPLE_MS_MIN: u64 = 250;
/// Time without a share after which the difficulty falls, in milliseconds.
const SILENCE_MS: u64 = 30_000;
/// Divisor of the difficulty after [`SILENCE_MS`] without any share.
const SILENCE_FACTOR: f64 = 8.0;
/// Standard deviations by which an estimate must differ for a change. For a rate seen in n shares one
/// deviation is 1/√n of it.
const DEVIATIONS: f64 = 3.0;
/// Ratio from which a change does not wait for the next job.
const URGENT: f64 = 2.5;
/// The lowest difficulty that vardiff sets; a share then takes 2^16 hashes. A Goldshell stops for good
/// below 2^-32.
pub const DIFFICULTY_MIN: f64 = 1.0 / 65_536.0;

/// The sample of accepted shares since the difficulty last changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vardiff {
    since_ms: u64,
    shares: u32,
    work: f64,
}

/// A new difficulty, and the time to send it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DifficultyChange {
    /// With the next job that comes anyway.
    Soon(Difficulty),
    /// Now, with a job sent for it.
    Now(Difficulty),
}

impl Vardiff {
    /// Starts an empty sample.
    pub fn new(now_ms: u64) -> Self {
        Self {
            since_ms: now_ms,
            shares: 0,
            work: 0.0,
        }
    }

    /// Counts an accepted share of difficulty `current`; returns the change that is needed, if any.
    /// `workers` is the number of workers on the connection.
    pub fn share(
        &mut self,
        current: Difficulty,
        workers: usize,
        now_ms: u64,
    ) -> Option<DifficultyChange> {
        self.shares += 1;
        self.work += current.get();
        if self.shares < SAMPLE {
            return None;
        }
        let elapsed_ms = (now_ms - self.since_ms).max(SAMPLE_MS_MIN);
        let ideal = ideal(self.work, elapsed_ms, workers);
        let change = change(current, ideal, self.shares);
        if change.is_some() || self.shares >= SAMPLE_MAX {
            *self = Self::new(now_ms);
        }
        change
    }

    /// Checks a connection that sends no or few shares; returns an easier difficulty if one is needed.
    pub fn silence(
        &mut self,
        current: Difficulty,
        workers: usize,
        now_ms: u64,
    ) -> Option<DifficultyChange> {
        let elapsed_ms = now_ms - self.since_ms;
        if elapsed_ms < SILENCE_MS || self.shares >= SAMPLE {
            return None;
        }
        let ideal = if self.shares == 0 {
            current.get() / SILENCE_FACTOR
        } else if elapsed_ms < 4 * SILENCE_MS {
            // A few shares in half a minute may be bad luck.
            return None;
        } else {
            ideal(self.work, elapsed_ms, workers)
        };
        let change = change(current, ideal.min(current.get()), SAMPLE.max(self.shares));
        *self = Self::new(now_ms);
        change
    }
}

/// The difficulty at which this work in this time would have come at the target rate.
fn ideal(work: f64, elapsed_ms: u64, workers: usize) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds and workers are few"
    )]
    let (minutes, workers) = (elapsed_ms as f64 / 60_000.0, workers.max(1) as f64);
    work / minutes / (SHARES_PER_MINUTE * workers)
}

fn change(current: Difficulty, ideal: f64, shares: u32) -> Option<DifficultyChange> {
    let ideal = ideal.max(DIFFICULTY_MIN.min(current.get()));
    let off = (ideal / current.get()).max(current.get() / ideal);
    let ideal = rounded(ideal)?;
    if ideal == current || off < 1.0 + DEVIATIONS / f64::from(shares).sqrt() {
        None
    } else if off < URGENT {
        Some(DifficultyChange::Soon(ideal))
    } else {
        Some(DifficultyChange::Now(ideal))
    }
}

/// The nearest number with three significant bits: short to write, and exact in every client's
/// arithmetic.
fn rounded(difficulty: f64) -> Option<Difficulty> {
    const CUT: u64 = 1 << 50;
    Difficulty::new(f64::from_bits(
        (difficulty.to_bits() + CUT / 2) & !(CUT - 1),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difficulty(value: f64) -> Difficulty {
        Difficulty::new(value).unwrap()
    }

    /// Sends shares at a steady rate until the difficulty changes.
    fn steady(current: f64, per_minute: f64, shares: u32) -> Option<DifficultyChange> {
        let mut vardiff = Vardiff::new(0);
        (1..=shares).find_map(|n| {
            let now_ms = (f64::from(n) / per_minute * 60_000.0) as u64;
            vardiff.share(difficulty(current), 1, now_ms)
        })
    }

    #[test]
    fn the_right_rate_changes_nothing() {
        assert_eq!(steady(8.0, SHARES_PER_MINUTE, 1_000), None);
        assert_eq!(steady(8.0, SHARES_PER_MINUTE * 1.3, 1_000), None);
        assert_eq!(steady(8.0, SHARES_PER_MINUTE / 1.3, 1_000), None);
    }

    #[test]
    fn a_rate_far_off_is_corrected_at_once_and_one_nearly_right_with_the_next_job() {
        assert_eq!(
            steady(8.0, SHARES_PER_MINUTE * 4.0, 16),
            Some(DifficultyChange::Now(difficulty(32.0)))
        );
        assert_eq!(
            steady(8.0, SHARES_PER_MINUTE / 4.0, 16),
            Some(DifficultyChange::Now(difficulty(2.0)))
        );
        assert_eq!(
            steady(8.0, SHARES_PER_MINUTE * 1.8, 16),
            Some(DifficultyChange::Soon(difficulty(14.0)))
        );
    }

    #[test]
    fn shares_that_come_all_at_once_do_not_ask_for_the_impossible() {
        let mut vardiff = Vardiff::new(1_000);
        let change = (0..16).find_map(|_| vardiff.share(difficulty(8.0), 1, 1_000));
        assert_eq!(change, Some(DifficultyChange::Now(difficulty(4_096.0))));
    }

    #[test]
    fn several_workers_share_a_connection_at_the_sum_of_their_rates() {
        let mut vardiff = Vardiff::new(0);
        let change = (1..=100).find_map(|n| vardiff.share(difficulty(8.0), 4, n * 60_000 / 32));
        assert_eq!(change, None);
    }

    #[test]
    fn silence_makes_it_easier_down_to_the_least() {
        let mut vardiff = Vardiff::new(0);
        assert_eq!(vardiff.silence(difficulty(8.0), 1, 29_999), None);
        let easier = vardiff.silence(difficulty(8.0), 1, 30_000);
        assert_eq!(easier, Some(DifficultyChange::Now(difficulty(1.0))));
        let least = difficulty(DIFFICULTY_MIN);
        assert_eq!(vardiff.silence(least, 1, 60_000), None);
    }

    #[test]
    fn what_is_easier_than_the_least_already_stays() {
        let network = difficulty(4.7e-10);
        assert_eq!(Vardiff::new(0).silence(network, 1, 60_000), None);
    }
}
