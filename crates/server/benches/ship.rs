//! Cost of a shared ledger: the same minute of many workers is committed to a file that is the ledger, and to
//! one that ships; then PostgreSQL's speed in writing what the second one has sealed.
//!
//! The file part is on TMPDIR: with TMPDIR=/dev/shm a sync costs nothing, and only processor time is left.
//! The database is a server started by the bench, or `DATABASE=postgres://…`, an empty one. WORKERS and
//! SECONDS change the numbers.

#[path = "../tests/it/postgres/mod.rs"]
mod postgres;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use hstratum::config::settings::Settings;
use hstratum::config::{Config, OptionOrigin, RawOption};
use hstratum::node::{Node, Offer};
use hstratum::payout::hsd::HsdAddresses;
use hstratum::server::Server;
use hstratum::store::ledger::{Batch, Ledger, Seal};
use hstratum::store::shipper_exchange::ShipperExchange;
use hstratum::store::sqlite_ledger::SqliteLedger;
use hstratum_core::accounting::ledger::{ShareTotals, Tally};
use hstratum_core::chain::address::Network;
use hstratum_core::event::Level;
use hstratum_core::units::{Height, Seq};

const BEGIN_S: u64 = 1_700_000_400;
/// Seconds between two shares of a worker.
const SHARE_S: usize = 8;
/// Seconds between two reports of its statistics.
const TALLY_S: usize = 10;
/// Groups of shares a second.
const GROUPS: usize = 100;
const FILE: &str = "ledger.db";

fn main() {
    let number = |name: &str, value: usize| match std::env::var(name) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => value,
    };
    let (workers, seconds) = (number("WORKERS", 10_000), number("SECONDS", 60));
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["own", "shared"] {
        let path = dir.path().join(name).join(FILE);
        let mut ledger = open(&path);
        if name == "shared" {
            let shared = ledger.share([1; 16], BEGIN_S, Arc::<ShipperExchange>::default());
            shared.expect("shared");
        }
        let begun = Instant::now();
        let shares = run(&mut ledger, workers, seconds, name == "shared");
        let took = begun.elapsed();
        println!(
            "{name:>6}: {shares} shares of {workers} workers in {seconds} s: {:.2} µs a share",
            took.as_secs_f64() * 1e6 / shares as f64
        );
    }
    let shared = dir.path().join("shared");
    if let Ok(url) = std::env::var("DATABASE") {
        ship(&shared, &url, seconds as u64, || None);
    } else {
        let own = postgres::Server::durable();
        ship(&shared, &own.url(), seconds as u64, || {
            own.pid().map(processor_time)
        });
    }
}

/// Processor time used so far by the running processes of a PostgreSQL server.
fn processor_time(postmaster: u32) -> Duration {
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))
        .expect("Linux lists children");
    let used = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
        let nanos = text.split(' ').next().and_then(|used| used.parse().ok());
        Duration::from_nanos(nanos.unwrap_or(0))
    };
    children.split_whitespace().map(used).sum::<Duration>() + used(&postmaster.to_string())
}

fn open(path: &Path) -> SqliteLedger {
    let (status, mut told) = (Arc::default(), Vec::new());
    SqliteLedger::open(path, Network::Regtest, BEGIN_S, status, &mut told).expect("opened")
}

/// Commits this many seconds of shares; returns the number of shares.
fn run(ledger: &mut SqliteLedger, workers: usize, seconds: usize, is_shared: bool) -> u64 {
    let names: Vec<(Arc<str>, Box<str>)> = (0..workers)
        .map(|n| {
            let account = format!("account{:05}", n % 500).into();
            (account, format!("rig{n:05}").into())
        })
        .collect();
    let mut seq = 0;
    for second in 0..seconds {
        let unix_s = BEGIN_S + second as u64;
        for group in 0..GROUPS {
            let mut batch = Batch {
                unix_s,
                ..Batch::default()
            };
            let first = seq + 1;
            let turn = second * GROUPS + group;
            for (n, (account, worker)) in names.iter().enumerate() {
                if n % (SHARE_S * GROUPS) == turn % (SHARE_S * GROUPS) {
                    let key = (Height(7), account.clone(), difficulty(n).to_bits());
                    *batch.shares.counts.entry(key).or_default() += 1;
                    seq += 1;
                }
                if n % (TALLY_S * GROUPS) == turn % (TALLY_S * GROUPS) {
                    let key = (unix_s - unix_s % 600, account.clone(), worker.clone());
                    batch.tallies.push((key, tally(n)));
                }
            }
            if seq >= first {
                batch.shares.range = Some((Seq(first), Seq(seq)));
                batch.shares.heights.insert(Height(7), 1e9);
            }
            if is_shared && group == GROUPS - 1 {
                batch.seal = Some(Seal {
                    tip: Some(Height(6)),
                });
            }
            ledger.commit(&batch).expect("durable");
        }
    }
    seq
}

fn difficulty(worker: usize) -> f64 {
    let step = ((worker * 2_654_435_761) >> 16) % 12;
    ((4 + step % 4) << (8 + step / 4)) as f64
}

fn tally(worker: usize) -> Tally {
    Tally {
        accepted: ShareTotals {
            count: 1,
            difficulty: difficulty(worker),
        },
        ..Tally::default()
    }
}

/// A node that does nothing.
struct Silence;

impl Node for Silence {
    fn offer(&self, _: Offer) {}

    fn locate(&self, _: Vec<hstratum::node::BlockQuery>) {}

    fn log(&self, level: Level, text: &str) {
        println!("        {level:?}: {text}");
    }
}

/// Makes a server ship all that the file holds; `cpu` gives the processor time of the database.
fn ship(dir: &Path, url: &str, sealed: u64, cpu: impl Fn() -> Option<Duration>) {
    let options = [
        ("host", "127.0.0.1"),
        ("port", "0"),
        ("httpport", "0"),
        ("database", url),
    ];
    let options: Vec<RawOption> = options
        .iter()
        .map(|(key, value)| RawOption {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            origin: OptionOrigin::Flag,
        })
        .collect();
    let settings = Settings {
        config: Config::parse(&options).expect("good options"),
        network: Network::Regtest,
        dir: Some(dir.to_owned()),
        hsd: HsdAddresses::default(),
    };
    let (begun, before) = (Instant::now(), cpu());
    let server = Server::start(settings, Arc::new(Silence)).expect("started");
    let done = loop {
        let cluster_status = server.cluster_status().expect("shared");
        if cluster_status.batches >= sealed {
            break cluster_status;
        }
        thread::sleep(Duration::from_millis(1));
    };
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} batches of {} rows in {seconds:.2} s, connecting included: {:.0} batches/s, {:.0} rows/s",
        done.batches,
        done.rows,
        done.batches as f64 / seconds,
        done.rows as f64 / seconds
    );
    if let (Some(before), Some(after)) = (before, cpu()) {
        let used = after.saturating_sub(before).as_secs_f64();
        println!(
            "the database used {used:.2} s of a processor: {:.2} ms a batch, {:.1} µs a row",
            used * 1e3 / done.batches as f64,
            used * 1e6 / done.rows as f64
        );
    }
    assert!(server.close().wait(), "stopped in time");
}
