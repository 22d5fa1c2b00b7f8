//! A miner: all that another server must be told to take it over, and its unanswered requests.
//!
//! Invariant: answers leave in the order of the requests. An answer of the proxy itself waits behind
//! those that a server owes.

use std::collections::VecDeque;

use crate::conn::MinerConn;
use crate::event::Arrival;
use crate::limits::{
    PROXY_REQUESTS_MAX, PROXY_USER_BYTES_MAX, SERVER_LOSSES_MAX, SERVER_LOSSES_MS,
};
use crate::proxy::event::{BackendIndex, ProxyActions};
use crate::proxy::link::BackendLink;
use crate::units::{ConnId, Now};
use crate::wire::message::{Reject, write_reject};
use crate::wire::protocol::ProtocolPhase;

/// The kind of a request, as far as its answer or a move depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Submit,
    Subscribe,
    /// With the user to authorize on another server.
    Authorize(MinerUser),
    /// `mining.configure`, with its parameters.
    Configure(Box<str>),
    ExtraNonces,
    /// Must not be carried out twice.
    AddUser,
    AuthorizeAdmin,
    /// Its answer may be very long.
    GetTransactions,
    Other,
}

/// A user, with the data to admit it on another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MinerUser {
    pub name: Box<str>,
    /// `None` if a shared secret makes it unnecessary.
    pub password: Option<Box<str>>,
    /// `fd=…` if the password had it.
    pub options: Box<str>,
}

impl MinerUser {
    fn bytes(&self) -> usize {
        let password = self.password.as_ref().map_or(0, |password| password.len());
        self.name.len() + password + self.options.len()
    }
}

/// A request that is not answered to the miner yet.
pub(crate) enum MinerRequest {
    /// A server owes the answer. The line is kept if it was not sent yet or may be sent to another
    /// server.
    Asked {
        /// `None` if the miner expects no answer.
        id: Option<Box<str>>,
        kind: RequestKind,
        line: Option<Box<[u8]>>,
    },
    /// The answer, which waits for those before it.
    Answered(Box<[u8]>),
}

/// The state of one miner.
pub(crate) struct ProxiedMiner {
    pub conn: MinerConn,
    /// The session id sent to servers; assigned with the first line.
    pub session: Option<u32>,
    /// The extranonce1 announced to it.
    pub told: Option<u32>,
    /// True once it has sent `mining.authorize_admin`, possibly before it subscribed.
    pub has_asked_for_admin: bool,
    /// Its user agent, as JSON.
    pub agent: Box<str>,
    /// True if it understands `mining.set_extranonce`.
    pub takes_extra_nonces: bool,
    pub users: Vec<MinerUser>,
    pub configured: Option<Box<str>>,
    /// The last difficulty announced to it, as JSON.
    pub difficulty: Option<Box<str>>,
    pub has_job: bool,
    /// True once the socket layer was told that it has an accepted share.
    pub is_proven: bool,
    /// True if it is reset at the end of this event.
    pub is_ended: bool,
    pub requests: VecDeque<MinerRequest>,
    /// The connection to its server.
    pub current: Option<BackendLink>,
    /// The connection to the server that it moves to.
    pub next: Option<BackendLink>,
    /// The server in whose queue it waits.
    pub queued: Option<BackendIndex>,
    /// Servers that failed to take it since it last had one, as a bit set.
    pub tried: u64,
    /// Servers that refused a user of it since it last had one, as a bit set.
    pub refused: u64,
    /// Time since which it has no server.
    pub unassigned_since_ms: Option<u64>,
    /// The server that it lost at that time.
    pub lost_from: Option<BackendIndex>,
    /// Time of its next search for a server.
    pub retry_at_ms: Option<u64>,
    /// Time until which it waits for the last answers of the server that it leaves.
    pub leaving_until_ms: Option<u64>,
    /// True if it may be on the wrong server and is scheduled for another check.
    pub is_misplaced: bool,
    /// Time at which it came to its current server.
    pub settled_at_ms: u64,
    /// Count of logins that failed because its extranonce1 was in use there.
    pub mismatches: u32,
    losses: u32,
    losses_since_ms: u64,
}

