//! State machine of the ledger: decides what is committed together, what a commit's result means, what is
//! retried, and what other threads are told.
//!
//! A batch is frozen when it is first offered, since a commit that failed may have taken effect all the same.
//! While another process writes (a stall), it waits. If the disk refuses for two seconds, the batch's shares
//! are given up, and nothing else: blocks, verdicts and statistics stay. It has no clock, thread, channel or
//! file.

use std::collections::{BTreeMap, HashMap, HashSet};

use hstratum_core::accounting::ledger::{Credit, Knowledge, Tallied, Tally, Verdict};
use hstratum_core::chain::block::FoundBlock;
use hstratum_core::event::Level;
use hstratum_core::units::{Hash, Height, Now};

use super::ledger::{
    Advanced, Batch, BatchMark, Cause, Compacted, Ledger, LedgerError, OriginFork, Seal,
    SetAccountCommand, TallyKey,
};
pub use super::store_outcome::StoreOutcome;
use crate::limits::{
    COMPACT_EVERY_MS, COMPACT_PAUSE_MS, DISK_RETRY_MS, LEDGER_PATIENCE_MS, LEDGER_RETRY_MS,
    LEDGER_STALL_MS, LOCATE_MS, SEAL_EVERY_MS, TALLIES_PER_COMMIT, TALLIES_WAITING_MAX,
};
use crate::node::{BlockQuery, Look};
use crate::repeated_log::LogOnce;

/// Span of the newest statistics, in seconds.
pub(super) const SPAN_S: u64 = 600;

/// Messages to the ledger's thread, processed in the order of sending.
pub enum StoreCommand {
    /// Shares to make durable.
    Credits(Vec<Credit>),
    /// Statistics of what miners submitted.
    Tally(Vec<Tallied>),
    /// A block was offered to the node.
    BlockFound(Box<FoundBlock>),
    /// The node has answered; the spool may drop the block once this is durable.
    BlockAnswered(Hash, Verdict),
    /// The chain has a new tip of this height.
    Chain(Height),
    /// The node's view of the chain, and where it saw the blocks asked about.
    Located(Look),
    /// A block's dump is on the disk; its round's effort.
    Dumped(Hash, f64),
    /// Store an account's payout address.
    SetAccount(SetAccountCommand),
    /// Ask the node about these blocks of the shared ledger too.
    Watch(Vec<BlockQuery>),
    /// The shared ledger has this batch and all before it.
    Shipped(BatchMark),
    /// Begin a new origin: the shared ledger has other batches under the present one than this file.
    ForkOrigin(OriginFork),
    /// The driver has stopped: commit everything that is held back.
    Stop,
}

/// Time of the next call of [`GroupCommit::work`], if no message comes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextWork {
    /// At once.
    Now,
    /// At this time, in milliseconds.
    At(u64),
}

/// State of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DiskState {
    Fine,
    /// Another process has been writing since `since_ms`; `logged` once the log says so.
    Stalled {
        since_ms: u64,
        logged: bool,
    },
    /// It has refused since `since_ms`; shares still wait.
    Refusing {
        since_ms: u64,
    },
    /// It refuses, and so shares are refused.
    Failing,
}

/// A question to the node that is not answered yet.
struct NodeQuestion {
    asked_ms: u64,
    /// Blocks asked about, except those of which a verdict came since.
    hashes: HashSet<Hash>,
    /// Blocks of the shared ledger, which may be the same.
    watch: HashMap<Hash, Height>,
}

