//! A ledger in PostgreSQL, or in a database with the same protocol.
//!
//! Transactions are serializable, and repeated when the server reports a conflict (SQLSTATE 40001, 40P01).
//! After a lost connection the next transaction connects again.

use std::collections::HashMap;
use std::error::Error;
use std::thread;
use std::time::Duration;

use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::private::BytesMut;
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, IsolationLevel, Statement, Transaction};

use super::{Retry, Row, Sql, SqlError, Value};
use crate::limits::{SQL_CONNECT, SQL_STATEMENTS_MAX, SQL_TRIES_MAX};
use crate::sql::url::PostgresUrl;

/// Wait before the first repetition of a transaction; each further wait is longer by as much.
const TRY_AGAIN: Duration = Duration::from_millis(5);

/// Connection to a ledger in PostgreSQL.
pub struct Postgres {
    address: PostgresUrl,
    open: Option<PostgresConnection>,
}

/// An open connection and its prepared statements.
struct PostgresConnection {
    client: Client,
    statements: StatementCache,
}

type StatementCache = HashMap<String, Statement>;

/// Refuses a database encoding that cannot store every name, since one such name would block all later
/// writes.
fn check_encoding(client: &mut Client) -> Result<(), SqlError> {
    let row = client.query_one("SHOW server_encoding", &[])?;
    let encoding: String = row.get(0);
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(SqlError::Failed(format!(
        "the database's encoding is {encoding} and must be UTF8, so that it holds every name: \
         create it anew with ENCODING 'UTF8'"
    )))
}

impl Postgres {
    /// Connects.
    ///
    /// # Errors
    /// [`SqlError::Lost`] if nobody answers, [`SqlError::Failed`] if the server refuses us.
    pub fn connect(address: &PostgresUrl) -> Result<Self, SqlError> {
        let mut postgres = Self {
            address: address.clone(),
            open: None,
        };
        postgres.client()?;
        Ok(postgres)
    }

    /// The connection, opened again if it was lost: for statements of PostgreSQL's own.
    ///
    /// # Errors
    /// As [`Postgres::connect`].
    pub fn client(&mut self) -> Result<&mut Client, SqlError> {
        Ok(&mut self.open()?.client)
    }

    /// True if the connection is gone; the next one may be to another server.
    pub(crate) fn is_lost(&self) -> bool {
        (self.open.as_ref()).is_none_or(|open| open.client.is_closed())
    }

    fn open(&mut self) -> Result<&mut PostgresConnection, SqlError> {
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.client.is_closed())
        {
            self.open = None;
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let mut client = self.address.connect()?;
                check_encoding(&mut client)?;
                PostgresConnection {
                    client,
                    statements: StatementCache::new(),
                }
            }
        };
        Ok(self.open.insert(open))
    }

    /// Closes the connection after an error if it no longer works: the error may be the last message before
    /// the server closes it.
    fn close_if_lost(&mut self) {
        let is_lost = |open: &mut PostgresConnection| open.client.is_valid(SQL_CONNECT).is_err();
        self.open.take_if(is_lost);
    }

    pub(super) fn read<T, E: From<SqlError>>(
        &mut self,
        read: impl FnOnce(&mut dyn Sql) -> Result<T, E>,
    ) -> Result<T, E> {
        let done = self.read_once(read);
        if done.is_err() {
            self.close_if_lost();
        }
        done
    }

    fn read_once<T, E: From<SqlError>>(
        &mut self,
        read: impl FnOnce(&mut dyn Sql) -> Result<T, E>,
    ) -> Result<T, E> {
        let PostgresConnection { client, statements } = self.open()?;
        let tx = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .map_err(SqlError::from)?;
        let found = read(&mut PostgresTransaction { tx, statements })?;
        Ok(found)
    }

    pub(super) fn write<T, E: From<SqlError> + Retry>(
        &mut self,
        mut write: impl FnMut(&mut dyn Sql) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut tries = 0;
        loop {
            let done = self.write_once(&mut write);
            match done {
                Err(error) if error.is_conflict() && tries < SQL_TRIES_MAX => {
                    tries += 1;
                    thread::sleep(TRY_AGAIN * tries);
                }
                done => {
                    if done.is_err() {
                        self.close_if_lost();
                    }
                    return done;
                }
            }
        }
    }

    fn write_once<T, E: From<SqlError>>(
        &mut self,
        write: &mut impl FnMut(&mut dyn Sql) -> Result<T, E>,
    ) -> Result<T, E> {
        let PostgresConnection { client, statements } = self.open()?;
        let tx = client
            .build_transaction()
            .isolation_level(IsolationLevel::Serializable)
            .start()
            .map_err(SqlError::from)?;
        let mut session = PostgresTransaction { tx, statements };
        let written = write(&mut session)?;
        session.tx.commit().map_err(SqlError::from)?;
        Ok(written)
    }
}

