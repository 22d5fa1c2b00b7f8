//! New connections: accepted from the listeners, dialed by us, or adopted from another process.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use hstratum_core::chain::coinbase::Payout;
use hstratum_core::event::{Arrival, ArrivalKind, Listening};
use hstratum_core::occupancy::Occupancy;
use hstratum_core::units::{ConnId, Difficulty};
use mio::net::TcpStream;
use mio::{Interest, Token};

use super::eviction::EvictionClass;
use super::{FIRST_CONN, Net, slot_of};
use crate::limits::{ACCEPTS_PER_TURN, OPENING_MS, SILENT_START_MS};
use crate::net::conn::{self, Conn, ConnStage};
use crate::net::fd_limit;
use crate::net::listener::{Encryption, Listener};

impl Net {
    pub(super) fn accept(&mut self, number: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            if self.newcomers.len() >= ACCEPTS_PER_TURN {
                // The kernel keeps the rest; this turn reads some of those that are here.
                return;
            }
            let Some((socket, peer)) = self.listeners[number].accept() else {
                let is_short = u64::from(self.listeners[number].again_later);
                self.refused.refused_descriptors += is_short;
                return;
            };
            if self.has_room(peer.ip()) {
                // A connection that breaks while it is set up is ignored.
                let _ = self.add(socket, peer, number);
            } else {
                self.refused.refused_full += 1;
                conn::reset(&socket);
            }
        }
    }

    /// Checks for a free place; when all are taken, a connection without an accepted share may be closed to
    /// make one.
    fn has_room(&mut self, newcomer: IpAddr) -> bool {
        if self.conns.len() - self.dialed < self.conns_max {
            return true;
        }
        let Some((id, was)) = self.yielding.next(newcomer, self.now_ms) else {
            return false;
        };
        match was {
            EvictionClass::Stranger => self.refused.gave_way += 1,
            EvictionClass::Unproven => self.refused.gave_way_unproven += 1,
        }
        self.lose(id);
        true
    }

    /// Records that a connection has logged in.
    pub(crate) fn admitted(&mut self, id: ConnId) {
        self.yielding.log_in(id, self.now_ms);
    }

    /// Records that a connection has an accepted share; it is never closed to make room.
    pub(crate) fn proven(&mut self, id: ConnId) {
        self.yielding.leave(id);
    }

    /// Occupancy of the sockets.
    pub(crate) fn door(&self) -> Occupancy {
        let silent = |&&(_, id): &&(u64, ConnId)| {
            let conn = self.conns.get(slot_of(id));
            conn.is_some_and(|conn| conn.stage != ConnStage::Closing && !conn.is_dialed)
        };
        Occupancy {
            places: self.conns_max,
            taken: self.conns.len() - self.dialed,
            silent: self.due.iter().filter(silent).count(),
            strangers: self.yielding.strangers(),
            unproven: self.yielding.unproven(),
            most: self.yielding.most(),
            descriptors_left: fd_limit::left(),
            ..self.refused
        }
    }

    fn add(&mut self, socket: TcpStream, peer: SocketAddr, number: usize) -> io::Result<()> {
        conn::set_up(&socket)?;
        let listener = &self.listeners[number];
        let is_proxy = self.proxies.iter().any(|range| range.contains(peer.ip()));
        let (stage, kind, time_ms) = if is_proxy {
            (ConnStage::Header, ArrivalKind::Proxy, OPENING_MS)
        } else {
            (ConnStage::Silent, ArrivalKind::Miner, SILENT_START_MS)
        };
        let payout = listener.spec.payout.unwrap_or_default();
        let arrival = conn::arrival(peer.ip(), kind, listener.difficulty, payout);
        let encryption = listener.spec.encryption;
        let id = self.insert(socket, stage, arrival, encryption)?;
        self.yielding.enter(id, arrival.address, self.now_ms);
        self.set_due(id, time_ms);
        if !is_proxy && !self.count(id) {
            self.lose(id);
        }
        Ok(())
    }

    /// Counts a proxied connection for its miner's address; returns false if that address has enough.
    pub(super) fn is_let_in(&mut self, id: ConnId) -> bool {
        let arrival = self.conns[slot_of(id)].arrival;
        if arrival.kind == ArrivalKind::Miner {
            self.yielding.enter(id, arrival.address, self.now_ms);
            return self.count(id);
        }
        true
    }

    /// Counts a connection for its address; returns false if there are enough.
    pub(super) fn count(&mut self, id: ConnId) -> bool {
        let conn = &mut self.conns[slot_of(id)];
        if conn.arrival.kind == ArrivalKind::Miner {
            conn.is_counted = self.per_address.enter(conn.arrival.address);
            self.refused.refused_address += u64::from(!conn.is_counted);
            return conn.is_counted;
        }
        true
    }

    /// Accepts connections, or refuses them while the ports stay bound. Refusing also resets those that the
    /// pool has not been told of yet.
    ///
    /// # Errors
    /// The first error of the system; that listener has not changed.
    pub(crate) fn listen(&mut self, listening: Listening) -> io::Result<()> {
        if listening == Listening::Off {
            let opening: Vec<ConnId> = self.due.iter().map(|&(_, id)| id).collect();
            for id in opening {
                if self
                    .get_mut(id)
                    .is_some_and(|c| c.stage != ConnStage::Closing)
                {
                    self.lose(id);
                }
            }
        }
        let registry = self.poll.registry();
        let mut result = Ok(());
        for listener in &mut self.listeners {
            result = result.and(listener.listen(listening, registry));
        }
        result
    }

    /// Accepts connections on sockets that another process may have switched to refusing.
    ///
    /// # Errors
    /// The first error of the system.
    pub(crate) fn listen_anew(&mut self) -> io::Result<()> {
        let mut listeners = self.listeners.iter_mut();
        listeners.try_for_each(Listener::listen_anew)
    }

    /// Begins a connection to a peer, to be sent `preface` first. It is reported as opened or lost later.
    ///
    /// # Errors
    /// When it cannot be begun.
    pub(crate) fn dial(&mut self, peer: SocketAddr, preface: &[u8]) -> io::Result<ConnId> {
        let socket = TcpStream::connect(peer)?;
        conn::set_up_dialed(&socket)?;
        let nothing = Difficulty::new(1.0).expect("above 0");
        let arrival = conn::arrival(peer.ip(), ArrivalKind::Proxy, nothing, Payout::default());
        let id = self.insert(socket, ConnStage::Dialing, arrival, Encryption::Never)?;
        self.set_dialed(id);
        self.conns[slot_of(id)].queue(preface);
        Ok(id)
    }

    /// Takes over an open connection of another process, with the bytes `out` queued to leave.
    ///
    /// # Errors
    /// When it cannot be registered for polling.
    pub(crate) fn adopt(
        &mut self,
        socket: std::net::TcpStream,
        arrival: Arrival,
        origin: ConnOrigin,
        out: &[u8],
    ) -> io::Result<ConnId> {
        socket.set_nonblocking(true)?;
        let socket = TcpStream::from_std(socket);
        let id = self.insert(socket, ConnStage::Open, arrival, Encryption::Never)?;
        match origin {
            // It was admitted by the other process, so the limit does not apply. The rest of its state is set
            // after this.
            ConnOrigin::Accepted => {
                self.count(id);
                self.yielding.enter(id, arrival.address, self.now_ms);
            }
            ConnOrigin::Dialed => self.set_dialed(id),
        }
        self.conns[slot_of(id)].queue(out);
        self.mark_dirty(id);
        Ok(id)
    }

    fn insert(
        &mut self,
        mut socket: TcpStream,
        stage: ConnStage,
        arrival: Arrival,
        encryption: Encryption,
    ) -> io::Result<ConnId> {
        let entry = self.conns.vacant_entry();
        let slot = entry.key();
        self.poll.registry().register(
            &mut socket,
            Token(slot + FIRST_CONN),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        self.generation = self.generation.wrapping_add(1);
        let id = ConnId(u64::from(self.generation) << 32 | slot as u64);
        entry.insert(Conn::new(id, socket, stage, encryption, arrival));
        Ok(id)
    }

    /// Marks a connection as dialed: it takes no place of the accepted ones.
    fn set_dialed(&mut self, id: ConnId) {
        self.conns[slot_of(id)].is_dialed = true;
        self.dialed += 1;
    }

    /// Closes the listeners. A socket that another process holds too goes on listening there.
    pub(crate) fn close_listeners(&mut self) {
        for listener in self.listeners.drain(..) {
            listener.close(self.poll.registry());
        }
    }

    /// The listening sockets, for another process.
    pub(crate) fn listener_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listeners.iter().map(Listener::fd)
    }

    /// Socket, queued bytes and arrival of an open plain connection, for another process.
    pub(crate) fn handle_of(&self, id: ConnId) -> Option<(BorrowedFd<'_>, &[u8], Arrival)> {
        let conn = self.conns.get(slot_of(id)).filter(|conn| conn.id == id)?;
        let (fd, out) = conn.handle()?;
        Some((fd, out, conn.arrival))
    }

    /// Forgets every connection, and resets all but those in `kept`.
    pub(crate) fn leave_to_others(&mut self, kept: &HashSet<ConnId>) {
        for conn in self.conns.drain() {
            if !kept.contains(&conn.id) {
                conn.reset();
            }
        }
        self.reset_all();
    }
}

/// The side that made a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnOrigin {
    /// The peer.
    Accepted,
    /// We.
    Dialed,
}
