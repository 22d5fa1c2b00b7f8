//! One connection: its socket, its transport (plain or TLS), and its queue of outgoing bytes.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use hstratum_core::chain::coinbase::Payout;
use hstratum_core::event::{Arrival, ArrivalKind};
use hstratum_core::units::{ConnId, Difficulty};
use mio::net::TcpStream;
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};

use crate::limits::{DIALED_SILENCE, OUT_BYTES_HIGH, WRITE_BYTES};
use crate::net::listener::Encryption;
use crate::net::proxy_header::{self, HEADER_BYTES_MAX, Header, Start};
use crate::net::tls::TlsSession;

/// State of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnStage {
    /// Connecting to the peer.
    Dialing,
    /// Waiting for the PROXY header of a trusted proxy.
    Header,
    /// Nothing has been received yet.
    Silent,
    /// In the TLS handshake.
    Handshake,
    /// Open: lines may come, and the pool knows it.
    Open,
    /// Closed by the pool; queued bytes have yet to leave.
    Closing,
}

impl ConnStage {
    /// True if others than this module know the connection.
    pub(crate) fn is_known(self) -> bool {
        matches!(self, Self::Dialing | Self::Open)
    }
}

/// Result of a read.
pub(crate) enum ReadInput {
    /// This many bytes.
    Bytes(usize),
    /// Nothing, but there may be more at once.
    Again,
    /// Nothing until the socket is ready again.
    Nothing,
    /// The peer sends no more, but may still read.
    Finished,
    /// The connection is gone, or refused.
    Gone,
}

impl ReadInput {
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

/// A connection.
pub(crate) struct Conn {
    pub id: ConnId,
    pub stage: ConnStage,
    pub arrival: Arrival,
    /// Time in milliseconds at which it is closed if it is still in this stage.
    pub due_ms: u64,
    /// It counts for its address.
    pub is_counted: bool,
    /// We made it.
    pub is_dialed: bool,
    pub is_queued: bool,
    pub is_paused: bool,
    /// True if it is read before others.
    pub is_read_first: bool,
    pub is_dirty: bool,
    /// A job was added for it and is not sent yet.
    pub awaits_job: bool,
    /// The socket may have something to read.
    pub may_read: bool,
    /// The peer has closed its sending side.
    pub is_read_closed: bool,
    encryption: Encryption,
    transport: Transport,
    socket: TcpStream,
    out: Vec<u8>,
    /// Number of bytes of `out` that have left.
    out_done: usize,
    /// Queued bytes of this connection as included in the total.
    pub counted: usize,
    has_said_goodbye: bool,
}

impl Conn {
    pub(crate) fn new(
        id: ConnId,
        socket: TcpStream,
        stage: ConnStage,
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
            is_read_first: false,
            is_dirty: false,
            awaits_job: false,
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

    /// Makes the socket send a reset when it is dropped: every miner notices a reset at once, but not every
    /// one notices a FIN.
    pub(crate) fn reset(&self) {
        reset(&self.socket);
    }

    /// Makes the socket close with a FIN, after the queued bytes.
    pub(crate) fn end_in_order(&self) {
        let _ = SockRef::from(&self.socket).set_linger(None);
    }

    /// Descriptor and queued bytes, if another process could take the connection over.
    pub(crate) fn handle(&self) -> Option<(BorrowedFd<'_>, &[u8])> {
        let is_plain = matches!(self.transport, Transport::Plain);
        let can_go_on = is_plain && self.stage == ConnStage::Open;
        can_go_on.then(|| (self.socket.as_fd(), &self.out[self.out_done..]))
    }

    /// True if reading has to wait.
    pub(crate) fn is_held(&self) -> bool {
        self.is_paused || self.waiting() >= OUT_BYTES_HIGH
    }

    /// Number of bytes queued to leave.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len() - self.out_done
    }

    /// Capacity of the outgoing queue.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.out.capacity()
    }

    /// True if there is anything for [`Self::flush`] to do.
    pub(crate) fn wants_flush(&self) -> bool {
        !self.out.is_empty() || self.stage == ConnStage::Closing || self.wants_tls_write()
    }

    fn wants_tls_write(&self) -> bool {
        match &self.transport {
            Transport::Plain => false,
            Transport::Tls(session) => session.wants_write(),
        }
    }

    /// True if everything that was sent has left.
    pub(crate) fn is_flushed(&self) -> bool {
        self.out.is_empty() && !self.wants_tls_write()
    }

    /// Checks whether the peer has accepted the connection.
    pub(crate) fn look_whether_there(&mut self) -> ReadInput {
        match (self.socket.take_error(), self.socket.peer_addr()) {
            (Ok(None), Ok(_)) => {
                self.stage = ConnStage::Open;
                ReadInput::Again
            }
            (Ok(None), Err(error)) if error.kind() == io::ErrorKind::NotConnected => {
                ReadInput::Nothing
            }
            _ => ReadInput::Gone,
        }
    }

