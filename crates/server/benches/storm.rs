//! Thousands of miners at once: time until the first and the last have work.
//!
//! `make storm` prints the table. Server and miners are processes of their own, on loopback. Each miner
//! connects, sends subscribe and authorize in one write, and is done with its first job.

#[allow(dead_code, unreachable_pub)]
#[path = "../tests/it/harness/template.rs"]
mod template;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hstratum::client_tls;
use hstratum::config::settings::Settings;
use hstratum::config::{Config, OptionOrigin, RawOption};
use hstratum::node::{Node, Offer};
use hstratum::payout::hsd::HsdAddresses;
use hstratum::server::Server;
use hstratum_core::chain::address::Network;
use hstratum_core::event::Level;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

const MINERS: usize = 10_000;
const RUNS: usize = 3;
const LIMIT: Duration = Duration::from_secs(180);
const PASSWORD: &str = "her-password";

/// User names of the miners.
#[derive(Clone, Copy, PartialEq)]
enum Names {
    /// Any name: nothing is to be checked.
    Open,
    /// Workers of one account with a password.
    OneAccount,
    /// For each miner an account of its own with a password.
    ManyAccounts,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().position(|arg| arg == "serve") {
        Some(at) => serve(Path::new(&args[at + 1])),
        None => report(),
    }
}

fn report() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("a soft limit may be raised");
    println!("{MINERS} miners at once, medians of {RUNS} runs, seconds");
    println!("{:44} {:>7} {:>7} {:>7}", "", "first", "half", "last");
    for (what, tls, names) in [
        ("plain, any name", false, Names::Open),
        ("plain, workers of one account", false, Names::OneAccount),
        (
            "plain, accounts with a password each",
            false,
            Names::ManyAccounts,
        ),
        ("TLS, any name", true, Names::Open),
    ] {
        let runs: Vec<[f64; 3]> = (0..RUNS).map(|_| run(tls, names)).collect();
        let [first, half, last] = [0, 1, 2].map(|place| {
            let mut column: Vec<f64> = runs.iter().map(|run| run[place]).collect();
            column.sort_by(f64::total_cmp);
            column[RUNS / 2]
        });
        println!("{what:44} {first:>7.2} {half:>7.2} {last:>7.2}");
    }
}

/// Starts a server, lets the miners connect and stops it. Returns the times in seconds when the first, the
/// middle and the last had work.
fn run(tls: bool, names: Names) -> [f64; 3] {
    let dir = tempfile::tempdir().expect("a directory");
    write_users(dir.path(), names);
    let mut server = Command::new(std::env::current_exe().expect("this program"))
        .arg("serve")
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a server");
    let mut line = String::new();
    let mut output = BufReader::new(server.stdout.take().expect("piped"));
    output.read_line(&mut line).expect("the ports");
    let ports: Vec<u16> = line
        .split_whitespace()
        .map(|port| port.parse().expect("a port"))
        .collect();
    let had_work = storm(ports[usize::from(tls)], tls, names);
    drop(server.stdin.take());
    server.wait().expect("ended");
    let at = |place: usize| had_work[place].as_secs_f64();
    [at(0), at(had_work.len() / 2), at(had_work.len() - 1)]
}

fn write_users(dir: &Path, names: Names) {
    let hashed = hstratum::task_threads::password_hash::hash(PASSWORD)
        .expect("hashed")
        .to_text();
    let count = match names {
        Names::Open => 0,
        Names::OneAccount => 1,
        Names::ManyAccounts => MINERS,
    };
    let lines: String = (0..count)
        .map(|n| format!("{{\"username\":\"account{n}\",\"password\":\"{hashed}\"}}\n"))
        .collect();
    std::fs::write(dir.join("users.json"), lines).expect("written");
}

struct NoNode;

impl Node for NoNode {
    fn locate(&self, _: Vec<hstratum::node::BlockQuery>) {}

    fn offer(&self, _: Offer) {}

    fn log(&self, level: Level, text: &str) {
        if level == Level::Error {
            eprintln!("{text}");
        }
    }
}

