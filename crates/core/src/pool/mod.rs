//! The pool: a function from events to actions, with the clock as an argument and effects as values.
//!
//! [`Pool::handle`] is the only way in. The pool owns every session, job and account; one thread owns the
//! pool. Invariant: a found block is the first action of its event, before anything is logged or counted.
//! Sockets, files, threads, clocks and log output are not in here.

pub(crate) mod authorize;
pub(crate) mod clock_skew;
pub mod config;
pub(crate) mod delayed_close;
pub(crate) mod dispatch;
pub(crate) mod drain;
pub(crate) mod found_blocks;
pub mod info;
pub mod memory_usage;
pub(crate) mod name_limits;
pub mod orders;
pub(crate) mod password_queue;
pub(crate) mod pending_shares;
pub(crate) mod proxy_requests;
pub(crate) mod remote_changes;
pub mod status;
pub(crate) mod stranger_log;
pub(crate) mod submit;
pub(crate) mod suggest;
pub(crate) mod wire_admin;
pub(crate) mod worker_stats;

use crate::pool::config::PoolConfig;
use std::net::IpAddr;
use std::sync::Arc;

use crate::accounts::ban::{Bans, Guesses, network_of};
use crate::accounts::password::{StoredPassword, hash256};
use crate::accounts::refused_logins::RefusedLogins;
use crate::accounts::{ADMIN, Accounts};
use crate::chain::block::{FoundBlock, Reach, Solution, Verdict};
use crate::chain::template::Template;
use crate::event::{Action, Actions, Arrival, ArrivalKind, CloseHow, Event, Level, Listening};
use crate::job::Jobs;
use crate::limits::{JOBLESS_GRACE_MS, KEEPALIVE_MS, SWEEP_MS};
use crate::log_limit::LogLimit;
use crate::order::NewUser;
use crate::pool::authorize::{Asker, PasswordTasks};
use crate::pool::clock_skew::{CLOCK_BEHIND, is_ahead_of_clock};
use crate::pool::delayed_close::DelayedCloses;
use crate::pool::dispatch::RequestContext;
use crate::pool::drain::Drain;
use crate::pool::found_blocks::FoundBlocks;
use crate::pool::password_queue::PasswordQueue;
use crate::pool::pending_shares::PendingShares;
use crate::pool::status::PoolCounts;
use crate::pool::worker_stats::Tallies;
use crate::session::difficulty::Urgency;
use crate::session::extra_nonce::ExtraNonces;
use crate::session::pending_replies::Durability;
use crate::session::rate::Rate;
use crate::session::{Session, Sessions};
use crate::units::{ConnId, Hash, Height, Now, Seq};

/// The state that all sessions share.
pub(crate) struct PoolShared {
    pub config: PoolConfig,
    pub accounts: Accounts,
    pub jobs: Jobs,
    pub extra_nonces: ExtraNonces,
    /// The chain's tip, which must be the parent of a job.
    pub tip: Option<Hash>,
    pub is_listening: bool,
    /// True once proxies should move their miners to other servers.
    pub is_leaving: bool,
    /// True if the current job remembers so many shares that everybody needs a fresh one.
    pub wants_fresh_job: bool,
    pub ledger: PendingShares,
    /// Connections to close at the end of the event.
    pub closing: Vec<(ConnId, CloseHow)>,
    pub delayed_closes: DelayedCloses,
    /// Time since which there is no job; `None` while there is one.
    jobless_since_ms: Option<u64>,
    /// Rate limit of log lines that strangers cause.
    pub log_limit: LogLimit,
    /// Count of names without an accepted share, beyond those that every connection may have.
    pub names_unproven: usize,
    pub password_tasks: PasswordTasks,
    pub password_queue: PasswordQueue,
    pub guesses: Guesses,
    pub refusals: RefusedLogins,
    /// Users that an admin on the wire has asked to add in this event.
    pub wanted_users: Vec<(Asker, NewUser)>,
    /// Addresses of connections that were dropped for misbehaviour in this event.
    pub dropped: Vec<IpAddr>,
    /// Counters for status reports, see `status`.
    pub counts: PoolCounts,
    pub rate: Rate,
    pub found: FoundBlocks,
    pub last_block: Option<(Height, Hash)>,
}

