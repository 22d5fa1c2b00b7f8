//! `hstratum-swarm submit`: miners that submit real shares, and an exact account of what became of
//! each. What is acknowledged here must be in the server's ledger; what is refused must not be;
//! what is unanswered may be.
//!
//! Either each miner keeps some shares outstanding, or all together submit at a given rate; then a
//! reply's latency counts from when its share was due, so that a server that stalls is not spared.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use hstratum::stratum_url::StratumUrl;
use serde_json::json;

use crate::crowd::{Lost, SwarmCrowd};
use crate::journal::Journal;
use crate::limits::{
    AHEAD_MAX, CONNECTIONS_MAX, DRAINING, GATHERING, HASHES_PER_TURN, OUTSTANDING_MAX,
    PACED_PER_TURN, PROGRESS, SPINNING,
};
use crate::links::Links;
use crate::miner::{BlockHashes, Hashing, SwarmMiner, Tried};
use crate::pace::SharePace;
use crate::process::Usage;
use crate::report::SwarmReport;
use crate::share_counts::ShareTally;
use crate::stop_on_signals;

/// Arguments of `hstratum-swarm submit`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The server: stratum+tcp://HOST:PORT
    #[arg(long, value_parser = StratumUrl::without_tls)]
    url: StratumUrl,

    /// Miners, each with a connection of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    connections: u32,

    /// Shares that each miner keeps without a reply
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=i64::from(OUTSTANDING_MAX)))]
    outstanding: u32,

    /// Shares a second of all miners together, however fast the replies are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,

    /// Stop after so many seconds [default: at SIGINT or SIGTERM]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,

    /// Stop after so many shares
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    shares: Option<u64>,

    /// Accounts that the miners mine for, in turn
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    accounts: u32,

    /// What accounts' names begin with: u is u1.w1, u2.w2, …
    #[arg(long, value_name = "TEXT", default_value = "u")]
    user_prefix: String,

    /// The password of all; `x,fd=0.00000000023` asks for a difficulty that every hash meets
    #[arg(long, value_name = "TEXT", default_value = "x")]
    password: String,

    /// Addresses that miners come from, 127.1.0.1 and up, where the server is on IPv4 loopback;
    /// 0 leaves it to the system [default: one for each miner]
    #[arg(long, value_name = "N")]
    sources: Option<u32>,

    /// Submit blocks as well, at most one in so many seconds; without this they are left alone
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "0", value_parser = clap::value_parser!(u32))]
    blocks: Option<u32>,

    /// Submit without hashing, where every hash is a share and a block is out of reach
    #[arg(long, conflicts_with = "blocks")]
    no_hash: bool,

    /// Shares that each miner has found before submitting begins, so that hashing does not slow it
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with_all = ["blocks", "no_hash"], value_parser = clap::value_parser!(u32).range(..=i64::from(AHEAD_MAX)))]
    ahead: u32,

    /// Open lost connections again
    #[arg(long)]
    reconnect: bool,

    /// The server's process: shows the processor time and memory that it uses
    #[arg(long)]
    pid: Option<u32>,

    /// Append to this file, while it runs, what became of each account's shares
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,

    /// Print JSON lines instead of a table
    #[arg(long)]
    json: bool,
}

/// Runs to the end that the arguments or a signal set, and prints the report.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut swarm = Swarm::new(args, stop_on_signals()?)?;
    let gathering = swarm.gather()?;
    swarm.prepare();
    let ready = swarm.crowd.working();
    let before = swarm.look_at_server()?;
    let earlier = swarm.tally.acknowledged();
    let own_before = Usage::own()?;
    let begun = Instant::now();
    swarm.submit()?;
    let submitting = begun.elapsed();
    let load_cpu = Usage::own()?.since(&own_before).cpu;
    let acknowledged = swarm.tally.acknowledged() - earlier;
    // A server that was killed is not there to be looked at.
    let usage = before.and_then(|before| Some((before, swarm.look_at_server().ok()??)));
    swarm.drain()?;
    let report = SwarmReport {
        connections: swarm.crowd.miners.len(),
        ready,
        gathering,
        submitting,
        acknowledged,
        skipped: swarm.pace.as_ref().map_or(0, SharePace::skipped),
        out_of_order: swarm.tally.out_of_order,
        latencies: &swarm.tally.latencies,
        usage: usage.map(|(before, after)| after.since(&before)),
        load_cpu,
        refusals: &swarm.tally.refusals,
        losses: swarm.crowd.losses,
        ends: &swarm.crowd.ends,
        accounts: &swarm.tally.accounts,
    };
    let text = if args.json {
        report.to_json()
    } else {
        report.to_table()
    };
    print!("{text}");
    let out_of_order = report.out_of_order;
    ensure!(
        out_of_order == 0,
        "{out_of_order} replies were out of order"
    );
    Ok(())
}

