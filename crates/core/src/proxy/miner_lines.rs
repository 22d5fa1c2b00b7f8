//! Handles each line of a miner: most are forwarded to its server unchanged.

use crate::accounts::refused_logins::RefusalReason;
use crate::conn::{Connections, LineServer, MinerConn};
use crate::limits::{LINE_BYTES_MAX, PROXY_PARAMS_BYTES_MAX, PROXY_SCORE_MAX, SCORE_MALFORMED};
use crate::pool::authorize::name_and_password;
use crate::proxy::event::{ProxyAction, ProxyActions};
use crate::proxy::miner::{MinerRequest, MinerUser, ProxiedMiner, RequestKind};
use crate::proxy::state::ProxyShared;
use crate::session::difficulty::{BLOCKS_AGENT, RequestedDifficulty, split_password};
use crate::units::{Now, parse_hex_u32};
use crate::wire::message::{self, Reject, write_reject};

/// The id of requests whose answer is not passed on to a miner.
pub(crate) const OWN_ID: &str = "\"p\"";
/// Prefix of the methods between servers and proxies, which miners must not use.
const INNER: &str = "hstratum.";

/// The context in which everything about one miner is handled.
pub(crate) struct MinerContext<'a> {
    pub shared: &'a mut ProxyShared,
    pub now: Now,
    pub out: &'a mut ProxyActions,
}

impl LineServer for MinerContext<'_> {
    type Miner = ProxiedMiner;
    type Action = ProxyAction;
    /// A little before a server drops it, which knows the connection only as the proxy's.
    const SCORE_MAX: u32 = PROXY_SCORE_MAX;

    fn conn(miner: &mut ProxiedMiner) -> &mut MinerConn {
        &mut miner.conn
    }

    fn parts(&mut self) -> (&mut Connections, Now, &mut ProxyActions) {
        (&mut self.shared.conns, self.now, self.out)
    }

    fn is_closing(miner: &ProxiedMiner) -> bool {
        miner.is_closing()
    }

    fn is_blocked(&self, miner: &ProxiedMiner) -> bool {
        self.shared.is_stopping || miner.is_blocked()
    }

    fn reject(&mut self, miner: &mut ProxiedMiner, id: Option<&str>, reject: Reject) {
        let Some(id) = id else { return };
        let mut line = Vec::new();
        write_reject(&mut line, id, reject);
        miner.answer(self.out, &line);
    }

    fn handle_request(&mut self, miner: &mut ProxiedMiner, line: &[u8]) {
        let cleaned = message::clean_line(line);
        let text = std::str::from_utf8(&cleaned).ok();
        let Some(request) = text.and_then(message::Request::parse) else {
            return self.malformed(miner, Some("null"));
        };
        let Some(method) = request.method() else {
            return self.malformed(miner, request.id().or(Some("null")));
        };
        if method == "mining.subscribe" {
            return self.subscribe(miner, &request);
        }
        let kind = match self.kind(miner, &request, &method) {
            Ok(kind) => kind,
            Err(Reject::InvalidParams) => return self.malformed(miner, request.id()),
            Err(reject) => return self.reject(miner, request.id(), reject),
        };
        miner.has_asked_for_admin |= matches!(kind, RequestKind::AuthorizeAdmin);
        self.start_session(miner, None);
        match request.id() {
            Some(id) => self.ask(miner, Some(id), kind, &cleaned),
            None => {
                let line = request.with_id(OWN_ID);
                self.ask(miner, None, kind, line.as_bytes());
            }
        }
    }

    fn end(&mut self, miner: &mut ProxiedMiner) {
        self.drop_links(miner);
        self.update_backpressure(miner);
    }
}

