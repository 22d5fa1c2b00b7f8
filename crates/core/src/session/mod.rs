//! The protocol state of one connection: its users, the jobs it was sent with the difficulty of each, and
//! the replies that wait.
//!
//! Invariant: replies leave in the order of the requests. A reject behind a share that is not durable yet
//! waits for it (`replies_awaiting_ledger`). Requests are carried out in `pool`; here is only the state that they
//! share.

pub mod difficulty;
pub mod difficulty_grid;
pub(crate) mod extra_nonce;
pub(crate) mod rate;
pub(crate) mod replies_awaiting_ledger;
pub mod vardiff;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::accounting::ledger::Tally;
use crate::accounts::User;
use crate::chain::coinbase::Payout;
use crate::conn::MinerConn;
use crate::conn::conn_map::ConnMap;
use crate::event::{Actions, Arrival};
use crate::job::direct_payout::DirectPayout;
use crate::job::{Job, JobNumber};
use crate::limits::{ASSIGNMENTS_MAX, LOGIN_MS, LOW_SHARE_GRACE_MS, OWN_JOBS_MAX, WISH_MS};
use crate::pool::config::PoolConfig;
use crate::session::difficulty::{DifficultyPolicy, Urgency};
use crate::session::rate::Rate;
use crate::session::replies_awaiting_ledger::{Durability, RepliesAwaitingLedger};
use crate::units::{ConnId, Difficulty, Hash, Now, Seq, Target};
use crate::wire::message::write_set_difficulty;
use crate::wire::protocol::ProtocolPhase;

/// The difficulty of all jobs from one number up to the next assignment.
struct Assignment {
    from: JobNumber,
    difficulty: Difficulty,
    target: Target,
}

/// A user authorized on a connection, and its shares since they were last reported to the ledger.
pub(crate) struct Authorized {
    pub user: User,
    pub tally: Tally,
    pub rate: Rate,
    /// True once it has an accepted share.
    pub is_proven: bool,
    /// Time of the last accepted share on this connection.
    pub last_share_ms: Option<u64>,
    /// The smallest hash of its accepted shares.
    pub best_hash: Hash,
    /// The shares that were reported to the ledger before.
    pub told: Tally,
}

impl Authorized {
    /// Its hashrate is over the time of the connection, whenever the user came: else a connection whose users
    /// come and go would have more than its hashes.
    pub(crate) fn new(user: User, connected_at_ms: u64) -> Self {
        Self {
            user,
            tally: Tally::default(),
            rate: Rate::new(connected_at_ms),
            is_proven: false,
            last_share_ms: None,
            best_hash: Hash([0xff; 32]),
            told: Tally::default(),
        }
    }
}

/// The state of one connection.
pub(crate) struct Session {
    pub conn: MinerConn,
    pub difficulty_policy: DifficultyPolicy,
    /// Count of its names without an accepted share beyond those that every connection may have.
    pub unproven_beyond: usize,
    /// Set by `mining.subscribe`.
    pub extra_nonce1: Option<u32>,
    pub users: Vec<Authorized>,
    pub is_admin: bool,
    /// True once it has sent `mining.authorize_admin`: without a user agent it is then a HandyMiner in
    /// solo mode.
    pub has_asked_for_admin: bool,
    /// True while a password check or a write is open that the next line has to wait for.
    pub is_asking: bool,
    /// Set on a connection over which a proxy sends `hstratum.hello`: count of miners here that it could
    /// move to another server.
    pub proxied: Option<u32>,
    /// True while its connection is read before others.
    pub is_read_first: bool,
    /// Recipient of its blocks, by the listener.
    pub payout: Payout,
    /// The payee of a connection of a solo listener: set with its first user, and never changed.
    pub direct: Option<Arc<DirectPayout>>,
    /// The difficulty of the last job.
    announced: Option<Difficulty>,
    /// The first job it was sent; it was sent every shared one since.
    first_job: Option<JobNumber>,
    last_job: JobNumber,
    first_job_at_ms: u64,
    assignments: VecDeque<Assignment>,
    pub own_jobs: VecDeque<Box<Job>>,
    replies: RepliesAwaitingLedger,
    /// Earliest time of the next job for a requested difficulty, and whether one is due then.
    wish_at_ms: u64,
    is_wish_due: bool,
    sent_at_ms: u64,
}

