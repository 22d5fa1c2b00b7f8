//! A ledger in PostgreSQL, or in what speaks its protocol.
//!
//! Transactions are serializable, and begun anew when the server says that another was in the way
//! (SQLSTATE 40001, 40P01). A connection that is lost is made anew by the next transaction.

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
use crate::cluster::address::Address;
use crate::limits::{SQL_CONNECT, SQL_STATEMENTS_MAX, SQL_TRIES_MAX};

/// Wait before a transaction is begun anew the first time; each time it is longer by as much.
const TRY_AGAIN: Duration = Duration::from_millis(5);

/// See the module.
pub struct Postgres {
    address: Address,
    open: Option<Open>,
}

/// A connection and the statements that it knows.
struct Open {
    client: Client,
    statements: Statements,
}

type Statements = HashMap<String, Statement>;

/// A name that the database's encoding cannot hold would stop all that comes after it.
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
    /// [`SqlError::Lost`] where nobody answers, [`SqlError::Failed`] where we are turned away.
    pub fn connect(address: &Address) -> Result<Self, SqlError> {
        let mut postgres = Self {
            address: address.clone(),
            open: None,
        };
        postgres.client()?;
        Ok(postgres)
    }

    /// The connection, made anew if it was lost: for statements of PostgreSQL's own.
    ///
    /// # Errors
    /// As [`Postgres::connect`].
    pub fn client(&mut self) -> Result<&mut Client, SqlError> {
        Ok(&mut self.open()?.client)
    }

    /// Whether the connection is gone, so that the next one may be to another server.
    pub(crate) fn is_lost(&self) -> bool {
        (self.open.as_ref()).is_none_or(|open| open.client.is_closed())
    }

    fn open(&mut self) -> Result<&mut Open, SqlError> {
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
                Open {
                    client,
                    statements: Statements::new(),
                }
            }
        };
        Ok(self.open.insert(open))
    }

    /// An error may be the server's last word, with the connection's end yet to come: such a one is not
    /// used again.
    fn close_if_lost(&mut self) {
        let is_lost = |open: &mut Open| open.client.is_valid(SQL_CONNECT).is_err();
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
        let Open { client, statements } = self.open()?;
        let tx = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .map_err(SqlError::from)?;
        let found = read(&mut Session { tx, statements })?;
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
        let Open { client, statements } = self.open()?;
        let tx = client
            .build_transaction()
            .isolation_level(IsolationLevel::Serializable)
            .start()
            .map_err(SqlError::from)?;
        let mut session = Session { tx, statements };
        let written = write(&mut session)?;
        session.tx.commit().map_err(SqlError::from)?;
        Ok(written)
    }
}

/// A transaction.
struct Session<'a> {
    tx: Transaction<'a>,
    statements: &'a mut Statements,
}

impl Session<'_> {
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

impl Sql for Session<'_> {
    fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, SqlError> {
        let statement = self.prepare(sql)?;
        let rows = self.tx.query(&statement, &pointers(params))?;
        rows.iter().map(|row| Ok(row_of(row)?)).collect()
    }

    /// The server sends no more than we have taken and what the connection holds.
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
            // What is wrong with a value is our fault; all else is the connection's.
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
        // Class 08: the connection; 53: no room, no memory, too many connections; 57P: a shutdown.
        // A server that has become read-only is no longer the one to write to.
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