/// The phases of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SubmitPhase {
    Submitting,
    Resting,
}

struct Swarm<'a> {
    args: &'a Args,
    stop: Arc<AtomicBool>,
    crowd: SwarmCrowd,
    tally: ShareTally,
    journal: Journal,
    hashing: Hashing,
    /// Of a given rate.
    pace: Option<SharePace>,
    /// When the next block may be submitted, if ever.
    next_block: Option<Instant>,
    /// Miners that have not found their next share yet.
    hashing_on: Vec<usize>,
    /// Shares are due and no miner may have another outstanding.
    is_full: bool,
    next_progress: Instant,
}

impl<'a> Swarm<'a> {
    fn new(args: &'a Args, stop: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let seats = args.connections as usize;
        let links = Links::to(&args.url, args.connections, args.sources)?;
        let accounts = args.accounts.min(args.connections) as usize;
        let names: Vec<String> = (1..=accounts)
            .map(|number| format!("{}{number}", args.user_prefix))
            .collect();
        let miners = (0..seats).map(|seat| {
            let account = seat % accounts;
            let user = format!("{}.w{}", names[account], seat + 1);
            SwarmMiner::new(&user, &args.password, account)
        });
        let lost = if args.reconnect {
            Lost::Reopened
        } else {
            Lost::Forgotten
        };
        let now = Instant::now();
        Ok(Self {
            stop,
            crowd: SwarmCrowd::new(links, miners.collect(), lost),
            tally: ShareTally::new(names),
            journal: Journal::open(args.journal.as_deref())?,
            hashing: if args.no_hash {
                Hashing::Nothing
            } else {
                Hashing::AtMost(HASHES_PER_TURN)
            },
            pace: None,
            next_block: args.blocks.map(|_| now),
            hashing_on: Vec::new(),
            is_full: false,
            next_progress: now,
            args,
        })
    }

    /// Until everybody who will has work.
    fn gather(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        while !self.crowd.is_gathered() && begun.elapsed() < GATHERING && !self.is_stopped() {
            self.turn(SubmitPhase::Resting)?;
        }
        if self.crowd.working() == 0 && !self.is_stopped() {
            let server = &self.args.url;
            let cause = self.crowd.ends.iter().next();
            let cause = cause.map_or("no work came", |(cause, _)| cause);
            return Err(anyhow!("failed to get work from {server}: {cause}"));
        }
        self.check_no_hash()?;
        Ok(begun.elapsed())
    }

    /// Checks that a submit without hashing is a share, and not a block that nobody knows of.
    fn check_no_hash(&self) -> anyhow::Result<()> {
        if self.hashing != Hashing::Nothing {
            return Ok(());
        }
        let mut works = self.crowd.miners.iter().filter_map(SwarmMiner::work);
        ensure!(
            works.all(|work| work.takes_every_hash() && work.block_difficulty().get() >= 1.0),
            "failed to do without hashing: not every hash is a share, or blocks are too easy"
        );
        Ok(())
    }

    /// Hashes for what is submitted later.
    fn prepare(&mut self) {
        let shares = self.args.ahead;
        let hashes = u64::from(shares) * u64::from(HASHES_PER_TURN);
        for miner in &mut self.crowd.miners {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            miner.prepare(shares as usize, hashes);
        }
    }

    fn submit(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let seconds = self.args.seconds.map(Duration::from_secs);
        self.pace = self.args.rate.map(|rate| SharePace::new(begun, rate));
        self.hashing_on = (0..self.crowd.miners.len()).collect();
        while !self.is_stopped()
            && !self.crowd.is_over()
            && !self.is_enough()
            && seconds.is_none_or(|seconds| begun.elapsed() < seconds)
        {
            self.turn(SubmitPhase::Submitting)?;
        }
        Ok(())
    }

    /// Until all is answered, for a while; what is not then never will be.
    fn drain(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.tally.outstanding() > 0 && begun.elapsed() < DRAINING {
            self.turn(SubmitPhase::Resting)?;
        }
        for miner in &mut self.crowd.miners {
            let account = miner.account;
            for sent in miner.disconnect() {
                self.tally.give_up(account, &sent);
            }
        }
        self.tally.write_all(&mut self.journal)?;
        self.write_progress()
    }

    fn turn(&mut self, phase: SubmitPhase) -> anyhow::Result<()> {
        let mut seats = Vec::new();
        let wait = self.wait(phase);
        if wait.is_zero() {
            // Where the server's syncs are waited for, the system's own threads need this core too.
            thread::yield_now();
        }
        self.crowd.turn(wait, &mut seats, |account, told| {
            self.tally.take(account, told);
        })?;
        self.tally.write_answers(&mut self.journal)?;
        if phase == SubmitPhase::Submitting {
            if self.args.rate.is_some() {
                self.submit_due()?;
            } else {
                seats.append(&mut self.hashing_on);
                for seat in seats {
                    self.top_up(seat)?;
                }
            }
        }
        if Instant::now() >= self.next_progress {
            self.next_progress = Instant::now() + PROGRESS;
            let tally = &mut self.tally;
            tally.write_changed(&self.crowd.miners, &mut self.journal)?;
            self.write_progress()?;
        }
        Ok(())
    }

