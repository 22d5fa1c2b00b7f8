//! One connection: its socket, what is between the socket and its lines, and what waits to leave.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use hstratum_core::event::{Arrival, ArrivalKind};
use hstratum_core::units::{ConnId, Difficulty};
use mio::net::TcpStream;
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};

use crate::limits::{DIALED_SILENCE, OUT_BYTES_HIGH, WRITE_BYTES};
use crate::net::listener::Encryption;
use crate::net::proxy_header::{self, HEADER_BYTES_MAX, Header, Start};
use crate::net::tls::TlsSession;

/// What is known of a connection so far.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// We connect to the peer.
    Dialing,
    /// A trusted proxy has yet to say for whom it connects.
    Header,
    /// Nothing has come that tells what it is.
    Silent,
    /// TLS is being agreed upon.
    Handshake,
    /// Lines may come; the pool knows it.
    Open,
    /// The pool has ended it, and what was sent has yet to leave.
    Closing,
}

impl Stage {
    /// Whether others than the sockets know the connection.
    pub(crate) fn is_known(self) -> bool {
        matches!(self, Self::Dialing | Self::Open)
    }
}

/// What a read has brought.
pub(crate) enum Input {
    /// So many bytes.
    Bytes(usize),
    /// Nothing, but there may be more.
    Again,
    /// Nothing until the socket is ready again.
    Nothing,
    /// The peer sends no more. It may read still.
    Finished,
    /// The connection is gone, or not wanted.
    Gone,
}

impl Input {
    pub(crate) fn of_error(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::Nothing,
            io::ErrorKind::Interrupted => Self::Again,
            _ => Self::Gone,
        }
    }
}

enum Transport {
    Plain,
    Tls(Box<TlsSession>),
}

/// A socket and what waits on it.
pub(crate) struct Conn {
    pub id: ConnId,
    pub stage: Stage,
    pub arrival: Arrival,
    /// When it ends if it is still in this stage.
    pub due_ms: u64,
    /// Whether it counts among those of its address.
    pub is_counted: bool,
    /// Whether we made it.
    pub is_dialed: bool,
    pub is_queued: bool,
    pub is_paused: bool,
    pub is_dirty: bool,
    /// The socket may have something to read.
    pub may_read: bool,
    /// Nothing comes behind what is there to read.
    pub is_read_closed: bool,
    encryption: Encryption,
    transport: Transport,
    socket: TcpStream,
    out: Vec<u8>,
    /// Bytes of `out` that have left.
    out_done: usize,
    /// Bytes that wait, as they are counted for all connections.
    pub counted: usize,
    has_said_goodbye: bool,
}

impl Conn {
    pub(crate) fn new(
        id: ConnId,
        socket: TcpStream,
        stage: Stage,
        encryption: Encryption,
        arrival: Arrival,
    ) -> Self {
        Self {
            id,
            stage,
            arrival,
            due_ms: u64::MAX,
            is_counted: false,
            is_dialed: false,
            is_queued: false,
            is_paused: false,
            is_dirty: false,
            may_read: false,
            is_read_closed: false,
            encryption,
            transport: Transport::Plain,
            socket,
            out: Vec::new(),
            out_done: 0,
            counted: 0,
            has_said_goodbye: false,
        }
    }

    /// Every miner notices a reset at once, not every one a FIN. It leaves when the socket is
    /// dropped.
    pub(crate) fn reset(&self) {
        reset(&self.socket);
    }

    /// What is on its way arrives before the end does.
    pub(crate) fn end_in_order(&self) {
        let _ = SockRef::from(&self.socket).set_linger(None);
    }

    /// Its descriptor and what waits to leave, where another process could go on with it.
    pub(crate) fn handle(&self) -> Option<(BorrowedFd<'_>, &[u8])> {
        let is_plain = matches!(self.transport, Transport::Plain);
        let can_go_on = is_plain && self.stage == Stage::Open;
        can_go_on.then(|| (self.socket.as_fd(), &self.out[self.out_done..]))
    }

