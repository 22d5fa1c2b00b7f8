//! One batch's way into the shared ledger: one transaction, in which the origin's row is locked, what
//! it says is compared, and sums are added to.
//!
//! Rows of credit and statistics are the origin's own, so that servers do not wait for each other.
//! Names and heights are made before, each in a statement of its own, in the order of the names: two
//! servers that bring the same ones wait for each other no longer than that.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use postgres::types::ToSql;
use postgres::{Client, IsolationLevel, Statement};
use rusqlite::Connection;

use super::course::Seen;
use super::origin::NOW_MS;
use crate::limits::{LEDGER_IDS_MAX, SHIP_ROWS};
use crate::sql::SqlError;
use crate::store::body::{Body, StatisticsRow};

/// A batch to be shipped.
pub(crate) struct Cargo {
    /// The batch before it in the shared ledger.
    pub after: i64,
    pub sequence: i64,
    pub seen: Seen,
    pub body: Body,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shipped {
    /// It is there.
    Yes,
    /// Somebody else has shipped under this origin, or the shared ledger has fallen back.
    Moved,
}

/// A connection, and what is known of the other side for as long as it lasts.
pub(crate) struct Carrier {
    client: Client,
    statements: Statements,
    /// Ids in the shared ledger, by the file's.
    accounts: HashMap<i64, i64>,
    workers: HashMap<i64, i64>,
    heights: HashSet<i64>,
}

struct Statements {
    lock: Statement,
    accounts: Statement,
    account_ids: Statement,
    workers: Statement,
    worker_ids: Statement,
    heights: Statement,
    credit: Statement,
    statistics: Statement,
    batch: Statement,
    advance: Statement,
}

impl Statements {
    fn prepare(client: &mut Client) -> Result<Self, postgres::Error> {
        Ok(Self {
            lock: client.prepare("SELECT sequence FROM origins WHERE id = $1 FOR UPDATE")?,
            accounts: client.prepare(
                "INSERT INTO accounts (name) SELECT * FROM unnest($1::TEXT[])
                 ON CONFLICT (name) DO NOTHING",
            )?,
            account_ids: client.prepare("SELECT id, name FROM accounts WHERE name = ANY($1)")?,
            workers: client.prepare(
                "INSERT INTO workers (account, name) SELECT * FROM unnest($1::BIGINT[], $2::TEXT[])
                 ON CONFLICT (account, name) DO NOTHING",
            )?,
            worker_ids: client.prepare(
                "SELECT workers.id, workers.account, workers.name
                 FROM unnest($1::BIGINT[], $2::TEXT[]) AS asked (account, name)
                 JOIN workers ON workers.account = asked.account AND workers.name = asked.name",
            )?,
            heights: client.prepare(
                "INSERT INTO heights (height, difficulty)
                 SELECT * FROM unnest($1::BIGINT[], $2::FLOAT8[]) ON CONFLICT (height) DO NOTHING",
            )?,
            credit: client.prepare(
                "INSERT INTO credit (origin, height, account, difficulty, count)
                 SELECT $1, * FROM unnest($2::BIGINT[], $3::BIGINT[], $4::FLOAT8[], $5::BIGINT[])
                 ON CONFLICT (height, account, difficulty, origin)
                 DO UPDATE SET count = credit.count + excluded.count",
            )?,
            statistics: client.prepare(
                "INSERT INTO statistics (origin, span, start, worker, accepted, accepted_work,
                   stale, stale_work, low, low_work, duplicate, duplicate_work)
                 SELECT $1, * FROM unnest($2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[],
                   $6::FLOAT8[], $7::BIGINT[], $8::FLOAT8[], $9::BIGINT[], $10::FLOAT8[],
                   $11::BIGINT[], $12::FLOAT8[])
                 ON CONFLICT (span, start, worker, origin) DO UPDATE SET
                   accepted = statistics.accepted + excluded.accepted,
                   accepted_work = statistics.accepted_work + excluded.accepted_work,
                   stale = statistics.stale + excluded.stale,
                   stale_work = statistics.stale_work + excluded.stale_work,
                   low = statistics.low + excluded.low,
                   low_work = statistics.low_work + excluded.low_work,
                   duplicate = statistics.duplicate + excluded.duplicate,
                   duplicate_work = statistics.duplicate_work + excluded.duplicate_work",
            )?,
            batch: client.prepare(&format!(
                "INSERT INTO batches (origin, sequence, digest, life, applied_at)
                 VALUES ($1, $2, $3, $4, {NOW_MS} / 1000)"
            ))?,
            advance: client.prepare("UPDATE origins SET sequence = $2 WHERE id = $1")?,
        })
    }
}

