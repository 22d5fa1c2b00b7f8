//! The ledger in SQLite: a batch is one transaction, synced before it counts as durable.
//!
//! `meta.seq` is the last share in `credit` and changes in the same transaction, so that a batch offered
//! twice counts once. States of blocks are in `blocks`, compaction in `compact`, the file's schema in `schema`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::bail;
use hstratum_core::accounting::ledger::Tip;
use hstratum_core::chain::address::Network;
use hstratum_core::units::{Height, Seq};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::best_tip;
use super::blocks::{self, Finder, Rounds};
use super::checkpoint::{Growth, Log, checkpoint};
use super::ledger::{AccountSetting, Advanced, Batch, Compacted, Ledger, LedgerError, ShareGroup};
use super::ledger_status::LedgerStatus;
use super::outbox::{self, Outbox, RunId};
use super::share_tables::{OWN, PENDING, ShareTables};
use super::shipper_exchange::{SealedHead, ShipperExchange};
use super::{compaction, worker_statistics};
use crate::limits::{LEDGER_BUSY_MS, LEDGER_IDS_MAX, WAL_BYTES_HIGH, WAL_FINISH_EVERY};
use crate::node::BlockQuery;
use crate::sql::sqlite_schema::{self, FileId, beside};
use crate::sql::{Sql, SqlError, signed};

/// Bytes that a probe writes: more than a usual group changes.
const PROBE_BYTES: i64 = 64 * 1024;

/// Time that a start waits for another process's transaction.
const START_BUSY: Duration = Duration::from_secs(10);

/// Prepared statements cached.
const STATEMENTS: usize = 64;

/// A ledger in a SQLite file or in memory.
pub struct SqliteLedger {
    conn: Connection,
    /// `None` in memory.
    path: Option<PathBuf>,
    origin: FileId,
    network: Network,
    ids: IdCache,
    compacted: compaction::Progress,
    turns: blocks::WatchTurns,
    status: Arc<LedgerStatus>,
    /// Exchange with the shipper of the shared ledger; `None` without one.
    shipper_exchange: Option<Arc<ShipperExchange>>,
    /// The outbox's state as last read; dropped when a commit fails.
    outbox: Option<Outbox>,
    log: Log,
    /// Decides when this thread copies the log itself.
    finishing: Growth,
    finished_at: Instant,
}

/// Cached row ids of accounts and workers; dropped when a commit fails.
#[derive(Default)]
pub(super) struct IdCache {
    accounts: HashMap<Arc<str>, i64>,
    workers: HashMap<i64, HashMap<Box<str>, i64>>,
    workers_len: usize,
}

/// Treatment of a name that is not in the ledger: insert a row, or not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    Insert,
    LeaveOut,
}

impl SqliteLedger {
    /// Opens the file, or creates it; `told` is called with a line for each thing done.
    ///
    /// # Errors
    /// One line that names the file and says what to do.
    pub fn open(
        path: &Path,
        network: Network,
        unix_s: u64,
        status: Arc<LedgerStatus>,
        told: &mut Vec<String>,
    ) -> anyhow::Result<Self> {
        let conn = sqlite_schema::open_own(path, network.name(), unix_s, told)?;
        let opened = Self::on(conn, Some(path.to_owned()), network, status)?;
        // A ledger that refuses shares now is reported before miners connect.
        match opened.write_probe() {
            Ok(()) | Err(LedgerError::Busy) => Ok(opened),
            Err(error) => bail!("the ledger {} cannot be written: {error}", path.display()),
        }
    }

