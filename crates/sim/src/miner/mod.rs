//! A miner: its state on a connection, and its reactions to the server's lines.
//!
//! The kinds differ as the protocol's notes say: a Goldshell applies a new difficulty to the job it has,
//! takes a cut line for an error and stops at a job id it has had before; a HandyMiner sends four lines
//! at once. Sending and waiting are done in `play`.

pub(crate) mod admin;
pub(crate) mod behaviour;
pub(crate) mod job;
pub(crate) mod mining;
pub(crate) mod misbehaviour;

use std::collections::VecDeque;

use fastrand::Rng;
use hstratum_core::units::{ConnId, Difficulty, Hash, Target};
use serde_json::Value;

use crate::miner::admin::{ADMIN_PASSWORD, AdminRequest};
use crate::miner::job::MinerJob;
use crate::world::oracle::CreditKey;
use crate::world::plan::{MinerKind, MinerPlan};

/// Jobs for which a miner can still submit.
const JOBS_MAX: usize = 12;
/// Shares remembered by a miner that sends duplicates.
const SENT_MAX: usize = 16;

/// A request without a reply.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) id: String,
    pub(crate) sent_ms: u64,
    pub(crate) asked: SentRequest,
}

/// The kind of a request.
#[derive(Debug, Clone)]
pub(crate) enum SentRequest {
    Subscribe,
    Authorize,
    /// A request that the pool refuses.
    Nonsense,
    /// A subscription to changes of extranonce1.
    ExtraNonces,
    Submit(Submitted),
    /// A login as admin.
    Admin,
    AddUser(AdminRequest),
    /// A login as a user that was added; true with the right password.
    Login(bool),
}

/// A share that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Submitted {
    pub(crate) hash: Hash,
    pub(crate) key: CreditKey,
    pub(crate) prev: Hash,
    pub(crate) job_ms: u64,
    /// True if it meets the target that its job was sent under.
    pub(crate) is_valid: bool,
    /// True if it was sent before.
    pub(crate) is_again: bool,
    /// True if the miner used a difficulty announced after the job.
    pub(crate) is_late: bool,
}

/// The state of one miner.
pub(crate) struct SimMiner {
    pub(crate) plan: MinerPlan,
    pub(crate) rng: Rng,
    pub(crate) conn: Option<ConnId>,
    /// True once it wants no connection any more.
    pub(crate) retires: bool,
    pub(crate) session: Option<String>,
    pub(crate) extra_nonce1: Option<u32>,
    pub(crate) is_authorized: bool,
    pub(crate) difficulty: Option<Difficulty>,
    pub(crate) difficulty_ms: u64,
    pub(crate) jobs: VecDeque<MinerJob>,
    /// Id of the last job on the connection before.
    pub(crate) last_job: Option<String>,
    /// True while it ignores jobs until one has another id.
    pub(crate) is_stuck: bool,
    pub(crate) line: Vec<u8>,
    pub(crate) next_id: u64,
    pub(crate) pending: VecDeque<Pending>,
    /// Counts changes of its work: a share drawn for an earlier number is void.
    pub(crate) work_number: u64,
    pub(crate) nonce: u32,
    pub(crate) n2: u32,
    /// Time of the last byte sent or received.
    pub(crate) last_byte_ms: u64,
    /// Time at which the connection was made or lost.
    pub(crate) since_ms: u64,
    pub(crate) sent: VecDeque<(String, Submitted)>,
    pub(crate) rejects: VecDeque<bool>,
    pub(crate) accepted: u64,
    /// True once a share was accepted on this connection.
    pub(crate) has_credit: bool,
}

/// A parsed line from the server.
pub(crate) enum ServerMessage {
    /// A reply: the result, or the code and text of an error.
    Reply {
        id: String,
        result: Value,
        error: Option<(i64, String)>,
    },
    Difficulty(Difficulty),
    /// A new extranonce1.
    ExtraNonce(u32),
    Notify(Value),
    Other(String),
}

