//! State of the proxy: its miners, its servers, and the role of each connection. Handling is not in here.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;

use crate::accounts::ban::Bans;
use crate::accounts::refused_logins::RefusedLogins;
use crate::event::CloseHow;
use crate::limits::{BACKENDS_MAX, CLOSE_DELAY_MS, CLOSING_LATER_MAX};
use crate::log_limit::LogLimit;
use crate::proxy::backend::{Backend, BackendChange};
use crate::proxy::event::{BackendIndex, ProxyConfig, ProxyCounts};
use crate::proxy::hash_ring::Ring;
use crate::proxy::miner::ProxiedMiner;
use crate::proxy::session_ids::SessionIds;
use crate::units::{ConnId, Now};

/// The purpose of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Miner,
    /// A miner's connection to its server.
    Link(ConnId),
    Probe(BackendIndex),
}

/// The role of each connection, indexed by the low half of its id.
#[derive(Default)]
pub(crate) struct Roles {
    slots: Vec<Option<(ConnId, Role)>>,
}

impl Roles {
    pub(crate) fn get(&self, conn: ConnId) -> Option<Role> {
        let (known, role) = (*self.slots.get(slot_of(conn))?)?;
        (known == conn).then_some(role)
    }

    pub(crate) fn set(&mut self, conn: ConnId, role: Role) {
        let slot = slot_of(conn);
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
        }
        self.slots[slot] = Some((conn, role));
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Removes a connection; false if it was not known any more.
    pub(crate) fn clear(&mut self, conn: ConnId) -> bool {
        let is_known = self.get(conn).is_some();
        if is_known {
            self.slots[slot_of(conn)] = None;
        }
        is_known
    }
}

/// The state that all miners share.
pub(crate) struct ProxyShared {
    pub config: ProxyConfig,
    pub ids: SessionIds,
    pub ring: Ring,
    pub backends: Vec<Backend>,
    pub roles: Roles,
    pub counts: ProxyCounts,
    /// Miners with a deadline, checked on each tick.
    pub unsettled: HashSet<ConnId>,
    /// Miners that are not on the server they belong to, with the time of the next attempt to move them,
    /// in order.
    pub misplaced: VecDeque<(u64, ConnId)>,
    /// Miners that waited in the queue of a server that could not be dialed.
    pub turned_away: Vec<(ConnId, BackendIndex)>,
    /// Miners to close at the end of the event.
    pub closing: Vec<(ConnId, CloseHow)>,
    /// Miners to reset later, with the time of each, in order.
    pub closing_later: VecDeque<(u64, ConnId)>,
    /// Rate limit of log lines that strangers cause.
    pub log_limit: LogLimit,
    pub refusals: RefusedLogins,
    /// Addresses of miners dropped for misbehaviour in this event.
    pub dropped: Vec<IpAddr>,
    /// Changes of servers in this event.
    pub changes: Vec<BackendChange>,
    /// Time since which no server can take miners; `None` while one can.
    pub alone_since_ms: Option<u64>,
    /// True while miners are refused, because there has been no server for too long.
    pub is_refusing: bool,
    /// True once every server has been probed.
    pub is_started: bool,
    pub is_stopping: bool,
}

impl ProxyShared {
    pub(crate) fn close_later(&mut self, conn: ConnId, now: Now) {
        if self.closing_later.len() >= CLOSING_LATER_MAX
            && let Some((_, longest)) = self.closing_later.pop_front()
        {
            self.closing.push((longest, CloseHow::Reset));
        }
        self.closing_later
            .push_back((now.ms + CLOSE_DELAY_MS, conn));
    }
}

/// The proxy, with all its miners.
pub struct Proxy {
    pub(crate) shared: ProxyShared,
    pub(crate) miners: Vec<Option<Box<ProxiedMiner>>>,
    pub(crate) bans: Bans,
    /// Miners to check for a better server, and how many of them are checked in a tick.
    pub(crate) moves: VecDeque<ConnId>,
    pub(crate) moves_per_tick: usize,
}

impl Proxy {
    /// Starts without miners and without knowledge of the servers.
    pub fn new(config: ProxyConfig, now: Now) -> Self {
        assert!((1..=BACKENDS_MAX).contains(&config.backends.len()));
        let secret = config.secret.as_ref();
        let key = secret.map_or(String::new(), |secret| secret.prove(b"", "ring", ""));
        let names = config.backends.iter().map(String::as_str);
        Self {
            shared: ProxyShared {
                ids: SessionIds::new(config.prefix, config.key),
                ring: Ring::new(key.as_bytes(), names.clone()),
                backends: names.map(|name| Backend::new(name, now)).collect(),
                roles: Roles::default(),
                counts: ProxyCounts::default(),
                unsettled: HashSet::new(),
                misplaced: VecDeque::new(),
                turned_away: Vec::new(),
                closing: Vec::new(),
                closing_later: VecDeque::new(),
                log_limit: LogLimit::default(),
                refusals: RefusedLogins::default(),
                dropped: Vec::new(),
                changes: Vec::new(),
                alone_since_ms: Some(now.ms),
                is_refusing: false,
                is_started: false,
                is_stopping: false,
                config,
            },
            miners: Vec::new(),
            bans: Bans::default(),
            moves: VecDeque::new(),
            moves_per_tick: 1,
        }
    }
}

pub(crate) fn slot_of(conn: ConnId) -> usize {
    (conn.0 & 0xffff_ffff) as usize
}
