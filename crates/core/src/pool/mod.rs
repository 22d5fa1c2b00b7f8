//! The pool: a function from events to actions, with the clock as an argument and effects as values.
//!
//! [`Pool::handle`] is the only way in. The pool owns every session, job and account; one thread owns the
//! pool. Invariant: a found block is the first action of its event, before anything is logged or counted.
//! Sockets, files, threads, clocks and log output are not in here.

pub(crate) mod authorize;
pub(crate) mod changes_of_other_servers;
pub(crate) mod clock_skew;
pub mod config;
pub mod counts;
pub(crate) mod dispatch;
pub(crate) mod drain;
pub mod drill;
pub(crate) mod found_blocks;
pub(crate) mod job_order;
pub(crate) mod ledger_results;
pub mod memory_usage;
pub(crate) mod name_limits;
pub(crate) mod offered_blocks;
pub mod operator_orders;
pub(crate) mod password_queue;
pub(crate) mod password_tasks;
pub(crate) mod payee;
pub(crate) mod proxy_requests;
pub(crate) mod shares_awaiting_ledger;
pub(crate) mod sign_in;
pub(crate) mod state;
pub mod status;
pub(crate) mod submit;
pub(crate) mod suggest;
pub(crate) mod templates;
pub(crate) mod wire_admin;
pub(crate) mod worker_stats;

pub use crate::pool::state::Pool;

use crate::conn::LineServer;
use crate::event::{Action, Actions, Arrival, ArrivalKind, CloseHow, Event, Level};
use crate::limits::{JOBLESS_GRACE_MS, KEEPALIVE_MS, SWEEP_MS};
use crate::pool::dispatch::RequestContext;
use crate::session::Session;
use crate::session::difficulty::Urgency;
use crate::session::replies_awaiting_ledger::Durability;
use crate::units::{ConnId, Now};

impl Pool {
    /// Handles one event and appends the resulting actions to `out`. `now.ms` must not be less than in
    /// the call before.
    pub fn handle(&mut self, now: Now, event: Event<'_>, out: &mut Actions) {
        match event {
            Event::Tip(hash) => self.handle_tip(now, hash),
            Event::Template(template) => self.handle_template(now, *template, out),
            Event::SoloJobs => self.send_solo_jobs(now, out),
            Event::Transactions(template, bytes) => self.handle_transactions(template, bytes, out),
            Event::NoTemplate(reason) => self.handle_no_template(now, reason, out),
            Event::BlockResult(hash, verdict) => self.handle_block_result(hash, verdict, out),
            Event::Spooled(block) => self.handle_spooled(*block, out),
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
            Event::PayoutAddresses(addresses) => self.shared.payout_addresses = Some(addresses),
            Event::Split(split) => self.handle_split(now, split, out),
            Event::Order(id, order) => self.handle_order(now, id, order, out),
            Event::Leave => self.leave(),
            Event::Tick => self.handle_tick(now, out),
            Event::Stop => self.tallies.report(&mut self.sessions, out),
        }
        self.write_wanted_users(now, out);
        if std::mem::take(&mut self.shared.wants_fresh_job) {
            self.handle_full_job(now, out);
        }
        for address in std::mem::take(&mut self.shared.conns.dropped) {
            let earning = self.sessions.iter().filter(|one| one.conn.has_credit);
            let earning = earning.map(|one| one.conn.address);
            let conns = &mut self.shared.conns;
            conns.count_drop(now, address, &mut self.bans, earning, out);
        }
        for (conn, how) in std::mem::take(&mut self.shared.conns.closing) {
            self.close(now, conn, how, out);
        }
    }

    fn handle_connected(&mut self, now: Now, conn: ConnId, arrival: Arrival, out: &mut Actions) {
        if arrival.kind == ArrivalKind::Miner && self.bans.is_banned(arrival.address, now) {
            self.shared.counts.refused_banned += 1;
            out.push(Action::Close(conn, CloseHow::Reset));
            return;
        }
        self.shared.counts.opened += 1;
        let session = Session::new(conn, arrival, &self.shared.config, now);
        let before = self.sessions.insert(conn, Box::new(session));
        assert!(before.is_none(), "a connection's slot is free");
        self.job_order.add(conn, &self.sessions);
    }

    fn handle_tick(&mut self, now: Now, out: &mut Actions) {
        self.shared.conns.tick(now, out);
        if let Some(since) = self.shared.jobless_since_ms
            && self.shared.is_listening
            && now.ms.saturating_sub(since) >= JOBLESS_GRACE_MS
        {
            self.stop_listening(out);
        }
        if !self.shared.is_listening {
            // Connections accepted just before are closed too: known miners would wait for ever.
            for session in self.sessions.iter_mut() {
                self.shared.conns.close(session.conn.id, CloseHow::Reset);
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
                self.shared.conns.close(session.conn.id, CloseHow::Reset);
            }
        }
        self.job_order.sort(&mut self.sessions, now, out);
        if self.tallies.are_due(now.ms) {
            self.tallies.report(&mut self.sessions, out);
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
