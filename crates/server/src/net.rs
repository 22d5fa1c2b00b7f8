//! Sockets: who is connected, what was read, what waits to leave. Nothing here knows stratum,
//! and nothing here waits for a peer.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use hstratum_core::event::{CloseHow, Listening};
use hstratum_core::units::ConnId;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use socket2::{SockRef, TcpKeepalive};

use crate::limits::{OUT_BYTES_HIGH, OUT_BYTES_MAX, READ_BYTES, WRITE_BYTES};
use crate::port;

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const FIRST_CONN: usize = 2;

/// A socket and what waits on it.
struct Conn {
    id: ConnId,
    socket: TcpStream,
    out: Vec<u8>,
    /// Bytes of `out` that have left.
    out_done: usize,
    may_read: bool,
    is_queued: bool,
    is_paused: bool,
    is_dirty: bool,
    ends_when_flushed: bool,
}

/// All sockets of the server.
pub(crate) struct Net {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    address: SocketAddr,
    is_listening: bool,
    /// A connection could not be taken, for want of descriptors: try again.
    accept_again: bool,
    conns: Slab<Conn>,
    conns_max: usize,
    generation: u32,
    /// Connections that may have something to read, in turn.
    readable: VecDeque<ConnId>,
    dirty: Vec<ConnId>,
    /// Connections that broke, until the pool knows.
    lost: Vec<ConnId>,
    scratch: Vec<u8>,
}

/// What a read has brought.
pub(crate) enum ReadResult {
    /// So many bytes of the scratch buffer.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The connection is gone.
    Gone,
}

