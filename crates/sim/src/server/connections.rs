//! Traffic between miners and the server: connecting, bytes in both directions, and the ends of
//! connections.

use std::net::IpAddr;

use hstratum_core::units::ConnId;

use crate::miner::{Pending, SentRequest};
use crate::server::ConnEvent;
use crate::server::net::{ConnPeer, LinkId};
use crate::world::injected_bug::InjectedBug;
use crate::world::memory_check::READ_BYTES;
use crate::world::plan::{MinerKind, between, happens};
use crate::world::{Doom, World, WorldEvent, note};

/// Bytes a second that a slow reader takes.
const SLOW_BYTES_PER_S: u64 = 400;
/// The server's limit of unread bytes, at which a connection is reset.
const OUT_BYTES_MAX: usize = 2 * 1024 * 1024;

impl World {
    pub(crate) fn connect(&mut self, miner: usize) {
        if self.miners[miner].retires {
            return;
        }
        let delay_ms = self.miners[miner].plan.latency_ms;
        self.after(delay_ms, WorldEvent::Arrive(miner));
    }

    pub(crate) fn arrive(&mut self, miner: usize) {
        let latency_ms = self.miners[miner].plan.latency_ms;
        let resumes = self.miners[miner].session.is_some();
        let conn = match &mut self.process {
            Some(process) if process.is_listening => {
                let peer = ConnPeer::Miner(miner);
                let conn = self.net.open(peer, self.boot, latency_ms, self.now_ms);
                if resumes {
                    process.resumed.push(conn);
                }
                Some(conn)
            }
            _ => None,
        };
        self.after(latency_ms, WorldEvent::Answered(miner, conn));
    }

    pub(crate) fn answered(&mut self, at: usize, conn: Option<ConnId>) {
        let now_ms = self.now_ms;
        let is_open = conn.and_then(|conn| self.net.wires.get(&conn));
        let is_open = is_open.is_some_and(|wire| wire.server_open && wire.miner_open);
        let miner = &mut self.miners[at];
        let Some(conn) = conn.filter(|_| is_open) else {
            if let Some(wire) = conn.and_then(|conn| self.net.wires.get_mut(&conn)) {
                wire.miner_open = false;
            }
            let delay_ms = miner.comes_back_ms().max(1_000);
            return self.after(delay_ms, WorldEvent::Connect(at));
        };
        miner.conn = Some(conn);
        miner.since_ms = now_ms;
        miner.last_byte_ms = now_ms;
        let lines = miner.greet(now_ms);
        let is_hostile = miner.kind() == MinerKind::Hostile;
        note!(self, "{at:<2} {:<6} connected", self.kind_of(at));
        for line in lines {
            self.transmit(conn, line.as_bytes());
        }
        if is_hostile {
            self.after(100, WorldEvent::Mischief(at, conn.0));
        }
        if self.miners[at].kind() == MinerKind::Admin {
            self.after(100, WorldEvent::Order(at, conn.0));
        }
    }

