//! What an operator is woken for: blocks, a server without a job, a ledger in trouble, hashrate and
//! workers that are lost. One alarm for each change, however often a sign of it comes.
//!
//! [`Watch::handle`] is its only way in; the clock is an argument. Hashrate and workers are watched
//! while miners are served: without a job, and in a drain, their clock stands still, so that an
//! outage is one alarm and those who do not come back after it are noticed.

mod kind;

use std::collections::VecDeque;
use std::sync::Arc;

pub use self::kind::{Alarm, Detail, Kind, Severity};
use crate::absence::Workers;
use crate::event::Now;
use crate::hashrate::Speed;
use crate::ledger::Tallied;
use crate::limits::{ALARM_PATIENCE_MS, LINK_PATIENCE_MS, WATCHED_BLOCKS_MAX};
use crate::units::{Hash, Height};

/// Something that a [`Watch`] is told.
pub enum Sign {
    /// The chain has a new tip.
    Tip(Hash),
    /// There is a template on this block.
    Template(Hash),
    /// Why there can be no job.
    NoTemplate(String),
    /// A block was found and offered to the node; none knows by whom when it is of an earlier run.
    Found(Hash, Height, Option<Arc<str>>),
    /// What has become of a block.
    Block(Hash, Option<Height>, Fate),
    /// How the ledger is.
    Ledger(LedgerSign),
    /// Whether the ledger that several servers share can be reached.
    Link(LinkSign),
    /// What miners have sent.
    Work(Vec<Tallied>),
    /// Whether the operator has the server drained.
    Drain(Draining),
    /// The pool has failed and begins anew.
    PoolFailed,
    /// The server stops.
    Stop,
    /// Time has passed.
    Tick,
}

/// Whether the server is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draining {
    /// It takes no connections, as ordered.
    Yes,
    /// It does.
    No,
}

/// What has become of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// On the main chain.
    Accepted,
    /// Its reward can be spent.
    Confirmed,
    /// Valid, and not on the main chain.
    Orphaned,
    /// Not taken by the node, for this reason.
    Refused(String),
}

/// How the ledger is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerSign {
    /// Shares are taken.
    Fine,
    /// Shares wait for another process.
    Stalled,
    /// Shares are refused, for this reason.
    Failing(String),
}

/// Whether the ledger that several servers share can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkSign {
    /// It can.
    Up,
    /// It cannot, for this reason.
    Down(String),
}

/// What was said of the job.
enum Job {
    Fine,
    /// There is none since; whether it was said.
    Missing {
        since_ms: u64,
        is_told: bool,
    },
}

/// What was said of the shared ledger.
enum SharedLink {
    Up,
    Down {
        since_ms: u64,
        reason: String,
        is_told: bool,
    },
}

/// What was said of the ledger.
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

/// See the module.
pub struct Watch {
    tip: Option<Hash>,
    parent: Option<Hash>,
    reason: Option<String>,
    job: Job,
    trouble: Trouble,
    link: SharedLink,
    draining: Draining,
    blocks: VecDeque<Known>,
    speed: Speed,
    workers: Workers,
    /// The clock of those who mine.
    served_ms: u64,
    last_ms: u64,
}

impl Watch {
    /// Begins to watch. `drop_percent`: how much of the hashrate must be lost; 0: it is not watched.
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
            draining: Draining::No,
            blocks: VecDeque::new(),
            speed: Speed::new(drop_percent),
            workers: Workers::default(),
            served_ms: 0,
            last_ms: now.ms,
        }
    }

    /// Takes a sign in, and says what the operator is to know. `now` must not go back.
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
            Sign::Link(sign) => self.look_at_link(now, sign, out),
            Sign::Work(tallied) => {
                self.speed.add(&tallied);
                self.workers.add(&tallied, self.served_ms);
            }
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
        // One of an earlier run was told about when it was found.
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

    /// What is known of a block. The oldest is forgotten for a new one.
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