/// The ledger's decisions, driven by messages and calls of [`GroupCommit::work`].
pub struct GroupCommit {
    /// Batch being collected.
    next: Batch,
    tallies: BTreeMap<TallyKey, Tally>,
    /// Batch offered to the ledger and not yet known to be durable.
    current: Option<Batch>,
    disk: DiskState,
    retry_at_ms: u64,
    tip: Option<Height>,
    /// The chain has changed since the last question.
    is_question_due: bool,
    question: Option<NodeQuestion>,
    /// Blocks of the shared ledger for the next question.
    watch: Vec<BlockQuery>,
    /// The node's last look, including the blocks of the shared ledger.
    seen: Option<Look>,
    /// Comparison of the node's chain work with the highest tip, as last found.
    knowledge: Knowledge,
    /// Blocks offered in this run that stay in the spool until their verdict is durable.
    unanswered: HashSet<Hash>,
    compact_at_ms: u64,
    compaction_log: LogOnce,
    /// `None` without a shared ledger.
    sealing: Option<Sealing>,
    is_stopping: bool,
}

/// Sealing of batches for the shared ledger.
struct Sealing {
    at_ms: u64,
    /// Something may be pending.
    is_owed: bool,
    /// The tip of the last seal.
    tip: Option<Height>,
}

impl GroupCommit {
    /// One that knows nothing of the chain yet.
    pub fn new(now: Now) -> Self {
        Self {
            next: Batch::default(),
            tallies: BTreeMap::new(),
            current: None,
            disk: DiskState::Fine,
            retry_at_ms: now.ms,
            tip: None,
            is_question_due: false,
            question: None,
            watch: Vec::new(),
            seen: None,
            knowledge: Knowledge::Enough,
            unanswered: HashSet::new(),
            compact_at_ms: now.ms + COMPACT_EVERY_MS,
            compaction_log: LogOnce::default(),
            sealing: None,
            is_stopping: false,
        }
    }

    /// Turns on sealing for a shared ledger: what is pending is sealed at intervals, with each tip, and at
    /// the stop.
    #[must_use]
    pub fn sharing(mut self, now: Now) -> Self {
        self.sealing = Some(Sealing {
            at_ms: now.ms,
            is_owed: false,
            tip: None,
        });
        self
    }

    /// Processes a message.
    pub fn take(&mut self, command: StoreCommand, now: Now) {
        match command {
            StoreCommand::Credits(credits) => {
                for credit in credits {
                    self.next.shares.add(credit);
                }
            }
            StoreCommand::Tally(tallied) => self.take_tallies(tallied, now),
            StoreCommand::BlockFound(block) => {
                self.unanswered.insert(block.hash);
                self.next.found.push(*block);
            }
            StoreCommand::BlockAnswered(hash, verdict) => {
                if let Some(question) = &mut self.question {
                    // The node may have looked before it gave this verdict, so the look says nothing of this
                    // block.
                    question.hashes.remove(&hash);
                }
                // A verdict closes no round, so a look has to follow.
                self.is_question_due = true;
                self.next.verdicts.push((hash, verdict));
            }
            StoreCommand::Chain(height) => {
                self.tip = Some(height);
                self.is_question_due = true;
            }
            StoreCommand::Located(mut look) => {
                let Some(question) = self.question.take() else {
                    return;
                };
                if self.sealing.is_some() {
                    let mut seen = look.clone();
                    let watch = &question.watch;
                    seen.places.retain(|(hash, _)| watch.contains_key(hash));
                    self.seen = Some(seen);
                }
                let hashes = &question.hashes;
                look.places.retain(|(hash, _)| hashes.contains(hash));
                self.next.looks.push(look);
            }
            StoreCommand::Dumped(hash, effort) => self.next.dumped.push((hash, effort)),
            StoreCommand::SetAccount(command) => self.next.accounts.push(command),
            StoreCommand::Watch(hashes) => {
                self.watch = hashes;
                self.is_question_due = true;
            }
            StoreCommand::Shipped(mark) => {
                self.next.shipped.push(mark);
                if let Some(sealing) = &mut self.sealing {
                    // There may have been no room in the outbox before.
                    sealing.is_owed = true;
                }
            }
            StoreCommand::ForkOrigin(fork) => self.next.fork = Some(fork),
            StoreCommand::Stop => self.is_stopping = true,
        }
    }