    /// A ledger in memory, which ends with the process.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn in_memory(
        network: Network,
        unix_s: u64,
        status: Arc<LedgerStatus>,
    ) -> anyhow::Result<Self> {
        let conn = Connection::open_in_memory()?;
        sqlite_schema::create(&conn, network.name(), [0; 16], unix_s)?;
        Ok(Self::on(conn, None, network, status)?)
    }

    fn on(
        mut conn: Connection,
        path: Option<PathBuf>,
        network: Network,
        status: Arc<LedgerStatus>,
    ) -> rusqlite::Result<Self> {
        let log = Log::default();
        prepare(&mut conn, &log)?;
        let origin = sqlite_schema::origin_of(&conn)?;
        Ok(Self {
            conn,
            path,
            origin,
            network,
            ids: IdCache::default(),
            compacted: compaction::Progress::default(),
            turns: blocks::WatchTurns::default(),
            status,
            shipper_exchange: None,
            outbox: None,
            log,
            finishing: Growth::above(WAL_BYTES_HIGH),
            finished_at: Instant::now(),
        })
    }

    /// Id under which the file ships; the file's own id if it was never shared.
    pub(crate) fn ships_as(&self) -> FileId {
        let last = "SELECT origin FROM outbox_origins ORDER BY id DESC LIMIT 1";
        let last = self.conn.query_row(last, [], |row| row.get(0));
        last.unwrap_or(self.origin)
    }

    /// Sends shares and statistics to the shared ledger from now on, by way of batches. What is in the file
    /// already goes first.
    ///
    /// # Errors
    /// One line that says why this is impossible.
    pub fn share(
        &mut self,
        run_id: RunId,
        unix_s: u64,
        shipper_exchange: Arc<ShipperExchange>,
    ) -> anyhow::Result<()> {
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        outbox::begin(&tx, run_id, signed(unix_s))?;
        let outbox = Outbox::load(&tx)?;
        tx.commit()?;
        shipper_exchange.sealed(SealedHead {
            last: outbox.head(),
            tip: None,
            backlog: outbox.backlog(),
            is_full: false,
        });
        self.outbox = Some(outbox);
        self.shipper_exchange = Some(shipper_exchange);
        Ok(())
    }

    /// True if the file holds anything that no shared ledger is known to have.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_owing(&self) -> rusqlite::Result<bool> {
        outbox::is_owing(&self.conn)
    }

    /// Sequence number of the last share in it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_seq(&self) -> Result<Seq, LedgerError> {
        Ok(seq_of(&self.conn)?)
    }

    /// The highest tip that it was shown.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn highest(&self) -> Result<Option<Tip>, LedgerError> {
        Ok(best_tip::highest(&mut &self.conn)?)
    }

    /// Reads from one state of the ledger.
    ///
    /// # Errors
    /// Errors of `read`, and see [`SqlError`].
    pub(crate) fn read<T>(
        &mut self,
        read: impl FnOnce(&mut dyn Sql) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let snapshot = self.conn.transaction()?;
        read(&mut &*snapshot)
    }

    /// Writes before the server takes shares, and so waits longer for other processes. It is not done beside
    /// this connection: [`sqlite_schema::open_beside`] opens and closes the file, which ends the locks that
    /// this process has on it (POSIX), and another program that closes the ledger would remove the log.
    ///
    /// # Errors
    /// Errors of `write`, and see [`SqlError`].
    pub(crate) fn write_at_start<T>(
        &mut self,
        write: impl FnOnce(&mut dyn Sql) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        self.conn.busy_timeout(START_BUSY)?;
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let written = write(&mut &*tx)?;
        tx.commit()?;
        self.conn
            .busy_timeout(Duration::from_millis(LEDGER_BUSY_MS))?;
        Ok(written)
    }

    fn write(&mut self, batch: &Batch) -> Result<(Advanced, u64), LedgerError> {
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let tables = match self.shipper_exchange {
            None => &OWN,
            Some(_) => &PENDING,
        };
        let is_new = write_shares(&tx, &mut self.ids, &batch.shares, tables)?;
        let unix_s = signed(batch.unix_s);
        for block in &batch.found {
            let account = match &block.account {
                Some(name) => self.ids.account(&tx, name, Unknown::Insert)?,
                None => None,
            };
            let finder = Finder { account, origin: 0 };
            blocks::insert(&mut &*tx, self.network, block, finder, unix_s)?;
        }
        let rounds = match self.shipper_exchange {
            None => Rounds::Close,
            Some(_) => Rounds::Leave,
        };
        let (looks, verdicts) = (&batch.looks, &batch.verdicts);
        let advanced = blocks::advance(&mut &*tx, self.network, looks, verdicts, rounds, unix_s)?;
        for (hash, effort) in &batch.dumped {
            blocks::dumped(&mut &*tx, hash, *effort, unix_s)?;
        }
        for command in &batch.accounts {
            // An account that is not there has no keys, and nobody who is told.
            let unknown = match command.setting {
                AccountSetting::RevokeKeys | AccountSetting::NewPassword => Unknown::LeaveOut,
                _ => Unknown::Insert,
            };
            (self.ids).account(&tx, &command.account.as_str().into(), unknown)?;
            command.write(&mut &*tx)?;
        }
        let mut unproven = Vec::new();
        if is_new {
            unproven = worker_statistics::write(&tx, &mut self.ids, &self.status, batch, tables)?;
        }
        let head = match self.shipper_exchange {
            None => None,
            Some(_) => outbox::write(&tx, &mut self.outbox, batch, unix_s)?,
        };
        check_log(self.path.as_deref())?;
        tx.commit()?;
        if is_new {
            self.status.tallied(&batch.tallies, &unproven, batch.unix_s);
        }
        if let (Some(shipper_exchange), Some(head)) = (&self.shipper_exchange, head) {
            shipper_exchange.sealed(head);
        }
        let log_bytes = self.log.bytes();
        let is_long = log_bytes >= WAL_BYTES_HIGH && self.finished_at.elapsed() >= WAL_FINISH_EVERY;
        if self.finishing.is_due(log_bytes) || is_long {
            self.finished_at = Instant::now();
            // Another thread has copied most of the log; it cannot catch up with a writer, which this thread
            // can. A failure shows at the next commit.
            let _ = checkpoint(&self.conn);
        }
        Ok((advanced, log_bytes))
    }
}

