//! Checks of the states of blocks against what is known of the chain, and of what can be divided exactly.

use std::collections::HashSet;

use super::Check;
use crate::payout::is_whole;
use crate::sql::SqlError;
use crate::store::best_tip;

/// States of blocks rest on the highest tip that was shown.
pub(super) fn judged_blocks_were_shown(check: &mut Check<'_>) -> anyhow::Result<()> {
    let tip = match best_tip::highest(check.sql) {
        Ok(tip) => tip,
        Err(SqlError::Failed(reason)) => {
            check.find(reason);
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let judged = "SELECT max(height) FROM blocks WHERE state = 'confirmed' OR final_at IS NOT NULL";
    let judged: Option<u32> = check.sql.query_one(judged, &[])?.get(0)?;
    match (tip, judged) {
        (None, Some(_)) => check.find(
            "no node has shown this ledger the chain: payouts wait; start a server on it"
                .to_owned(),
        ),
        (Some(tip), Some(height)) if height > tip.height.0 => check.find(format!(
            "a block at height {height} is judged, and the highest tip that was shown is at {}",
            tip.height.0
        )),
        _ => {}
    }
    let rows = check.sql.query(
        "SELECT height, hash, state FROM blocks
          WHERE final_at IS NOT NULL AND state NOT IN ('orphaned', 'refused') ORDER BY height",
        &[],
    )?;
    for row in rows {
        let (height, hash, state): (u32, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        check.find(format!(
            "block {height} {hash} is {state}, and lost for good"
        ));
    }
    Ok(())
}

/// Finds blocks that cannot be settled exactly, or were settled over incomplete credit.
pub(super) fn rounds_have_what_they_divide(check: &mut Check<'_>) -> anyhow::Result<()> {
    let pruned_to = check.pruned_to;
    let rows = check.sql.query(
        "SELECT height, hash FROM blocks
          WHERE state = 'confirmed' AND payout <> 'solo'
            AND NOT EXISTS (SELECT 1 FROM settlements WHERE block = hash AND state = 'settled')
          ORDER BY height, hash",
        &[],
    )?;
    let reversed = "SELECT DISTINCT block FROM settlements WHERE state = 'reversed'";
    let reversed = check.sql.query(reversed, &[])?;
    let reversed = reversed.iter().map(|row| row.get(0));
    let reversed: HashSet<String> = reversed.collect::<Result<_, SqlError>>()?;
    for row in rows {
        let (height, hash): (u32, String) = (row.get(0)?, row.get(1)?);
        let above = check.cuts.below(height).map_or(-1, i64::from);
        let is_less = reversed.contains(&hash) && !is_whole(check.sql, &hash, height, above)?;
        if above < pruned_to || is_less {
            check.find(format!(
                "block {height} {hash} cannot be settled: credit that belongs to it is deleted"
            ));
        }
    }
    let rows = check.sql.query(
        "SELECT now.id, now.shares, gone.id, gone.shares, gone.from_height, b.height
           FROM settlements AS now JOIN settlements AS gone ON gone.block = now.block
           JOIN blocks AS b ON b.hash = now.block
          WHERE now.state = 'settled' AND gone.state = 'reversed'
            AND now.scheme = 'prop' AND gone.scheme = 'prop' AND now.shares < gone.shares
          ORDER BY now.id",
        &[],
    )?;
    for row in rows {
        let begin: i64 = row.get(4)?;
        // A lower block may have come back: then the round is shorter.
        if check
            .cuts
            .below(row.get(5)?)
            .is_some_and(|cut| i64::from(cut) >= begin)
        {
            continue;
        }
        let (id, shares): (i64, i64) = (row.get(0)?, row.get(1)?);
        let (reversed, before): (i64, i64) = (row.get(2)?, row.get(3)?);
        check.find(format!(
            "settlement {id} divides {shares} shares, and {reversed}, which was reversed, {before}: \
             it was settled anew over what was left"
        ));
    }
    Ok(())
}

/// Finds blocks that became known too late: credit had been merged across their heights.
pub(super) fn rounds_are_cut_exactly(check: &mut Check<'_>) -> anyhow::Result<()> {
    let rows = check.sql.query(
        "SELECT height, hash, CASE WHEN EXISTS (SELECT 1 FROM settlements
             WHERE block = hash AND scheme <> 'elsewhere' AND state = 'settled') THEN 1 ELSE 0 END
           FROM blocks WHERE state NOT IN ('orphaned', 'refused') AND payout <> 'solo' ORDER BY height, hash",
        &[],
    )?;
    for row in rows {
        let (height, hash): (u32, String) = (row.get(0)?, row.get(1)?);
        if check.cuts.is_inexact(check.sql, height)? {
            let then = match row.get::<i64>(2)? {
                0 => "is not settled",
                _ => "was settled all the same",
            };
            check.find(format!(
                "the round of block {height} {hash} can be cut no more, since it or the block below \
                 came after credit had been merged across its height: it {then}"
            ));
        }
    }
    Ok(())
}
