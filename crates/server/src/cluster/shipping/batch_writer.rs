//! Writes batches into the shared ledger. A batch is one transaction, which locks the origin's row, checks
//! that its position is the expected one, and adds the batch's sums.
//!
//! Rows of credit and statistics belong to one origin, so that servers do not wait for each other. Names and
//! heights are inserted before, each kind in a statement of its own and in the order of the names, so that
//! two servers inserting the same ones wait for each other only that long. Their ids are looked up in the
//! transaction that uses them, and cached as long as the connection's [`WriteMark`] is in place.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Context;
use postgres::types::ToSql;
use postgres::{Client, IsolationLevel, Statement, Transaction};
use rusqlite::Connection;
use rusqlite::types::Type;

use crate::clock::unix_s;
use crate::cluster::restore_detection::WriteMark;
use crate::cluster::shipping::reconcile::BatchHead;
use crate::cluster::storable_names::storable;
use crate::limits::{LEDGER_IDS_MAX, SHIP_ROWS};
use crate::sql::{NOW_MS, STATISTICS_WORK_MAX, SqlError, sums_of_statistics};
use crate::store::batch_codec::{BatchBody, StatisticsRow};
use crate::store::late_statistics::late_hours;

/// A batch to be shipped.
pub(crate) struct OutgoingBatch {
    /// Sequence number of the shared ledger's batch before it.
    pub after: i64,
    pub sequence: i64,
    pub seen: BatchHead,
    pub body: BatchBody,
}

/// Result of shipping a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shipped {
    /// The batch is in the shared ledger.
    Yes,
    /// Somebody else has shipped under this origin, or the shared ledger was restored to an earlier state.
    Moved,
}

/// A connection to the shared ledger, and what is cached for as long as it lasts.
pub(crate) struct BatchWriter {
    client: Client,
    statements: WriterStatements,
    /// Row ids in the shared ledger by those of the file.
    accounts: HashMap<i64, i64>,
    workers: HashMap<i64, i64>,
    heights: HashSet<i64>,
}

/// Sets the best shares of workers of one server, where they are better than those known. A batch may have several
/// of one worker.
const BEST_SHARES: &str = "INSERT INTO best_shares (origin, worker, difficulty, at)
     SELECT DISTINCT ON (worker) $1::BIGINT, worker, difficulty, at
     FROM unnest($2::BIGINT[], $3::FLOAT8[], $4::BIGINT[]) AS best (worker, difficulty, at)
     ORDER BY worker, difficulty DESC
     ON CONFLICT (worker, origin) DO UPDATE
     SET difficulty = excluded.difficulty, at = excluded.at
     WHERE excluded.difficulty > best_shares.difficulty";

/// Locks the origin's row, where our mark is still there, and writes the next mark.
const LOCK: &str = "WITH ours AS (UPDATE marks SET mark = $3
                      WHERE origin = $1 AND duty = 'ship' AND mark = $2 RETURNING origin)
                    SELECT sequence FROM origins
                     WHERE id = (SELECT origin FROM ours) FOR UPDATE";

struct WriterStatements {
    mark: Statement,
    lock: Statement,
    accounts: Statement,
    account_ids: Statement,
    workers: Statement,
    worker_ids: Statement,
    heights: Statement,
    known_heights: Statement,
    credit: Statement,
    statistics: Statement,
    best_shares: Statement,
    late: Statement,
    batch: Statement,
    advance: Statement,
}