impl Session {
    pub(crate) fn new(conn: ConnId, arrival: Arrival, config: &PoolConfig, now: Now) -> Self {
        let (floor, dynamic) = (config.difficulty_min, config.dynamic);
        Self {
            difficulty_policy: DifficultyPolicy::new(arrival.difficulty, floor, dynamic, now.ms),
            conn: MinerConn::new(conn, arrival, now),
            unproven_beyond: 0,
            extra_nonce1: None,
            users: Vec::new(),
            is_admin: false,
            has_asked_for_admin: false,
            is_asking: false,
            proxied: None,
            is_read_first: false,
            payout: arrival.payout,
            direct: None,
            announced: None,
            first_job: None,
            last_job: 0,
            first_job_at_ms: now.ms,
            assignments: VecDeque::new(),
            own_jobs: VecDeque::new(),
            replies: RepliesAwaitingLedger::default(),
            wish_at_ms: now.ms,
            is_wish_due: false,
            sent_at_ms: now.ms,
        }
    }

    /// True if it is subscribed and authorized, so that it gets jobs.
    pub(crate) fn is_ready(&self) -> bool {
        self.extra_nonce1.is_some() && !self.users.is_empty() && !self.is_closing()
    }

    /// True while its first job is so recent that shares above the target do not count against it.
    pub(crate) fn is_settling(&self, now: Now) -> bool {
        now.ms.saturating_sub(self.first_job_at_ms) < LOW_SHARE_GRACE_MS
    }

    /// True if it has taken longer than [`LOGIN_MS`] to subscribe and authorize.
    pub(crate) fn is_overdue(&self, now: Now) -> bool {
        !self.is_ready()
            && !self.is_closing()
            && !self.is_asking
            && now.ms.saturating_sub(self.conn.connected_at_ms) >= LOGIN_MS
    }

    /// True once it was sent a job.
    pub(crate) fn has_job(&self) -> bool {
        self.first_job.is_some()
    }

    /// True if it was sent this job or a later one.
    pub(crate) fn has_job_from(&self, number: JobNumber) -> bool {
        self.last_job >= number
    }

