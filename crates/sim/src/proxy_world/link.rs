//! The proxy's connections to miners and servers, seen from both ends, and the bytes on them.

use std::collections::HashSet;

use hstratum_core::chain::coinbase::Payout;
use hstratum_core::event::{Arrival, ArrivalKind};
use hstratum_core::units::{ConnId, Difficulty};
use serde_json::Value;

use crate::proxy_world::{ProxyWorld, ProxyWorldEvent};
use crate::server::net::LinkId;
use crate::server::sim_io::SocketInput;
use crate::world::memory_check::READ_BYTES;
use crate::world::note;
use crate::world::plan::{between, happens};

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkPeer {
    /// The miner with this index.
    Miner(usize),
    /// The server with this index, its name for the connection once it has accepted it, and the miner it
    /// is for; `None` for the proxy itself.
    Server(usize, Option<ConnId>, Option<usize>),
}

/// A connection of the proxy.
pub(crate) struct ProxyLink {
    pub(crate) peer: LinkPeer,
    /// The proxy's process that has it, and its name there.
    pub(crate) boot: u32,
    pub(crate) conn: ConnId,
    pub(crate) proxy_open: bool,
    pub(crate) far_open: bool,
    /// True once the proxy was told of it.
    pub(crate) is_known: bool,
    /// True once bytes are lost in both directions without notice to the ends.
    pub(crate) is_dead: bool,
    pub(crate) latency_ms: u64,
    /// Earliest arrival of the next bytes, so that none overtake those sent before.
    to_proxy_ms: u64,
    to_miner_ms: u64,
    /// Bytes written by the proxy in this turn.
    pub(crate) out: Vec<u8>,
    /// For a server's connection: the start of its next line, and the jobs it has sent.
    line: Vec<u8>,
    pub(crate) jobs: HashSet<String>,
    /// Time at which the proxy closed it.
    pub(crate) closed_ms: Option<u64>,
}

impl ProxyLink {
    /// True while the proxy has it open.
    pub(crate) fn is_open(&self) -> bool {
        self.proxy_open
    }

    pub(crate) fn is_of(&self, rig: usize) -> bool {
        match self.peer {
            LinkPeer::Miner(at) => at == rig,
            LinkPeer::Server(_, _, at) => at == Some(rig),
        }
    }

    pub(crate) fn is_servers(&self) -> bool {
        matches!(self.peer, LinkPeer::Server(..))
    }
}

impl ProxyWorld {
    /// Adds a connection of the running proxy.
    pub(crate) fn add_link(&mut self, peer: LinkPeer, conn: ConnId, latency_ms: u64) -> LinkId {
        self.made += 1;
        let state = ProxyLink {
            peer,
            boot: self.boot,
            conn,
            proxy_open: true,
            far_open: true,
            is_known: false,
            is_dead: false,
            latency_ms,
            to_proxy_ms: self.now_ms,
            to_miner_ms: self.now_ms,
            out: Vec::new(),
            line: Vec::new(),
            jobs: HashSet::new(),
            closed_ms: None,
        };
        self.links.insert(self.made, state);
        let proxy_process = self.proxy_process.as_mut().expect("the proxy runs");
        proxy_process.links.insert(conn, self.made);
        self.made
    }

    /// Marks a connection as closed at the proxy's end.
    pub(crate) fn end_proxys(&mut self, link: LinkId) {
        let now_ms = self.now_ms;
        if let Some(state) = self.links.get_mut(&link)
            && std::mem::replace(&mut state.proxy_open, false)
        {
            state.closed_ms = Some(now_ms);
            state.out.clear();
        }
    }

    /// Removes connections closed long ago.
    pub(crate) fn forget_links(&mut self) {
        let long_ago_ms = self.now_ms.saturating_sub(600_000);
        self.links
            .retain(|_, link| link.closed_ms.is_none_or(|at_ms| at_ms > long_ago_ms));
    }

    /// Cuts bytes into the segments in which they arrive.
    fn split(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        if bytes.len() > 1 && happens(&mut self.rngs.net, self.faults.miner_split_segment) {
            self.inject("miner split segment");
            let (a, b) = bytes.split_at(self.rngs.net.usize(1..bytes.len()));
            return vec![a.to_vec(), b.to_vec()];
        }
        vec![bytes.to_vec()]
    }

