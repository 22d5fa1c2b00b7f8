//! Detects what an operator must be told: found blocks, a server without a job, a ledger in trouble, lost
//! hashrate and workers. Invariant: one alarm for each change, however often its cause is reported.
//!
//! [`Watch::handle`] is the only way in; the clock is an argument. Hashrate and workers are judged by a
//! clock that runs only while miners are served: without a job, and in a drain, it stands still. So an
//! outage raises one alarm, and workers that do not come back after it are noticed. Sending alarms is not
//! in here.

mod crowd;
pub mod hashrate_drop;
mod kind;
mod sign;
pub(crate) mod worker_loss;

use std::collections::VecDeque;
use std::sync::Arc;

use self::crowd::Crowd;
pub use self::kind::{Alarm, Detail, Kind, Severity};
pub use self::sign::{Draining, Fate, LedgerSign, LinkSign, Sign};
use crate::alarm::hashrate_drop::Speed;
use crate::alarm::worker_loss::Workers;
use crate::limits::{ALARM_PATIENCE_MS, LEDGER_LOG_LARGE, LINK_PATIENCE_MS, WATCHED_BLOCKS_MAX};
use crate::units::{Hash, Height, Now};

/// State of the job alarm.
enum Job {
    Fine,
    /// No job since then; `is_told` once the alarm was raised.
    Missing {
        since_ms: u64,
        is_told: bool,
    },
}

/// State of the shared ledger's alarm.
enum SharedLink {
    Up,
    Down {
        since_ms: u64,
        reason: String,
        is_told: bool,
    },
}

/// State of the ledger's alarm.
enum Trouble {
    Fine,
    Stalled { since_ms: u64, is_told: bool },
    Failing,
}

struct Known {
    hash: Hash,
    height: Option<Height>,
    account: Option<Arc<str>>,
    told: Option<Kind>,
}

/// The state of all alarms of a server.
pub struct Watch {
    tip: Option<Hash>,
    parent: Option<Hash>,
    reason: Option<String>,
    job: Job,
    trouble: Trouble,
    link: SharedLink,
    undone: Vec<&'static str>,
    is_twin: bool,
    is_behind: bool,
    /// The question that the node has not answered for too long.
    overdue: Option<String>,
    is_log_large: bool,
    draining: Draining,
    blocks: VecDeque<Known>,
    crowd: Crowd,
    speed: Speed,
    workers: Workers,
    /// Milliseconds during which miners were served; the clock for hashrate and workers.
    served_ms: u64,
    last_ms: u64,
}

impl Watch {
    /// Starts without alarms. `drop_percent` is the loss of hashrate that raises one, in percent; 0 turns
    /// that alarm off.
    pub fn new(drop_percent: u8, now: Now) -> Self {
        Self {
            tip: None,
            parent: None,
            reason: None,
            job: Job::Missing {
                since_ms: now.ms,
                is_told: false,
            },
            trouble: Trouble::Fine,
            link: SharedLink::Up,
            undone: Vec::new(),
            is_twin: false,
            is_behind: false,
            overdue: None,
            is_log_large: false,
            draining: Draining::No,
            blocks: VecDeque::new(),
            crowd: Crowd::default(),
            speed: Speed::new(drop_percent),
            workers: Workers::default(),
            served_ms: 0,
            last_ms: now.ms,
        }
    }

    /// Handles one report and appends the resulting alarms to `out`. `now` must not go back.
    pub fn handle(&mut self, now: Now, sign: Sign, out: &mut Vec<Alarm>) {
        if matches!(self.job, Job::Fine) && self.draining == Draining::No {
            self.served_ms += now.ms - self.last_ms;
        }
        self.last_ms = now.ms;
        match sign {
            Sign::Tip(hash) => {
                self.tip = Some(hash);
                self.look_at_job(now, out);
            }
            Sign::Template(parent) => {
                self.parent = Some(parent);
                self.tip = Some(parent);
                self.reason = None;
                self.look_at_job(now, out);
            }
            Sign::NoTemplate(reason) => {
                self.reason = Some(reason);
                self.look_at_job(now, out);
            }
            Sign::Found(hash, height, account) => self.found(hash, height, account, out),
            Sign::Block(hash, height, fate) => self.fared(hash, height, fate, out),
            Sign::Ledger(sign) => self.look_at_ledger(now, sign, out),
            Sign::Behind(height) => self.look_at_knowledge(height, out),
            Sign::Link(sign) => self.look_at_link(now, sign, out),
            Sign::Duties(undone) => self.look_at_duties(undone, out),
            Sign::Twin(is_twin) => {
                if is_twin && !self.is_twin {
                    let text = "Another server runs with this one's server-id: give each its own";
                    out.push(plain(Kind::ServerIdTwice, text.to_owned()));
                }
                self.is_twin = is_twin;
            }
            Sign::Overdue(what) => self.look_at_node(what, out),
            Sign::Log(bytes) => self.look_at_log(bytes, out),
            Sign::Work(tallied) => {
                self.speed.add(&tallied);
                self.workers.add(&tallied, self.served_ms);
            }
            Sign::Door(door) => self.crowd.look(now.ms, door, out),
            Sign::Drain(draining) => self.draining = draining,
            Sign::PoolFailed => {
                let text = "The pool has failed, which is a bug; miners reconnect".to_owned();
                out.push(plain(Kind::PoolFailed, text));
            }
            Sign::Stop => out.push(plain(Kind::Stopping, "The server stops".to_owned())),
            Sign::Tick => self.tick(now, out),
        }
    }