impl WriterStatements {
    fn prepare(client: &mut Client) -> Result<Self, postgres::Error> {
        Ok(Self {
            mark: client.prepare(
                "INSERT INTO marks (origin, duty, mark) VALUES ($1, 'ship', $2)
                 ON CONFLICT (origin, duty) DO UPDATE SET mark = excluded.mark",
            )?,
            lock: client.prepare(LOCK)?,
            accounts: client.prepare(
                "INSERT INTO accounts (name) SELECT * FROM unnest($1::TEXT[])
                 ON CONFLICT (name) DO NOTHING",
            )?,
            account_ids: client.prepare("SELECT id, name FROM accounts WHERE name = ANY($1)")?,
            workers: client.prepare(
                "INSERT INTO workers (account, name)
                 SELECT accounts.id, asked.name
                 FROM unnest($1::TEXT[], $2::TEXT[]) WITH ORDINALITY AS asked (account, name, place)
                 JOIN accounts ON accounts.name = asked.account ORDER BY place
                 ON CONFLICT (account, name) DO NOTHING",
            )?,
            worker_ids: client.prepare(
                "SELECT workers.id, asked.place
                 FROM unnest($1::TEXT[], $2::TEXT[]) WITH ORDINALITY AS asked (account, name, place)
                 JOIN accounts ON accounts.name = asked.account
                 JOIN workers ON workers.account = accounts.id AND workers.name = asked.name",
            )?,
            heights: client.prepare(
                "INSERT INTO heights (height, difficulty)
                 SELECT * FROM unnest($1::BIGINT[], $2::FLOAT8[]) ON CONFLICT (height) DO NOTHING",
            )?,
            known_heights: client.prepare("SELECT height FROM heights WHERE height = ANY($1)")?,
            credit: client.prepare(
                "INSERT INTO credit (origin, height, account, difficulty, count)
                 SELECT $1, * FROM unnest($2::BIGINT[], $3::BIGINT[], $4::FLOAT8[], $5::BIGINT[])
                 ON CONFLICT (height, account, difficulty, origin)
                 DO UPDATE SET count = credit.count + excluded.count",
            )?,
            statistics: client.prepare(concat!(
                "INSERT INTO statistics (origin, span, start, worker, accepted, accepted_work,
                   stale, stale_work, low, low_work, duplicate, duplicate_work, first_share, last_share)
                 SELECT $1, * FROM unnest($2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[],
                   $6::FLOAT8[], $7::BIGINT[], $8::FLOAT8[], $9::BIGINT[], $10::FLOAT8[],
                   $11::BIGINT[], $12::FLOAT8[], $13::BIGINT[], $14::BIGINT[])
                 ON CONFLICT (span, start, worker, origin) DO UPDATE SET ",
                sums_of_statistics!("statistics"),
                ",
                   first_share = CASE WHEN statistics.first_share = 0 THEN excluded.first_share
                     ELSE statistics.first_share END,
                   last_share = CASE WHEN excluded.last_share = 0 THEN statistics.last_share
                     ELSE excluded.last_share END",
            ))?,
            best_shares: client.prepare(BEST_SHARES)?,
            late: client.prepare(
                "INSERT INTO late_statistics (start, origin, changes)
                 SELECT start, $1, 1 FROM unnest($2::BIGINT[]) AS late (start)
                 ON CONFLICT (start, origin) DO UPDATE SET changes = late_statistics.changes + 1",
            )?,
            batch: client.prepare(&format!(
                "INSERT INTO batches (origin, sequence, digest, life, applied_at)
                 VALUES ($1, $2, $3, $4, {NOW_MS} / 1000)"
            ))?,
            advance: client.prepare("UPDATE origins SET sequence = $2 WHERE id = $1")?,
        })
    }
}

impl BatchWriter {
    pub(crate) fn new(mut client: Client) -> Result<Self, SqlError> {
        Ok(Self {
            statements: WriterStatements::prepare(&mut client)?,
            client,
            accounts: HashMap::new(),
            workers: HashMap::new(),
            heights: HashSet::new(),
        })
    }

    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Drops the caches and leaves a mark by which a replaced shared ledger is recognized.
    ///
    /// # Errors
    /// See [`SqlError`] inside.
    pub(crate) fn begin(&mut self, origin: i64) -> anyhow::Result<WriteMark> {
        self.forget();
        let mark = WriteMark::new()?;
        self.client
            .execute(&self.statements.mark, &[&origin, &mark.bytes()])
            .map_err(SqlError::from)?;
        Ok(mark)
    }

    fn forget(&mut self) {
        self.accounts.clear();
        self.workers.clear();
        self.heights.clear();
    }

    /// Ships a batch of `origin`; `names` is the file with the names that the batch's ids refer to.
    ///
    /// # Errors
    /// [`SqlError`] inside if it came from the shared ledger: then it is not known whether the batch was
    /// written.
    pub(crate) fn ship(
        &mut self,
        names: &Connection,
        origin: i64,
        mark: &mut WriteMark,
        outgoing: &OutgoingBatch,
    ) -> anyhow::Result<Shipped> {
        let known = [self.accounts.len(), self.workers.len(), self.heights.len()];
        if known.iter().any(|known| *known >= LEDGER_IDS_MAX) {
            self.forget();
        }
        let new = New::of(names, self, &outgoing.body)?;
        self.insert(&new)?;
        Ok(self.apply(origin, mark, outgoing, &new)?)
    }

