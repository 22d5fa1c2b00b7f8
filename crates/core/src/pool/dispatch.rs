//! Dispatches each line of a miner to the function of its method, and sends the answers; rejects are
//! written in one place.

use crate::conn::{Connections, LineServer, MinerConn};
use crate::event::{Action, Actions};
use crate::limits::{SCORE_MALFORMED, SCORE_MAX};
use crate::pool::state::PoolShared;
use crate::session::Session;
use crate::session::difficulty::BLOCKS_AGENT;
use crate::units::{Now, parse_hex_u32};
use crate::wire::message::{
    Reject, Request, clean_line, write_reject, write_result, write_subscribed, write_true,
};
use crate::wire::submit_fast_path::scan_submit;

/// The context in which the lines of one connection are handled.
pub(crate) struct RequestContext<'a> {
    pub shared: &'a mut PoolShared,
    pub now: Now,
    pub out: &'a mut Actions,
}

/// The answer to a request; an accepted submit has none here, because its reply waits for the ledger.
pub(crate) enum Reply {
    /// The result `true`.
    True,
    /// A result as JSON text.
    Json(String),
    /// No reply now: it was sent already, or follows later.
    Later,
}

impl LineServer for RequestContext<'_> {
    type Miner = Session;
    type Action = Action;
    const SCORE_MAX: u32 = SCORE_MAX;

    fn conn(session: &mut Session) -> &mut MinerConn {
        &mut session.conn
    }

    fn parts(&mut self) -> (&mut Connections, Now, &mut Actions) {
        (&mut self.shared.conns, self.now, self.out)
    }

    fn is_closing(session: &Session) -> bool {
        session.is_closing()
    }

    fn is_blocked(&self, session: &Session) -> bool {
        session.is_blocked()
    }

    fn reject(&mut self, session: &mut Session, id: Option<&str>, reject: Reject) {
        self.reply(session, id, Err(reject));
    }

    fn handle_request(&mut self, session: &mut Session, line: &[u8]) {
        let cleaned = clean_line(line);
        let text = std::str::from_utf8(&cleaned).ok();
        if let Some((id, submit)) = text.and_then(scan_submit) {
            return self.handle_submit(session, Some(id), Ok(submit));
        }
        let Some(request) = text.and_then(Request::parse) else {
            self.reply(session, Some("null"), Err(Reject::InvalidParams));
            return self.blame(session, SCORE_MALFORMED);
        };
        let method = request.method();
        let answer = match method.as_deref() {
            Some("mining.submit") => {
                let submit = request.submit();
                return self.handle_submit(session, request.id(), submit);
            }
            Some("mining.subscribe") => self.subscribe(session, &request),
            Some("mining.authorize") => self.authorize(session, &request),
            Some("mining.authorize_admin") => self.authorize_admin(session, &request),
            Some("mining.add_user") => self.add_user(session, &request),
            Some("mining.get_transactions") => self.get_transactions(session, &request),
            Some("mining.suggest_difficulty") => self.suggest_difficulty(session, &request),
            Some("mining.suggest_target") => self.suggest_target(session, &request),
            Some("mining.configure") => self.configure(session, &request),
            Some("mining.ping") => Ok(Reply::Json("\"pong\"".to_owned())),
            Some("hstratum.hello") => Ok(Reply::Json(self.hello(session, &request))),
            Some("hstratum.admit") => self.admit_moved(session, &request),
            // Extranonce1 never changes during a connection, so there is nothing to announce, but
            // subscribing is fine.
            Some("mining.extranonce.subscribe") => Ok(Reply::True),
            // No version bits may be rolled: all of them are the node's.
            Some("mining.multi_version") => Ok(Reply::Json("false".to_owned())),
            Some(_) => Err(Reject::UnknownMethod),
            None => Err(Reject::InvalidParams),
        };
        let malformed = matches!(answer, Err(Reject::InvalidParams));
        // A line without an id and a method is no valid notification, so it is answered.
        let id = match method {
            None => request.id().or(Some("null")),
            Some(_) => request.id(),
        };
        self.reply(session, id, answer);
        if malformed {
            self.blame(session, SCORE_MALFORMED);
        }
        self.start(session);
    }
}

