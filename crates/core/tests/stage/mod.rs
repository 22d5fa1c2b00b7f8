//! A stage with a proxy on it: servers, which are real pools, before it miners, and wires between
//! them that carry one thing at a time, so that a server can die after any of them.
//!
//! What must hold is asserted as things pass: every request of a miner is answered once and in
//! order, no server sees a job that is not its own, and a miner's extranonce1 changes only where it
//! is told.

mod player;
mod server;
mod transfer;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use hstratum_core::accounts::proxy_secret::ProxySecret;
use hstratum_core::accounts::refused_logins::RefusalReason;
use hstratum_core::event::{Arrival, ArrivalKind, CloseHow, Listening};
use hstratum_core::proxy::{
    ProxyAction, ProxyActions, ProxyCounts, BackendDrain, ProxyEvent, NoBackend, Proxy, ProxyConfig, Purpose,
};
use hstratum_core::units::{ConnId, Difficulty, Now};

pub(crate) use player::Player;
pub(crate) use server::{SECRET, Server};

const START_S: u64 = 1_700_000_000;
/// As the shell does.
const TICK_MS: u64 = 50;

/// Where all miners come from.
fn arrival() -> Arrival {
    Arrival {
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        kind: ArrivalKind::Miner,
        difficulty: Difficulty::new(1.0).expect("a difficulty"),
    }
}

/// What is on the wires.
enum Passing {
    ToProxy(ConnId, Vec<u8>),
    Opened(ConnId),
    ClosedToProxy(ConnId),
    ToServer(usize, ConnId, Vec<u8>),
    ClosedToServer(usize, ConnId),
    ToMiner(usize, Vec<u8>),
}

/// How a server fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    /// Its connections end and no more can be made.
    Dies,
    /// It takes connections and bytes, and says nothing.
    Hangs,
}

/// See the module.
pub(crate) struct Stage {
    proxy: Proxy,
    pub(crate) now: Now,
    /// How far all clocks are behind the chain's.
    pub(crate) clock_behind_s: u64,
    pub(crate) servers: Vec<Server>,
    pub(crate) players: Vec<Player>,
    wires: VecDeque<Passing>,
    /// Of the proxy's connections: to which server.
    links: HashMap<ConnId, usize>,
    /// The newest probe of each server.
    probes: HashMap<usize, ConnId>,
    /// Connections to servers that swallow everything.
    dead: HashSet<ConnId>,
    /// The proxy has no descriptors left.
    pub(crate) is_out_of_descriptors: bool,
    next_slot: u64,
    actions: ProxyActions,
    /// Things that have passed.
    pub(crate) passed: usize,
    /// After so many things the server that has the first miner fails, once.
    pub(crate) failing: Option<(usize, Failing)>,
    /// After so many things another process goes on with the miners, once.
    pub(crate) handing_over: Option<usize>,
    config: ProxyConfig,
    pub(crate) moved_ms: Vec<u64>,
    /// Miners that give way to nobody.
    pub(crate) proven: Vec<ConnId>,
    /// Miners' connections are refused.
    pub(crate) is_refusing: bool,
    /// Connections to servers that were wanted.
    pub(crate) dials: usize,
    pub(crate) log: Vec<String>,
}

impl Stage {
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
        let mut stage = Self {
            proxy: Proxy::new(config.clone(), now),
            config,
            handing_over: None,
            now,
            clock_behind_s: 0,
            servers: (0..servers).map(|n| Server::new(n, now)).collect(),
            players: Vec::new(),
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
        stage.wait(500);
        stage
    }

    pub(crate) fn counts(&self) -> ProxyCounts {
        self.proxy.counts()
    }

    /// The reasons of logins that were refused, by address.
    pub(crate) fn refusals(&self) -> Vec<Vec<(RefusalReason, u64)>> {
        let list = self.proxy.refusals().list();
        list.iter().map(|one| one.reasons().collect()).collect()
    }

