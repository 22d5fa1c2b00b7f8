//! Detects what an operator must be told: found blocks, a server without a job, a ledger in trouble, lost
//! hashrate and workers. Invariant: one alarm for each change, however often its cause is reported.
//!
//! [`AlarmMonitor::handle`] is the only way in; the clock is an argument. Hashrate and workers are judged by a
//! clock that runs only while miners are served: without a job, and in a drain, it stands still. So an
//! outage raises one alarm, and workers that do not come back after it are noticed. Sending alarms is not
//! in here.

mod failed_payouts;
mod full_pool;
pub mod hashrate_drop;
mod input;
mod kind;
pub(crate) mod worker_loss;

use std::collections::VecDeque;
use std::sync::Arc;

use self::failed_payouts::FailedPayouts;
use self::full_pool::OccupancyWatch;
pub use self::input::{
    AlarmInput, BlockOutcome, Draining, LedgerInput, PayoutInput, SharedLedgerInput,
};
use self::kind::plain;
pub use self::kind::{Alarm, AlarmKind, Detail, Severity};
use crate::alarm::hashrate_drop::HashrateDrop;
use crate::alarm::worker_loss::WorkerLoss;
use crate::limits::{ALARM_PATIENCE_MS, LEDGER_LOG_LARGE, LINK_PATIENCE_MS, WATCHED_BLOCKS_MAX};
use crate::units::{Hash, Height, Now};

/// State of the job alarm.
enum JobReported {
    Fine,
    /// No job since then; `is_told` once the alarm was raised.
    Missing {
        since_ms: u64,
        is_told: bool,
    },
}

/// State of the shared ledger's alarm.
enum SharedLedgerReported {
    Up,
    Down {
        since_ms: u64,
        reason: String,
        is_told: bool,
    },
}

/// State of the ledger's alarm.
enum LedgerReported {
    Fine,
    Stalled { since_ms: u64, is_told: bool },
    Failing,
}

struct KnownBlock {
    hash: Hash,
    height: Option<Height>,
    account: Option<Arc<str>>,
    told: Option<AlarmKind>,
}

/// The state of all alarms of a server.
pub struct AlarmMonitor {
    tip: Option<Hash>,
    parent: Option<Hash>,
    reason: Option<String>,
    job: JobReported,
    trouble: LedgerReported,
    link: SharedLedgerReported,
    undone: Vec<&'static str>,
    is_twin: bool,
    is_behind: bool,
    /// The question that the node has not answered for too long.
    overdue: Option<String>,
    is_template_invalid: bool,
    is_block_path_broken: bool,
    is_log_large: bool,
    payouts: FailedPayouts,
    draining: Draining,
    blocks: VecDeque<KnownBlock>,
    crowd: OccupancyWatch,
    speed: HashrateDrop,
    workers: WorkerLoss,
    /// Milliseconds during which miners were served; the clock for hashrate and workers.
    served_ms: u64,
    last_ms: u64,
}

impl AlarmMonitor {
    /// Starts without alarms. `drop_percent` is the loss of hashrate that raises one, in percent; 0 turns
    /// that alarm off.
    pub fn new(drop_percent: u8, now: Now) -> Self {
        Self {
            tip: None,
            parent: None,
            reason: None,
            job: JobReported::Missing {
                since_ms: now.ms,
                is_told: false,
            },
            trouble: LedgerReported::Fine,
            link: SharedLedgerReported::Up,
            undone: Vec::new(),
            is_twin: false,
            is_behind: false,
            overdue: None,
            is_template_invalid: false,
            is_block_path_broken: false,
            is_log_large: false,
            payouts: FailedPayouts::default(),
            draining: Draining::No,
            blocks: VecDeque::new(),
            crowd: OccupancyWatch::default(),
            speed: HashrateDrop::new(drop_percent),
            workers: WorkerLoss::default(),
            served_ms: 0,
            last_ms: now.ms,
        }
    }