/// The mining pool of one server.
pub struct Pool {
    pub(crate) shared: PoolShared,
    pub(crate) sessions: Sessions,
    pub(crate) tallies: Tallies,
    pub(crate) bans: Bans,
    pub(crate) drain: Option<Drain>,
    /// The state of the port that was last ordered.
    pub(crate) port: Listening,
    pub(crate) no_template: Option<String>,
    /// Time at which the newest template came.
    pub(crate) job_at_ms: u64,
    next_sweep_ms: u64,
    /// Unix time of the last tick, in seconds.
    pub(crate) clock_s: u64,
}

impl Pool {
    /// A pool without miners and without a job, which knows `users`. It assumes that the port listens and
    /// that the ledger takes shares. Its first share is numbered after `recorded`.
    pub fn new(
        config: PoolConfig,
        users: impl IntoIterator<Item = (String, StoredPassword)>,
        recorded: Seq,
        now: Now,
    ) -> Self {
        let mut accounts = Accounts::new(config.auth, config.network, config.boot.secret);
        for (name, password) in users {
            accounts.insert(&name, password);
        }
        if let Some(password) = &config.admin_password {
            let password = StoredPassword::Hash256(hash256(password.as_bytes()));
            accounts.insert(ADMIN, password);
        }
        Self {
            shared: PoolShared {
                accounts,
                jobs: Jobs::new(config.boot, config.shares_remembered_max),
                extra_nonces: ExtraNonces::new(config.boot.nonce, config.hints_max),
                tip: None,
                is_listening: true,
                is_leaving: false,
                wants_fresh_job: false,
                ledger: PendingShares::new(recorded),
                closing: Vec::new(),
                delayed_closes: DelayedCloses::default(),
                jobless_since_ms: Some(now.ms),
                log_limit: LogLimit::default(),
                names_unproven: 0,
                password_tasks: PasswordTasks::new(config.boot.nonce),
                password_queue: PasswordQueue::default(),
                guesses: Guesses::default(),
                refusals: RefusedLogins::default(),
                wanted_users: Vec::new(),
                dropped: Vec::new(),
                counts: PoolCounts::default(),
                rate: Rate::new(now.ms),
                found: FoundBlocks::default(),
                last_block: None,
                config,
            },
            sessions: Sessions::default(),
            tallies: Tallies::new(now.ms),
            bans: Bans::default(),
            drain: None,
            port: Listening::On,
            no_template: None,
            job_at_ms: now.ms,
            next_sweep_ms: now.ms + SWEEP_MS,
            clock_s: now.unix_s,
        }
    }

