//! Compaction of the ledger: old credit and old statistics are merged, so that it stays small.
//!
//! Credit is merged within spans of heights and never across a height of one of the pool's blocks, so that a
//! round, cut by height, has the same sums before and after. The merged spans are recorded: a block that
//! becomes known too late lies within a span, and its round can no longer be cut. Statistics are merged from
//! ten minutes to hours to days. Merged rows belong to no single server any more.

use hstratum_core::units::Height;

use super::ledger::Compacted;
use crate::limits::{COMPACT_ROWS, CREDIT_HEIGHTS_KEPT};
use crate::sql::{Sql, SqlError, sums_of_statistics};
use crate::values;

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 86_400;

/// Spans, longer spans, and the age in seconds at which rows of the first become rows of the second.
const ROLL_UPS: [(i64, i64, i64); 2] = [(600, HOUR_S, DAY_S), (HOUR_S, DAY_S, 8 * DAY_S)];

/// Age at which rows of days are deleted.
const DAYS_KEPT_S: i64 = 400 * DAY_S;

/// Spans of credit end at multiples of this many heights, and at the pool's blocks.
const SPAN_HEIGHTS: i64 = 144;

/// Height up to which credit was merged. A new process starts from the bottom, so that late shares are found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    height: i64,
}

/// Does one slice of the pending work; returns the progress, and whether more is left.
///
/// # Errors
/// See [`SqlError`].
pub fn slice(
    sql: &mut dyn Sql,
    progress: Progress,
    tip: Option<Height>,
    unix_s: i64,
) -> Result<(Compacted, Progress), SqlError> {
    if let Some(tip) = tip {
        let (compacted, progress) = merge_credit(sql, progress, tip)?;
        if compacted == Compacted::More {
            return Ok((compacted, progress));
        }
    }
    for (span, longer, age_s) in ROLL_UPS {
        if roll_up(sql, span, longer, unix_s - age_s)? == Compacted::More {
            return Ok((Compacted::More, progress));
        }
    }
    let deleted = sql.execute(
        DELETE_STATISTICS,
        &values![DAY_S, unix_s - DAYS_KEPT_S, COMPACT_ROWS],
    )?;
    Ok((more_if(deleted), progress))
}

fn more_if(rows: u64) -> Compacted {
    if rows > 0 {
        Compacted::More
    } else {
        Compacted::All
    }
}

/// Merges the credit of one span, or a part of it, into the span's last height.
fn merge_credit(
    sql: &mut dyn Sql,
    progress: Progress,
    tip: Height,
) -> Result<(Compacted, Progress), SqlError> {
    // Only credit more than this many heights below the tip.
    let limit = i64::from(tip.0) - i64::from(CREDIT_HEIGHTS_KEPT) - 1;
    let lowest = "SELECT min(height) FROM credit WHERE height > ?1";
    let first: Option<i64> = sql.query_one(lowest, &values![progress.height])?.get(0)?;
    let Some(first) = first else {
        return Ok((Compacted::All, progress));
    };
    let end = span_end(sql, first)?;
    if end > limit {
        return Ok((Compacted::All, progress));
    }
    let merged = move_credit(sql, first, end)?;
    let height = if merged == 0 { end } else { progress.height };
    Ok((Compacted::More, Progress { height }))
}

/// SQL condition for blocks at whose height a span ends. A node that lost its chain refuses valid blocks: a
/// refused block may come back until another one of its height is as deep as a reward must be.
const ENDS_A_SPAN: &str = "payout <> 'solo' AND (state <> 'refused' OR final_at IS NULL)";

/// Height into which credit of `height` may be merged: never beyond a block of the pool.
fn span_end(sql: &mut dyn Sql, height: i64) -> Result<i64, SqlError> {
    let multiple = (height + SPAN_HEIGHTS - 1) / SPAN_HEIGHTS * SPAN_HEIGHTS;
    let block = format!("SELECT min(height) FROM blocks WHERE height >= ?1 AND {ENDS_A_SPAN}");
    let block: Option<i64> = sql.query_one(&block, &values![height])?.get(0)?;
    Ok(block.map_or(multiple, |block| block.min(multiple)))
}

/// True if credit of heights up to this one is merged with credit above it, so that its amount cannot be told
/// any more.
///
/// # Errors
/// See [`SqlError`].
pub(crate) fn is_crossed(sql: &mut dyn Sql, height: i64) -> Result<bool, SqlError> {
    let within = "SELECT 1 FROM spans WHERE first <= ?1 AND last > ?1 LIMIT 1";
    Ok(sql.query_opt(within, &values![height])?.is_some())
}