impl Net {
    /// Binds `host`:`port` and listens. `::` takes IPv4 too, and is 0.0.0.0 where there is no IPv6.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub(crate) fn bind(host: IpAddr, port: u16, conns_max: usize) -> anyhow::Result<(Self, Waker)> {
        let poll = Poll::new().context("failed to set up polling")?;
        let waker = Waker::new(poll.registry(), WAKER).context("failed to set up polling")?;
        let mut listener = port::bind(host, port)
            .with_context(|| format!("failed to listen on {}", SocketAddr::new(host, port)))?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)
            .context("failed to watch the listening socket")?;
        let address = listener
            .local_addr()
            .context("failed to read the listening address")?;
        let net = Self {
            poll,
            events: Events::with_capacity(1024),
            listener,
            address,
            is_listening: true,
            accept_again: false,
            conns: Slab::new(),
            conns_max,
            generation: 0,
            readable: VecDeque::new(),
            dirty: Vec::new(),
            lost: Vec::new(),
            scratch: vec![0; READ_BYTES],
        };
        Ok((net, waker))
    }

    /// Where miners connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for something to happen, at most `timeout`; not at all while reads are due. Hands
    /// over each new connection.
    pub(crate) fn wait(&mut self, timeout: Duration, connected: impl FnMut(ConnId, IpAddr)) {
        let timeout = if self.readable.is_empty() {
            timeout
        } else {
            Duration::ZERO
        };
        if let Err(error) = self.poll.poll(&mut self.events, Some(timeout)) {
            assert!(
                error.kind() == io::ErrorKind::Interrupted,
                "polling failed: {error}"
            );
            return;
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let mut accept = std::mem::take(&mut self.accept_again);
        for event in &events {
            match event.token() {
                LISTENER => accept = true,
                WAKER => {}
                Token(token) => {
                    if let Some(conn) = self.conns.get_mut(token - FIRST_CONN) {
                        let id = conn.id;
                        if event.is_readable() || event.is_error() || event.is_read_closed() {
                            conn.may_read = true;
                            self.queue_read(id);
                        }
                        if event.is_writable() {
                            self.mark_dirty(id);
                        }
                    }
                }
            }
        }
        self.events = events;
        if accept && self.is_listening {
            self.accept(connected);
        }
    }

    fn accept(&mut self, mut connected: impl FnMut(ConnId, IpAddr)) {
        loop {
            match self.listener.accept() {
                Ok((socket, peer)) if self.conns.len() < self.conns_max => {
                    if let Ok(id) = self.add(socket) {
                        connected(id, peer.ip().to_canonical());
                    }
                }
                Ok((socket, _)) => reset(&socket),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_of_the_peer(&error) => {}
                Err(_) => {
                    self.accept_again = true;
                    return;
                }
            }
        }
    }

    fn add(&mut self, mut socket: TcpStream) -> io::Result<ConnId> {
        socket.set_nodelay(true)?;
        SockRef::from(&socket).set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(Duration::from_secs(60))
                .with_interval(Duration::from_secs(15))
                .with_retries(4),
        )?;
        let entry = self.conns.vacant_entry();
        let slot = entry.key();
        self.poll.registry().register(
            &mut socket,
            Token(slot + FIRST_CONN),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        self.generation = self.generation.wrapping_add(1);
        let id = ConnId(u64::from(self.generation) << 32 | slot as u64);
        entry.insert(Conn {
            id,
            socket,
            out: Vec::new(),
            out_done: 0,
            may_read: false,
            is_queued: false,
            is_paused: false,
            is_dirty: false,
            ends_when_flushed: false,
        });
        Ok(id)
    }

    /// The next connection to be read.
    pub(crate) fn next_readable(&mut self) -> Option<ConnId> {
        let id = self.readable.pop_front()?;
        if let Some(conn) = self.get_mut(id) {
            conn.is_queued = false;
        }
        Some(id)
    }

    /// Reads once from a connection, and queues it again when there may be more.
    pub(crate) fn read(&mut self, id: ConnId) -> ReadResult {
        let Some(conn) = self.conns.get_mut(slot_of(id)).filter(|conn| conn.id == id) else {
            return ReadResult::Nothing;
        };
        if !conn.may_read || conn.is_held() {
            return ReadResult::Nothing;
        }
        match conn.socket.read(&mut self.scratch) {
            Ok(0) => ReadResult::Gone,
            Ok(len) => {
                self.queue_read(id);
                ReadResult::Bytes(len)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                conn.may_read = false;
                ReadResult::Nothing
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.queue_read(id);
                ReadResult::Nothing
            }
            Err(_) => ReadResult::Gone,
        }
    }

    /// What the last read has brought.
    pub(crate) fn received(&self, len: usize) -> &[u8] {
        &self.scratch[..len]
    }

    /// Takes bytes to be sent: whole lines.
    pub(crate) fn send(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.get_mut(id) else { return };
        conn.forget_what_left();
        conn.out.extend_from_slice(bytes);
        if conn.out.len() - conn.out_done > OUT_BYTES_MAX {
            return self.lose(id);
        }
        self.mark_dirty(id);
    }

    /// Sends a line at once where nothing waits before it.
    pub(crate) fn send_shared(&mut self, id: ConnId, line: &[u8]) {
        let Some(conn) = self.get_mut(id) else { return };
        if !conn.out.is_empty() {
            return self.send(id, line);
        }
        match conn.socket.write(line) {
            Ok(len) if len == line.len() => {}
            Ok(len) => self.send(id, &line[len..]),
            Err(error) if is_for_later(&error) => self.send(id, line),
            Err(_) => self.lose(id),
        }
    }

    /// Writes what waits, as far as the peers take it.
    pub(crate) fn flush(&mut self) {
        for id in std::mem::take(&mut self.dirty) {
            let Some(conn) = self.get_mut(id) else {
                continue;
            };
            conn.is_dirty = false;
            let was_held = conn.is_held();
            match conn.flush() {
                Err(_) => self.lose(id),
                Ok(()) if conn.out.is_empty() && conn.ends_when_flushed => {
                    self.remove(id);
                }
                Ok(()) if was_held && !conn.is_held() => self.queue_read(id),
                Ok(()) => {}
            }
        }
    }

    /// Reads no more from a connection, or again.
    pub(crate) fn pause(&mut self, id: ConnId, paused: bool) {
        if let Some(conn) = self.get_mut(id) {
            conn.is_paused = paused;
            self.queue_read(id);
        }
    }

    /// Ends a connection.
    pub(crate) fn close(&mut self, id: ConnId, how: CloseHow) {
        let Some(conn) = self.get_mut(id) else { return };
        match how {
            CloseHow::Reset => {
                reset(&conn.socket);
                self.remove(id);
            }
            CloseHow::Flushed => {
                conn.ends_when_flushed = true;
                conn.is_paused = true;
                self.mark_dirty(id);
            }
        }
    }

    /// Resets every connection.
    pub(crate) fn reset_all(&mut self) {
        for conn in self.conns.drain() {
            reset(&conn.socket);
        }
        self.readable.clear();
        self.dirty.clear();
        self.lost.clear();
    }

    /// Connections that broke since the last call. The pool must hear of each.
    pub(crate) fn take_lost(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.lost)
    }

    /// Takes connections, or refuses them while the port stays ours.
    ///
    /// # Errors
    /// When the system refuses; then nothing has changed.
    pub(crate) fn listen(&mut self, listening: Listening) -> io::Result<()> {
        match listening {
            Listening::On if !self.is_listening => {
                port::listen(&self.listener)?;
                let registry = self.poll.registry();
                registry.register(&mut self.listener, LISTENER, Interest::READABLE)?;
                self.is_listening = true;
            }
            Listening::Off if self.is_listening => {
                self.poll.registry().deregister(&mut self.listener)?;
                port::refuse(&self.listener)?;
                self.is_listening = false;
            }
            Listening::On | Listening::Off => {}
        }
        Ok(())
    }

    fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(slot_of(id)).filter(|conn| conn.id == id)
    }

    fn remove(&mut self, id: ConnId) {
        if self.get_mut(id).is_some() {
            self.conns.remove(slot_of(id));
        }
    }

    fn lose(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id) {
            reset(&conn.socket);
            self.remove(id);
            self.lost.push(id);
        }
    }

    /// The connection is gone: what was meant for it is tried once, then forgotten.
    pub(crate) fn drop_gone(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id) {
            let _ = conn.flush();
            self.remove(id);
        }
    }

    fn queue_read(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(slot_of(id)).filter(|conn| conn.id == id) else {
            return;
        };
        if !conn.is_queued && conn.may_read && !conn.is_held() {
            conn.is_queued = true;
            self.readable.push_back(id);
        }
    }

    fn mark_dirty(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(slot_of(id)).filter(|conn| conn.id == id) else {
            return;
        };
        if !conn.is_dirty && (!conn.out.is_empty() || conn.ends_when_flushed) {
            conn.is_dirty = true;
            self.dirty.push(id);
        }
    }
}

