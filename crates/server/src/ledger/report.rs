//! What a ledger says of the pool: rounds and their luck, accounts, workers.
//!
//! A hashrate is estimated from the work that was accepted: it is of the last whole spans of ten
//! minutes that make up its time, and of what has come since.

use std::collections::BTreeMap;

use anyhow::Context;
use hstratum_core::address::Network;
use hstratum_core::units::HASHES_PER_DIFFICULTY;
use rusqlite::{Connection, named_params};

use crate::limits::REPORT_BLOCKS_MAX;

/// Of how long hashrates are, in seconds.
pub const RATE_SPANS_S: [u64; 3] = [600, 3_600, 86_400];

/// The shortest span that statistics are kept in.
const SPAN_S: u64 = 600;

/// What the ledger says.
#[derive(Debug)]
pub struct Report {
    /// Its network.
    pub network: Network,
    /// The work since the pool's last block on the main chain.
    pub open: OpenRound,
    /// The pool's latest blocks, from above.
    pub blocks: Vec<BlockReport>,
    /// Every account, by name.
    pub accounts: Vec<AccountReport>,
    /// Every worker with statistics, by account and name.
    pub workers: Vec<WorkerReport>,
    /// What is the pool's own, in base units: fees and remainders, less the network's fees.
    pub pool_balance: i64,
}

/// A round that no block has closed.
#[derive(Debug)]
pub struct OpenRound {
    /// Its first height.
    pub from_height: u32,
    /// Number of shares.
    pub shares: i64,
    /// Their summed difficulty.
    pub work: f64,
    /// That work over the work expected for a block.
    pub effort: f64,
}

/// A block of the pool, and the round it closed.
#[derive(Debug)]
pub struct BlockReport {
    /// Its height.
    pub height: u32,
    /// 64 hex digits.
    pub hash: String,
    /// `found`, `accepted`, `confirmed`, `orphaned` or `refused`.
    pub state: String,
    /// In base units.
    pub reward: i64,
    /// When it was found, in Unix seconds.
    pub found_at: i64,
    /// The work of its round over the work expected; luck is its inverse. `None` where that is not
    /// known.
    pub effort: Option<f64>,
    /// Whether its reward is divided, or was by other means.
    pub settled: bool,
}

/// Shares by outcome, and hashes a second over each of [`RATE_SPANS_S`].
#[derive(Debug, Clone, Default)]
pub struct Activity {
    /// Accepted shares.
    pub accepted: i64,
    /// Shares that came too late.
    pub stale: i64,
    /// Shares above their target.
    pub low: i64,
    /// Shares sent before.
    pub duplicate: i64,
    /// Hashes a second.
    pub rates: [f64; 3],
}

/// An account. Amounts in base units.
#[derive(Debug)]
pub struct AccountReport {
    /// Untrusted text.
    pub name: String,
    /// The payout address that was set.
    pub address: Option<String>,
    /// All that it was ever credited.
    pub credited: i64,
    /// All that was paid, or is on its way.
    pub paid: i64,
    /// The difference.
    pub balance: i64,
    /// What its workers did.
    pub activity: Activity,
}

/// A machine of an account.
#[derive(Debug)]
pub struct WorkerReport {
    /// Untrusted text.
    pub account: String,
    /// Untrusted text; empty where the miner named none.
    pub name: String,
    /// What it did.
    pub activity: Activity,
}

/// Reads the report, from one state of the ledger.
///
/// # Errors
/// When the ledger cannot be read.
pub fn report(conn: &Connection, now_unix_s: u64) -> anyhow::Result<Report> {
    let snapshot = conn.unchecked_transaction()?;
    let workers = workers(&snapshot, now_unix_s).context("failed to read the statistics")?;
    Ok(Report {
        network: super::network(&snapshot)?,
        open: open_round(&snapshot).context("failed to read the credit")?,
        blocks: blocks(&snapshot).context("failed to read the blocks")?,
        accounts: accounts(&snapshot, &workers).context("failed to read the accounts")?,
        workers,
        pool_balance: snapshot
            .query_row(
                "SELECT coalesce(sum(amount), 0) FROM pool_entries",
                [],
                |row| row.get(0),
            )
            .context("failed to read the pool's entries")?,
    })
}