impl Carrier {
    pub(crate) fn new(mut client: Client) -> Result<Self, SqlError> {
        Ok(Self {
            statements: Statements::prepare(&mut client)?,
            client,
            accounts: HashMap::new(),
            workers: HashMap::new(),
            heights: HashSet::new(),
        })
    }

    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Ships a batch of `origin`; names are those of the file `names`.
    ///
    /// # Errors
    /// [`SqlError`] inside where the shared ledger says so: then it is not known whether it is there.
    pub(crate) fn ship(
        &mut self,
        names: &Connection,
        origin: i64,
        cargo: &Cargo,
    ) -> anyhow::Result<Shipped> {
        for known in [&mut self.accounts, &mut self.workers] {
            if known.len() >= LEDGER_IDS_MAX {
                known.clear();
            }
        }
        self.know_accounts(names, &cargo.body)?;
        self.know_workers(names, &cargo.body)?;
        self.know_heights(&cargo.body)?;
        Ok(self.apply(origin, cargo)?)
    }

    fn apply(&mut self, origin: i64, cargo: &Cargo) -> Result<Shipped, SqlError> {
        let statements = &self.statements;
        let mut tx = self
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted)
            .start()?;
        let at = tx.query_opt(&statements.lock, &[&origin])?;
        let at: Option<i64> = at.map(|row| row.try_get(0)).transpose()?;
        if at != Some(cargo.after) {
            return Ok(Shipped::Moved);
        }
        for rows in cargo.body.credit.chunks(SHIP_ROWS) {
            let heights: Vec<i64> = rows.iter().map(|row| row.height).collect();
            let accounts: Vec<i64> = rows.iter().map(|row| self.accounts[&row.account]).collect();
            let difficulties: Vec<f64> = rows.iter().map(|row| row.difficulty).collect();
            let counts: Vec<i64> = rows.iter().map(|row| row.count).collect();
            let params: [&(dyn ToSql + Sync); 5] =
                [&origin, &heights, &accounts, &difficulties, &counts];
            tx.execute(&statements.credit, &params)?;
        }
        for rows in cargo.body.statistics.chunks(SHIP_ROWS) {
            let columns = Columns::of(rows, &self.workers);
            tx.execute(&statements.statistics, &columns.params(&origin))?;
        }
        let Seen { digest, life } = &cargo.seen;
        let params: [&(dyn ToSql + Sync); 4] = [&origin, &cargo.sequence, &&digest[..], &&life[..]];
        tx.execute(&statements.batch, &params)?;
        tx.execute(&statements.advance, &[&origin, &cargo.sequence])?;
        tx.commit()?;
        Ok(Shipped::Yes)
    }

    fn know_accounts(&mut self, names: &Connection, body: &Body) -> anyhow::Result<()> {
        let ids = body.credit.iter().map(|row| row.account);
        let ours = unknown(&self.accounts, ids);
        self.insert_accounts(names, &ours)
    }

    fn insert_accounts(&mut self, names: &Connection, ours: &[i64]) -> anyhow::Result<()> {
        let mut read = names.prepare_cached("SELECT name FROM accounts WHERE id = ?1")?;
        let mut missing = HashMap::new();
        for id in ours {
            let name: String = read
                .query_row([id], |row| row.get(0))
                .with_context(|| format!("the ledger's file has no account {id}"))?;
            missing.insert(name, *id);
        }
        let mut sorted: Vec<&String> = missing.keys().collect();
        sorted.sort();
        for some in sorted.chunks(SHIP_ROWS) {
            let some = some.to_vec();
            self.client
                .execute(&self.statements.accounts, &[&some])
                .map_err(SqlError::from)?;
            let rows = self.client.query(&self.statements.account_ids, &[&some]);
            for row in rows.map_err(SqlError::from)? {
                let name: String = row.get(1);
                self.accounts.insert(missing[&name], row.get(0));
            }
        }
        Ok(())
    }

    fn know_workers(&mut self, names: &Connection, body: &Body) -> anyhow::Result<()> {
        let ids = body.statistics.iter().map(|row| row.worker);
        let ours = unknown(&self.workers, ids);
        let mut read = names.prepare_cached("SELECT account, name FROM workers WHERE id = ?1")?;
        let mut found: Vec<(i64, i64, String)> = Vec::with_capacity(ours.len());
        for id in ours {
            let (account, name) = read
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
                .with_context(|| format!("the ledger's file has no worker {id}"))?;
            found.push((id, account, name));
        }
        let accounts = unknown(&self.accounts, found.iter().map(|worker| worker.1));
        self.insert_accounts(names, &accounts)?;
        let mut missing: HashMap<(i64, String), i64> = HashMap::new();
        for (id, account, name) in found {
            missing.insert((self.accounts[&account], name), id);
        }
        let mut sorted: Vec<&(i64, String)> = missing.keys().collect();
        sorted.sort();
        for some in sorted.chunks(SHIP_ROWS) {
            let accounts: Vec<i64> = some.iter().map(|(account, _)| *account).collect();
            let names: Vec<&String> = some.iter().map(|(_, name)| name).collect();
            self.client
                .execute(&self.statements.workers, &[&accounts, &names])
                .map_err(SqlError::from)?;
            let rows = self
                .client
                .query(&self.statements.worker_ids, &[&accounts, &names]);
            for row in rows.map_err(SqlError::from)? {
                let key = (row.get(1), row.get(2));
                self.workers.insert(missing[&key], row.get(0));
            }
        }
        Ok(())
    }

    fn know_heights(&mut self, body: &Body) -> Result<(), SqlError> {
        let new = body.heights.iter();
        let new: Vec<(i64, f64)> = new
            .filter(|(height, _)| !self.heights.contains(height))
            .copied()
            .collect();
        if self.heights.len() >= LEDGER_IDS_MAX {
            self.heights.clear();
        }
        for some in new.chunks(SHIP_ROWS) {
            let (heights, difficulties): (Vec<i64>, Vec<f64>) = some.iter().copied().unzip();
            self.client
                .execute(&self.statements.heights, &[&heights, &difficulties])?;
            self.heights.extend(heights);
        }
        Ok(())
    }
}

