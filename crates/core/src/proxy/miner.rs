//! A miner: what it was told, what it must not be told twice, and which of its requests have no
//! answer yet.
//!
//! Answers leave in the order of the requests, wherever they come from: one that the proxy gives
//! itself waits behind those that a server owes.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::event::{Arrival, ArrivalKind};
use crate::limits::{
    PROXY_REQUESTS_MAX, PROXY_USER_BYTES_MAX, SCORE_DECAY_PER_S, SERVER_LOSSES_MAX,
    SERVER_LOSSES_MS,
};
use crate::proxy::event::Place;
use crate::proxy::link::Link;
use crate::units::{ConnId, Now};
use crate::wire::line::LineBuffer;
use crate::wire::message::{Reject, write_reject};
use crate::wire::protocol::Phase;

/// What a request is, as far as its answer or a move depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Submit,
    Subscribe,
    /// With the parameters that authorize the user on another server.
    Authorize(User),
    /// `mining.configure`, with its parameters.
    Configure(Box<str>),
    ExtraNonces,
    /// It must not be carried out twice.
    AddUser,
    AuthorizeAdmin,
    /// Its answer may be very long.
    GetTransactions,
    Other,
}

/// A user, and what another server has to be told to let it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub name: Box<str>,
    /// None where the secret makes it needless.
    pub password: Option<Box<str>>,
    /// `fd=…`, where the password had that.
    pub options: Box<str>,
}

impl User {
    fn bytes(&self) -> usize {
        let password = self.password.as_ref().map_or(0, |password| password.len());
        self.name.len() + password + self.options.len()
    }
}

/// A request without an answer.
pub(crate) enum Request {
    /// A server owes the answer. The line is kept where another server can be asked instead; the
    /// last is whether it was sent.
    Asked {
        /// None where the miner wants no answer.
        id: Option<Box<str>>,
        kind: Kind,
        line: Option<Box<[u8]>>,
    },
    /// The answer, which waits for its turn.
    Answered(Box<[u8]>),
}

/// See the module.
pub(crate) struct Miner {
    pub conn: ConnId,
    pub address: IpAddr,
    pub kind: ArrivalKind,
    pub connected_at_ms: u64,
    pub phase: Phase,
    pub lines: LineBuffer,
    pub is_paused: bool,
    /// The id that servers are told; dealt with the first line.
    pub session: Option<u32>,
    /// The extranonce1 that it was told.
    pub told: Option<u32>,
    /// Whether it asked for the admin's rights, before it subscribed perhaps.
    pub has_asked_for_admin: bool,
    /// Its agent, as JSON.
    pub agent: Box<str>,
    /// It understands `mining.set_extranonce`.
    pub takes_extra_nonces: bool,
    pub users: Vec<User>,
    pub configured: Option<Box<str>>,
    /// The difficulty that it was told last, as JSON.
    pub difficulty: Option<Box<str>>,
    pub has_job: bool,
    pub has_credit: bool,
    /// Whether the sockets know that it has logged in.
    pub is_admitted: bool,
    /// Whether they know that it has an accepted share.
    pub is_proven: bool,
    /// It is reset at the end of this event.
    pub is_ended: bool,
    /// It sends no more.
    pub is_finished: bool,
    pub requests: VecDeque<Request>,
    /// The server that it is on.
    pub current: Option<Link>,
    /// The server that it goes to.
    pub next: Option<Link>,
    /// The server whose queue it stands in.
    pub queued: Option<Place>,
    /// Servers that would not have it, a bit each, since it last had one.
    pub tried: u64,
    /// Servers that refused a user of it, a bit each, since it last had one.
    pub refused: u64,
    /// Since when it has had no server.
    pub adrift_since_ms: Option<u64>,
    /// The server that it lost then.
    pub lost_from: Option<Place>,
    /// When it looks for one again.
    pub retry_at_ms: Option<u64>,
    /// It waits for the last answers of the server that it leaves, until then.
    pub leaving_until_ms: Option<u64>,
    /// It is not where it belongs, as far as is known, and will be looked at again.
    pub is_astray: bool,
    /// When it came to the server that it is on.
    pub settled_at_ms: u64,
    /// Logins that failed because its extranonce1 was another's there.
    pub mismatches: u32,
    losses: u32,
    losses_since_ms: u64,
    score: u32,
    scored_at_ms: u64,
}