impl SqliteLedger {
    fn write_probe(&self) -> Result<(), LedgerError> {
        // Two transactions: SQLite does not write pages that one transaction both takes and frees.
        self.conn.execute(
            "INSERT OR REPLACE INTO probe VALUES (1, zeroblob(?1))",
            [PROBE_BYTES],
        )?;
        self.conn.execute("DELETE FROM probe", [])?;
        check_log(self.path.as_deref())
    }
}

/// Checks before a commit that the log is in its place: what is written to a deleted log is lost with the
/// process.
fn check_log(path: Option<&Path>) -> Result<(), LedgerError> {
    let Some(path) = path else { return Ok(()) };
    let log = beside(path, "-wal");
    match fs::metadata(&log) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = log.file_name().unwrap_or_default().to_string_lossy();
            Err(LedgerError::LogMissing(name.into_owned()))
        }
        Err(error) => Err(LedgerError::Failed(format!("its log: {error}"))),
    }
}

impl Ledger for SqliteLedger {
    fn commit(&mut self, batch: &Batch) -> Result<Advanced, LedgerError> {
        let begun = Instant::now();
        match self.write(batch) {
            Ok((advanced, wal_bytes)) => {
                self.status
                    .committed(begun.elapsed(), batch.shares.len(), wal_bytes);
                Ok(advanced)
            }
            Err(error) => {
                // Ids of rows that were not committed are invalid.
                self.ids = IdCache::default();
                self.outbox = None;
                Err(error)
            }
        }
    }

    fn probe(&mut self) -> Result<(), LedgerError> {
        if let Some(path) = &self.path {
            // The old connection closes first, which saves what is in its log.
            self.conn = Connection::open_in_memory()?;
            let conn = sqlite_schema::open_again(path, &self.origin)
                .map_err(|error| LedgerError::Failed(format!("{error:#}")))?;
            self.conn = conn;
            prepare(&mut self.conn, &self.log)?;
        }
        self.ids = IdCache::default();
        self.write_probe()
    }

    fn watched(&mut self, tip: Height) -> Result<Vec<BlockQuery>, LedgerError> {
        Ok(blocks::watched(&mut &self.conn, tip, &mut self.turns)?)
    }

    fn compact(&mut self, tip: Option<Height>, unix_s: u64) -> Result<Compacted, LedgerError> {
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if outbox::prune(&tx, signed(unix_s))? > 0 {
            tx.commit()?;
            return Ok(Compacted::More);
        }
        let (compacted, progress) =
            compaction::slice(&mut &*tx, self.compacted, tip, signed(unix_s))?;
        tx.commit()?;
        self.compacted = progress;
        Ok(compacted)
    }
}

