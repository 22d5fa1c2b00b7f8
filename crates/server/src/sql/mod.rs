//! Uniform access to a ledger in SQLite or PostgreSQL.
//!
//! Statements are written once, in the SQL that both engines accept. This means:
//! - parameters are `?1`, `?2`, …, and a statement has no other question mark;
//! - PostgreSQL's `sum` of integers is no integer: `CAST(sum(x) AS BIGINT)`;
//! - columns selected beside an aggregate are in `GROUP BY`;
//! - `ON CONFLICT DO NOTHING`, not `OR IGNORE`; `RETURNING id`, not the last row's id;
//! - a conflict's target is named before `DO UPDATE`, and its columns are written `table.column`;
//! - times come as parameters; a truth is `CASE WHEN … THEN 1 ELSE 0 END`;
//! - a parameter whose type does not follow from its column is written `CAST(?1 AS BIGINT)`;
//! - PostgreSQL treats a product, quotient or sum out of a double's range, or too small, as an error:
//!   computations with difficulties use [`WORK`] or [`EFFORT`].
//!
//! All integers are 64 bits wide. Writes of many rows at a time to PostgreSQL are not here but in `cluster`.

mod error;
pub(crate) mod inserted_rows;
pub(crate) mod location;
mod postgres;
pub mod postgres_schema;
mod resolve;
mod sqlite;
pub mod sqlite_schema;
pub(crate) mod timed;
pub mod url;
mod version;

pub use self::error::{Retry, SqlError};
pub use self::postgres::Postgres;
pub use self::sqlite::Sqlite;
pub(crate) use self::sqlite::named;

/// SQL for the work of a row of `credit`, named `c`: difficulty × count. A share at an absurd difficulty,
/// which no real miner asks for, counts as 0, so that no row makes a sum fail.
pub(crate) const WORK: &str = "CASE WHEN c.difficulty > 1e-100 AND c.difficulty < 1e100 \
                               THEN c.difficulty * c.count ELSE 0.0 END";

/// SQL for the same divided by the expected work of a block, from a row of `heights`, named `h`.
pub(crate) const EFFORT: &str = "CASE WHEN c.difficulty > 1e-100 AND c.difficulty < 1e100 \
                                 AND h.difficulty > 1e-100 AND h.difficulty < 1e100 \
                                 THEN c.difficulty * c.count / h.difficulty ELSE 0.0 END";

/// The database's clock, in milliseconds: the one clock that all servers share.
pub(crate) const NOW_MS: &str = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";

/// The greatest work of a row of `statistics`: what is beyond is no work, and must not make a sum fail.
pub(crate) const STATISTICS_WORK_MAX: f64 = 1e200;

/// The databases' integers are signed; what would not fit is beyond all counts, times and amounts.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What can be asked and told: a connection, or a transaction on it.
pub trait Sql {
    /// All rows of a query at once.
    ///
    /// # Errors
    /// See [`SqlError`].
    fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, SqlError>;

    /// The rows of a query, one after the other: for results that may not fit into memory.
    ///
    /// # Errors
    /// See [`SqlError`]; and an error of `take`, which ends the query.
    fn each(
        &mut self,
        sql: &str,
        params: &[Value],
        take: &mut dyn FnMut(&Row) -> Result<(), SqlError>,
    ) -> Result<(), SqlError>;

    /// Executes a statement; returns the number of changed rows.
    ///
    /// # Errors
    /// See [`SqlError`].
    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, SqlError>;

    /// The only row of a query, if there is one.
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

    /// The row of a query that always has one.
    ///
    /// # Errors
    /// See [`SqlError`].
    fn query_one(&mut self, sql: &str, params: &[Value]) -> Result<Row, SqlError> {
        let row = self.query_opt(sql, params)?;
        row.ok_or_else(|| SqlError::Failed("no row".to_owned()))
    }
}

/// An open ledger.
pub enum Db {
    /// A file.
    Sqlite(Sqlite),
    /// A PostgreSQL server.
    Postgres(Box<Postgres>),
}

impl Db {
    /// Reads from one state of the ledger.
    ///
    /// # Errors
    /// Errors of `read`, and see [`SqlError`].
    pub fn read<T, E: From<SqlError>>(
        &mut self,
        read: impl FnOnce(&mut dyn Sql) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Sqlite(sqlite) => sqlite.read(read),
            Self::Postgres(postgres) => postgres.read(read),
        }
    }

    /// Runs a serializable transaction, whole or not at all. After a conflict with others `write` is called
    /// again, so it must have no other effects.
    ///
    /// # Errors
    /// Errors of `write`, and see [`SqlError`]. It is not known whether a transaction that ended with
    /// [`SqlError::Lost`] was committed.
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

/// A value in a column, or a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL NULL.
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

/// SQL after `ON CONFLICT … DO UPDATE SET` that adds a row of statistics to the one that is there already.
macro_rules! sums_of_statistics {
    ($table:literal) => {
        $crate::sql::sums_of_statistics!(
            $table: accepted accepted_work stale stale_work low low_work duplicate duplicate_work
        )
    };
    ($table:literal: $first:ident $($next:ident)*) => {
        concat!(
            stringify!($first), " = ", $table, ".", stringify!($first), " + excluded.", stringify!($first),
            $(", ", stringify!($next), " = ", $table, ".", stringify!($next), " + excluded.", stringify!($next)),*
        )
    };
}
pub(crate) use sums_of_statistics;

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
    /// Larger numbers than fit exceed all counts, times and amounts.
    fn from(number: u64) -> Self {
        Self::Integer(signed(number))
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

/// A row of a result.
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

/// Type that a column can be read as.
pub trait FromValue: Sized {
    /// Converts a value; `None` if it is of another kind or out of range.
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