    fn take_tallies(&mut self, tallied: Vec<Tallied>, now: Now) {
        let start = now.unix_s - now.unix_s % SPAN_S;
        for Tallied {
            account,
            worker,
            tally,
        } in tallied
        {
            let is_full = self.tallies.len() >= TALLIES_WAITING_MAX;
            let key = (start, account, worker);
            if let Some(sum) = self.tallies.get_mut(&key) {
                sum.add(&tally);
            } else if !is_full {
                self.tallies.insert(key, tally);
            }
        }
    }

    /// True if everything received is durable or given up.
    pub fn is_done(&self) -> bool {
        self.current.is_none()
            && self.next.is_empty()
            && self.tallies.is_empty()
            && self.sealing.as_ref().is_none_or(|sealing| !sealing.is_owed)
    }

    /// Number of shares and blocks that are not durable yet.
    pub fn left(&self) -> (u64, usize) {
        let batches = || self.current.iter().chain([&self.next]);
        let shares = batches().map(|batch| batch.shares.len());
        let blocks = batches().map(|batch| batch.found.len() + batch.verdicts.len());
        (shares.sum(), blocks.sum())
    }

    /// Does the next step: at most one transaction for shares and blocks.
    pub fn work(
        &mut self,
        ledger: &mut impl Ledger,
        now: Now,
        out: &mut Vec<StoreOutcome>,
    ) -> NextWork {
        if let Some(look) = self.seen.take() {
            out.push(StoreOutcome::Seen(look));
        }
        if self.disk == DiskState::Failing {
            self.give_up(out);
        }
        if now.ms < self.retry_at_ms {
            return NextWork::At(self.retry_at_ms);
        }
        if self.disk == DiskState::Failing
            && let Err(error) = ledger.probe()
        {
            return self.failed(error, now, out);
        }
        self.gather(now);
        // The batch stays until it is known to be durable, also if the ledger's code panics.
        if let Some(batch) = &self.current {
            match ledger.commit(batch) {
                Ok(advanced) => self.committed(&advanced, out),
                Err(error) => return self.failed(error, now, out),
            }
        }
        self.fine_again(now, out);
        self.ask(ledger, now, out);
        self.then(ledger, now, out)
    }

    /// Handles a panic in the ledger's code, which is a bug, like a disk that refuses.
    pub fn broken(&mut self, now: Now, out: &mut Vec<StoreOutcome>) -> NextWork {
        let reason = "a bug in the ledger's code, please report it".to_owned();
        self.failed(LedgerError::Failed(reason), now, out)
    }

    /// Freezes the collected batch, unless an earlier one is still under way.
    fn gather(&mut self, now: Now) {
        if self.current.is_some() {
            return;
        }
        let mut batch = std::mem::take(&mut self.next);
        batch.unix_s = now.unix_s;
        while batch.tallies.len() < TALLIES_PER_COMMIT
            && let Some(tally) = self.tallies.pop_first()
        {
            batch.tallies.push(tally);
        }
        batch.seal = self.seal(&batch, now);
        if !batch.is_empty() {
            self.current = Some(batch);
        }
    }

    /// Decides whether what is pending, including the batch about to be committed, is sealed.
    fn seal(&mut self, batch: &Batch, now: Now) -> Option<Seal> {
        let sealing = self.sealing.as_mut()?;
        sealing.is_owed |= !batch.shares.is_empty() || !batch.tallies.is_empty();
        let is_due = sealing.is_owed && (now.ms >= sealing.at_ms || self.is_stopping);
        if !is_due && self.tip == sealing.tip {
            return None;
        }
        *sealing = Sealing {
            at_ms: now.ms + SEAL_EVERY_MS,
            is_owed: false,
            tip: self.tip,
        };
        Some(Seal { tip: self.tip })
    }

