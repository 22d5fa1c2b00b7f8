//! Report of a ledger about the pool: terms, rounds and their luck, accounts, workers.
//!
//! A hashrate is estimated from accepted work: over the last whole spans of ten minutes that make up its
//! period, and the time since.

use std::collections::BTreeMap;

use anyhow::Context;
use hstratum_core::chain::address::Network;
use hstratum_core::units::HASHES_PER_DIFFICULTY;

use crate::limits::REPORT_BLOCKS_MAX;
use crate::payout::{PayoutTerms, TermsHistory};
use crate::sql::{Db, EFFORT, Sql, SqlError, WORK};
use crate::values;

/// Periods of the hashrates, in seconds.
pub const RATE_SPANS_S: [u64; 3] = [600, 3_600, 86_400];

/// Shortest span of statistics, in seconds.
const SPAN_S: u64 = 600;

/// Content of the report.
#[derive(Debug)]
pub struct LedgerReport {
    /// Its network.
    pub network: Network,
    /// All terms that the pool has had, the newest last; empty before a server has written any.
    pub terms: Vec<TermsReport>,
    /// The work since the pool's last block on the main chain.
    pub open: OpenRound,
    /// The pool's latest blocks, highest first.
    pub blocks: Vec<BlockReport>,
    /// Every account, by name.
    pub accounts: Vec<AccountReport>,
    /// Every worker with statistics, by account and name.
    pub workers: Vec<WorkerReport>,
    /// The pool's own balance, in base units: fees and remainders, less the network's fees.
    pub pool_balance: i64,
}

/// Terms of the pool.
#[derive(Debug)]
pub struct TermsReport {
    /// Height of the first block that is divided under them.
    pub from_height: u32,
    /// The terms.
    pub terms: PayoutTerms,
    /// Time at which they were written, in Unix seconds.
    pub set_at: i64,
    /// Name of the server that wrote them.
    pub set_by: String,
}

/// The round that no block has closed yet.
#[derive(Debug, Clone)]
pub struct OpenRound {
    /// Its first height.
    pub from_height: u32,
    /// Number of shares.
    pub shares: i64,
    /// Sum of their difficulties.
    pub work: f64,
    /// Sum of their difficulties divided by the work expected for a block.
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
    /// Time at which it was found, in Unix seconds.
    pub found_at: i64,
    /// Work of its round divided by the work expected; luck is its inverse. `None` if it is not known.
    pub effort: Option<f64>,
    /// Its reward was divided, or paid by other means.
    pub settled: bool,
    /// `operator`, or `solo`: its coinbase has paid its finder, and nothing is divided.
    pub payout: String,
}

/// Submits by outcome, and hashes per second over each of [`RATE_SPANS_S`].
#[derive(Debug, Clone, Default)]
pub struct Activity {
    /// Accepted shares.
    pub accepted: i64,
    /// Submits that came too late.
    pub stale: i64,
    /// Submits above their target.
    pub low: i64,
    /// Submits that were sent before.
    pub duplicate: i64,
    /// Hashes per second.
    pub rates: [f64; 3],
}

/// An account. Amounts in base units.
#[derive(Debug)]
pub struct AccountReport {
    /// Untrusted text.
    pub name: String,
    /// The payout address that was set.
    pub address: Option<String>,
    /// The threshold that it has of its own.
    pub threshold: Option<i64>,
    /// Sum of all its credits.
    pub credited: i64,
    /// Sum of all its payments, including those under way.
    pub paid: i64,
    /// Credits less payments.
    pub balance: i64,
    /// Submits of its workers.
    pub activity: Activity,
}

/// A machine of an account.
#[derive(Debug)]
pub struct WorkerReport {
    /// Untrusted text.
    pub account: String,
    /// Untrusted text; empty if the miner named none.
    pub name: String,
    /// Submits of the worker.
    pub activity: Activity,
}

/// Reads the report, from one state of the ledger.
///
/// # Errors
/// When the ledger cannot be read.
pub fn report(db: &mut Db, now_unix_s: u64) -> anyhow::Result<LedgerReport> {
    db.read(|sql| report_of(sql, now_unix_s))
}

fn report_of(sql: &mut dyn Sql, now_unix_s: u64) -> anyhow::Result<LedgerReport> {
    let workers = workers(sql, now_unix_s).context("failed to read the statistics")?;
    Ok(LedgerReport {
        network: super::network_of(sql)?,
        terms: terms(sql).context("failed to read the terms")?,
        open: open_round(sql).context("failed to read the credit")?,
        blocks: blocks(sql).context("failed to read the blocks")?,
        accounts: accounts(sql, &workers).context("failed to read the accounts")?,
        workers,
        pool_balance: sql
            .query_one(
                "SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM pool_entries",
                &[],
            )
            .context("failed to read the pool's entries")?
            .get(0)?,
    })
}

