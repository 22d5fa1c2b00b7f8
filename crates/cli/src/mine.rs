//! `hstratum mine`: a CPU miner. It reconnects for ever; only a refused user or password, or
//! having found enough blocks, ends it.
//!
//! One thread owns the protocol's state and the socket's writing half. A reader thread and the
//! hashing threads send it events.

mod cpu;
mod link;
mod screen;

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use hstratum::stratum_url::StratumUrl;
use hstratum_core::plural::counted;
use hstratum_core::wire::client::{Attempt, Client, ClientFailure, Update, Work};

use cpu::Cpu;
use link::MinerLink;
use screen::Screen;

use crate::miner_login::MinerLogin;
use crate::terminal::number;

const BACK_OFF_MIN: Duration = Duration::from_millis(500);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// The longest wait for a reply of a server.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// Requests without a reply; more shares wait here, so that neither side's buffers fill up.
const PENDING_MAX: usize = 64;

/// Events on their way to the owning thread.
const EVENTS_MAX: usize = 64;

/// Shares that wait to be submitted. Hashing stops while there are any, so that only those on
/// their way can be added.
const WAITING_MAX: usize = 2048;

/// The pause after a share where shares are blocks: faster than a node adds and announces them,
/// they compete with each other and fill its disk.
const BLOCK_PAUSE: Duration = Duration::from_millis(400);

/// Arguments of `hstratum mine`.
#[derive(clap::Args)]
#[command(after_help = "Example:
  hstratum mine --url stratum+tcp://127.0.0.1:3008 --user alice --threads 1 --blocks 10

It reconnects for ever. Exit code: 0 after --blocks; 1 where the user or the password is refused.")]
pub(crate) struct Args {
    /// The pool: stratum+tcp://HOST:PORT, or stratum+tls:// (its certificate is not checked)
    #[arg(long)]
    url: StratumUrl,

    #[command(flatten)]
    login: MinerLogin,

    /// Threads that hash [default: one for each core]
    #[arg(long, value_parser = |text: &str| number(text, 1..=1024_u32))]
    threads: Option<u32>,

    /// Stop after this many accepted blocks
    #[arg(long, value_name = "N", value_parser = |text: &str| number(text, 1..=u64::MAX))]
    blocks: Option<u64>,

    /// Wait this long after each share, in milliseconds [default: 0, but 400 where shares are blocks,
    /// as on regtest, since a node can take only so many]
    #[arg(long, value_name = "MS", value_parser = |text: &str| number(text, 0..=3_600_000_u64))]
    pause: Option<u64>,
}

/// Messages to the owning thread. The number is the connection's.
enum LinkEvent {
    Line(u64, String),
    Closed(u64, String),
    Found(Arc<Work>, Attempt),
}

/// Why mining over one connection ended.
enum MiningEnd {
    Done,
    Lost(String),
}

/// Mines until there are enough blocks or the user is refused.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let threads = args.threads.unwrap_or_else(|| {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        u32::try_from(cores).unwrap_or(1)
    });
    let (events, inbox) = sync_channel(EVENTS_MAX);
    let mut miner = CpuMiner {
        args,
        client: Client::new(&args.login.user, &args.login.password),
        cpu: Cpu::start(threads, &events)?,
        screen: Screen::new(),
        inbox,
        events,
        connection: 0,
        current: None,
        waiting: VecDeque::new(),
        next_submit: Instant::now(),
        pausing: false,
        last_reply: Instant::now(),
    };
    miner.run()
}

struct CpuMiner<'a> {
    args: &'a Args,
    client: Client,
    cpu: Cpu,
    screen: Screen,
    inbox: Receiver<LinkEvent>,
    events: SyncSender<LinkEvent>,
    connection: u64,
    /// The client's work and when it came.
    current: Option<(Arc<Work>, Instant)>,
    waiting: VecDeque<(Arc<Work>, Attempt)>,
    /// Not before this, because of a pause.
    next_submit: Instant,
    /// Hashing was last held back because of that.
    pausing: bool,
    /// The last time that the server got nearer to having replied to everything.
    last_reply: Instant,
}