    pub(crate) fn kind_of(&self, miner: usize) -> &'static str {
        self.miners[miner].kind().name()
    }

    /// Draws the delay of a segment beyond the connection's latency.
    fn draw_delay(&mut self) -> u64 {
        if happens(&mut self.rngs.net, self.faults.slow_segment) {
            self.inject("slow segment");
            return between(&mut self.rngs.net, 100, 5_000);
        }
        0
    }

    /// Cuts bytes into the segments in which they arrive.
    fn split(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces = vec![bytes.to_vec()];
        while bytes.len() > 1 && happens(&mut self.rngs.net, self.faults.split_segment) {
            let last = pieces.pop().expect("there is one");
            if last.len() < 2 || pieces.len() > 3 {
                pieces.push(last);
                break;
            }
            self.inject("split segment");
            let (a, b) = last.split_at(self.rngs.net.usize(1..last.len()));
            pieces.extend([a.to_vec(), b.to_vec()]);
        }
        pieces
    }

    /// Sends bytes from a miner to the server.
    pub(crate) fn transmit(&mut self, conn: ConnId, bytes: &[u8]) {
        for piece in self.split(bytes) {
            let delay_ms = self.draw_delay();
            let Some(wire) = self.net.wires.get_mut(&conn) else {
                return;
            };
            let at_ms = self.now_ms + wire.latency_ms + delay_ms;
            wire.to_server_ms = wire.to_server_ms.max(at_ms);
            let at_ms = wire.to_server_ms;
            if !wire.is_dead {
                self.event_queue
                    .add(at_ms, WorldEvent::ToServer(conn, piece));
            }
        }
    }

    /// Queues bytes from the pool to a miner; they leave at the end of the turn.
    pub(crate) fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        let process = self.process.as_ref();
        let forges = self.injected_bug == Some(InjectedBug::DuplicateAfterResume)
            && process.is_some_and(|process| process.resumed.contains(&conn));
        let Some(wire) = self.net.wires.get_mut(&conn) else {
            return;
        };
        if forges && let Ok(text) = str::from_utf8(bytes) {
            let refused = r#""result":null,"error":[22,"duplicate",false]"#;
            if text.contains(refused) {
                let text = text.replace(refused, r#""result":true,"error":null"#);
                return wire.out.extend_from_slice(text.as_bytes());
            }
        }
        if wire.server_open {
            wire.out.extend_from_slice(bytes);
        }
    }

    /// Sends the bytes queued in this turn.
    pub(crate) fn flush(&mut self) {
        let full = self
            .net
            .wires
            .iter_mut()
            .filter(|(_, wire)| !wire.out.is_empty());
        let full: Vec<_> = full
            .map(|(conn, wire)| (*conn, std::mem::take(&mut wire.out)))
            .collect();
        for (conn, out) in full {
            let miner = self.net.miner_of(conn);
            let is_slow = miner.is_some_and(|at| self.miners[at].kind() == MinerKind::Slow);
            for piece in self.split(&out) {
                let mut delay_ms = self.draw_delay();
                if is_slow {
                    delay_ms += piece.len() as u64 * 1000 / SLOW_BYTES_PER_S;
                }
                let wire = self.net.wires.get_mut(&conn).expect("it was just there");
                let at_ms = self.now_ms + wire.latency_ms;
                wire.to_miner_ms = wire.to_miner_ms.max(at_ms) + delay_ms;
                wire.unread += piece.len();
                let (at_ms, unread) = (wire.to_miner_ms, wire.unread);
                if !wire.is_dead {
                    self.event_queue
                        .add(at_ms, WorldEvent::ToMiner(conn, piece));
                }
                if unread > OUT_BYTES_MAX {
                    self.server_gone(conn);
                }
            }
        }
    }

    /// Closes a connection for the pool.
    pub(crate) fn close(&mut self, conn: ConnId) {
        let Some(wire) = self.net.wires.get_mut(&conn) else {
            return;
        };
        note!(self, "closed by the server: {:?}", wire.peer);
        if let ConnPeer::Miner(at) = wire.peer {
            let miner = &self.miners[at];
            let is_listening = self.process.as_ref().is_some_and(|p| p.is_listening);
            let is_well = miner.conn == Some(conn) && miner.has_credit && is_listening;
            let is_good = is_well && miner.is_honest() && miner.kind() != MinerKind::Doubler;
            assert!(!is_good, "an honest miner was sent away: {:?}", miner.plan);
        }
        wire.server_open = false;
        wire.out.clear();
        let at_ms = wire.to_miner_ms.max(self.now_ms + wire.latency_ms);
        if !wire.is_dead {
            self.event_queue.add(at_ms, WorldEvent::MinerGone(conn));
        }
        self.net.tidy(conn);
    }

    /// Closes all connections to the process, with a reset that miners notice, or without one.
    pub(crate) fn reset_all(&mut self, is_noticed: bool) {
        let boot = self.boot;
        let wires = self.net.wires.iter_mut();
        let mut noticed = Vec::new();
        for (conn, wire) in wires.filter(|(_, wire)| wire.boot == boot && wire.server_open) {
            wire.server_open = false;
            wire.out.clear();
            if is_noticed && !wire.is_dead {
                noticed.push((wire.to_miner_ms.max(self.now_ms + wire.latency_ms), *conn));
            }
        }
        for (at_ms, conn) in noticed {
            self.event_queue.add(at_ms, WorldEvent::MinerGone(conn));
        }
    }

    pub(crate) fn reach_server(&mut self, conn: ConnId, bytes: Vec<u8>) {
        let boot = self.boot;
        let Some(wire) = self.net.wires.get_mut(&conn) else {
            return;
        };
        if wire.is_dead && wire.boot == boot {
            return;
        }
        let Some(process) = &mut self.process else {
            return;
        };
        if !wire.server_open || wire.boot != boot {
            // The connection is unknown here: the machine answers with a reset.
            let latency_ms = wire.latency_ms;
            return self.after(latency_ms, WorldEvent::MinerGone(conn));
        }
        if !std::mem::replace(&mut wire.is_known, true) {
            process.net_mail.push_back(ConnEvent::Opened(conn));
        }
        for read in bytes.chunks(READ_BYTES) {
            process
                .net_mail
                .push_back(ConnEvent::Bytes(conn, read.to_vec()));
        }
        self.want_turn_soon();
    }

    /// Makes the server notice that a connection has ended.
    pub(crate) fn server_gone(&mut self, conn: ConnId) {
        let Some(wire) = self.net.wires.get_mut(&conn) else {
            return;
        };
        if !std::mem::replace(&mut wire.server_open, false) {
            return self.net.tidy(conn);
        }
        let is_known = wire.is_known && wire.boot == self.boot;
        if is_known && let Some(process) = &mut self.process {
            let is_told = self.injected_bug != Some(InjectedBug::ForgottenEnd)
                || !process.resumed.contains(&conn);
            if is_told {
                process.net_mail.push_back(ConnEvent::Gone(conn));
            }
            self.want_turn_soon();
        }
        self.net.tidy(conn);
    }

    /// Makes a miner notice that its connection has ended; it reconnects later.
    pub(crate) fn miner_gone(&mut self, conn: ConnId) {
        let now_ms = self.now_ms;
        let Some(wire) = self.net.wires.get_mut(&conn) else {
            return;
        };
        let peer = wire.peer;
        let was_open = std::mem::replace(&mut wire.miner_open, false);
        self.net.tidy(conn);
        let at = match peer {
            ConnPeer::Miner(at) => at,
            ConnPeer::Proxy(link, _) => {
                if was_open {
                    self.to_proxy.push((link, None));
                }
                return;
            }
        };
        let miner = &mut self.miners[at];
        if was_open && miner.conn == Some(conn) {
            let is_share = |one: &&Pending| matches!(one.asked, SentRequest::Submit(_));
            let missed = miner.pending.iter().filter(is_share).count();
            self.worker_stats.miss(&miner.plan.name, missed as u64);
            miner.hang_up(now_ms);
            let delay_ms = miner.comes_back_ms();
            note!(self, "{at:<2} {:<6} lost its connection", self.kind_of(at));
            self.after(delay_ms, WorldEvent::Connect(at));
        }
    }

    /// Closes a miner's connection from its side.
    pub(crate) fn hang_up(&mut self, at: usize) {
        let Some(conn) = self.miners[at].conn else {
            return;
        };
        if let Some(wire) = self.net.wires.get_mut(&conn) {
            let at_ms = wire.to_server_ms.max(self.now_ms + wire.latency_ms);
            if !wire.is_dead {
                self.event_queue.add(at_ms, WorldEvent::ServerGone(conn));
            }
        }
        self.miner_gone(conn);
    }

    /// Accepts a connection of a proxy; `None` if it is refused.
    pub(crate) fn attach_link(
        &mut self,
        link: LinkId,
        address: Option<IpAddr>,
        latency_ms: u64,
    ) -> Option<ConnId> {
        let process = self.process.as_ref().filter(|p| p.is_listening)?;
        // The port is closed while the process ends.
        let is_ending = process.stopping.is_some();
        let peer = ConnPeer::Proxy(link, address);
        (!is_ending).then(|| self.net.open(peer, self.boot, latency_ms, self.now_ms))
    }

    /// Closes a connection from the proxy's side.
    pub(crate) fn end_link(&mut self, conn: ConnId) {
        if let Some(wire) = self.net.wires.get_mut(&conn) {
            wire.miner_open = false;
            let at_ms = wire.to_server_ms.max(self.now_ms + wire.latency_ms);
            if !wire.is_dead {
                self.event_queue.add(at_ms, WorldEvent::ServerGone(conn));
            }
            self.net.tidy(conn);
        }
    }

    /// A random open connection.
    pub(crate) fn pick_wire(&mut self) -> Option<ConnId> {
        let wires = self.net.wires.iter();
        let up = wires.filter(|(_, wire)| wire.server_open && wire.miner_open && !wire.is_dead);
        let up: Vec<ConnId> = up.map(|(conn, _)| *conn).collect();
        (!up.is_empty()).then(|| up[self.rngs.net.usize(..up.len())])
    }

    /// Applies a crash to connections, to blocks on their way, and, after a power cut, to everything that
    /// was not synced.
    pub(crate) fn settle_crash(&mut self, doom: Doom) {
        self.settle_oracle();
        self.reset_all(doom != Doom::PowerCut);
        let mut sent_by_peers = Vec::new();
        for (hash, found) in &self.oracle.blocks {
            let is_kept = self.disk.spool.contains_key(hash)
                || self.disk.ledger_model.blocks.contains_key(hash);
            if !is_kept {
                self.oracle.lost_with_process.insert(*hash);
            }
            let is_new = found.reached_node && found.verdict.is_none();
            if is_new && !self.chain.has(hash) && self.rngs.chain.bool() {
                sent_by_peers.push((*hash, found.prev));
            }
        }
        if doom == Doom::PowerCut {
            let count = self.rngs.chain.u32(..3);
            sent_by_peers.splice(0..0, self.chain.forget_newest(count));
            if let Some((hash, block)) = self.disk.removed.take()
                && self.rngs.disk.bool()
            {
                self.disk.spool.insert(hash, block);
            }
        }
        for (n, (hash, prev)) in sent_by_peers.into_iter().enumerate() {
            self.after(61_000 + n as u64 * 10, WorldEvent::PeersSend(hash, prev));
        }
    }
}
