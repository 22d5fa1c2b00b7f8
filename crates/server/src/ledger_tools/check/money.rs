//! Checks of settlements and payments: nobody is credited or paid what was not earned, and nothing is divided
//! twice.

use std::collections::BTreeMap;

use hstratum_core::accounting::reward_split::{FeePpm, Hns};
use hstratum_core::plural::counted;

use super::Check;
use crate::payout::divided_over_its_round;
use crate::sql::{Sql, SqlError};
use crate::values;

pub(super) fn settlements_add_up(check: &mut Check<'_>) -> anyhow::Result<()> {
    let rows = check.sql.query(
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
            check.find(format!(
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
            check.find(format!(
                "settlement {id} has a fee that its terms do not give"
            ));
        }
        if row.get::<i64>(10)? != reward {
            check.find(format!(
                "settlement {id} divides another reward than block {block} has"
            ));
        }
        let block_state: String = row.get(9)?;
        // A confirmed one may be a little less deep after a reorganisation.
        if state == "settled" && !matches!(&*block_state, "confirmed" | "accepted") {
            check.find(format!(
                "settlement {id} is of block {block}, which is {block_state}: the next payout reverses it"
            ));
        }
    }
    Ok(())
}

/// Compares the shares counted at a settlement with those there are now. More in its round came too late to
/// be paid. Fewer are right if old credit was deleted.
pub(super) fn settled_shares_are_there(check: &mut Check<'_>) -> anyhow::Result<()> {
    let rows = check.sql.query(
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
        // Credit is deleted from the lowest height up, and only to the recorded height.
        let is_pruned = row.get::<i64>(5)? == 0 && check.is_pruned(from);
        let now = shares_between(check.sql, from, height)?;
        if now < then && !is_pruned {
            check.find(format!(
                "settlement {id}, up to height {height}, lacks {} that it divided",
                counted(then - now, "share")
            ));
        }
        // A window may begin within heights that were merged since: only rounds are cut exactly.
        if scheme == "prop" {
            let round_from = check.cuts.below(height).map_or(0, |cut| cut + 1);
            let now = shares_between(check.sql, round_from, height)?;
            if now > then {
                check.find(format!(
                    "the round of settlement {id}, up to height {height}, has {} that came after it",
                    counted(now - then, "share")
                ));
            }
        }
    }
    Ok(())
}

/// A prop settlement over a round whose credit is complete gave each account what its work earns.
pub(super) fn settlements_divide_by_work(check: &mut Check<'_>) -> anyhow::Result<()> {
    let rows = check.sql.query(
        "SELECT s.id, b.height, s.shares, s.reward, s.fee_ppm
           FROM settlements AS s JOIN blocks AS b ON b.hash = s.block
          WHERE s.state = 'settled' AND s.scheme = 'prop' ORDER BY s.id",
        &[],
    )?;
    for row in rows {
        let (id, height, shares): (i64, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let from = check.cuts.below(height).map_or(0, |cut| cut + 1);
        let fee = FeePpm::new(row.get(4)?);
        let (Some(fee), true) = (fee, shares_between(check.sql, from, height)? == shares) else {
            // Other checks report this.
            continue;
        };
        let earned = divided_over_its_round(check.sql, height, row.get(3)?, fee)?;
        let credits = check.sql.query(
            "SELECT account, amount FROM settlement_credits WHERE settlement = ?1 AND amount > 0",
            &values![id],
        )?;
        let credits = credits.iter().map(|row| Ok((row.get(0)?, row.get(1)?)));
        let credited: BTreeMap<i64, u64> = credits.collect::<Result<_, SqlError>>()?;
        if credited != earned {
            let wrong = earned.keys().chain(credited.keys());
            let wrong = wrong.filter(|account| credited.get(account) != earned.get(account));
            let count = wrong.collect::<std::collections::BTreeSet<_>>().len();
            check.find(format!(
                "settlement {id}, of height {height}, credits {count} accounts with other amounts \
                 than their work in its round gives"
            ));
        }
    }
    Ok(())
}

/// No credit is in two rounds that were divided.
pub(super) fn credit_is_divided_once(check: &mut Check<'_>) -> anyhow::Result<()> {
    let rows = check.sql.query(
        "SELECT s.id, b.height, s.from_height
           FROM settlements AS s JOIN blocks AS b ON b.hash = s.block
          WHERE s.state = 'settled' AND s.scheme = 'prop' AND s.shares > 0
            AND b.state IN ('accepted', 'confirmed') ORDER BY b.height, s.id",
        &[],
    )?;
    let mut below: Option<(i64, u32)> = None;
    for row in rows {
        let (id, height, from): (i64, u32, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if let Some((other, end)) = below.filter(|(_, end)| from <= *end) {
            check.find(format!(
                "credit of the heights {from} to {} was divided twice, in the settlements {other} \
                 and {id}",
                end.min(height)
            ));
        }
        below = Some((id, height));
    }
    Ok(())
}

pub(super) fn shares_between(sql: &mut dyn Sql, from: u32, to: u32) -> Result<i64, SqlError> {
    let row = sql.query_one(
        "SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM credit WHERE height BETWEEN ?1 AND ?2",
        &values![from, to],
    )?;
    row.get(0)
}

pub(super) fn payments_are_covered(check: &mut Check<'_>) -> anyhow::Result<()> {
    let rows = check.sql.query(
        "SELECT id, state,
                CASE WHEN block IS NOT NULL THEN 0
                     WHEN txid IS NOT NULL AND raw IS NOT NULL THEN network_fee END,
                (SELECT count(*) FROM payment_outputs WHERE payment = id)
           FROM payments WHERE state <> 'preparing' ORDER BY id",
        &[],
    )?;
    for row in rows {
        let (id, state): (i64, String) = (row.get(0)?, row.get(1)?);
        let (fee, outputs): (Option<i64>, i64) = (row.get(2)?, row.get(3)?);
        if matches!(&*state, "signed" | "sent" | "confirmed") && fee.is_none() {
            check.find(format!("payment {id} is {state} without its transaction"));
        }
        if outputs == 0 {
            check.find(format!("payment {id} pays nobody"));
        }
        if fee.is_some_and(|fee| fee < 0) {
            check.find(format!("payment {id} has a fee below zero"));
        }
    }
    // Credits of a block that was lost since may have been paid before.
    let rows = check.sql.query(
        "SELECT name, paid, ever FROM
           (SELECT name, paid,
              (SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM settlement_credits AS c
                 JOIN settlements AS s ON s.id = c.settlement
                WHERE c.account = b.account
                  AND (s.state IN ('settled', 'reversed') OR s.is_frozen = 1)) AS ever
              FROM balances AS b WHERE paid > 0) AS sums
          WHERE paid > ever ORDER BY name",
        &[],
    )?;
    for row in rows {
        let (name, paid, ever): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        check.find(format!(
            "account {name:?} was paid {} HNS of {} HNS that it was ever credited",
            Hns(paid.into()),
            Hns(ever.into())
        ));
    }
    Ok(())
}
