//! State of the proxy: its miners, its servers, and the role of each connection. Handling is not in here.

use std::collections::{HashSet, VecDeque};

use crate::accounts::ban::Bans;
use crate::conn::Connections;
use crate::conn::conn_map::ConnMap;
use crate::limits::BACKENDS_MAX;
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

/// The state that all miners share.
pub(crate) struct ProxyShared {
    pub config: ProxyConfig,
    pub ids: SessionIds,
    pub ring: Ring,
    pub backends: Vec<Backend>,
    /// The role of each connection.
    pub roles: ConnMap<Role>,
    pub counts: ProxyCounts,
    /// Miners with a deadline, checked on each tick.
    pub unsettled: HashSet<ConnId>,
    /// Miners that are not on the server they belong to, with the time of the next attempt to move them,
    /// in order.
    pub misplaced: VecDeque<(u64, ConnId)>,
    /// Miners that waited in the queue of a server that could not be dialed.
    pub turned_away: Vec<(ConnId, BackendIndex)>,
    pub conns: Connections,
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

/// The proxy, with all its miners.
pub struct Proxy {
    pub(crate) shared: ProxyShared,
    pub(crate) miners: ConnMap<Box<ProxiedMiner>>,
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
                roles: ConnMap::default(),
                counts: ProxyCounts::default(),
                unsettled: HashSet::new(),
                misplaced: VecDeque::new(),
                turned_away: Vec::new(),
                conns: Connections::new(config.public_host.clone(), config.public_port),
                changes: Vec::new(),
                alone_since_ms: Some(now.ms),
                is_refusing: false,
                is_started: false,
                is_stopping: false,
                config,
            },
            miners: ConnMap::default(),
            bans: Bans::default(),
            moves: VecDeque::new(),
            moves_per_tick: 1,
        }
    }
}