impl Conn {
    /// Whether reading has to wait.
    fn is_held(&self) -> bool {
        self.is_paused || self.out.len() - self.out_done >= OUT_BYTES_HIGH
    }

    /// Makes room once the larger part has left, since a slow peer may never take all there is.
    fn forget_what_left(&mut self) {
        if self.out_done > self.out.len() / 2 {
            self.out.drain(..self.out_done);
            self.out_done = 0;
        }
    }

    /// Writes whole lines, as many at once as fit a segment. An idle connection keeps no buffer.
    fn flush(&mut self) -> io::Result<()> {
        while self.out_done < self.out.len() {
            let waiting = &self.out[self.out_done..];
            match self.socket.write(&waiting[..lines_for_one_write(waiting)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => self.out_done += len,
                Err(error) if is_for_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out_done = 0;
        self.out.clear();
        self.out.shrink_to(WRITE_BYTES);
        Ok(())
    }
}

/// How many bytes go into the next write: all whole lines that fit a segment, or one long line.
fn lines_for_one_write(waiting: &[u8]) -> usize {
    if waiting.len() <= WRITE_BYTES {
        return waiting.len();
    }
    let fitting = waiting[..WRITE_BYTES]
        .iter()
        .rposition(|&byte| byte == b'\n');
    let end = fitting.or_else(|| waiting.iter().position(|&byte| byte == b'\n'));
    end.map_or(waiting.len(), |end| end + 1)
}

fn slot_of(id: ConnId) -> usize {
    (id.0 & 0xffff_ffff) as usize
}

/// Every miner notices a reset at once, not every one a FIN.
fn reset(socket: &TcpStream) {
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// The connection was gone before it was taken.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

#[cfg(test)]
#[path = "net_tests.rs"]
mod tests;
