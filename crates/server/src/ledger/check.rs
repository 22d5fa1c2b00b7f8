//! Whether a ledger keeps its promises. It is only read; each finding is one line.
//!
//! What SQLite keeps by itself (one live settlement of a block, no amount below zero) is covered by
//! its own integrity check, which looks at every constraint again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use hstratum_core::payout::{FeePpm, Hns};

use super::shares_file;
use crate::limits::FINDINGS_MAX;
use crate::payout::{cut_below, is_inexact, is_whole, pruned_to};
use crate::sql::{Db, Sql, SqlError};
use crate::store::evidence;
use crate::values;

/// Checks everything, from one state of the ledger, and its dumps if their directory is given.
/// Empty where all is well; no more findings than a person reads.
///
/// # Errors
/// When the ledger or the directory cannot be read.
pub fn check(db: &mut Db, shares: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let is_file = matches!(db, Db::Sqlite(_));
    db.read(|sql| {
        let mut findings = Vec::new();
        if is_file {
            check_file(sql, &mut findings).context("failed to check the file")?;
        }
        if findings.is_empty() {
            check_chain(sql, &mut findings).context("failed to read the blocks")?;
            check_settlements(sql, &mut findings).context("failed to read the settlements")?;
            check_credit(sql, &mut findings).context("failed to read the credit")?;
            check_spans(sql, &mut findings).context("failed to read the merged credit")?;
            check_payments(sql, &mut findings).context("failed to read the payments")?;
            if let Some(dir) = shares {
                check_dumps(sql, dir, &mut findings)?;
            }
        }
        findings.truncate(FINDINGS_MAX);
        Ok(findings)
    })
}

/// What PostgreSQL sees to by itself.
fn check_file(sql: &mut dyn Sql, findings: &mut Vec<String>) -> anyhow::Result<()> {
    for row in sql.query("PRAGMA integrity_check", &[])? {
        let text: String = row.get(0)?;
        if text != "ok" {
            findings.push(format!("the file is damaged: {text:?}"));
        }
    }
    for row in sql.query("PRAGMA foreign_key_check", &[])? {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        findings.push(format!(
            "a row of {table} refers to a row of {parent} that is not there"
        ));
    }
    Ok(())
}