/// Those of the file's ids whose counterparts are not known, each once.
fn unknown(known: &HashMap<i64, i64>, ids: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut missing: Vec<i64> = ids.filter(|id| !known.contains_key(id)).collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

/// Rows of statistics, column by column.
#[derive(Default)]
struct Columns {
    spans: Vec<i64>,
    starts: Vec<i64>,
    workers: Vec<i64>,
    counts: [Vec<i64>; 4],
    works: [Vec<f64>; 4],
}

impl Columns {
    fn of(rows: &[StatisticsRow], workers: &HashMap<i64, i64>) -> Self {
        let mut columns = Self::default();
        for row in rows {
            columns.spans.push(row.span);
            columns.starts.push(row.start);
            columns.workers.push(workers[&row.worker]);
            for (place, (count, work)) in row.works.iter().enumerate() {
                columns.counts[place].push(*count);
                columns.works[place].push(*work);
            }
        }
        columns
    }

    fn params<'a>(&'a self, origin: &'a i64) -> [&'a (dyn ToSql + Sync); 12] {
        let (counts, works) = (&self.counts, &self.works);
        [
            origin,
            &self.spans,
            &self.starts,
            &self.workers,
            &counts[0],
            &works[0],
            &counts[1],
            &works[1],
            &counts[2],
            &works[2],
            &counts[3],
            &works[3],
        ]
    }
}