impl ProxiedMiner {
    pub(crate) fn new(conn: ConnId, arrival: Arrival, now: Now) -> Self {
        Self {
            conn: MinerConn::new(conn, arrival, now),
            session: None,
            told: None,
            has_asked_for_admin: false,
            agent: "\"\"".into(),
            takes_extra_nonces: false,
            users: Vec::new(),
            configured: None,
            difficulty: None,
            has_job: false,
            is_proven: false,
            is_ended: false,
            requests: VecDeque::new(),
            current: None,
            next: None,
            queued: None,
            tried: 0,
            refused: 0,
            unassigned_since_ms: None,
            lost_from: None,
            retry_at_ms: None,
            leaving_until_ms: None,
            is_misplaced: false,
            settled_at_ms: now.ms,
            mismatches: 0,
            losses: 0,
            losses_since_ms: now.ms,
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.is_ended || matches!(self.conn.phase, ProtocolPhase::Closing)
    }

    /// True if it mines, so that a server that takes it over must send it a job.
    pub(crate) fn is_mining(&self) -> bool {
        self.told.is_some() && !self.users.is_empty()
    }

    /// True if its next line has to wait.
    pub(crate) fn is_blocked(&self) -> bool {
        self.leaving_until_ms.is_some()
            || self.requests.len() >= PROXY_REQUESTS_MAX
            || self.requests.iter().any(MinerRequest::is_long)
    }

    /// True if a server owes it an answer.
    pub(crate) fn is_owed(&self) -> bool {
        let is_owed = |request: &MinerRequest| matches!(request, MinerRequest::Asked { .. });
        self.requests.iter().any(is_owed)
    }

    /// The oldest request that a server owes an answer to.
    pub(crate) fn first_owed(&mut self) -> Option<&mut MinerRequest> {
        let is_owed = |request: &&mut MinerRequest| matches!(request, MinerRequest::Asked { .. });
        self.requests.iter_mut().find(is_owed)
    }

    /// True if a server owes it the answer to a share.
    pub(crate) fn has_share_in_flight(&self) -> bool {
        let is_share = |request: &MinerRequest| {
            matches!(
                request,
                MinerRequest::Asked {
                    kind: RequestKind::Submit,
                    ..
                }
            )
        };
        self.requests.iter().any(is_share)
    }

    /// Answers a request without a server, behind the answers that are owed.
    pub(crate) fn answer(&mut self, out: &mut ProxyActions, answer: &[u8]) {
        if self.requests.is_empty() {
            out.send(self.conn.id, |line| line.extend_from_slice(answer));
        } else {
            self.requests
                .push_back(MinerRequest::Answered(answer.into()));
        }
    }

    /// Sends the answers that wait no longer.
    pub(crate) fn release(&mut self, out: &mut ProxyActions) {
        while let Some(MinerRequest::Answered(answer)) = self.requests.front() {
            out.send(self.conn.id, |line| line.extend_from_slice(answer));
            self.requests.pop_front();
        }
    }

    /// Answers, after the loss of the server, the requests that must not be repeated; returns how many of
    /// them were shares.
    pub(crate) fn give_up_requests(&mut self) -> u64 {
        let mut shares = 0;
        for request in &mut self.requests {
            let MinerRequest::Asked { id, kind, .. } = request else {
                continue;
            };
            let reject = match kind {
                RequestKind::Submit | RequestKind::GetTransactions => Reject::JobNotFound,
                RequestKind::AddUser => Reject::UserNotStored,
                _ => continue,
            };
            shares += u64::from(*kind == RequestKind::Submit);
            let mut answer = Vec::new();
            if let Some(id) = id {
                write_reject(&mut answer, id, reject);
            }
            *request = MinerRequest::Answered(answer.into());
        }
        shares
    }

    /// Remembers a user that a server has authorized.
    pub(crate) fn add_user(&mut self, user: MinerUser) {
        self.users.retain(|known| known.name != user.name);
        self.users.push(user);
    }

    /// True if another user can be remembered.
    pub(crate) fn has_room_for(&self, user: &MinerUser) -> bool {
        self.user_bytes() + user.bytes() <= PROXY_USER_BYTES_MAX
    }

    pub(crate) fn user_bytes(&self) -> usize {
        self.users.iter().map(MinerUser::bytes).sum()
    }

    /// Counts a connection that a server has ended; true if it were too many to be the servers' fault.
    pub(crate) fn count_loss(&mut self, now: Now) -> bool {
        if now.ms - self.losses_since_ms >= SERVER_LOSSES_MS {
            self.losses_since_ms = now.ms;
            self.losses = 0;
        }
        self.losses += 1;
        self.losses > SERVER_LOSSES_MAX
    }
}

impl MinerRequest {
    fn is_long(&self) -> bool {
        matches!(
            self,
            Self::Asked {
                kind: RequestKind::GetTransactions,
                ..
            }
        )
    }
}
