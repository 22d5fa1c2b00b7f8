//! What each line from a miner means: one function a method, rejects answered in one place.

use crate::account::{ADMIN, Login, User, clean_name};
use crate::event::{Action, Actions, CloseHow, Level, NewUser, Now, Password};
use crate::limits::{PASSWORD_BYTES_MAX, SCORE_BAD_ADMIN, SCORE_MALFORMED, USERS_PER_SESSION_MAX};
use crate::line::Flow;
use crate::message::{Reject, Request, write_reject, write_result, write_subscribed, write_true};
use crate::pool::{Question, Shared};
use crate::redirect::{Head, is_request_line};
use crate::session::{Phase, Session};
use crate::units::parse_hex_u32;

/// Handles the lines of one connection.
pub(crate) struct Desk<'a> {
    pub shared: &'a mut Shared,
    pub now: Now,
    pub out: &'a mut Actions,
}

/// What a request comes to, but for a submit that is accepted.
pub(crate) enum Answer {
    /// `true`.
    True,
    /// JSON text.
    Json(String),
    /// The reply is sent already, or comes later.
    Later,
}

impl Desk<'_> {
    /// Takes bytes, or goes on with those that waited.
    pub(crate) fn receive(&mut self, session: &mut Session, bytes: &[u8]) {
        if session.is_closing() {
            return;
        }
        if session.is_blocked() {
            session.lines.hold(bytes);
            return;
        }
        let mut lines = std::mem::take(&mut session.lines);
        let read = lines.read(bytes, |line| self.handle_line(session, line));
        session.lines = lines;
        if read.is_err() {
            self.reply(session, Some("null"), Err(Reject::LineTooLong));
            self.close(session);
        }
        self.pace(session);
    }

    /// Stops or resumes reading, as the session can take more lines or not.
    fn pace(&mut self, session: &mut Session) {
        let pause = session.is_blocked() && !session.is_closing();
        if pause != session.is_paused {
            session.is_paused = pause;
            self.out.push(if pause {
                Action::Pause(session.conn)
            } else {
                Action::Resume(session.conn)
            });
        }
    }

    fn handle_line(&mut self, session: &mut Session, line: &[u8]) -> Flow {
        match &mut session.phase {
            Phase::New if is_request_line(line) => session.phase = Phase::Http(Head::default()),
            Phase::Http(head) => {
                if head.read_line(line) == Flow::Stop {
                    self.answer_http(session);
                }
            }
            Phase::Closing => {}
            Phase::New | Phase::Stratum => {
                session.phase = Phase::Stratum;
                if !line.iter().all(u8::is_ascii_whitespace) {
                    self.handle_request(session, line);
                }
            }
        }
        if session.is_closing() || session.is_blocked() {
            Flow::Stop
        } else {
            Flow::Continue
        }
    }

    fn answer_http(&mut self, session: &mut Session) {
        let Phase::Http(head) = &session.phase else {
            return;
        };
        if head.is_complete() {
            let config = &self.shared.config;
            let response = head.response(config.public_host.as_deref(), config.public_port);
            self.out
                .send(session.conn, |out| out.extend_from_slice(&response));
        }
        self.shared.closing.push((session.conn, CloseHow::Flushed));
        session.phase = Phase::Closing;
    }

    fn handle_request(&mut self, session: &mut Session, line: &[u8]) {
        // Some Goldshell firmware puts raw control characters into strings.
        let cleaned: Vec<u8>;
        let line = if line.iter().any(u8::is_ascii_control) {
            cleaned = line
                .iter()
                .copied()
                .filter(|b| !b.is_ascii_control())
                .collect();
            &cleaned
        } else {
            line
        };
        let Some(request) = std::str::from_utf8(line).ok().and_then(Request::parse) else {
            self.reply(session, Some("null"), Err(Reject::InvalidParams));
            return self.blame(session, SCORE_MALFORMED);
        };
        let answer = match request.method().as_deref() {
            Some("mining.submit") => {
                let submit = request.submit();
                return self.handle_submit(session, request.id(), submit);
            }
            Some("mining.subscribe") => self.subscribe(session, &request),
            Some("mining.authorize") => self.authorize(session, &request),
            Some("mining.authorize_admin") => self.authorize_admin(session, &request),
            Some("mining.add_user") => self.add_user(session, &request),
            Some("mining.get_transactions") => self.get_transactions(session, &request),
            Some(_) => Err(Reject::UnknownMethod),
            None => Err(Reject::InvalidParams),
        };
        let malformed = matches!(answer, Err(Reject::InvalidParams));
        // Without an id and a method it is no notification either: its sender is to know.
        let id = match request.method() {
            None => request.id().or(Some("null")),
            Some(_) => request.id(),
        };
        self.reply(session, id, answer);
        if malformed {
            self.blame(session, SCORE_MALFORMED);
        }
        self.start(session);
    }

    /// Answers a request that wants an answer.
    pub(crate) fn reply(
        &mut self,
        session: &mut Session,
        id: Option<&str>,
        answer: Result<Answer, Reject>,
    ) {
        let Some(id) = id else { return };
        session.reply(self.now, self.out, |line| match &answer {
            Ok(Answer::True) => write_true(line, id),
            Ok(Answer::Json(result)) => write_result(line, id, result),
            Ok(Answer::Later) => {}
            Err(reject) => write_reject(line, id, *reject),
        });
    }

    /// Adds to the score of a connection and drops it when that is too much.
    pub(crate) fn blame(&mut self, session: &mut Session, points: u32) {
        if session.blame(points, self.now) && !session.is_closing() {
            let text = format!("dropping a connection that misbehaves: {}", session.address);
            self.out.log(Level::Warning, text);
            self.close(session);
        }
    }

    /// Reads no more from a connection and resets it after a while, since some miners would come
    /// back at once.
    fn close(&mut self, session: &mut Session) {
        session.phase = Phase::Closing;
        self.shared.close_later(session.conn, self.now);
    }

    fn subscribe(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        let params = request.texts()?;
        if !self.shared.is_listening {
            return Err(Reject::NotUpToDate);
        }
        let wanted = params.get(1).and_then(|id| parse_hex_u32(id.as_deref()?));
        let extra_nonce1 = match session.extra_nonce1 {
            Some(extra_nonce1) => extra_nonce1,
            None => self.shared.extra_nonces.deal(wanted, session.conn),
        };
        session.extra_nonce1 = Some(extra_nonce1);
        if let Some(id) = request.id() {
            session.reply(self.now, self.out, |line| {
                write_subscribed(line, id, extra_nonce1);
            });
        }
        Ok(Answer::Later)
    }

    fn authorize(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        let params = request.texts()?;
        let (name, password) = name_and_password(&params)?;
        match self.shared.accounts.login(&name, password) {
            Login::Yes(user) => self.admit(session, user),
            Login::No => self.refuse(session, &name),
            Login::Ask(user, stored) => {
                let ticket = self.shared.ask(Question::Login {
                    conn: session.conn,
                    id: request.id().map(str::to_owned),
                    user,
                    password: password.to_owned(),
                });
                session.asked = Some(ticket);
                self.out
                    .push(Action::CheckPassword(ticket, stored, password.to_owned()));
                Ok(Answer::Later)
            }
        }
    }

    /// Takes a user in. Too many on one connection are refused like wrong ones.
    fn admit(&mut self, session: &mut Session, user: User) -> Result<Answer, Reject> {
        if session.user(&user.name).is_some() {
            return Ok(Answer::True);
        }
        if session.users.len() >= USERS_PER_SESSION_MAX {
            return Err(Reject::UnauthorizedUser);
        }
        let (name, address) = (&user.name, session.address);
        self.out
            .log(Level::Debug, format!("{name:?} mines from {address}"));
        session.users.push(user);
        Ok(Answer::True)
    }

    fn refuse(&mut self, session: &Session, name: &str) -> Result<Answer, Reject> {
        let address = session.address;
        self.out.log(
            Level::Debug,
            format!("{name:?} was refused, from {address}"),
        );
        Err(Reject::UnauthorizedUser)
    }

    /// The answer to a question has come: the reply leaves and the lines behind it are read.
    pub(crate) fn password_checked(
        &mut self,
        session: &mut Session,
        id: Option<&str>,
        user: User,
        password: Password,
    ) {
        let answer = match password {
            Password::Right => self.admit(session, user),
            Password::Wrong => self.refuse(session, &user.name),
        };
        self.answered(session, id, answer);
    }

    /// A user was written to disk, or not.
    pub(crate) fn user_added(
        &mut self,
        session: &mut Session,
        id: Option<&str>,
        result: Result<(), Reject>,
    ) {
        self.answered(session, id, result.map(|()| Answer::True));
    }

    fn answered(
        &mut self,
        session: &mut Session,
        id: Option<&str>,
        answer: Result<Answer, Reject>,
    ) {
        session.asked = None;
        self.reply(session, id, answer);
        self.start(session);
        self.receive(session, &[]);
    }

    fn authorize_admin(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        let params = request.texts()?;
        let [Some(password), ..] = params.as_slice() else {
            return Err(Reject::InvalidParams);
        };
        let right = self.shared.config.admin_password.is_some()
            && matches!(self.shared.accounts.login(ADMIN, password), Login::Yes(_));
        if !right {
            self.blame(session, SCORE_BAD_ADMIN);
            return Err(Reject::InvalidPassword);
        }
        session.is_admin = true;
        Ok(Answer::True)
    }

    fn add_user(&mut self, session: &mut Session, request: &Request<'_>) -> Result<Answer, Reject> {
        if !session.is_admin {
            return Err(Reject::OnlyAdmin);
        }
        let params = request.texts()?;
        let (name, password) = name_and_password(&params)?;
        if password.is_empty() {
            return Err(Reject::InvalidParams);
        }
        if self.shared.accounts.contains(&name) || self.shared.is_being_added(&name) {
            return Err(Reject::UserExists);
        }
        let user = NewUser {
            name: name.clone(),
            password: password.to_owned(),
        };
        let ticket = self.shared.ask(Question::AddUser {
            conn: session.conn,
            id: request.id().map(str::to_owned),
            user: user.clone(),
        });
        session.asked = Some(ticket);
        self.out.push(Action::AddUser(ticket, user));
        Ok(Answer::Later)
    }

    /// Gives a connection its first job, once it is subscribed and authorized.
    pub(crate) fn start(&mut self, session: &mut Session) {
        if session.is_ready() && !session.has_job() && self.shared.has_live_job() {
            self.send_own_job(session);
        }
    }

    /// A job that no other connection has: a Goldshell stops at an id that it had before it
    /// reconnected.
    fn send_own_job(&mut self, session: &mut Session) {
        let Some(job) = self.shared.jobs.make_own() else {
            return;
        };
        session.assign(&job, self.now, self.out);
        let (jobs, unix_s) = (&self.shared.jobs, self.now.unix_s);
        self.out
            .send(session.conn, |line| jobs.write_notify(line, &job, unix_s));
        session.push_own_job(job);
    }
}

/// A name and a password, which may be missing.
fn name_and_password(params: &[Option<String>]) -> Result<(String, &str), Reject> {
    let name = params
        .first()
        .and_then(Option::as_deref)
        .and_then(clean_name);
    let password = params.get(1).and_then(Option::as_deref).unwrap_or("");
    match name {
        Some(name) if password.len() <= PASSWORD_BYTES_MAX => Ok((name, password)),
        _ => Err(Reject::InvalidParams),
    }
}
