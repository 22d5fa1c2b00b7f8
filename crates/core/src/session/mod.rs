//! One connection's protocol state: who is on it, which jobs it was given at which difficulty,
//! and which replies wait.
//!
//! Replies leave in the order of the requests: a reject behind a share that is not durable yet
//! waits for it, see `reply`. What a request means is in `login` and `submit`; here is what they share.

pub mod difficulty;
pub mod difficulty_grid;
pub(crate) mod extra_nonce;
pub(crate) mod pending_replies;
pub(crate) mod rate;
pub mod vardiff;

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::accounting::ledger::Tally;
use crate::accounts::User;
use crate::event::{Actions, Arrival, ArrivalKind};
use crate::job::{Job, JobNumber};
use crate::limits::{
    ASSIGNMENTS_MAX, LOGIN_MS, LOW_SHARE_GRACE_MS, OWN_JOBS_MAX, SCORE_DECAY_PER_S, SCORE_MAX,
    WISH_MS,
};
use crate::pool::config::PoolConfig;
use crate::session::difficulty::{Pace, Urgency};
use crate::session::pending_replies::{Fate, Replies};
use crate::session::rate::Rate;
use crate::units::{ConnId, Difficulty, Now, Seq, Target};
use crate::wire::line::LineBuffer;
use crate::wire::message::write_set_difficulty;
use crate::wire::protocol::Phase;

/// The difficulty of the jobs from one number on.
struct Assignment {
    from: JobNumber,
    difficulty: Difficulty,
    target: Target,
}

/// A user of a connection, and what it has sent since that was last taken.
pub(crate) struct Authorized {
    pub user: User,
    pub tally: Tally,
    pub rate: Rate,
    /// Whether it has an accepted share.
    pub is_proven: bool,
    /// When a share was last accepted here.
    pub last_share_ms: Option<u64>,
    /// What it sent here and was told.
    pub told: Tally,
}

impl Authorized {
    pub(crate) fn new(user: User, now_ms: u64) -> Self {
        Self {
            user,
            tally: Tally::default(),
            rate: Rate::new(now_ms),
            is_proven: false,
            last_share_ms: None,
            told: Tally::default(),
        }
    }
}

/// A connection.
pub(crate) struct Session {
    pub conn: ConnId,
    pub address: IpAddr,
    pub kind: ArrivalKind,
    pub connected_at_ms: u64,
    pub pace: Pace,
    /// Whether it has earned credit.
    pub has_credit: bool,
    /// Whether the sockets know that it has logged in.
    pub is_admitted: bool,
    /// The peer sends no more.
    pub is_finished: bool,
    /// Of its names without an accepted share those beyond what every connection may have.
    pub unproven_beyond: usize,
    pub phase: Phase,
    pub lines: LineBuffer,
    /// Set by subscribe.
    pub extra_nonce1: Option<u32>,
    pub users: Vec<Authorized>,
    pub is_admin: bool,
    /// It has sent `mining.authorize_admin`: without an agent it is a HandyMiner in solo mode.
    pub has_asked_for_admin: bool,
    /// A question is open whose answer the next line has to wait for.
    pub is_asking: bool,
    /// Miners here that a proxy, which asks over this connection, could take elsewhere.
    pub proxied: Option<u32>,
    pub is_paused: bool,
    /// What the miner was told last.
    announced: Option<Difficulty>,
    /// The first job it was given: it has every shared one since.
    first_job: Option<JobNumber>,
    first_job_at_ms: u64,
    assignments: VecDeque<Assignment>,
    pub own_jobs: VecDeque<Box<Job>>,
    replies: Replies,
    /// When it may have a job for what it asks for again, and whether it waits for that.
    wish_at_ms: u64,
    is_wish_due: bool,
    score: u32,
    scored_at_ms: u64,
    sent_at_ms: u64,
}

impl Session {
    pub(crate) fn new(conn: ConnId, arrival: Arrival, config: &PoolConfig, now: Now) -> Self {
        let (floor, dynamic) = (config.difficulty_min, config.dynamic);
        Self {
            conn,
            address: arrival.address,
            kind: arrival.kind,
            connected_at_ms: now.ms,
            pace: Pace::new(arrival.difficulty, floor, dynamic, now.ms),
            has_credit: false,
            is_admitted: false,
            is_finished: false,
            unproven_beyond: 0,
            phase: Phase::New,
            lines: LineBuffer::default(),
            extra_nonce1: None,
            users: Vec::new(),
            is_admin: false,
            has_asked_for_admin: false,
            is_asking: false,
            proxied: None,
            is_paused: false,
            announced: None,
            first_job: None,
            first_job_at_ms: now.ms,
            assignments: VecDeque::new(),
            own_jobs: VecDeque::new(),
            replies: Replies::default(),
            wish_at_ms: now.ms,
            is_wish_due: false,
            score: 0,
            scored_at_ms: now.ms,
            sent_at_ms: now.ms,
        }
    }

