//! Serializes a miner, so that another process can continue its connection.
//!
//! A move to another server that is in progress is left out: the other process starts it anew.

use serde::{Deserialize, Serialize};

use crate::conn::LineServer;
use crate::event::Arrival;
use crate::limits::PROXY_PARAMS_BYTES_MAX;
use crate::proxy::backend::BackendChange;
use crate::proxy::event::ProxyActions;
use crate::proxy::link::{BackendLink, LinkStage};
use crate::proxy::miner::{MinerRequest, MinerUser, ProxiedMiner, RequestKind};
use crate::proxy::state::{Proxy, Role};
use crate::units::{ConnId, Now, hex, unhex};
use crate::wire::protocol::ProtocolPhase;

/// A miner with its state at its server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinerState {
    session: Option<u32>,
    told: Option<u32>,
    agent: String,
    takes_extra_nonces: bool,
    users: Vec<UserState>,
    configured: Option<String>,
    difficulty: Option<String>,
    has_job: bool,
    has_credit: bool,
    requests: Vec<RequestState>,
    /// The bytes of unfinished lines, in hex.
    held: String,
    link: Option<LinkState>,
}

/// A miner's connection to its server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LinkState {
    server: String,
    jobs: Vec<u64>,
    extra_nonce1: Option<u32>,
    held: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UserState {
    name: String,
    password: Option<String>,
    options: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum RequestState {
    Asked {
        id: Option<String>,
        kind: RequestKindState,
        line: Option<String>,
    },
    Answered(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum RequestKindState {
    Submit,
    Subscribe,
    Authorize(UserState),
    Configure(String),
    ExtraNonces,
    AddUser,
    AuthorizeAdmin,
    GetTransactions,
    Other,
}

impl Proxy {
    /// Prepares a handover to another process: moves in progress are given up, and nothing more is read
    /// until [`Proxy::go_on`].
    pub fn freeze(&mut self, now: Now, out: &mut ProxyActions) {
        self.shared.is_stopping = true;
        for conn in self.all_miners() {
            self.with(now, conn, out, |context, miner| {
                context.stay(miner);
                context.update_backpressure(miner);
            });
        }
    }

    /// Continues after a handover that failed.
    pub fn go_on(&mut self, now: Now, out: &mut ProxyActions) {
        self.shared.is_stopping = false;
        for conn in self.all_miners() {
            self.with(now, conn, out, |context, miner| context.receive(miner, &[]));
        }
        self.shared.changes.push(BackendChange::Replan);
        self.follow_up(now, out);
    }

    /// Each miner that can be handed over, with its connection and that to its server.
    pub fn hand_over(&self) -> impl Iterator<Item = (ConnId, Option<ConnId>, MinerState)> {
        let names = &self.shared.config.backends;
        self.miners.iter().filter_map(|miner| {
            let link = miner.current.as_ref().and_then(|link| link.conn);
            Some((miner.conn.id, link, MinerState::of(miner, names)?))
        })
    }

    /// Takes over a miner of another process; false if that is not possible.
    pub fn take_over(
        &mut self,
        now: Now,
        (conn, arrival): (ConnId, Arrival),
        link: Option<ConnId>,
        state: MinerState,
        out: &mut ProxyActions,
    ) -> bool {
        let names = &self.shared.config.backends;
        let Some(miner) = state.restore(conn, arrival, link, names, now) else {
            return false;
        };
        if let Some(session) = miner.session {
            self.shared.ids.take(session);
        }
        if let Some(current) = &miner.current
            && let Some(link) = current.conn
        {
            self.shared.backends[current.place].miners += 1;
            self.shared.roles.insert(link, Role::Link(conn));
        }
        self.insert(miner);
        self.with(now, conn, out, |context, miner| context.resume(miner, link));
        self.follow_up(now, out);
        true
    }
}

impl MinerState {
    /// The name of the server that it is on.
    pub fn server(&self) -> Option<&str> {
        self.link.as_ref().map(|link| link.server.as_str())
    }

    /// Serializes a miner; `None` if it cannot be handed over, because it speaks HTTP or is about to be
    /// reset.
    pub(crate) fn of(miner: &ProxiedMiner, names: &[String]) -> Option<Self> {
        if !matches!(
            miner.conn.phase,
            ProtocolPhase::New | ProtocolPhase::Stratum
        ) {
            return None;
        }
        Some(Self {
            session: miner.session,
            told: miner.told,
            agent: miner.agent.to_string(),
            takes_extra_nonces: miner.takes_extra_nonces,
            users: miner.users.iter().map(UserState::of).collect(),
            configured: miner.configured.as_deref().map(str::to_owned),
            difficulty: miner.difficulty.as_deref().map(str::to_owned),
            has_job: miner.has_job,
            has_credit: miner.conn.has_credit,
            requests: miner.requests.iter().map(RequestState::of).collect(),
            held: hex(miner.conn.lines.held()),
            link: miner.current.as_ref().map(|link| LinkState {
                server: names[link.place].clone(),
                jobs: link.jobs.iter().copied().collect(),
                extra_nonce1: link.extra_nonce1,
                held: hex(link.lines.held()),
            }),
        })
    }

    /// Restores the miner, with its connection to the server if there is one and the server is configured
    /// here.
    pub(crate) fn restore(
        self,
        conn: ConnId,
        arrival: Arrival,
        link: Option<ConnId>,
        names: &[String],
        now: Now,
    ) -> Option<ProxiedMiner> {
        let mut miner = ProxiedMiner::new(conn, arrival, now);
        if self.session.is_some() {
            miner.conn.phase = ProtocolPhase::Stratum;
        }
        miner.session = self.session;
        miner.told = self.told;
        let is_short = |text: &String| text.len() <= PROXY_PARAMS_BYTES_MAX;
        miner.agent = Some(self.agent)
            .filter(is_short)
            .map_or(miner.agent, Into::into);
        miner.takes_extra_nonces = self.takes_extra_nonces;
        miner.users = self.users.into_iter().map(UserState::restore).collect();
        miner.configured = self.configured.filter(is_short).map(Into::into);
        miner.difficulty = self.difficulty.filter(is_short).map(Into::into);
        miner.has_job = self.has_job;
        miner.conn.has_credit = self.has_credit;
        miner.requests = self
            .requests
            .into_iter()
            .map(RequestState::restore)
            .collect();
        miner.conn.lines.hold(&unhex(&self.held)?);
        if let (Some(state), Some(conn)) = (self.link, link)
            && let Some(place) = names.iter().position(|name| *name == state.server)
        {
            let mut link = BackendLink::new(place, now.ms);
            link.conn = Some(conn);
            link.stage = LinkStage::Ready;
            link.jobs = state.jobs.into();
            link.extra_nonce1 = state.extra_nonce1;
            link.lines.hold(&unhex(&state.held)?);
            miner.current = Some(link);
        }
        Some(miner)
    }
}

impl UserState {
    fn of(user: &MinerUser) -> Self {
        Self {
            name: user.name.to_string(),
            password: user.password.as_deref().map(str::to_owned),
            options: user.options.to_string(),
        }
    }

    fn restore(self) -> MinerUser {
        MinerUser {
            name: self.name.into(),
            password: self.password.map(Into::into),
            options: self.options.into(),
        }
    }
}

impl RequestState {
    fn of(request: &MinerRequest) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match request {
            MinerRequest::Asked { id, kind, line } => Self::Asked {
                id: id.as_deref().map(str::to_owned),
                kind: RequestKindState::of(kind),
                line: line.as_deref().map(text),
            },
            MinerRequest::Answered(answer) => Self::Answered(text(answer)),
        }
    }

    fn restore(self) -> MinerRequest {
        match self {
            Self::Asked { id, kind, line } => MinerRequest::Asked {
                id: id.map(Into::into),
                kind: kind.restore(),
                line: line.map(|line| line.into_bytes().into()),
            },
            Self::Answered(answer) => MinerRequest::Answered(answer.into_bytes().into()),
        }
    }
}

impl RequestKindState {
    fn of(kind: &RequestKind) -> Self {
        match kind {
            RequestKind::Submit => Self::Submit,
            RequestKind::Subscribe => Self::Subscribe,
            RequestKind::Authorize(user) => Self::Authorize(UserState::of(user)),
            RequestKind::Configure(params) => Self::Configure(params.to_string()),
            RequestKind::ExtraNonces => Self::ExtraNonces,
            RequestKind::AddUser => Self::AddUser,
            RequestKind::AuthorizeAdmin => Self::AuthorizeAdmin,
            RequestKind::GetTransactions => Self::GetTransactions,
            RequestKind::Other => Self::Other,
        }
    }

    fn restore(self) -> RequestKind {
        match self {
            Self::Submit => RequestKind::Submit,
            Self::Subscribe => RequestKind::Subscribe,
            Self::Authorize(user) => RequestKind::Authorize(user.restore()),
            Self::Configure(params) => RequestKind::Configure(params.into()),
            Self::ExtraNonces => RequestKind::ExtraNonces,
            Self::AddUser => RequestKind::AddUser,
            Self::AuthorizeAdmin => RequestKind::AuthorizeAdmin,
            Self::GetTransactions => RequestKind::GetTransactions,
            Self::Other => RequestKind::Other,
        }
    }
}