    fn apply(
        &mut self,
        origin: i64,
        mark: &mut WriteMark,
        outgoing: &OutgoingBatch,
        new: &New,
    ) -> Result<Shipped, SqlError> {
        let statements = &self.statements;
        let next = mark.next();
        let mut tx = self
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted)
            .start()?;
        let marks: [&(dyn ToSql + Sync); 3] = [&origin, &mark.bytes(), &next.bytes()];
        let at = tx.query_opt(&statements.lock, &marks)?;
        let at: Option<i64> = at.map(|row| row.try_get(0)).transpose()?;
        if at != Some(outgoing.after) {
            return Ok(Shipped::Moved);
        }
        // The mark is renewed and locked: from here on this ledger cannot be replaced unnoticed.
        let known = (&mut self.accounts, &mut self.workers, &mut self.heights);
        if !new.look_up(&mut tx, statements, known)? {
            return Ok(Shipped::Moved);
        }
        for rows in outgoing.body.credit.chunks(SHIP_ROWS) {
            let heights: Vec<i64> = rows.iter().map(|row| row.height).collect();
            let accounts: Vec<i64> = rows.iter().map(|row| self.accounts[&row.account]).collect();
            let difficulties: Vec<f64> = rows.iter().map(|row| row.difficulty).collect();
            let counts: Vec<i64> = rows.iter().map(|row| row.count).collect();
            let params: [&(dyn ToSql + Sync); 5] =
                [&origin, &heights, &accounts, &difficulties, &counts];
            tx.execute(&statements.credit, &params)?;
        }
        for rows in outgoing.body.statistics.chunks(SHIP_ROWS) {
            let columns = Columns::of(rows, &self.workers);
            tx.execute(&statements.statistics, &columns.params(&origin))?;
            if !columns.best.0.is_empty() {
                tx.execute(&statements.best_shares, &columns.best_params(&origin))?;
            }
        }
        let starts = outgoing.body.statistics.iter().map(|row| row.start);
        let late = late_hours(starts, unix_s());
        if !late.is_empty() {
            tx.execute(&statements.late, &[&origin, &late])?;
        }
        let BatchHead { digest, run_id } = &outgoing.seen;
        let params: [&(dyn ToSql + Sync); 4] =
            [&origin, &outgoing.sequence, &&digest[..], &&run_id[..]];
        tx.execute(&statements.batch, &params)?;
        tx.execute(&statements.advance, &[&origin, &outgoing.sequence])?;
        tx.commit()?;
        *mark = next;
        Ok(Shipped::Yes)
    }

    /// Inserts the missing rows.
    fn insert(&mut self, new: &New) -> Result<(), SqlError> {
        let (client, statements) = (&mut self.client, &self.statements);
        for names in new.account_names().chunks(SHIP_ROWS) {
            client.execute(&statements.accounts, &[&names])?;
        }
        for some in new.workers.chunks(SHIP_ROWS) {
            let (accounts, names) = New::columns(some);
            client.execute(&statements.workers, &[&accounts, &names])?;
        }
        for some in new.heights.chunks(SHIP_ROWS) {
            let (heights, difficulties): (Vec<i64>, Vec<f64>) = some.iter().copied().unzip();
            client.execute(&statements.heights, &[&heights, &difficulties])?;
        }
        Ok(())
    }
}

/// Names and heights of a batch that are not cached, in the order of the names.
struct New {
    /// Row ids of the file by name.
    accounts: BTreeMap<String, i64>,
    workers: Vec<NewWorker>,
    heights: Vec<(i64, f64)>,
}

struct NewWorker {
    /// Row id of the file.
    id: i64,
    account: String,
    name: String,
}

/// Row ids in the shared ledger by those of the file, and heights known to be there.
type WriterIds<'a> = (
    &'a mut HashMap<i64, i64>,
    &'a mut HashMap<i64, i64>,
    &'a mut HashSet<i64>,
);

/// A name of the file, changed where the database cannot store it.
fn name_of(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<String> {
    let name = row.get_ref(column)?.as_bytes();
    Ok(storable(name.map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })?))
}

