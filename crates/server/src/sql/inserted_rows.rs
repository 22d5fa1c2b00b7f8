//! Many rows of one statement.

use super::{Sql, SqlError, Value};

/// Rows that one statement inserts, each with the same number of parameters of its own.
#[derive(Debug, Default)]
pub(crate) struct InsertedRows {
    params: Vec<Value>,
    rows: Vec<String>,
}

impl InsertedRows {
    /// Rows that have this as parameter 1 in common.
    pub(crate) fn after(first: impl Into<Value>) -> Self {
        Self {
            params: vec![first.into()],
            rows: Vec::new(),
        }
    }

    /// Adds a row; `text` is given the number of the first of its own parameters.
    pub(crate) fn add<const N: usize>(
        &mut self,
        params: [Value; N],
        text: impl FnOnce(usize) -> String,
    ) {
        self.rows.push(text(self.params.len() + 1));
        self.params.extend(params);
    }

    /// Executes a statement in which `ROWS` stands for the rows, unless there are none.
    ///
    /// # Errors
    /// See [`SqlError`].
    pub(crate) fn insert(&self, sql: &mut dyn Sql, statement: &str) -> Result<(), SqlError> {
        if !self.rows.is_empty() {
            let statement = statement.replace("ROWS", &self.rows.join(", "));
            sql.execute(&statement, &self.params)?;
        }
        Ok(())
    }
}
