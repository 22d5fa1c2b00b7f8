//! The highest tip (most chain work) that any node has shown the ledger. A node's word about blocks counts
//! only if it knows at least as much work.

use hstratum_core::accounting::ledger::{ChainView, Chainwork, Knowledge, Tip};
use hstratum_core::units::{Hash, Height};

use crate::sql::{Sql, SqlError};
use crate::values;

/// The highest tip; `None` if none was ever shown.
///
/// # Errors
/// See [`SqlError`].
pub fn highest(sql: &mut dyn Sql) -> Result<Option<Tip>, SqlError> {
    let row = sql.query_opt("SELECT height, hash, work FROM highest_tip", &[])?;
    let Some(row) = row else { return Ok(None) };
    let (hash, work): (String, String) = (row.get(1)?, row.get(2)?);
    let wrong = || SqlError::Failed("the row of highest_tip is damaged".to_owned());
    Ok(Some(Tip {
        height: Height(row.get(0)?),
        hash: Hash::from_hex(&hash).ok_or_else(wrong)?,
        work: Chainwork::from_hex(&work).ok_or_else(wrong)?,
    }))
}

/// Compares a node's view with the highest tip, and stores the node's tip as the highest if it has more work.
///
/// # Errors
/// See [`SqlError`].
pub fn weigh(sql: &mut dyn Sql, view: &ChainView, unix_s: i64) -> Result<Knowledge, SqlError> {
    let highest = match highest(sql)? {
        Some(highest) if highest.work >= view.tip.work => highest,
        _ => {
            let Tip { height, hash, work } = view.tip;
            sql.execute(
                "INSERT INTO highest_tip (id, height, hash, work, seen_at)
                 VALUES (1, ?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET height = excluded.height, hash = excluded.hash,
                   work = excluded.work, seen_at = excluded.seen_at",
                &values![height.0, hash.to_string(), work.to_string(), unix_s],
            )?;
            view.tip
        }
    };
    Ok(Knowledge::of(view, &highest))
}
