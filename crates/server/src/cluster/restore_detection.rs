//! Marks by which a server notices that the shared ledger is no longer the one it has cached data of (it was
//! restored from a copy).

use anyhow::Context;

use crate::sql::{Sql, SqlError};
use crate::values;

/// Random number that a connection with cached data wrote last. A ledger restored from a copy has another
/// one, or none, however it was restored: each transaction that relies on cached data checks that the mark is
/// in place and writes the next one. Data cached before the mark was written is in such a copy as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriteMark([u8; 16]);

impl WriteMark {
    /// A new mark for a connection, different from all others.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).context("failed to get random bytes")?;
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The following mark.
    pub(crate) fn next(self) -> Self {
        Self(u128::from_be_bytes(self.0).wrapping_add(1).to_be_bytes())
    }

    /// Writes it as the first mark of a connection.
    ///
    /// # Errors
    /// See [`SqlError`].
    pub(crate) fn begin(self, sql: &mut dyn Sql, number: i64, duty: &str) -> Result<(), SqlError> {
        let insert = "INSERT INTO marks (origin, duty, mark) VALUES (?1, ?2, ?3)
                      ON CONFLICT (origin, duty) DO UPDATE SET mark = excluded.mark";
        sql.execute(insert, &values![number, duty, self.bytes()])
            .map(drop)
    }

    /// Checks that it is in place, and if so replaces it by `next`; returns whether it was.
    ///
    /// # Errors
    /// See [`SqlError`].
    pub(crate) fn renew(
        self,
        sql: &mut dyn Sql,
        number: i64,
        duty: &str,
        next: Self,
    ) -> Result<bool, SqlError> {
        let update = "UPDATE marks SET mark = ?4 WHERE origin = ?1 AND duty = ?2 AND mark = ?3";
        let params = values![number, duty, self.bytes(), next.bytes()];
        Ok(sql.execute(update, &params)? == 1)
    }

    /// True if it is in place.
    ///
    /// # Errors
    /// See [`SqlError`].
    pub(crate) fn is_there(
        self,
        sql: &mut dyn Sql,
        number: i64,
        duty: &str,
    ) -> Result<bool, SqlError> {
        let query = "SELECT 1 FROM marks WHERE origin = ?1 AND duty = ?2 AND mark = ?3";
        let params = values![number, duty, self.bytes()];
        Ok(sql.query_opt(query, &params)?.is_some())
    }
}
