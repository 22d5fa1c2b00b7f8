//! One way to ask a ledger, wherever it is kept: SQLite or PostgreSQL.
//!
//! Statements are written once, in the SQL that both take. What that leaves out:
//! - parameters are `?1`, `?2`, …, and a statement has no other question mark;
//! - PostgreSQL's `sum` of integers is no integer: `CAST(sum(x) AS BIGINT)`;
//! - what is selected beside an aggregate is in `GROUP BY`;
//! - `ON CONFLICT DO NOTHING`, not `OR IGNORE`; `RETURNING id`, not the last row's id;
//! - a conflict's target is named before `DO UPDATE`, and its columns are written `table.column`;
//! - times come as parameters; a truth is `CASE WHEN … THEN 1 ELSE 0 END`;
//! - a parameter whose column does not say what it is, is `CAST(?1 AS BIGINT)`;
//! - PostgreSQL takes a product, a quotient or a sum beyond a double's range for an error, also one that
//!   is too small: what is computed of difficulties is [`WORK`] or [`EFFORT`].
//!
//! All integers are 64 bits wide. What takes many rows at a time to PostgreSQL is not here, but in
//! `shared`.

mod postgres;
mod sqlite;
pub(crate) mod timed;

use std::fmt;

pub use self::postgres::Postgres;
pub use self::sqlite::Sqlite;
pub(crate) use self::sqlite::named;

/// The work of a row of `credit`, which is called `c`: difficulty × count. A share whose difficulty no miner
/// in earnest asks for adds nothing, whichever it is: no row makes a sum fail.
pub(crate) const WORK: &str = "CASE WHEN c.difficulty > 1e-100 AND c.difficulty < 1e100 \
                               THEN c.difficulty * c.count ELSE 0.0 END";

/// The same over what a block was expected to take, of a row of `heights` which is called `h`.
pub(crate) const EFFORT: &str = "CASE WHEN c.difficulty > 1e-100 AND c.difficulty < 1e100 \
                                 AND h.difficulty > 1e-100 AND h.difficulty < 1e100 \
                                 THEN c.difficulty * c.count / h.difficulty ELSE 0.0 END";

/// The greatest work of a row of `statistics`: what is beyond is no work, and must not make a sum fail.
pub(crate) const STATISTICS_WORK_MAX: f64 = 1e200;

/// What can be asked and told: a connection, or a transaction on it.
pub trait Sql {
    /// The rows of a statement, all at once.
    ///
    /// # Errors
    /// See [`SqlError`].
    fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, SqlError>;

    /// The rows of a statement, one after the other: for what may have more than fit into memory.
    ///
    /// # Errors
    /// See [`SqlError`]; and what `take` says, which ends it.
    fn each(
        &mut self,
        sql: &str,
        params: &[Value],
        take: &mut dyn FnMut(&Row) -> Result<(), SqlError>,
    ) -> Result<(), SqlError>;

    /// Carries a statement out; gives the number of rows that it changed.
    ///
    /// # Errors
    /// See [`SqlError`].
    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, SqlError>;

    /// The only row of a statement, if there is one.
    ///
    /// # Errors
    /// See [`SqlError`].
    fn query_opt(&mut self, sql: &str, params: &[Value]) -> Result<Option<Row>, SqlError> {
        let mut rows = self.query(sql, params)?;
        match rows.len() {
            0 | 1 => Ok(rows.pop()),
            more => Err(SqlError::Failed(format!("{more} rows instead of one"))),
        }
    }

    /// The row of a statement that always has one.
    ///
    /// # Errors
    /// See [`SqlError`].
    fn query_one(&mut self, sql: &str, params: &[Value]) -> Result<Row, SqlError> {
        let row = self.query_opt(sql, params)?;
        row.ok_or_else(|| SqlError::Failed("no row".to_owned()))
    }
}

/// A ledger that is open.
pub enum Db {
    /// A file.
    Sqlite(Sqlite),
    /// A server.
    Postgres(Box<Postgres>),
}

impl Db {
    /// Reads from one state of the ledger.
    ///
    /// # Errors
    /// What `read` says, and see [`SqlError`].
    pub fn read<T, E: From<SqlError>>(
        &mut self,
        read: impl FnOnce(&mut dyn Sql) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Sqlite(sqlite) => sqlite.read(read),
            Self::Postgres(postgres) => postgres.read(read),
        }
    }

    /// Changes the ledger as if nobody else did meanwhile, whole or not at all. Where somebody did,
    /// `write` is called again: it has no other effects.
    ///
    /// # Errors
    /// What `write` says, and see [`SqlError`]. Of a transaction that ended with
    /// [`SqlError::Lost`] it is not known whether it was carried out.
    pub fn write<T, E: From<SqlError> + Retry>(
        &mut self,
        write: impl FnMut(&mut dyn Sql) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Sqlite(sqlite) => sqlite.write(write),
            Self::Postgres(postgres) => postgres.write(write),
        }
    }
}

/// An error that may have been a transaction's bad luck.
pub trait Retry {
    /// Whether the transaction, begun anew, may well succeed.
    fn is_conflict(&self) -> bool;
}

impl Retry for SqlError {
    fn is_conflict(&self) -> bool {
        *self == Self::Conflict
    }
}

impl Retry for anyhow::Error {
    fn is_conflict(&self) -> bool {
        self.downcast_ref::<SqlError>()
            .is_some_and(Retry::is_conflict)
    }
}

/// Why a statement was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlError {
    /// Another process writes to the file: it will pass.
    Busy,
    /// Another transaction was in the way: begun anew, this one may succeed.
    Conflict,
    /// It took longer than it may.
    Interrupted,
    /// The server is gone, or says that it is about to be.
    Lost(String),
    /// Anything else.
    Failed(String),
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("another process writes to the ledger"),
            Self::Conflict => f.write_str("others write to the ledger all the time"),
            Self::Interrupted => f.write_str("the ledger took too long"),
            Self::Lost(reason) | Self::Failed(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for SqlError {}

/// A value in a column, or a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// Any integer.
    Integer(i64),
    /// A double.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// The parameters of a statement.
#[macro_export]
macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::sql::Value::from($value)),*] };
}

macro_rules! from_integer {
    ($($kind:ty),*) => { $(
        impl From<$kind> for Value {
            fn from(number: $kind) -> Self {
                Self::Integer(i64::from(number))
            }
        }
    )* };
}

from_integer!(i64, u32, i32);

impl From<u64> for Value {
    /// What would not fit is beyond all counts, times and amounts.
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Blob(bytes.to_vec())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(Vec<Value>);

impl Row {
    /// All values.
    pub fn values(&self) -> &[Value] {
        &self.0
    }

    /// The value of a column, counted from 0.
    ///
    /// # Errors
    /// When there is no such column, or its value is of another kind.
    pub fn get<T: FromValue>(&self, column: usize) -> Result<T, SqlError> {
        let value = self.0.get(column);
        value.and_then(T::from_value).ok_or_else(|| {
            let kind = std::any::type_name::<T>();
            SqlError::Failed(format!("column {column} is no {kind}: {value:?}"))
        })
    }
}

/// What a column can be read as.
pub trait FromValue: Sized {
    /// `None` where the value is of another kind or out of range.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! integer_from_value {
    ($($kind:ty),*) => { $(
        impl FromValue for $kind {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Integer(number) => Self::try_from(*number).ok(),
                    _ => None,
                }
            }
        }
    )* };
}

integer_from_value!(i64, u64, u32);

impl FromValue for f64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Real(number) => Some(*number),
            _ => None,
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}
