//! Checks of blocks, their rounds, and their share dumps against the credit that they were written from.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use anyhow::Context;

use super::Check;
use crate::clock::unix_s;
use crate::ledger_tools::shares_file::{self, SharesFile};
use crate::sql::{SqlError, WORK, signed};
use crate::values;

/// Relative difference allowed between two sums of the same doubles added in different orders.
const TOLERANCE: f64 = 1e-9;

/// Seconds that a block may wait for a look of a node that knows the chain.
const LOOK_S: u64 = 3600;

/// A height has one block of the main chain. While the node is behind, a block that it has just accepted may
/// be there beside one that it has not heard of again; the next look at the whole chain decides.
pub(super) fn heights_have_one_block(check: &mut Check<'_>) -> anyhow::Result<()> {
    let rows = check.sql.query(
        "SELECT height, count(*) FROM blocks WHERE state IN ('accepted', 'confirmed')
          GROUP BY height
         HAVING count(*) > 1 AND (min(state) = 'confirmed' OR max(changed_at) < ?1)
          ORDER BY height",
        &values![looked_at()],
    )?;
    for row in rows {
        let (height, count): (u32, i64) = (row.get(0)?, row.get(1)?);
        check.find(format!(
            "{count} blocks of height {height} are on the main chain"
        ));
    }
    Ok(())
}

/// Unix time before which a block must have been looked at by now.
fn looked_at() -> i64 {
    signed(unix_s().saturating_sub(LOOK_S))
}

