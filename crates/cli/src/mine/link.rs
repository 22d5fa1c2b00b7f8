//! One connection to a stratum server: blocking, with a thread that reads.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use hstratum::client_tls::Wire;
use hstratum::stratum_url::StratumUrl;

use super::LinkEvent;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Servers send something at least once a minute.
const SILENCE_MAX: Duration = Duration::from_secs(150);

const TLS_ADVICE: &str = "give --url stratum+tls://…";

/// The first bytes of a TLS alert (RFC 8446, 5.1).
const TLS_ALERT: &str = "\u{15}\u{3}";

const LINE_BYTES_MAX: u64 = 64 << 10;

/// An open connection; dropping it closes it and ends its reader.
pub(super) struct MinerLink {
    wire: Wire,
    server: StratumUrl,
}

impl MinerLink {
    /// Connects, and has what is received sent as events under this number.
    pub(super) fn open(
        server: &StratumUrl,
        number: u64,
        events: &SyncSender<LinkEvent>,
    ) -> anyhow::Result<Self> {
        let stream = connect(server).with_context(|| format!("failed to connect to {server}"))?;
        let wire = match server.tls() {
            true => Wire::tls(stream)
                .with_context(|| format!("failed to speak TLS with {server}; does it?"))?,
            false => Wire::plain(stream),
        };
        let reader = wire.clone();
        let link = Self {
            wire,
            server: server.clone(),
        };
        let (server, events) = (server.clone(), events.clone());
        thread::Builder::new()
            .name("read".into())
            .spawn(move || run_reading(reader, &server, number, &events))
            .context("failed to start a thread")?;
        Ok(link)
    }

    /// Sends lines in one write.
    pub(super) fn send(&mut self, lines: &str) -> anyhow::Result<()> {
        self.wire
            .write_all(lines.as_bytes())
            .with_context(|| format!("failed to send to {}", self.server))
    }
}

impl Drop for MinerLink {
    fn drop(&mut self) {
        // Fails if the other side was first.
        let _ = self.wire.socket().shutdown(Shutdown::Both);
    }
}

fn connect(server: &StratumUrl) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address for this name");
    for address in server.resolve()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(SILENCE_MAX))?;
                stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Ends with the connection, or with the receiver of events.
fn run_reading(wire: Wire, server: &StratumUrl, number: u64, events: &SyncSender<LinkEvent>) {
    let mut reader = BufReader::new(wire);
    let mut has_read = false;
    loop {
        let event = match read_line(&mut reader) {
            Ok(Some(line)) if line.starts_with(TLS_ALERT) => {
                LinkEvent::Closed(number, format!("{server} speaks TLS: {TLS_ADVICE}"))
            }
            Ok(Some(line)) => {
                has_read = true;
                LinkEvent::Line(number, line)
            }
            Ok(None) if has_read || server.tls() => {
                LinkEvent::Closed(number, format!("{server} closed the connection"))
            }
            Ok(None) => LinkEvent::Closed(
                number,
                format!(
                    "{server} closed the connection without a word; does it speak TLS? Then {TLS_ADVICE}"
                ),
            ),
            Err(error) if is_timeout(&error) => {
                let seconds = SILENCE_MAX.as_secs();
                LinkEvent::Closed(number, format!("{server} sent nothing for {seconds} s"))
            }
            Err(error) => {
                LinkEvent::Closed(number, format!("failed to receive from {server}: {error}"))
            }
        };
        let last = matches!(event, LinkEvent::Closed(..));
        if events.send(event).is_err() || last {
            return;
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// A line without its newline; `None` at the end, also in the middle of a line.
fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    reader
        .by_ref()
        .take(LINE_BYTES_MAX)
        .read_until(b'\n', &mut line)?;
    if line.pop_if(|last| *last == b'\n').is_some() {
        return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
    }
    if line.len() as u64 == LINE_BYTES_MAX {
        return Err(io::Error::other("a line is too long"));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_a_torn_one_is_the_end() {
        let mut input = &b"one\ntwo\r\n\xff\nto"[..];
        let mut next = || read_line(&mut input).expect("read");
        assert_eq!(next().as_deref(), Some("one"));
        assert_eq!(next().as_deref(), Some("two\r"));
        assert_eq!(next().as_deref(), Some("\u{fffd}"));
        assert_eq!(next(), None);
        let long = vec![b'x'; 1 << 20];
        assert!(read_line(&mut &long[..]).is_err());
    }
}