    /// Whether reading has to wait.
    pub(crate) fn is_held(&self) -> bool {
        self.is_paused || self.waiting() >= OUT_BYTES_HIGH
    }

    /// Bytes that wait to leave.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len() - self.out_done
    }

    /// The room that is kept for bytes that wait.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.out.capacity()
    }

    /// Whether there is anything for [`Self::flush`] to do.
    pub(crate) fn wants_flush(&self) -> bool {
        !self.out.is_empty() || self.stage == Stage::Closing || self.wants_tls_write()
    }

    fn wants_tls_write(&self) -> bool {
        match &self.transport {
            Transport::Plain => false,
            Transport::Tls(session) => session.wants_write(),
        }
    }

    /// Whether all that was sent has left.
    pub(crate) fn is_flushed(&self) -> bool {
        self.out.is_empty() && !self.wants_tls_write()
    }

    /// Looks whether the peer has taken the connection.
    pub(crate) fn look_whether_there(&mut self) -> Input {
        match (self.socket.take_error(), self.socket.peer_addr()) {
            (Ok(None), Ok(_)) => {
                self.stage = Stage::Open;
                Input::Again
            }
            (Ok(None), Err(error)) if error.kind() == io::ErrorKind::NotConnected => Input::Nothing,
            _ => Input::Gone,
        }
    }

    /// Takes a proxy's header off the connection, if it is there as a whole.
    pub(crate) fn take_header(&mut self) -> Input {
        let mut bytes = [0; HEADER_BYTES_MAX];
        let len = match self.socket.peek(&mut bytes) {
            Ok(0) => return Input::Gone,
            Ok(len) => len,
            Err(error) => return Input::of_error(&error),
        };
        match proxy_header::parse(&bytes[..len]) {
            Header::Partial => self.wait_for_more(),
            Header::Malformed => Input::Gone,
            Header::Whole {
                bytes: taken,
                source,
            } => {
                if self.socket.read_exact(&mut bytes[..taken]).is_err() {
                    return Input::Gone;
                }
                if let Some(address) = source {
                    self.set_miner(address);
                }
                self.stage = Stage::Silent;
                Input::Again
            }
        }
    }

    fn set_miner(&mut self, address: IpAddr) {
        self.arrival.address = address;
        self.arrival.kind = ArrivalKind::Miner;
    }

    /// Looks at the first bytes: are they plain, TLS, or a header from somebody who is not trusted?
    pub(crate) fn look(&mut self, certificate: Option<&Arc<ServerConfig>>) -> Input {
        let mut bytes = [0; 16];
        let len = match self.socket.peek(&mut bytes) {
            Ok(0) => return Input::Gone,
            Ok(len) => len,
            Err(error) => return Input::of_error(&error),
        };
        // A TLS client begins with a handshake record.
        let is_tls = match self.encryption {
            Encryption::Never => false,
            Encryption::Always => true,
            Encryption::Auto => bytes[0] == 0x16,
        };
        if is_tls {
            let certificate = certificate.expect("the options give one to every TLS listener");
            let Ok(session) = TlsSession::new(certificate.clone()) else {
                return Input::Gone;
            };
            self.transport = Transport::Tls(Box::new(session));
            self.stage = Stage::Handshake;
            return Input::Again;
        }
        match proxy_header::start(&bytes[..len]) {
            Start::Header => Input::Gone,
            Start::Unclear => self.wait_for_more(),
            Start::Other => {
                self.stage = Stage::Open;
                Input::Again
            }
        }
    }

    /// What was peeked at is too little: the socket is ready again when more has come.
    fn wait_for_more(&self) -> Input {
        if self.is_read_closed {
            Input::Gone
        } else {
            Input::Nothing
        }
    }

    /// Goes on with the TLS handshake.
    pub(crate) fn shake_hands(&mut self) -> Input {
        let Transport::Tls(session) = &mut self.transport else {
            unreachable!("a handshake begins with a session");
        };
        let input = session.shake_hands(&mut self.socket);
        if !matches!(input, Input::Gone) && !session.is_handshaking() {
            self.stage = Stage::Open;
        }
        input
    }

    /// Reads lines, or parts of them.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Input {
        match &mut self.transport {
            Transport::Plain => match self.socket.read(into) {
                Ok(0) => Input::Finished,
                Ok(len) => {
                    // A short read has emptied the socket: epoll tells of what comes later
                    // (epoll(7)), and of an end that is there already.
                    self.may_read = len == into.len() || self.is_read_closed;
                    Input::Bytes(len)
                }
                Err(error) => Input::of_error(&error),
            },
            Transport::Tls(session) => session.read(&mut self.socket, into),
        }
    }

    /// Keeps bytes until they can leave.
    pub(crate) fn queue(&mut self, bytes: &[u8]) {
        self.forget_what_left();
        self.out.extend_from_slice(bytes);
    }

    /// Makes room once the larger part has left, since a slow peer may never take all there is.
    fn forget_what_left(&mut self) {
        if self.out_done > self.out.len() / 2 {
            self.out.drain(..self.out_done);
            self.out_done = 0;
        }
    }

    /// Sends a line at once where nothing waits before it.
    pub(crate) fn send_now(&mut self, line: &[u8]) -> io::Result<()> {
        let sent = if !self.out.is_empty() || line.len() > WRITE_BYTES {
            0
        } else {
            match self.transport.write(&mut self.socket, line) {
                Ok(len) => len,
                Err(error) if is_for_later(&error) => 0,
                Err(error) => return Err(error),
            }
        };
        self.queue(&line[sent..]);
        Ok(())
    }

    /// Writes whole lines, as many at once as fit a segment. An idle connection keeps no buffer.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self.flush_all() {
            Err(error) if is_for_later(&error) => Ok(()),
            flushed => flushed,
        }
    }

    fn flush_all(&mut self) -> io::Result<()> {
        if self.stage == Stage::Dialing {
            return Ok(());
        }
        while self.out_done < self.out.len() {
            let end = self.out_done + lines_for_one_write(&self.out[self.out_done..]);
            let waiting = &self.out[self.out_done..end];
            match self.transport.write(&mut self.socket, waiting)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                len => self.out_done += len,
            }
        }
        self.out_done = 0;
        self.out.clear();
        self.out.shrink_to(WRITE_BYTES);
        if let Transport::Tls(session) = &mut self.transport {
            if self.stage == Stage::Closing && !self.has_said_goodbye {
                self.has_said_goodbye = true;
                session.say_goodbye();
            }
            session.flush(&mut self.socket)?;
        }
        Ok(())
    }
}

