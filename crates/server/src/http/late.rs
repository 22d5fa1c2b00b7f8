//! Hours that have grown when they were long over: what was remembered of them is read anew.

use std::collections::HashMap;

use crate::sql::{Sql, SqlError};
use crate::store::late::LATE_STEP_S;
use crate::values;

/// How often each hour has grown late, by its begin.
pub(super) type Changes = HashMap<i64, i64>;

/// Of the hours from a time on.
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

/// What is known of them.
#[derive(Default)]
pub(super) struct Late(Changes);

impl Late {
    /// Takes in what was read; gives the hours that have grown since, or shrunk: a ledger may have been put
    /// back.
    pub(super) fn news(&mut self, read: &Changes) -> Vec<i64> {
        let news = read
            .iter()
            .filter(|(start, changes)| self.0.insert(**start, **changes) != Some(**changes));
        news.map(|(start, _)| *start).collect()
    }
}
