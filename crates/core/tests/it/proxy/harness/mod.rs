//! A harness for the proxy: servers that are real pools, miners, and wires between them that carry one
//! message at a time, so that a server can fail after any of them.
//!
//! Checked on every message: each request of a miner is answered once and in order, no server sees a job
//! that is not its own, and a miner's extranonce1 changes only if it is announced.

mod handover;
mod test_miner;
mod test_server;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use hstratum_core::accounts::proxy_secret::ProxySecret;
use hstratum_core::accounts::refused_logins::RefusalReason;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::event::{Arrival, ArrivalKind, CloseHow, Listening};
use hstratum_core::proxy::{
    BackendDrain, NoBackend, Proxy, ProxyAction, ProxyActions, ProxyConfig, ProxyCounts,
    ProxyEvent, Purpose,
};
use hstratum_core::units::{ConnId, Difficulty, Now};

pub(crate) use test_miner::ProxiedTestMiner;
pub(crate) use test_server::{SECRET, TestServer};

const START_S: u64 = 1_700_000_000;
/// The proxy's tick, in milliseconds.
const TICK_MS: u64 = 50;

/// The origin of all miners' connections.
fn arrival() -> Arrival {
    Arrival {
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        kind: ArrivalKind::Miner,
        difficulty: Difficulty::new(1.0).expect("a difficulty"),
        payout: Payout::Operator,
    }
}

/// A message on the wires.
enum InTransit {
    ToProxy(ConnId, Vec<u8>),
    Opened(ConnId),
    ClosedToProxy(ConnId),
    ToServer(usize, ConnId, Vec<u8>),
    ClosedToServer(usize, ConnId),
    ToMiner(usize, Vec<u8>),
}

/// The way a server fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    /// Its connections end and no more can be made.
    Dies,
    /// It accepts connections and bytes, but sends nothing.
    Hangs,
}

/// The harness: the proxy, its servers and its miners.
pub(crate) struct ProxyHarness {
    proxy: Proxy,
    pub(crate) now: Now,
    /// Seconds by which all clocks are behind the chain.
    pub(crate) clock_behind_s: u64,
    pub(crate) servers: Vec<TestServer>,
    pub(crate) miners: Vec<ProxiedTestMiner>,
    wires: VecDeque<InTransit>,
    /// The server of each connection that the proxy has made.
    links: HashMap<ConnId, usize>,
    /// The newest probe of each server.
    probes: HashMap<usize, ConnId>,
    /// Connections to servers on which everything is lost.
    dead: HashSet<ConnId>,
    /// True while the proxy has no descriptors left.
    pub(crate) is_out_of_descriptors: bool,
    next_slot: u64,
    actions: ProxyActions,
    /// Count of messages delivered.
    pub(crate) passed: usize,
    /// Count of messages after which the first miner's server fails, once.
    pub(crate) failing: Option<(usize, Failing)>,
    /// Count of messages after which another process takes over the miners, once.
    pub(crate) handing_over: Option<usize>,
    config: ProxyConfig,
    pub(crate) moved_ms: Vec<u64>,
    /// Miners reported as having an accepted share.
    pub(crate) proven: Vec<ConnId>,
    /// True while miners' connections are refused.
    pub(crate) is_refusing: bool,
    /// Count of connections to servers that the proxy asked for.
    pub(crate) dials: usize,
    pub(crate) log: Vec<String>,
}

impl ProxyHarness {
    pub(crate) fn new(servers: usize, secret: bool) -> Self {
        Self::with(servers, secret, NoBackend::Wait(30_000))
    }

    pub(crate) fn with(servers: usize, secret: bool, no_backend: NoBackend) -> Self {
        let now = Now {
            ms: 1_000,
            unix_s: START_S,
        };
        let config = ProxyConfig {
            backends: (0..servers).map(|n| format!("server{n}:3008")).collect(),
            prefix: 1,
            key: [9; 32],
            secret: secret.then(|| ProxySecret::new(SECRET).expect("long enough")),
            no_backend,
            probe_timeout_ms: 700,
            public_host: None,
            public_port: 3008,
        };
        let mut harness = Self {
            proxy: Proxy::new(config.clone(), now),
            config,
            handing_over: None,
            now,
            clock_behind_s: 0,
            servers: (0..servers).map(|n| TestServer::new(n, now)).collect(),
            miners: Vec::new(),
            wires: VecDeque::new(),
            links: HashMap::new(),
            probes: HashMap::new(),
            dead: HashSet::new(),
            is_out_of_descriptors: false,
            next_slot: 0,
            actions: ProxyActions::default(),
            passed: 0,
            failing: None,
            moved_ms: Vec::new(),
            proven: Vec::new(),
            is_refusing: false,
            dials: 0,
            log: Vec::new(),
        };
        harness.wait(500);
        harness
    }

