//! Miners that log in and then only listen: how fast they are served, and when a job reaches each.
//!
//! It must cost little, since it runs beside the server that it measures: lines are looked at and
//! not parsed, nothing is hashed, and a connection that is lost stays so.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use hstratum::stratum_url::StratumUrl;
use hstratum_core::chain::address::{Address, Network};

use crate::account_sums::Kinds;
use crate::hashrates::Hashrates;
use crate::limits::{CONNECTIONS_MAX, GATHERING, OPENED_PER_TURN, OUTSTANDING_FIRST};
use crate::links::Links;
use crate::miner::{BlockHashes, Hashing, SwarmMiner, Tried};
use crate::process::Usage;
use crate::report::Latencies;
use crate::stop_on_signals;

/// Arguments of every mode with such miners.
#[derive(clap::Args)]
#[group(id = "audience")]
pub(crate) struct Args {
    /// The server: stratum+tcp://HOST:PORT
    #[arg(long, value_parser = StratumUrl::without_tls)]
    pub(crate) url: StratumUrl,

    /// Miners, each with a connection of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    pub(crate) connections: u32,

    /// Connections that are on their way to their first job at a time: a number, or all
    #[arg(long, value_name = "N", default_value = "128")]
    at_once: AtOnce,

    /// Accounts that the miners mine for, in turn
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    accounts: u32,

    /// Name the accounts by addresses of this network, as a solo listener wants them: main, testnet,
    /// regtest or simnet
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    addresses: Option<Network>,

    /// Addresses that miners come from, 127.1.0.1 and up, where the server is on IPv4 loopback;
    /// 0 leaves it to the system [default: one for each miner]
    #[arg(long, value_name = "N")]
    sources: Option<u32>,

    /// How hashrate is spread over the miners, who each send their part in shares first
    #[arg(long, value_enum)]
    pub(crate) hashrates: Option<Hashrates>,

    /// Seconds to stay idle once all have work
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) hold: u64,

    /// The server's process: shows the processor time and memory that it uses
    #[arg(long)]
    pub(crate) pid: Option<u32>,

    /// Print JSON lines instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

fn network(name: &str) -> anyhow::Result<Network> {
    Network::from_name(name).ok_or_else(|| anyhow!("expected main, testnet, regtest or simnet"))
}

/// The number of connections that are opened together.
#[derive(Clone, Copy, Debug)]
struct AtOnce(usize);

impl FromStr for AtOnce {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "all" => Ok(Self(usize::MAX)),
            Ok(number @ 1..) => Ok(Self(number)),
            _ => Err("expected a number above 0, or all"),
        }
    }
}

/// The kinds of lines that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AudienceLine {
    Job,
    Authorized,
    NotAuthorized,
    Other,
}

/// One miner.
#[derive(Clone, Copy, PartialEq)]
enum AudienceSeat {
    Empty,
    /// Since when, and what has come.
    Opening(Instant, Came),
    /// It has work.
    Listening,
    Gone,
}

#[derive(Clone, Copy, PartialEq, Default)]
struct Came {
    authorized: bool,
    job: bool,
}

/// The shares that a miner still sends before it only listens.
struct SharesFirst {
    miner: SwarmMiner,
    left: u32,
}

impl SharesFirst {
    /// Takes a line from the server.
    fn handle_line(&mut self, line: &[u8]) -> Result<(), String> {
        let answer = self.miner.handle_line(line);
        if let Some(answer) = answer.map_err(|failure| failure.to_string())? {
            answer
                .verdict
                .map_err(|refusal| format!("a share was refused: {refusal:?}"))?;
            self.left -= 1;
        }
        Ok(())
    }

    /// Sends as many as may wait for an answer.
    fn submit(&mut self, out: &mut Vec<u8>) {
        let hashing = Hashing::AtMost(u32::MAX);
        while self.miner.outstanding() < (self.left as usize).min(OUTSTANDING_FIRST) {
            let tried = self
                .miner
                .submit(hashing, BlockHashes::Skip, Instant::now(), out);
            if !matches!(tried, Tried::Sent(_)) {
                return;
            }
        }
    }
}

/// The result of the opening.
pub(crate) struct AudienceOpened {
    /// Until the last had work, or nobody was on the way any more.
    pub(crate) took: Duration,
    /// The server's usage before, and at the end.
    pub(crate) usage: Option<(Usage, Usage)>,
    /// Processor time of this process.
    pub(crate) load_cpu: Duration,
}