    /// Handles one event and appends the resulting actions to `out`. `now.ms` must not be less than in
    /// the call before.
    pub fn handle(&mut self, now: Now, event: Event<'_>, out: &mut Actions) {
        match event {
            Event::Tip(hash) => self.handle_tip(now, hash),
            Event::Template(template) => self.handle_template(now, *template, out),
            Event::Transactions(template, bytes) => {
                for (solution, transactions) in self.shared.jobs.set_transactions(template, bytes) {
                    // If it is not waited for, the node has answered already, and a spooled copy is not
                    // needed.
                    if self.shared.found.is_waiting(solution.hash) {
                        out.push(Action::Spool(solution, transactions));
                    }
                }
            }
            Event::NoTemplate(reason) => self.handle_no_template(now, reason, out),
            Event::BlockResult(hash, verdict) => self.handle_block_result(hash, verdict, out),
            Event::Spooled(block) => {
                out.log(
                    Level::Info,
                    format!("offered again from the spool: {}", block.hash),
                );
                self.shared.found.first_offer(block.hash);
                out.push(Action::BlockFound(block.clone()));
                self.shared.found.wait_for(*block);
            }
            Event::Connected(conn, arrival) => self.handle_connected(now, conn, arrival, out),
            Event::Received(conn, bytes) => {
                if let Some(session) = self.sessions.get_mut(conn) {
                    RequestContext {
                        shared: &mut self.shared,
                        now,
                        out,
                    }
                    .receive(session, bytes);
                }
            }
            Event::Finished(conn) => self.handle_finished(conn),
            Event::Closed(conn) => self.forget(now, conn, out),
            Event::Durable(seq) => self.handle_settled(now, seq, Durability::Durable, out),
            Event::NotDurable(seq) => self.handle_settled(now, seq, Durability::GivenUp, out),
            Event::Ledger(state) => self.shared.ledger.set_state(state),
            Event::PasswordChecked(ticket, right) => self.handle_password(now, ticket, right, out),
            Event::UserAdded(ticket, stored) => self.handle_user_added(now, ticket, stored, out),
            Event::Users(changes) => self.handle_users(changes, out),
            Event::Bans(bans) => self.handle_bans(bans),
            Event::Order(id, order) => self.handle_order(now, id, order, out),
            Event::Leave => self.leave(),
            Event::Tick => self.handle_tick(now, out),
            Event::Stop => self.take_tallies(out),
        }
        self.write_wanted_users(now, out);
        if std::mem::take(&mut self.shared.wants_fresh_job) {
            self.handle_full_job(now, out);
        }
        for address in std::mem::take(&mut self.shared.dropped) {
            self.handle_dropped(now, address, out);
        }
        for (conn, how) in std::mem::take(&mut self.shared.closing) {
            self.close(now, conn, how, out);
        }
    }

    fn handle_tip(&mut self, now: Now, hash: Hash) {
        self.shared.tip = Some(hash);
        if !self.shared.has_live_job() {
            self.shared.jobless_since_ms.get_or_insert(now.ms);
        } else if self.no_template.is_none() {
            // A reorganization has come back to the block that the job builds on.
            self.shared.jobless_since_ms = None;
        }
    }

    fn handle_template(&mut self, now: Now, template: Template, out: &mut Actions) {
        if self
            .shared
            .tip
            .is_some_and(|tip| tip != template.prev_block)
        {
            return;
        }
        self.shared.tip = Some(template.prev_block);
        if is_ahead_of_clock(&template, now) {
            return self.handle_no_template(now, CLOCK_BEHIND.to_owned(), out);
        }
        self.shared.jobless_since_ms = None;
        if self.no_template.take().is_some() {
            out.log(Level::Info, "there is a job for miners again".to_owned());
        }
        if !self.shared.is_listening {
            self.shared.is_listening = true;
            self.keep_port(out);
        }
        self.job_at_ms = now.ms;
        self.shared.jobs.push(template);
        self.broadcast_newest_job(now, out);
    }

    fn handle_full_job(&mut self, now: Now, out: &mut Actions) {
        let jobs = &mut self.shared.jobs;
        if !jobs.wants_fresh() || jobs.push_fresh().is_none() {
            return;
        }
        if let Some(closed_below) = jobs.begin_generation() {
            for session in self.sessions.iter_mut() {
                session.close_own_jobs(closed_below);
            }
        }
        self.broadcast_newest_job(now, out);
    }

    /// Sends the same bytes of `mining.notify` to everybody, each after a new difficulty if it has
    /// changed.
    pub(crate) fn broadcast_newest_job(&mut self, now: Now, out: &mut Actions) {
        let jobs = &self.shared.jobs;
        let Some(job) = jobs.newest() else { return };
        let mut line = Vec::new();
        jobs.write_notify(&mut line, job, now.unix_s);
        let line: Arc<[u8]> = line.into();
        let oldest = jobs.oldest_template();
        for session in self
            .sessions
            .iter_mut()
            .filter(|session| session.is_ready())
        {
            session.forget_jobs(oldest);
            session.assign(job, now, out);
            out.push(Action::SendShared(session.conn, line.clone()));
        }
    }