    pub(crate) fn status(&self) -> Vec<&'static str> {
        let status = self.proxy.status();
        status.iter().map(|server| server.state).collect()
    }

    /// How many miners each server has.
    pub(crate) fn spread(&self) -> Vec<usize> {
        let status = self.proxy.status();
        status.iter().map(|server| server.miners).collect()
    }

    /// A new connection of a miner.
    pub(crate) fn connect(&mut self) -> usize {
        let conn = self.next_conn();
        self.players.push(Player::new(conn));
        self.handle(ProxyEvent::Connected(conn, arrival()));
        self.players.len() - 1
    }

    /// A miner that has its first job.
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
        assert!(self.players[miner].job.is_some(), "it has a job");
        miner
    }

    /// One line of a miner, which is on its way then.
    pub(crate) fn say(&mut self, miner: usize, line: &str) {
        let player = &mut self.players[miner];
        assert!(player.is_open, "a closed connection says nothing");
        player.expect_answer(line);
        let conn = player.conn;
        let bytes = format!("{line}\n").into_bytes();
        self.wires.push_back(Passing::ToProxy(conn, bytes));
    }

    /// A line whose answer nobody waits for.
    pub(crate) fn say_anything(&mut self, miner: usize, line: &str) {
        let player = &mut self.players[miner];
        player.hears_anything = true;
        let (conn, bytes) = (player.conn, format!("{line}\n").into_bytes());
        self.wires.push_back(Passing::ToProxy(conn, bytes));
    }

    /// A new miner that has asked for its session.
    pub(crate) fn connect_and_subscribe(&mut self) -> usize {
        let miner = self.connect();
        let line = r#"{"id":1,"method":"mining.subscribe","params":["agent"]}"#;
        self.say(miner, line);
        self.settle();
        miner
    }

    /// The operator of a server disables a user there.
    pub(crate) fn disable(&mut self, server: usize, user: &str) {
        self.servers[server].disable(self.now, user);
        self.collect(server);
        self.settle();
    }

    /// Somebody comes to a server without the proxy, and takes a session there.
    pub(crate) fn squat(&mut self, server: usize, session: u32) {
        let conn = ConnId(99 << 32 | 9_999);
        self.servers[server].connect(self.now, conn);
        let line = format!(
            "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"x\",\"{session:08x}\"]}}\n"
        );
        self.servers[server].receive(self.now, conn, line.as_bytes());
    }

    /// How many miners each server lost when it went down.
    pub(crate) fn lost(&self) -> Vec<usize> {
        let status = self.proxy.status();
        status.iter().map(|server| server.lost).collect()
    }

    /// A valid share of the job that a miner has; its id.
    pub(crate) fn submit(&mut self, miner: usize) -> u64 {
        let (id, line) = self.players[miner].share();
        self.say(miner, &line);
        id
    }

    /// Submits, and what is answered in the end.
    pub(crate) fn submit_and_see(&mut self, miner: usize) -> String {
        let id = self.submit(miner);
        self.settle();
        self.players[miner].answer(id)
    }

    pub(crate) fn leave(&mut self, miner: usize) {
        self.players[miner].is_open = false;
        let conn = self.players[miner].conn;
        self.wires.push_back(Passing::ClosedToProxy(conn));
        self.settle();
    }

    /// Where a miner is.
    pub(crate) fn server_of(&self, miner: usize) -> usize {
        let extra_nonce1 = self.players[miner].extra_nonce1.expect("it is subscribed");
        let has = |server: &&Server| server.has_session(extra_nonce1);
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
                    self.wires.push_back(Passing::ClosedToProxy(conn));
                }
            }
        }
    }

    /// What passes on the probe's connection to a server is lost from now on.
    pub(crate) fn lose_probe(&mut self, server: usize) {
        self.dead.insert(self.probes[&server]);
    }

    /// A server says what no server says, on each connection of a miner's.
    pub(crate) fn garble(&mut self, server: usize) {
        self.let_say(server, "what?");
    }

    /// A server says a line on each connection of a miner's.
    pub(crate) fn let_say(&mut self, server: usize, line: &str) {
        for conn in self.links_of(server) {
            let line = format!("{line}\n").into_bytes();
            self.wires.push_back(Passing::ToProxy(conn, line));
        }
    }

    pub(crate) fn revive(&mut self, server: usize) {
        let now = self.now;
        for conn in self.servers[server].die() {
            self.wires.push_back(Passing::ClosedToProxy(conn));
        }
        self.servers[server].start(now);
        self.collect(server);
    }

    /// A new block for one server.
    pub(crate) fn block(&mut self, server: usize) {
        self.servers[server].block(self.now);
        self.collect(server);
        self.settle();
    }

    pub(crate) fn drain(&mut self, server: usize, drain: BackendDrain) {
        self.handle(ProxyEvent::Drain(server, drain));
        self.settle();
    }

    /// A tick, after which nothing on the wires arrives yet.
    pub(crate) fn tick(&mut self) {
        self.now.ms += TICK_MS;
        self.now.unix_s = START_S + self.now.ms / 1000 - self.clock_behind_s;
        self.handle(ProxyEvent::Tick);
    }

    /// Time passes, in ticks; all that is on the wires arrives.
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

    /// Whatever is on the wires arrives, and what follows from it.
    pub(crate) fn settle(&mut self) {
        while self.step() {}
    }

    /// One thing arrives; false when nothing is on its way.
    pub(crate) fn step(&mut self) -> bool {
        if let Some((after, failing)) = self.failing
            && self.passed >= after
        {
            self.failing = None;
            let first = self.players.first();
            let session = first.and_then(|player| player.extra_nonce1);
            let has = |server: &&Server| session.is_none_or(|id| server.has_session(id));
            let number = self.servers.iter().find(has).map(|server| server.number);
            self.fail(number.unwrap_or(0), failing);
        }
        if self.handing_over.is_some_and(|after| self.passed >= after) {
            self.handing_over = None;
            self.hand_over();
        }
        let paused: Vec<ConnId> = self
            .players
            .iter()
            .filter(|p| p.is_paused)
            .map(|p| p.conn)
            .collect();
        self.wires.retain(|passing| match passing {
            Passing::ToProxy(conn, _) | Passing::ToServer(_, conn, _) => !self.dead.contains(conn),
            _ => true,
        });
        let ready = self.wires.iter().position(|passing| match passing {
            Passing::ToProxy(conn, _) => !paused.contains(conn),
            _ => true,
        });
        let Some(passing) = ready.and_then(|at| self.wires.remove(at)) else {
            return false;
        };
        self.passed += 1;
        match passing {
            Passing::ToProxy(conn, bytes) => self.handle(ProxyEvent::Received(conn, &bytes)),
            Passing::Opened(conn) => self.handle(ProxyEvent::Opened(conn)),
            Passing::ClosedToProxy(conn) => {
                // What was on its way before the end has arrived.
                self.links.remove(&conn);
                self.handle(ProxyEvent::Closed(conn));
            }
            Passing::ToServer(server, conn, bytes) => {
                self.servers[server].receive(self.now, conn, &bytes);
                self.collect(server);
            }
            Passing::ClosedToServer(server, conn) => {
                self.servers[server].close(self.now, conn);
                self.collect(server);
            }
            Passing::ToMiner(miner, bytes) => self.players[miner].hear(&bytes),
        }
        true
    }

    /// What a server has said goes onto the wires.
    fn collect(&mut self, server: usize) {
        let said = std::mem::take(&mut self.servers[server].said);
        for (conn, bytes) in said {
            self.wires.push_back(match bytes {
                Some(bytes) => Passing::ToProxy(conn, bytes),
                None => Passing::ClosedToProxy(conn),
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
            true => Passing::Opened(conn),
            false => Passing::ClosedToProxy(conn),
        });
    }

    fn perform(&mut self, action: ProxyAction, bytes: &[u8]) {
        let miner = |players: &[Player], conn| players.iter().position(|p| p.conn == conn);
        match action {
            ProxyAction::Send(conn, _) => match (miner(&self.players, conn), self.links.get(&conn)) {
                (Some(miner), _) => {
                    self.wires
                        .push_back(Passing::ToMiner(miner, bytes.to_vec()));
                }
                (None, Some(&server)) => {
                    let passing = Passing::ToServer(server, conn, bytes.to_vec());
                    self.wires.push_back(passing);
                }
                // Its end is on the way to the proxy.
                (None, None) => {}
            },
            ProxyAction::Pause(conn) => {
                let miner = miner(&self.players, conn).expect("a miner");
                self.players[miner].is_paused = true;
            }
            ProxyAction::Resume(conn) => {
                let miner = miner(&self.players, conn).expect("a miner");
                self.players[miner].is_paused = false;
            }
            ProxyAction::Close(conn, _) => {
                if let Some(miner) = miner(&self.players, conn) {
                    self.players[miner].is_open = false;
                } else if let Some(server) = self.links.remove(&conn) {
                    let end = Passing::ClosedToServer(server, conn);
                    self.wires.push_back(end);
                }
                self.wires.retain(|passing| match passing {
                    Passing::ToProxy(from, _)
                    | Passing::Opened(from)
                    | Passing::ClosedToProxy(from) => *from != conn,
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
