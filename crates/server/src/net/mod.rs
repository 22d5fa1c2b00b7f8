//! The sockets: connections, reading, and queues of outgoing bytes. Nothing here knows stratum, and nothing
//! here waits for a peer.
//!
//! The pool is told of a connection when it is open: its first bytes are there, a trusted proxy has sent its
//! header, and the TLS handshake is done. Until then only this module knows it, and its time is limited.

mod accept;
pub mod cidr;
pub(crate) mod conn;
mod eviction;
pub(crate) mod fd_limit;
mod job_sending;
pub mod listener;
pub(crate) mod per_address;
pub(crate) mod port;
pub mod proxy_header;
mod read_queue;
pub(crate) mod tls;

pub(crate) use accept::ConnOrigin;
use eviction::EvictionOrder;
use hstratum_core::event::{Arrival, ArrivalKind, CloseHow};
use job_sending::Jobs;
pub use job_sending::JobsSent;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use hstratum_core::occupancy::Occupancy;
use hstratum_core::units::{ConnId, Difficulty};
use mio::{Events, Poll, Token, Waker};
use rustls::ServerConfig;
use slab::Slab;

use crate::limits::{
    CLOSING_MS, LISTENERS_MAX, OPENING_MS, OPENINGS_PER_TURN, OUT_BYTES_ALL_MAX, OUT_BYTES_FAIR,
    OUT_BYTES_MAX, READ_BYTES, SILENT_START_MS,
};
use crate::net::cidr::AddressRange;
use crate::net::conn::{Conn, ConnStage, ReadInput};
use crate::net::listener::{ListenSpec, Listener};
use crate::net::per_address::PerAddress;

/// Listeners have the tokens from 0.
const WAKER: Token = Token(LISTENERS_MAX);
const FIRST_CONN: usize = LISTENERS_MAX + 1;

/// Configuration of the sockets.
pub(crate) struct NetConfig {
    /// Name of the option that the first listener comes from; the others come from `listen`.
    pub first_option: &'static str,
    /// Listeners, and the start difficulty of each.
    pub listeners: Vec<(ListenSpec, Difficulty)>,
    /// Listening sockets of another process, used where their address is configured.
    pub inherited: Vec<OwnedFd>,
    /// Peers that must send a PROXY header.
    pub proxies: Vec<AddressRange>,
    pub conns_max: usize,
    /// Connections allowed from one address; 0 is any number.
    pub per_address_max: u32,
    /// `Some` when a listener speaks TLS.
    pub certificate: Option<Arc<ServerConfig>>,
}

/// All sockets of the server.
pub(crate) struct Net {
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    proxies: Vec<AddressRange>,
    certificate: Option<Arc<ServerConfig>>,
    conns: Slab<Conn>,
    conns_max: usize,
    /// Number of connections that we made.
    dialed: usize,
    per_address: PerAddress,
    /// Accepted connections without an accepted share.
    yielding: EvictionOrder,
    /// Counters of connections that were refused or closed to make room.
    refused: Occupancy,
    generation: u32,
    /// Time at which this turn of the loop began.
    now_ms: u64,
    /// Connections by the time at which they are closed unless they have made progress.
    due: BTreeSet<(u64, ConnId)>,
    /// Open connections that may have something to read, in order.
    readable: VecDeque<ConnId>,
    /// Those of them that are read before others.
    readable_first: VecDeque<ConnId>,
    /// Count of reads of these since one of the others.
    reads_first: u32,
    /// The same for those that are not open yet, and how many of them are still read in this turn.
    newcomers: VecDeque<ConnId>,
    newcomers_left: usize,
    /// The same for those in a TLS handshake, which is costly.
    handshakes: VecDeque<ConnId>,
    dirty: Vec<ConnId>,
    jobs: Jobs,
    /// A job is written by a second thread too.
    has_second_core: bool,
    /// Bytes queued to leave, on all connections.
    out_bytes: usize,
    /// Connections that broke and that the pool has not been told of.
    lost: Vec<ConnId>,
    scratch: Vec<u8>,
}