    /// The time for which nothing has to be done unless something comes.
    fn wait(&self, phase: SubmitPhase) -> Duration {
        let now = Instant::now();
        let wait = self.next_progress.saturating_duration_since(now);
        match &self.pace {
            _ if phase == SubmitPhase::Resting => wait,
            _ if !self.hashing_on.is_empty() => Duration::ZERO,
            Some(pace) if !self.is_full => match pace.until_due(now) {
                soon if soon < SPINNING => Duration::ZERO,
                due => wait.min(due - SPINNING),
            },
            // Only what comes can change something.
            _ => wait,
        }
    }

    /// Has a miner submit until it has as many shares outstanding as it may.
    fn top_up(&mut self, seat: usize) -> anyhow::Result<()> {
        let most = self.args.outstanding as usize;
        while self.crowd.miners[seat].outstanding() < most && !self.is_enough() {
            match self.submit_one(seat, Instant::now())? {
                Tried::Sent(_) => {}
                Tried::NoWork => break,
                Tried::NotYet => {
                    self.hashing_on.push(seat);
                    break;
                }
            }
        }
        self.crowd.flush(seat);
        Ok(())
    }

    /// Submits what is due by the given rate, by each miner in turn.
    fn submit_due(&mut self) -> anyhow::Result<()> {
        self.hashing_on.clear();
        let Some(mut pace) = self.pace.take() else {
            return Ok(());
        };
        if self.crowd.working() == 0 {
            pace.skip(Instant::now());
        }
        let mut passed_over = 0;
        let mut sent = 0;
        while let Some(at) = pace.due(Instant::now())
            && passed_over < self.crowd.miners.len()
            && sent < PACED_PER_TURN
            && !self.is_enough()
        {
            let seat = pace.turn() % self.crowd.miners.len();
            let is_full = self.crowd.miners[seat].outstanding() >= OUTSTANDING_MAX as usize;
            let tried = match is_full {
                true => Tried::NoWork,
                false => self.submit_one(seat, at)?,
            };
            match tried {
                Tried::Sent(_) => {
                    self.crowd.flush(seat);
                    pace.advance();
                    sent += 1;
                    passed_over = 0;
                }
                Tried::NoWork => {
                    pace.pass_over();
                    passed_over += 1;
                }
                // The same miner goes on after what has come is read.
                Tried::NotYet => {
                    self.hashing_on.push(seat);
                    break;
                }
            }
        }
        self.is_full = passed_over == self.crowd.miners.len();
        self.pace = Some(pace);
        Ok(())
    }

    fn submit_one(&mut self, seat: usize, at: Instant) -> anyhow::Result<Tried> {
        let blocks = match self.next_block {
            Some(next) if next <= at => BlockHashes::Take,
            _ => BlockHashes::Skip,
        };
        let hashing = self.hashing;
        let tried = self.crowd.with(seat, |miner, out| {
            (miner.account, miner.submit(hashing, blocks, at, out))
        });
        let Some((account, tried)) = tried else {
            return Ok(Tried::NoWork);
        };
        if let Tried::Sent(block) = tried {
            self.tally.submit(account);
            if let Some(hash) = block {
                let pause = Duration::from_secs(self.args.blocks.unwrap_or(0).into());
                self.next_block = Some(at + pause);
                // Before it leaves, so that no block is on the chain that nobody here knows of.
                let block = json!({"hash": hash.to_string()});
                self.journal.write("block", [block])?;
            }
        }
        Ok(tried)
    }

    fn write_progress(&mut self) -> anyhow::Result<()> {
        if !self.journal.is_kept() {
            return Ok(());
        }
        let mut progress = self.tally.progress();
        progress["open"] = json!(self.crowd.open());
        progress["working"] = json!(self.crowd.working());
        let unanswered = self.crowd.miners.iter().flat_map(SwarmMiner::unanswered);
        let oldest = unanswered.map(|sent| sent.at).min();
        let age = oldest.map_or(Duration::ZERO, |at| at.elapsed());
        progress["oldest_ms"] = json!(age.as_millis() as u64);
        self.journal.write("progress", [progress])
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn is_enough(&self) -> bool {
        let shares = self.args.shares;
        shares.is_some_and(|shares| self.tally.submitted() >= shares)
    }

    fn look_at_server(&self) -> anyhow::Result<Option<Usage>> {
        self.args.pid.map(Usage::of).transpose()
    }
}
