//! A short life as a miner: connect, log in, wait for a job and, where asked for, mine one share.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use hstratum_core::wire::client::{Attempt, Client, Failure, Refusal, Update, Work};

use super::dialect::{Dialect, Judge};
use crate::client_tls::Wire;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// From the connection to the reply to a share.
const DEADLINE: Duration = Duration::from_secs(5);

/// Hashes after which no share will be found: on regtest every other one is.
const HASHES_MAX: u32 = 1 << 20;

/// Shares that are mined until one is not stale.
const SHARES_MAX: u32 = 10;

/// The code of a reject for a job that is no longer worth anything.
const STALE: i64 = 21;

/// Bytes of a line. A longer one is no stratum.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Tells a server that expects a proxy's header here that this is none of its miners.
const PROXY_HEADER: &[u8] = b"PROXY UNKNOWN\r\n";

/// What to try.
pub(super) struct Trial<'a> {
    pub dialect: Dialect,
    pub account: &'a str,
    pub password: &'a str,
    /// Whether a share is mined.
    pub mines: bool,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Whether the server takes this machine for a proxy.
    pub as_proxy: bool,
}

/// What a miner had.
pub(super) struct Lived {
    /// The difficulty of its first job.
    pub difficulty: f64,
    /// From the connection to that job.
    pub job_after: Duration,
    /// Its share, where one was mined, and whether that was a block.
    pub share: Option<bool>,
    /// What it would not have borne.
    pub complaints: Vec<String>,
}

/// Why it had no work.
pub(super) enum Ended {
    /// The account was refused.
    Unauthorized(Refusal),
    /// It was logged in and got no job.
    NoJob,
    /// It had work, and the tip moved before each of its shares.
    TipMoved,
    /// Nobody replied.
    Silent,
    /// The server speaks TLS here.
    Tls,
    /// The server does not speak TLS here.
    NoTls(io::Error),
    /// A good share was rejected.
    Rejected(Refusal),
    /// Anything else.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Ended {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Opens a connection: the first of the name's addresses that takes one.
pub(super) fn connect(server: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address for this name");
    for address in server.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Lives it, over a connection that is open.
pub(super) fn run(trial: &Trial<'_>, stream: TcpStream) -> Result<Lived, Ended> {
    let address = stream.peer_addr().context("failed to read an address")?;
    let stream = match trial.tls {
        true => {
            // A server that waits for us to say something else would wait for ever.
            stream
                .set_read_timeout(Some(DEADLINE))
                .context("failed to set a time limit")?;
            Wire::tls(stream).map_err(Ended::NoTls)?
        }
        false => Wire::plain(stream),
    };
    let user = trial.dialect.user(trial.account);
    let mut miner = Miner {
        trial,
        address,
        stream,
        begun: Instant::now(),
        client: Client::new(&user, trial.password),
        judge: Judge::default(),
        unread: Vec::new(),
    };
    let work = miner.log_in(&user)?;
    let job_after = miner.begun.elapsed();
    let share = match trial.mines {
        true => Some(miner.mine(&work)?),
        false => None,
    };
    Ok(Lived {
        difficulty: work.difficulty.get(),
        job_after,
        share,
        complaints: miner.judge.complaints(),
    })
}

struct Miner<'a> {
    trial: &'a Trial<'a>,
    address: SocketAddr,
    stream: Wire,
    begun: Instant,
    client: Client,
    judge: Judge,
    /// The beginning of a line.
    unread: Vec<u8>,
}

impl Miner<'_> {
    /// Until there is work.
    fn log_in(&mut self, user: &str) -> Result<Work, Ended> {
        let [now, then] = self.trial.dialect.hello(self.client.connect(), user);
        if self.trial.as_proxy {
            self.send(PROXY_HEADER)?;
        }
        self.send(now.as_bytes())?;
        let mut then = Some(then);
        loop {
            let line = match self.next_line() {
                Ok(Some(line)) => line,
                // Without a job hstratum lets miners wait, and then resets their connections.
                _ if self.is_logged_in(&then) => return Err(Ended::NoJob),
                Ok(None) => return Err(Ended::Silent),
                Err(error) => return Err(self.explain(error)),
            };
            self.handle(&line)?;
            if let Some(then) = then.take() {
                self.send(then.as_bytes())?;
            }
            if let Some(work) = self.client.work() {
                return Ok(Work::clone(work));
            }
        }
    }

    fn is_logged_in(&self, then: &Option<String>) -> bool {
        then.is_none() && self.client.pending() == 0
    }

    /// Mines a share; gives whether it is a block.
    fn mine(&mut self, work: &Work) -> Result<bool, Ended> {
        let mut work = work.clone();
        for _ in 0..SHARES_MAX {
            let attempt = find_share(&work)
                .ok_or_else(|| anyhow!("no share in {HASHES_MAX} hashes: this is not regtest"))?;
            if let Some(line) = self.client.submit(&work, &attempt) {
                self.send(self.trial.dialect.submit(&line).as_bytes())?;
                if let Some(block) = self.judged()? {
                    return Ok(block);
                }
            }
            // The tip has moved: the next job is there, or on its way.
            work = self.other_work(&work)?;
        }
        Err(Ended::TipMoved)
    }

    /// Whether the share is a block; none when it was stale.
    fn judged(&mut self) -> Result<Option<bool>, Ended> {
        loop {
            let line = self.next_line()?;
            let line = line.ok_or_else(|| anyhow!("no reply to a share"))?;
            match self.handle(&line)? {
                Update::Nothing => {}
                Update::Accepted { block } => return Ok(Some(block)),
                Update::Rejected(refusal) if refusal.code == STALE => return Ok(None),
                Update::Rejected(refusal) => {
                    return Err(Ended::Rejected(refusal));
                }
            }
        }
    }

    fn other_work(&mut self, old: &Work) -> Result<Work, Ended> {
        loop {
            if let Some(work) = self.client.work()
                && work.job != old.job
            {
                return Ok(Work::clone(work));
            }
            let Some(line) = self.next_line()? else {
                return Err(Ended::TipMoved);
            };
            self.handle(&line)?;
        }
    }

    /// Why nothing can be read any more.
    fn explain(&self, error: anyhow::Error) -> Ended {
        match self.has_alert() {
            true => Ended::Tls,
            false => error.into(),
        }
    }

    /// Whether an alert of TLS has come (RFC 8446, 5.1).
    fn has_alert(&self) -> bool {
        self.unread.starts_with(&[0x15, 0x03])
    }

    fn handle(&mut self, line: &str) -> Result<Update, Ended> {
        self.judge.see_line(line);
        let line = self.trial.dialect.received(line);
        self.client
            .handle_line(&line)
            .map_err(|failure| match failure {
                Failure::AuthorizeRefused(refusal) => Ended::Unauthorized(refusal),
                failure => anyhow!("{}: {failure}", self.address).into(),
            })
    }

    fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream
            .write_all(bytes)
            .with_context(|| format!("failed to send to {}", self.address))
    }

    /// The next line; none when the time is over.
    fn next_line(&mut self) -> anyhow::Result<Option<String>> {
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
            let left = DEADLINE.saturating_sub(self.begun.elapsed());
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
                    self.judge.see_chunk(&chunk[..length]);
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

fn find_share(work: &Work) -> Option<Attempt> {
    (0..HASHES_MAX)
        .map(|nonce| Attempt {
            extra_nonce2: 0,
            time: work.time,
            nonce,
        })
        .find(|attempt| work.is_share(&work.hash(attempt)))
}
