//! A connection to a stratum server as a miner has it, for commands that ask something and end: lines in and out,
//! until one deadline.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::client_tls::Wire;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a line. A longer line is not stratum.
const LINE_BYTES_MAX: usize = 64 << 10;

/// An open connection.
pub(crate) struct MinerWire {
    address: SocketAddr,
    stream: Wire,
    begun: Instant,
    limit: Duration,
    /// Beginning of a line.
    unread: Vec<u8>,
}

/// Connects to the first of the name's addresses that accepts.
pub(crate) fn connect(server: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address for this name");
    for address in server.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl MinerWire {
    /// Begins to speak on a connection, with TLS if it is asked for; its lines are read for `limit` from now on.
    pub(crate) fn open(stream: TcpStream, tls: bool, limit: Duration) -> io::Result<Self> {
        let (begun, address) = (Instant::now(), stream.peer_addr()?);
        stream.set_write_timeout(Some(limit))?;
        // A server that waits for another kind of message would wait for ever.
        stream.set_read_timeout(Some(limit))?;
        Ok(Self {
            address,
            stream: match tls {
                true => Wire::tls(stream)?,
                false => Wire::plain(stream),
            },
            begun,
            limit,
            unread: Vec::new(),
        })
    }

    /// The server's address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Time since it was opened.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Lines are read for this time from now on.
    pub(crate) fn read_for(&mut self, time: Duration) {
        self.limit = self.begun.elapsed() + time;
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream
            .write_all(bytes)
            .with_context(|| format!("failed to send to {}", self.address))
    }

    /// True if a TLS alert has come (RFC 8446, 5.1).
    pub(crate) fn has_alert(&self) -> bool {
        self.unread.starts_with(&[0x15, 0x03])
    }

    /// The next line; `None` when the time is over. `see_chunk` is shown the bytes of each read.
    pub(crate) fn next_line(
        &mut self,
        mut see_chunk: impl FnMut(&[u8]),
    ) -> anyhow::Result<Option<String>> {
        loop {
            if self.has_alert() {
                bail!("{} speaks TLS", self.address);
            }
            if let Some(end) = self.unread.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            if self.unread.len() > LINE_BYTES_MAX {
                bail!("{} speaks no stratum: a line without end", self.address);
            }
            let left = self.limit.saturating_sub(self.begun.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream
                .socket()
                .set_read_timeout(Some(left))
                .context("failed to set a time limit")?;
            let mut chunk = [0; 16 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => bail!("{} closed the connection", self.address),
                Ok(length) => {
                    see_chunk(&chunk[..length]);
                    self.unread.extend_from_slice(&chunk[..length]);
                }
                Err(error) if is_timeout(&error) => return Ok(None),
                Err(error) => {
                    let text = format!("failed to receive from {}", self.address);
                    return Err(anyhow::Error::new(error).context(text));
                }
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut)
}
