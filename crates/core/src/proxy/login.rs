//! The login that moves a miner to another server: repeats there everything that the last server knew.

use serde_json::json;

use crate::accounts::refused_logins::RefusalReason;
use crate::event::Level;
use crate::limits::{
    LEAVING_MS, LINE_BYTES_MAX, LINK_LOGIN_MS, MISMATCHES_MAX, MISMATCHES_UNFIT_MAX,
};
use crate::proxy::link::{LinkStage, LoginRequest};
use crate::proxy::miner::ProxiedMiner;
use crate::proxy::miner_lines::{MinerContext, OWN_ID, subscribe_line};

/// The reason for resetting a miner that cannot keep its extranonce1.
const IN_USE: &str = "its extranonce1 is in use everywhere";

impl MinerContext<'_> {
    /// Sends the requests of a login over a new connection.
    pub(crate) fn opened(&mut self, miner: &mut ProxiedMiner) {
        let mut lines = Vec::new();
        let mut own = Vec::new();
        let mut ask = |what: LoginRequest, method: &str, params: &str| {
            own.push(what);
            let line = format!(r#"{{"id":{OWN_ID},"method":"{method}","params":{params}}}"#);
            lines.push(line);
        };
        let is_admitting = self.shared.config.secret.is_some() && !miner.users.is_empty();
        if is_admitting {
            ask(LoginRequest::Hello, "hstratum.hello", "[]");
        }
        if let Some(configured) = &miner.configured {
            ask(LoginRequest::Other, "mining.configure", configured);
        }
        if miner.takes_extra_nonces {
            ask(LoginRequest::Other, "mining.extranonce.subscribe", "[]");
        }
        if let Some(difficulty) = &miner.difficulty {
            let params = format!("[{difficulty}]");
            ask(LoginRequest::Other, "mining.suggest_difficulty", &params);
        }
        if !is_admitting {
            for user in &miner.users {
                let password = user.password.as_deref().unwrap_or_default();
                let params = json!([user.name, with_options(password, &user.options)]);
                ask(LoginRequest::User, "mining.authorize", &params.to_string());
            }
        }
        if miner.told.is_some() {
            let session = miner.session.expect("it was dealt with the first line");
            own.push(LoginRequest::Subscribe);
            lines.push(subscribe_line(OWN_ID, &miner.agent, session));
        }
        let Some(link) = &mut miner.next else { return };
        link.stage = LinkStage::LoggingIn;
        link.due_ms = self.now.ms + LINK_LOGIN_MS;
        link.login_requests = own.into();
        let conn = link.conn.expect("it is open");
        for line in lines {
            assert!(line.len() <= LINE_BYTES_MAX, "what is kept of a miner fits");
            self.send_line(conn, &line);
        }
        self.check_login_done(miner);
    }

    /// Requests admission of the users that another server has admitted.
    pub(crate) fn admit_all(&mut self, miner: &mut ProxiedMiner, challenge: &[u8]) {
        let secret = self.shared.config.secret.as_ref();
        let (Some(secret), Some(link)) = (secret, &mut miner.next) else {
            return;
        };
        let conn = link.conn.expect("it has answered");
        let mut lines = Vec::new();
        for user in &miner.users {
            let proof = secret.prove(challenge, &user.name, &user.options);
            let params = json!([user.name, user.options, proof]);
            link.login_requests.push_back(LoginRequest::User);
            lines.push(format!(
                r#"{{"id":{OWN_ID},"method":"hstratum.admit","params":{params}}}"#
            ));
        }
        for line in lines {
            self.send_line(conn, &line);
        }
    }

    /// Handles the end of a login.
    pub(crate) fn finish_login(&mut self, miner: &mut ProxiedMiner) {
        let Some(link) = &mut miner.next else { return };
        link.stage = LinkStage::Ready;
        self.shared.backends[link.place].logins -= 1;
        if miner.current.is_some() && miner.is_owed() {
            miner.leaving_until_ms = Some(self.now.ms + LEAVING_MS);
        } else {
            self.adopt(miner);
        }
    }

    /// Handles that the miner's extranonce1 is in use at the server. Another server may still have it
    /// free.
    pub(crate) fn cannot_keep_extra_nonce(&mut self, miner: &mut ProxiedMiner) {
        miner.mismatches += 1;
        if let Some(next) = &miner.next {
            miner.tried |= 1 << next.place;
        }
        // Work at an unfit server may be worth nothing, so a miner does not stay there for long to keep
        // its extranonce1.
        let is_over = match &miner.current {
            None => miner.mismatches >= MISMATCHES_MAX,
            Some(_) => {
                let is_last = self.better_backend(miner).is_none();
                self.is_unfit(miner) && is_last && miner.mismatches >= MISMATCHES_UNFIT_MAX
            }
        };
        if is_over {
            self.reset(miner, IN_USE);
        } else {
            self.fail_next(miner);
        }
    }

    /// Counts a login refused by the miner's server or the proxy, and logs it if a line is due.
    pub(super) fn note_refused(&mut self, miner: &ProxiedMiner, name: &str, why: RefusalReason) {
        let (conns, address) = (&mut self.shared.conns, miner.conn.address);
        conns.note_refused(self.now, address, name, why, self.out);
    }

    /// Handles that a server refuses a user that another has admitted.
    pub(crate) fn refused_user(&mut self, miner: &mut ProxiedMiner) {
        if let Some(link) = &miner.next {
            let name = self.shared.backends[link.place].name.clone();
            let text = || format!("server {name} refuses a user whom another let in");
            self.shared
                .conns
                .log_limit
                .tell(self.now, Level::Debug, text, self.out);
        }
        if let Some(link) = &miner.next {
            miner.refused |= 1 << link.place;
        }
        self.fail_next(miner);
    }

    /// True if every server that can be used refuses a user of the miner, so that it may not mine any
    /// more.
    pub(super) fn is_refused_everywhere(&self, miner: &ProxiedMiner) -> bool {
        let mut alive = self.shared.backends.iter().enumerate();
        miner.refused != 0
            && alive.all(|(place, backend)| !backend.is_alive() || miner.refused & 1 << place != 0)
    }
}

/// The password with its options, as the miner would have written it.
fn with_options(password: &str, options: &str) -> String {
    match options {
        "" => password.to_owned(),
        options => format!("{password},{options}"),
    }
}
