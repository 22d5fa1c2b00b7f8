//! Hours whose statistics have grown late, so that cached sums of them are read again.

use std::collections::HashMap;

use crate::sql::{Sql, SqlError};
use crate::store::late_statistics::LATE_STEP_S;
use crate::values;

/// Number of late changes of each hour, by its start.
pub(super) type Changes = HashMap<i64, i64>;

/// Reads the changes of hours from a time on.
pub(super) fn read_changes(sql: &mut dyn Sql, from: i64) -> Result<Changes, SqlError> {
    let rows = sql.query(
        "SELECT start, CAST(sum(changes) AS BIGINT) FROM late_statistics
          WHERE start >= ?1 GROUP BY start",
        &values![from - from % LATE_STEP_S],
    )?;
    rows.iter()
        .map(|row| Ok((row.get(0)?, row.get(1)?)))
        .collect()
}

/// The changes as last read.
#[derive(Default)]
pub(super) struct Late(Changes);

impl Late {
    /// Records the changes read; returns the hours whose number differs: larger after late statistics,
    /// smaller if the ledger was restored from a copy.
    pub(super) fn news(&mut self, read: &Changes) -> Vec<i64> {
        let news = read
            .iter()
            .filter(|(start, changes)| self.0.insert(**start, **changes) != Some(**changes));
        news.map(|(start, _)| *start).collect()
    }
}
