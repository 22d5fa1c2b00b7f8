//! Who is on a connection: `mining.authorize`, `mining.authorize_admin` and `mining.add_user`.
//!
//! Passwords are hashed elsewhere. While a connection waits for that its next lines wait too; equal
//! questions are asked once, so that a farm that comes back at once costs one hash.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::account::{ADMIN, Login, User, clean_name};
use crate::address::Address;
use crate::event::{Action, Level, NewUser, Password, Ticket};
use crate::ledger::Tally;
use crate::limits::{
    PASSWORD_BYTES_MAX, SCORE_BAD_ADMIN, SCORE_BAD_PASSWORD, USERS_PER_SESSION_MAX,
};
use crate::message::{Reject, Request};
use crate::pace::split_password;
use crate::password::StoredPassword;
use crate::request::{Answer, Desk};
use crate::session::{Authorized, Session};
use crate::units::ConnId;
use crate::view::Rate;

/// A connection that waits for an answer, and the request that it asked with.
pub(crate) struct Asker {
    pub conn: ConnId,
    pub id: Option<String>,
}

/// A question to whoever hashes passwords, and who waits for the answer.
pub(crate) enum Question {
    /// Is this the account's password?
    Login {
        account: Arc<str>,
        password: String,
        waiting: Vec<(Asker, User)>,
    },
    /// Write this user. Nobody waits where an old password is only written anew.
    Write { user: NewUser, asker: Option<Asker> },
}

/// The questions that are not answered yet. Each connection waits for one at most.
pub(crate) struct Questions {
    open: HashMap<Ticket, Question>,
    /// The open logins, by account and password.
    logins: HashMap<(Arc<str>, String), Ticket>,
    /// The names on their way to disk.
    writing: HashSet<String>,
    last: Ticket,
}

impl Questions {
    /// No question yet. Tickets begin at the random `seed`, so that an answer meant for an earlier
    /// pool finds no question here.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            open: HashMap::new(),
            logins: HashMap::new(),
            writing: HashSet::new(),
            last: seed >> 1,
        }
    }

    /// The question that an answer belongs to.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<Question> {
        let question = self.open.remove(&ticket)?;
        match &question {
            Question::Login {
                account, password, ..
            } => {
                self.logins.remove(&(account.clone(), password.clone()));
            }
            Question::Write { user, .. } => {
                self.writing.remove(&user.name);
            }
        }
        Some(question)
    }

    /// Asks whether a password is the account's; `None` when that is being asked already.
    fn ask_login(&mut self, asker: Asker, user: User, password: &str) -> Option<Ticket> {
        let key = (user.account.clone(), password.to_owned());
        if let Some(ticket) = self.logins.get(&key)
            && let Some(Question::Login { waiting, .. }) = self.open.get_mut(ticket)
        {
            waiting.push((asker, user));
            return None;
        }
        self.last += 1;
        let question = Question::Login {
            account: user.account.clone(),
            password: password.to_owned(),
            waiting: vec![(asker, user)],
        };
        self.open.insert(self.last, question);
        self.logins.insert(key, self.last);
        Some(self.last)
    }

    fn ask_write(&mut self, user: NewUser, asker: Option<Asker>) -> Ticket {
        self.last += 1;
        self.writing.insert(user.name.clone());
        self.open.insert(self.last, Question::Write { user, asker });
        self.last
    }
}

