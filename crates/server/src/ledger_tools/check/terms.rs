//! Checks of the pool's terms, of settlements against them, and of thresholds that accounts have of their own.

use std::collections::BTreeMap;

use hstratum_core::accounting::reward_split::{FeePpm, Hns};
use hstratum_core::accounting::terms::{PayoutTerms, Scheme};
use hstratum_core::plural::counted;

use super::Check;
use crate::payout::TermsHistory;
use crate::sql::SqlError;

/// The first row of terms begins at height 0, no later one below one before it, and each can be applied. The
/// names of schemes and the bounds of the fee are constraints of the table.
pub(super) fn terms_are_a_history(check: &mut Check<'_>) -> anyhow::Result<()> {
    let rows = check.sql.query(
        "SELECT id, from_height, scheme, \"window\", threshold, threshold_min FROM terms ORDER BY id",
        &[],
    )?;
    let mut before: Option<i64> = None;
    for row in rows {
        let (id, from): (i64, i64) = (row.get(0)?, row.get(1)?);
        match before.replace(from) {
            None if from != 0 => check.find(format!(
                "terms {id}, the first, hold from height {from} on and not from 0: nothing can be divided"
            )),
            Some(before) if from < before => check.find(format!(
                "terms {id} hold from height {from} on, and those set before them from {before} on"
            )),
            _ => {}
        }
        let (scheme, window): (String, String) = (row.get(2)?, row.get(3)?);
        if Scheme::from_stored(&scheme, &window).is_none_or(|known| known.window() != window) {
            check.find(format!(
                "terms {id} are malformed: scheme {scheme}, window {window:?}"
            ));
        }
        let (threshold, least): (i64, i64) = (row.get(4)?, row.get(5)?);
        if !(0..=threshold).contains(&least) {
            let (threshold, least) = (Hns(threshold.into()), Hns(least.into()));
            check.find(format!(
                "terms {id} have the threshold {threshold} HNS and the threshold-min {least} HNS"
            ));
        }
    }
    Ok(())
}

/// The ledger's terms; `None` if it has none, or [`terms_are_a_history`] reports that they cannot be applied.
fn history(check: &mut Check<'_>) -> anyhow::Result<Option<TermsHistory>> {
    match TermsHistory::read(check.sql) {
        Ok(history) => Ok(history),
        Err(SqlError::Failed(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Settlements that differ in the same from the terms of their heights.
struct Differing {
    count: usize,
    /// Id and height of the first one.
    first: (i64, u32),
}

/// Observes settlements by other terms than those of their heights: flags of `payout send` change them.
pub(super) fn settlements_are_by_the_terms(check: &mut Check<'_>) -> anyhow::Result<()> {
    let Some(history) = history(check)? else {
        return Ok(());
    };
    let rows = check.sql.query(
        "SELECT s.id, b.height, s.scheme, s.\"window\", s.fee_ppm
           FROM settlements AS s JOIN blocks AS b ON b.hash = s.block
          WHERE s.state = 'settled' AND s.scheme <> 'elsewhere' ORDER BY s.id",
        &[],
    )?;
    let mut differing: BTreeMap<String, Differing> = BTreeMap::new();
    for row in rows {
        let (id, height): (i64, u32) = (row.get(0)?, row.get(1)?);
        let (scheme, window): (String, String) = (row.get(2)?, row.get(3)?);
        let ppm: i64 = row.get(4)?;
        let fee = u32::try_from(ppm).ok().and_then(FeePpm::new);
        let terms = history.at(height);
        let Some((scheme, fee)) = Scheme::from_stored(&scheme, &window).zip(fee) else {
            check.find(format!(
                "settlement {id} has the scheme {scheme:?}, the window {window:?} and a fee of {ppm} \
                 millionths, which no terms have"
            ));
            continue;
        };
        let divided_by = PayoutTerms {
            scheme,
            fee,
            ..*terms
        };
        let differences = divided_by.differences(terms, "");
        if !differences.is_empty() {
            let first = (id, height);
            let kind = differing.entry(differences.join(", "));
            kind.or_insert(Differing { count: 0, first }).count += 1;
        }
    }
    for (differences, Differing { count, first }) in differing {
        let ((id, height), those) = (first, counted(count, "settlement"));
        check.observe(format!(
            "{those} by other terms than those of the height, the first is {id} of height {height}: \
             {differences}"
        ));
    }
    Ok(())
}

/// An account's own threshold is an amount. Observes those below the least of the newest terms, which counts
/// instead.
pub(super) fn thresholds_are_allowed(check: &mut Check<'_>) -> anyhow::Result<()> {
    let newest = history(check)?.map(|history| *history.newest());
    let rows = check.sql.query(
        "SELECT name, threshold FROM accounts WHERE threshold IS NOT NULL ORDER BY id",
        &[],
    )?;
    let (mut low, mut first) = (0, None);
    for row in rows {
        let (name, own): (String, i64) = (row.get(0)?, row.get(1)?);
        let Ok(threshold) = u64::try_from(own) else {
            let own = Hns(own.into());
            check.find(format!("account {name:?} has the threshold {own} HNS"));
            continue;
        };
        if newest.is_some_and(|newest| newest.check_threshold(threshold).is_err()) {
            low += 1;
            first = first.or(Some((name, threshold)));
        }
    }
    if let Some(((name, own), newest)) = first.zip(newest) {
        let least = Hns(newest.threshold_min.into());
        check.observe(format!(
            "{} below the pool's threshold-min, which counts instead: {name:?} has {} HNS, and \
             threshold-min is {least} HNS",
            counted(low, "threshold"),
            Hns(own.into())
        ));
    }
    Ok(())
}