    /// Handles one report and appends the resulting alarms to `out`. `now` must not go back.
    pub fn handle(&mut self, now: Now, sign: AlarmInput, out: &mut Vec<Alarm>) {
        if matches!(self.job, JobReported::Fine) && self.draining == Draining::No {
            self.served_ms += now.ms - self.last_ms;
        }
        self.last_ms = now.ms;
        match sign {
            AlarmInput::Tip(hash) => {
                self.tip = Some(hash);
                self.check_job(now, out);
            }
            AlarmInput::Template(parent) => {
                self.parent = Some(parent);
                self.tip = Some(parent);
                self.reason = None;
                self.check_job(now, out);
            }
            AlarmInput::NoTemplate(reason) => {
                self.reason = Some(reason);
                self.check_job(now, out);
            }
            AlarmInput::TemplateInvalid(reason) => self.check_template(reason, out),
            AlarmInput::BlockPath(broken) => self.check_block_path(broken, out),
            AlarmInput::Found(hash, height, account) => self.found(hash, height, account, out),
            AlarmInput::Block(hash, height, fate) => self.settle_block(hash, height, fate, out),
            AlarmInput::Ledger(sign) => self.check_ledger(now, sign, out),
            AlarmInput::Behind(height) => self.check_knowledge(height, out),
            AlarmInput::Payout(report) => self.payouts.check(report, out),
            AlarmInput::Link(sign) => self.check_shared_ledger(now, sign, out),
            AlarmInput::Duties(undone) => self.check_duties(undone, out),
            AlarmInput::Twin(is_twin) => {
                if is_twin && !self.is_twin {
                    let text = "Another server runs with this one's server-id: give each its own";
                    out.push(plain(AlarmKind::ServerIdTwice, text.to_owned()));
                }
                self.is_twin = is_twin;
            }
            AlarmInput::Overdue(what) => self.check_node(what, out),
            AlarmInput::Log(bytes) => self.check_log(bytes, out),
            AlarmInput::Work(tallied) => {
                self.speed.add(&tallied);
                self.workers.add(&tallied, self.served_ms);
            }
            AlarmInput::Occupancy(door) => self.crowd.check(now.ms, door, out),
            AlarmInput::Drain(draining) => self.draining = draining,
            AlarmInput::PoolFailed => {
                let text = "The pool has failed, which is a bug; miners reconnect".to_owned();
                out.push(plain(AlarmKind::PoolFailed, text));
            }
            AlarmInput::Stop => out.push(plain(AlarmKind::Stopping, "The server stops".to_owned())),
            AlarmInput::Tick => self.tick(now, out),
        }
    }

    fn check_job(&mut self, now: Now, out: &mut Vec<Alarm>) {
        let is_fine = self.reason.is_none() && self.parent.is_some() && self.parent == self.tip;
        match self.job {
            JobReported::Fine if !is_fine => {
                self.job = JobReported::Missing {
                    since_ms: now.ms,
                    is_told: false,
                };
            }
            JobReported::Missing { since_ms, is_told } if is_fine => {
                self.job = JobReported::Fine;
                if is_told {
                    let seconds = (now.ms - since_ms) / 1000;
                    let text = format!("There is a job for miners again after {seconds} s");
                    out.push(plain(AlarmKind::JobAgain, text));
                }
            }
            _ => {}
        }
    }

    fn check_ledger(&mut self, now: Now, sign: LedgerInput, out: &mut Vec<Alarm>) {
        match (&self.trouble, sign) {
            (LedgerReported::Failing, LedgerInput::Fine)
            | (LedgerReported::Stalled { is_told: true, .. }, LedgerInput::Fine) => {
                self.trouble = LedgerReported::Fine;
                let text = "The ledger can be written again: shares are taken".to_owned();
                out.push(plain(AlarmKind::LedgerHealed, text));
            }
            (_, LedgerInput::Fine) => self.trouble = LedgerReported::Fine,
            (LedgerReported::Fine, LedgerInput::Stalled) => {
                self.trouble = LedgerReported::Stalled {
                    since_ms: now.ms,
                    is_told: false,
                };
            }
            (LedgerReported::Stalled { .. } | LedgerReported::Failing, LedgerInput::Stalled)
            | (LedgerReported::Failing, LedgerInput::Failing(_)) => {}
            (_, LedgerInput::Failing(reason)) => {
                self.trouble = LedgerReported::Failing;
                out.push(Alarm {
                    kind: AlarmKind::LedgerFailing,
                    text: format!("The ledger cannot be written and shares are refused: {reason}"),
                    detail: Detail::Reason(reason),
                });
            }
        }
    }

    fn check_duties(&mut self, undone: Vec<&'static str>, out: &mut Vec<Alarm>) {
        for name in &undone {
            if !self.undone.contains(name) {
                let text = format!("A background task has not been done for a minute: {name}");
                out.push(Alarm {
                    kind: AlarmKind::DutyLate,
                    text,
                    detail: Detail::Reason((*name).to_owned()),
                });
            }
        }
        for name in &self.undone {
            if !undone.contains(name) {
                let text = format!("A background task is done again: {name}");
                out.push(Alarm {
                    kind: AlarmKind::DutyDone,
                    text,
                    detail: Detail::Reason((*name).to_owned()),
                });
            }
        }
        self.undone = undone;
    }

