//! Logins: `mining.authorize`, and the answers to password checks and user writes.
//!
//! Argon2id passwords are checked, and users written, outside the pool. While a connection waits for
//! that, its next lines wait too. Invariant: equal checks are made once, so that a farm that reconnects
//! all at once costs one hash.

use crate::accounts::password::StoredPassword;
use crate::accounts::refused_logins::RefusalReason;
use crate::accounts::{ADMIN, Login, User, clean_name};
use crate::conn::LineServer;
use crate::event::{Action, Actions, Level, Password, Ticket};
use crate::limits::{PASSWORD_BYTES_MAX, SCORE_BAD_PASSWORD, USERS_PER_SESSION_MAX};
use crate::operator_order::{NewUser, NotWritten, OrderOutcome, OrderRefusal};
use crate::pool::dispatch::{Reply, RequestContext};
use crate::pool::password_tasks::{Asker, PasswordTask, Writer};
use crate::pool::state::{Pool, PoolShared};
use crate::session::difficulty::split_password;
use crate::session::{Authorized, Session};
use crate::units::{ConnId, Now};
use crate::wire::message::{Reject, Request};

impl PoolShared {
    /// Requests that a user is written with a new password.
    pub(crate) fn write_user(&mut self, user: NewUser, writer: Writer, out: &mut Actions) {
        let password = Some(user.password.clone());
        let old = self.accounts.password(&user.name).cloned();
        let ticket = (self.password_tasks).ask_write(user.name.clone(), password, writer);
        out.push(Action::AddUser(ticket, user, old));
    }

    /// Drops the password check of a closed connection, unless others wait for it too.
    pub(crate) fn forget_password_task(&mut self, conn: ConnId) {
        if let Some(ticket) = self.password_queue.leave(conn)
            && self.password_tasks.leave(ticket, conn)
            && self.password_queue.cancel(ticket)
        {
            self.password_tasks.take(ticket);
        }
    }
}

impl Pool {
    /// Handles the answer to [`Action::CheckPassword`]. If the account's password was changed meanwhile,
    /// the login is refused.
    pub(crate) fn handle_password(
        &mut self,
        now: Now,
        ticket: Ticket,
        checked: Password,
        out: &mut Actions,
    ) {
        self.shared.password_queue.answered(ticket, out);
        let (account, password, stored, waiting) = match self.shared.password_tasks.take(ticket) {
            Some(PasswordTask::Login {
                account,
                password,
                stored,
                waiting,
            }) => (account, password, stored, waiting),
            Some(PasswordTask::SignIn(sign_in)) => {
                return self.sign_in_checked(now, sign_in, checked, out);
            }
            Some(PasswordTask::Write { .. }) | None => return,
        };
        let checked = match self.shared.accounts.password(&account) {
            Some(now) if *now == stored => checked,
            _ => Password::Wrong,
        };
        if checked == Password::Right {
            self.shared.accounts.verified(&account, &password);
        }
        for (Asker { conn, id }, user) in waiting {
            self.shared.password_queue.leave(conn);
            if let Some(session) = self.sessions.get_mut(conn) {
                let mut context = RequestContext {
                    shared: &mut self.shared,
                    now,
                    out,
                };
                context.password_checked(session, id.as_deref(), user, checked);
            }
        }
    }

    /// Handles the answer to [`Action::AddUser`] and [`Action::KeepUser`].
    pub(crate) fn handle_user_added(
        &mut self,
        now: Now,
        ticket: Ticket,
        stored: Result<StoredPassword, NotWritten>,
        out: &mut Actions,
    ) {
        let Some(PasswordTask::Write {
            name,
            password,
            writer,
        }) = self.shared.password_tasks.take(ticket)
        else {
            return;
        };
        let is_change = self.shared.accounts.contains(&name);
        let written = stored.map(|stored| {
            self.shared.accounts.insert(&name, stored);
            if let Some(password) = &password {
                self.shared.accounts.verified(&name, password);
            }
        });
        if written.is_ok() && is_change && !matches!(writer, Writer::Nobody) {
            out.push(Action::SignOut(name.clone()));
            out.push(Action::NewPassword(name.clone()));
        }
        match writer {
            Writer::Nobody => {}
            Writer::Operator(id, change) => {
                if written.is_ok() {
                    self.user_changed(&name, change, out);
                }
                let answer = written.map(|()| OrderOutcome::Done);
                let answer = answer.map_err(|why| OrderRefusal::of(why, change));
                out.push(Action::Answer(id, answer));
            }
            Writer::Miner(Asker { conn, id }) => {
                if let Some(session) = self.sessions.get_mut(conn) {
                    let mut context = RequestContext {
                        shared: &mut self.shared,
                        now,
                        out,
                    };
                    let answer = written.map(|()| Reply::True).map_err(reject);
                    context.answered(session, id.as_deref(), answer);
                }
            }
        }
    }
}

