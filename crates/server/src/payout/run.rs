//! A payout from its beginning to its end: what is under way is brought forward, blocks are settled, and accounts
//! that are due are paid.
//!
//! It may be ended at any point and run again: each part continues where it was. The caller holds the payout
//! lock, so that two runs of a ledger never meet.

use anyhow::Context;

use super::agreement::check_agreement;
use super::awaited_servers::AwaitedServers;
use super::lock::PayoutLock;
use super::node_knowledge::check_blocks;
use super::payee::payees;
use super::plan::{PayoutPlan, plan};
use super::record::{LastRun, check_not_paused, record_run};
use super::send::Sender;
use super::settle::{Settled, incomplete, settle};
use super::step::PayoutStep;
use super::terms::TermsHistory;
use crate::sql::Db;

/// A payout of a ledger.
pub struct PayoutRun<'a> {
    /// Node, wallet and limits.
    pub sender: Sender<'a>,
    /// The terms to divide and to pay under.
    pub terms: &'a TermsHistory,
    /// The servers whose credit it waits for.
    pub awaited_servers: &'a AwaitedServers,
    /// Name of the server that runs it, or `hstratum payout`, for the ledger's record.
    pub by: &'a str,
}

/// The results of a run, also of one that failed.
#[derive(Debug, Default)]
pub struct RunTotals {
    /// Blocks that were settled or reversed.
    pub settled: Vec<Settled>,
    /// Blocks that can never be divided exactly: height and hash.
    pub incomplete: Vec<(u32, String)>,
    /// What became of payments.
    pub steps: Vec<PayoutStep>,
}

impl PayoutRun<'_> {
    /// Settles and pays, and records the end in the ledger. What was done before an error is in `done`.
    ///
    /// # Errors
    /// The obstacle. Nothing is lost then, and the next run goes on.
    pub fn send(
        &self,
        db: &mut Db,
        lock: &mut PayoutLock,
        done: &mut RunTotals,
    ) -> anyhow::Result<()> {
        check_not_paused(db)?;
        let outcome = self.settle_and_pay(db, lock, done);
        let run = LastRun {
            at: self.sender.now,
            by: self.by.to_owned(),
            failure: outcome.as_ref().err().map(|error| format!("{error:#}")),
        };
        let recorded = db.write(|sql| record_run(sql, &run));
        outcome.and(recorded.context("failed to record the end of the payout"))
    }

    fn settle_and_pay(
        &self,
        db: &mut Db,
        lock: &mut PayoutLock,
        done: &mut RunTotals,
    ) -> anyhow::Result<()> {
        let (sender, awaited_servers) = (&self.sender, self.awaited_servers);
        self.check(db)?;
        let advanced = sender.advance(db, &mut done.steps);
        if advanced.is_err() {
            // A payment that is held up holds up no settlement, if the node is still worth asking.
            self.check(db)?;
        }
        lock.check()?;
        done.settled = settle(db, sender.network, self.terms, awaited_servers, sender.now)?;
        done.incomplete = incomplete(db, awaited_servers)?;
        if advanced? {
            let due = payees(
                db,
                sender.network,
                self.terms.newest(),
                self.awaited_servers,
            )?;
            lock.check()?;
            check_not_paused(db)?;
            sender.pay(db, due, &mut done.steps)?;
        }
        Ok(())
    }

    /// What [`PayoutRun::send`] would do: the first step of a payment under way, and the plan. Changes
    /// nothing.
    ///
    /// # Errors
    /// The obstacle that it would meet.
    pub fn foretell(&self, db: &mut Db) -> anyhow::Result<(Option<PayoutStep>, PayoutPlan)> {
        check_not_paused(db)?;
        self.check(db)?;
        let first = self.sender.foretell(db)?;
        let plan = plan(db, self.sender.network, self.terms, self.awaited_servers)?;
        Ok((first, plan))
    }

    /// Checks node, wallet, servers and blocks.
    fn check(&self, db: &mut Db) -> anyhow::Result<()> {
        self.sender.check(db)?;
        check_agreement(db)?;
        check_blocks(db, self.sender.node, self.awaited_servers)
    }
}