    /// Reads a PROXY header off the connection, once it is there as a whole.
    pub(crate) fn take_header(&mut self) -> ReadInput {
        let mut bytes = [0; HEADER_BYTES_MAX];
        let len = match self.socket.peek(&mut bytes) {
            Ok(0) => return ReadInput::Gone,
            Ok(len) => len,
            Err(error) => return ReadInput::of_error(&error),
        };
        match proxy_header::parse(&bytes[..len]) {
            Header::Partial => self.wait_for_more(),
            Header::Malformed => ReadInput::Gone,
            Header::Whole {
                bytes: taken,
                source,
            } => {
                if self.socket.read_exact(&mut bytes[..taken]).is_err() {
                    return ReadInput::Gone;
                }
                if let Some(address) = source {
                    self.set_miner(address);
                }
                self.stage = ConnStage::Silent;
                ReadInput::Again
            }
        }
    }

    fn set_miner(&mut self, address: IpAddr) {
        self.arrival.address = address;
        self.arrival.kind = ArrivalKind::Miner;
    }

    /// Peeks at the first bytes: plain, TLS, or a PROXY header from an untrusted peer.
    pub(crate) fn look(&mut self, certificate: Option<&Arc<ServerConfig>>) -> ReadInput {
        let mut bytes = [0; 16];
        let len = match self.socket.peek(&mut bytes) {
            Ok(0) => return ReadInput::Gone,
            Ok(len) => len,
            Err(error) => return ReadInput::of_error(&error),
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
                return ReadInput::Gone;
            };
            self.transport = Transport::Tls(Box::new(session));
            self.stage = ConnStage::Handshake;
            return ReadInput::Again;
        }
        match proxy_header::start(&bytes[..len]) {
            Start::Header => ReadInput::Gone,
            Start::Unclear => self.wait_for_more(),
            Start::Other => {
                self.stage = ConnStage::Open;
                ReadInput::Again
            }
        }
    }

    /// Too little was peeked at: the socket becomes ready again when more has come.
    fn wait_for_more(&self) -> ReadInput {
        if self.is_read_closed {
            ReadInput::Gone
        } else {
            ReadInput::Nothing
        }
    }

    /// Continues the TLS handshake.
    pub(crate) fn shake_hands(&mut self) -> ReadInput {
        let Transport::Tls(session) = &mut self.transport else {
            unreachable!("a handshake begins with a session");
        };
        let input = session.shake_hands(&mut self.socket);
        if !matches!(input, ReadInput::Gone) && !session.is_handshaking() {
            self.stage = ConnStage::Open;
        }
        input
    }

    /// Reads plaintext, in pieces of any length.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> ReadInput {
        match &mut self.transport {
            Transport::Plain => match self.socket.read(into) {
                Ok(0) => ReadInput::Finished,
                Ok(len) => {
                    // A short read has emptied the socket: epoll reports later bytes (epoll(7)), and an end
                    // that is there already.
                    self.may_read = len == into.len() || self.is_read_closed;
                    ReadInput::Bytes(len)
                }
                Err(error) => ReadInput::of_error(&error),
            },
            Transport::Tls(session) => session.read(&mut self.socket, into),
        }
    }

    /// Appends bytes to the outgoing queue.
    pub(crate) fn queue(&mut self, bytes: &[u8]) {
        self.forget_what_left();
        self.out.extend_from_slice(bytes);
    }

    /// Frees space once the larger part has left, since a slow peer may never empty the queue.
    fn forget_what_left(&mut self) {
        if self.out_done > self.out.len() / 2 {
            self.out.drain(..self.out_done);
            self.out_done = 0;
        }
    }

    /// Sends a line at once, behind what is queued.
    pub(crate) fn send_now(&mut self, line: &[u8]) -> io::Result<()> {
        if !self.out.is_empty() || line.len() > WRITE_BYTES {
            self.queue(line);
            return self.flush();
        }
        let sent = match self.transport.write(&mut self.socket, line) {
            Ok(len) => len,
            Err(error) if is_for_later(&error) => 0,
            Err(error) => return Err(error),
        };
        self.queue(&line[sent..]);
        Ok(())
    }

    /// Writes whole lines, as many at once as fit a TCP segment. Frees the buffer when it is empty.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self.flush_all() {
            Err(error) if is_for_later(&error) => Ok(()),
            flushed => flushed,
        }
    }

    fn flush_all(&mut self) -> io::Result<()> {
        if self.stage == ConnStage::Dialing {
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
            if self.stage == ConnStage::Closing && !self.has_said_goodbye {
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

/// Sets the options of a new connection's socket.
pub(crate) fn set_up(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    // When the process is killed, the kernel then resets the connection instead of sending a FIN.
    SockRef::from(socket).set_linger(Some(Duration::ZERO))?;
    SockRef::from(socket).set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(15))
            .with_retries(4),
    )
}

/// Sets the options of a connection to a server, which a miner waits for: a dead one is noticed soon, where
/// the kernel's own limit is a quarter of an hour while anything waits to be acknowledged.
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

/// Arrival of a new connection, from its socket.
pub(crate) fn arrival(
    peer: IpAddr,
    kind: ArrivalKind,
    difficulty: Difficulty,
    payout: Payout,
) -> Arrival {
    Arrival {
        address: peer.to_canonical(),
        kind,
        difficulty,
        payout,
    }
}

/// Length of the next write: all whole lines that fit a segment, or one long line.
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
