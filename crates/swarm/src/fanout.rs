//! `hstratum-swarm fanout`: how long a new job takes to all miners, who are logged in and idle.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};

use crate::connect::{arrive, micros};
use crate::idle_miners::{self, Audience};
use crate::job_trigger::{self, Trigger};
use crate::limits::{FANOUT, FANOUT_REST, ROUNDS_MAX};
use crate::process::Usage;
use crate::report::Latencies;

/// Arguments of `hstratum-swarm fanout`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    audience: idle_miners::Args,

    #[command(flatten)]
    trigger: job_trigger::Args,

    /// New jobs, one after the other
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=i64::from(ROUNDS_MAX)))]
    rounds: u32,
}

/// Figures of one job; times are from the trigger.
struct FanoutRound {
    first: Duration,
    last: Duration,
    /// The server's usage.
    usage: Option<Usage>,
    /// Miners that got more than one job.
    again: u64,
    /// Mean time after the first miner, over miners and over hashes.
    mean: Duration,
    hash_weighted: Duration,
    /// The mean over hashes if the same times had come in the order of the hashrates.
    hash_weighted_least: Duration,
}

/// Runs it, and prints the report.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let trigger = Trigger::new(&args.trigger)?;
    let (mut audience, arrival) = arrive(&args.audience)?;
    if args.audience.json {
        println!("{}", arrival.to_json());
    } else {
        print!("{}", arrival.to_table());
    }
    arrival.check()?;
    let mut fanout = Fanout {
        heard: vec![0; args.audience.connections as usize],
        times: vec![Duration::ZERO; args.audience.connections as usize],
        latencies: Latencies::new(),
        rounds: Vec::new(),
    };
    for number in 1..=args.rounds {
        if audience.is_stopped() {
            break;
        }
        let round = fanout.round(number, &mut audience, &trigger)?;
        if args.audience.json {
            println!("{}", round.to_json());
        } else {
            println!(
                "job          first after {:.2} ms, last {:.2} ms later",
                ms(round.first),
                ms(round.spread())
            );
        }
        fanout.rounds.push(round);
    }
    fanout.report(args.audience.json);
    Ok(())
}

struct Fanout {
    /// The last round whose job each miner has.
    heard: Vec<u32>,
    /// From the trigger of that job to each miner.
    times: Vec<Duration>,
    /// From the trigger to each miner.
    latencies: Latencies,
    rounds: Vec<FanoutRound>,
}

impl Fanout {
    fn round(
        &mut self,
        number: u32,
        audience: &mut Audience,
        trigger: &Trigger,
    ) -> anyhow::Result<FanoutRound> {
        audience.rest(FANOUT_REST)?;
        let before = audience.look_at_server()?;
        let (begun, pulled) = trigger.pull()?;
        let (mut waiting, mut again) = (self.heard.len(), 0);
        let (mut first, mut last) = (None, Duration::ZERO);
        while waiting > 0 {
            let left = FANOUT.saturating_sub(begun.elapsed());
            ensure!(
                !left.is_zero() && audience.listening() == self.heard.len(),
                "failed to reach all: {waiting} miners have no new job, lost connections: {}",
                audience.ends.to_json()
            );
            // A load that sleeps is woken by each line, which on one machine is a third of the server's time for
            // it, and on a network nothing.
            thread::yield_now();
            audience.listen(Duration::ZERO, |seat| {
                if self.heard[seat] == number {
                    again += 1;
                    return;
                }
                self.heard[seat] = number;
                waiting -= 1;
                last = begun.elapsed();
                self.times[seat] = last;
                first.get_or_insert(last);
                self.latencies.add(last);
            })?;
        }
        pulled.wait()?;
        // What the server does after the last job is part of its cost.
        let begun = Instant::now();
        while begun.elapsed() < FANOUT_REST {
            let left = FANOUT_REST.saturating_sub(begun.elapsed());
            audience.listen(left, |_| again += 1)?;
        }
        let after = audience.look_at_server()?;
        let first = first.unwrap_or_default();
        let mut in_order = (self.times.clone(), audience.shares.clone());
        in_order.0.sort_unstable();
        in_order.1.sort_unstable_by(|one, other| other.cmp(one));
        Ok(FanoutRound {
            mean: mean_after(first, &self.times, |_| 1.0),
            hash_weighted: mean_after(first, &self.times, |at| f64::from(audience.shares[at])),
            hash_weighted_least: mean_after(first, &in_order.0, |at| f64::from(in_order.1[at])),
            first,
            last,
            usage: after
                .zip(before)
                .map(|(after, before)| after.since(&before)),
            again,
        })
    }

    /// The middle of a time of all rounds, in milliseconds.
    fn middle(&self, of: fn(&FanoutRound) -> Duration) -> f64 {
        let mut times: Vec<f64> = self.rounds.iter().map(|round| ms(of(round))).collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(0.0)
    }

    fn report(&self, is_json: bool) {
        let spread = self.middle(FanoutRound::spread);
        let mean = self.middle(|round| round.mean);
        let hash_weighted = self.middle(|round| round.hash_weighted);
        let told = (self.rounds.len() * self.heard.len()).max(1) as f64;
        let cost = |of: fn(&Usage) -> Duration| {
            let used = self.rounds.iter().filter_map(|round| round.usage.as_ref());
            used.map(|usage| micros(of(usage))).sum::<f64>() / told
        };
        let (cpu, threads_cpu) = (cost(|usage| usage.cpu), cost(|usage| usage.threads_cpu));
        if is_json {
            let line = json!({
                "kind": "fanout",
                "rounds": self.rounds.len(),
                "first_to_last_ms": spread,
                "mean_ms": mean,
                "hash_weighted_ms": hash_weighted,
                "latency_ms": self.latencies.to_json(),
                "server": {
                    "cpu_us_per_notify": cpu,
                    "threads_cpu_us_per_notify": threads_cpu,
                },
            });
            println!("{line}");
            return;
        }
        println!(
            "each miner   p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, max {:.2} ms after the trigger",
            self.latencies.at(0.5),
            self.latencies.at(0.9),
            self.latencies.at(0.99),
            self.latencies.max()
        );
        println!(
            "first to last {spread:.2} ms, mean {mean:.2} ms, by hashrate {hash_weighted:.2} ms, medians of {}",
            self.rounds.len()
        );
        if cpu > 0.0 {
            println!(
                "server       {cpu:.1} µs CPU a miner and job, of which hstratum's threads {threads_cpu:.1} µs"
            );
        }
    }
}

impl FanoutRound {
    fn spread(&self) -> Duration {
        self.last.saturating_sub(self.first)
    }

    fn to_json(&self) -> Value {
        json!({
            "kind": "round",
            "first_ms": ms(self.first),
            "last_ms": ms(self.last),
            "first_to_last_ms": ms(self.spread()),
            "mean_ms": ms(self.mean),
            "hash_weighted_ms": ms(self.hash_weighted),
            "hash_weighted_least_ms": ms(self.hash_weighted_least),
            "again": self.again,
        })
    }
}

/// Mean of times after the first, each with a weight.
fn mean_after(first: Duration, times: &[Duration], weight: impl Fn(usize) -> f64) -> Duration {
    let (mut sum, mut all) = (0.0, 0.0);
    for (at, time) in times.iter().enumerate() {
        sum += weight(at) * time.saturating_sub(first).as_secs_f64();
        all += weight(at);
    }
    Duration::from_secs_f64(sum / all)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
