//! Size of the ledger's file after a month of many workers, written through the real store with a simulated
//! clock, including compaction.
//!
//! All rows of a real month are written. Only the number of commits is lower: the shares of a height are one
//! transaction and its statistics another. WORKERS, ACCOUNTS and DAYS change the numbers; TMPDIR=/dev/shm
//! spares the disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hstratum::store::ledger::{Batch, Compacted, Ledger};
use hstratum::store::sqlite_ledger::SqliteLedger;
use hstratum_core::accounting::ledger::{ShareTotals, Tally, Verdict};
use hstratum_core::chain::address::Network;
use hstratum_core::chain::block::FoundBlock;
use hstratum_core::chain::coinbase::{Coinbase, Payout};
use hstratum_core::units::{Hash, Height, Seq, unhex};
use rusqlite::Connection;

const HEIGHTS_A_DAY: u32 = 144;
const HEIGHT_S: u64 = 600;
const SHARES_A_HEIGHT: u64 = 80;
const BEGIN_S: u64 = 1_700_000_400;
/// One in this many blocks is the pool's.
const OURS: u32 = 144;
/// One worker in this many changes its difficulty at a height.
const CHANGES: usize = 20;
/// Number of different difficulties of workers: vardiff has four to each doubling.
const DIFFICULTIES: usize = 12;

fn main() {
    let number = |name: &str, value: usize| match std::env::var(name) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => value,
    };
    let workers = number("WORKERS", 10_000);
    let days = number("DAYS", 30) as u32;
    let accounts = match number("ACCOUNTS", 0) {
        0 => vec![500, workers],
        accounts => vec![accounts],
    };
    for accounts in accounts {
        println!("{workers} workers of {accounts} accounts");
        println!(
            "{:>5} {:>12} {:>12} {:>12} {:>10}",
            "day", "file, MiB", "credit", "statistics", "seconds"
        );
        Month::new(workers, accounts).run(days);
    }
}

struct Month {
    ledger: SqliteLedger,
    dir: tempfile::TempDir,
    /// Account and worker.
    workers: Vec<(Arc<str>, Box<str>)>,
    seq: u64,
    begun: Instant,
}

impl Month {
    fn new(workers: usize, accounts: usize) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        let (status, mut told) = (Arc::default(), Vec::new());
        let ledger = SqliteLedger::open(&path, Network::Main, BEGIN_S, status, &mut told);
        let names: Vec<Arc<str>> = (0..accounts)
            .map(|n| format!("account{n:05}").into())
            .collect();
        let workers = (0..workers).map(|n| {
            let worker = format!("rig{n:05}").into();
            (names[n % accounts].clone(), worker)
        });
        Self {
            ledger: ledger.expect("opened"),
            dir,
            workers: workers.collect(),
            seq: 0,
            begun: Instant::now(),
        }
    }

    fn run(mut self, days: u32) {
        for number in 1..=days * HEIGHTS_A_DAY {
            let unix_s = BEGIN_S + u64::from(number) * HEIGHT_S;
            self.shares(Height(number), unix_s);
            self.statistics(unix_s);
            if number.is_multiple_of(OURS) {
                self.block(Height(number), unix_s);
            }
            let tip = Some(Height(number));
            while self.ledger.compact(tip, unix_s).expect("tidied") == Compacted::More {}
            let day = number / HEIGHTS_A_DAY;
            if number.is_multiple_of(HEIGHTS_A_DAY)
                && (matches!(day, 1 | 7) || day.is_multiple_of(10))
            {
                self.show(day);
            }
        }
    }

    fn shares(&mut self, height: Height, unix_s: u64) {
        let mut batch = Batch {
            unix_s,
            ..Batch::default()
        };
        let first = self.seq + 1;
        for (n, (account, _)) in self.workers.iter().enumerate() {
            let now = step(n);
            let mut add = |step: usize, count: u64| {
                let bits = difficulty(step).to_bits();
                let key = (height, account.clone(), bits);
                *batch.shares.counts.entry(key).or_default() += count;
            };
            if (n + height.0 as usize).is_multiple_of(CHANGES) {
                add(now + 1, SHARES_A_HEIGHT / 2);
                add(now, SHARES_A_HEIGHT / 2);
            } else {
                add(now, SHARES_A_HEIGHT);
            }
            self.seq += SHARES_A_HEIGHT;
        }
        batch.shares.range = Some((Seq(first), Seq(self.seq)));
        batch.shares.heights.insert(height, 1e9);
        self.ledger.commit(&batch).expect("durable");
    }

    fn statistics(&mut self, unix_s: u64) {
        let start = unix_s - unix_s % HEIGHT_S;
        let tally = |n: usize| Tally {
            accepted: ShareTotals {
                count: SHARES_A_HEIGHT,
                difficulty: SHARES_A_HEIGHT as f64 * difficulty(step(n)),
            },
            times: Some((start + 1, start + HEIGHT_S - 1)),
            ..Tally::default()
        };
        let workers = self.workers.iter().enumerate();
        let tallies = workers.map(|(n, (account, worker))| {
            let key = (start, account.clone(), worker.clone());
            (key, tally(n))
        });
        let batch = Batch {
            unix_s,
            tallies: tallies.collect(),
            ..Batch::default()
        };
        self.ledger.commit(&batch).expect("durable");
    }

    fn block(&mut self, height: Height, unix_s: u64) {
        let hash = Hash::blake2b(&[&height.0.to_le_bytes()]);
        let batch = Batch {
            unix_s,
            found: vec![FoundBlock {
                payout: Payout::Operator,
                split: None,
                hash,
                height,
                time: unix_s,
                bits: 0x1d00_ffff,
                coinbase: coinbase(),
                account: Some(self.workers[0].0.clone()),
            }],
            verdicts: vec![(hash, Verdict::Accepted)],
            ..Batch::default()
        };
        self.ledger.commit(&batch).expect("durable");
    }

    fn show(&self, day: u32) {
        let path = self.dir.path().join("ledger.db");
        let db = Connection::open(&path).expect("opened");
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .expect("copied");
        let rows = |table: &str| -> i64 {
            db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                row.get(0)
            })
            .expect("counted")
        };
        println!(
            "{day:>5} {:>12.1} {:>12} {:>12} {:>10.0}",
            size(&path) as f64 / f64::from(1 << 20),
            rows("credit"),
            rows("statistics"),
            self.begun.elapsed().as_secs_f64()
        );
    }
}

/// Index of a worker's difficulty, independent of its account.
fn step(worker: usize) -> usize {
    ((worker * 2_654_435_761) >> 16) % DIFFICULTIES
}

/// Difficulty at a step of vardiff.
fn difficulty(step: usize) -> f64 {
    ((4 + step % 4) << (8 + step / 4)) as f64
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).expect("there").len()
}

fn coinbase() -> Coinbase {
    let text = include_str!("../../core/tests/vectors/templates.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(text).expect("JSON");
    let hex = vectors[0]["coinbase"].as_str().expect("a coinbase");
    Coinbase::parse(&unhex(hex).expect("hex")).expect("a coinbase")
}