fn terms(sql: &mut dyn Sql) -> Result<Vec<TermsReport>, SqlError> {
    let history = TermsHistory::read(sql)?;
    let rows = sql.query("SELECT set_at, set_by FROM terms ORDER BY id", &[])?;
    let known = history.iter().flat_map(TermsHistory::rows);
    let terms = known.zip(&rows).map(|((from_height, terms), row)| {
        Ok(TermsReport {
            from_height,
            terms: *terms,
            set_at: row.get(0)?,
            set_by: row.get(1)?,
        })
    });
    terms.collect()
}

/// Reads the open round.
pub(crate) fn open_round(sql: &mut dyn Sql) -> Result<OpenRound, SqlError> {
    let from_height = sql
        .query_one(
            "SELECT coalesce(max(height) + 1, 0) FROM blocks
             WHERE state IN ('accepted', 'confirmed') AND payout <> 'solo'",
            &[],
        )?
        .get(0)?;
    let row = sql.query_one(
        &format!(
            "SELECT CAST(coalesce(sum(count), 0) AS BIGINT), coalesce(sum({WORK}), 0.0),
                    coalesce(sum({EFFORT}), 0.0)
               FROM credit AS c LEFT JOIN heights AS h USING (height) WHERE height >= ?1"
        ),
        &values![from_height],
    )?;
    Ok(OpenRound {
        from_height,
        shares: row.get(0)?,
        work: row.get(1)?,
        effort: row.get(2)?,
    })
}

fn blocks(sql: &mut dyn Sql) -> Result<Vec<BlockReport>, SqlError> {
    let rows = sql.query(
        "SELECT height, hash, state, reward, found_at, effort,
                CASE WHEN EXISTS (SELECT 1 FROM settlements WHERE block = hash AND state = 'settled')
                     THEN 1 ELSE 0 END, payout
           FROM blocks AS b ORDER BY height DESC, hash LIMIT ?1",
        &values![REPORT_BLOCKS_MAX],
    )?;
    let blocks = rows.iter().map(|row| {
        Ok(BlockReport {
            height: row.get(0)?,
            hash: row.get(1)?,
            state: row.get(2)?,
            reward: row.get(3)?,
            found_at: row.get(4)?,
            effort: row.get(5)?,
            settled: row.get::<i64>(6)? == 1,
            payout: row.get(7)?,
        })
    });
    blocks.collect()
}

fn workers(sql: &mut dyn Sql, now_unix_s: u64) -> Result<Vec<WorkerReport>, SqlError> {
    let whole = now_unix_s - now_unix_s % SPAN_S;
    let starts = RATE_SPANS_S.map(|span| whole.saturating_sub(span));
    let rows = sql.query(
        "SELECT a.name, w.name,
                CAST(sum(accepted) AS BIGINT), CAST(sum(stale) AS BIGINT),
                CAST(sum(low) AS BIGINT), CAST(sum(duplicate) AS BIGINT),
                sum(CASE WHEN start >= ?1 THEN accepted_work ELSE 0.0 END),
                sum(CASE WHEN start >= ?2 THEN accepted_work ELSE 0.0 END),
                sum(CASE WHEN start >= ?3 THEN accepted_work ELSE 0.0 END)
           FROM statistics AS s JOIN workers AS w ON w.id = s.worker
           JOIN accounts AS a ON a.id = w.account
          GROUP BY w.id, w.name, a.name",
        &values![starts[0], starts[1], starts[2]],
    )?;
    let workers = rows.iter().map(|row| {
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
    });
    let mut workers = workers.collect::<Result<Vec<_>, SqlError>>()?;
    workers.sort_by(|a, b| (&a.account, &a.name).cmp(&(&b.account, &b.name)));
    Ok(workers)
}

fn accounts(sql: &mut dyn Sql, workers: &[WorkerReport]) -> Result<Vec<AccountReport>, SqlError> {
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
    let rows = sql.query(
        "SELECT a.name, a.address, b.credited, b.paid, b.balance, a.threshold
           FROM balances AS b JOIN payees AS a ON a.id = b.account",
        &[],
    )?;
    let accounts = rows.iter().map(|row| {
        let name: String = row.get(0)?;
        Ok(AccountReport {
            address: row.get(1)?,
            credited: row.get(2)?,
            paid: row.get(3)?,
            balance: row.get(4)?,
            threshold: row.get(5)?,
            activity: activities.get(&*name).cloned().unwrap_or_default(),
            name,
        })
    });
    let mut accounts = accounts.collect::<Result<Vec<_>, SqlError>>()?;
    accounts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(accounts)
}