impl New {
    fn of(names: &Connection, known: &BatchWriter, body: &BatchBody) -> anyhow::Result<Self> {
        let mut workers = Vec::new();
        let mut account_ids = unknown(&known.accounts, body.credit.iter().map(|row| row.account));
        let mut read = names.prepare_cached("SELECT account, name FROM workers WHERE id = ?1")?;
        for id in unknown(&known.workers, body.statistics.iter().map(|row| row.worker)) {
            let (account, name): (i64, String) = read
                .query_row([id], |row| Ok((row.get(0)?, name_of(row, 1)?)))
                .with_context(|| format!("the ledger's file has no worker {id}"))?;
            account_ids.push(account);
            workers.push((id, account, name));
        }
        let mut read = names.prepare_cached("SELECT name FROM accounts WHERE id = ?1")?;
        let mut by_id = HashMap::new();
        for id in account_ids {
            let name: String = read
                .query_row([id], |row| name_of(row, 0))
                .with_context(|| format!("the ledger's file has no account {id}"))?;
            by_id.insert(id, name);
        }
        let named = |(id, account, name)| NewWorker {
            id,
            account: by_id[&account].clone(),
            name,
        };
        let mut workers: Vec<NewWorker> = workers.into_iter().map(named).collect();
        workers.sort_by(|a, b| (&a.account, &a.name).cmp(&(&b.account, &b.name)));
        let new = |(height, _): &&(i64, f64)| !known.heights.contains(height);
        Ok(Self {
            accounts: by_id.into_iter().map(|(id, name)| (name, id)).collect(),
            workers,
            heights: body.heights.iter().filter(new).copied().collect(),
        })
    }

    fn account_names(&self) -> Vec<&String> {
        self.accounts.keys().collect()
    }

    fn columns(workers: &[NewWorker]) -> (Vec<&String>, Vec<&String>) {
        let pairs = workers.iter().map(|worker| (&worker.account, &worker.name));
        pairs.unzip()
    }

    /// Looks up the ids of what exists by now; returns false if something is missing.
    fn look_up(
        &self,
        tx: &mut Transaction<'_>,
        statements: &WriterStatements,
        (accounts, workers, heights): WriterIds<'_>,
    ) -> Result<bool, SqlError> {
        for names in self.account_names().chunks(SHIP_ROWS) {
            for row in tx.query(&statements.account_ids, &[&names])? {
                let name: String = row.try_get(1)?;
                accounts.insert(self.accounts[&name], row.try_get(0)?);
            }
        }
        for some in self.workers.chunks(SHIP_ROWS) {
            let (of, names) = Self::columns(some);
            for row in tx.query(&statements.worker_ids, &[&of, &names])? {
                // Position in the list asked for, from 1.
                let place = usize::try_from(row.try_get::<_, i64>(1)? - 1).unwrap_or(usize::MAX);
                let asked = some.get(place);
                let asked = asked.ok_or_else(|| SqlError::Failed("no such worker".to_owned()))?;
                workers.insert(asked.id, row.try_get(0)?);
            }
        }
        for some in self.heights.chunks(SHIP_ROWS) {
            let some: Vec<i64> = some.iter().map(|(height, _)| *height).collect();
            for row in tx.query(&statements.known_heights, &[&some])? {
                heights.insert(row.try_get(0)?);
            }
        }
        Ok(self.accounts.values().all(|id| accounts.contains_key(id))
            && self
                .workers
                .iter()
                .all(|worker| workers.contains_key(&worker.id))
            && self
                .heights
                .iter()
                .all(|(height, _)| heights.contains(height)))
    }
}

/// Row ids of the file whose counterparts are not cached, each once.
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
    times: [Vec<i64>; 2],
    /// Of the rows that have a best share: workers, difficulties, times.
    best: (Vec<i64>, Vec<f64>, Vec<i64>),
}

impl Columns {
    fn of(rows: &[StatisticsRow], workers: &HashMap<i64, i64>) -> Self {
        let mut columns = Self::default();
        for row in rows {
            columns.spans.push(row.span);
            columns.starts.push(row.start);
            columns.workers.push(workers[&row.worker]);
            columns.times[0].push(row.times.0);
            columns.times[1].push(row.times.1);
            if row.best.0 > 0.0 {
                columns.best.0.push(workers[&row.worker]);
                columns.best.1.push(row.best.0);
                columns.best.2.push(row.best.1);
            }
            for (place, (count, work)) in row.works.iter().enumerate() {
                columns.counts[place].push(*count);
                // The work of a refused share is whatever a miner chose.
                columns.works[place].push(work.clamp(0.0, STATISTICS_WORK_MAX));
            }
        }
        columns
    }

    fn params<'a>(&'a self, origin: &'a i64) -> [&'a (dyn ToSql + Sync); 14] {
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
            &self.times[0],
            &self.times[1],
        ]
    }

    fn best_params<'a>(&'a self, origin: &'a i64) -> [&'a (dyn ToSql + Sync); 4] {
        [origin, &self.best.0, &self.best.1, &self.best.2]
    }
}