    pub(crate) fn handle_no_template(&mut self, now: Now, reason: String, out: &mut Actions) {
        self.shared.jobless_since_ms.get_or_insert(now.ms);
        if self.no_template.as_ref() != Some(&reason) {
            out.log(Level::Warning, format!("no job for miners: {reason}"));
            self.no_template = Some(reason);
        }
    }

    fn handle_block_result(&mut self, hash: Hash, verdict: Verdict, out: &mut Actions) {
        let Some(block) = self.shared.found.take(hash) else {
            return;
        };
        let height = block.height.0;
        match &verdict {
            Verdict::Accepted => {
                out.log(Level::Info, format!("block accepted: {height} {hash}"));
            }
            Verdict::Side => {
                let text = format!("block on a side chain, no reward: {height} {hash}");
                out.log(Level::Warning, text);
            }
            Verdict::Refused(reason) => {
                out.log(
                    Level::Error,
                    format!("block refused: {height} {hash}: {reason}"),
                );
            }
            Verdict::Unknown(reason) => {
                let text = format!(
                    "the node did not judge block {height} {hash}: {reason}; it stays in \
                     the spool and is offered again at the next start"
                );
                out.log(Level::Error, text);
                // Its transactions may still come; then it is spooled with them.
                return self.shared.found.wait_for(block);
            }
        }
        out.push(Action::BlockAnswered(hash, verdict));
    }

    fn handle_connected(&mut self, now: Now, conn: ConnId, arrival: Arrival, out: &mut Actions) {
        if arrival.kind == ArrivalKind::Miner && self.bans.is_banned(arrival.address, now) {
            self.shared.counts.refused_banned += 1;
            out.push(Action::Close(conn, CloseHow::Reset));
            return;
        }
        self.shared.counts.opened += 1;
        let session = Session::new(conn, arrival, &self.shared.config, now);
        self.sessions.insert(session);
    }

    /// Counts a dropped connection against its address, unless a miner with accepted shares is connected
    /// from there: it must not be shut out for the faults of others.
    fn handle_dropped(&mut self, now: Now, address: IpAddr, out: &mut Actions) {
        let network = network_of(address);
        let mines =
            |session: &mut Session| session.has_credit && network_of(session.address) == network;
        if !self.sessions.iter_mut().any(mines) && self.bans.drop_from(address, now.ms) {
            let text = || format!("refusing {network} for ten minutes: it keeps misbehaving");
            self.shared.log_limit.tell(now, Level::Warning, text, out);
        }
    }

    fn handle_tick(&mut self, now: Now, out: &mut Actions) {
        self.shared.tell_what_was_left_out(now, out);
        while let Some(conn) = self.shared.delayed_closes.next(now.ms) {
            self.shared.closing.push((conn, CloseHow::Reset));
        }
        if let Some(since) = self.shared.jobless_since_ms
            && self.shared.is_listening
            && now.ms.saturating_sub(since) >= JOBLESS_GRACE_MS
        {
            self.stop_listening(out);
        }
        if !self.shared.is_listening {
            // Connections accepted just before are closed too: known miners would wait for ever.
            for session in self.sessions.iter_mut() {
                self.shared.closing.push((session.conn, CloseHow::Reset));
            }
        }
        self.move_away(now, out);
        self.check_clock(now, out);
        if now.ms >= self.next_sweep_ms {
            self.next_sweep_ms = now.ms + SWEEP_MS;
            self.sweep_sessions(now, out);
        }
    }

