//! `hstratum-swarm hostile`: connections that do what no miner does, to run beside honest ones.
//!
//! Only against a server on this machine. What it costs honest miners is for them to tell, in
//! `submit`; here is how often the abuse was tried, and what the server did about it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use hstratum::stratum_url::StratumUrl;
use serde_json::{Value, json};

use crate::account_sums::Kinds;
use crate::limits::{CONNECTIONS_MAX, HOSTILE_TURN, IDLE, OPENED_PER_TURN, REOPEN_MIN, TRICKLE};
use crate::links::Links;
use crate::process::Usage;
use crate::stop_on_signals;

/// Arguments of `hstratum-swarm hostile`.
#[derive(clap::Args)]
#[group(id = "hostile")]
pub(crate) struct Args {
    /// The server, on this machine: stratum+tcp://HOST:PORT
    #[arg(long, value_parser = StratumUrl::without_tls)]
    url: StratumUrl,

    /// Connections, spread over the kinds of abuse
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    connections: u32,

    /// How long
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// What the connections do, in turn [default: all of it]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND")]
    abuse: Vec<Abuse>,

    /// Addresses that they come from, 127.1.0.1 and up, where the server is on IPv4 loopback;
    /// 0 leaves it to the system [default: one for each connection]
    #[arg(long, value_name = "N")]
    sources: Option<u32>,

    /// The server's process: shows the processor time and memory that it uses
    #[arg(long)]
    pid: Option<u32>,

    /// Print JSON lines instead of a table
    #[arg(long)]
    json: bool,
}

/// Kinds of abuse, one for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Abuse {
    /// Says nothing
    Silent,
    /// Sends a byte a second
    Trickle,
    /// Sends lines that are no JSON
    Malformed,
    /// Sends a line without end
    Endless,
    /// Sends lists in lists
    Deep,
    /// Sends bytes that are no text
    Binary,
    /// Asks, and never reads an answer
    Deaf,
    /// Submits shares for jobs that never were
    Forged,
    /// Ends in the middle of a line, and comes back
    Vanish,
    /// Logs in, and does nothing after that
    Idle,
    /// Leaves as soon as it is there, and comes back
    Leave,
}

impl Abuse {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.expect("no kind is hidden").get_name().to_owned()
    }

    /// Bytes that are sent whenever all before have left; nothing for those that hardly send.
    fn flood(self) -> Vec<u8> {
        match self {
            Self::Silent | Self::Trickle | Self::Leave => Vec::new(),
            Self::Malformed => b"{\"id\":1,\n".repeat(100),
            Self::Endless => vec![b'x'; 64 << 10],
            Self::Deep => {
                let lists = "[".repeat(8000);
                format!("{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":{lists}\n").into()
            }
            Self::Binary => b"{\"id\":\"\xff\xfe\",\"method\":\"\xc0\x80\"}\n".repeat(50),
            Self::Deaf => b"{\"id\":1,\"method\":\"mining.ping\"}\n".repeat(100),
            Self::Forged => br#"{"id":1,"method":"mining.submit","params":["nobody","ffffffff","00000000","65000000","00000000"]}
"#
            .repeat(20),
            Self::Vanish => {
                b"{\"id\":1,\"method\":\"mining.subscribe\"}\n{\"id\":2,\"method\":\"mini".to_vec()
            }
            Self::Idle => b"{\"id\":1,\"method\":\"mining.subscribe\"}
{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"idle\",\"\"]}
".to_vec(),
        }
    }
}

/// One kind, and what came of it.
struct HostileKind {
    abuse: Abuse,
    flood: Vec<u8>,
    opened: u64,
    /// Times that the flood was sent.
    sent: u64,
    lines: u64,
    ends: Kinds,
}

#[derive(Clone, Copy)]
enum HostileSeat {
    /// May be opened from then on.
    Free(Instant),
    /// Open; whether it has been heard of, and when it may send the next byte.
    Open(bool, Instant),
}

struct HostileCrowd {
    links: Links,
    seats: Vec<HostileSeat>,
    kinds: Vec<HostileKind>,
}

/// Runs it, and prints the report.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let addresses = args.url.resolve();
    let mut addresses = addresses.with_context(|| format!("failed to find {}", args.url))?;
    ensure!(
        addresses.all(|address: SocketAddr| address.ip().is_loopback()),
        "{} is not on this machine: this would be an attack",
        args.url
    );
    let look = || args.pid.map(Usage::of).transpose();
    let stop = stop_on_signals()?;
    let mut crowd = HostileCrowd::new(args)?;
    let before = look()?;
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let mut ready = Vec::new();
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        crowd.turn(&mut ready)?;
    }
    let used = match (before, look()?) {
        (Some(before), Some(after)) => Some((before, after)),
        _ => None,
    };
    print!("{}", crowd.report(used, args.json));
    Ok(())
}