impl Net {
    /// Binds all listeners.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub(crate) fn bind(config: NetConfig) -> anyhow::Result<(Self, Waker)> {
        assert!((1..=LISTENERS_MAX).contains(&config.listeners.len()));
        let poll = Poll::new().context("failed to set up polling")?;
        let waker = Waker::new(poll.registry(), WAKER).context("failed to set up polling")?;
        let mut listeners = Vec::new();
        let inherited = config.inherited.into_iter().map(StdListener::from);
        let mut inherited: Vec<StdListener> = inherited.collect();
        for (number, (spec, difficulty)) in config.listeners.into_iter().enumerate() {
            let token = Token(number);
            let listener = match take(&mut inherited, spec.address) {
                Some(socket) => Listener::adopt(socket, spec, difficulty, poll.registry(), token)?,
                None => {
                    let option = match number {
                        0 => config.first_option,
                        _ => "listen",
                    };
                    Listener::bind(spec, difficulty, poll.registry(), token, option)?
                }
            };
            listeners.push(listener);
        }
        let net = Self {
            poll,
            events: Events::with_capacity(1024),
            listeners,
            proxies: config.proxies,
            certificate: config.certificate,
            conns: Slab::new(),
            conns_max: config.conns_max,
            dialed: 0,
            per_address: PerAddress::new(config.per_address_max),
            yielding: EvictionOrder::default(),
            refused: Occupancy::default(),
            generation: 0,
            now_ms: 0,
            due: BTreeSet::new(),
            readable: VecDeque::new(),
            readable_first: VecDeque::new(),
            reads_first: 0,
            newcomers: VecDeque::new(),
            newcomers_left: 0,
            handshakes: VecDeque::new(),
            dirty: Vec::new(),
            jobs: Jobs::default(),
            has_second_core: thread::available_parallelism()
                .is_ok_and(|cores| cores > NonZero::<usize>::MIN),
            out_bytes: 0,
            lost: Vec::new(),
            scratch: vec![0; READ_BYTES],
        };
        Ok((net, waker))
    }

    /// The listeners, with the ports that were found.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = (ListenSpec, Difficulty)> {
        self.listeners
            .iter()
            .map(|listener| (listener.spec, listener.difficulty))
    }

    /// Sets the TLS configuration of new connections.
    pub(crate) fn use_certificate(&mut self, certificate: Arc<ServerConfig>) {
        self.certificate = Some(certificate);
    }

    /// Waits for an event, at most `timeout`; does not wait while there is work.
    pub(crate) fn wait(&mut self, timeout: Duration) {
        let has_work = self.has_readable()
            || !self.handshakes.is_empty()
            || self.listeners.iter().any(Listener::accepts);
        let timeout = if has_work { Duration::ZERO } else { timeout };
        if let Err(error) = self.poll.poll(&mut self.events, Some(timeout)) {
            assert!(
                error.kind() == io::ErrorKind::Interrupted,
                "polling failed: {error}"
            );
            return;
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let Token(token) = event.token();
            if let Some(listener) = self.listeners.get_mut(token) {
                listener.is_due = true;
            } else if let Some(slot) = token.checked_sub(FIRST_CONN)
                && let Some(conn) = self.conns.get_mut(slot)
            {
                let id = conn.id;
                conn.is_read_closed |= event.is_read_closed() || event.is_error();
                if event.is_readable() || conn.is_read_closed || conn.stage == ConnStage::Dialing {
                    conn.may_read = true;
                    self.queue_read(id);
                }
                if event.is_writable() {
                    self.mark_dirty(id);
                }
            }
        }
        self.events = events;
    }

    /// Begins a turn: accepts new connections, and closes those whose time is up.
    pub(crate) fn begin_turn(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.newcomers_left = OPENINGS_PER_TURN;
        for number in 0..self.listeners.len() {
            let listener = &mut self.listeners[number];
            listener.is_due |= std::mem::take(&mut listener.again_later);
            if listener.accepts() {
                self.accept(number);
            }
        }
        while let Some(&(due_ms, id)) = self.due.first()
            && due_ms <= now_ms
        {
            self.lose(id);
        }
    }

    /// Limits the time of a connection's stage; no limit with `u64::MAX`.
    fn set_due(&mut self, id: ConnId, time_ms: u64) {
        let conn = &mut self.conns[slot_of(id)];
        self.due.remove(&(conn.due_ms, id));
        conn.due_ms = self.now_ms.saturating_add(time_ms);
        if conn.due_ms != u64::MAX {
            self.due.insert((conn.due_ms, id));
        }
    }

    /// Reads once from a connection, and queues it again if there may be more.
    pub(crate) fn read(&mut self, id: ConnId) -> ReadResult {
        let Some(conn) = self.conns.get_mut(slot_of(id)).filter(|conn| conn.id == id) else {
            return ReadResult::Nothing;
        };
        if !conn.may_read || conn.is_held() {
            return ReadResult::Nothing;
        }
        let stage = conn.stage;
        let input = match stage {
            ConnStage::Header => conn.take_header(),
            ConnStage::Silent => conn.look(self.certificate.as_ref()),
            ConnStage::Handshake => conn.shake_hands(),
            ConnStage::Open => conn.read(&mut self.scratch),
            ConnStage::Closing => ReadInput::Nothing,
            ConnStage::Dialing => conn.look_whether_there(),
        };
        if conn.wants_flush() {
            self.mark_dirty(id);
        }
        match input {
            ReadInput::Finished if !self.conns[slot_of(id)].is_dialed => {
                self.conns[slot_of(id)].may_read = false;
                self.set_due(id, CLOSING_MS);
                return ReadResult::Finished;
            }
            ReadInput::Gone | ReadInput::Finished if stage.is_known() => return ReadResult::Gone,
            ReadInput::Gone | ReadInput::Finished => self.remove(id),
            ReadInput::Nothing => self.conns[slot_of(id)].may_read = false,
            ReadInput::Again | ReadInput::Bytes(_) => {}
        }
        let Some(conn) = self.get_mut(id) else {
            return ReadResult::Nothing;
        };
        let (new_stage, arrival) = (conn.stage, conn.arrival);
        if new_stage != stage && !self.advance(id, stage, new_stage) {
            return ReadResult::Nothing;
        }
        self.queue_read(id);
        match input {
            _ if new_stage != stage && new_stage == ConnStage::Open => ReadResult::Opened(arrival),
            ReadInput::Bytes(len) => ReadResult::Bytes(len),
            _ => ReadResult::Nothing,
        }
    }

    /// Handles a connection's change of stage; returns false if the connection was closed.
    fn advance(&mut self, id: ConnId, old: ConnStage, new: ConnStage) -> bool {
        if old == ConnStage::Header && !self.is_let_in(id) {
            self.lose(id);
            return false;
        }
        let arrival = self.conns[slot_of(id)].arrival;
        if new == ConnStage::Open && arrival.kind == ArrivalKind::Proxy {
            // A trusted proxy itself, which makes a health check.
            self.yielding.leave(id);
        }
        match new {
            ConnStage::Silent => self.set_due(id, SILENT_START_MS),
            ConnStage::Handshake => self.set_due(id, OPENING_MS),
            _ => self.set_due(id, u64::MAX),
        }
        true
    }

    /// True for a connection that we made.
    pub(crate) fn is_dialed(&self, id: ConnId) -> bool {
        self.conns
            .get(slot_of(id))
            .is_some_and(|conn| conn.is_dialed)
    }

    /// Bytes of the last read.
    pub(crate) fn received(&self, len: usize) -> &[u8] {
        &self.scratch[..len]
    }

    /// Queues bytes to send: whole lines.
    pub(crate) fn send(&mut self, id: ConnId, bytes: &[u8]) {
        self.send_jobs_before(id);
        let Some(conn) = self.get_mut(id) else { return };
        conn.queue(bytes);
        self.keep_or_lose(id);
    }

    fn keep_or_lose(&mut self, id: ConnId) {
        let waiting = self.count_waiting(id);
        let most = match self.out_bytes > OUT_BYTES_ALL_MAX {
            true => OUT_BYTES_FAIR,
            false => OUT_BYTES_MAX,
        };
        if waiting > most {
            self.lose(id);
        } else {
            self.mark_dirty(id);
        }
    }

    /// Number of bytes queued on a connection; updates the total.
    fn count_waiting(&mut self, id: ConnId) -> usize {
        let conn = self.conns.get_mut(slot_of(id)).filter(|conn| conn.id == id);
        let Some(conn) = conn else { return 0 };
        let waiting = conn.waiting();
        let before = std::mem::replace(&mut conn.counted, waiting);
        self.out_bytes = self.out_bytes - before + waiting;
        waiting
    }

    /// Writes queued bytes, as far as the peers accept them.
    pub(crate) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            let Some(conn) = self.get_mut(id) else {
                continue;
            };
            conn.is_dirty = false;
            let was_held = conn.is_held();
            let flushed = conn.flush();
            self.count_waiting(id);
            let Some(conn) = self.get_mut(id) else {
                continue;
            };
            match flushed {
                Err(_) => self.lose(id),
                Ok(()) if conn.stage == ConnStage::Closing && conn.is_flushed() => self.remove(id),
                Ok(()) if was_held && !conn.is_held() => self.queue_read(id),
                Ok(()) => {}
            }
        }
        assert!(
            self.dirty.is_empty(),
            "nothing is queued while all is written"
        );
        self.dirty = dirty;
    }

    /// Stops or resumes reading from a connection.
    pub(crate) fn pause(&mut self, id: ConnId, paused: bool) {
        if let Some(conn) = self.get_mut(id) {
            conn.is_paused = paused;
            self.queue_read(id);
        }
    }

    /// Closes a connection.
    pub(crate) fn close(&mut self, id: ConnId, how: CloseHow) {
        self.send_jobs_before(id);
        let Some(conn) = self.get_mut(id) else { return };
        match how {
            CloseHow::Reset => {
                conn.reset();
                self.remove(id);
            }
            CloseHow::Flushed => {
                conn.end_in_order();
                conn.stage = ConnStage::Closing;
                conn.is_paused = true;
                self.set_due(id, CLOSING_MS);
                self.mark_dirty(id);
            }
        }
    }

    /// Resets every connection.
    pub(crate) fn reset_all(&mut self) {
        for conn in self.conns.drain() {
            conn.reset();
        }
        self.per_address.clear();
        self.yielding = EvictionOrder::default();
        self.dialed = 0;
        self.due.clear();
        self.readable.clear();
        self.readable_first.clear();
        self.newcomers.clear();
        self.handshakes.clear();
        self.dirty.clear();
        self.forget_jobs();
        self.out_bytes = 0;
        self.lost.clear();
    }

    /// Connections that broke since the last call. The pool must be told of each.
    pub(crate) fn take_lost(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.lost)
    }

    /// Removes a connection that is gone, after one attempt to write what is queued.
    pub(crate) fn drop_gone(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id) {
            conn.end_in_order();
            let _ = conn.flush();
            self.remove(id);
        }
    }

    fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(slot_of(id)).filter(|conn| conn.id == id)
    }

    fn remove(&mut self, id: ConnId) {
        if self.get_mut(id).is_none() {
            return;
        }
        let conn = self.conns.remove(slot_of(id));
        self.out_bytes -= conn.counted;
        self.due.remove(&(conn.due_ms, id));
        self.yielding.leave(id);
        self.dialed -= usize::from(conn.is_dialed);
        if conn.is_counted {
            self.per_address.leave(conn.arrival.address);
        }
    }

    fn lose(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id) {
            conn.reset();
            if conn.stage.is_known() {
                self.lost.push(id);
            }
            self.remove(id);
        }
    }

    fn mark_dirty(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(slot_of(id)).filter(|conn| conn.id == id) else {
            return;
        };
        if !conn.is_dirty && conn.wants_flush() {
            conn.is_dirty = true;
            self.dirty.push(id);
        }
    }
}

/// Takes the socket that listens at an address.
fn take(sockets: &mut Vec<StdListener>, address: SocketAddr) -> Option<StdListener> {
    let is_there = |socket: &StdListener| socket.local_addr().is_ok_and(|own| own == address);
    let at = sockets.iter().position(is_there)?;
    Some(sockets.swap_remove(at))
}

fn slot_of(id: ConnId) -> usize {
    (id.0 & 0xffff_ffff) as usize
}

#[cfg(test)]
#[path = "net_tests.rs"]
mod tests;

/// Result of a read, for the pool.
pub enum ReadResult {
    /// A new connection.
    Opened(Arrival),
    /// This many bytes, see [`Surroundings::received`].
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The peer sends no more, and is there for ten seconds more at most.
    Finished,
    /// The connection is gone.
    Gone,
}