/// A block that is or was on the main chain has closed a round, which ends at its height.
pub(super) fn rounds_are_closed(check: &mut Check<'_>) -> anyhow::Result<()> {
    let rows = check.sql.query(
        "SELECT height, hash, state, closed_at, round_from FROM blocks
          WHERE (state IN ('accepted', 'confirmed') AND closed_at IS NULL AND changed_at < ?1
                 AND payout <> 'solo')
             OR (closed_at IS NOT NULL AND (round_from IS NULL OR round_from > height))
             OR (closed_at IS NULL AND dumped_at IS NOT NULL)
          ORDER BY height, hash",
        &values![looked_at()],
    )?;
    for row in rows {
        let (height, hash, state): (u32, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        check.find(match row.get::<Option<i64>>(3)? {
            None => format!("block {height} {hash} is {state} and has closed no round"),
            Some(_) => format!("block {height} {hash} has closed a round that does not end there"),
        });
    }
    Ok(())
}

/// A block whose coinbase has paid its finder closes no round, and is not divided.
pub(super) fn solo_blocks_have_no_round(check: &mut Check<'_>) -> anyhow::Result<()> {
    let rows = check.sql.query(
        "SELECT height, hash, payout FROM blocks
          WHERE payout = 'solo'
            AND (closed_at IS NOT NULL OR EXISTS (SELECT 1 FROM settlements WHERE block = hash))
          ORDER BY height, hash",
        &[],
    )?;
    for row in rows {
        let (height, hash, payout): (u32, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        check.find(format!(
            "block {height} {hash} has payout {payout}, and closed a round or was divided"
        ));
    }
    Ok(())
}

/// A round that was closed after a lower one begins above it. Imported lower blocks are excluded: their time
/// is that of the old dump, and the ledger may have learned of them later than of the other.
pub(super) fn rounds_do_not_overlap(check: &mut Check<'_>) -> anyhow::Result<()> {
    let rows = check.sql.query(
        "SELECT height, round_from, closed_at, difficulty FROM blocks
          WHERE state IN ('accepted', 'confirmed') AND closed_at IS NOT NULL
            AND round_from IS NOT NULL ORDER BY height, hash",
        &[],
    )?;
    let mut below: Option<(u32, i64)> = None;
    for row in rows {
        let (height, from, closed_at): (u32, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        // The order of two that were closed within a second is not known.
        if let Some((other, at)) = below
            && from <= other
            && other < height
            && at < closed_at
        {
            check.find(format!(
                "the rounds of the blocks {other} and {height} overlap, from height {from} on: their \
                 dumps have the same shares"
            ));
        }
        // The network's difficulty is 0 for an imported block.
        if row.get::<f64>(3)? > 0.0 {
            below = Some((height, closed_at));
        }
    }
    Ok(())
}

/// The work of an unsettled round is at least what its effort implies: merged credit keeps its work, and the
/// difficulty of a height is one of those in the round.
pub(super) fn unsettled_rounds_have_their_credit(check: &mut Check<'_>) -> anyhow::Result<()> {
    let rows = check.sql.query(
        "SELECT height, hash, round_from, effort FROM blocks
          WHERE state IN ('accepted', 'confirmed') AND effort > 0 AND round_from IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM settlements WHERE block = hash AND state = 'settled')
          ORDER BY height, hash",
        &[],
    )?;
    for row in rows {
        let (height, hash, from): (u32, String, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let effort: f64 = row.get(3)?;
        let bounds = values![from, height];
        let work: f64 = check
            .sql
            .query_one(
                &format!(
                    "SELECT coalesce(sum({WORK}), 0.0) FROM credit AS c
                      WHERE height BETWEEN ?1 AND ?2"
                ),
                &bounds,
            )?
            .get(0)?;
        let least: Option<f64> = check
            .sql
            .query_one(
                "SELECT min(difficulty) FROM heights WHERE height BETWEEN ?1 AND ?2",
                &bounds,
            )?
            .get(0)?;
        let most = match least {
            _ if work == 0.0 => 0.0,
            Some(least) => work / least,
            None => continue,
        };
        if effort > most * (1.0 + TOLERANCE) {
            check.find(format!(
                "credit of the round of block {height} {hash} is gone: {work} of work is left, its \
                 effort was {effort}"
            ));
        }
    }
    Ok(())
}

/// Every closed block has its share dump, and no block has two.
pub(super) fn dumps_are_there(check: &mut Check<'_>) -> anyhow::Result<()> {
    let Some(dir) = check.shares else {
        return Ok(());
    };
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let entries = fs::read_dir(dir).with_context(|| format!("failed to list {}", dir.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("failed to list {}", dir.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let stem = name
            .strip_suffix(".json")
            .and_then(|stem| stem.split_once('-'));
        if let Some((_, hash)) = stem.filter(|_| !name.starts_with('.')) {
            files.entry(hash.to_owned()).or_default().push(name);
        }
    }
    let rows = check
        .sql
        .query(
            "SELECT height, hash, reward, dumped_at, round_from FROM blocks
              WHERE closed_at IS NOT NULL ORDER BY height, hash",
            &[],
        )
        .context("failed to read the blocks")?;
    for row in rows {
        let (height, hash): (u32, String) = (row.get(0)?, row.get(1)?);
        let (reward, dumped_at): (i64, Option<i64>) = (row.get(2)?, row.get(3)?);
        let name = format!("{height}-{hash}.json");
        match files.get(&hash).map_or(&[][..], Vec::as_slice) {
            [] if dumped_at.is_some() => check.find(format!("{name} is missing")),
            [] => check.find(format!("{name} is owed: a running server writes it")),
            [only] if *only == name => match shares_file::read(&dir.join(&name)) {
                Err(error) => check.find(format!("{name}: {error:#}")),
                Ok(file) if file.reward != reward => {
                    check.find(format!("{name} has another reward than the ledger"));
                }
                Ok(file) => dump_is_in_credit(check, &name, &file, row.get(4)?)?,
            },
            names => check.find(format!("block {hash} has the files {names:?}")),
        }
    }
    Ok(())
}

/// Each account has in the round at least the work in the dump; later shares are not in the dump.
fn dump_is_in_credit(
    check: &mut Check<'_>,
    name: &str,
    file: &SharesFile,
    from: Option<u32>,
) -> anyhow::Result<()> {
    let Some(from) = from else { return Ok(()) };
    let rows = check.sql.query(
        "SELECT name, work FROM (SELECT account, sum(difficulty * count) AS work FROM credit
            WHERE height BETWEEN ?1 AND ?2 GROUP BY account) AS c JOIN accounts ON id = account",
        &values![from, file.height],
    )?;
    let work = rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?)));
    let work: HashMap<String, f64> = work.collect::<Result<_, SqlError>>()?;
    if work.is_empty() && check.is_settled_and_pruned(&file.block, from)? {
        return Ok(());
    }
    // A block paid by other means may have been imported without its work.
    if check.is_paid_elsewhere(&file.block)? {
        return Ok(());
    }
    let mut less = file.shares.iter().filter(|(account, dumped)| {
        let credited = work.get(account).copied().unwrap_or(0.0);
        credited < dumped * (1.0 - TOLERANCE)
    });
    if let Some((account, dumped)) = less.next() {
        let credited = work.get(account).copied().unwrap_or(0.0);
        let others = match less.count() {
            0 => String::new(),
            more => format!("; {more} more accounts have less too"),
        };
        check.find(format!(
            "{name} has {dumped} of work of {account:?}, of which the ledger has {credited}{others}"
        ));
    }
    Ok(())
}
