//! The sockets: thousands of connections to one server in one thread. Bytes become lines here;
//! what a line means is not known.
//!
//! A connection is named by its seat, a number that stays when it is opened again.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow};
use hstratum::stratum_url::StratumUrl;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::descriptors;
use crate::limits::{EVENTS, LINE_BYTES_MAX, READ_BYTES};

/// Of 127.0.0.0/8, those that connections come from; a whole number of /24 keeps them apart from
/// what else is on loopback.
const SOURCES_FIRST: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
const SOURCES_MAX: u32 = 1 << 16;

/// All connections to one server, by seat.
pub(crate) struct Links {
    poll: Poll,
    events: Events,
    server: SocketAddr,
    /// The number of addresses that connections come from, in turn; 0 leaves it to the system.
    sources: u32,
    links: Vec<Option<SwarmLink>>,
    scratch: Vec<u8>,
}

struct SwarmLink {
    stream: TcpStream,
    is_connected: bool,
    /// The server sends no more than what is there: read it all.
    is_ending: bool,
    /// The beginning of a line.
    received: Vec<u8>,
    /// Bytes that have not been written yet.
    out: Vec<u8>,
}

impl Links {
    /// Seats for so many connections to a server, none open, and the descriptors for them. Without
    /// a number of sources each connection has one of its own.
    pub(crate) fn to(
        server: &StratumUrl,
        connections: u32,
        sources: Option<u32>,
    ) -> anyhow::Result<Self> {
        descriptors::raise(connections)?;
        let address = server
            .resolve()
            .with_context(|| format!("failed to find {server}"))?
            .next()
            .ok_or_else(|| anyhow!("failed to find {server}"))?;
        let sources = sources.unwrap_or(connections);
        Self::new(address, connections as usize, sources).context("failed to wait for sockets")
    }

    /// Only a server on IPv4 loopback can be met from several addresses.
    fn new(server: SocketAddr, seats: usize, sources: u32) -> io::Result<Self> {
        let is_local = matches!(server.ip(), IpAddr::V4(ip) if ip.is_loopback());
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            server,
            sources: if is_local {
                sources.min(SOURCES_MAX)
            } else {
                0
            },
            links: (0..seats).map(|_| None).collect(),
            scratch: vec![0; READ_BYTES],
        })
    }

    /// Begins to connect. What is queued leaves once that is done.
    pub(crate) fn open(&mut self, seat: usize) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(self.server), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(turn) = (seat as u32).checked_rem(self.sources) {
            let source = Ipv4Addr::from(u32::from(SOURCES_FIRST) + turn);
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&self.server.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(seat), both)?;
        self.links[seat] = Some(SwarmLink {
            stream,
            is_connected: false,
            is_ending: false,
            received: Vec::new(),
            out: Vec::new(),
        });
        Ok(())
    }

    /// Closes; what was queued is lost.
    pub(crate) fn close(&mut self, seat: usize) {
        self.links[seat] = None;
    }

    /// The buffer for bytes to be sent; `None` on a seat that is not open. [`Self::flush`] sends.
    pub(crate) fn out(&mut self, seat: usize) -> Option<&mut Vec<u8>> {
        self.links[seat].as_mut().map(|link| &mut link.out)
    }

    /// Writes as much as the system takes; the rest follows when it takes more.
    pub(crate) fn flush(&mut self, seat: usize) -> io::Result<()> {
        match &mut self.links[seat] {
            Some(link) => link.flush(),
            None => Ok(()),
        }
    }

    /// Waits until something has happened on some seats, and adds those to `seats`.
    pub(crate) fn wait(&mut self, timeout: Duration, seats: &mut Vec<usize>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            done => done?,
        }
        for event in &self.events {
            let seat = event.token().0;
            if let Some(link) = &mut self.links[seat] {
                link.is_ending |= event.is_read_closed() || event.is_error();
            }
            seats.push(seat);
        }
        Ok(())
    }

    /// Writes what is queued and reads what is there, line by line without the newline. An error
    /// is the end of the connection; lines before it have been given.
    pub(crate) fn exchange(&mut self, seat: usize, take: impl FnMut(&[u8])) -> io::Result<()> {
        match &mut self.links[seat] {
            Some(link) => link.exchange(&mut self.scratch, take),
            None => Ok(()),
        }
    }
}

