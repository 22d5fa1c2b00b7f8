//! The threads that wait for the disk: the ledger's, which drives the real `GroupCommit`, the spool's and the
//! share dumps'; and the remains of their work after a crash.

use std::collections::VecDeque;

use hstratum::messages::{EvidenceSource, WorkerEvent};
use hstratum::store::group_commit::{GroupCommit, NextWork, StoreCommand, StoreOutcome};
use hstratum_core::event::LedgerState;
use hstratum_core::units::{Hash, Height, Now};

use crate::server::Offers;
use crate::world::disk::{CommitFate, SpooledBlock};
use crate::world::injected_bug::InjectedBug;
use crate::world::node::short;
use crate::world::plan::{between, happens};
use crate::world::{Doom, World, WorldEvent, note};

/// Wait before writing a file again that the disk has refused, in milliseconds.
const DISK_RETRY_MS: u64 = 2_000;
/// Longest duration of an orderly stop, in milliseconds.
const CLOSE_MS: u64 = 10_000;

/// The ledger's thread.
pub(crate) struct StoreThread {
    group_commit: GroupCommit,
    mail: VecDeque<StoreCommand>,
    /// True while a commit is in progress.
    is_busy: bool,
    /// Number of the latest wake-up; earlier ones are ignored.
    wake: u64,
}

/// Messages for the thread that writes found blocks.
pub(crate) enum SpoolTask {
    Put(Hash, SpooledBlock),
    Remove(Hash),
}

impl StoreThread {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            group_commit: GroupCommit::new(now),
            mail: VecDeque::new(),
            is_busy: false,
            wake: 0,
        }
    }

    /// Counts of shares and blocks that are not durable yet.
    pub(crate) fn left(&self) -> (u64, usize) {
        self.group_commit.left()
    }
}

impl World {
    /// Sends a message to the ledger's thread.
    pub(crate) fn post(&mut self, mail: StoreCommand) {
        let Some(process) = &mut self.process else {
            return;
        };
        process.store.mail.push_back(mail);
        if !process.store.is_busy {
            self.wake_store(0);
        }
    }

    fn wake_store(&mut self, delay_ms: u64) {
        let boot = self.boot;
        if let Some(process) = &mut self.process {
            process.store.wake += 1;
            let number = process.store.wake;
            self.after(delay_ms, WorldEvent::StoreWake(boot, number));
        }
    }

    /// Reads the messages, and starts a commit if there is something to commit.
    pub(crate) fn store_wake(&mut self, number: u64) {
        let now = self.now();
        let Some(process) = &mut self.process else {
            return;
        };
        let store = &mut process.store;
        if store.is_busy || number != store.wake {
            return;
        }
        while let Some(mail) = store.mail.pop_front() {
            store.group_commit.take(mail, now);
        }
        if store.group_commit.is_done() {
            // It may only probe whether the disk works again.
            self.disk.fate = if self.now_ms < self.disk.full_until_ms {
                CommitFate::Fails
            } else if self.now_ms < self.disk.busy_until_ms {
                CommitFate::Busy
            } else {
                CommitFate::Fine
            };
            return self.store_work();
        }
        store.is_busy = true;
        let delay_ms = self.draw_commit() + self.disk.hangs_ms(self.now_ms);
        self.after(delay_ms, WorldEvent::StoreDone(self.boot));
    }

    /// Draws the result of the next commit and its duration.
    fn draw_commit(&mut self) -> u64 {
        let (rng, faults) = (&mut self.rngs.disk, &self.faults);
        let usual_ms = between(rng, 1, 8);
        self.disk.fate = if self.now_ms < self.disk.full_until_ms {
            if self.disk.full_and_written && rng.bool() {
                CommitFate::FailsUntilCrash
            } else {
                CommitFate::Fails
            }
        } else if self.now_ms < self.disk.busy_until_ms {
            CommitFate::Busy
        } else if happens(rng, faults.failed_commit) {
            match rng.u8(..3) {
                0 => CommitFate::Fails,
                1 => CommitFate::SeemsToFail,
                _ => CommitFate::FailsUntilCrash,
            }
        } else {
            CommitFate::Fine
        };
        match self.disk.fate {
            CommitFate::Fine => {}
            CommitFate::Fails | CommitFate::SeemsToFail | CommitFate::FailsUntilCrash => {
                self.ledger_trouble_ms = Some(self.now_ms);
                self.inject("failed commit");
            }
            CommitFate::Busy => {
                self.inject("busy commit");
                return 100;
            }
        }
        if happens(&mut self.rngs.disk, self.faults.slow_commit) {
            self.inject("slow commit");
            return between(&mut self.rngs.disk, 100, 6_000);
        }
        usual_ms
    }

    pub(crate) fn store_done(&mut self) {
        if let Some(process) = &mut self.process {
            process.store.is_busy = false;
            self.store_work();
        }
    }

