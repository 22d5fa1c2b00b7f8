//! Vardiff with miners of every size; the arrivals of shares are drawn at random instead of hashed.
//!
//! `make vardiff` prints the table.

use hstratum_core::session::vardiff::{
    DIFFICULTY_MIN, DifficultyChange, SHARES_PER_MINUTE, Vardiff,
};
use hstratum_core::units::Difficulty;

const HASHES_PER_DIFFICULTY: f64 = 4_294_967_296.0;
const START: f64 = 8.0;
const SWEEP_MS: u64 = 5_000;
const JOB_MS: u64 = 60_000;
/// Time until a miner works on a fresh job; until then it mines the old one.
const ADOPT_MS: u64 = 300;
const HOURS: u64 = 4;
const SEEDS: u64 = 20;

/// xorshift64*: the same draws on every run.
struct Draws(u64);

impl Draws {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        (bits as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Milliseconds until the next share.
    fn wait_ms(&mut self, hashrate: f64, difficulty: f64) -> f64 {
        -self.uniform().ln() * difficulty * HASHES_PER_DIFFICULTY / hashrate * 1000.0
    }
}

/// The result of one simulated miner.
#[derive(Default)]
struct Outcome {
    /// Time at which its difficulty first came within a factor of two of the ideal one.
    settled_ms: Option<u64>,
    /// Time for which it was outside of that again.
    off_ms: u64,
    /// Shares before that time.
    shares_before: u64,
    /// Shares in each full minute after that.
    minutes: Vec<u64>,
    /// Changes of difficulty after that, and those of them that took a job of its own.
    changes: u64,
    own_jobs: u64,
    /// Shares of jobs under an earlier difficulty: credited, but not evidence.
    late: u64,
}

fn simulate(hashrate: f64, seed: u64) -> Outcome {
    let ideal = (hashrate * 60.0 / SHARES_PER_MINUTE / HASHES_PER_DIFFICULTY).max(DIFFICULTY_MIN);
    let mut draws = Draws(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut vardiff = Vardiff::new(0);
    let mut outcome = Outcome::default();
    // The difficulties of the job being mined, of the last job sent, and of the next one.
    let (mut mined, mut told, mut next) = (START, START, START);
    let mut adopt_at = None;
    let (mut round_at, mut job_at, mut before) = (SWEEP_MS, JOB_MS, 0);
    let mut share_at = draws.wait_ms(hashrate, mined);
    loop {
        let now = round_at
            .min(job_at)
            .min(share_at as u64)
            .min(adopt_at.unwrap_or(u64::MAX));
        if now >= HOURS * 3_600_000 {
            return outcome;
        }
        let mut change = None;
        if adopt_at == Some(now) {
            adopt_at = None;
            mined = told;
            share_at = now as f64 + draws.wait_ms(hashrate, mined);
        } else if share_at as u64 == now {
            if mined == told {
                change = vardiff.share(Difficulty::new(told).unwrap(), 1, now);
            } else {
                outcome.late += 1;
            }
            match outcome.settled_ms {
                None => outcome.shares_before += 1,
                Some(settled) => outcome.count_minute(now - settled),
            }
            share_at += draws.wait_ms(hashrate, mined);
        } else if round_at == now {
            round_at += SWEEP_MS;
            change = vardiff.silence(Difficulty::new(told).unwrap(), 1, now);
        } else {
            job_at += JOB_MS;
        }
        match change {
            Some(DifficultyChange::Now(difficulty)) => {
                next = difficulty.get();
                outcome.own_jobs += u64::from(outcome.settled_ms.is_some());
            }
            Some(DifficultyChange::Soon(difficulty)) => next = difficulty.get(),
            None => {}
        }
        let leaves =
            matches!(change, Some(DifficultyChange::Now(_))) || (job_at - JOB_MS == now && now > 0);
        if leaves && next != told {
            told = next;
            adopt_at = Some(now + ADOPT_MS);
            vardiff = Vardiff::new(now);
            outcome.changes += u64::from(outcome.settled_ms.is_some());
        }
        if (0.5..=2.0).contains(&(told / ideal)) {
            outcome.settled_ms.get_or_insert(now);
        } else if outcome.settled_ms.is_some() {
            outcome.off_ms += now - before;
        }
        before = now;
    }
}

impl Outcome {
    fn count_minute(&mut self, since_ms: u64) {
        let minute = (since_ms / 60_000) as usize;
        self.minutes.resize(self.minutes.len().max(minute + 1), 0);
        self.minutes[minute] += 1;
    }
}

/// Mean and standard deviation.
fn spread(values: &[u64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<u64>() as f64 / n;
    let squares: f64 = values.iter().map(|&v| (v as f64 - mean).powi(2)).sum();
    (mean, (squares / n).sqrt())
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

#[test]
fn miners_of_every_size_settle_and_stay() {
    println!("from difficulty {START}, {HOURS} h, medians and worst of {SEEDS} runs");
    println!(
        "hashrate   settled  worst   shares   rate a minute    off   changes  own jobs   late"
    );
    println!(
        "                            before   mean     sd     time   an hour   an hour shares"
    );
    for (name, hashrate) in [
        ("1 MH/s", 1e6),
        ("10 MH/s", 1e7),
        ("100 MH/s", 1e8),
        ("1 GH/s", 1e9),
        ("10 GH/s", 1e10),
        ("105 GH/s", 1.05e11),
        ("1 TH/s", 1e12),
        ("10 TH/s", 1e13),
        ("100 TH/s", 1e14),
        ("1 PH/s", 1e15),
    ] {
        let runs: Vec<Outcome> = (1..=SEEDS).map(|seed| simulate(hashrate, seed)).collect();
        let hours = HOURS as f64 * SEEDS as f64;
        let minutes: Vec<u64> = runs
            .iter()
            .flat_map(|run| &run.minutes[..run.minutes.len() - 1])
            .copied()
            .collect();
        let (mean, sd) = spread(&minutes);
        let settled = median(runs.iter().map(|run| run.settled_ms.expect(name)).collect());
        let worst = runs.iter().filter_map(|run| run.settled_ms).max().unwrap();
        let off_ms: u64 = runs.iter().map(|run| run.off_ms).sum();
        println!(
            "{name:9} {:>6.1} s {:>5.0} s {:>8} {mean:>7.1} {sd:>6.1} {:>6.1} % {:>9.2} {:>9.2} {:>6}",
            settled as f64 / 1000.0,
            worst as f64 / 1000.0,
            median(runs.iter().map(|run| run.shares_before).collect()),
            off_ms as f64 / (hours * 36_000.0),
            runs.iter().map(|run| run.changes).sum::<u64>() as f64 / hours,
            runs.iter().map(|run| run.own_jobs).sum::<u64>() as f64 / hours,
            median(runs.iter().map(|run| run.late).collect()),
        );
        assert!(
            (SHARES_PER_MINUTE * 0.6..SHARES_PER_MINUTE * 1.6).contains(&mean),
            "{name}"
        );
        let limit_ms = if hashrate >= 1e10 { 60_000 } else { 240_000 };
        assert!(settled <= limit_ms, "{name} settles after {settled} ms");
    }
}