    /// Whether it may have jobs.
    pub(crate) fn is_ready(&self) -> bool {
        self.extra_nonce1.is_some() && !self.users.is_empty() && !self.is_closing()
    }

    /// Whether its first job is so recent that low shares say nothing about it.
    pub(crate) fn is_settling(&self, now: Now) -> bool {
        now.ms.saturating_sub(self.first_job_at_ms) < LOW_SHARE_GRACE_MS
    }

    /// Whether it has taken too long to subscribe and authorize.
    pub(crate) fn is_overdue(&self, now: Now) -> bool {
        !self.is_ready()
            && !self.is_closing()
            && !self.is_asking
            && now.ms.saturating_sub(self.connected_at_ms) >= LOGIN_MS
    }

    /// Whether it has had a job.
    pub(crate) fn has_job(&self) -> bool {
        self.first_job.is_some()
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing)
    }

    /// Whether every request was answered.
    pub(crate) fn waits_for_nothing(&self) -> bool {
        !self.is_asking && self.replies.is_empty()
    }

    /// Whether its next line has to wait.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_asking || self.replies.are_full()
    }

    /// Where in `users` the user of a cleaned name is.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.users.iter().position(|one| &*one.user.name == name)
    }

    /// Most connections have one user and never another: the first gets room for one, not for the
    /// four that a vector begins with.
    pub(crate) fn add_user(&mut self, user: Authorized) {
        if self.users.is_empty() {
            self.users.reserve_exact(1);
        }
        self.users.push(user);
    }

    /// The difficulty of its last job, as it was told (but see [`Pace::told`]); none before its first.
    pub(crate) fn announced(&self) -> Option<Difficulty> {
        self.announced
    }

    /// Tells the miner its difficulty for jobs from `job` on, if it is another than before, and
    /// remembers that it has the job.
    pub(crate) fn assign(&mut self, job: &Job, now: Now, out: &mut Actions) {
        if self.first_job.is_none() {
            self.first_job = Some(job.number);
            self.first_job_at_ms = now.ms;
        }
        let difficulty = job.cap(self.pace.difficulty());
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
            self.pace.restart(now.ms);
        }
        if self.announced != Some(difficulty) {
            self.announced = Some(difficulty);
            let told = self.pace.told(difficulty);
            out.send(self.conn, |line| write_set_difficulty(line, told));
        }
        self.sent_at_ms = now.ms;
    }

    /// The difficulty and the target that a job was sent under; `None` when it was not sent here,
    /// or too long ago.
    pub(crate) fn assigned(&self, job: JobNumber) -> Option<(Difficulty, Target)> {
        if job < self.first_job? {
            return None;
        }
        let assignment = self.assignments.iter().rev().find(|a| a.from <= job)?;
        Some((assignment.difficulty, assignment.target))
    }

    /// Counts an accepted share of a job; whether the difficulty is now far off. Shares of jobs
    /// under an earlier difficulty do not tell.
    pub(crate) fn count_share(&mut self, difficulty: Difficulty, now: Now) -> Urgency {
        self.has_credit = true;
        if self.announced == Some(difficulty) {
            self.pace.share(difficulty, self.users.len(), now.ms)
        } else {
            Urgency::Later
        }
    }

    /// Looks whether the miner is too silent; whether its difficulty is now far off.
    pub(crate) fn look_for_silence(&mut self, now: Now) -> Urgency {
        match self.announced {
            Some(announced) => self.pace.silence(announced, self.users.len(), now.ms),
            None => Urgency::Later,
        }
    }

    /// Whether it may have a job for what it asks for now; if not, it is due one.
    pub(crate) fn may_have_its_wish(&mut self, now: Now) -> bool {
        let may = now.ms >= self.wish_at_ms;
        if may {
            self.wish_at_ms = now.ms + WISH_MS;
        }
        self.is_wish_due = !may;
        may
    }

    /// Whether it waits for a job for what it has asked for, and may have it.
    pub(crate) fn takes_wish(&mut self, now: Now) -> bool {
        self.is_wish_due && self.may_have_its_wish(now)
    }

    /// Whether the next job would come with another difficulty.
    pub(crate) fn is_due_another(&self, newest: &Job) -> bool {
        self.announced != Some(newest.cap(self.pace.difficulty()))
    }

    /// A share that is no block came from a miner that seemed to send blocks only. What was hashed for
    /// blocks counts for blocks; the next job, soon, is like everybody's.
    pub(crate) fn mines_shares(&mut self, now: Now) {
        self.pace.mines_shares(now.ms);
        self.is_wish_due = true;
    }

    /// Keeps a job made for this connection, and forgets those of templates before `oldest`.
    pub(crate) fn push_own_job(&mut self, job: Box<Job>) {
        if self.own_jobs.len() == OWN_JOBS_MAX {
            self.own_jobs.pop_front();
        }
        self.own_jobs.push_back(job);
    }

    /// Its own jobs below this number take no more shares.
    pub(crate) fn close_own_jobs(&mut self, below: JobNumber) {
        let old = self.own_jobs.iter_mut().filter(|job| job.number < below);
        old.for_each(|job| job.close());
    }

    /// Forgets jobs of templates before `oldest`.
    pub(crate) fn forget_jobs(&mut self, oldest: u64) {
        while self
            .own_jobs
            .front()
            .is_some_and(|job| job.template.id < oldest)
        {
            self.own_jobs.pop_front();
        }
    }

    /// Repeats the difficulty when nothing was sent for `silence_ms`, since a Goldshell gives up
    /// on a silent server.
    pub(crate) fn keep_alive(&mut self, silence_ms: u64, now: Now, out: &mut Actions) {
        if let Some(difficulty) = self.announced
            && now.ms.saturating_sub(self.sent_at_ms) >= silence_ms
        {
            self.sent_at_ms = now.ms;
            let told = self.pace.told(difficulty);
            out.send(self.conn, |line| write_set_difficulty(line, told));
        }
    }

    /// Difficulties that are remembered.
    pub(crate) fn assignments(&self) -> usize {
        self.assignments.len()
    }

    /// Replies that wait, and their bytes.
    pub(crate) fn replies(&self) -> (usize, usize) {
        self.replies.sizes()
    }

    /// Adds to the score; true when that is too much.
    pub(crate) fn blame(&mut self, points: u32, now: Now) -> bool {
        let forgiven =
            (now.ms.saturating_sub(self.scored_at_ms)) / 1000 * u64::from(SCORE_DECAY_PER_S);
        self.scored_at_ms += (now.ms.saturating_sub(self.scored_at_ms)) / 1000 * 1000;
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        self.score = self.score.saturating_sub(forgiven).saturating_add(points);
        self.score >= SCORE_MAX
    }

    /// Sends a reply, behind those that wait.
    pub(crate) fn reply(&mut self, now: Now, out: &mut Actions, write: impl FnOnce(&mut Vec<u8>)) {
        if self.replies.is_empty() {
            self.sent_at_ms = now.ms;
            out.send(self.conn, write);
        } else {
            self.replies.push_line(write);
        }
    }

    /// Answers an accepted share once the ledger has spoken of `seq`, where it has an id.
    pub(crate) fn reply_after(&mut self, seq: Seq, id: Option<&str>) {
        self.replies.push_share(seq, id);
    }

    /// Sends the replies that no longer wait once the shares up to `settled` have met their fate.
    pub(crate) fn release(&mut self, settled: Seq, fate: Fate, now: Now, out: &mut Actions) {
        let mut is_sent = false;
        out.send(self.conn, |lines| {
            let start = lines.len();
            self.replies.release(settled, fate, lines);
            is_sent = lines.len() > start;
        });
        if is_sent {
            self.sent_at_ms = now.ms;
        }
    }
}

/// The sessions, by the low half of their connection's id.
#[derive(Default)]
pub(crate) struct Sessions {
    slots: Vec<Option<Box<Session>>>,
}

impl Sessions {
    fn slot(conn: ConnId) -> usize {
        (conn.0 & 0xffff_ffff) as usize
    }

    pub(crate) fn insert(&mut self, session: Session) {
        let slot = Self::slot(session.conn);
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        assert!(self.slots[slot].is_none(), "a connection's slot is free");
        self.slots[slot] = Some(Box::new(session));
    }

    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Session> {
        let session = self.slots.get_mut(Self::slot(conn))?.as_deref_mut()?;
        (session.conn == conn).then_some(session)
    }

    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<Box<Session>> {
        self.get_mut(conn)?;
        self.slots[Self::slot(conn)].take()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().filter_map(Option::as_deref)
    }

    /// Those from this place on, each with its place.
    pub(crate) fn iter_from(&self, place: usize) -> impl Iterator<Item = (usize, &Session)> {
        let slots = self.slots.iter().enumerate().skip(place);
        slots.filter_map(|(place, slot)| Some((place, slot.as_deref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.slots.iter_mut().filter_map(Option::as_deref_mut)
    }
}