    /// Hashes per second of all its users.
    pub(crate) fn hashrate(&self, now: Now) -> f64 {
        let rates = self.users.iter().map(|one| one.rate.hashes_per_s(now.ms));
        // The sum of nothing would be -0.
        rates.fold(0.0, |sum, rate| sum + rate)
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.conn.phase, ProtocolPhase::Closing)
    }

    /// True if every request was answered.
    pub(crate) fn waits_for_nothing(&self) -> bool {
        !self.is_asking && self.replies.is_empty()
    }

    /// True if its next line has to wait, for a password check or because too many replies wait.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_asking || self.replies.are_full()
    }

    /// Index in `users` of the user with this cleaned name.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.users.iter().position(|one| &*one.user.name == name)
    }

    /// Adds a user. The first one reserves room for one entry and not for the four that a vector starts
    /// with: most connections have a single user.
    pub(crate) fn add_user(&mut self, user: Authorized) {
        if self.users.is_empty() {
            self.users.reserve_exact(1);
        }
        self.users.push(user);
    }

    /// The difficulty of its last job, which is the one announced except for [`DifficultyPolicy::told`]; `None`
    /// before its first job.
    pub(crate) fn announced(&self) -> Option<Difficulty> {
        self.announced
    }

    /// Records that `job` is sent here, and announces its difficulty if that has changed.
    pub(crate) fn assign(&mut self, job: &Job, now: Now, out: &mut Actions) {
        if self.first_job.is_none() {
            self.first_job = Some(job.number);
            self.first_job_at_ms = now.ms;
        }
        self.last_job = job.number;
        let difficulty = job.cap(self.difficulty_policy.difficulty());
        if self.assignments.back().map(|last| last.difficulty) != Some(difficulty) {
            if self.assignments.len() == ASSIGNMENTS_MAX {
                self.assignments.pop_front();
            }
            if self.assignments.is_empty() {
                self.assignments.reserve_exact(1);
            }
            self.assignments.push_back(Assignment {
                from: job.number,
                difficulty,
                target: Target::of_difficulty(difficulty),
            });
            self.difficulty_policy.restart(now.ms);
        }
        if self.announced != Some(difficulty) {
            self.announced = Some(difficulty);
            let told = self.difficulty_policy.told(difficulty);
            out.send(self.conn.id, |line| write_set_difficulty(line, told));
        }
        self.sent_at_ms = now.ms;
    }

    /// The difficulty and the target that a job was sent under; `None` if it was not sent here, or too
    /// long ago.
    pub(crate) fn assigned(&self, job: JobNumber) -> Option<(Difficulty, Target)> {
        if job < self.first_job? {
            return None;
        }
        let assignment = self.assignments.iter().rev().find(|a| a.from <= job)?;
        Some((assignment.difficulty, assignment.target))
    }

    /// Counts an accepted share. [`Urgency::Now`] if the difficulty is far off. Shares of jobs under an
    /// earlier difficulty are ignored.
    pub(crate) fn count_share(&mut self, difficulty: Difficulty, now: Now) -> Urgency {
        self.conn.has_credit = true;
        if self.announced == Some(difficulty) {
            self.difficulty_policy
                .share(difficulty, self.users.len(), now.ms)
        } else {
            Urgency::Later
        }
    }

    /// Checks if shares have been missing for too long. [`Urgency::Now`] if the difficulty is far off.
    pub(crate) fn check_silence(&mut self, now: Now) -> Urgency {
        match self.announced {
            Some(announced) => self
                .difficulty_policy
                .silence(announced, self.users.len(), now.ms),
            None => Urgency::Later,
        }
    }

    /// True if a job for a requested difficulty may be sent now, at most one each [`WISH_MS`]; if false,
    /// one becomes due.
    pub(crate) fn may_take_requested_difficulty(&mut self, now: Now) -> bool {
        let may = now.ms >= self.wish_at_ms;
        if may {
            self.wish_at_ms = now.ms + WISH_MS;
        }
        self.is_wish_due = !may;
        may
    }

    /// True if a job for a requested difficulty is due and may be sent now.
    pub(crate) fn takes_requested_difficulty(&mut self, now: Now) -> bool {
        self.is_wish_due && self.may_take_requested_difficulty(now)
    }

    /// True if the next job would come with another difficulty than the last.
    pub(crate) fn is_due_another(&self, newest: &Job) -> bool {
        self.announced != Some(newest.cap(self.difficulty_policy.difficulty()))
    }

    /// Handles a share that is no block from a miner taken to send blocks only. Work for the jobs it has
    /// counts for blocks only; its next job, due soon, has a usual difficulty.
    pub(crate) fn mines_shares(&mut self, now: Now) {
        self.difficulty_policy.mines_shares(now.ms);
        self.is_wish_due = true;
    }

    /// Keeps a job made for this connection alone; beyond [`OWN_JOBS_MAX`] the oldest is forgotten.
    pub(crate) fn push_own_job(&mut self, job: Box<Job>) {
        if self.own_jobs.len() == OWN_JOBS_MAX {
            self.own_jobs.pop_front();
        }
        self.own_jobs.push_back(job);
    }

    /// Closes its own jobs below this number for shares.
    pub(crate) fn close_own_jobs(&mut self, below: JobNumber) {
        let old = self.own_jobs.iter_mut().filter(|job| job.number < below);
        old.for_each(|job| job.close());
    }

    /// Forgets its own jobs of templates before `oldest`.
    #[inline]
    pub(crate) fn forget_jobs(&mut self, oldest: u64) {
        while self
            .own_jobs
            .front()
            .is_some_and(|job| job.template.id < oldest)
        {
            self.own_jobs.pop_front();
        }
    }

    /// Repeats the difficulty if nothing was sent for `silence_ms`, because a Goldshell gives up on a
    /// silent server.
    pub(crate) fn keep_alive(&mut self, silence_ms: u64, now: Now, out: &mut Actions) {
        if let Some(difficulty) = self.announced
            && now.ms.saturating_sub(self.sent_at_ms) >= silence_ms
        {
            self.sent_at_ms = now.ms;
            let told = self.difficulty_policy.told(difficulty);
            out.send(self.conn.id, |line| write_set_difficulty(line, told));
        }
    }

    /// Count of remembered assignments.
    pub(crate) fn assignments(&self) -> usize {
        self.assignments.len()
    }

    /// Counts of waiting replies and of their bytes.
    pub(crate) fn replies(&self) -> (usize, usize) {
        self.replies.sizes()
    }

    /// Sends a reply, or queues it behind those that wait.
    pub(crate) fn reply(&mut self, now: Now, out: &mut Actions, write: impl FnOnce(&mut Vec<u8>)) {
        if self.replies.is_empty() {
            self.sent_at_ms = now.ms;
            out.send(self.conn.id, write);
        } else {
            self.replies.push_line(write);
        }
    }

    /// Queues the reply to an accepted share until the ledger has settled `seq`. Without an id no line is
    /// sent.
    pub(crate) fn reply_after(&mut self, seq: Seq, id: Option<&str>) {
        self.replies.push_share(seq, id);
    }

    /// Sends the replies that wait no longer, once the shares up to `settled` have this outcome.
    pub(crate) fn release(&mut self, settled: Seq, fate: Durability, now: Now, out: &mut Actions) {
        let mut is_sent = false;
        out.send(self.conn.id, |lines| {
            let start = lines.len();
            self.replies.release(settled, fate, lines);
            is_sent = lines.len() > start;
        });
        if is_sent {
            self.sent_at_ms = now.ms;
        }
    }
}

/// All sessions.
pub(crate) type Sessions = ConnMap<Box<Session>>;
