//! Listeners that miners connect to, each with its port, its encryption and its start difficulty.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::{fmt, io};

use anyhow::Context;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::event::Listening;
use hstratum_core::units::Difficulty;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::net::port;

/// Transport of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Plain TCP.
    Never,
    /// TLS.
    Always,
    /// Either, decided by the first byte.
    Auto,
}

impl Encryption {
    /// The scheme of option `listen`.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Never => "tcp",
            Self::Always => "tls",
            Self::Auto => "auto",
        }
    }
}

/// A listener as configured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ListenSpec {
    /// Transport.
    pub encryption: Encryption,
    /// Address; `::` accepts IPv4 as well, and port 0 is any free one.
    pub address: SocketAddr,
    /// Start difficulty of its miners, if it has one of its own.
    pub difficulty: Option<Difficulty>,
    /// Recipient of its miners' blocks, if it has one of its own.
    pub payout: Option<Payout>,
}

impl ListenSpec {
    /// Parses `tls://[::]:3009?difficulty=1024&payout=solo`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let encryption = [Encryption::Never, Encryption::Always, Encryption::Auto]
            .into_iter()
            .find(|encryption| encryption.scheme() == scheme)?;
        let (address, query) = match rest.split_once('?') {
            None => (rest, None),
            Some((address, query)) => (address, Some(query)),
        };
        let (mut difficulty, mut payout) = (None, None);
        for part in query.into_iter().flat_map(|query| query.split('&')) {
            match part.split_once('=')? {
                ("difficulty", number) if difficulty.is_none() => {
                    difficulty = Some(Difficulty::new(number.parse().ok()?)?);
                }
                ("payout", name) if payout.is_none() => payout = Some(Payout::from_name(name)?),
                _ => return None,
            }
        }
        Some(Self {
            encryption,
            address: address.parse().ok()?,
            difficulty,
            payout,
        })
    }
}

/// The first spec whose address overlaps with that of an earlier one, and the earlier one.
pub fn twice(specs: &[ListenSpec]) -> Option<(&ListenSpec, &ListenSpec)> {
    let is_same = |a: SocketAddr, b: SocketAddr| {
        let (a_ip, b_ip) = (a.ip(), b.ip());
        // `::` accepts IPv4 as well.
        let within =
            |wide: IpAddr, ip: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || ip.is_ipv4());
        a.port() == b.port()
            && a.port() != 0
            && (a_ip == b_ip || within(a_ip, b_ip) || within(b_ip, a_ip))
    };
    let mut specs_before = specs.iter().enumerate();
    specs_before.find_map(|(place, spec)| {
        let mut before = specs[..place].iter();
        let first = before.find(|first| is_same(first.address, spec.address))?;
        Some((spec, first))
    })
}

impl ListenSpec {
    /// True if its blocks pay their finder.
    pub(crate) fn is_solo(&self) -> bool {
        self.payout == Some(Payout::Solo)
    }
}

impl fmt::Display for ListenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.encryption.scheme(), self.address)
    }
}

/// A bound port, which accepts connections or refuses them.
pub(crate) struct Listener {
    /// The configuration, with the port that was found if any would do.
    pub spec: ListenSpec,
    pub difficulty: Difficulty,
    socket: TcpListener,
    token: Token,
    is_listening: bool,
    /// There may be connections to accept.
    pub is_due: bool,
    /// Accepting failed for want of descriptors and is to be retried.
    pub again_later: bool,
}

impl Listener {
    /// Binds and listens. `::` accepts IPv4 too, and becomes 0.0.0.0 on a system without IPv6. An error names
    /// the option.
    pub(crate) fn bind(
        spec: ListenSpec,
        difficulty: Difficulty,
        registry: &Registry,
        token: Token,
        option: &str,
    ) -> anyhow::Result<Self> {
        let socket = port::bind(spec.address)
            .with_context(|| format!("failed to listen on {} ({option})", spec.address))?;
        Self::watch(socket, spec, difficulty, registry, token)
    }

    /// Takes over a socket that listens already.
    pub(crate) fn adopt(
        socket: std::net::TcpListener,
        spec: ListenSpec,
        difficulty: Difficulty,
        registry: &Registry,
        token: Token,
    ) -> anyhow::Result<Self> {
        socket
            .set_nonblocking(true)
            .with_context(|| format!("failed to go on listening on {}", spec.address))?;
        let socket = TcpListener::from_std(socket);
        let mut listener = Self::watch(socket, spec, difficulty, registry, token)?;
        // Polling does not report connections that came before.
        listener.is_due = true;
        Ok(listener)
    }