    /// Checks each session for silence on either side, every [`SWEEP_MS`].
    fn sweep_sessions(&mut self, now: Now, out: &mut Actions) {
        for session in self.sessions.iter_mut() {
            if session.is_ready() {
                session.keep_alive(KEEPALIVE_MS, now, out);
                let is_silent = session.check_silence(now) == Urgency::Now;
                if session.takes_requested_difficulty(now) || is_silent {
                    let mut context = RequestContext {
                        shared: &mut self.shared,
                        now,
                        out,
                    };
                    context.send_changed_difficulty(session);
                }
            } else if session.is_overdue(now) {
                self.shared.closing.push((session.conn, CloseHow::Reset));
            }
        }
        if self.tallies.are_due(now.ms) {
            self.take_tallies(out);
        }
    }

    /// Closes the port and all connections, so that miners fail over to a pool that has work.
    fn stop_listening(&mut self, out: &mut Actions) {
        self.shared.is_listening = false;
        self.keep_port(out);
        out.log(
            Level::Warning,
            "no job for 15 s: connections are reset and refused until there is one".to_owned(),
        );
    }

    fn close(&mut self, now: Now, conn: ConnId, how: CloseHow, out: &mut Actions) {
        if self.sessions.get_mut(conn).is_some() {
            self.forget(now, conn, out);
            out.push(Action::Close(conn, how));
        }
    }

    fn forget(&mut self, now: Now, conn: ConnId, out: &mut Actions) {
        let Some(mut session) = self.sessions.remove(conn) else {
            return;
        };
        self.shared.counts.closed += 1;
        self.shared.counts.probes -= u64::from(session.proxied.is_some());
        self.shared.names_unproven -= session.unproven_beyond;
        self.tallies.keep(&mut session, out);
        self.shared.forget_password_task(conn);
        if let Some(extra_nonce1) = session.extra_nonce1 {
            let difficulty = session.difficulty_policy.to_resume();
            self.shared.extra_nonces.free(extra_nonce1, difficulty, now);
        }
    }
}

impl PoolShared {
    /// True if there is a job and its parent is the tip.
    pub(crate) fn has_live_job(&self) -> bool {
        let newest = self.jobs.newest();
        self.tip.is_some() && newest.map(|job| job.template.prev_block) == self.tip
    }

    /// Resets a connection after [`CLOSE_DELAY_MS`](crate::limits::CLOSE_DELAY_MS), because some miners
    /// reconnect at once.
    pub(crate) fn close_later(&mut self, conn: ConnId, now: Now) {
        let oldest = self.delayed_closes.add(conn, now.ms);
        self.closing
            .extend(oldest.map(|conn| (conn, CloseHow::Reset)));
    }

    /// Offers a block to the node, only once however often it is submitted, and announces it to the
    /// ledger and the spool.
    pub(crate) fn offer(&mut self, solution: Solution, out: &mut Actions) {
        if !self.found.first_offer(solution.hash) {
            return;
        }
        let (height, hash) = (solution.template.height.0, solution.hash);
        if let Err(wrong) = solution.verify() {
            let text =
                format!("block {height} {hash} is not offered, it would be invalid: {wrong}");
            return out.log(Level::Error, text);
        }
        let solution = Arc::new(solution);
        let found = FoundBlock::of(&solution);
        self.found.wait_for(found.clone());
        self.last_block = Some((found.height, found.hash));
        self.counts.blocks += 1;
        out.push_first(Action::SubmitBlock(solution.clone()));
        out.push(Action::BlockFound(Box::new(found)));
        let late = match solution.reach {
            Reach::Network => "",
            Reach::Chain => ", too late: its parent is no longer the tip",
        };
        let account = &solution.account;
        out.log(
            Level::Info,
            format!("block found: {height} {hash} by {account:?}{late}"),
        );
        if let Some(transactions) = self.jobs.transactions_for(&solution) {
            out.push(Action::Spool(solution, transactions));
        }
    }
}