impl HostileCrowd {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let all = Abuse::value_variants();
        let abuses = if args.abuse.is_empty() {
            all
        } else {
            &args.abuse
        };
        let kind = |&abuse: &Abuse| HostileKind {
            abuse,
            flood: abuse.flood(),
            opened: 0,
            sent: 0,
            lines: 0,
            ends: Kinds::default(),
        };
        Ok(Self {
            links: Links::to(&args.url, args.connections, args.sources)?,
            seats: vec![HostileSeat::Free(Instant::now()); args.connections as usize],
            kinds: abuses.iter().map(kind).collect(),
        })
    }

    fn turn(&mut self, ready: &mut Vec<usize>) -> anyhow::Result<()> {
        self.open_some();
        self.links.wait(HOSTILE_TURN, ready)?;
        for seat in ready.drain(..) {
            self.hear(seat);
        }
        for seat in 0..self.seats.len() {
            self.speak(seat);
        }
        Ok(())
    }

    fn open_some(&mut self) {
        let now = Instant::now();
        let kinds = self.kinds.len();
        let free = |seat: &HostileSeat| matches!(seat, HostileSeat::Free(from) if *from <= now);
        let seats = self.seats.iter_mut().enumerate();
        for (number, seat) in seats.filter(|(_, seat)| free(seat)).take(OPENED_PER_TURN) {
            let kind = &mut self.kinds[number % kinds];
            match self.links.open(number) {
                Ok(()) => {
                    kind.opened += 1;
                    *seat = HostileSeat::Open(false, now);
                }
                Err(error) => {
                    kind.ends.add(error.to_string());
                    *seat = HostileSeat::Free(now + REOPEN_MIN);
                }
            }
        }
    }

    fn hear(&mut self, seat: usize) {
        let HostileSeat::Open(was_heard, due) = self.seats[seat] else {
            return;
        };
        let kinds = self.kinds.len();
        let kind = &mut self.kinds[seat % kinds];
        // The first time is how a connection becomes known to be one.
        if was_heard && kind.abuse == Abuse::Deaf {
            return;
        }
        self.seats[seat] = HostileSeat::Open(true, due);
        let lines = &mut kind.lines;
        if let Err(error) = self.links.exchange(seat, |_| *lines += 1) {
            self.end(seat, error.to_string());
        }
    }

    fn speak(&mut self, seat: usize) {
        let HostileSeat::Open(true, due) = self.seats[seat] else {
            return;
        };
        let now = Instant::now();
        let kinds = self.kinds.len();
        let kind = &mut self.kinds[seat % kinds];
        let Some(out) = self.links.out(seat).filter(|out| out.is_empty()) else {
            return;
        };
        if kind.abuse == Abuse::Idle && due > now {
            return;
        }
        if kind.abuse == Abuse::Trickle && now >= due {
            out.push(b'{');
            self.seats[seat] = HostileSeat::Open(true, now + TRICKLE);
        } else {
            out.extend_from_slice(&kind.flood);
            if kind.abuse == Abuse::Idle {
                self.seats[seat] = HostileSeat::Open(true, now + IDLE);
            }
        }
        kind.sent += u64::from(!out.is_empty());
        let vanishes = matches!(kind.abuse, Abuse::Vanish | Abuse::Leave);
        match self.links.flush(seat) {
            Err(error) => self.end(seat, error.to_string()),
            Ok(()) if vanishes => self.end(seat, "left".to_owned()),
            Ok(()) => {}
        }
    }

    fn end(&mut self, seat: usize, cause: String) {
        let kinds = self.kinds.len();
        self.kinds[seat % kinds].ends.add(cause);
        self.links.close(seat);
        self.seats[seat] = HostileSeat::Free(Instant::now() + REOPEN_MIN);
    }

    fn report(&self, used: Option<(Usage, Usage)>, is_json: bool) -> String {
        let mut text = String::new();
        for line in self
            .kinds
            .iter()
            .map(HostileKind::to_json)
            .chain(used.map(server))
        {
            if is_json {
                text += &format!("{line}\n");
            } else {
                write_row(&mut text, &line);
            }
        }
        text
    }
}

impl HostileKind {
    fn to_json(&self) -> Value {
        json!({
            "kind": "abuse",
            "abuse": self.abuse.name(),
            "opened": self.opened,
            "sent": self.sent,
            "answers": self.lines,
            "ends": self.ends.to_json(),
        })
    }
}

fn server((before, after): (Usage, Usage)) -> Value {
    json!({
        "kind": "server",
        "cpu_s": after.since(&before).cpu.as_secs_f64(),
        "resident_bytes_before": before.resident_bytes,
        "resident_bytes": after.resident_bytes,
    })
}

fn write_row(text: &mut String, line: &Value) {
    let mib = |name: &str| line[name].as_f64().unwrap_or(0.0) / f64::from(1 << 20);
    let done = if line["kind"] == "server" {
        writeln!(
            text,
            "server     {:.1} s CPU, {:.1} MiB resident, {:.1} before",
            line["cpu_s"].as_f64().unwrap_or(0.0),
            mib("resident_bytes"),
            mib("resident_bytes_before"),
        )
    } else {
        let ends = line["ends"].as_object().into_iter().flatten();
        let ends: Vec<String> = ends
            .map(|(cause, count)| format!("{count} × {cause}"))
            .collect();
        writeln!(
            text,
            "{:10} {} connections, sent {} times, {} answers; ended: {}",
            line["abuse"].as_str().unwrap_or_default(),
            line["opened"],
            line["sent"],
            line["answers"],
            if ends.is_empty() {
                "none".to_owned()
            } else {
                ends.join(", ")
            },
        )
    };
    done.expect("a text takes everything");
}
