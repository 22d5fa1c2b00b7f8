//! Trial as a miner: connects, logs in, waits for a job and, if asked for, mines one share.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::anyhow;
use hstratum_core::wire::client::{Attempt, Client, ClientFailure, RequestRefusal, Update, Work};

use super::miner_dialect::{Dialect, DialectCheck};
use crate::miner_wire::MinerWire;

/// Time from the connection to the reply to a share.
const DEADLINE: Duration = Duration::from_secs(5);

/// Hashes after which the search for a share ends: on regtest every other hash is one.
const HASHES_MAX: u32 = 1 << 20;

/// Shares mined until one is not stale.
const SHARES_MAX: u32 = 10;

/// Code of a reject for a job that is no longer valid.
const STALE: i64 = 21;

/// PROXY header for a server that expects one here; it names no miner.
const PROXY_HEADER: &[u8] = b"PROXY UNKNOWN\r\n";

/// Parameters of a trial.
pub(super) struct Trial<'a> {
    pub dialect: Dialect,
    pub account: &'a str,
    pub password: &'a str,
    /// Mine a share.
    pub mines: bool,
    /// Speak TLS.
    pub tls: bool,
    /// The server treats this machine as a proxy.
    pub as_proxy: bool,
}

/// Result of a successful trial.
pub(super) struct Lived {
    /// The difficulty of its first job.
    pub difficulty: f64,
    /// Time from the connection to that job.
    pub job_after: Duration,
    /// `Some` if a share was mined; true if it was a block.
    pub share: Option<bool>,
    /// Messages that the miner would not tolerate.
    pub complaints: Vec<String>,
}

/// Reason why the trial failed.
pub(super) enum TrialEnd {
    /// The account was refused.
    Unauthorized(RequestRefusal),
    /// It was logged in but got no job.
    NoJob,
    /// It had work, but the tip moved before each of its shares.
    TipMoved,
    /// No reply came.
    Silent,
    /// The server speaks TLS here.
    Tls,
    /// The server does not speak TLS here.
    NoTls(io::Error),
    /// A good share was rejected.
    Rejected(RequestRefusal),
    /// Anything else.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for TrialEnd {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Runs the trial on an open connection.
pub(super) fn run(trial: &Trial<'_>, stream: TcpStream) -> Result<Lived, TrialEnd> {
    let wire = MinerWire::open(stream, trial.tls, DEADLINE);
    let wire = wire.map_err(|error| match trial.tls {
        true => TrialEnd::NoTls(error),
        false => TrialEnd::Failed(error.into()),
    })?;
    let user = trial.dialect.user(trial.account);
    let mut miner = TrialMiner {
        trial,
        wire,
        client: Client::new(&user, trial.password),
        judge: DialectCheck::default(),
    };
    let work = miner.log_in(&user)?;
    let job_after = miner.wire.elapsed();
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

struct TrialMiner<'a> {
    trial: &'a Trial<'a>,
    wire: MinerWire,
    client: Client,
    judge: DialectCheck,
}

impl TrialMiner<'_> {
    /// Logs in and waits for work.
    fn log_in(&mut self, user: &str) -> Result<Work, TrialEnd> {
        let [now, then] = self.trial.dialect.hello(self.client.connect(), user);
        if self.trial.as_proxy {
            self.wire.send(PROXY_HEADER)?;
        }
        self.wire.send(now.as_bytes())?;
        let mut then = Some(then);
        loop {
            let line = match self.next_line() {
                Ok(Some(line)) => line,
                // Without a job hstratum lets miners wait, and then resets their connections.
                _ if self.is_logged_in(&then) => return Err(TrialEnd::NoJob),
                Ok(None) => return Err(TrialEnd::Silent),
                Err(error) => return Err(self.explain(error)),
            };
            self.handle(&line)?;
            if let Some(then) = then.take() {
                self.wire.send(then.as_bytes())?;
            }
            if let Some(work) = self.client.work() {
                return Ok(Work::clone(work));
            }
        }
    }

    fn is_logged_in(&self, then: &Option<String>) -> bool {
        then.is_none() && self.client.pending() == 0
    }

    /// Mines a share; returns true if it is a block.
    fn mine(&mut self, work: &Work) -> Result<bool, TrialEnd> {
        let mut work = work.clone();
        for _ in 0..SHARES_MAX {
            let attempt = find_share(&work)
                .ok_or_else(|| anyhow!("no share in {HASHES_MAX} hashes: this is not regtest"))?;
            if let Some(line) = self.client.submit(&work, &attempt) {
                self.wire
                    .send(self.trial.dialect.submit(&line).as_bytes())?;
                if let Some(block) = self.judged()? {
                    return Ok(block);
                }
            }
            // The tip has moved: the next job is there, or on its way.
            work = self.other_work(&work)?;
        }
        Err(TrialEnd::TipMoved)
    }

    /// Reads the reply to a share; `None` if it was stale.
    fn judged(&mut self) -> Result<Option<bool>, TrialEnd> {
        loop {
            let line = self.next_line()?;
            let line = line.ok_or_else(|| anyhow!("no reply to a share"))?;
            match self.handle(&line)? {
                Update::Nothing => {}
                Update::Accepted { block } => return Ok(Some(block)),
                Update::Rejected(refusal) if refusal.code == STALE => return Ok(None),
                Update::Rejected(refusal) => {
                    return Err(TrialEnd::Rejected(refusal));
                }
            }
        }
    }

    fn other_work(&mut self, old: &Work) -> Result<Work, TrialEnd> {
        loop {
            if let Some(work) = self.client.work()
                && work.job != old.job
            {
                return Ok(Work::clone(work));
            }
            let Some(line) = self.next_line()? else {
                return Err(TrialEnd::TipMoved);
            };
            self.handle(&line)?;
        }
    }

    /// Reason why nothing can be read any more.
    fn explain(&self, error: anyhow::Error) -> TrialEnd {
        match self.wire.has_alert() {
            true => TrialEnd::Tls,
            false => error.into(),
        }
    }

    fn handle(&mut self, line: &str) -> Result<Update, TrialEnd> {
        self.judge.see_line(line);
        let line = self.trial.dialect.received(line);
        self.client
            .handle_line(&line)
            .map_err(|failure| match failure {
                ClientFailure::AuthorizeRefused(refusal) => TrialEnd::Unauthorized(refusal),
                failure => anyhow!("{}: {failure}", self.wire.address()).into(),
            })
    }

    fn next_line(&mut self) -> anyhow::Result<Option<String>> {
        let judge = &mut self.judge;
        self.wire.next_line(|chunk| judge.see_chunk(chunk))
    }
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
