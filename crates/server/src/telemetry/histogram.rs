//! Histogram of durations for Prometheus, with a fixed number of counters; durations of steps for the log.

use std::time::{Duration, Instant};

/// Upper bounds of the counters, in seconds; longer durations are counted in [`Histogram::count`] only.
pub(crate) const BOUNDS_S: [f64; 18] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0, 120.0,
];

/// Counters of durations, by length.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Histogram {
    /// Number of durations up to the bound of the same index, and longer than the previous one.
    pub(crate) counts: [u64; BOUNDS_S.len()],
    /// Number of all durations.
    pub(crate) count: u64,
    /// Sum of all durations in seconds.
    pub(crate) sum_s: f64,
}

impl Histogram {
    /// Counts `times` durations of the same length.
    pub(crate) fn observe(&mut self, took: Duration, times: u64) {
        let took_s = took.as_secs_f64();
        if let Some(place) = BOUNDS_S.iter().position(|bound| took_s <= *bound) {
            self.counts[place] += times;
        }
        self.count += times;
        self.sum_s += took_s * times as f64;
    }
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The duration of each step by its name, as far as they have been; they lie between the times in `at`.
pub(crate) fn steps_text(names: &[&str], at: &[Instant]) -> String {
    let steps = names.iter().zip(at.windows(2));
    let steps: Vec<_> = steps
        .map(|(name, at)| format!("{name} {:.2}", ms(at[1] - at[0])))
        .collect();
    format!("{} ms", steps.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_at_the_first_bound_that_it_meets() {
        let mut histogram = Histogram::default();
        histogram.observe(Duration::from_millis(1), 2);
        histogram.observe(Duration::from_micros(1001), 1);
        histogram.observe(Duration::from_secs(180), 1);
        assert_eq!(histogram.counts[2..4], [2, 1]);
        assert_eq!(histogram.counts.iter().sum::<u64>(), 3);
        assert_eq!(histogram.count, 4);
        assert!((histogram.sum_s - 180.003_001).abs() < 1e-9);
    }
}
