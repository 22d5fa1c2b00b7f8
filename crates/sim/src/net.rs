//! The network between miners and the server: connections that delay, cut, split and die, and never
//! change the order of bytes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hstratum_core::units::ConnId;

use crate::plant::Plant;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Far {
    /// The miner of this number.
    Miner(usize),
    /// A proxy, whose name for the connection this is, for a miner at this address or for itself.
    Proxy(Cord, Option<IpAddr>),
}

/// The name of a connection of a proxy.
pub(crate) type Cord = u64;

/// A connection, seen from both ends.
pub(crate) struct Wire {
    pub(crate) far: Far,
    /// The process that it leads to.
    pub(crate) boot: u32,
    /// One way.
    pub(crate) latency_ms: u64,
    /// Nothing arrives earlier than what was sent before it.
    pub(crate) to_server_ms: u64,
    pub(crate) to_miner_ms: u64,
    /// Nothing passes any more, and nobody is told.
    pub(crate) is_dead: bool,
    pub(crate) server_open: bool,
    pub(crate) miner_open: bool,
    /// The pool knows it: something has come.
    pub(crate) is_known: bool,
    /// Written in this turn.
    pub(crate) out: Vec<u8>,
    /// Sent and not yet taken by the miner.
    pub(crate) unread: usize,
}

/// Every connection there is.
#[derive(Default)]
pub(crate) struct Net {
    pub(crate) wires: BTreeMap<ConnId, Wire>,
    made: u64,
    /// A slot of the pool is used once: the pool may have forgotten an end, for a planted bug.
    wastes_slots: bool,
}

impl Net {
    pub(crate) fn new(plant: Option<Plant>) -> Self {
        Self {
            wastes_slots: plant == Some(Plant::ForgottenEnd),
            ..Self::default()
        }
    }

    /// A new connection on the lowest slot that the pool has free.
    pub(crate) fn open(&mut self, far: Far, boot: u32, latency_ms: u64, now_ms: u64) -> ConnId {
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
        let wire = Wire {
            far,
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
        match self.wires.get(&conn)?.far {
            Far::Miner(miner) => Some(miner),
            Far::Proxy(..) => None,
        }
    }

    /// Forgets a connection that neither end has.
    pub(crate) fn tidy(&mut self, conn: ConnId) {
        if let Some(wire) = self.wires.get(&conn)
            && !wire.server_open
            && !wire.miner_open
        {
            self.wires.remove(&conn);
        }
    }
}