/// Miners that listen, and their connections.
pub(crate) struct Audience {
    links: Links,
    seats: Vec<AudienceSeat>,
    /// The part of each in the hashrate.
    pub(crate) shares: Vec<u32>,
    shares_first: Vec<Option<Box<SharesFirst>>>,
    /// Their names.
    accounts: Vec<String>,
    /// The first seat that was not opened yet.
    next: usize,
    at_once: usize,
    opening: usize,
    listening: usize,
    pid: Option<u32>,
    stop: Arc<AtomicBool>,
    ready: Vec<usize>,
    /// From the opening of a connection to its first job.
    pub(crate) latencies: Latencies,
    /// Why connections ended.
    pub(crate) ends: Kinds,
}

impl Audience {
    /// None of them is connected yet.
    pub(crate) fn new(args: &Args) -> anyhow::Result<Self> {
        let seats = args.connections as usize;
        let shares = args.hashrates.unwrap_or(Hashrates::Equal).shares(seats);
        let accounts: Vec<String> = (1..=args.accounts.min(args.connections))
            .map(|number| account(number, args.addresses))
            .collect();
        let shares_first = shares.iter().enumerate().map(|(seat, &left)| {
            args.hashrates?;
            let user = user_of(&accounts, seat);
            let miner = SwarmMiner::new(&user, "x", seat % accounts.len());
            Some(Box::new(SharesFirst { miner, left }))
        });
        Ok(Self {
            shares_first: shares_first.collect(),
            shares,
            links: Links::to(&args.url, args.connections, args.sources)?,
            seats: vec![AudienceSeat::Empty; seats],
            accounts,
            next: 0,
            at_once: args.at_once.0,
            opening: 0,
            listening: 0,
            pid: args.pid,
            stop: stop_on_signals()?,
            ready: Vec::new(),
            latencies: Latencies::new(),
            ends: Kinds::default(),
        })
    }

    /// Miners that have work.
    pub(crate) fn listening(&self) -> usize {
        self.listening
    }

    /// Tells if a signal has asked for the end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A look at the server, if its process is known.
    pub(crate) fn look_at_server(&self) -> anyhow::Result<Option<Usage>> {
        self.pid.map(Usage::of).transpose()
    }

    /// Opens all connections and waits until each has work.
    pub(crate) fn gather(&mut self) -> anyhow::Result<AudienceOpened> {
        let before = self.look_at_server()?;
        let own_before = Usage::own()?;
        let begun = Instant::now();
        while (self.next < self.seats.len() || self.opening > 0)
            && begun.elapsed() < GATHERING
            && !self.is_stopped()
        {
            self.open_some();
            let more = self.next < self.seats.len() && self.opening < self.at_once;
            let wait = if more {
                Duration::ZERO
            } else {
                GATHERING.saturating_sub(begun.elapsed())
            };
            self.turn(wait, &mut |_| {})?;
        }
        let took = begun.elapsed();
        let load_cpu = Usage::own()?.since(&own_before).cpu;
        let usage = match before {
            Some(before) => self.look_at_server()?.map(|after| (before, after)),
            None => None,
        };
        Ok(AudienceOpened {
            took,

            usage,
            load_cpu,
        })
    }

    /// Reads what comes for so long.
    pub(crate) fn rest(&mut self, time: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < time && !self.is_stopped() {
            self.listen(time.saturating_sub(begun.elapsed()), |_| {})?;
        }
        Ok(())
    }

    /// Waits at most so long for something to come; says whom a job has reached.
    pub(crate) fn listen(
        &mut self,
        timeout: Duration,
        mut reached: impl FnMut(usize),
    ) -> anyhow::Result<()> {
        self.turn(timeout, &mut reached)
    }

    fn open_some(&mut self) {
        for _ in 0..OPENED_PER_TURN {
            if self.next == self.seats.len() || self.opening >= self.at_once {
                return;
            }
            let seat = self.next;
            self.next += 1;
            self.seats[seat] = AudienceSeat::Opening(Instant::now(), Came::default());
            self.opening += 1;
            match self.links.open(seat) {
                Ok(()) => {
                    let lines = match &mut self.shares_first[seat] {
                        Some(first) => first.miner.connect(),
                        None => login_of(&user_of(&self.accounts, seat)),
                    };
                    let out = self.links.out(seat).expect("just opened");
                    out.extend_from_slice(lines.as_bytes());
                }
                Err(error) => self.lose(seat, error.to_string()),
            }
        }
    }