impl RequestContext<'_> {
    /// Counts a refused login, and logs it unless its address was logged just before.
    pub(crate) fn note_refused(&mut self, session: &Session, name: &str, why: RefusalReason) {
        let (conns, address) = (&mut self.shared.conns, session.conn.address);
        conns.note_refused(self.now, address, name, why, self.out);
    }

    /// Handles `mining.authorize [user, password]`.
    pub(crate) fn authorize(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Reply, Reject> {
        let params = request.texts();
        let named = (params.as_deref().map_err(|reject| *reject)).and_then(name_and_password);
        let (name, password) = named.inspect_err(|_| {
            self.note_refused(session, "", RefusalReason::Malformed);
        })?;
        let (password, requested) = split_password(password);
        if let Some(requested) = requested {
            session.difficulty_policy.request(requested, self.now.ms);
        }
        let is_admin = self.shared.config.admin_password.is_some()
            && &*self.shared.accounts.user(&name).account == ADMIN;
        if is_admin
            && !self
                .shared
                .admin_guesses
                .may_guess(session.conn.address, self.now.ms)
        {
            return self.refuse(session, &name, RefusalReason::Guesses);
        }
        match self.shared.accounts.login(&name, password) {
            Login::No if is_admin => {
                self.count_guess(session);
                self.refuse(session, &name, RefusalReason::WrongPassword)
            }
            Login::Yes(user) => {
                self.write_anew(&user, password);
                self.admit(session, user)
            }
            Login::No => {
                let why = self.shared.accounts.why_refused(&name);
                self.refuse(session, &name, why)
            }
            Login::Ask(user, stored) => {
                self.ask(session, request.id(), user, password, stored);
                Ok(Reply::Later)
            }
        }
    }

    fn ask(
        &mut self,
        session: &mut Session,
        id: Option<&str>,
        user: User,
        password: &str,
        stored: StoredPassword,
    ) {
        session.is_asking = true;
        let asker = Asker {
            conn: session.conn.id,
            id: id.map(str::to_owned),
        };
        let account = user.account.clone();
        let PoolShared {
            password_tasks,
            password_queue,
            ..
        } = &mut *self.shared;
        let is_new = password_tasks.ask_login(asker, user, password, &stored);
        if let Some(ticket) = password_tasks.login_of(&account, password) {
            password_queue.wait(session.conn.id, ticket);
        }
        if let Some(ticket) = is_new {
            password_queue.add(ticket, session.conn.address, stored, password, self.out);
        }
    }

    /// Rewrites a password that was right but is stored in the old form.
    fn write_anew(&mut self, user: &User, password: &str) {
        let is_option = &*user.account == ADMIN && self.shared.config.admin_password.is_some();
        if !is_option
            && self.shared.accounts.is_of_old_kind(&user.account)
            && !self.shared.password_tasks.is_writing(&user.account)
        {
            let user = NewUser {
                name: user.account.to_string(),
                password: password.to_owned(),
                address: None,
                is_locked: false,
                wire_admin: None,
            };
            self.shared.write_user(user, Writer::Nobody, self.out);
        }
    }

    /// Adds a user to the connection. One name too many is refused like a wrong password.
    pub(crate) fn admit(&mut self, session: &mut Session, user: User) -> Result<Reply, Reject> {
        if session.position(&user.name).is_some() {
            return Ok(Reply::True);
        }
        if session.users.len() >= USERS_PER_SESSION_MAX || !self.shared.has_room_for_name(session) {
            self.note_refused(session, &user.name, RefusalReason::Names);
            return Err(Reject::UnauthorizedUser);
        }
        match self.set_payee(session, &user.account) {
            Ok(()) => {}
            // Nothing is wrong with the miner.
            Err(reject @ Reject::PayeesUnknown) => return Err(reject),
            Err(reject) => {
                let why = match reject {
                    Reject::OtherPayee => RefusalReason::OtherPayee,
                    _ => RefusalReason::NoAddress,
                };
                return self.refuse_as(session, &user.name, why, reject);
            }
        }
        let (name, address) = (&user.name, session.conn.address);
        let text = || format!("{name:?} mines from {address}");
        self.shared
            .conns
            .log_limit
            .tell(self.now, Level::Debug, text, self.out);
        session.add_user(Authorized::new(user, session.conn.connected_at_ms));
        self.shared.count_names(session);
        Ok(Reply::True)
    }

    /// Refuses a login with an error and never with `false`, which a Goldshell takes for success.
    pub(crate) fn refuse(
        &mut self,
        session: &mut Session,
        name: &str,
        why: RefusalReason,
    ) -> Result<Reply, Reject> {
        self.refuse_as(session, name, why, Reject::UnauthorizedUser)
    }

    /// The same, with this error.
    fn refuse_as(
        &mut self,
        session: &mut Session,
        name: &str,
        why: RefusalReason,
        reject: Reject,
    ) -> Result<Reply, Reject> {
        self.note_refused(session, name, why);
        self.blame(session, SCORE_BAD_PASSWORD);
        Err(reject)
    }

    /// Ends the wait of one connection for a password check: the reply is sent and the next lines are
    /// read.
    pub(crate) fn password_checked(
        &mut self,
        session: &mut Session,
        id: Option<&str>,
        user: User,
        password: Password,
    ) {
        let answer = match password {
            Password::Right => self.admit(session, user),
            Password::Wrong => {
                let why = self.shared.accounts.why_refused(&user.name);
                self.refuse(session, &user.name, why)
            }
        };
        self.answered(session, id, answer);
    }

    pub(crate) fn answered(
        &mut self,
        session: &mut Session,
        id: Option<&str>,
        answer: Result<Reply, Reject>,
    ) {
        session.is_asking = false;
        self.reply(session, id, answer);
        self.start(session);
        self.receive(session, &[]);
        self.end_if_finished(session);
    }
}

fn reject(why: NotWritten) -> Reject {
    match why {
        NotWritten::Failed => Reject::UserNotStored,
        NotWritten::Away => Reject::LedgerAway,
        NotWritten::Changed | NotWritten::Owned => Reject::UserExists,
    }
}

/// A name and a password from the parameters; a missing password is empty.
pub(crate) fn name_and_password(params: &[Option<String>]) -> Result<(String, &str), Reject> {
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
