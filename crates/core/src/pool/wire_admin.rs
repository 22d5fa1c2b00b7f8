//! The admin on the wire: `mining.authorize_admin` and `mining.add_user`.
//!
//! Wrong admin passwords count against their address, even if miners earn there. An address used as a
//! name belongs to the one it pays, so an admin on the wire cannot add it as a user.

use crate::accounts::ban::network_of;
use crate::accounts::refused_logins::RefusalReason;
use crate::accounts::{ADMIN, Login};
use crate::chain::address::Address;
use crate::conn::LineServer;
use crate::event::{Actions, Level};
use crate::limits::SCORE_BAD_ADMIN;
use crate::operator_order::NewUser;
use crate::pool::authorize::name_and_password;
use crate::pool::dispatch::{Reply, RequestContext};
use crate::pool::password_tasks::{Asker, Writer};
use crate::pool::state::Pool;
use crate::session::Session;
use crate::session::difficulty::split_password;
use crate::units::Now;
use crate::wire::message::{Reject, Request};

impl Pool {
    /// Writes the users that an admin on the wire has added, except those whose name is mining at the
    /// moment.
    pub(crate) fn write_wanted_users(&mut self, now: Now, out: &mut Actions) {
        while let Some((asker, user)) = self.shared.wanted_users.pop() {
            let is_mined = self.sessions.iter().any(|session| {
                let mut users = session.users.iter();
                session.conn.id != asker.conn && users.any(|one| *one.user.account == *user.name)
            });
            if !is_mined {
                self.shared.write_user(user, Writer::Miner(asker), out);
                continue;
            }
            let text = format!(
                "{:?} is not added for an admin on the wire: somebody mines by that name",
                user.name
            );
            out.log(Level::Warning, text);
            if let Some(session) = self.sessions.get_mut(asker.conn) {
                let shared = &mut self.shared;
                let refused = Err(Reject::UserExists);
                RequestContext { shared, now, out }.answered(session, asker.id.as_deref(), refused);
            }
        }
    }
}

impl RequestContext<'_> {
    /// Handles `mining.authorize_admin [password]`.
    pub(crate) fn authorize_admin(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Reply, Reject> {
        session.has_asked_for_admin = true;
        let params = request.texts();
        let Ok([Some(password), ..]) = params.as_deref() else {
            self.note_refused(session, "", RefusalReason::Malformed);
            return Err(Reject::InvalidParams);
        };
        let why = if self.shared.config.admin_password.is_none() {
            RefusalReason::NoAdmin
        } else if !self
            .shared
            .admin_guesses
            .may_guess(session.conn.address, self.now.ms)
        {
            RefusalReason::Guesses
        } else if matches!(self.shared.accounts.login(ADMIN, password), Login::Yes(_)) {
            session.is_admin = true;
            return Ok(Reply::True);
        } else {
            RefusalReason::AdminPassword
        };
        self.note_refused(session, ADMIN, why);
        self.count_guess(session);
        self.blame(session, SCORE_BAD_ADMIN);
        Err(Reject::InvalidPassword)
    }

    /// Counts a wrong admin password against its address, even if miners earn there.
    pub(crate) fn count_guess(&mut self, session: &Session) {
        if self.shared.config.admin_password.is_some()
            && self
                .shared
                .admin_guesses
                .guessed(session.conn.address, self.now.ms)
        {
            let network = network_of(session.conn.address);
            let text = format!(
                "{network} guesses the admin's password: it is not looked at from there for ten minutes"
            );
            self.out.log(Level::Warning, text);
        }
    }

    /// Handles `mining.add_user [user, password, address]`; the address may be missing.
    pub(crate) fn add_user(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Reply, Reject> {
        if !session.is_admin {
            return Err(Reject::OnlyAdmin);
        }
        let params = request.texts()?;
        let (name, password) = name_and_password(&params)?;
        // A password ending in a difficulty request could not be used: a login would split it off.
        if password.is_empty() || split_password(password).1.is_some() {
            return Err(Reject::InvalidParams);
        }
        let address = self.payout_address(&params)?;
        if self.shared.accounts.contains(&name)
            || self.shared.password_tasks.is_writing(&name)
            || self.has_owner(&name)
        {
            return Err(Reject::UserExists);
        }
        session.is_asking = true;
        let asker = Asker {
            conn: session.conn.id,
            id: request.id().map(str::to_owned),
        };
        let user = NewUser {
            name,
            password: password.to_owned(),
            address,
            is_locked: false,
            wire_admin: Some(session.conn.address),
        };
        self.shared.wanted_users.push((asker, user));
        Ok(Reply::Later)
    }

    /// True if a name that is no user is an address, and so belongs to the one it pays. The operator may
    /// add such a user, but not an admin on the wire: its earnings would be paid elsewhere, and its
    /// miners locked out.
    fn has_owner(&self, name: &str) -> bool {
        self.shared.accounts.one_spelling(name).is_some()
    }

    /// The third parameter, an address, in its one spelling; `None` if it is missing.
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