impl MinerContext<'_> {
    /// Classifies a request, or gives the reject to answer it with.
    fn kind(
        &mut self,
        miner: &ProxiedMiner,
        request: &message::Request<'_>,
        method: &str,
    ) -> Result<RequestKind, Reject> {
        Ok(match method {
            "mining.submit" => {
                let submit = request.submit();
                self.check_submit(miner, submit)?;
                RequestKind::Submit
            }
            "mining.authorize" => RequestKind::Authorize(self.user(miner, request)?),
            "mining.configure" => match request.params_text() {
                params if params.len() <= PROXY_PARAMS_BYTES_MAX => {
                    RequestKind::Configure(params.into())
                }
                // Forwarded once, and not repeated at the next server.
                _ => RequestKind::Other,
            },
            "mining.extranonce.subscribe" => RequestKind::ExtraNonces,
            "mining.authorize_admin" => RequestKind::AuthorizeAdmin,
            "mining.add_user" => RequestKind::AddUser,
            "mining.get_transactions" if miner.told.is_none() => return Err(Reject::NotSubscribed),
            "mining.get_transactions" => RequestKind::GetTransactions,
            _ if method.starts_with(INNER) => return Err(Reject::UnknownMethod),
            _ => RequestKind::Other,
        })
    }

    /// Checks a submit: a share for a job of another server, or of none, is not forwarded. The order of
    /// the checks is the server's.
    fn check_submit(
        &mut self,
        miner: &ProxiedMiner,
        submit: Result<message::Submit<'_>, Reject>,
    ) -> Result<(), Reject> {
        if miner.told.is_none() {
            return Err(Reject::NotSubscribed);
        }
        let submit = submit?;
        if miner.users.is_empty() {
            return Err(Reject::UnauthorizedUser);
        }
        let current = miner.current.as_ref();
        if current.is_some_and(|link| link.has_job(&submit.job)) {
            return Ok(());
        }
        self.shared.counts.refused_stale += 1;
        Err(Reject::JobNotFound)
    }

    fn user(
        &mut self,
        miner: &ProxiedMiner,
        request: &message::Request<'_>,
    ) -> Result<MinerUser, Reject> {
        let params = request.texts();
        let named = (params.as_deref().map_err(|reject| *reject)).and_then(name_and_password);
        let (name, password) = named.inspect_err(|_| {
            self.note_refused(miner, "", RefusalReason::Malformed);
        })?;
        let (password, requested) = split_password(password);
        let options = match requested {
            Some(RequestedDifficulty::Fixed(difficulty)) => format!("fd={difficulty}"),
            _ => String::new(),
        };
        let user = MinerUser {
            name: name.into(),
            password: self.shared.config.secret.is_none().then(|| password.into()),
            options: options.into(),
        };
        if miner.has_room_for(&user) {
            Ok(user)
        } else {
            self.note_refused(miner, &user.name, RefusalReason::Names);
            Err(Reject::UnauthorizedUser)
        }
    }

    /// Handles a subscribe: the server is sent the session id that the miner names, if no other miner has
    /// it, or one of the proxy's.
    fn subscribe(&mut self, miner: &mut ProxiedMiner, request: &message::Request<'_>) {
        let Ok(params) = request.texts() else {
            return self.malformed(miner, request.id());
        };
        let wanted = params.get(1).and_then(|id| parse_hex_u32(id.as_deref()?));
        let is_first = miner.told.is_none();
        if is_first {
            let agent = params.first().and_then(Option::as_deref);
            let agent = match agent.unwrap_or_default() {
                // The next server would not see that the miner has asked for the admin's rights.
                "" if miner.has_asked_for_admin => BLOCKS_AGENT,
                agent => agent,
            };
            let agent = serde_json::Value::from(agent).to_string();
            // A user agent that long identifies no known miner.
            let agent = Some(agent).filter(|agent| agent.len() <= PROXY_PARAMS_BYTES_MAX);
            miner.agent = agent.unwrap_or_else(|| "\"\"".to_owned()).into();
        }
        self.start_session(miner, wanted.filter(|_| is_first));
        let session = miner.session.expect("it was dealt");
        let id = request.id();
        let line = subscribe_line(id.unwrap_or(OWN_ID), &miner.agent, session);
        self.ask(miner, id, RequestKind::Subscribe, line.as_bytes());
    }

    /// Assigns the miner's session id, the wanted one if possible, and looks for a server.
    fn start_session(&mut self, miner: &mut ProxiedMiner, wanted: Option<u32>) {
        let ids = &mut self.shared.ids;
        match (miner.session, wanted) {
            (None, wanted) => {
                miner.session = Some(ids.deal(wanted));
                miner.unassigned_since_ms = Some(self.now.ms);
                self.find_backend(miner);
            }
            (Some(dealt), Some(wanted)) if dealt != wanted => {
                let given = ids.deal(Some(wanted));
                let unused = if given == wanted { dealt } else { given };
                ids.free(unused);
                if given == wanted {
                    miner.session = Some(given);
                }
            }
            _ => {}
        }
    }

    /// Sends a request to the miner's server; without one it waits for the next.
    fn ask(&mut self, miner: &mut ProxiedMiner, id: Option<&str>, kind: RequestKind, line: &[u8]) {
        // The bytes added to the line must not make it one that a server refuses.
        if line.len() > LINE_BYTES_MAX {
            self.reject(miner, id, Reject::LineTooLong);
            return self.close(miner);
        }
        let current = miner.current.as_ref().and_then(|link| link.conn);
        if current.is_none() && matches!(kind, RequestKind::Submit | RequestKind::GetTransactions) {
            return self.reject(miner, id, Reject::JobNotFound);
        }
        if let Some(conn) = current {
            if let Some(link) = &miner.current {
                self.shared.backends[link.place].asked(self.now);
            }
            self.out.send(conn, |out| {
                out.extend_from_slice(line);
                out.push(b'\n');
            });
        }
        let is_kept = current.is_none() || kind.may_be_repeated();
        miner.requests.push_back(MinerRequest::Asked {
            id: id.map(Into::into),
            kind,
            line: is_kept.then(|| line.into()),
        });
    }

    fn malformed(&mut self, miner: &mut ProxiedMiner, id: Option<&str>) {
        self.reject(miner, id, Reject::InvalidParams);
        self.blame(miner, SCORE_MALFORMED);
    }
}

impl RequestKind {
    /// True if the request may be repeated at another server.
    pub(crate) fn may_be_repeated(&self) -> bool {
        !matches!(self, Self::Submit | Self::GetTransactions | Self::AddUser)
    }
}

/// A `mining.subscribe` line that names the session.
pub(crate) fn subscribe_line(id: &str, agent: &str, session: u32) -> String {
    format!(r#"{{"id":{id},"method":"mining.subscribe","params":[{agent},"{session:08x}"]}}"#)
}
