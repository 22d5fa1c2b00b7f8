//! How a server sees that the shared ledger is not the one that it remembers: by the mark that its
//! connection wrote there last.

use anyhow::Context;

use crate::sql::{Sql, SqlError};
use crate::values;

/// What a connection that remembers something has written last. A ledger that was put back from a copy
/// has another, or none, whichever way that was done: each transaction that rests on what is remembered
/// sees that the mark is there, and writes the next one. What is remembered was read before the mark
/// was written, or is there in the copy as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark([u8; 16]);

impl Mark {
    /// Of a connection: no other has it.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).context("failed to get random bytes")?;
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The one after it.
    pub(crate) fn next(self) -> Self {
        Self(u128::from_be_bytes(self.0).wrapping_add(1).to_be_bytes())
    }

    /// Writes it as the first of a connection.
    ///
    /// # Errors
    /// See [`SqlError`].
    pub(crate) fn begin(self, sql: &mut dyn Sql, number: i64, duty: &str) -> Result<(), SqlError> {
        let insert = "INSERT INTO marks (origin, duty, mark) VALUES (?1, ?2, ?3)
                      ON CONFLICT (origin, duty) DO UPDATE SET mark = excluded.mark";
        sql.execute(insert, &values![number, duty, self.bytes()])
            .map(drop)
    }

    /// Whether it is there; then `next` is in its place.
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

    /// Whether it is there.
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