    fn committed(&mut self, advanced: &Advanced, out: &mut Vec<StoreOutcome>) {
        let batch = self.current.take().unwrap_or_default();
        if let Some((_, last)) = batch.shares.range {
            out.push(StoreOutcome::Durable(last));
        }
        // A node that did not know a block's parent has reached no verdict, and may have the parent by now.
        let said = batch.verdicts.iter();
        let said = said.filter(|(_, verdict)| !matches!(verdict, Verdict::Unknown(_)));
        for hash in said.map(|(hash, _)| hash).chain(&advanced.answered) {
            if self.unanswered.remove(hash) {
                out.push(StoreOutcome::Answered(*hash));
            }
        }
        for command in batch.accounts {
            out.push(StoreOutcome::AccountKept(command.answer, Ok(())));
        }
        if !batch.verdicts.is_empty() || !batch.looks.is_empty() {
            out.push(StoreOutcome::DumpOwed);
        }
        if let Some((look, knowledge)) = batch.looks.last().zip(advanced.knowledge) {
            out.push(StoreOutcome::Weighed(look.view, knowledge));
            let before = std::mem::replace(&mut self.knowledge, knowledge);
            if std::mem::discriminant(&before) != std::mem::discriminant(&knowledge) {
                out.push(StoreOutcome::Knows(knowledge));
            }
        }
        for change in &advanced.changes {
            if change.cause == Cause::Chain {
                out.push(StoreOutcome::Moved(change.clone()));
            }
        }
    }

    fn fine_again(&mut self, now: Now, out: &mut Vec<StoreOutcome>) {
        match std::mem::replace(&mut self.disk, DiskState::Fine) {
            DiskState::Fine | DiskState::Refusing { .. } => {}
            DiskState::Stalled { since_ms, logged } => {
                if logged {
                    let seconds = (now.ms - since_ms) / 1000;
                    out.push(StoreOutcome::Free(seconds));
                }
            }
            DiskState::Failing => {
                out.push(StoreOutcome::RecoveredState);
                let text = "the ledger can be written again: shares are taken".to_owned();
                out.push(StoreOutcome::Log(Level::Info, text));
            }
        }
    }

    fn failed(&mut self, error: LedgerError, now: Now, out: &mut Vec<StoreOutcome>) -> NextWork {
        match (error, &mut self.disk) {
            (LedgerError::Busy, DiskState::Failing | DiskState::Refusing { .. }) => {}
            (LedgerError::Busy, DiskState::Stalled { since_ms, logged }) => {
                if !*logged && now.ms - *since_ms >= LEDGER_STALL_MS {
                    *logged = true;
                    out.push(StoreOutcome::Stalled);
                }
            }
            (LedgerError::Busy, DiskState::Fine) => {
                self.disk = DiskState::Stalled {
                    since_ms: now.ms,
                    logged: false,
                };
            }
            (_, DiskState::Failing) => {
                self.retry_at_ms = now.ms + DISK_RETRY_MS;
                return NextWork::At(self.retry_at_ms);
            }
            (error, DiskState::Refusing { since_ms }) => {
                if now.ms - *since_ms >= LEDGER_PATIENCE_MS {
                    self.start_failing(&error, out);
                    self.retry_at_ms = now.ms + DISK_RETRY_MS;
                    return NextWork::At(self.retry_at_ms);
                }
            }
            (_, DiskState::Fine | DiskState::Stalled { .. }) => {
                self.fine_again(now, out);
                self.disk = DiskState::Refusing { since_ms: now.ms };
            }
        }
        self.retry_at_ms = match self.disk {
            // SQLite has waited already.
            DiskState::Stalled { .. } => now.ms,
            _ => now.ms + LEDGER_RETRY_MS,
        };
        NextWork::At(self.retry_at_ms)
    }

