//! Deleting credit that nobody needs any more.
//!
//! Credit is kept until it is paid for. It goes when no reorganisation that a node still follows
//! could ask for it again and no window reaches it; in doubt it stays.

use anyhow::Context;
use hstratum_core::address::Network;
use hstratum_core::payout::{Decimal, Weight, Window};
use hstratum_core::units::Difficulty;
use rusqlite::Connection;

use super::settle::{check_network, immediate};
use crate::limits::PAYOUT_ROWS_PER_TRANSACTION;

/// How many times deeper than a spendable reward a settled block must be.
const MATURITIES_DEEP: u32 = 2;

/// Deletes the rows of credit at and below the highest pool block that
/// - is settled, as all pool blocks on the main chain below it are, and has its dump, as they have;
/// - is more than two coinbase maturities below the highest height that was mined;
/// - if there ever was a settlement by PPLNS, is older than what twice the greatest of their
///   windows reaches, at the greatest network difficulty since.
///
/// The caller holds the payout lock. Returns how many rows were deleted.
///
/// # Errors
/// When the ledger cannot be read or written. What was deleted stays deleted.
pub fn prune(conn: &mut Connection, network: Network) -> anyhow::Result<u64> {
    check_network(conn, network)?;
    let Some(height) = floor(conn, network).context("failed to read the ledger")? else {
        return Ok(0);
    };
    let mut deleted = 0;
    for sql in [
        "DELETE FROM credit WHERE (height, account, difficulty, origin) IN
           (SELECT height, account, difficulty, origin FROM credit WHERE height <= ?1
             ORDER BY height, account, difficulty, origin LIMIT ?2)",
        "DELETE FROM heights WHERE height IN
           (SELECT height FROM heights WHERE height <= ?1 ORDER BY height LIMIT ?2)",
    ] {
        loop {
            let tx = immediate(conn)?;
            let rows = tx
                .execute(sql, (height, PAYOUT_ROWS_PER_TRANSACTION))
                .context("failed to delete old credit")?;
            tx.commit().context("failed to delete old credit")?;
            if rows == 0 {
                break;
            }
            deleted += rows as u64;
        }
    }
    Ok(deleted)
}

/// Up to which height credit may go.
fn floor(conn: &Connection, network: Network) -> anyhow::Result<Option<u32>> {
    let snapshot = conn.unchecked_transaction()?;
    let tip: Option<u32> =
        snapshot.query_row("SELECT max(height) FROM heights", [], |row| row.get(0))?;
    let depth = network.coinbase_maturity() * MATURITIES_DEEP;
    let Some(deep) = tip.and_then(|tip| tip.checked_sub(depth + 1)) else {
        return Ok(None);
    };
    let settled: Option<u32> = snapshot.query_row(
        "SELECT max(height) FROM blocks AS b
          WHERE height <= ?1 AND state = 'confirmed'
            AND EXISTS (SELECT 1 FROM settlements WHERE block = hash AND state = 'settled')
            AND NOT EXISTS
              (SELECT 1 FROM blocks AS o WHERE o.height <= b.height AND
                 ((o.closed_at IS NOT NULL AND o.dumped_at IS NULL)
                  OR o.state = 'found'
                  OR (o.state IN ('accepted', 'confirmed') AND NOT EXISTS
                        (SELECT 1 FROM settlements WHERE block = o.hash AND state = 'settled'))))",
        [deep],
        |row| row.get(0),
    )?;
    match settled {
        None => Ok(None),
        Some(height) => below_windows(&snapshot, height),
    }
}

/// The height itself, or a lower one where a window may still reach it.
fn below_windows(conn: &Connection, height: u32) -> anyhow::Result<Option<u32>> {
    let mut statement =
        conn.prepare("SELECT DISTINCT window FROM settlements WHERE scheme = 'pplns'")?;
    let windows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut lowest = Some(height);
    for window in windows {
        let window = window?;
        let length = Decimal::parse_positive(&window)
            .with_context(|| format!("a settlement has the window {window:?}"))?;
        lowest = lowest.min(below_window(conn, height, length)?);
    }
    Ok(lowest)
}

/// The highest height that twice the window does not reach from a block at `height`.
fn below_window(conn: &Connection, height: u32, length: Decimal) -> anyhow::Result<Option<u32>> {
    let greatest: Option<f64> = conn.query_row(
        "SELECT max(difficulty) FROM heights WHERE height >= ?1",
        [height],
        |row| row.get(0),
    )?;
    let Some(doubled) = greatest.and_then(|greatest| Difficulty::new(greatest * 2.0)) else {
        return Ok(None);
    };
    let mut window = Window::new(length, doubled);
    let mut statement = conn.prepare(
        "SELECT height, difficulty, count FROM credit WHERE height <= ?1 ORDER BY height DESC",
    )?;
    let mut rows = statement.query([height])?;
    while let Some(row) = rows.next()? {
        let at: u32 = row.get(0)?;
        if window.is_full() {
            return Ok(at.checked_sub(1));
        }
        let difficulty = Difficulty::new(row.get(1)?).context("a share has no difficulty")?;
        let count: u32 = row.get::<_, i64>(2)?.try_into().unwrap_or(u32::MAX);
        window.push([((), Weight::of(difficulty, count.into()))].into());
    }
    Ok(None)
}
