//! Counts what becomes of every share, and writes it into the journal.

use std::time::Instant;

use serde_json::{Value, json};

use crate::account_sums::{AccountShares, CreditedWork, Kinds};
use crate::crowd::CrowdEvent;
use crate::journal::Journal;
use crate::miner::{ReplyOrder, SubmitAnswer, SwarmMiner, SwarmShare};
use crate::report::Latencies;

/// The account of all shares.
pub(crate) struct ShareTally {
    /// Names and sums.
    pub(crate) accounts: Vec<(String, AccountShares)>,
    /// Accounts that lost a connection since the journal was told of them.
    changed: Vec<bool>,
    /// Answers to blocks that the journal has not been told of.
    answers: Vec<Value>,
    submitted: u64,
    acknowledged: u64,
    refused: u64,
    unanswered: u64,
    /// Replies that came before one that was due earlier.
    pub(crate) out_of_order: u64,
    pub(crate) latencies: Latencies,
    /// The server's answers to refused shares.
    pub(crate) refusals: Kinds,
}

impl ShareTally {
    pub(crate) fn new(names: Vec<String>) -> Self {
        let accounts = names
            .into_iter()
            .map(|name| (name, AccountShares::default()));
        let accounts: Vec<_> = accounts.collect();
        Self {
            changed: vec![false; accounts.len()],
            accounts,
            answers: Vec::new(),
            submitted: 0,
            acknowledged: 0,
            refused: 0,
            unanswered: 0,
            out_of_order: 0,
            latencies: Latencies::new(),
            refusals: Kinds::default(),
        }
    }

    /// A share has been sent.
    pub(crate) fn submit(&mut self, account: usize) {
        self.submitted += 1;
        self.accounts[account].1.submitted += 1;
    }

    pub(crate) fn submitted(&self) -> u64 {
        self.submitted
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Shares that may still be answered.
    pub(crate) fn outstanding(&self) -> u64 {
        self.submitted - self.acknowledged - self.refused - self.unanswered
    }

    /// Counts what the crowd tells.
    pub(crate) fn take(&mut self, account: usize, told: CrowdEvent) {
        match told {
            CrowdEvent::Answered(answer) => self.answer(account, answer),
            CrowdEvent::Unanswered(sent) => self.give_up(account, &sent),
            CrowdEvent::Lost => self.changed[account] = true,
        }
    }

    /// A share will not be answered any more.
    pub(crate) fn give_up(&mut self, account: usize, sent: &SwarmShare) {
        self.unanswered += 1;
        self.accounts[account].1.unanswered.add(sent.difficulty);
    }

    fn answer(&mut self, account: usize, answer: SubmitAnswer) {
        let sums = &mut self.accounts[account].1;
        let sent = answer.sent;
        self.latencies
            .add(Instant::now().saturating_duration_since(sent.at));
        self.out_of_order += u64::from(answer.order == ReplyOrder::Astray);
        if let Some(hash) = sent.block {
            let refused = answer.verdict.as_ref().err().map(ToString::to_string);
            self.answers
                .push(json!({"hash": hash.to_string(), "refused": refused}));
        }
        match answer.verdict {
            Ok(()) => {
                self.acknowledged += 1;
                sums.acknowledged.add(sent.difficulty);
            }
            Err(refusal) => {
                self.refused += 1;
                sums.refuse(&refusal);
                self.refusals.add(refusal.to_string());
            }
        }
    }

    /// Tells the journal what the server said to blocks.
    pub(crate) fn write_answers(&mut self, journal: &mut Journal) -> anyhow::Result<()> {
        if self.answers.is_empty() {
            return Ok(());
        }
        journal.write("answer", self.answers.drain(..))
    }

    /// Tells the journal of accounts that lost a connection.
    pub(crate) fn write_changed(
        &mut self,
        miners: &[SwarmMiner],
        journal: &mut Journal,
    ) -> anyhow::Result<()> {
        if !self.changed.contains(&true) || !journal.is_kept() {
            return Ok(());
        }
        let mut outstanding = vec![CreditedWork::default(); self.accounts.len()];
        for miner in miners {
            for sent in miner.unanswered() {
                outstanding[miner.account].add(sent.difficulty);
            }
        }
        let changed = (0..self.accounts.len()).filter(|&account| self.changed[account]);
        let lines = changed.map(|account| self.line(account, &outstanding[account]));
        journal.write("account", lines)?;
        self.changed.fill(false);
        Ok(())
    }

    /// Tells the journal of all accounts, at the end.
    pub(crate) fn write_all(&self, journal: &mut Journal) -> anyhow::Result<()> {
        let lines =
            (0..self.accounts.len()).map(|account| self.line(account, &CreditedWork::default()));
        journal.write("account", lines)
    }

    fn line(&self, account: usize, outstanding: &CreditedWork) -> Value {
        let (name, sums) = &self.accounts[account];
        let mut line = sums.to_json();
        line["account"] = json!(name);
        line["outstanding"] = outstanding.to_json();
        line
    }

    /// All accounts together.
    pub(crate) fn progress(&self) -> Value {
        json!({
            "submitted": self.submitted,
            "acknowledged": self.acknowledged,
            "refused": self.refusals.to_json(),
            "unanswered": self.unanswered,
            "outstanding": self.outstanding(),
        })
    }
}