impl RequestContext<'_> {
    /// Sends the answer to a request that has an id.
    pub(crate) fn reply(
        &mut self,
        session: &mut Session,
        id: Option<&str>,
        answer: Result<Reply, Reject>,
    ) {
        let Some(id) = id else { return };
        session.reply(self.now, self.out, |line| match &answer {
            Ok(Reply::True) => write_true(line, id),
            Ok(Reply::Json(result)) => write_result(line, id, result),
            Ok(Reply::Later) => {}
            Err(reject) => write_reject(line, id, *reject),
        });
    }

    fn subscribe(&mut self, session: &mut Session, request: &Request<'_>) -> Result<Reply, Reject> {
        let params = request.texts()?;
        if !self.shared.is_listening {
            return Err(Reject::NotUpToDate);
        }
        let extra_nonce1 = match session.extra_nonce1 {
            Some(extra_nonce1) => extra_nonce1,
            None => {
                let agent = params.first().and_then(Option::as_deref);
                let agent = agent.unwrap_or_default();
                session.difficulty_policy.bound_for(agent);
                let is_solo = agent.is_empty() && session.has_asked_for_admin;
                if is_solo || agent == BLOCKS_AGENT {
                    session.difficulty_policy.mines_blocks();
                }
                let wanted = params.get(1).and_then(|id| parse_hex_u32(id.as_deref()?));
                let (extra_nonce1, hint) = self.shared.extra_nonces.deal(wanted, self.now);
                if let Some(difficulty) = hint {
                    session.difficulty_policy.hint(difficulty);
                }
                extra_nonce1
            }
        };
        session.extra_nonce1 = Some(extra_nonce1);
        if let Some(id) = request.id() {
            session.reply(self.now, self.out, |line| {
                write_subscribed(line, id, extra_nonce1);
            });
        }
        Ok(Reply::Later)
    }

    /// Sends a connection its first job, once it is subscribed and authorized.
    pub(crate) fn start(&mut self, session: &mut Session) {
        if session.is_ready() && !session.conn.is_admitted {
            session.conn.is_admitted = true;
            self.out.push(Action::Admitted(session.conn.id));
        }
        if session.is_ready() && !session.has_job() && self.shared.has_live_job() {
            self.send_own_job(session);
        }
    }

    /// Sends a job that no other connection has, with the difficulty that is due: a Goldshell stops at a
    /// job id that it had before it reconnected.
    pub(crate) fn send_own_job(&mut self, session: &mut Session) {
        let Some(job) = self.shared.jobs.make_own() else {
            return;
        };
        session.assign(&job, self.now, self.out);
        let (jobs, unix_s) = (&self.shared.jobs, self.now.unix_s);
        let direct = session.direct.as_deref();
        self.out.send(session.conn.id, |line| {
            jobs.write_notify(line, &job, direct, unix_s);
        });
        session.push_own_job(job);
    }

    /// Sends a job for a difficulty that the miner has requested. That costs more than the request costs
    /// the miner, so it is done at most once each [`WISH_MS`](crate::limits::WISH_MS); in between, the
    /// difficulty comes with the next job or the next check of all sessions.
    pub(crate) fn send_requested_difficulty(&mut self, session: &mut Session) {
        if session.has_job() && session.may_take_requested_difficulty(self.now) {
            self.send_changed_difficulty(session);
        }
    }

    /// Sends a job at once if the difficulty has changed: a difficulty is never announced without a job.
    pub(crate) fn send_changed_difficulty(&mut self, session: &mut Session) {
        let newest = self.shared.jobs.newest();
        if session.has_job()
            && self.shared.has_live_job()
            && newest.is_some_and(|newest| session.is_due_another(newest))
        {
            self.send_own_job(session);
        }
    }
}