impl SimMiner {
    pub(crate) fn new(plan: MinerPlan, rng: Rng) -> Self {
        Self {
            plan,
            rng,
            conn: None,
            retires: false,
            session: None,
            extra_nonce1: None,
            is_authorized: false,
            difficulty: None,
            difficulty_ms: 0,
            jobs: VecDeque::new(),
            last_job: None,
            is_stuck: false,
            line: Vec::new(),
            next_id: 0,
            pending: VecDeque::new(),
            work_number: 0,
            nonce: 0,
            n2: 0,
            last_byte_ms: 0,
            since_ms: 0,
            sent: VecDeque::new(),
            rejects: VecDeque::new(),
            accepted: 0,
            has_credit: false,
        }
    }

    pub(crate) fn kind(&self) -> MinerKind {
        self.plan.kind
    }

    /// True if it must never be treated badly.
    pub(crate) fn is_honest(&self) -> bool {
        self.kind() != MinerKind::Hostile
    }

    /// Takes the request that a reply belongs to: for an honest miner the oldest one.
    pub(crate) fn take_pending(&mut self, id: &str) -> Option<Pending> {
        if !self.is_honest() {
            let place = self.pending.iter().position(|pending| pending.id == id)?;
            return self.pending.remove(place);
        }
        let next = self.pending.pop_front();
        let next = next.unwrap_or_else(|| panic!("a reply to nothing: {id}"));
        assert_eq!(next.id, id, "replies come in the order of the requests");
        Some(next)
    }

    /// Forgets everything about a connection that has ended.
    pub(crate) fn hang_up(&mut self, now_ms: u64) {
        self.conn = None;
        self.extra_nonce1 = None;
        self.is_authorized = false;
        self.has_credit = false;
        self.difficulty = None;
        self.last_job = self.jobs.pop_back().map(|job| job.read.id);
        self.jobs.clear();
        self.is_stuck = false;
        self.line.clear();
        self.pending.clear();
        self.work_number += 1;
        self.since_ms = now_ms;
        self.rejects.clear();
        if self.kind() == MinerKind::Goldshell {
            self.next_id = 0;
        }
    }

    /// Milliseconds until it reconnects.
    pub(crate) fn comes_back_ms(&mut self) -> u64 {
        match self.kind() {
            MinerKind::Goldshell => 1_000,
            MinerKind::Handy => self.rng.u64(2..20),
            MinerKind::Hostile => self.rng.u64(10..20_000),
            _ => self.rng.u64(1_000..5_000),
        }
    }

    /// Milliseconds that it waits for a byte.
    pub(crate) fn patience_ms(&self) -> u64 {
        match self.kind() {
            MinerKind::Goldshell => 120_000,
            _ => 150_000,
        }
    }

    pub(crate) fn id(&mut self) -> String {
        let id = self.next_id;
        self.next_id += 1;
        match self.kind() {
            MinerKind::Handy => format!("\"{id:016x}-ttyUSB0\""),
            _ => id.to_string(),
        }
    }

    /// The lines that it sends first on a new connection.
    pub(crate) fn greet(&mut self, now_ms: u64) -> Vec<String> {
        let name = serde_json::to_string(&self.plan.name).expect("a string");
        let subscribe = match (self.kind(), &self.session) {
            (MinerKind::Goldshell, _) => "\"icbtminer\"".to_owned(),
            (MinerKind::Handy, _) => "\"handyminer/0.0.5\"".to_owned(),
            (_, Some(session)) => format!("\"sim\",\"{session}\""),
            (_, None) => "\"sim\"".to_owned(),
        };
        let mut lines = Vec::new();
        let mut say = |miner: &mut Self, asked, method: &str, params: &str| {
            let id = miner.id();
            lines.push(format!(
                "{{\"id\":{id},\"method\":\"mining.{method}\",\"params\":[{params}]}}\n"
            ));
            miner.pending.push_back(Pending {
                id,
                sent_ms: now_ms,
                asked,
            });
        };
        let authorize = format!("{name},\"x\"");
        if self.kind() == MinerKind::Admin {
            let password = format!("\"{ADMIN_PASSWORD}\"");
            say(self, SentRequest::Admin, "authorize_admin", &password);
        } else if self.kind() == MinerKind::Handy {
            say(self, SentRequest::Nonsense, "add_user", &authorize);
            say(self, SentRequest::Authorize, "authorize", &authorize);
            say(self, SentRequest::Subscribe, "subscribe", &subscribe);
        } else {
            say(self, SentRequest::Subscribe, "subscribe", &subscribe);
            say(self, SentRequest::Authorize, "authorize", &authorize);
        }
        lines
    }