    fn look_at_job(&mut self, now: Now, out: &mut Vec<Alarm>) {
        let is_fine = self.reason.is_none() && self.parent.is_some() && self.parent == self.tip;
        match self.job {
            Job::Fine if !is_fine => {
                self.job = Job::Missing {
                    since_ms: now.ms,
                    is_told: false,
                };
            }
            Job::Missing { since_ms, is_told } if is_fine => {
                self.job = Job::Fine;
                if is_told {
                    let seconds = (now.ms - since_ms) / 1000;
                    let text = format!("There is a job for miners again after {seconds} s");
                    out.push(plain(Kind::JobAgain, text));
                }
            }
            _ => {}
        }
    }

    fn look_at_ledger(&mut self, now: Now, sign: LedgerSign, out: &mut Vec<Alarm>) {
        match (&self.trouble, sign) {
            (Trouble::Failing, LedgerSign::Fine)
            | (Trouble::Stalled { is_told: true, .. }, LedgerSign::Fine) => {
                self.trouble = Trouble::Fine;
                let text = "The ledger can be written again: shares are taken".to_owned();
                out.push(plain(Kind::LedgerHealed, text));
            }
            (_, LedgerSign::Fine) => self.trouble = Trouble::Fine,
            (Trouble::Fine, LedgerSign::Stalled) => {
                self.trouble = Trouble::Stalled {
                    since_ms: now.ms,
                    is_told: false,
                };
            }
            (Trouble::Stalled { .. } | Trouble::Failing, LedgerSign::Stalled)
            | (Trouble::Failing, LedgerSign::Failing(_)) => {}
            (_, LedgerSign::Failing(reason)) => {
                self.trouble = Trouble::Failing;
                out.push(Alarm {
                    kind: Kind::LedgerFailing,
                    text: format!("The ledger cannot be written and shares are refused: {reason}"),
                    detail: Detail::Reason(reason),
                });
            }
        }
    }

    fn look_at_duties(&mut self, undone: Vec<&'static str>, out: &mut Vec<Alarm>) {
        for name in &undone {
            if !self.undone.contains(name) {
                let text = format!("A background task has not been done for a minute: {name}");
                out.push(Alarm {
                    kind: Kind::DutyLate,
                    text,
                    detail: Detail::Reason((*name).to_owned()),
                });
            }
        }
        for name in &self.undone {
            if !undone.contains(name) {
                let text = format!("A background task is done again: {name}");
                out.push(Alarm {
                    kind: Kind::DutyDone,
                    text,
                    detail: Detail::Reason((*name).to_owned()),
                });
            }
        }
        self.undone = undone;
    }

    fn look_at_knowledge(&mut self, height: Option<Height>, out: &mut Vec<Alarm>) {
        match (self.is_behind, height) {
            (false, Some(height)) => {
                let text = format!(
                    "The node knows less of the chain than the ledger was shown, up to height {}: \
                     until it does, no block is confirmed or orphaned, and payouts wait",
                    height.0
                );
                out.push(plain(Kind::NodeBehind, text));
            }
            (true, None) => {
                let text = "The node knows all of the chain again".to_owned();
                out.push(plain(Kind::NodeCaughtUp, text));
            }
            _ => {}
        }
        self.is_behind = height.is_some();
    }

    fn look_at_link(&mut self, now: Now, sign: LinkSign, out: &mut Vec<Alarm>) {
        match (&mut self.link, sign) {
            (SharedLink::Up, LinkSign::Up) => {}
            (SharedLink::Down { is_told, .. }, LinkSign::Up) => {
                if *is_told {
                    let text = "The shared ledger is back".to_owned();
                    out.push(plain(Kind::SharedLedgerBack, text));
                }
                self.link = SharedLink::Up;
            }
            (SharedLink::Up, LinkSign::Down(reason)) => {
                self.link = SharedLink::Down {
                    since_ms: now.ms,
                    reason,
                    is_told: false,
                };
            }
            (SharedLink::Down { reason, .. }, LinkSign::Down(newer)) => *reason = newer,
        }
    }