    fn check_knowledge(&mut self, height: Option<Height>, out: &mut Vec<Alarm>) {
        match (self.is_behind, height) {
            (false, Some(height)) => {
                let text = format!(
                    "The node knows less of the chain than the ledger was shown, up to height {}: \
                     until it does, no block is confirmed or orphaned, and payouts wait",
                    height.0
                );
                out.push(plain(AlarmKind::NodeBehind, text));
            }
            (true, None) => {
                let text = "The node knows all of the chain again".to_owned();
                out.push(plain(AlarmKind::NodeCaughtUp, text));
            }
            _ => {}
        }
        self.is_behind = height.is_some();
    }

    fn check_shared_ledger(&mut self, now: Now, sign: SharedLedgerInput, out: &mut Vec<Alarm>) {
        match (&mut self.link, sign) {
            (SharedLedgerReported::Up, SharedLedgerInput::Up) => {}
            (SharedLedgerReported::Down { is_told, .. }, SharedLedgerInput::Up) => {
                if *is_told {
                    let text = "The shared ledger is back".to_owned();
                    out.push(plain(AlarmKind::SharedLedgerBack, text));
                }
                self.link = SharedLedgerReported::Up;
            }
            (SharedLedgerReported::Up, SharedLedgerInput::Down(reason)) => {
                self.link = SharedLedgerReported::Down {
                    since_ms: now.ms,
                    reason,
                    is_told: false,
                };
            }
            (SharedLedgerReported::Down { reason, .. }, SharedLedgerInput::Down(newer)) => {
                *reason = newer;
            }
        }
    }

    fn check_node(&mut self, what: Option<String>, out: &mut Vec<Alarm>) {
        if self.overdue == what {
            return;
        }
        self.overdue.clone_from(&what);
        out.push(match what {
            Some(what) => Alarm {
                kind: AlarmKind::NodeOverdue,
                text: format!("The node does not answer: {what}"),
                detail: Detail::Reason(what),
            },
            None => plain(AlarmKind::NodeBack, "The node answers again".to_owned()),
        });
    }

    fn check_template(&mut self, reason: Option<String>, out: &mut Vec<Alarm>) {
        let was_invalid = std::mem::replace(&mut self.is_template_invalid, reason.is_some());
        match reason {
            Some(reason) if !was_invalid => out.push(Alarm {
                kind: AlarmKind::TemplateInvalid,
                text: format!(
                    "The network would refuse the block of the node's template, of which miners get \
                     only what is valid: {reason}"
                ),
                detail: Detail::Reason(reason),
            }),
            None if was_invalid => {
                let text = "The node's templates are valid again".to_owned();
                out.push(plain(AlarmKind::TemplateValid, text));
            }
            _ => {}
        }
    }

    fn check_block_path(&mut self, broken: Option<String>, out: &mut Vec<Alarm>) {
        let was_broken = std::mem::replace(&mut self.is_block_path_broken, broken.is_some());
        match broken {
            Some(reason) if !was_broken => out.push(Alarm {
                kind: AlarmKind::BlockPathBroken,
                text: format!("A found block would be lost, as a drill has shown: {reason}"),
                detail: Detail::Reason(reason),
            }),
            None if was_broken => {
                let text = "A found block would be accepted, as a drill has shown".to_owned();
                out.push(plain(AlarmKind::BlockPathWorks, text));
            }
            _ => {}
        }
    }

    /// Raises an alarm for a large log, and ends it below half of that size, so that a size around the
    /// limit is not reported again and again.
    fn check_log(&mut self, bytes: u64, out: &mut Vec<Alarm>) {
        if !self.is_log_large && bytes >= LEDGER_LOG_LARGE {
            self.is_log_large = true;
            let text = format!(
                "The ledger's log has grown to {} MB and cannot be emptied: some program reads the \
                 ledger all the time",
                bytes / 1_000_000
            );
            out.push(plain(AlarmKind::LedgerLogLarge, text));
        } else if self.is_log_large && bytes < LEDGER_LOG_LARGE / 2 {
            self.is_log_large = false;
            let text = "The ledger's log has been emptied".to_owned();
            out.push(plain(AlarmKind::LedgerLogSmall, text));
        }
    }