    fn watch(
        mut socket: TcpListener,
        mut spec: ListenSpec,
        difficulty: Difficulty,
        registry: &Registry,
        token: Token,
    ) -> anyhow::Result<Self> {
        registry
            .register(&mut socket, token, Interest::READABLE)
            .context("failed to watch a listening socket")?;
        spec.address = socket
            .local_addr()
            .context("failed to read a listening address")?;
        Ok(Self {
            spec,
            difficulty,
            socket,
            token,
            is_listening: true,
            is_due: false,
            again_later: false,
        })
    }

    /// Releases the port.
    pub(crate) fn close(mut self, registry: &Registry) {
        // A refusing listener is not registered.
        let _ = registry.deregister(&mut self.socket);
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// True if connections are to be accepted now.
    pub(crate) fn accepts(&self) -> bool {
        self.is_listening && self.is_due
    }

    /// Accepts the next waiting connection, if there is one. If descriptors are lacking, it is retried later.
    pub(crate) fn accept(&mut self) -> Option<(TcpStream, SocketAddr)> {
        loop {
            match self.socket.accept() {
                Ok(taken) => return Some(taken),
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    self.is_due = false;
                    self.again_later = error.kind() != io::ErrorKind::WouldBlock;
                    return None;
                }
            }
        }
    }

    /// Accepts connections on a socket that another process may have switched to refusing.
    pub(crate) fn listen_anew(&mut self) -> io::Result<()> {
        self.is_due = true;
        port::listen(&self.socket)
    }

    /// Accepts connections, or refuses them while the port stays bound.
    ///
    /// # Errors
    /// When the system refuses; then nothing has changed.
    pub(crate) fn listen(&mut self, listening: Listening, registry: &Registry) -> io::Result<()> {
        match listening {
            Listening::On if !self.is_listening => {
                port::listen(&self.socket)?;
                registry.register(&mut self.socket, self.token, Interest::READABLE)?;
                self.is_listening = true;
            }
            Listening::Off if self.is_listening => {
                registry.deregister(&mut self.socket)?;
                port::refuse(&self.socket)?;
                self.is_listening = false;
            }
            Listening::On | Listening::Off => {}
        }
        Ok(())
    }
}

/// The connection was gone before it was accepted.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_as_they_are_written() {
        let check = |text: &str, encryption, address: &str, difficulty: Option<f64>, payout| {
            let expected = ListenSpec {
                encryption,
                address: address.parse().expect("an address"),
                difficulty: difficulty.map(|d| Difficulty::new(d).expect("above 0")),
                payout,
            };
            assert_eq!(ListenSpec::parse(text), Some(expected), "{text}");
        };
        check(
            "tcp://0.0.0.0:3333",
            Encryption::Never,
            "0.0.0.0:3333",
            None,
            None,
        );
        check(
            "tls://[::]:1?difficulty=1024",
            Encryption::Always,
            "[::]:1",
            Some(1024.0),
            None,
        );
        check(
            "tcp://[::]:1?payout=solo",
            Encryption::Never,
            "[::]:1",
            None,
            Some(Payout::Solo),
        );
        for both in [
            "difficulty=2&payout=operator",
            "payout=operator&difficulty=2",
        ] {
            check(
                &format!("tcp://[::]:1?{both}"),
                Encryption::Never,
                "[::]:1",
                Some(2.0),
                Some(Payout::Operator),
            );
        }
        check(
            "auto://127.0.0.1:0?difficulty=1e-9",
            Encryption::Auto,
            "127.0.0.1:0",
            Some(1e-9),
            None,
        );
    }

    #[test]
    fn what_is_no_listener_is_refused() {
        for text in [
            "",
            "tcp://",
            "0.0.0.0:3333",
            "http://0.0.0.0:1",
            "TLS://0.0.0.0:1",
            "tcp://0.0.0.0",
            "tcp://:::1",
            "tcp://0.0.0.0:65536",
            "tcp://localhost:1",
            "tcp://0.0.0.0:1/",
            "tcp://0.0.0.0:1?",
            "tcp://0.0.0.0:1?difficulty=",
            "tcp://0.0.0.0:1?difficulty=0",
            "tcp://0.0.0.0:1?difficulty=1&difficulty=2",
            "tcp://0.0.0.0:1?d=1",
            "tcp://0.0.0.0:1?payout=",
            "tcp://0.0.0.0:1?payout=Split",
            "tcp://0.0.0.0:1?payout=Solo",
            "tcp://0.0.0.0:1?payout=solo&payout=solo",
            "tcp://0.0.0.0:1?payout=solo&",
            " tcp://0.0.0.0:1",
        ] {
            assert_eq!(ListenSpec::parse(text), None, "{text:?}");
        }
    }
}