    fn draw_delay(&mut self) -> u64 {
        if happens(&mut self.rngs.net, self.faults.miner_slow_segment) {
            self.inject("miner slow segment");
            return between(&mut self.rngs.net, 100, 5_000);
        }
        0
    }

    /// Sends bytes from a miner to the proxy.
    pub(crate) fn transmit(&mut self, link: LinkId, bytes: &[u8]) {
        for piece in self.split(bytes) {
            let delay_ms = self.draw_delay();
            let Some(state) = self.links.get_mut(&link) else {
                return;
            };
            let at_ms = self.now_ms + state.latency_ms + delay_ms;
            state.to_proxy_ms = state.to_proxy_ms.max(at_ms);
            if !state.is_dead {
                let at_ms = state.to_proxy_ms;
                self.event_queue
                    .add(at_ms, ProxyWorldEvent::ToProxy(link, piece));
            }
        }
    }

    /// Sends the bytes that the proxy has written in this turn.
    pub(crate) fn flush(&mut self) {
        let full = self.links.iter_mut();
        let full: Vec<(LinkId, Vec<u8>)> = full
            .filter(|(_, state)| !state.out.is_empty())
            .map(|(link, state)| (*link, std::mem::take(&mut state.out)))
            .collect();
        for (link, out) in full {
            match self.links[&link].peer {
                LinkPeer::Server(place, Some(conn), _) => {
                    let world = &mut self.servers[place].world;
                    world.now_ms = self.now_ms;
                    world.transmit(conn, &out);
                }
                LinkPeer::Server(_, None, _) => panic!("the proxy writes before it is connected"),
                LinkPeer::Miner(_) => self.send_miner(link, &out),
            }
        }
    }

    fn send_miner(&mut self, link: LinkId, out: &[u8]) {
        for piece in self.split(out) {
            let delay_ms = self.draw_delay();
            let state = self.links.get_mut(&link).expect("it was just there");
            let at_ms = self.now_ms + state.latency_ms + delay_ms;
            state.to_miner_ms = state.to_miner_ms.max(at_ms);
            if !state.is_dead {
                let at_ms = state.to_miner_ms;
                self.event_queue
                    .add(at_ms, ProxyWorldEvent::ToMiner(link, piece));
            }
        }
    }

    /// Makes a miner notice the end of its connection, after the bytes on their way to it.
    pub(crate) fn end_miners(&mut self, link: LinkId) {
        let state = &self.links[&link];
        let at_ms = state.to_miner_ms.max(self.now_ms + state.latency_ms);
        if !state.is_dead {
            self.event_queue
                .add(at_ms, ProxyWorldEvent::MinerGone(link));
        }
    }

    /// Delivers bytes of a miner to the proxy.
    pub(crate) fn reach_proxy(&mut self, link: LinkId, bytes: &[u8]) {
        let tells_hosts = self.rigs.len();
        let Some(state) = self.links.get_mut(&link).filter(|link| !link.is_dead) else {
            return;
        };
        let LinkPeer::Miner(rig) = state.peer else {
            return;
        };
        if !state.proxy_open || state.boot != self.boot || self.proxy_process.is_none() {
            // The connection is unknown here: the machine answers with a reset.
            return self.end_miners(link);
        }
        assert!(rig < tells_hosts);
        let conn = state.conn;
        let is_new = !std::mem::replace(&mut state.is_known, true);
        let proxy_process = self.proxy_process.as_mut().expect("it was just there");
        if is_new {
            let read = SocketInput::Opened(arrival_of(rig));
            proxy_process.driver.net.reads.push_back((conn, read));
        }
        for read in bytes.chunks(READ_BYTES) {
            let read = SocketInput::Bytes(read.to_vec());
            proxy_process.driver.net.reads.push_back((conn, read));
        }
        self.want_turn();
    }