    fn found(
        &mut self,
        hash: Hash,
        height: Height,
        account: Option<Arc<str>>,
        out: &mut Vec<Alarm>,
    ) {
        let known = self.known(hash, Some(height));
        if account.is_some() {
            known.account = account;
        }
        // A block of an earlier run was reported when it was found.
        if known.told.is_none() && known.account.is_some() {
            known.told = Some(AlarmKind::BlockFound);
            out.push(known.alarm(AlarmKind::BlockFound, "is found", None));
        }
    }

    fn settle_block(
        &mut self,
        hash: Hash,
        height: Option<Height>,
        fate: BlockOutcome,
        out: &mut Vec<Alarm>,
    ) {
        let known = self.known(hash, height);
        let (kind, words, reason) = match fate {
            BlockOutcome::Accepted => (AlarmKind::BlockAccepted, "is on the main chain", None),
            BlockOutcome::Confirmed => (AlarmKind::BlockConfirmed, "is confirmed", None),
            BlockOutcome::Orphaned => (AlarmKind::BlockOrphaned, "is orphaned, no reward", None),
            BlockOutcome::Refused(reason) => (
                AlarmKind::BlockRefused,
                "was refused by the node",
                Some(reason),
            ),
            BlockOutcome::Unjudged(reason) => (
                AlarmKind::BlockUnjudged,
                "has no verdict of the node, which is offered it again",
                Some(reason),
            ),
        };
        if known.told != Some(kind) {
            known.told = Some(kind);
            out.push(known.alarm(kind, words, reason));
        }
    }

    /// The record of a block, which is created if needed. Beyond [`WATCHED_BLOCKS_MAX`] the oldest is
    /// forgotten.
    fn known(&mut self, hash: Hash, height: Option<Height>) -> &mut KnownBlock {
        let at = self.blocks.iter().position(|known| known.hash == hash);
        let at = at.unwrap_or_else(|| {
            if self.blocks.len() == WATCHED_BLOCKS_MAX {
                self.blocks.pop_front();
            }
            self.blocks.push_back(KnownBlock {
                hash,
                height: None,
                account: None,
                told: None,
            });
            self.blocks.len() - 1
        });
        let known = &mut self.blocks[at];
        known.height = known.height.or(height);
        known
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Alarm>) {
        if let JobReported::Missing { since_ms, is_told } = &mut self.job
            && !*is_told
            && now.ms - *since_ms >= ALARM_PATIENCE_MS
        {
            *is_told = true;
            let reason = self.reason.clone();
            let reason = reason.unwrap_or_else(|| "the node gives no template".to_owned());
            let kind = match reason.as_str() {
                "no peers" => AlarmKind::NoPeers,
                _ => AlarmKind::NoJob,
            };
            out.push(Alarm {
                kind,
                text: format!("There is no job for miners: {reason}"),
                detail: Detail::Reason(reason),
            });
        }
        if let LedgerReported::Stalled { since_ms, is_told } = &mut self.trouble
            && !*is_told
            && now.ms - *since_ms >= ALARM_PATIENCE_MS
        {
            *is_told = true;
            let text = "The ledger is being written to by another process: shares wait for it";
            out.push(plain(AlarmKind::LedgerStalled, text.to_owned()));
        }
        if let SharedLedgerReported::Down {
            since_ms,
            reason,
            is_told,
        } = &mut self.link
            && !*is_told
            && now.ms - *since_ms >= LINK_PATIENCE_MS
        {
            *is_told = true;
            out.push(Alarm {
                kind: AlarmKind::SharedLedgerAway,
                text: format!("The shared ledger is away, shares wait for it: {reason}"),
                detail: Detail::Reason(reason.clone()),
            });
        }
        self.speed.check(self.served_ms, out);
        self.workers.check(self.served_ms, out);
    }
}

impl KnownBlock {
    fn alarm(&self, kind: AlarmKind, words: &str, reason: Option<String>) -> Alarm {
        let mut text = "Block ".to_owned();
        if let Some(height) = self.height {
            text += &format!("{} ", height.0);
        }
        text += words;
        if let Some(account) = &self.account {
            text += &format!(", by {account}");
        }
        if let Some(reason) = &reason {
            text += &format!(": {reason}");
        }
        Alarm {
            kind,
            text: format!("{text} ({})", self.hash),
            detail: Detail::Block {
                hash: self.hash,
                height: self.height,
                account: self.account.clone(),
                reason,
            },
        }
    }
}