/// Runs a server until its standard input ends; prints its ports, plain and TLS.
fn serve(dir: &Path) {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let tls_port = free.local_addr().expect("bound").port();
    drop(free);
    let options = [
        ("host", "127.0.0.1".to_owned()),
        ("port", "0".to_owned()),
        ("listen", format!("tls://127.0.0.1:{tls_port}")),
        ("tlscert", format!("{data}/first.crt")),
        ("tlskey", format!("{data}/first.key")),
        ("maxinbound", "15000".to_owned()),
    ]
    .map(|(key, value)| RawOption {
        key: key.to_owned(),
        value,
        origin: OptionOrigin::Flag,
    });
    let settings = Settings {
        config: Config::parse(&options).expect("good options"),
        network: Network::Regtest,
        dir: Some(dir.to_owned()),
        hsd: HsdAddresses::default(),
    };
    let server = Server::start(settings, Arc::new(NoNode)).expect("started");
    server.template(template::Chain::hard().empty_at(0));
    println!("{} {tls_port}", server.address().port());
    std::io::stdin().read_to_end(&mut Vec::new()).expect("read");
    server.close().wait();
}

/// A miner on its way to its first job.
struct Miner {
    socket: TcpStream,
    tls: Option<ClientConnection>,
    greeting: String,
    has_greeted: bool,
    received: Vec<u8>,
}

/// Lets all miners connect; returns the times when each had work, in that order.
fn storm(port: u16, tls: bool, names: Names) -> Vec<Duration> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let config = tls.then(|| Arc::new(client_tls::config().expect("versions")));
    let mut poll = Poll::new().expect("polling");
    let mut events = Events::with_capacity(4096);
    let begun = Instant::now();
    let mut miners: Vec<Option<Miner>> = (0..MINERS)
        .map(|n| Some(Miner::connect(address, n, names, config.clone(), &poll)))
        .collect();
    let mut had_work = Vec::new();
    // Connections stay open until the last miner has work.
    let mut done = Vec::new();
    while had_work.len() < MINERS {
        assert!(
            begun.elapsed() < LIMIT,
            "{} of {MINERS} have work",
            had_work.len()
        );
        poll.poll(&mut events, Some(Duration::from_secs(1)))
            .expect("polled");
        for event in &events {
            let place = &mut miners[event.token().0];
            if place.as_mut().is_some_and(Miner::go_on) {
                had_work.push(begun.elapsed());
                done.extend(place.take());
            }
        }
    }
    had_work
}

impl Miner {
    fn connect(
        address: SocketAddr,
        n: usize,
        names: Names,
        config: Option<Arc<ClientConfig>>,
        poll: &Poll,
    ) -> Self {
        let mut socket = TcpStream::connect(address).expect("a socket");
        poll.registry()
            .register(
                &mut socket,
                Token(n),
                Interest::READABLE | Interest::WRITABLE,
            )
            .expect("registered");
        let name = match names {
            Names::Open => format!("anybody.{n}"),
            Names::OneAccount => format!("account0.{n}"),
            Names::ManyAccounts => format!("account{n}"),
        };
        let server_name = ServerName::try_from("localhost").expect("a name");
        Self {
            socket,
            tls: config.map(|c| ClientConnection::new(c, server_name).expect("a client")),
            greeting: format!(
                "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"storm\"]}}\n\
                 {{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"{name}\",\"{PASSWORD}\"]}}\n"
            ),
            has_greeted: false,
            received: Vec::new(),
        }
    }

    /// Does what the socket allows; returns true when the miner has work.
    fn go_on(&mut self) -> bool {
        if self.socket.peer_addr().is_err() {
            return false;
        }
        match &mut self.tls {
            None => {
                if !self.has_greeted {
                    self.has_greeted = self.socket.write_all(self.greeting.as_bytes()).is_ok();
                }
                read_all(&mut self.socket, &mut self.received);
            }
            Some(tls) => {
                if !self.has_greeted {
                    let greeting = self.greeting.as_bytes();
                    tls.writer().write_all(greeting).expect("buffered");
                    self.has_greeted = true;
                }
                while tls.read_tls(&mut self.socket).is_ok_and(|len| len > 0) {
                    tls.process_new_packets().expect("the server speaks TLS");
                    read_all(&mut tls.reader(), &mut self.received);
                }
                while tls.wants_write() && tls.write_tls(&mut self.socket).is_ok() {}
            }
        }
        let job = b"\"method\":\"mining.notify\"";
        self.received.windows(job.len()).any(|part| part == job)
    }
}

fn read_all(from: &mut impl Read, into: &mut Vec<u8>) {
    let mut chunk = [0; 4096];
    while let Ok(len @ 1..) = from.read(&mut chunk) {
        into.extend_from_slice(&chunk[..len]);
    }
}