impl Transport {
    fn write(&mut self, socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain => socket.write(bytes),
            Self::Tls(session) => session.write(socket, bytes),
        }
    }
}

/// Options of a socket that is about to become a connection.
pub(crate) fn set_up(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    // When the process is killed, the kernel resets what would otherwise end with a FIN.
    SockRef::from(socket).set_linger(Some(Duration::ZERO))?;
    SockRef::from(socket).set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(15))
            .with_retries(4),
    )
}

/// The same of one to a server, which a miner waits for: a dead one is noticed soon, where the kernel's
/// own limit is a quarter of an hour while anything waits to be acknowledged.
pub(crate) fn set_up_dialed(socket: &TcpStream) -> io::Result<()> {
    set_up(socket)?;
    let socket = SockRef::from(socket);
    socket.set_tcp_user_timeout(Some(DIALED_SILENCE))?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(DIALED_SILENCE / 2)
            .with_interval(DIALED_SILENCE / 4),
    )
}

pub(crate) fn reset(socket: &TcpStream) {
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// Where a new connection comes from, as its socket has it.
pub(crate) fn arrival(peer: IpAddr, kind: ArrivalKind, difficulty: Difficulty) -> Arrival {
    Arrival {
        address: peer.to_canonical(),
        kind,
        difficulty,
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

fn is_for_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
#[path = "conn_tests.rs"]
mod tests;