    /// The job that it mines.
    pub(crate) fn job(&self) -> Option<&MinerJob> {
        let is_ready = self.is_authorized && self.extra_nonce1.is_some() && !self.is_stuck;
        self.jobs.back().filter(|_| is_ready)
    }

    /// The target of the shares that it submits.
    pub(crate) fn target(&self) -> Option<Target> {
        let job = self.job()?;
        let own = match self.kind() {
            MinerKind::Goldshell | MinerKind::Handy => Target::of_difficulty(self.difficulty?),
            _ => job.read.share,
        };
        Some(own.max(job.read.network))
    }

    /// The next whole line received.
    pub(crate) fn next_line(&mut self) -> Option<String> {
        let end = self.line.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.line.drain(..=end).collect();
        Some(String::from_utf8(line).expect("servers send UTF-8"))
    }

    pub(crate) fn push_job(&mut self, job: MinerJob) {
        if self.jobs.len() == JOBS_MAX {
            self.jobs.pop_front();
        }
        if self.kind() == MinerKind::Goldshell {
            // A job with the same id stops it, even after a reconnect.
            let before = self
                .jobs
                .back()
                .map(|job| &job.read.id)
                .or(self.last_job.as_ref());
            self.is_stuck = before == Some(&job.read.id);
        }
        self.jobs.push_back(job);
        self.work_number += 1;
    }

    /// Remembers a share to send it again.
    pub(crate) fn remember(&mut self, line: String, submitted: Submitted) {
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((line, submitted));
    }

    /// True if so many shares were rejected that it gives up the connection.
    pub(crate) fn is_fed_up(&mut self, is_reject: bool) -> bool {
        if self.kind() != MinerKind::Goldshell {
            return false;
        }
        self.rejects.push_back(is_reject);
        if self.rejects.len() > 100 {
            self.rejects.pop_front();
        }
        self.rejects.iter().filter(|is_reject| **is_reject).count() > 30
    }
}

impl ServerMessage {
    /// Parses a line; `None` if it is not one that a stratum server sends.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut value: Value = serde_json::from_str(line).ok()?;
        if let Some(method) = value["method"].as_str() {
            return match method {
                "mining.set_difficulty" => {
                    // Parsed exactly, to the last bit, which the JSON parser does not do.
                    let (_, rest) = line.split_once("\"params\":[")?;
                    let (text, _) = rest.split_once(']')?;
                    Difficulty::new(text.parse().ok()?).map(Self::Difficulty)
                }
                "mining.set_extranonce" => {
                    let id = value["params"][0].as_str()?;
                    u32::from_str_radix(id, 16).ok().map(Self::ExtraNonce)
                }
                "mining.notify" => Some(Self::Notify(value["params"].take())),
                other => Some(Self::Other(other.to_owned())),
            };
        }
        let error = match &value["error"] {
            Value::Null => None,
            error => Some((error[0].as_i64()?, error[1].as_str()?.to_owned())),
        };
        Some(Self::Reply {
            id: value["id"].to_string(),
            result: value["result"].take(),
            error,
        })
    }
}
