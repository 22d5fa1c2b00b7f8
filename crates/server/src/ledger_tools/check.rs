//! Checks whether a ledger keeps its promises. It only reads; each finding is one line. An observation is no
//! broken promise: somebody may have wanted it.
//!
//! Each promise of docs/ledger.md is a function of [`PROMISES`]. Promises that SQLite keeps by itself (one
//! live settlement of a block, no negative amount) are covered by its own integrity check, which verifies
//! every constraint.

mod chain;
mod money;
mod rounds;
mod schema;
mod shipping;
mod terms;

use std::path::Path;

use anyhow::Context;

use crate::limits::FINDINGS_MAX;
use crate::payout::{Cuts, pruned_to};
use crate::sql::{Db, Sql};
use crate::values;

/// State of a check.
struct Check<'a> {
    sql: &'a mut dyn Sql,
    is_file: bool,
    /// Directory of the share dumps, if they are checked.
    shares: Option<&'a Path>,
    /// Height up to which credit was deleted after it was divided; below 0: none was.
    pruned_to: i64,
    /// Heights at which rounds end.
    cuts: Cuts,
    findings: LedgerFindings,
}

/// Result of a check, in lines; at most [`FINDINGS_MAX`] of each kind.
#[derive(Debug, Default)]
pub struct LedgerFindings {
    /// Broken promises.
    pub errors: Vec<String>,
    /// Facts that are unusual and allowed.
    pub observations: Vec<String>,
}

type Promise = fn(&mut Check<'_>) -> anyhow::Result<()>;

/// Checks without which nothing else can be read.
const FIRST: [(&str, Promise); 2] = [
    ("the schema", schema::schema_is_complete),
    ("the file", schema::file_is_whole),
];

/// All other checks, each with the name used when it cannot be made. A new promise gets a line here.
const PROMISES: [(&str, Promise); 20] = [
    ("the terms", terms::terms_are_a_history),
    ("the blocks", chain::judged_blocks_were_shown),
    ("the blocks", chain::rounds_have_what_they_divide),
    ("the merged credit", chain::rounds_are_cut_exactly),
    ("the settlements", money::settlements_add_up),
    ("the settled credit", money::settled_shares_are_there),
    ("the settlements", money::settlements_divide_by_work),
    ("the settlements", money::credit_is_divided_once),
    ("the settlements", terms::settlements_are_by_the_terms),
    ("the payments", money::payments_are_covered),
    ("the accounts", terms::thresholds_are_allowed),
    ("the blocks", rounds::heights_have_one_block),
    ("the rounds", rounds::rounds_are_closed),
    ("the rounds", rounds::solo_blocks_have_no_round),
    ("the rounds", rounds::rounds_do_not_overlap),
    ("the credit", rounds::unsettled_rounds_have_their_credit),
    ("the dumps", rounds::dumps_are_there),
    ("the outbox", shipping::batches_are_a_chain),
    ("the batches", shipping::shipped_batches_are_all_there),
    ("the credit", shipping::credit_has_its_server),
];

/// Checks everything, from one state of the ledger, and its share dumps if their directory is given.
///
/// # Errors
/// When the ledger or the directory cannot be read.
pub fn check(db: &mut Db, shares: Option<&Path>) -> anyhow::Result<LedgerFindings> {
    let is_file = matches!(db, Db::Sqlite(_));
    db.read(|sql| {
        let mut check = Check {
            sql,
            is_file,
            shares,
            pruned_to: -1,
            cuts: Cuts::default(),
            findings: LedgerFindings::default(),
        };
        check.run(&FIRST)?;
        if check.findings.errors.is_empty() {
            check.pruned_to = pruned_to(check.sql)?;
            check.cuts = Cuts::read(check.sql)?;
            check.run(&PROMISES)?;
        }
        Ok(check.findings)
    })
}

impl Check<'_> {
    fn run(&mut self, promises: &[(&str, Promise)]) -> anyhow::Result<()> {
        for (what, holds) in promises {
            holds(self).with_context(|| format!("failed to check {what}"))?;
        }
        Ok(())
    }

    fn find(&mut self, finding: String) {
        if self.findings.errors.len() < FINDINGS_MAX {
            self.findings.errors.push(finding);
        }
    }

    fn observe(&mut self, observation: String) {
        if self.findings.observations.len() < FINDINGS_MAX {
            self.findings.observations.push(observation);
        }
    }

    /// True if credit from this height on was deleted.
    fn is_pruned(&self, from: u32) -> bool {
        i64::from(from) <= self.pruned_to
    }

    fn is_paid_elsewhere(&mut self, block: &str) -> anyhow::Result<bool> {
        let settled = self.sql.query_opt(
            "SELECT 1 FROM settlements
              WHERE block = ?1 AND state = 'settled' AND scheme = 'elsewhere'",
            &values![block],
        )?;
        Ok(settled.is_some())
    }

    fn is_settled_and_pruned(&mut self, block: &str, from: u32) -> anyhow::Result<bool> {
        let settled = self.sql.query_opt(
            "SELECT 1 FROM settlements WHERE block = ?1 AND state = 'settled'",
            &values![block],
        )?;
        Ok(settled.is_some() && self.is_pruned(from))
    }
}