    fn store_work(&mut self) {
        let now = self.now();
        let Some(process) = &mut self.process else {
            return;
        };
        let mut out = Vec::new();
        let next = process
            .store
            .group_commit
            .work(&mut self.disk, now, &mut out);
        let has_mail = !process.store.mail.is_empty();
        for outcome in out {
            self.tell(outcome);
        }
        let delay_ms = match next {
            _ if has_mail => 0,
            NextWork::Now => 0,
            NextWork::At(at_ms) => at_ms.saturating_sub(self.now_ms).max(1),
        };
        self.wake_store(delay_ms);
    }

    fn tell(&mut self, outcome: StoreOutcome) {
        if let Some((level, text)) = outcome.line() {
            note!(self, "ledger    {level:?}: {text}");
        }
        match outcome {
            StoreOutcome::Durable(seq) => self.work_says(WorkerEvent::Durable(seq)),
            StoreOutcome::NotDurable(seq) => {
                note!(self, "ledger    gives up to {}", seq.0);
                if let Some(process) = &mut self.process {
                    process.gave_up = true;
                }
                self.ledger_trouble_ms = Some(self.now_ms);
                self.work_says(WorkerEvent::NotDurable(seq));
            }
            StoreOutcome::Failing(_) => {
                self.inject("ledger failing");
                self.work_says(WorkerEvent::Ledger(LedgerState::Failing));
            }
            StoreOutcome::RecoveredState => {
                self.ledger_trouble_ms = Some(self.now_ms);
                self.work_says(WorkerEvent::Ledger(LedgerState::Open));
            }
            StoreOutcome::Answered(hash) => {
                self.spool(SpoolTask::Remove(hash));
                self.work_says(WorkerEvent::BlockAnswered(hash));
            }
            StoreOutcome::DumpOwed => self.wake_dumps(),
            StoreOutcome::Locate(asked) => self.ask_where(asked),
            StoreOutcome::AccountKept(asker, kept) => {
                // A sender that has waited too long has dropped its end.
                let _ = asker.send(kept);
            }
            StoreOutcome::Log(level, text) => note!(self, "ledger    {level:?}: {text}"),
            StoreOutcome::Moved(change) => self.check_judged(&change),
            // An injected bug. `Seen`, below, is for a shared ledger, which this one is not.
            StoreOutcome::Weighed(..)
                if self.injected_bug == Some(InjectedBug::JobWithoutEvidence) => {}
            StoreOutcome::Weighed(view, knowledge) => {
                self.work_says(WorkerEvent::Evidence(EvidenceSource::File, view, knowledge));
            }
            StoreOutcome::Stalled
            | StoreOutcome::Free(_)
            | StoreOutcome::Knows(_)
            | StoreOutcome::Seen(_) => {}
        }
    }

    /// Queues work for the spool's thread.
    pub(crate) fn spool(&mut self, mail: SpoolTask) {
        let Some(process) = &mut self.process else {
            return;
        };
        process.spool.push_back(mail);
        if !std::mem::replace(&mut process.is_spool_busy, true) {
            let delay_ms = between(&mut self.rngs.disk, 1, 30);
            self.after(delay_ms, WorldEvent::Spool(self.boot));
        }
    }

    /// Does one piece of work; blocks that the disk refuses are kept for the next attempt.
    pub(crate) fn spool_step(&mut self) {
        let is_full = self.now_ms < self.disk.full_until_ms;
        let hangs_ms = self.disk.hangs_ms(self.now_ms);
        let Some(process) = &mut self.process else {
            return;
        };
        if hangs_ms > 0 {
            return self.after(hangs_ms, WorldEvent::Spool(self.boot));
        }
        match process.spool.pop_front() {
            Some(SpoolTask::Put(hash, block)) => process.spool_owed.push((hash, block)),
            Some(SpoolTask::Remove(hash)) => {
                process.spool_owed.retain(|(owed, _)| *owed != hash);
                if let Some(block) = self.disk.spool.remove(&hash) {
                    self.disk.removed = Some((hash, block));
                }
            }
            None => {}
        }
        let owed = std::mem::take(&mut process.spool_owed);
        let mut still_owed = Vec::new();
        for (hash, block) in owed {
            if is_full || happens(&mut self.rngs.disk, self.faults.failed_file) {
                self.inject("failed file");
                still_owed.push((hash, block));
                continue;
            }
            note!(self, "spool     has {}", short(&hash));
            self.disk.spool.insert(hash, block);
            let found = self.oracle.blocks.get_mut(&hash);
            found.expect("a block that was found").was_spooled = true;
        }
        let process = self.process.as_mut().expect("a process");
        process.spool_owed = still_owed;
        process.is_spool_busy = !process.spool.is_empty() || !process.spool_owed.is_empty();
        if process.is_spool_busy {
            let delay_ms = match process.spool.is_empty() {
                true => DISK_RETRY_MS,
                false => 5,
            };
            self.after(delay_ms, WorldEvent::Spool(self.boot));
        }
    }

    pub(crate) fn wake_dumps(&mut self) {
        if let Some(process) = &mut self.process
            && !std::mem::replace(&mut process.dumps_due, true)
        {
            let delay_ms = between(&mut self.rngs.disk, 1, 50);
            self.after(delay_ms, WorldEvent::Dumps(self.boot));
        }
    }

