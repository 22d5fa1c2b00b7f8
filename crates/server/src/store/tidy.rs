//! The ledger's upkeep: old credit and old statistics are merged, so that the file stays small.
//!
//! Credit is merged within spans of heights and never across a height of ours, so that a round, cut
//! by height, has the same sums before and after. Statistics go from ten minutes to hours to days.

use hstratum_core::units::Height;
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::ledger::Tidied;
use crate::limits::{CREDIT_HEIGHTS_KEPT, TIDY_ROWS};

/// Adds to a worker's row.
pub(super) const ADD_STATISTICS: &str = "\
    INSERT INTO statistics VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT DO UPDATE SET
      accepted = accepted + excluded.accepted,
      accepted_work = accepted_work + excluded.accepted_work,
      stale = stale + excluded.stale,
      stale_work = stale_work + excluded.stale_work,
      low = low + excluded.low,
      low_work = low_work + excluded.low_work,
      duplicate = duplicate + excluded.duplicate,
      duplicate_work = duplicate_work + excluded.duplicate_work";

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 86_400;

/// Rows become those of the longer span when they are so old.
const ROLL_UPS: [(i64, i64, i64); 2] = [(600, HOUR_S, DAY_S), (HOUR_S, DAY_S, 8 * DAY_S)];

/// How long rows of days are kept.
const DAYS_KEPT_S: i64 = 400 * DAY_S;

/// Spans of credit end at multiples of this many heights, and at the pool's blocks.
const SPAN_HEIGHTS: i64 = 144;

/// Up to which height credit was merged. A new start begins anew, so that late shares are found.
#[derive(Default)]
pub(super) struct Progress {
    height: i64,
}

/// Does one slice of what there is to do.
pub(super) fn slice(
    tx: &Transaction,
    progress: &mut Progress,
    tip: Option<Height>,
    unix_s: i64,
) -> rusqlite::Result<Tidied> {
    if let Some(tip) = tip
        && merge_credit(tx, progress, tip)? == Tidied::More
    {
        return Ok(Tidied::More);
    }
    for (span, longer, age_s) in ROLL_UPS {
        if roll_up(tx, span, longer, unix_s - age_s)? == Tidied::More {
            return Ok(Tidied::More);
        }
    }
    let deleted = tx
        .prepare_cached(
            "DELETE FROM statistics WHERE (span, start, worker) IN
             (SELECT span, start, worker FROM statistics WHERE span = ?1 AND start < ?2 LIMIT ?3)",
        )?
        .execute((DAY_S, unix_s - DAYS_KEPT_S, TIDY_ROWS))?;
    Ok(more_if(deleted))
}

fn more_if(rows: usize) -> Tidied {
    if rows > 0 { Tidied::More } else { Tidied::All }
}

/// Merges the credit of one span, or a part of it, into the span's last height.
fn merge_credit(
    tx: &Transaction,
    progress: &mut Progress,
    tip: Height,
) -> rusqlite::Result<Tidied> {
    // More than so many heights below the tip.
    let limit = i64::from(tip.0) - i64::from(CREDIT_HEIGHTS_KEPT) - 1;
    let first: Option<i64> = tx
        .prepare_cached("SELECT min(height) FROM credit WHERE height > ?1")?
        .query_row([progress.height], |row| row.get(0))?;
    let Some(first) = first else {
        return Ok(Tidied::All);
    };
    let end = span_end(tx, first)?;
    if end > limit {
        return Ok(Tidied::All);
    }
    let merged = move_credit(tx, first, end)?;
    if merged == 0 {
        progress.height = end;
    }
    Ok(Tidied::More)
}

/// The height into which credit of `height` may be merged: never beyond a block of the pool.
fn span_end(tx: &Transaction, height: i64) -> rusqlite::Result<i64> {
    let multiple = (height + SPAN_HEIGHTS - 1) / SPAN_HEIGHTS * SPAN_HEIGHTS;
    let block: Option<i64> = tx
        .prepare_cached(
            "SELECT height FROM blocks WHERE height >= ?1 AND state <> 'refused'
             ORDER BY height LIMIT 1",
        )?
        .query_row([height], |row| row.get(0))
        .optional()?;
    Ok(block.map_or(multiple, |block| block.min(multiple)))
}

/// The last height below the span that `height` is in.
pub(crate) fn below_span(conn: &Connection, height: i64) -> rusqlite::Result<i64> {
    let multiple = (height - 1).div_euclid(SPAN_HEIGHTS) * SPAN_HEIGHTS;
    let block: Option<i64> = conn
        .prepare_cached("SELECT max(height) FROM blocks WHERE height < ?1 AND state <> 'refused'")?
        .query_row([height], |row| row.get(0))?;
    // -1 is below the first block of the chain.
    Ok(block.map_or(multiple, |block| block.max(multiple)).max(-1))
}

/// Moves at most [`TIDY_ROWS`] rows of the heights from `first` and below `end` to `end`; says how
/// many.
fn move_credit(tx: &Transaction, first: i64, end: i64) -> rusqlite::Result<usize> {
    let mut read = tx.prepare_cached(
        "SELECT height, account, difficulty, count FROM credit
         WHERE height >= ?1 AND height < ?2 LIMIT ?3",
    )?;
    let rows: Vec<(i64, i64, f64, i64)> = read
        .query_map((first, end, TIDY_ROWS), |row| row.try_into())?
        .collect::<Result<_, _>>()?;
    let mut add = tx.prepare_cached(
        "INSERT INTO credit VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
    )?;
    let mut delete = tx.prepare_cached(
        "DELETE FROM credit WHERE height = ?1 AND account = ?2 AND difficulty = ?3",
    )?;
    for (height, account, difficulty, count) in &rows {
        add.execute((end, account, difficulty, count))?;
        delete.execute((height, account, difficulty))?;
    }
    // Nobody may have mined the last height itself.
    tx.prepare_cached(
        "INSERT OR IGNORE INTO heights
         SELECT ?2, difficulty FROM heights WHERE height >= ?1 AND height <= ?2
         ORDER BY height DESC LIMIT 1",
    )?
    .execute((first, end))?;
    Ok(rows.len())
}

/// Moves rows that begin before `before` from one span into a longer one.
fn roll_up(tx: &Transaction, span: i64, longer: i64, before: i64) -> rusqlite::Result<Tidied> {
    let before = before - before.rem_euclid(longer);
    let mut read = tx.prepare_cached(
        "SELECT start, worker, accepted, accepted_work, stale, stale_work, low, low_work,
           duplicate, duplicate_work
         FROM statistics WHERE span = ?1 AND start < ?2 ORDER BY start, worker LIMIT ?3",
    )?;
    type Row = (i64, i64, i64, f64, i64, f64, i64, f64, i64, f64);
    let rows: Vec<Row> = read
        .query_map((span, before, TIDY_ROWS), |row| row.try_into())?
        .collect::<Result<_, _>>()?;
    let mut add = tx.prepare_cached(ADD_STATISTICS)?;
    let mut delete =
        tx.prepare_cached("DELETE FROM statistics WHERE span = ?1 AND start = ?2 AND worker = ?3")?;
    for (start, worker, accepted, aw, stale, sw, low, lw, duplicate, dw) in &rows {
        let into = start - start.rem_euclid(longer);
        add.execute((
            longer, into, worker, accepted, aw, stale, sw, low, lw, duplicate, dw,
        ))?;
        delete.execute((span, start, worker))?;
    }
    Ok(more_if(rows.len()))
}
