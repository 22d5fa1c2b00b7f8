//! Requests of a proxy to a server: its status, and the admission of a miner that another server has
//! admitted.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::accounts::clean_name;
use crate::accounts::proxy_secret::CHALLENGE_BYTES;
use crate::accounts::refused_logins::RefusalReason;
use crate::pool::dispatch::{Reply, RequestContext};
use crate::pool::state::Pool;
use crate::session::Session;
use crate::session::difficulty::split_password;
use crate::units::hex;
use crate::wire::message::{Reject, Request};

impl Pool {
    /// Count of miners that proxies could move to other servers, by their last `hstratum.hello`.
    pub fn proxied(&mut self) -> u64 {
        let sessions = self.sessions.iter_mut();
        let said = sessions.filter_map(|session| session.proxied);
        said.map(u64::from).sum()
    }

    /// Announces to proxies that the server stops soon. Their last counts may be out of date, so each
    /// proxy is taken to have one miner until it says otherwise.
    pub(crate) fn leave(&mut self) {
        self.shared.is_leaving = true;
        for session in self.sessions.iter_mut() {
            session.proxied = session.proxied.and(Some(1));
        }
    }
}

impl RequestContext<'_> {
    /// Handles `hstratum.hello [miners]`, in which the proxy tells how many of this server's miners it
    /// could move elsewhere. The result has the height of the current job, the challenge for proofs on
    /// this connection if proxies are trusted, and whether miners should leave.
    pub(crate) fn hello(&mut self, session: &mut Session, request: &Request<'_>) -> String {
        self.shared.counts.probes -= u64::from(session.proxied.is_some());
        session.proxied = request.count();
        self.shared.counts.probes += u64::from(session.proxied.is_some());
        let newest = self.shared.jobs.newest();
        let newest = newest.filter(|_| self.shared.has_live_job());
        let is_shared = self.shared.config.proxy_secret.is_some();
        json!({
            "height": newest.map(|job| job.template.height.0),
            "challenge": is_shared.then(|| hex(&self.challenge(session))),
            "leaving": self.shared.is_leaving,
        })
        .to_string()
    }

    /// Handles `hstratum.admit [user, options, proof]`: admits the user as if its password had been
    /// checked here; another server has done that. The options are those that may end a password.
    pub(crate) fn admit_moved(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Reply, Reject> {
        let Some(secret) = &self.shared.config.proxy_secret else {
            return Err(Reject::UnknownMethod);
        };
        let params = request.texts()?;
        let [Some(name), Some(options), Some(proof)] = params.as_slice() else {
            return Err(Reject::InvalidParams);
        };
        if clean_name(name).as_ref() != Some(name) {
            return Err(Reject::InvalidParams);
        }
        if !secret.check(&self.challenge(session), name, options, proof) {
            return self.refuse(session, name, RefusalReason::Proof);
        }
        // The proof shows that another server has admitted it before, not that it may still mine.
        let user = self.shared.accounts.user(name);
        if !self.shared.accounts.may_mine(&user.account) {
            let why = self.shared.accounts.why_refused(name);
            self.note_refused(session, name, why);
            return Err(Reject::UnauthorizedUser);
        }
        if let (_, Some(requested)) = split_password(&format!(",{options}")) {
            session.difficulty_policy.request(requested, self.now.ms);
        }
        self.admit(session, user)
    }

    /// The challenge of a connection; it differs between connections, and between starts of the pool.
    fn challenge(&self, session: &Session) -> [u8; CHALLENGE_BYTES] {
        let digest = Sha256::new()
            .chain_update(b"hstratum.hello")
            .chain_update(self.shared.config.boot.secret)
            .chain_update(session.conn.id.0.to_be_bytes())
            .finalize();
        *digest.first_chunk().expect("32 bytes are enough")
    }
}