/// The last height below the span that contains `height`. A block that came too late ends none.
pub(crate) fn below_span(sql: &mut dyn Sql, height: i64) -> Result<i64, SqlError> {
    let multiple = (height - 1).div_euclid(SPAN_HEIGHTS) * SPAN_HEIGHTS;
    let block = format!(
        "SELECT max(height) FROM blocks WHERE height < ?1 AND {ENDS_A_SPAN}
           AND NOT EXISTS (SELECT 1 FROM spans WHERE first <= height AND last > height)"
    );
    let block: Option<i64> = sql.query_one(&block, &values![height])?.get(0)?;
    // -1 is below the first block of the chain.
    Ok(block.map_or(multiple, |block| block.max(multiple)).max(-1))
}

/// Moves at most [`COMPACT_ROWS`] rows of the heights from `first` to `end` that are not merged yet, or still
/// belong to one server; returns how many.
fn move_credit(sql: &mut dyn Sql, first: i64, end: i64) -> Result<u64, SqlError> {
    let params = values![first, end, COMPACT_ROWS];
    if first < end {
        sql.execute(
            "INSERT INTO spans (last, first) VALUES (?2, ?1)
             ON CONFLICT (last) DO UPDATE SET first =
               CASE WHEN excluded.first < spans.first THEN excluded.first ELSE spans.first END",
            &values![first, end],
        )?;
    }
    sql.execute(ADD_CREDIT, &params)?;
    let moved = sql.execute(DELETE_CREDIT, &params)?;
    // No share may have been mined at the last height itself.
    sql.execute(
        "INSERT INTO heights (height, difficulty)
         SELECT CAST(?2 AS BIGINT), difficulty FROM heights WHERE height >= ?1 AND height <= ?2
         ORDER BY height DESC LIMIT 1
         ON CONFLICT (height) DO NOTHING",
        &values![first, end],
    )?;
    Ok(moved)
}

/// Moves rows that begin before `before` from one span into a longer one.
fn roll_up(sql: &mut dyn Sql, span: i64, longer: i64, before: i64) -> Result<Compacted, SqlError> {
    let before = before - before.rem_euclid(longer);
    sql.execute(ADD_STATISTICS, &values![span, before, COMPACT_ROWS, longer])?;
    let moved = sql.execute(DELETE_STATISTICS, &values![span, before, COMPACT_ROWS])?;
    Ok(more_if(moved))
}

const ADD_CREDIT: &str = "\
    INSERT INTO credit (height, account, difficulty, origin, count)
    SELECT CAST(?2 AS BIGINT), account, difficulty, 0, CAST(sum(count) AS BIGINT)
    FROM (SELECT account, difficulty, count FROM credit
      WHERE height >= ?1 AND height <= ?2 AND (height < ?2 OR origin <> 0)
      ORDER BY height, account, difficulty, origin LIMIT ?3) AS old
    GROUP BY account, difficulty
    ON CONFLICT (height, account, difficulty, origin) DO UPDATE SET
      count = credit.count + excluded.count";

/// Deletes the same rows, not the ones they were added to.
const DELETE_CREDIT: &str = "\
    DELETE FROM credit WHERE (height, account, difficulty, origin) IN (
      SELECT height, account, difficulty, origin FROM credit
      WHERE height >= ?1 AND height <= ?2 AND (height < ?2 OR origin <> 0)
      ORDER BY height, account, difficulty, origin LIMIT ?3)";

const ADD_STATISTICS: &str = concat!(
    "INSERT INTO statistics (span, start, worker, origin, accepted, accepted_work, stale, stale_work,
      low, low_work, duplicate, duplicate_work)
    SELECT CAST(?4 AS BIGINT), into_start, worker, 0,
      CAST(sum(accepted) AS BIGINT), sum(accepted_work), CAST(sum(stale) AS BIGINT), sum(stale_work),
      CAST(sum(low) AS BIGINT), sum(low_work),
      CAST(sum(duplicate) AS BIGINT), sum(duplicate_work)
    FROM (SELECT start - start % CAST(?4 AS BIGINT) AS into_start, worker, accepted, stale, low, duplicate,
        CASE WHEN accepted_work < 1e200 THEN accepted_work ELSE 1e200 END AS accepted_work,
        CASE WHEN stale_work < 1e200 THEN stale_work ELSE 1e200 END AS stale_work,
        CASE WHEN low_work < 1e200 THEN low_work ELSE 1e200 END AS low_work,
        CASE WHEN duplicate_work < 1e200 THEN duplicate_work ELSE 1e200 END AS duplicate_work
      FROM statistics WHERE span = ?1 AND start < ?2 ORDER BY start, worker, origin LIMIT ?3) AS old
    GROUP BY into_start, worker
    ON CONFLICT (span, start, worker, origin) DO UPDATE SET ",
    sums_of_statistics!("statistics")
);

/// Deletes the same rows.
const DELETE_STATISTICS: &str = "\
    DELETE FROM statistics WHERE span = ?1 AND (start, worker, origin) IN (
      SELECT start, worker, origin FROM statistics WHERE span = ?1 AND start < ?2
      ORDER BY start, worker, origin LIMIT ?3)";
