//! Counts of everything the proxy keeps, each with its limit, as `crate::pool::memory_usage` has them for
//! the pool.

use crate::limits::{
    BANNED_ADDRESSES_MAX, CLOSING_LATER_MAX, JOBS_PER_LINK_MAX, LINE_BYTES_MAX, PROXY_REQUESTS_MAX,
    PROXY_USER_BYTES_MAX, SERVER_LINE_BYTES_MAX,
};
use crate::pool::memory_usage::MemoryUse;
use crate::proxy::link::BackendLink;
use crate::proxy::miner::ProxiedMiner;
use crate::proxy::state::Proxy;

/// Connections of one miner: its own, that to its server, and that to the server it moves to.
const CONNS_PER_MINER: usize = 3;

fn size(what: &'static str, count: usize, limit: usize) -> MemoryUse {
    MemoryUse { what, count, limit }
}

impl Proxy {
    /// Counts everything that the proxy keeps; visits each miner. The text of a connection may exceed its
    /// limit by the bytes of one read (`read_bytes`).
    pub fn sizes(&self, read_bytes: usize) -> Vec<MemoryUse> {
        let shared = &self.shared;
        let (miners, backends) = (self.miners(), shared.backends.len());
        let conns_max = CONNS_PER_MINER * miners + backends;
        let mut sizes = vec![
            size("session ids", shared.ids.len(), miners),
            size("connections", shared.roles.len(), conns_max),
            size("unsettled miners", shared.unsettled.len(), miners),
            size("ends", shared.conns.delayed_closes.len(), CLOSING_LATER_MAX),
            size("offenders", self.bans.len(), BANNED_ADDRESSES_MAX),
        ];
        let mut most = |what, limit, of: fn(&ProxiedMiner) -> usize| {
            let count = self.miners.iter().map(|miner| of(miner)).max();
            sizes.push(size(what, count.unwrap_or(0), limit));
        };
        let line_bytes_max = LINE_BYTES_MAX + read_bytes;
        let answer_bytes_max = SERVER_LINE_BYTES_MAX + read_bytes;
        most("requests", PROXY_REQUESTS_MAX, |one| one.requests.len());
        most(
            "bytes of users",
            PROXY_USER_BYTES_MAX,
            ProxiedMiner::user_bytes,
        );
        most("bytes of a line", line_bytes_max, |one| {
            one.conn.lines.len()
        });
        most("bytes of an answer", answer_bytes_max, |one| {
            one.most(|link| link.lines.len())
        });
        most("jobs of a link", JOBS_PER_LINK_MAX, |one| {
            one.most(|link| link.jobs.len())
        });
        sizes
    }
}

impl ProxiedMiner {
    fn most(&self, of: fn(&BackendLink) -> usize) -> usize {
        let links = self.current.iter().chain(&self.next);
        links.map(of).max().unwrap_or(0)
    }
}