/// `connect` says so when it is not done yet.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

impl SwarmLink {
    fn flush(&mut self) -> io::Result<()> {
        if !self.is_connected {
            return Ok(());
        }
        let mut written = 0;
        let outcome = loop {
            if written == self.out.len() {
                break Ok(());
            }
            match self.stream.write(&self.out[written..]) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.out.drain(..written);
        outcome
    }

    /// Reads before it writes: the last replies of a server that is gone are still there to be
    /// read, and a failing write would hide them.
    fn exchange(&mut self, scratch: &mut [u8], mut take: impl FnMut(&[u8])) -> io::Result<()> {
        if !self.is_connected {
            match self.stream.peer_addr() {
                Ok(_) => self.is_connected = true,
                Err(error) => {
                    return self.stream.take_error()?.map_or_else(
                        || match error.kind() {
                            ErrorKind::NotConnected => Ok(()),
                            _ => Err(error),
                        },
                        Err,
                    );
                }
            }
        }
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(io::Error::other("the server closed the connection")),
                Ok(bytes) => {
                    self.take_lines(&scratch[..bytes], &mut take)?;
                    // Less than there was room for was all there is; what comes later is told.
                    if bytes < scratch.len() && !self.is_ending {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.flush()
    }

    fn take_lines(&mut self, mut bytes: &[u8], take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            if self.received.is_empty() {
                take(&bytes[..end]);
            } else {
                self.received.extend_from_slice(&bytes[..end]);
                take(&self.received);
                self.received.clear();
            }
            bytes = &bytes[end + 1..];
        }
        self.received.extend_from_slice(bytes);
        if self.received.len() > LINE_BYTES_MAX {
            return Err(io::Error::other("a line is too long"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;

    fn wait_for(links: &mut Links, mut is_so: impl FnMut(&mut Links, usize) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            assert!(Instant::now() < deadline, "not in time");
            let mut seats = Vec::new();
            let wait = Duration::from_millis(100);
            links.wait(wait, &mut seats).expect("waited");
            for seat in seats {
                if is_so(links, seat) {
                    return;
                }
            }
        }
    }

    #[test]
    fn torn_lines_are_joined_and_those_before_the_end_are_given() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = listener.local_addr().expect("bound");
        let mut links = Links::new(server, 2, 2).expect("made");
        links.open(1).expect("opened");
        links.out(1).expect("open").extend_from_slice(b"hello\n");
        let (mut peer, from) = listener.accept().expect("a connection");
        assert_eq!(from.ip(), Ipv4Addr::new(127, 1, 0, 2));

        let mut lines = Vec::new();
        let mut read = |links: &mut Links, seat: usize| {
            assert_eq!(seat, 1);
            links.exchange(seat, |line| lines.push(line.to_vec()))
        };
        wait_for(&mut links, |links, seat| {
            read(links, seat).expect("open");
            true
        });
        let mut hello = [0; 6];
        peer.read_exact(&mut hello).expect("flushed");
        peer.write_all(b"one\ntw").expect("written");
        peer.write_all(b"o\n\nthr").expect("written");
        drop(peer);
        wait_for(&mut links, |links, seat| read(links, seat).is_err());
        assert_eq!(lines, [&b"one"[..], b"two", b""]);
    }

    #[test]
    fn refused_connection_is_an_error_that_says_so() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = listener.local_addr().expect("bound");
        drop(listener);
        let mut links = Links::new(server, 1, 0).expect("made");
        links.open(0).expect("begun");
        wait_for(&mut links, |links, seat| {
            let error = links.exchange(seat, |_| {}).err();
            error.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        });
    }
}