impl Miner {
    pub(crate) fn new(conn: ConnId, arrival: Arrival, now: Now) -> Self {
        Self {
            conn,
            address: arrival.address,
            kind: arrival.kind,
            connected_at_ms: now.ms,
            phase: Phase::New,
            lines: LineBuffer::default(),
            is_paused: false,
            session: None,
            told: None,
            has_asked_for_admin: false,
            agent: "\"\"".into(),
            takes_extra_nonces: false,
            users: Vec::new(),
            configured: None,
            difficulty: None,
            has_job: false,
            has_credit: false,
            is_admitted: false,
            is_proven: false,
            is_ended: false,
            is_finished: false,
            requests: VecDeque::new(),
            current: None,
            next: None,
            queued: None,
            tried: 0,
            refused: 0,
            adrift_since_ms: None,
            lost_from: None,
            retry_at_ms: None,
            leaving_until_ms: None,
            is_astray: false,
            settled_at_ms: now.ms,
            mismatches: 0,
            losses: 0,
            losses_since_ms: now.ms,
            score: 0,
            scored_at_ms: now.ms,
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.is_ended || matches!(self.phase, Phase::Closing)
    }

    /// Whether it mines: a server that takes it over has to give it a job.
    pub(crate) fn is_mining(&self) -> bool {
        self.told.is_some() && !self.users.is_empty()
    }

    /// Whether its next line has to wait.
    pub(crate) fn is_blocked(&self) -> bool {
        self.leaving_until_ms.is_some()
            || self.requests.len() >= PROXY_REQUESTS_MAX
            || self.requests.iter().any(Request::is_long)
    }

    /// Whether a server owes an answer to something that was sent to it.
    pub(crate) fn is_owed(&self) -> bool {
        let is_owed = |request: &Request| matches!(request, Request::Asked { .. });
        self.requests.iter().any(is_owed)
    }

    /// The first request that a server owes an answer to.
    pub(crate) fn first_owed(&mut self) -> Option<&mut Request> {
        let is_owed = |request: &&mut Request| matches!(request, Request::Asked { .. });
        self.requests.iter_mut().find(is_owed)
    }

    /// Whether it is owed the answer to a share.
    pub(crate) fn has_share_in_flight(&self) -> bool {
        let is_share = |request: &Request| {
            matches!(
                request,
                Request::Asked {
                    kind: Kind::Submit,
                    ..
                }
            )
        };
        self.requests.iter().any(is_share)
    }

    /// The answer of a request that is the proxy's own to give.
    pub(crate) fn answer(&mut self, out: &mut super::Actions, answer: &[u8]) {
        if self.requests.is_empty() {
            out.send(self.conn, |line| line.extend_from_slice(answer));
        } else {
            self.requests.push_back(Request::Answered(answer.into()));
        }
    }

    /// Sends the answers that no longer wait.
    pub(crate) fn release(&mut self, out: &mut super::Actions) {
        while let Some(Request::Answered(answer)) = self.requests.front() {
            out.send(self.conn, |line| line.extend_from_slice(answer));
            self.requests.pop_front();
        }
    }

    /// The server is gone: what must not be asked again is answered, and how many shares were among
    /// that.
    pub(crate) fn give_up_requests(&mut self) -> u64 {
        let mut shares = 0;
        for request in &mut self.requests {
            let Request::Asked { id, kind, .. } = request else {
                continue;
            };
            let reject = match kind {
                Kind::Submit | Kind::GetTransactions => Reject::JobNotFound,
                Kind::AddUser => Reject::UserNotStored,
                _ => continue,
            };
            shares += u64::from(*kind == Kind::Submit);
            let mut answer = Vec::new();
            if let Some(id) = id {
                write_reject(&mut answer, id, reject);
            }
            *request = Request::Answered(answer.into());
        }
        shares
    }

    /// A server let a user in. False when that is more than is remembered.
    pub(crate) fn add_user(&mut self, user: User) {
        self.users.retain(|known| known.name != user.name);
        self.users.push(user);
    }

    /// Whether another user can be remembered.
    pub(crate) fn has_room_for(&self, user: &User) -> bool {
        self.user_bytes() + user.bytes() <= PROXY_USER_BYTES_MAX
    }

    pub(crate) fn user_bytes(&self) -> usize {
        self.users.iter().map(User::bytes).sum()
    }

    /// A server has ended the connection; true when that happens too often to be the servers' fault.
    pub(crate) fn count_loss(&mut self, now: Now) -> bool {
        if now.ms - self.losses_since_ms >= SERVER_LOSSES_MS {
            self.losses_since_ms = now.ms;
            self.losses = 0;
        }
        self.losses += 1;
        self.losses > SERVER_LOSSES_MAX
    }

    /// Adds to the score, and says what it is then.
    pub(crate) fn blame(&mut self, points: u32, now: Now) -> u32 {
        let seconds = (now.ms - self.scored_at_ms) / 1000;
        self.scored_at_ms += seconds * 1000;
        let forgiven = seconds.saturating_mul(u64::from(SCORE_DECAY_PER_S));
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        self.score = self.score.saturating_sub(forgiven).saturating_add(points);
        self.score
    }
}

impl Request {
    fn is_long(&self) -> bool {
        matches!(
            self,
            Self::Asked {
                kind: Kind::GetTransactions,
                ..
            }
        )
    }
}
