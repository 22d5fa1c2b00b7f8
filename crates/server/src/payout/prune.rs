//! Deletes credit that is no longer needed.
//!
//! Credit is kept until it is paid for. It is deleted when no reorganisation that a node still follows could
//! need it again and no PPLNS window reaches it; in doubt it stays.

use std::collections::BTreeMap;

use anyhow::Context;
use hstratum_core::accounting::reward_split::{Decimal, PplnsWindow, Weight};
use hstratum_core::chain::address::Network;
use hstratum_core::units::Difficulty;

use super::due::weight;
use super::settle::check_network;
use crate::limits::PAYOUT_ROWS_PER_TRANSACTION;
use crate::sql::{Db, Sql};
use crate::store::best_tip;
use crate::values;

/// Depth of a settled block before its credit is deleted, in coinbase maturities.
const MATURITIES_DEEP: u32 = 2;

/// Deletes the rows of credit at and below the highest pool block that
/// - is settled, as all pool blocks on the main chain below it are, and has its dump, as they have;
/// - is more than two coinbase maturities below the highest tip that the ledger was shown;
/// - has no lost block at or below it that may come back;
/// - if there ever was a settlement by PPLNS or terms of it, is older than what twice the greatest of
///   their windows reaches, at the greatest network difficulty since.
///
/// The caller holds the payout lock. Returns the number of deleted rows.
///
/// # Errors
/// When the ledger cannot be read or written. What was deleted stays deleted.
pub fn prune(db: &mut Db, network: Network) -> anyhow::Result<u64> {
    db.read(|sql| check_network(sql, network))?;
    let floor = db.read(|sql| floor(sql, network));
    let Some(height) = floor.context("failed to read the ledger")? else {
        return Ok(0);
    };
    // Recorded before anything is deleted: the rest of a round must never be divided as if it were whole.
    db.write(|sql: &mut dyn Sql| {
        sql.execute(
            "UPDATE meta SET pruned_to = ?1 WHERE pruned_to < ?1",
            &values![height],
        )
    })
    .context("failed to write what is deleted")?;
    let mut deleted = 0;
    for delete in [
        "DELETE FROM credit WHERE (height, account, difficulty, origin) IN
           (SELECT height, account, difficulty, origin FROM credit WHERE height <= ?1
             ORDER BY height, account, difficulty, origin LIMIT ?2)",
        "DELETE FROM heights WHERE height IN
           (SELECT height FROM heights WHERE height <= ?1 ORDER BY height LIMIT ?2)",
    ] {
        loop {
            let slice = values![height, PAYOUT_ROWS_PER_TRANSACTION];
            let rows = db
                .write(|sql: &mut dyn Sql| sql.execute(delete, &slice))
                .context("failed to delete old credit")?;
            if rows == 0 {
                break;
            }
            deleted += rows;
        }
    }
    Ok(deleted)
}

/// Height up to which credit may be deleted.
fn floor(sql: &mut dyn Sql, network: Network) -> anyhow::Result<Option<u32>> {
    let tip = best_tip::highest(sql)?.map(|tip| tip.height.0);
    let depth = network.coinbase_maturity() * MATURITIES_DEEP;
    let Some(deep) = tip.and_then(|tip| tip.checked_sub(depth + 1)) else {
        return Ok(None);
    };
    let row = sql.query_one(
        "SELECT max(height) FROM blocks AS b
          WHERE height <= ?1 AND state = 'confirmed'
            AND EXISTS (SELECT 1 FROM settlements WHERE block = hash AND state = 'settled')
            AND NOT EXISTS
              (SELECT 1 FROM blocks AS o WHERE o.height <= b.height AND o.payout <> 'solo' AND
                 ((o.closed_at IS NOT NULL AND o.dumped_at IS NULL)
                  OR o.state = 'found'
                  OR (o.state IN ('orphaned', 'refused') AND o.final_at IS NULL)
                  OR (o.state IN ('accepted', 'confirmed') AND NOT EXISTS
                        (SELECT 1 FROM settlements WHERE block = o.hash AND state = 'settled'))))",
        &values![deep],
    )?;
    match row.get(0)? {
        None => Ok(None),
        Some(height) => below_windows(sql, height),
    }
}

/// The height itself, or a lower one if a window may still reach it.
fn below_windows(sql: &mut dyn Sql, height: u32) -> anyhow::Result<Option<u32>> {
    // A window of terms in force may reach back where no block was divided by PPLNS yet.
    let windows = "SELECT \"window\" FROM settlements WHERE scheme = 'pplns'
                   UNION SELECT \"window\" FROM terms WHERE scheme = 'pplns'";
    let mut lowest = Some(height);
    for row in sql.query(windows, &[])? {
        let window: String = row.get(0)?;
        let length = Decimal::parse_positive(&window)
            .with_context(|| format!("the ledger has the window {window:?}"))?;
        lowest = lowest.min(below_window(sql, height, length)?);
    }
    Ok(lowest)
}

/// The highest height that twice the window does not reach from a block at `height`.
fn below_window(sql: &mut dyn Sql, height: u32, length: Decimal) -> anyhow::Result<Option<u32>> {
    let greatest = "SELECT max(difficulty) FROM heights WHERE height >= ?1";
    let greatest: Option<f64> = sql.query_one(greatest, &values![height])?.get(0)?;
    let Some(doubled) = greatest.and_then(|greatest| Difficulty::new(greatest * 2.0)) else {
        return Ok(None);
    };
    let mut window = PplnsWindow::new(length, doubled);
    let mut next = height;
    loop {
        let highest = "SELECT max(height) FROM credit WHERE height <= ?1";
        let at: Option<u32> = sql.query_one(highest, &values![next])?.get(0)?;
        let Some(at) = at else { return Ok(None) };
        if window.is_full() {
            return Ok(at.checked_sub(1));
        }
        let mut work = Weight::default();
        sql.each(
            "SELECT difficulty, CAST(sum(count) AS BIGINT) FROM credit WHERE height = ?1
             GROUP BY difficulty",
            &values![at],
            &mut |row| {
                work += &weight(row, 0)?.0;
                Ok(())
            },
        )?;
        window.push(BTreeMap::from([((), work)]));
        let Some(below) = at.checked_sub(1) else {
            return Ok(None);
        };
        next = below;
    }
}