/// Reads the round that no block has closed.
pub(crate) fn open_round(conn: &Connection) -> rusqlite::Result<OpenRound> {
    let from_height = conn.query_row(
        "SELECT coalesce(max(height) + 1, 0) FROM blocks WHERE state IN ('accepted', 'confirmed')",
        [],
        |row| row.get(0),
    )?;
    conn.query_row(
        "SELECT coalesce(sum(count), 0), coalesce(sum(c.difficulty * count), 0.0),
                coalesce(sum(c.difficulty * count / h.difficulty), 0.0)
           FROM credit AS c LEFT JOIN heights AS h USING (height) WHERE height >= ?1",
        [from_height],
        |row| {
            Ok(OpenRound {
                from_height,
                shares: row.get(0)?,
                work: row.get(1)?,
                effort: row.get(2)?,
            })
        },
    )
}

fn blocks(conn: &Connection) -> rusqlite::Result<Vec<BlockReport>> {
    let mut statement = conn.prepare(
        "SELECT height, hash, state, reward, found_at, effort,
                EXISTS (SELECT 1 FROM settlements WHERE block = hash AND state = 'settled')
           FROM blocks AS b ORDER BY height DESC, hash LIMIT ?1",
    )?;
    let rows = statement.query_map([REPORT_BLOCKS_MAX], |row| {
        Ok(BlockReport {
            height: row.get(0)?,
            hash: row.get(1)?,
            state: row.get(2)?,
            reward: row.get(3)?,
            found_at: row.get(4)?,
            effort: row.get(5)?,
            settled: row.get(6)?,
        })
    })?;
    rows.collect()
}

fn workers(conn: &Connection, now_unix_s: u64) -> rusqlite::Result<Vec<WorkerReport>> {
    let whole = now_unix_s - now_unix_s % SPAN_S;
    let starts = RATE_SPANS_S.map(|span| whole.saturating_sub(span));
    let since = starts.map(|start| i64::try_from(start).unwrap_or(i64::MAX));
    let mut statement = conn.prepare(
        "SELECT a.name, w.name, sum(accepted), sum(stale), sum(low), sum(duplicate),
                sum(CASE WHEN start >= :short THEN accepted_work ELSE 0.0 END),
                sum(CASE WHEN start >= :middle THEN accepted_work ELSE 0.0 END),
                sum(CASE WHEN start >= :long THEN accepted_work ELSE 0.0 END)
           FROM statistics AS s JOIN workers AS w ON w.id = s.worker
           JOIN accounts AS a ON a.id = w.account
          GROUP BY w.id ORDER BY a.name, w.name",
    )?;
    let params = named_params! { ":short": since[0], ":middle": since[1], ":long": since[2] };
    let rows = statement.query_map(params, |row| {
        let mut rates = [0.0; 3];
        for (place, (rate, start)) in rates.iter_mut().zip(starts).enumerate() {
            let work: f64 = row.get(6 + place)?;
            *rate = work * HASHES_PER_DIFFICULTY / (now_unix_s - start).max(1) as f64;
        }
        Ok(WorkerReport {
            account: row.get(0)?,
            name: row.get(1)?,
            activity: Activity {
                accepted: row.get(2)?,
                stale: row.get(3)?,
                low: row.get(4)?,
                duplicate: row.get(5)?,
                rates,
            },
        })
    })?;
    rows.collect()
}

fn accounts(conn: &Connection, workers: &[WorkerReport]) -> rusqlite::Result<Vec<AccountReport>> {
    let mut activities: BTreeMap<&str, Activity> = BTreeMap::new();
    for worker in workers {
        let sum = activities.entry(&worker.account).or_default();
        let part = &worker.activity;
        sum.accepted += part.accepted;
        sum.stale += part.stale;
        sum.low += part.low;
        sum.duplicate += part.duplicate;
        for (sum, rate) in sum.rates.iter_mut().zip(part.rates) {
            *sum += rate;
        }
    }
    let mut statement = conn.prepare(
        "SELECT a.name, a.address, b.credited, b.paid, b.balance
           FROM balances AS b JOIN accounts AS a ON a.id = b.account ORDER BY a.name",
    )?;
    let rows = statement.query_map([], |row| {
        let name: String = row.get(0)?;
        Ok(AccountReport {
            address: row.get(1)?,
            credited: row.get(2)?,
            paid: row.get(3)?,
            balance: row.get(4)?,
            activity: activities.get(&*name).cloned().unwrap_or_default(),
            name,
        })
    })?;
    rows.collect()
}
