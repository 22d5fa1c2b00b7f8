//! The report of a run: a table for people, JSON lines for scripts.

use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::account_sums::{AccountShares, Kinds};
use crate::limits::{LATENCY_MAX, ROWS_MAX};
use crate::process::Usage;

/// Latencies of replies.
pub(crate) struct Latencies {
    /// Microseconds.
    histogram: Histogram<u64>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let most = LATENCY_MAX.as_micros() as u64;
        let histogram = Histogram::new_with_bounds(1, most, 3).expect("good bounds");
        Self { histogram }
    }

    pub(crate) fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(micros);
    }

    /// Milliseconds that this part of the replies took at most.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        self.histogram.value_at_quantile(quantile) as f64 / 1e3
    }

    pub(crate) fn max(&self) -> f64 {
        self.histogram.max() as f64 / 1e3
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "p50": self.at(0.5),
            "p90": self.at(0.9),
            "p99": self.at(0.99),
            "max": self.max(),
        })
    }
}

/// The figures of a run.
pub(crate) struct SwarmReport<'a> {
    pub(crate) connections: usize,
    /// Miners that had work when submitting began, and how long that took.
    pub(crate) ready: usize,
    pub(crate) gathering: Duration,
    /// The time of submitting, and the shares acknowledged in it.
    pub(crate) submitting: Duration,
    pub(crate) acknowledged: u64,
    /// Shares that a given rate asked for while nobody could send them.
    pub(crate) skipped: u64,
    pub(crate) out_of_order: u64,
    pub(crate) latencies: &'a Latencies,
    /// The server's usage while shares were submitted, and at the end.
    pub(crate) usage: Option<Usage>,
    /// Processor time of this process in that time: near all of it, the server was not the limit.
    pub(crate) load_cpu: Duration,
    pub(crate) refusals: &'a Kinds,
    /// Connections lost after they had work.
    pub(crate) losses: u64,
    pub(crate) ends: &'a Kinds,
    /// Names and sums.
    pub(crate) accounts: &'a [(String, AccountShares)],
}

impl SwarmReport<'_> {
    fn total(&self) -> AccountShares {
        let mut total = AccountShares::default();
        for (_, sums) in self.accounts {
            total.add_all(sums);
        }
        total
    }

    fn rate(&self) -> f64 {
        self.acknowledged as f64 / self.submitting.as_secs_f64().max(1e-9)
    }

    fn micros_a_share(&self, cpu: Duration) -> f64 {
        cpu.as_micros() as f64 / (self.acknowledged as f64).max(1.0)
    }

    /// One line an account, then one for all.
    pub(crate) fn to_json(&self) -> String {
        let mut lines = String::new();
        for (name, sums) in self.accounts {
            let mut account = sums.to_json();
            account["kind"] = json!("account");
            account["account"] = json!(name);
            lines += &format!("{account}\n");
        }
        let mut all = self.total().to_json();
        all["kind"] = json!("summary");
        all["connections"] = json!(self.connections);
        all["ready"] = json!(self.ready);
        all["gathering_s"] = json!(self.gathering.as_secs_f64());
        all["submitting_s"] = json!(self.submitting.as_secs_f64());
        all["load_cpu_s"] = json!(self.load_cpu.as_secs_f64());
        all["acknowledged_per_s"] = json!(self.rate());
        all["latency_ms"] = self.latencies.to_json();
        all["skipped"] = json!(self.skipped);
        all["out_of_order"] = json!(self.out_of_order);
        all["refusals"] = self.refusals.to_json();
        all["losses"] = json!(self.losses);
        all["ends"] = self.ends.to_json();
        if let Some(usage) = self.usage {
            all["server"] = json!({
                "cpu_s": usage.cpu.as_secs_f64(),
                "threads_cpu_s": usage.threads_cpu.as_secs_f64(),
                "cpu_us_per_share": self.micros_a_share(usage.cpu),
                "resident_bytes": usage.resident_bytes,
            });
        }
        lines + &format!("{all}\n")
    }

    /// For people.
    pub(crate) fn to_table(&self) -> String {
        let mut text = String::new();
        self.write_table(&mut text)
            .expect("a text takes everything");
        text
    }

    fn write_table(&self, text: &mut String) -> std::fmt::Result {
        let total = self.total();
        let seconds = |time: Duration| time.as_secs_f64();
        let latencies = self.latencies;
        writeln!(
            text,
            "connections  {} of {} had work after {:.2} s, {} lost later",
            self.ready,
            self.connections,
            seconds(self.gathering),
            self.losses
        )?;
        writeln!(
            text,
            "shares       {} submitted, {} acknowledged, {} refused, {} unanswered",
            total.submitted,
            total.acknowledged.count(),
            total.refusals(),
            total.unanswered.count()
        )?;
        writeln!(
            text,
            "rate         {:.0} acknowledged a second over {:.1} s",
            self.rate(),
            seconds(self.submitting)
        )?;
        writeln!(
            text,
            "latency      p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            latencies.at(0.5),
            latencies.at(0.9),
            latencies.at(0.99),
            latencies.max()
        )?;
        if let Some(usage) = self.usage {
            writeln!(
                text,
                "server       {:.1} µs CPU a share ({:.2} s, of which hstratum's threads {:.2} s), {:.1} MiB resident",
                self.micros_a_share(usage.cpu),
                seconds(usage.cpu),
                seconds(usage.threads_cpu),
                usage.resident_bytes as f64 / f64::from(1 << 20)
            )?;
        }
        writeln!(
            text,
            "load         {:.0} % of one core by this process",
            100.0 * self.load_cpu.as_secs_f64() / self.submitting.as_secs_f64().max(1e-9)
        )?;
        if self.skipped > 0 {
            writeln!(
                text,
                "skipped      {} while nobody was connected",
                self.skipped
            )?;
        }
        if self.out_of_order > 0 {
            writeln!(text, "out of order {} replies", self.out_of_order)?;
        }
        for (kind, count) in self.refusals.iter() {
            writeln!(text, "refused      {count} × {kind}")?;
        }
        for (cause, count) in self.ends.iter() {
            writeln!(text, "ended        {count} × {cause}")?;
        }
        self.write_accounts(text)
    }

    fn write_accounts(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "\n{:16} {:>12} {:>12} {:>14} {:>10} {:>10}",
            "account", "submitted", "acknowledged", "difficulty", "refused", "unanswered"
        )?;
        for (name, sums) in self.accounts.iter().take(ROWS_MAX) {
            writeln!(
                text,
                "{name:16} {:>12} {:>12} {:>14.6e} {:>10} {:>10}",
                sums.submitted,
                sums.acknowledged.count(),
                sums.acknowledged.difficulty(),
                sums.refusals(),
                sums.unanswered.count()
            )?;
        }
        match self.accounts.len().checked_sub(ROWS_MAX) {
            Some(more @ 1..) => writeln!(text, "and {more} more: --json shows all"),
            _ => Ok(()),
        }
    }
}
