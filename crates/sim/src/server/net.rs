//! The simulated network between miners and server: connections delay, cut, split and lose segments, but
//! never reorder bytes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hstratum_core::units::ConnId;

use crate::world::injected_bug::InjectedBug;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnPeer {
    /// The miner with this index.
    Miner(usize),
    /// A proxy, with its own name for the connection, on behalf of a miner at this address or of itself.
    Proxy(LinkId, Option<IpAddr>),
}

/// A proxy's name for a connection.
pub(crate) type LinkId = u64;

/// A connection, with the state of both ends.
pub(crate) struct SimConn {
    pub(crate) peer: ConnPeer,
    /// The server process at its end.
    pub(crate) boot: u32,
    /// Latency of one way.
    pub(crate) latency_ms: u64,
    /// Earliest arrival of the next bytes, so that none overtake those sent before.
    pub(crate) to_server_ms: u64,
    pub(crate) to_miner_ms: u64,
    /// True once bytes are lost in both directions without notice to the ends.
    pub(crate) is_dead: bool,
    pub(crate) server_open: bool,
    pub(crate) miner_open: bool,
    /// True once the pool knows it, because bytes have arrived.
    pub(crate) is_known: bool,
    /// Bytes written in this turn.
    pub(crate) out: Vec<u8>,
    /// Count of bytes sent but not yet read by the miner.
    pub(crate) unread: usize,
}

/// All connections.
#[derive(Default)]
pub(crate) struct SimNet {
    pub(crate) wires: BTreeMap<ConnId, SimConn>,
    made: u64,
    /// True to use each slot of the pool only once, because an injected bug makes the pool miss the end
    /// of connections.
    wastes_slots: bool,
}

impl SimNet {
    pub(crate) fn new(injected_bug: Option<InjectedBug>) -> Self {
        Self {
            wastes_slots: injected_bug == Some(InjectedBug::ForgottenEnd),
            ..Self::default()
        }
    }

    /// Opens a connection in the lowest slot that the pool has free.
    pub(crate) fn open(
        &mut self,
        peer: ConnPeer,
        boot: u32,
        latency_ms: u64,
        now_ms: u64,
    ) -> ConnId {
        let taken: Vec<u64> = self
            .wires
            .iter()
            .filter(|(_, wire)| wire.boot == boot && wire.server_open)
            .map(|(conn, _)| conn.0 & 0xffff_ffff)
            .collect();
        self.made += 1;
        let from = if self.wastes_slots { self.made } else { 0 };
        let slot = (from..).find(|slot| !taken.contains(slot));
        let slot = slot.expect("a slot");
        let conn = ConnId(self.made << 32 | slot);
        let wire = SimConn {
            peer,
            boot,
            latency_ms,
            to_server_ms: now_ms,
            to_miner_ms: now_ms,
            is_dead: false,
            server_open: true,
            miner_open: true,
            is_known: false,
            out: Vec::new(),
            unread: 0,
        };
        self.wires.insert(conn, wire);
        conn
    }

    /// The miner at the other end.
    pub(crate) fn miner_of(&self, conn: ConnId) -> Option<usize> {
        match self.wires.get(&conn)?.peer {
            ConnPeer::Miner(miner) => Some(miner),
            ConnPeer::Proxy(..) => None,
        }
    }

    /// Removes a connection that both ends have closed.
    pub(crate) fn tidy(&mut self, conn: ConnId) {
        if let Some(wire) = self.wires.get(&conn)
            && !wire.server_open
            && !wire.miner_open
        {
            self.wires.remove(&conn);
        }
    }
}