    fn start_failing(&mut self, error: &LedgerError, out: &mut Vec<StoreOutcome>) {
        self.disk = DiskState::Failing;
        let (reason, advice) = (error.to_string(), error.advice());
        let text = format!("the ledger cannot be written and shares are refused: {reason}{advice}");
        out.push(StoreOutcome::Log(Level::Error, text));
        out.push(StoreOutcome::Failing(reason));
        self.give_up(out);
    }

    /// Gives up shares and requests that someone waits for, and nothing else.
    fn give_up(&mut self, out: &mut Vec<StoreOutcome>) {
        let mut given_up = None;
        for batch in self.current.iter_mut().chain([&mut self.next]) {
            let shares = std::mem::take(&mut batch.shares);
            given_up = shares.range.map(|(_, last)| last).or(given_up);
            for command in batch.accounts.drain(..) {
                let error = anyhow::anyhow!("the ledger cannot be written");
                out.push(StoreOutcome::AccountKept(command.answer, Err(error)));
            }
        }
        if let Some(last) = given_up {
            out.push(StoreOutcome::NotDurable(last));
        }
        self.current.take_if(|batch| batch.is_empty());
    }

    /// Asks the node about the pool's blocks, when the chain has changed and no question is open.
    fn ask(&mut self, ledger: &mut impl Ledger, now: Now, out: &mut Vec<StoreOutcome>) {
        let is_late = |question: &mut NodeQuestion| now.ms >= question.asked_ms + LOCATE_MS;
        if let Some(lost) = self.question.take_if(is_late) {
            self.is_question_due = true;
            self.watch.extend(lost.watch);
        }
        if !self.is_question_due || self.question.is_some() || self.is_stopping {
            return;
        }
        // If they cannot be read now, the next tip triggers the question again.
        self.is_question_due = false;
        let tip = self.tip.unwrap_or(Height(0));
        let mut asked = ledger.watched(tip).unwrap_or_default();
        let own: HashSet<Hash> = asked.iter().map(|(hash, _)| *hash).collect();
        let watch: HashMap<Hash, Height> = self.watch.drain(..).collect();
        let others = watch.iter().filter(|(hash, _)| !own.contains(hash));
        asked.extend(others.map(|(hash, height)| (*hash, *height)));
        // The node is asked for its view of the chain even if there are no blocks.
        self.question = Some(NodeQuestion {
            asked_ms: now.ms,
            hashes: own,
            watch,
        });
        out.push(StoreOutcome::Locate(asked));
    }

    /// Time of the next step; runs a slice of compaction if there is nothing else to do.
    fn then(
        &mut self,
        ledger: &mut impl Ledger,
        now: Now,
        out: &mut Vec<StoreOutcome>,
    ) -> NextWork {
        if !self.next.is_empty() || !self.tallies.is_empty() {
            return NextWork::Now;
        }
        if now.ms >= self.compact_at_ms && !self.is_stopping {
            let pause_ms = match ledger.compact(self.tip, now.unix_s) {
                Ok(Compacted::More) => COMPACT_PAUSE_MS,
                Ok(Compacted::All) => {
                    self.compaction_log.end();
                    COMPACT_EVERY_MS
                }
                Err(LedgerError::Busy) => COMPACT_PAUSE_MS,
                Err(error) => {
                    let text = format!("failed to tidy the ledger: {error}");
                    if self.compaction_log.is_new(&text) {
                        out.push(StoreOutcome::Log(Level::Warning, text));
                    }
                    COMPACT_EVERY_MS
                }
            };
            self.compact_at_ms = now.ms + pause_ms;
        }
        let answer_at_ms = self.question.as_ref().map(|open| open.asked_ms + LOCATE_MS);
        let seal_at_ms = self.sealing.as_ref().map(|sealing| {
            // Marks of the shipper come without a message.
            sealing.at_ms.max(now.ms + 1).min(now.ms + SEAL_EVERY_MS)
        });
        let times = [Some(self.compact_at_ms), answer_at_ms, seal_at_ms];
        NextWork::At(
            times
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(self.compact_at_ms),
        )
    }
}