/// What is said of blocks rests on the highest tip that was shown.
fn check_chain(sql: &mut dyn Sql, findings: &mut Vec<String>) -> anyhow::Result<()> {
    let tip = match evidence::highest(sql) {
        Ok(tip) => tip,
        Err(SqlError::Failed(reason)) => {
            findings.push(reason);
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let judged = "SELECT max(height) FROM blocks WHERE state = 'confirmed' OR final_at IS NOT NULL";
    let judged: Option<u32> = sql.query_one(judged, &[])?.get(0)?;
    match (tip, judged) {
        (None, Some(_)) => findings.push(
            "no node has shown this ledger the chain: payouts wait; start a server on it"
                .to_owned(),
        ),
        (Some(tip), Some(height)) if height > tip.height.0 => findings.push(format!(
            "a block at height {height} is judged, and the highest tip that was shown is at {}",
            tip.height.0
        )),
        _ => {}
    }
    let rows = sql.query(
        "SELECT height, hash, state FROM blocks
          WHERE final_at IS NOT NULL AND state NOT IN ('orphaned', 'refused') ORDER BY height",
        &[],
    )?;
    for row in rows {
        let (height, hash, state): (u32, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        findings.push(format!(
            "block {height} {hash} is {state}, and lost for good"
        ));
    }
    check_divisible(sql, findings)
}

/// Blocks that cannot be settled exactly, or were settled over what was left.
fn check_divisible(sql: &mut dyn Sql, findings: &mut Vec<String>) -> anyhow::Result<()> {
    let pruned_to = pruned_to(sql)?;
    let rows = sql.query(
        "SELECT height, hash FROM blocks
          WHERE state = 'confirmed'
            AND NOT EXISTS (SELECT 1 FROM settlements WHERE block = hash AND state = 'settled')
          ORDER BY height, hash",
        &[],
    )?;
    for row in rows {
        let (height, hash): (u32, String) = (row.get(0)?, row.get(1)?);
        let above = cut_below(sql, height)?.map_or(-1, i64::from);
        if above < pruned_to || !is_whole(sql, &hash, height, above)? {
            findings.push(format!(
                "block {height} {hash} cannot be settled: credit that belongs to it is deleted"
            ));
        }
    }
    let rows = sql.query(
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
        // A block below may have come back: then its round is shorter.
        if cut_below(sql, row.get(5)?)?.is_some_and(|cut| i64::from(cut) >= begin) {
            continue;
        }
        let (id, shares): (i64, i64) = (row.get(0)?, row.get(1)?);
        let (reversed, before): (i64, i64) = (row.get(2)?, row.get(3)?);
        findings.push(format!(
            "settlement {id} divides {shares} shares, and {reversed}, which was reversed, {before}: \
             it was settled anew over what was left"
        ));
    }
    Ok(())
}

fn check_settlements(sql: &mut dyn Sql, findings: &mut Vec<String>) -> anyhow::Result<()> {
    let rows = sql.query(
        "SELECT s.id, s.block, s.state, s.scheme, s.fee_ppm, s.reward, s.fee, s.remainder,
                (SELECT CAST(coalesce(sum(amount), 0) AS BIGINT)
                   FROM settlement_credits WHERE settlement = s.id),
                b.state, b.reward
           FROM settlements AS s JOIN blocks AS b ON b.hash = s.block
          WHERE s.state <> 'preparing' ORDER BY s.id",
        &[],
    )?;
    for row in rows {
        let (id, block): (i64, String) = (row.get(0)?, row.get(1)?);
        let (state, scheme): (String, String) = (row.get(2)?, row.get(3)?);
        let [reward, fee, remainder, credited] = [5, 6, 7, 8].map(|column| row.get(column));
        let (reward, fee, remainder, credited): (i64, i64, i64, i64) =
            (reward?, fee?, remainder?, credited?);
        let parts = i128::from(credited) + i128::from(fee) + i128::from(remainder);
        if parts != i128::from(reward) {
            findings.push(format!(
                "settlement {id} does not add up: {credited} credited + {fee} fee + {remainder} \
                 remainder is not {reward}"
            ));
        }
        if scheme == "elsewhere" {
            continue;
        }
        let ppm = FeePpm::new(row.get(4)?);
        let expected = ppm.zip(u64::try_from(reward).ok());
        if expected.map(|(ppm, reward)| ppm.of(reward)) != u64::try_from(fee).ok() {
            findings.push(format!(
                "settlement {id} has a fee that its terms do not give"
            ));
        }
        if row.get::<i64>(10)? != reward {
            findings.push(format!(
                "settlement {id} divides another reward than block {block} has"
            ));
        }
        let block_state: String = row.get(9)?;
        // One that was confirmed may be a little less deep after a reorganisation.
        if state == "settled" && !matches!(&*block_state, "confirmed" | "accepted") {
            findings.push(format!(
                "settlement {id} is of block {block}, which is {block_state}: the next payout reverses it"
            ));
        }
    }
    Ok(())
}

/// Shares counted at a settlement against those there are now. More in its round came too late to
/// be paid. Fewer are well where old credit was deleted, which begins at the lowest height.
fn check_credit(sql: &mut dyn Sql, findings: &mut Vec<String>) -> anyhow::Result<()> {
    let rows = sql.query(
        "SELECT s.id, b.height, s.from_height, s.shares, s.scheme,
                CASE WHEN EXISTS (SELECT 1 FROM credit WHERE height < s.from_height)
                     THEN 1 ELSE 0 END
           FROM settlements AS s JOIN blocks AS b ON b.hash = s.block
          WHERE s.state = 'settled' AND s.scheme <> 'elsewhere' ORDER BY s.id",
        &[],
    )?;
    for row in rows {
        let (id, height, from): (i64, u32, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (then, scheme): (i64, String) = (row.get(3)?, row.get(4)?);
        let older: i64 = row.get(5)?;
        let now = shares_between(sql, from, height)?;
        if now < then && older == 1 {
            findings.push(format!(
                "{} shares of settlement {id}, up to height {height}, are gone",
                then - now
            ));
        }
        // A window may begin within heights that were merged since: only rounds are cut exactly.
        if scheme == "prop" {
            let round_from = cut_below(sql, height)?.map_or(0, |cut| cut + 1);
            let now = shares_between(sql, round_from, height)?;
            if now > then {
                findings.push(format!(
                    "{} shares of the round of settlement {id}, up to height {height}, came after it",
                    now - then
                ));
            }
        }
    }
    Ok(())
}

/// Blocks that came too late: credit had been merged across their heights.
fn check_spans(sql: &mut dyn Sql, findings: &mut Vec<String>) -> anyhow::Result<()> {
    let rows = sql.query(
        "SELECT height, hash, CASE WHEN EXISTS (SELECT 1 FROM settlements
             WHERE block = hash AND scheme <> 'elsewhere' AND state = 'settled') THEN 1 ELSE 0 END
           FROM blocks WHERE state NOT IN ('orphaned', 'refused') ORDER BY height, hash",
        &[],
    )?;
    for row in rows {
        let (height, hash): (u32, String) = (row.get(0)?, row.get(1)?);
        if is_inexact(sql, height)? {
            let then = match row.get::<i64>(2)? {
                0 => "is not settled",
                _ => "was settled all the same",
            };
            findings.push(format!(
                "the round of block {height} {hash} can be cut no more, since it or the block below \
                 came after credit had been merged across its height: it {then}"
            ));
        }
    }
    Ok(())
}

fn shares_between(sql: &mut dyn Sql, from: u32, to: u32) -> Result<i64, SqlError> {
    let row = sql.query_one(
        "SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM credit WHERE height BETWEEN ?1 AND ?2",
        &values![from, to],
    )?;
    row.get(0)
}

fn check_payments(sql: &mut dyn Sql, findings: &mut Vec<String>) -> anyhow::Result<()> {
    let rows = sql.query(
        "SELECT id, state,
                CASE WHEN txid IS NOT NULL AND raw IS NOT NULL THEN network_fee END,
                (SELECT count(*) FROM payment_outputs WHERE payment = id)
           FROM payments WHERE state <> 'preparing' ORDER BY id",
        &[],
    )?;
    for row in rows {
        let (id, state): (i64, String) = (row.get(0)?, row.get(1)?);
        let (fee, outputs): (Option<i64>, i64) = (row.get(2)?, row.get(3)?);
        if matches!(&*state, "signed" | "sent" | "confirmed") && fee.is_none() {
            findings.push(format!("payment {id} is {state} without its transaction"));
        }
        if outputs == 0 {
            findings.push(format!("payment {id} pays nobody"));
        }
        if fee.is_some_and(|fee| fee < 0) {
            findings.push(format!("payment {id} has a fee below zero"));
        }
    }
    // What was credited for a block that is lost since may have been paid before.
    let rows = sql.query(
        "SELECT name, paid, ever FROM
           (SELECT name, paid,
              (SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM settlement_credits AS c
                 JOIN settlements AS s ON s.id = c.settlement
                WHERE c.account = b.account AND s.state IN ('settled', 'reversed')) AS ever
              FROM balances AS b WHERE paid > 0) AS sums
          WHERE paid > ever ORDER BY name",
        &[],
    )?;
    for row in rows {
        let (name, paid, ever): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        findings.push(format!(
            "account {name:?} was paid {} HNS of {} HNS that it was ever credited",
            Hns(paid.into()),
            Hns(ever.into())
        ));
    }
    Ok(())
}

/// Every closed block has its file, and no block has two.
fn check_dumps(sql: &mut dyn Sql, dir: &Path, findings: &mut Vec<String>) -> anyhow::Result<()> {
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
    let rows = sql
        .query(
            "SELECT height, hash, reward, dumped_at FROM blocks
              WHERE closed_at IS NOT NULL ORDER BY height, hash",
            &[],
        )
        .context("failed to read the blocks")?;
    for row in rows {
        let (height, hash): (u32, String) = (row.get(0)?, row.get(1)?);
        let (reward, dumped_at): (i64, Option<i64>) = (row.get(2)?, row.get(3)?);
        let name = format!("{height}-{hash}.json");
        match files.get(&hash).map_or(&[][..], Vec::as_slice) {
            [] if dumped_at.is_some() => findings.push(format!("{name} is missing")),
            [] => findings.push(format!("{name} is owed: a running server writes it")),
            [only] if *only == name => match shares_file::read(&dir.join(&name)) {
                Err(error) => findings.push(format!("{name}: {error:#}")),
                Ok(file) if file.reward != reward => {
                    findings.push(format!("{name} has another reward than the ledger"));
                }
                Ok(_) => {}
            },
            names => findings.push(format!("block {hash} has the files {names:?}")),
        }
    }
    Ok(())
}