impl Desk<'_> {
    /// `mining.authorize [user, password]`.
    pub(crate) fn authorize(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        let params = request.texts()?;
        let (name, password) = name_and_password(&params)?;
        let (password, wish) = split_password(password);
        if let Some(wish) = wish {
            session.pace.wish(wish, self.now.ms);
        }
        match self.shared.accounts.login(&name, password) {
            Login::Yes(user) => {
                self.write_anew(&user, password);
                self.admit(session, user)
            }
            Login::No => self.refuse(session, &name),
            Login::Ask(user, stored) => {
                self.ask(session, request.id(), user, password, stored);
                Ok(Answer::Later)
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
            conn: session.conn,
            id: id.map(str::to_owned),
        };
        if let Some(ticket) = self.shared.questions.ask_login(asker, user, password) {
            self.out
                .push(Action::CheckPassword(ticket, stored, password.to_owned()));
        }
    }

    /// A password of the old kind that was right is written as one of the new kind.
    fn write_anew(&mut self, user: &User, password: &str) {
        let is_option = &*user.account == ADMIN && self.shared.config.admin_password.is_some();
        if !is_option
            && self.shared.accounts.is_of_old_kind(&user.account)
            && !self.shared.questions.writing.contains(&*user.account)
        {
            let user = NewUser {
                name: user.account.to_string(),
                password: password.to_owned(),
                address: None,
            };
            self.write_user(user, None);
        }
    }

    fn write_user(&mut self, user: NewUser, asker: Option<Asker>) {
        let ticket = self.shared.questions.ask_write(user.clone(), asker);
        self.out.push(Action::AddUser(ticket, user));
    }

    /// Takes a user in. Too many on one connection are refused like wrong ones.
    fn admit(&mut self, session: &mut Session, user: User) -> Result<Answer, Reject> {
        if session.position(&user.name).is_some() {
            return Ok(Answer::True);
        }
        if session.users.len() >= USERS_PER_SESSION_MAX {
            return Err(Reject::UnauthorizedUser);
        }
        let (name, address) = (&user.name, session.address);
        self.out
            .log(Level::Debug, format!("{name:?} mines from {address}"));
        session.users.push(Authorized {
            user,
            tally: Tally::default(),
            rate: Rate::new(self.now.ms),
        });
        Ok(Answer::True)
    }

    /// With an error, never `false`: a Goldshell takes that for yes.
    fn refuse(&mut self, session: &mut Session, name: &str) -> Result<Answer, Reject> {
        let address = session.address;
        self.out.log(
            Level::Debug,
            format!("{name:?} was refused, from {address}"),
        );
        self.blame(session, SCORE_BAD_PASSWORD);
        Err(Reject::UnauthorizedUser)
    }

    /// The answer has come for one of those who wait: the reply leaves, the next lines are read.
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
        added: Result<(), Reject>,
    ) {
        self.answered(session, id, added.map(|()| Answer::True));
    }

    fn answered(
        &mut self,
        session: &mut Session,
        id: Option<&str>,
        answer: Result<Answer, Reject>,
    ) {
        session.is_asking = false;
        self.reply(session, id, answer);
        self.start(session);
        self.receive(session, &[]);
    }

    /// `mining.authorize_admin [password]`.
    pub(crate) fn authorize_admin(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        let params = request.texts()?;
        let [Some(password), ..] = params.as_slice() else {
            return Err(Reject::InvalidParams);
        };
        let is_right = self.shared.config.admin_password.is_some()
            && matches!(self.shared.accounts.login(ADMIN, password), Login::Yes(_));
        if !is_right {
            self.blame(session, SCORE_BAD_ADMIN);
            return Err(Reject::InvalidPassword);
        }
        session.is_admin = true;
        Ok(Answer::True)
    }

    /// `mining.add_user [user, password, address]`; the address may be missing.
    pub(crate) fn add_user(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        if !session.is_admin {
            return Err(Reject::OnlyAdmin);
        }
        let params = request.texts()?;
        let (name, password) = name_and_password(&params)?;
        // What reads as a wish could never be typed as a password.
        if password.is_empty() || split_password(password).1.is_some() {
            return Err(Reject::InvalidParams);
        }
        let address = self.payout_address(&params)?;
        if self.shared.accounts.contains(&name) || self.shared.questions.writing.contains(&name) {
            return Err(Reject::UserExists);
        }
        session.is_asking = true;
        let asker = Asker {
            conn: session.conn,
            id: request.id().map(str::to_owned),
        };
        self.write_user(
            NewUser {
                name,
                password: password.to_owned(),
                address,
            },
            Some(asker),
        );
        Ok(Answer::Later)
    }

    /// The third parameter in its one spelling; none where it is missing.
    fn payout_address(&self, params: &[Option<String>]) -> Result<Option<String>, Reject> {
        let Some(text) = params.get(2) else {
            return Ok(None);
        };
        let network = self.shared.config.network;
        let address = text
            .as_deref()
            .and_then(|text| Address::parse_payable(text, network))
            .ok_or(Reject::InvalidAddress)?;
        Ok(Some(address.encode(network)))
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
