//! What a proxy asks of a server: how it is, and to admit a miner that another server has admitted.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::accounts::clean_name;
use crate::accounts::proxy_secret::CHALLENGE_BYTES;
use crate::accounts::refused_logins::Reason;
use crate::pool::Pool;
use crate::pool::dispatch::{Answer, Desk};
use crate::session::Session;
use crate::session::difficulty::split_password;
use crate::units::hex;
use crate::wire::message::{Reject, Request};

impl Pool {
    /// Miners that proxies could take elsewhere, as they last said.
    pub fn proxied(&mut self) -> u64 {
        let sessions = self.sessions.iter_mut();
        let said = sessions.filter_map(|session| session.proxied);
        said.map(u64::from).sum()
    }

    /// The server stops soon. What proxies last said is too old to tell that nobody waits.
    pub(crate) fn leave(&mut self) {
        self.shared.is_leaving = true;
        for session in self.sessions.iter_mut() {
            session.proxied = session.proxied.and(Some(1));
        }
    }
}

impl Desk<'_> {
    /// `hstratum.hello [miners]`: the height of the job that there is; where proxies are trusted, what
    /// a proof on this connection has to answer; and whether miners are to go elsewhere. So many of
    /// this server's miners the proxy could take there.
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

    /// `hstratum.admit [user, options, proof]`: the user mines here as with its password, which
    /// another server has found right. The options are those that a password may end in.
    pub(crate) fn admit_moved(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
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
            return self.refuse(session, name, Reason::Proof);
        }
        // The proof says that another server has let it in once, not that it may mine still.
        let user = self.shared.accounts.user(name);
        if !self.shared.accounts.may_mine(&user.account) {
            let why = self.shared.accounts.why_refused(name);
            self.note_refused(session, name, why);
            return Err(Reject::UnauthorizedUser);
        }
        if let (_, Some(wish)) = split_password(&format!(",{options}")) {
            session.pace.wish(wish, self.now.ms);
        }
        self.admit(session, user)
    }

    /// No two connections have the same, over starts as well.
    fn challenge(&self, session: &Session) -> [u8; CHALLENGE_BYTES] {
        let digest = Sha256::new()
            .chain_update(b"hstratum.hello")
            .chain_update(self.shared.config.boot.secret)
            .chain_update(session.conn.0.to_be_bytes())
            .finalize();
        *digest.first_chunk().expect("32 bytes are enough")
    }
}