    fn look_at_node(&mut self, what: Option<String>, out: &mut Vec<Alarm>) {
        if self.overdue == what {
            return;
        }
        self.overdue.clone_from(&what);
        out.push(match what {
            Some(what) => Alarm {
                kind: Kind::NodeOverdue,
                text: format!("The node does not answer: {what}"),
                detail: Detail::Reason(what),
            },
            None => plain(Kind::NodeBack, "The node answers again".to_owned()),
        });
    }

    /// Raises an alarm for a large log, and ends it below half of that size, so that a size around the
    /// limit is not reported again and again.
    fn look_at_log(&mut self, bytes: u64, out: &mut Vec<Alarm>) {
        if !self.is_log_large && bytes >= LEDGER_LOG_LARGE {
            self.is_log_large = true;
            let text = format!(
                "The ledger's log has grown to {} MB and cannot be emptied: some program reads the \
                 ledger all the time",
                bytes / 1_000_000
            );
            out.push(plain(Kind::LedgerLogLarge, text));
        } else if self.is_log_large && bytes < LEDGER_LOG_LARGE / 2 {
            self.is_log_large = false;
            let text = "The ledger's log has been emptied".to_owned();
            out.push(plain(Kind::LedgerLogSmall, text));
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
            known.told = Some(Kind::BlockFound);
            out.push(known.alarm(Kind::BlockFound, "is found", None));
        }
    }

    fn fared(&mut self, hash: Hash, height: Option<Height>, fate: Fate, out: &mut Vec<Alarm>) {
        let known = self.known(hash, height);
        let (kind, words, reason) = match fate {
            Fate::Accepted => (Kind::BlockAccepted, "is on the main chain", None),
            Fate::Confirmed => (Kind::BlockConfirmed, "is confirmed", None),
            Fate::Orphaned => (Kind::BlockOrphaned, "is orphaned, no reward", None),
            Fate::Refused(reason) => (Kind::BlockRefused, "was refused by the node", Some(reason)),
        };
        if known.told != Some(kind) {
            known.told = Some(kind);
            out.push(known.alarm(kind, words, reason));
        }
    }

    /// The record of a block, which is created if needed. Beyond [`WATCHED_BLOCKS_MAX`] the oldest is
    /// forgotten.
    fn known(&mut self, hash: Hash, height: Option<Height>) -> &mut Known {
        let at = self.blocks.iter().position(|known| known.hash == hash);
        let at = at.unwrap_or_else(|| {
            if self.blocks.len() == WATCHED_BLOCKS_MAX {
                self.blocks.pop_front();
            }
            self.blocks.push_back(Known {
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
        if let Job::Missing { since_ms, is_told } = &mut self.job
            && !*is_told
            && now.ms - *since_ms >= ALARM_PATIENCE_MS
        {
            *is_told = true;
            let reason = self.reason.clone();
            let reason = reason.unwrap_or_else(|| "the node gives no template".to_owned());
            let kind = match reason.as_str() {
                "no peers" => Kind::NoPeers,
                _ => Kind::NoJob,
            };
            out.push(Alarm {
                kind,
                text: format!("There is no job for miners: {reason}"),
                detail: Detail::Reason(reason),
            });
        }
        if let Trouble::Stalled { since_ms, is_told } = &mut self.trouble
            && !*is_told
            && now.ms - *since_ms >= ALARM_PATIENCE_MS
        {
            *is_told = true;
            let text = "The ledger is being written to by another process: shares wait for it";
            out.push(plain(Kind::LedgerStalled, text.to_owned()));
        }
        if let SharedLink::Down {
            since_ms,
            reason,
            is_told,
        } = &mut self.link
            && !*is_told
            && now.ms - *since_ms >= LINK_PATIENCE_MS
        {
            *is_told = true;
            out.push(Alarm {
                kind: Kind::SharedLedgerAway,
                text: format!("The shared ledger is away, shares wait for it: {reason}"),
                detail: Detail::Reason(reason.clone()),
            });
        }
        self.speed.look(self.served_ms, out);
        self.workers.look(self.served_ms, out);
    }
}

impl Known {
    fn alarm(&self, kind: Kind, words: &str, reason: Option<String>) -> Alarm {
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

fn plain(kind: Kind, text: String) -> Alarm {
    Alarm {
        kind,
        text,
        detail: Detail::None,
    }
}
