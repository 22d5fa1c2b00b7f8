//! A ledger in a SQLite file.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::{Row, Sql, SqlError, Value};
use crate::sql::sqlite_schema;

/// Interval at which a writer beside the server tries to get its turn: a busy server leaves only short gaps
/// between its own transactions.
const TURN_PERIOD: Duration = Duration::from_micros(500);

/// Milliseconds after which it gives up.
const TURN_MS: u32 = 30_000;

/// The same for one that somebody waits for.
const SOON_TURN_MS: u32 = 4_000;

/// Steps of SQLite's virtual machine between two checks of the time limit.
const STEPS: i32 = 20_000;

/// Connection to a ledger in a file.
pub struct Sqlite {
    conn: Connection,
    /// Waits for the turn to write, and says whether to go on waiting after so many tries.
    wait_for_turn: fn(i32) -> bool,
}

fn wait_for_turn<const MS_MAX: u32>(tries: i32) -> bool {
    thread::sleep(TURN_PERIOD);
    TURN_PERIOD * tries.unsigned_abs() < Duration::from_millis(MS_MAX.into())
}

impl Sqlite {
    /// Opens an existing ledger, beside the server that may be writing to it.
    ///
    /// # Errors
    /// When there is none, it is no ledger, or its version is not this program's.
    pub fn open_beside(path: &Path) -> anyhow::Result<Self> {
        Ok(Self::on(sqlite_schema::open_beside(path)?))
    }

    /// Opens the server's own ledger once more, from within its process.
    ///
    /// The file is touched by SQLite alone: were it opened and closed by other means, as
    /// [`Self::open_beside`] does, the process would lose all locks that it has on it (fcntl(2)).
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open_in_server(path: &Path) -> anyhow::Result<Self> {
        Ok(Self::on(sqlite_schema::open_to_read_write(path)?))
    }

    /// The same for a change that somebody waits for: it gives up its turn after a few seconds.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open_for_a_change(path: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            wait_for_turn: wait_for_turn::<SOON_TURN_MS>,
            ..Self::open_in_server(path)?
        })
    }

    fn on(conn: Connection) -> Self {
        Self {
            conn,
            wait_for_turn: wait_for_turn::<TURN_MS>,
        }
    }

    /// Opens a ledger for reading only.
    ///
    /// # Errors
    /// See [`SqlError`].
    pub fn open_to_read(path: &Path) -> Result<Self, SqlError> {
        Ok(Self::on(sqlite_schema::open_to_read(path)?))
    }

    /// Interrupts every statement still running after `until`.
    ///
    /// # Errors
    /// See [`SqlError`].
    pub fn limit(&mut self, until: Instant) -> Result<(), SqlError> {
        let is_over = move || Instant::now() > until;
        Ok(self.conn.progress_handler(STEPS, Some(is_over))?)
    }

    pub(super) fn read<T, E: From<SqlError>>(
        &mut self,
        read: impl FnOnce(&mut dyn Sql) -> Result<T, E>,
    ) -> Result<T, E> {
        let snapshot = self.conn.transaction().map_err(SqlError::from)?;
        read(&mut &*snapshot)
    }

    pub(super) fn write<T, E: From<SqlError>>(
        &mut self,
        mut write: impl FnMut(&mut dyn Sql) -> Result<T, E>,
    ) -> Result<T, E> {
        // The transaction takes the write lock at its start, so that no conflict can occur.
        let busy = self.conn.busy_handler(Some(self.wait_for_turn));
        busy.map_err(SqlError::from)?;
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(SqlError::from)?;
        let written = write(&mut &*tx)?;
        tx.commit().map_err(SqlError::from)?;
        Ok(written)
    }
}

/// A connection, possibly in a transaction.
impl Sql for &Connection {
    fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, SqlError> {
        let rows = || {
            let mut statement = self.prepare_cached(sql)?;
            let columns = statement.column_count();
            let rows = statement.query_map(rusqlite::params_from_iter(params), |row| {
                row_of(row, columns)
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        rows().map_err(|error| named(self, error))
    }

    fn each(
        &mut self,
        sql: &str,
        params: &[Value],
        take: &mut dyn FnMut(&Row) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let named = |error| named(self, error);
        let mut statement = self.prepare_cached(sql).map_err(named)?;
        let columns = statement.column_count();
        let rows = statement.query(rusqlite::params_from_iter(params));
        let mut rows = rows.map_err(named)?;
        while let Some(row) = rows.next().map_err(named)? {
            take(&row_of(row, columns)?)?;
        }
        Ok(())
    }

    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, SqlError> {
        let changed = || {
            let mut statement = self.prepare_cached(sql)?;
            statement.execute(rusqlite::params_from_iter(params))
        };
        let changed = changed().map_err(|error| named(self, error))?;
        Ok(changed as u64)
    }
}

/// The error, with the name of the file if that is damaged.
pub(crate) fn named(conn: &Connection, error: rusqlite::Error) -> SqlError {
    match conn.path() {
        Some(path) if sqlite_schema::is_damaged(&error) => {
            SqlError::Failed(sqlite_schema::damaged(Path::new(path)))
        }
        _ => error.into(),
    }
}

fn row_of(row: &rusqlite::Row<'_>, columns: usize) -> rusqlite::Result<Row> {
    let values = (0..columns).map(|column| Ok(row.get_ref(column)?.into()));
    Ok(Row(values.collect::<rusqlite::Result<_>>()?))
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(number) => Self::Real(number),
            // The tables contain only valid text, unless another program has written to them.
            ValueRef::Text(bytes) => Self::Text(String::from_utf8_lossy(bytes).into_owned()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }
}

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        use ErrorCode::{DatabaseBusy, DatabaseLocked, FileLockingProtocolFailed};
        match error.sqlite_error_code() {
            Some(DatabaseBusy | DatabaseLocked | FileLockingProtocolFailed) => Self::Busy,
            Some(ErrorCode::OperationInterrupted) => Self::Interrupted,
            _ => Self::Failed(error.to_string()),
        }
    }
}