impl CpuMiner<'_> {
    fn run(&mut self) -> anyhow::Result<()> {
        let mut back_off = BACK_OFF_MIN;
        let mut last_cause = String::new();
        loop {
            let begun = Instant::now();
            let ended = self.mine_connection();
            let lasted = self.current.is_some() && begun.elapsed() >= BACK_OFF_MAX;
            self.forget_work();
            let cause = match ended? {
                MiningEnd::Done => {
                    self.screen.finish();
                    return Ok(());
                }
                MiningEnd::Lost(cause) => cause,
            };
            // A server that hands out work and closes at once is not one to hurry back to.
            if lasted {
                back_off = BACK_OFF_MIN;
                last_cause.clear();
            }
            if cause != last_cause {
                let until = match self.args.blocks {
                    Some(blocks) => format!(" until --blocks {blocks} is reached, or Ctrl-C"),
                    None => String::new(),
                };
                self.screen.line(&format!("{cause}, trying again{until}"));
                last_cause = cause;
            }
            thread::sleep(back_off);
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
    }

    /// An error is one that no other connection would mend.
    fn mine_connection(&mut self) -> anyhow::Result<MiningEnd> {
        self.connection += 1;
        let link = MinerLink::open(&self.args.url, self.connection, &self.events);
        let mut link = match link {
            Ok(link) => link,
            Err(error) => return Ok(MiningEnd::Lost(format!("{error:#}"))),
        };
        self.last_reply = Instant::now();
        let hello = self.client.connect().concat();
        let mut sent = link.send(&hello);
        loop {
            if let Err(error) = sent {
                return Ok(MiningEnd::Lost(format!("{error:#}")));
            }
            let event = match self.inbox.recv_timeout(self.wait()) {
                Ok(event) => Some(event),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => unreachable!("we hold a sender ourselves"),
            };
            if let Some(ended) = self.handle_event(event)? {
                return Ok(ended);
            }
            sent = self.submit_waiting(&mut link);
            self.hand_out_work();
            self.show_status();
        }
    }

    /// Until the next thing to do without an event. A pause that has just run out is no wait at
    /// all: nothing else would end it.
    fn wait(&self) -> Duration {
        let tick = self.screen.until_tick();
        if self.pausing {
            tick.min(self.next_submit.saturating_duration_since(Instant::now()))
        } else {
            tick
        }
    }

    fn handle_event(&mut self, event: Option<LinkEvent>) -> anyhow::Result<Option<MiningEnd>> {
        match event {
            Some(LinkEvent::Line(connection, line)) if connection == self.connection => {
                return self.handle_line(&line);
            }
            Some(LinkEvent::Closed(connection, cause)) if connection == self.connection => {
                return Ok(Some(MiningEnd::Lost(cause)));
            }
            Some(LinkEvent::Found(work, attempt)) if self.waiting.len() < WAITING_MAX => {
                self.waiting.push_back((work, attempt));
            }
            // What an earlier connection left, or nothing.
            _ => {}
        }
        if self.client.pending() > 0 && self.last_reply.elapsed() > REPLY_TIMEOUT {
            let seconds = REPLY_TIMEOUT.as_secs();
            return Ok(Some(MiningEnd::Lost(format!(
                "{} did not reply for {seconds} s",
                self.args.url
            ))));
        }
        Ok(None)
    }

    fn handle_line(&mut self, line: &str) -> anyhow::Result<Option<MiningEnd>> {
        let pending = self.client.pending();
        let update = self.client.handle_line(line);
        if self.client.pending() < pending {
            self.last_reply = Instant::now();
        }
        match update {
            Ok(Update::Nothing) => {}
            Ok(Update::Accepted { block: false }) => self.screen.event("share accepted"),
            Ok(Update::Accepted { block: true }) => self.screen.event("share accepted: a block"),
            Ok(Update::Rejected(refusal)) => {
                self.screen.event(&format!("share rejected: {refusal}"));
            }
            Err(ClientFailure::AuthorizeRefused(refusal)) => {
                self.screen.finish();
                let (user, server) = (&self.args.login.user, &self.args.url);
                // What servers of this kind say of both.
                let why = match refusal.code {
                    24 => " (wrong password, or no such account)",
                    _ => "",
                };
                return Err(anyhow!(
                    "failed to authorize {user:?} at {server}: {refusal}{why}"
                ));
            }
            Err(failure) => {
                let server = &self.args.url;
                return Ok(Some(MiningEnd::Lost(format!("{server}: {failure}"))));
            }
        }
        let enough = self.args.blocks;
        if enough.is_some_and(|blocks| self.client.counts().blocks >= blocks) {
            return Ok(Some(MiningEnd::Done));
        }
        Ok(None)
    }

    fn submit_waiting(&mut self, link: &mut MinerLink) -> anyhow::Result<()> {
        while self.client.pending() < PENDING_MAX
            && Instant::now() >= self.next_submit
            && !self.may_be_enough()
        {
            let Some((work, attempt)) = self.waiting.pop_front() else {
                break;
            };
            if self.client.pending() == 0 {
                self.last_reply = Instant::now();
            }
            if let Some(line) = self.client.submit(&work, &attempt) {
                link.send(&line)?;
                self.next_submit = Instant::now() + self.pause(&work);
            }
        }
        Ok(())
    }

    /// The pause after a share of this work.
    fn pause(&self, work: &Work) -> Duration {
        match self.args.pause {
            Some(ms) => Duration::from_millis(ms),
            None if work.shares_are_blocks() => BLOCK_PAUSE,
            None => Duration::ZERO,
        }
    }

    /// Tells if shares on their way can be the last of `--blocks`: then no share is sent until they are
    /// answered, so that there are not more.
    fn may_be_enough(&self) -> bool {
        let pending = u64::try_from(self.client.pending()).unwrap_or(u64::MAX);
        let blocks = self.client.counts().blocks;
        match self.args.blocks {
            Some(wanted) => pending > 0 && blocks.saturating_add(pending) >= wanted,
            None => false,
        }
    }

    /// Lets the threads hash the client's work, or nothing while shares wait.
    fn hand_out_work(&mut self) {
        let work = self.client.work();
        let known = match (work, &self.current) {
            (Some(work), Some((current, _))) => Arc::ptr_eq(work, current),
            (None, None) => true,
            _ => false,
        };
        if !known {
            if self.current.is_none() {
                let server = &self.args.url;
                self.screen.line(&format!("mining at {server}"));
            }
            self.current = work.map(|work| (work.clone(), Instant::now()));
        }
        self.pausing = Instant::now() < self.next_submit;
        if self.pausing || !self.waiting.is_empty() {
            self.cpu.hash(None);
        } else {
            self.cpu.hash(self.current.clone());
        }
    }

    fn forget_work(&mut self) {
        self.current = None;
        self.waiting.clear();
        self.cpu.hash(None);
    }

    fn show_status(&mut self) {
        let counts = self.client.counts();
        let rejected: u64 = counts.rejected.values().sum();
        let waiting = if self.current.is_some() {
            ""
        } else {
            ", waiting for work"
        };
        let text = format!(
            "{} accepted, {}, {rejected} rejected{waiting}",
            counts.accepted,
            counted(counts.blocks, "block")
        );
        self.screen.tick(self.cpu.hashes(), &text);
    }
}