    pub(crate) fn counts(&self) -> ProxyCounts {
        self.proxy.counts()
    }

    /// The reasons of refused logins, by address.
    pub(crate) fn refusals(&self) -> Vec<Vec<(RefusalReason, u64)>> {
        let list = self.proxy.refusals().list();
        list.iter().map(|one| one.reasons().collect()).collect()
    }

    pub(crate) fn status(&self) -> Vec<&'static str> {
        let status = self.proxy.status();
        status.iter().map(|server| server.state).collect()
    }

    /// Count of miners on each server.
    pub(crate) fn spread(&self) -> Vec<usize> {
        let status = self.proxy.status();
        status.iter().map(|server| server.miners).collect()
    }

    /// A new connection of a miner.
    pub(crate) fn connect(&mut self) -> usize {
        let conn = self.next_conn();
        self.miners.push(ProxiedTestMiner::new(conn));
        self.handle(ProxyEvent::Connected(conn, arrival()));
        self.miners.len() - 1
    }

    /// A new miner with its first job.
    pub(crate) fn miner(&mut self, user: &str) -> usize {
        let miner = self.connect();
        self.say(
            miner,
            r#"{"id":1,"method":"mining.subscribe","params":["agent"]}"#,
        );
        let authorize =
            format!(r#"{{"id":2,"method":"mining.authorize","params":["{user}","x"]}}"#);
        self.say(miner, &authorize);
        self.settle();
        assert!(self.miners[miner].job.is_some(), "it has a job");
        miner
    }

    /// Sends one line of a miner.
    pub(crate) fn say(&mut self, miner: usize, line: &str) {
        let test_miner = &mut self.miners[miner];
        assert!(test_miner.is_open, "a closed connection says nothing");
        test_miner.expect_answer(line);
        let conn = test_miner.conn;
        let bytes = format!("{line}\n").into_bytes();
        self.wires.push_back(InTransit::ToProxy(conn, bytes));
    }

    /// Sends a line whose answer is not awaited.
    pub(crate) fn say_anything(&mut self, miner: usize, line: &str) {
        let test_miner = &mut self.miners[miner];
        test_miner.hears_anything = true;
        let (conn, bytes) = (test_miner.conn, format!("{line}\n").into_bytes());
        self.wires.push_back(InTransit::ToProxy(conn, bytes));
    }

    /// A new miner that has subscribed.
    pub(crate) fn connect_and_subscribe(&mut self) -> usize {
        let miner = self.connect();
        let line = r#"{"id":1,"method":"mining.subscribe","params":["agent"]}"#;
        self.say(miner, line);
        self.settle();
        miner
    }

    /// Makes the operator of a server disable a user there.
    pub(crate) fn disable(&mut self, server: usize, user: &str) {
        self.servers[server].disable(self.now, user);
        self.collect(server);
        self.settle();
    }

    /// Lets a stranger connect to a server without the proxy, and take a session there.
    pub(crate) fn squat(&mut self, server: usize, session: u32) {
        let conn = ConnId(99 << 32 | 9_999);
        self.servers[server].connect(self.now, conn);
        let line = format!(
            "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"x\",\"{session:08x}\"]}}\n"
        );
        self.servers[server].receive(self.now, conn, line.as_bytes());
    }

    /// Count of miners that each server lost when it went down.
    pub(crate) fn lost(&self) -> Vec<usize> {
        let status = self.proxy.status();
        status.iter().map(|server| server.lost).collect()
    }

    /// Submits a valid share for a miner's job; gives the request's id.
    pub(crate) fn submit(&mut self, miner: usize) -> u64 {
        let (id, line) = self.miners[miner].share();
        self.say(miner, &line);
        id
    }

    /// Submits a share; gives its answer.
    pub(crate) fn submit_and_see(&mut self, miner: usize) -> String {
        let id = self.submit(miner);
        self.settle();
        self.miners[miner].answer(id)
    }

    pub(crate) fn leave(&mut self, miner: usize) {
        self.miners[miner].is_open = false;
        let conn = self.miners[miner].conn;
        self.wires.push_back(InTransit::ClosedToProxy(conn));
        self.settle();
    }

    /// The server of a miner.
    pub(crate) fn server_of(&self, miner: usize) -> usize {
        let extra_nonce1 = self.miners[miner].extra_nonce1.expect("it is subscribed");
        let has = |server: &&TestServer| server.has_session(extra_nonce1);
        self.servers
            .iter()
            .find(has)
            .expect("a server has it")
            .number
    }

    pub(crate) fn fail(&mut self, server: usize, failing: Failing) {
        match failing {
            Failing::Hangs => self.servers[server].hang(),
            Failing::Dies => {
                for conn in self.servers[server].die() {
                    self.wires.push_back(InTransit::ClosedToProxy(conn));
                }
            }
        }
    }

    /// Loses everything on the probe's connection to a server from now on.
    pub(crate) fn lose_probe(&mut self, server: usize) {
        self.dead.insert(self.probes[&server]);
    }

    /// Makes a server send a line that is not stratum on each miner's connection.
    pub(crate) fn garble(&mut self, server: usize) {
        self.let_say(server, "what?");
    }

    /// Makes a server send a line on each miner's connection.
    pub(crate) fn let_say(&mut self, server: usize, line: &str) {
        for conn in self.links_of(server) {
            let line = format!("{line}\n").into_bytes();
            self.wires.push_back(InTransit::ToProxy(conn, line));
        }
    }

    pub(crate) fn revive(&mut self, server: usize) {
        let now = self.now;
        for conn in self.servers[server].die() {
            self.wires.push_back(InTransit::ClosedToProxy(conn));
        }
        self.servers[server].start(now);
        self.collect(server);
    }

    /// Adds a new block for one server.
    pub(crate) fn block(&mut self, server: usize) {
        self.servers[server].block(self.now);
        self.collect(server);
        self.settle();
    }

    pub(crate) fn drain(&mut self, server: usize, drain: BackendDrain) {
        self.handle(ProxyEvent::Drain(server, drain));
        self.settle();
    }

    /// Makes a tick, after which nothing on the wires arrives yet.
    pub(crate) fn tick(&mut self) {
        self.now.ms += TICK_MS;
        self.now.unix_s = START_S + self.now.ms / 1000 - self.clock_behind_s;
        self.handle(ProxyEvent::Tick);
    }

    /// Lets time pass, in ticks; everything on the wires arrives.
    pub(crate) fn wait(&mut self, ms: u64) {
        let end = self.now.ms + ms;
        self.settle();
        while self.now.ms < end {
            self.tick();
            for server in 0..self.servers.len() {
                self.servers[server].tick(self.now);
                self.collect(server);
            }
            self.settle();
        }
    }

    /// Delivers everything on the wires, and everything that follows.
    pub(crate) fn settle(&mut self) {
        while self.step() {}
    }

    /// Delivers one message; false if there is none.
    pub(crate) fn step(&mut self) -> bool {
        if let Some((after, failing)) = self.failing
            && self.passed >= after
        {
            self.failing = None;
            let first = self.miners.first();
            let session = first.and_then(|test_miner| test_miner.extra_nonce1);
            let has = |server: &&TestServer| session.is_none_or(|id| server.has_session(id));
            let number = self.servers.iter().find(has).map(|server| server.number);
            self.fail(number.unwrap_or(0), failing);
        }
        if self.handing_over.is_some_and(|after| self.passed >= after) {
            self.handing_over = None;
            self.hand_over();
        }
        let paused: Vec<ConnId> = self
            .miners
            .iter()
            .filter(|p| p.is_paused)
            .map(|p| p.conn)
            .collect();
        self.wires.retain(|in_transit| match in_transit {
            InTransit::ToProxy(conn, _) | InTransit::ToServer(_, conn, _) => {
                !self.dead.contains(conn)
            }
            _ => true,
        });
        let ready = self.wires.iter().position(|in_transit| match in_transit {
            InTransit::ToProxy(conn, _) => !paused.contains(conn),
            _ => true,
        });
        let Some(in_transit) = ready.and_then(|at| self.wires.remove(at)) else {
            return false;
        };
        self.passed += 1;
        match in_transit {
            InTransit::ToProxy(conn, bytes) => self.handle(ProxyEvent::Received(conn, &bytes)),
            InTransit::Opened(conn) => self.handle(ProxyEvent::Opened(conn)),
            InTransit::ClosedToProxy(conn) => {
                // Everything sent before the end has arrived.
                self.links.remove(&conn);
                self.handle(ProxyEvent::Closed(conn));
            }
            InTransit::ToServer(server, conn, bytes) => {
                self.servers[server].receive(self.now, conn, &bytes);
                self.collect(server);
            }
            InTransit::ClosedToServer(server, conn) => {
                self.servers[server].close(self.now, conn);
                self.collect(server);
            }
            InTransit::ToMiner(miner, bytes) => self.miners[miner].hear(&bytes),
        }
        true
    }

    /// Puts a server's output onto the wires.
    fn collect(&mut self, server: usize) {
        let said = std::mem::take(&mut self.servers[server].said);
        for (conn, bytes) in said {
            self.wires.push_back(match bytes {
                Some(bytes) => InTransit::ToProxy(conn, bytes),
                None => InTransit::ClosedToProxy(conn),
            });
        }
    }

    fn next_conn(&mut self) -> ConnId {
        self.next_slot += 1;
        ConnId(7 << 32 | self.next_slot)
    }

    pub(crate) fn handle(&mut self, event: ProxyEvent<'_>) {
        let mut actions = std::mem::take(&mut self.actions);
        self.proxy.handle(self.now, event, &mut actions);
        self.perform_all(actions);
    }

    fn perform_all(&mut self, mut actions: ProxyActions) {
        let mut dials = Vec::new();
        actions.drain(|action, bytes| {
            if let ProxyAction::Dial(purpose, _) = action {
                dials.push(purpose);
            } else {
                self.perform(action, bytes);
            }
        });
        self.actions = actions;
        for purpose in dials {
            self.dial(purpose);
        }
    }

    fn dial(&mut self, purpose: Purpose) {
        let (Purpose::Miner(_, server) | Purpose::Probe(server)) = purpose;
        self.dials += 1;
        if self.is_out_of_descriptors {
            return self.handle(ProxyEvent::Dialed(purpose, None));
        }
        let conn = self.next_conn();
        self.links.insert(conn, server);
        if let Purpose::Probe(_) = purpose {
            self.probes.insert(server, conn);
        }
        self.handle(ProxyEvent::Dialed(purpose, Some(conn)));
        let is_refused =
            matches!(purpose, Purpose::Miner(..)) && self.servers[server].refuses_miners;
        let is_taken = !is_refused && self.servers[server].connect(self.now, conn);
        self.wires.push_back(match is_taken {
            true => InTransit::Opened(conn),
            false => InTransit::ClosedToProxy(conn),
        });
    }

    fn perform(&mut self, action: ProxyAction, bytes: &[u8]) {
        let miner = |miners: &[ProxiedTestMiner], conn| miners.iter().position(|p| p.conn == conn);
        match action {
            ProxyAction::Send(conn, _) => {
                match (miner(&self.miners, conn), self.links.get(&conn)) {
                    (Some(miner), _) => {
                        self.wires
                            .push_back(InTransit::ToMiner(miner, bytes.to_vec()));
                    }
                    (None, Some(&server)) => {
                        let in_transit = InTransit::ToServer(server, conn, bytes.to_vec());
                        self.wires.push_back(in_transit);
                    }
                    // Its end is on the way to the proxy.
                    (None, None) => {}
                }
            }
            ProxyAction::Pause(conn) => {
                let miner = miner(&self.miners, conn).expect("a miner");
                self.miners[miner].is_paused = true;
            }
            ProxyAction::Resume(conn) => {
                let miner = miner(&self.miners, conn).expect("a miner");
                self.miners[miner].is_paused = false;
            }
            ProxyAction::Close(conn, _) => {
                if let Some(miner) = miner(&self.miners, conn) {
                    self.miners[miner].is_open = false;
                } else if let Some(server) = self.links.remove(&conn) {
                    let end = InTransit::ClosedToServer(server, conn);
                    self.wires.push_back(end);
                }
                self.wires.retain(|in_transit| match in_transit {
                    InTransit::ToProxy(from, _)
                    | InTransit::Opened(from)
                    | InTransit::ClosedToProxy(from) => *from != conn,
                    _ => true,
                });
            }
            ProxyAction::Admitted(_) => {}
            ProxyAction::Proven(conn) => self.proven.push(conn),
            ProxyAction::Listen(listening) => self.is_refusing = listening == Listening::Off,
            ProxyAction::Moved(ms) => self.moved_ms.push(ms),
            ProxyAction::Log(_, text) => self.log.push(text),
            ProxyAction::Dial(..) => unreachable!("dials come after the others"),
        }
    }
}