    /// Makes the proxy notice that a miner's connection has ended.
    pub(crate) fn proxy_gone(&mut self, link: LinkId) {
        let Some(state) = self.links.get(&link).filter(|link| link.proxy_open) else {
            return;
        };
        let (conn, is_known, is_here) = (state.conn, state.is_known, state.boot == self.boot);
        self.end_proxys(link);
        if let Some(proxy_process) = self.proxy_process.as_mut().filter(|_| is_here) {
            if is_known {
                proxy_process
                    .driver
                    .net
                    .reads
                    .push_back((conn, SocketInput::Gone));
            } else {
                proxy_process.driver.net.forget(conn);
            }
            self.want_turn();
        }
    }

    /// Delivers a connection attempt of the proxy to the server.
    pub(crate) fn dialed(&mut self, link: LinkId) {
        let tells_addresses = self.plan.tells_addresses;
        let Some(state) = self.links.get_mut(&link).filter(|link| link.proxy_open) else {
            return;
        };
        let LinkPeer::Server(place, _, rig) = state.peer else {
            return;
        };
        let latency_ms = state.latency_ms;
        let world = &mut self.servers[place].world;
        world.now_ms = self.now_ms;
        let address = rig
            .filter(|_| tells_addresses)
            .map(|rig| arrival_of(rig).address);
        let conn = match world.is_over {
            true => None,
            false => world.attach_link(link, address, latency_ms),
        };
        state.peer = LinkPeer::Server(place, conn, rig);
        let happening = ProxyWorldEvent::Taken(link, conn.is_some());
        self.after(latency_ms, happening);
    }

    /// Tells the proxy the result of a connection attempt.
    pub(crate) fn taken(&mut self, link: LinkId, is_taken: bool) {
        let state = &self.links[&link];
        if !state.proxy_open || state.boot != self.boot {
            return;
        }
        let conn = state.conn;
        let read = match is_taken {
            true => SocketInput::Opened(arrival_of(0)),
            false => SocketInput::Gone,
        };
        let Some(proxy_process) = &mut self.proxy_process else {
            return;
        };
        proxy_process.driver.net.reads.push_back((conn, read));
        if is_taken {
            let state = self.links.get_mut(&link).expect("it was just there");
            state.is_known = true;
        } else {
            self.end_proxys(link);
        }
        self.want_turn();
    }

    /// Delivers bytes of a server to the proxy, or the end of the connection.
    pub(crate) fn hear_server(&mut self, link: LinkId, bytes: Option<Vec<u8>>) {
        let Some(state) = self.links.get_mut(&link).filter(|link| link.proxy_open) else {
            return;
        };
        if state.boot != self.boot {
            return;
        }
        let conn = state.conn;
        let Some(bytes) = bytes else {
            note!(
                self,
                "link      {} is gone: {:?}",
                link,
                self.links[&link].peer
            );
            self.see_loss(link);
            self.end_proxys(link);
            if let Some(proxy_process) = &mut self.proxy_process {
                proxy_process
                    .driver
                    .net
                    .reads
                    .push_back((conn, SocketInput::Gone));
                self.want_turn();
            }
            return;
        };
        state.line.extend_from_slice(&bytes);
        while let Some(end) = state.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = state.line.drain(..=end).collect();
            let is_long = line.windows(13).any(|text| text == b"line too long");
            assert!(!is_long, "a server is sent a line that is too long");
            if let Some(job) = job_of(&line) {
                state.jobs.insert(job);
            }
        }
        if let Some(proxy_process) = &mut self.proxy_process {
            for read in bytes.chunks(READ_BYTES) {
                let read = SocketInput::Bytes(read.to_vec());
                proxy_process.driver.net.reads.push_back((conn, read));
            }
            self.want_turn();
        }
    }
}

/// The origin of a miner's connection: each miner has an address of its own.
pub(crate) fn arrival_of(rig: usize) -> Arrival {
    let host = u8::try_from(rig).expect("few miners");
    Arrival {
        address: [10, 0, 0, host].into(),
        kind: ArrivalKind::Miner,
        difficulty: Difficulty::new(1.0).expect("above 0"),
        payout: Payout::Operator,
    }
}

/// The job id of a notify.
fn job_of(line: &[u8]) -> Option<String> {
    let said: Value = serde_json::from_slice(line).ok()?;
    if said["method"] != "mining.notify" {
        return None;
    }
    said["params"][0].as_str().map(str::to_owned)
}