    fn turn(&mut self, timeout: Duration, reached: &mut impl FnMut(usize)) -> anyhow::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.links.wait(timeout, &mut ready)?;
        for seat in ready.drain(..) {
            self.attend(seat, reached);
        }
        self.ready = ready;
        Ok(())
    }

    fn attend(&mut self, seat: usize, reached: &mut impl FnMut(usize)) {
        if self.shares_first[seat].is_some() {
            if let Err(cause) = self.send_shares_first(seat) {
                self.lose(seat, cause);
            }
            return;
        }
        let state = &mut self.seats[seat];
        let mut is_refused = false;
        let outcome = self.links.exchange(seat, |line| {
            let line = look_at(line);
            match (line, &mut *state) {
                (AudienceLine::Job, AudienceSeat::Listening) => reached(seat),
                (AudienceLine::Job, AudienceSeat::Opening(_, came)) => came.job = true,
                (AudienceLine::Authorized, AudienceSeat::Opening(_, came)) => {
                    came.authorized = true;
                }
                _ => is_refused |= line == AudienceLine::NotAuthorized,
            }
        });
        if let AudienceSeat::Opening(since, came) = *state
            && came.authorized
            && came.job
        {
            *state = AudienceSeat::Listening;
            self.opening -= 1;
            self.listening += 1;
            self.latencies.add(since.elapsed());
        }
        if is_refused {
            self.lose(seat, "a miner was not authorized".to_owned());
        } else if let Err(error) = outcome {
            self.lose(seat, error.to_string());
        }
    }

    /// It listens once all of its shares are accepted.
    fn send_shares_first(&mut self, seat: usize) -> Result<(), String> {
        let Some(first) = &mut self.shares_first[seat] else {
            return Ok(());
        };
        let mut heard = Ok(());
        let outcome = self.links.exchange(seat, |line| {
            if heard.is_ok() {
                heard = first.handle_line(line);
            }
        });
        heard?;
        outcome.map_err(|error| error.to_string())?;
        if let Some(out) = self.links.out(seat) {
            first.submit(out);
        }
        self.links.flush(seat).map_err(|error| error.to_string())?;
        if first.left == 0
            && let AudienceSeat::Opening(since, _) = self.seats[seat]
        {
            self.shares_first[seat] = None;
            self.seats[seat] = AudienceSeat::Listening;
            self.opening -= 1;
            self.listening += 1;
            self.latencies.add(since.elapsed());
        }
        Ok(())
    }

    fn lose(&mut self, seat: usize, cause: String) {
        self.links.close(seat);
        match self.seats[seat] {
            AudienceSeat::Opening(..) => self.opening -= 1,
            AudienceSeat::Listening => self.listening -= 1,
            AudienceSeat::Empty | AudienceSeat::Gone => return,
        }
        self.seats[seat] = AudienceSeat::Gone;
        self.ends.add(cause);
    }
}

/// The name of the miner on a seat.
fn user_of(accounts: &[String], seat: usize) -> String {
    format!("{}.w{}", accounts[seat % accounts.len()], seat + 1)
}

/// The lines of a miner that logs in.
fn login_of(user: &str) -> String {
    format!(
        "{{\"id\":0,\"method\":\"mining.subscribe\",\"params\":[\"swarm\"]}}\n\
         {{\"id\":1,\"method\":\"mining.authorize\",\"params\":[\"{user}\",\"x\"]}}\n"
    )
}

/// The name of an account: of its number, or an address that nobody has the key of.
fn account(number: u32, addresses: Option<Network>) -> String {
    let Some(network) = addresses else {
        return format!("u{number}");
    };
    let hash = [number.to_be_bytes(); 5].concat();
    let address = Address::new(0, hash).expect("20 bytes are a hash of version 0");
    address.encode(network)
}

/// hstratum and its like begin a job with `{"id":null,"method":"mining.notify"`; the answer to a
/// subscribe names that method elsewhere.
fn look_at(line: &[u8]) -> AudienceLine {
    let has = |part: &[u8], text: &[u8]| text.windows(part.len()).any(|window| window == part);
    let head = &line[..line.len().min(64)];
    if has(br#""method":"mining.notify""#, head) {
        AudienceLine::Job
    } else if !has(br#""id":1,"#, head) {
        AudienceLine::Other
    } else if has(br#""result":true"#, head) {
        AudienceLine::Authorized
    } else {
        AudienceLine::NotAuthorized
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart_at_their_beginning() {
        let look = |text: &str| look_at(text.as_bytes());
        let job = r#"{"id":null,"method":"mining.notify","params":["1"]}"#;
        assert_eq!(look(job), AudienceLine::Job);
        let subscribed =
            r#"{"id":0,"result":[[["mining.notify","0000002a"]],"0000002a",4],"error":null}"#;
        assert_eq!(look(subscribed), AudienceLine::Other);
        let authorized = r#"{"id":1,"result":true,"error":null}"#;
        assert_eq!(look(authorized), AudienceLine::Authorized);
        let refused = r#"{"id":1,"result":null,"error":[24,"unauthorized",false]}"#;
        assert_eq!(look(refused), AudienceLine::NotAuthorized);
    }
}