/// Sets a connection up for the server. Another thread copies its log into the file.
fn prepare(conn: &mut Connection, log: &Log) -> rusqlite::Result<()> {
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.busy_timeout(Duration::from_millis(LEDGER_BUSY_MS))?;
    conn.execute_batch(&format!(
        "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = {WAL_BYTES_HIGH};"
    ))?;
    log.watch(conn)
}

fn seq_of(conn: &Connection) -> rusqlite::Result<Seq> {
    let seq: i64 = conn
        .prepare_cached("SELECT seq FROM meta")?
        .query_row([], |row| row.get(0))?;
    Ok(Seq(u64::try_from(seq).unwrap_or(0)))
}

/// Writes shares; returns false if they are already there.
fn write_shares(
    tx: &Transaction,
    ids: &mut IdCache,
    shares: &ShareGroup,
    tables: &ShareTables,
) -> Result<bool, LedgerError> {
    let Some((first, last)) = shares.range else {
        return Ok(true);
    };
    let there = seq_of(tx)?;
    if there == last {
        return Ok(false);
    }
    if there >= first {
        return Err(LedgerError::Failed(
            "another server has written shares to it".to_owned(),
        ));
    }
    let mut add = tx.prepare_cached(tables.add_credit)?;
    for ((height, account, difficulty), count) in &shares.counts {
        let account = ids.account(tx, account, Unknown::Insert)?;
        add.execute((
            height.0,
            account,
            f64::from_bits(*difficulty),
            signed(*count),
        ))?;
    }
    let mut know = tx.prepare_cached("INSERT OR IGNORE INTO heights VALUES (?1, ?2)")?;
    for (height, difficulty) in &shares.heights {
        know.execute((height.0, difficulty))?;
    }
    tx.prepare_cached("UPDATE meta SET seq = ?1")?
        .execute([signed(last.0)])?;
    Ok(true)
}

impl IdCache {
    pub(super) fn account(
        &mut self,
        tx: &Transaction,
        name: &Arc<str>,
        unknown: Unknown,
    ) -> rusqlite::Result<Option<i64>> {
        if let Some(id) = self.accounts.get(name) {
            return Ok(Some(*id));
        }
        let found = tx
            .prepare_cached("SELECT id FROM accounts WHERE name = ?1")?
            .query_row([&**name], |row| row.get(0))
            .optional()?;
        let id = match (found, unknown) {
            (Some(id), _) => id,
            (None, Unknown::LeaveOut) => return Ok(None),
            (None, Unknown::Insert) => tx
                .prepare_cached("INSERT INTO accounts (name) VALUES (?1)")?
                .insert([&**name])?,
        };
        if self.accounts.len() >= LEDGER_IDS_MAX {
            self.accounts.clear();
        }
        self.accounts.insert(name.clone(), id);
        Ok(Some(id))
    }

    pub(super) fn worker(
        &mut self,
        tx: &Transaction,
        account: i64,
        name: &str,
        unknown: Unknown,
    ) -> rusqlite::Result<Option<i64>> {
        if let Some(id) = self.workers.get(&account).and_then(|ids| ids.get(name)) {
            return Ok(Some(*id));
        }
        let found = tx
            .prepare_cached("SELECT id FROM workers WHERE account = ?1 AND name = ?2")?
            .query_row((account, name), |row| row.get(0))
            .optional()?;
        let id = match (found, unknown) {
            (Some(id), _) => id,
            (None, Unknown::LeaveOut) => return Ok(None),
            (None, Unknown::Insert) => tx
                .prepare_cached("INSERT INTO workers (account, name) VALUES (?1, ?2)")?
                .insert((account, name))?,
        };
        if self.workers_len >= LEDGER_IDS_MAX {
            self.workers.clear();
            self.workers_len = 0;
        }
        self.workers
            .entry(account)
            .or_default()
            .insert(name.into(), id);
        self.workers_len += 1;
        Ok(Some(id))
    }
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        SqlError::from(error).into()
    }
}

impl From<SqlError> for LedgerError {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Busy | SqlError::Conflict => Self::Busy,
            error => Self::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
