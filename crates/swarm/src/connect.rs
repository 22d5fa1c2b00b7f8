//! `hstratum-swarm connect`: how fast miners get work, and what a miner costs that does nothing.

use std::fmt::Write;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::idle_miners::{self, Audience, AudienceOpened};
use crate::process::Usage;

/// Runs it, and prints the report.
pub(crate) fn run(args: &idle_miners::Args) -> anyhow::Result<()> {
    let (_, arrival) = arrive(args)?;
    if args.json {
        println!("{}", arrival.to_json());
    } else {
        print!("{}", arrival.to_table());
    }
    arrival.check()
}

/// Connects everybody and holds them for as long as it is said.
pub(crate) fn arrive(args: &idle_miners::Args) -> anyhow::Result<(Audience, ConnectArrival)> {
    let mut audience = Audience::new(args)?;
    let gathered = audience.gather()?;
    audience.rest(Duration::from_secs(args.hold))?;
    let held = audience.look_at_server()?;
    let latencies = &audience.latencies;
    let arrival = ConnectArrival {
        connections: args.connections,
        ready: audience.listening(),
        latency: latencies.to_json(),
        ends: audience.ends.to_json(),
        gathered,
        held,
    };
    Ok((audience, arrival))
}

/// Figures of all connections until each has work.
pub(crate) struct ConnectArrival {
    connections: u32,
    /// Miners with work after the rest.
    ready: usize,
    latency: Value,
    ends: Value,
    gathered: AudienceOpened,
    /// The server after the rest.
    held: Option<Usage>,
}

impl ConnectArrival {
    /// Everybody must be there, or nothing was measured.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let (ready, connections) = (self.ready, self.connections);
        ensure!(
            ready == connections as usize,
            "failed to connect everybody: {ready} of {connections} have work: {}",
            self.ends
        );
        Ok(())
    }

    fn rate(&self) -> f64 {
        self.ready as f64 / self.gathered.took.as_secs_f64().max(1e-9)
    }

    fn each(&self, total: f64) -> f64 {
        total / f64::from(self.connections)
    }

    /// For scripts.
    pub(crate) fn to_json(&self) -> Value {
        let mut all = json!({
            "kind": "connect",
            "connections": self.connections,
            "ready": self.ready,
            "connects_per_s": self.rate(),
            "gathering_s": self.gathered.took.as_secs_f64(),
            "latency_ms": self.latency,
            "load_cpu_s": self.gathered.load_cpu.as_secs_f64(),
            "ends": self.ends,
        });
        if let Some((before, after)) = &self.gathered.usage {
            let used = after.since(before);
            let held = self.held.unwrap_or(*after);
            let grown = held.resident_bytes as f64 - before.resident_bytes as f64;
            all["server"] = json!({
                "cpu_us_per_connection": self.each(micros(used.cpu)),
                "threads_cpu_us_per_connection": self.each(micros(used.threads_cpu)),
                "resident_bytes_before": before.resident_bytes,
                "resident_bytes_connected": after.resident_bytes,
                "resident_bytes_held": held.resident_bytes,
                "resident_bytes_per_connection": self.each(grown),
            });
        }
        all
    }

    /// For people.
    pub(crate) fn to_table(&self) -> String {
        let mut text = String::new();
        self.write_table(&mut text)
            .expect("a text takes everything");
        text
    }

    fn write_table(&self, text: &mut String) -> std::fmt::Result {
        let all = self.to_json();
        let ms = |name: &str| all["latency_ms"][name].as_f64().unwrap_or(0.0);
        writeln!(
            text,
            "connections  {} of {} have work after {:.3} s, {:.0} a second",
            self.ready,
            self.connections,
            self.gathered.took.as_secs_f64(),
            self.rate()
        )?;
        writeln!(
            text,
            "first job    p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            ms("p50"),
            ms("p90"),
            ms("p99"),
            ms("max")
        )?;
        writeln!(
            text,
            "load         {:.0} % of one core by this process",
            100.0 * self.gathered.load_cpu.as_secs_f64()
                / self.gathered.took.as_secs_f64().max(1e-9)
        )?;
        let server = &all["server"];
        if let Some(cpu) = server["cpu_us_per_connection"].as_f64() {
            writeln!(
                text,
                "server       {cpu:.1} µs CPU and {:.0} bytes resident a connection",
                server["resident_bytes_per_connection"]
                    .as_f64()
                    .unwrap_or(0.0)
            )?;
        }
        Ok(())
    }
}

/// Microseconds.
pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