    /// Writes the missing share dumps, each once, and reports them to the ledger.
    pub(crate) fn write_dumps(&mut self) {
        let hangs_ms = self.disk.hangs_ms(self.now_ms);
        if hangs_ms > 0 {
            return self.after(hangs_ms, WorldEvent::Dumps(self.boot));
        }
        let is_full = self.now_ms < self.disk.full_until_ms;
        if let Some(process) = &mut self.process {
            process.dumps_due = false;
        }
        for (hash, height, total, effort) in self.disk.owed_dumps() {
            if is_full || happens(&mut self.rngs.disk, self.faults.failed_file) {
                self.inject("failed file");
                if let Some(process) = &mut self.process {
                    process.dumps_due = true;
                }
                continue;
            }
            // An existing file is not written again.
            let is_new = !self.disk.dumps.contains_key(&hash);
            if is_new {
                note!(self, "dump      {} {} of {total:e}", height.0, short(&hash));
                self.check_dump(hash, height, total);
                self.disk.dumps.insert(hash, total);
            }
            self.post(StoreCommand::Dumped(hash, effort));
        }
        if self
            .process
            .as_ref()
            .is_some_and(|process| process.dumps_due)
        {
            self.after(DISK_RETRY_MS, WorldEvent::Dumps(self.boot));
        }
    }

    /// Checks a share dump against the credit between the round's ends.
    fn check_dump(&self, hash: Hash, height: Height, total: f64) {
        let row = &self.disk.ledger_model.blocks[&hash];
        let from = row.round_from.expect("a round that was closed");
        let shares = self.disk.ledger_model.credit.iter();
        let shares = shares.filter(|((at, ..), _)| (from..=height).contains(at));
        let sum: f64 = shares
            .map(|((.., difficulty), count)| f64::from_bits(*difficulty) * *count as f64)
            .sum();
        assert!(
            (sum - total).abs() <= 1e-9 * sum.abs(),
            "the dump of {hash} says {total:e}, its round {} to {} has {sum:e}",
            from.0,
            height.0
        );
    }

    /// Ends the process after the driver's last turn: connections are closed, and the threads finish
    /// their work.
    pub(crate) fn finish(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        let Some(mut pool) = process.pool.take() else {
            return;
        };
        process.driver.end(&mut pool);
        self.carry_out(Offers::First);
        self.post(StoreCommand::Stop);
        let closes_ms = self.now_ms + CLOSE_MS;
        if let Some(process) = &mut self.process {
            process.closes_ms = Some(closes_ms);
        }
        self.after(1, WorldEvent::Gone(self.boot));
    }

    /// Ends the process when its threads are done or have taken too long.
    pub(crate) fn end_process(&mut self) {
        let Some(process) = &self.process else { return };
        let is_late = process.closes_ms.is_none_or(|at| at <= self.now_ms);
        let is_written = process.spool.is_empty() && process.spool_owed.is_empty();
        let is_done = process.store.left() == (0, 0) && process.store.mail.is_empty();
        if !(is_late || is_done && is_written) {
            return self.after(10, WorldEvent::Gone(self.boot));
        }
        note!(self, "process   has stopped");
        let (took, kept) = process.sums;
        let gave_up = process.gave_up;
        if is_done && !gave_up {
            self.settle_oracle();
            let (took_now, kept_now) = self.oracle.sums();
            assert_eq!(
                took_now - took,
                kept_now - kept,
                "a stop in order leaves out shares that the pool took"
            );
        }
        if !is_done {
            self.inject("late stop");
        }
        self.settle_crash(Doom::Crash);
        self.process = None;
        self.doom = None;
        self.disk.close();
        let down_ms = between(&mut self.rngs.fault, 500, 60_000);
        self.trouble_until(self.now_ms + down_ms);
        self.after(down_ms, WorldEvent::Start);
    }

    /// Kills the process; a commit in progress is on the disk or is not.
    pub(crate) fn crash(&mut self, doom: Doom) {
        self.inject(match doom {
            Doom::PowerCut => "power cut",
            _ => "crash",
        });
        note!(self, "process   {doom:?}");
        let now = self.now();
        if let Some(process) = &mut self.process
            && process.store.is_busy
            && self.rngs.disk.bool()
        {
            // The commit reached the disk, but nobody was told.
            let mut nobody = Vec::new();
            process
                .store
                .group_commit
                .work(&mut self.disk, now, &mut nobody);
        }
        if self.rngs.disk.bool() {
            self.disk.recover();
        }
        self.settle_crash(doom);
        self.process = None;
        self.doom = None;
        self.bans.clear();
        self.disk.close();
        if self.injected_bug == Some(InjectedBug::TornCommit) {
            self.disk.tear();
        }
        let down_ms = between(&mut self.rngs.fault, 500, 60_000);
        self.trouble_until(self.now_ms + down_ms);
        self.after(down_ms, WorldEvent::Start);
    }
}