/// A transaction.
struct PostgresTransaction<'a> {
    tx: Transaction<'a>,
    statements: &'a mut StatementCache,
}

impl PostgresTransaction<'_> {
    fn prepare(&mut self, sql: &str) -> Result<Statement, SqlError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.tx.prepare(&sql.replace('?', "$"))?;
        if self.statements.len() >= SQL_STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Sql for PostgresTransaction<'_> {
    fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, SqlError> {
        let statement = self.prepare(sql)?;
        let rows = self.tx.query(&statement, &pointers(params))?;
        rows.iter().map(|row| Ok(row_of(row)?)).collect()
    }

    /// The server sends rows only as fast as they are taken, apart from the connection's buffers.
    fn each(
        &mut self,
        sql: &str,
        params: &[Value],
        take: &mut dyn FnMut(&Row) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let statement = self.prepare(sql)?;
        let mut rows = self.tx.query_raw(&statement, params)?;
        while let Some(row) = rows.next()? {
            take(&row_of(&row)?)?;
        }
        Ok(())
    }

    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, SqlError> {
        let statement = self.prepare(sql)?;
        Ok(self.tx.execute(&statement, &pointers(params))?)
    }
}

fn row_of(row: &postgres::Row) -> Result<Row, postgres::Error> {
    let values = (0..row.len()).map(|column| row.try_get(column));
    Ok(Row(values.collect::<Result<_, postgres::Error>>()?))
}

fn pointers(params: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|param| param as _).collect()
}

impl ToSql for Value {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, kind) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Integer(number), &Type::INT8) => number.to_sql(kind, out),
            (Self::Integer(number), &Type::INT4) => i32::try_from(*number)?.to_sql(kind, out),
            (Self::Real(number), &Type::FLOAT8) => number.to_sql(kind, out),
            (Self::Text(text), &Type::TEXT | &Type::VARCHAR) => text.to_sql(kind, out),
            (Self::Blob(bytes), &Type::BYTEA) => bytes.to_sql(kind, out),
            _ => Err(format!("{self:?} is no {kind}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *kind {
            Type::INT8 => Self::Integer(i64::from_sql(kind, raw)?),
            Type::INT4 => Self::Integer(i32::from_sql(kind, raw)?.into()),
            Type::FLOAT8 => Self::Real(f64::from_sql(kind, raw)?),
            Type::BYTEA => Self::Blob(Vec::from_sql(kind, raw)?),
            _ => Self::Text(String::from_sql(kind, raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(kind: &Type) -> bool {
        let kinds = [
            Type::INT8,
            Type::INT4,
            Type::FLOAT8,
            Type::BYTEA,
            Type::TEXT,
            Type::VARCHAR,
        ];
        kinds.contains(kind)
    }
}

impl From<postgres::Error> for SqlError {
    fn from(error: postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            // An error in a value is ours; any other of the library is the connection's.
            return match (error.source(), error.is_closed()) {
                (Some(cause), false) if !cause.is::<std::io::Error>() => Self::Failed(text),
                _ => Self::Lost(text),
            };
        };
        let code = said.code();
        if [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ]
        .contains(code)
        {
            return Self::Conflict;
        }
        if *code == SqlState::QUERY_CANCELED {
            return Self::Interrupted;
        }
        let text = format!("{} (SQLSTATE {})", said.message(), code.code());
        // Class 08: the connection; 53: no space, no memory, too many connections; 57P: a shutdown. A server
        // that has become read-only is no longer the one to write to.
        let passes = ["08", "53", "57P"]
            .iter()
            .any(|class| code.code().starts_with(class));
        if passes || *code == SqlState::READ_ONLY_SQL_TRANSACTION {
            Self::Lost(text)
        } else {
            Self::Failed(text)
        }
    }
}
