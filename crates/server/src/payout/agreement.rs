//! Agreement of the servers that share a ledger about the pool's terms.
//!
//! Each publishes its own in its report. New terms are written once all live servers publish the same, and
//! nobody pays while a live server publishes others than the ledger has: one of the two is a mistake.

use anyhow::bail;
use hstratum_core::accounting::terms::PayoutTerms;
use serde::{Deserialize, Serialize};

use super::terms::{TermsChange, TermsHistory, put_terms};
use crate::limits::ALIVE_MS;
use crate::sql::{Db, NOW_MS, Sql, SqlError};
use crate::values;

/// Terms as a server publishes them. A report of an earlier version has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PublishedTerms {
    /// Scheme and window.
    pub scheme: String,
    /// In percent.
    pub fee: String,
    /// In HNS.
    pub threshold: String,
    /// In HNS.
    pub threshold_min: String,
}

impl PublishedTerms {
    /// Names and values, as they are compared.
    fn parts(&self) -> [(&'static str, &str); 4] {
        [
            ("scheme", &self.scheme),
            ("fee", &self.fee),
            ("threshold", &self.threshold),
            ("threshold-min", &self.threshold_min),
        ]
    }
}

impl From<&PayoutTerms> for PublishedTerms {
    fn from(terms: &PayoutTerms) -> Self {
        let [scheme, fee, threshold, threshold_min] = terms.parts().map(|(_, value)| value);
        Self {
            scheme,
            fee,
            threshold,
            threshold_min,
        }
    }
}

/// The part of a server's report that is read here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Report {
    settings: Settings,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    terms: Option<PublishedTerms>,
}

/// Names of the live servers, each with the terms that it publishes.
fn published(sql: &mut dyn Sql) -> Result<Vec<(String, Option<PublishedTerms>)>, SqlError> {
    let rows = sql.query(
        &format!(
            "SELECT label, report FROM origins
              WHERE seen_at_ms > {NOW_MS} - CAST(?1 AS BIGINT) AND successor IS NULL
              ORDER BY label, id"
        ),
        &values![ALIVE_MS],
    )?;
    let servers = rows.iter().map(|row| {
        let report: String = row.get(1)?;
        // Another version's report may be of another shape.
        let report: Report = serde_json::from_str(&report).unwrap_or_default();
        Ok((row.get(0)?, report.settings.terms))
    });
    servers.collect()
}

/// Writes terms of this server into a shared ledger if they differ from the newest there and all live servers
/// publish the same.
///
/// # Errors
/// See [`SqlError`].
pub(crate) fn put_agreed_terms(
    sql: &mut dyn Sql,
    terms: &PayoutTerms,
    unix_s: u64,
    set_by: &str,
) -> Result<Option<TermsChange>, SqlError> {
    let own = Some(PublishedTerms::from(terms));
    if published(sql)?.iter().any(|(_, theirs)| *theirs != own) {
        return Ok(None);
    }
    put_terms(sql, terms, unix_s, set_by)
}

/// Checks that all live servers of a shared ledger publish the terms that it has.
///
/// # Errors
/// Names the servers that differ, and in what.
pub fn check_agreement(db: &mut Db) -> anyhow::Result<()> {
    match db {
        Db::Sqlite(_) => Ok(()),
        Db::Postgres(_) => db.read(check_agreement_of),
    }
}

/// [`check_agreement`] of a shared ledger, in a reading that has begun.
pub(crate) fn check_agreement_of(sql: &mut dyn Sql) -> anyhow::Result<()> {
    let (history, servers) = (TermsHistory::read(sql)?, published(sql)?);
    if servers.is_empty() {
        return Ok(());
    }
    let Some(history) = history else {
        bail!("the ledger has no terms yet: its servers write them once they all have the same");
    };
    let pools = PublishedTerms::from(history.newest());
    let differing: Vec<String> = servers
        .iter()
        .filter_map(|(name, theirs)| Some(format!("{name:?} has {}", differs(theirs, &pools)?)))
        .collect();
    if !differing.is_empty() {
        bail!(
            "servers differ from the pool's terms: {}; nobody is paid before they agree",
            differing.join("; ")
        );
    }
    Ok(())
}

/// In what a server differs from the pool's terms; `None` if it does not.
fn differs(theirs: &Option<PublishedTerms>, pools: &PublishedTerms) -> Option<String> {
    let Some(theirs) = theirs else {
        return Some("no terms: it is of an earlier version".to_owned());
    };
    let (theirs, pools) = (theirs.parts(), pools.parts());
    let pairs = theirs
        .iter()
        .zip(&pools)
        .filter(|(own, pools)| own != pools);
    let texts: Vec<String> = pairs
        .map(|((name, own), (_, pools))| format!("{name} {own} instead of {pools}"))
        .collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}
