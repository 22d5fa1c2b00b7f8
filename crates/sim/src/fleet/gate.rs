//! The proxy's process: the real driver between queues instead of sockets; its start, its end, and its
//! handover to another process.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use hstratum::net::proxy_header::{self, Header};
use hstratum::proxy::control::{Mail, Order};
use hstratum::proxy::driver::{Driver, Flags};
use hstratum::proxy::settings::{Backend, Settings};
use hstratum_core::event::Listening;
use hstratum_core::limits::{JOBLESS_GRACE_MS, PROXY_TICK_MS};
use hstratum_core::proxy::{NoBackend, Proxy, ProxyConfig};
use hstratum_core::units::ConnId;

use crate::fleet::cord::{Far, arrival_of};
use crate::fleet::{Fleet, Happening};
use crate::net::Cord;
use crate::plan::{between, happens};
use crate::plant::Plant;
use crate::ports::{Ear, Out, Ports, Simulated};
use crate::server::secret;
use crate::world::note;

/// Time for which miners wait for a server.
pub(crate) const PATIENCE_MS: u64 = JOBLESS_GRACE_MS;
/// Latency between the proxy and a server, in milliseconds.
const LATENCY_MS: u64 = 3;

/// The process.
pub(crate) struct Gate {
    pub(crate) driver: Driver<Ports>,
    pub(crate) ear: Arc<Ear>,
    orders: Sender<Mail>,
    is_turn_due: bool,
    /// True while it accepts miners.
    pub(crate) is_listening: bool,
    /// The connections by their names in this process.
    pub(crate) cords: BTreeMap<ConnId, Cord>,
}

fn name_of(place: usize) -> String {
    format!("server{place}:3008")
}

/// A server's address after `moves` changes.
fn address_of(place: usize, moves: u8) -> SocketAddr {
    let host = u8::try_from(place).expect("few servers");
    SocketAddr::from(([10, 9, moves, host], 3008))
}

impl Fleet {
    fn new_gate(&mut self) -> Gate {
        let now = self.now();
        let mut key = [0; 32];
        self.rngs.gate.fill(&mut key);
        let places = 0..self.servers.len();
        let has_secret = self.plan.has_secret;
        let config = ProxyConfig {
            backends: places.clone().map(name_of).collect(),
            prefix: 1,
            key,
            secret: has_secret.then(secret),
            no_backend: NoBackend::Wait(PATIENCE_MS),
            probe_timeout_ms: 700,
            public_host: None,
            public_port: 3008,
        };
        let backends = places.map(|place| Backend {
            name: name_of(place),
            address: None,
        });
        let settings = Settings {
            listen: Vec::new(),
            backends: backends.collect(),
            secret: config.secret.clone(),
            prefix: config.prefix,
            no_backend: config.no_backend,
            probe_timeout_ms: config.probe_timeout_ms,
            // The simulator reads from it which miner a connection is for.
            send_proxy: true,
            proxy_protocol: Vec::new(),
            max_inbound: 1_000,
            max_per_address: 0,
            tls: None,
            public_host: None,
            http_host_names: Vec::new(),
            public_port: None,
            http: None,
            control: None,
            take_over: None,
        };
        let ear = Arc::new(Ear::default());
        let (orders, mail) = channel();
        let ports = Ports::new(now, ear.clone());
        for (place, server) in self.servers.iter().enumerate() {
            let mail = Mail::Addresses(place, vec![address_of(place, server.moves)]);
            orders.send(mail).expect("the driver reads it");
        }
        Gate {
            driver: Driver::new(
                ports,
                Proxy::new(config, now),
                settings,
                mail,
                Flags::default(),
            ),
            ear,
            orders,
            is_turn_due: false,
            is_listening: true,
            cords: BTreeMap::new(),
        }
    }

    pub(crate) fn start_gate(&mut self) {
        self.boot += 1;
        self.gate_since_ms = self.now_ms;
        self.door_since_ms = self.now_ms;
        note!(self, "start     proxy number {}", self.boot);
        self.gate = Some(self.new_gate());
        self.after(0, Happening::Tick(self.boot));
    }

    pub(crate) fn want_turn(&mut self) {
        let delay_ms = if happens(&mut self.rngs.gate, self.faults.proxy_slow_turn) {
            self.inject("proxy slow turn");
            between(&mut self.rngs.gate, 5, 500)
        } else {
            0
        };
        if let Some(gate) = &mut self.gate
            && !std::mem::replace(&mut gate.is_turn_due, true)
        {
            self.after(delay_ms, Happening::Turn(self.boot));
        }
    }

    pub(crate) fn tick(&mut self) {
        if self.gate.is_some() {
            self.turn();
            self.after(PROXY_TICK_MS, Happening::Tick(self.boot));
        }
    }

    /// Gives the proxy a turn, with everything that has come.
    pub(crate) fn turn(&mut self) {
        let Some(gate) = &mut self.gate else { return };
        gate.is_turn_due = false;
        if !self.drive(|driver| drop(driver.turn())) {
            return;
        }
        self.count_gate();
        let gate = self.gate.as_ref().expect("it has just had a turn");
        if !gate.driver.net.reads.is_empty() {
            self.want_turn();
        }
    }

    /// Calls the driver; false if the proxy has failed in it, as injected.
    fn drive(&mut self, act: impl FnOnce(&mut Driver<Ports>)) -> bool {
        let now = self.now();
        let gate = self.gate.as_mut().expect("there is a process");
        gate.driver.net.now = now;
        match catch_unwind(AssertUnwindSafe(|| act(&mut gate.driver))) {
            Ok(()) => {
                self.carry_out();
                true
            }
            Err(failure) if failure.is::<Simulated>() => {
                self.fail_gate();
                false
            }
            Err(failure) => resume_unwind(failure),
        }
    }

    /// Sends an order of the operator to the proxy.
    pub(crate) fn order(&mut self, order: Order) {
        if let Some(gate) = &self.gate {
            // The answer is not awaited.
            let mail = Mail::Order(order, channel().0);
            gate.orders.send(mail).expect("the driver reads it");
            self.want_turn();
        }
    }

    /// Looks up a server's address for the proxy.
    pub(crate) fn look_up(&mut self, place: usize) {
        let moves = self.servers[place].moves;
        self.see_server(place);
        if let Some(gate) = &self.gate
            && self.plant != Some(Plant::StaleAddress)
        {
            let mail = Mail::Addresses(place, vec![address_of(place, moves)]);
            gate.orders.send(mail).expect("the driver reads it");
            self.want_turn();
        }
    }

    pub(crate) fn drain_order(place: usize) -> Order {
        Order::Drain(name_of(place))
    }

    pub(crate) fn fill_order(place: usize) -> Order {
        Order::Fill(name_of(place))
    }

    /// Applies everything that the proxy has done in a turn.
    fn carry_out(&mut self) {
        let gate = self.gate.as_mut().expect("it has just had a turn");
        let out = std::mem::take(&mut gate.driver.net.out);
        let said = gate.ear.take();
        if let Some(words) = said.fails_in {
            gate.ear.fail_in(words);
        }
        for (level, text) in said.log {
            assert!(
                !text.contains("nonsense"),
                "no server talks nonsense: {text}"
            );
            note!(self, "log       {level:?}: {text}");
        }
        for out in out {
            match out {
                Out::Send(conn, bytes) => self.send(conn, bytes),
                Out::Close(conn) => self.close_cord(conn),
                Out::Dial(conn, address, preface) => self.dial(conn, address, &preface),
                Out::ResetAll => {}
                Out::Listen(listening) => self.listen(listening),
            }
        }
        self.flush();
    }

    fn cord_of(&self, conn: ConnId) -> Option<Cord> {
        let cord = *self.gate.as_ref()?.cords.get(&conn)?;
        self.cords.get(&cord)?.is_open().then_some(cord)
    }

    fn send(&mut self, conn: ConnId, bytes: Vec<u8>) {
        let Some(cord) = self.cord_of(conn) else {
            return;
        };
        let bytes = match self.cords[&cord].far {
            Far::Server(_, _, rig) => {
                let bytes = self.plant_old_job(cord, bytes);
                let bytes = self.plant_long_line(bytes);
                self.see_submits(cord, rig, &bytes);
                bytes
            }
            Far::Miner(rig) => self.plant_answer(rig, bytes),
        };
        let state = self.cords.get_mut(&cord).expect("it was just there");
        state.out.extend_from_slice(&bytes);
    }

    /// Starts or stops accepting miners; on a stop, connections that have sent nothing yet are closed
    /// too.
    fn listen(&mut self, listening: Listening) {
        let gate = self.gate.as_mut().expect("it has just had a turn");
        note!(self, "proxy     listening {listening:?}");
        let planted = match listening {
            Listening::On => Plant::DeafProxy,
            Listening::Off => Plant::HeldNewcomers,
        };
        if self.plant == Some(planted) {
            return;
        }
        gate.is_listening = listening == Listening::On;
        if listening == Listening::Off {
            self.inject("proxy refuses");
            let unknown = self.cords.iter().filter(|(_, state)| {
                let is_here = state.boot == self.boot && state.is_open() && !state.is_known;
                is_here && !state.is_servers()
            });
            let unknown: Vec<Cord> = unknown.map(|(cord, _)| *cord).collect();
            self.end_cords(&unknown);
        }
    }

    /// Closes a connection for the proxy, after the bytes it has written.
    fn close_cord(&mut self, conn: ConnId) {
        let Some(cord) = self.cord_of(conn) else {
            return;
        };
        self.flush();
        let far = self.cords[&cord].far;
        match far {
            Far::Miner(rig) => {
                note!(self, "{rig:<2} closed by the proxy");
                self.check_drop(rig, cord);
                self.end_proxys(cord);
                self.end_miners(cord);
            }
            Far::Server(place, conn, rig) => {
                if let Some(rig) = rig {
                    note!(self, "{rig:<2} leaves s{place}");
                }
                self.end_proxys(cord);
                if let Some(conn) = conn {
                    let world = &mut self.servers[place].world;
                    world.now_ms = self.now_ms;
                    world.end_cord(conn);
                }
                if let (Some(rig), Some(Plant::DroppedMiner)) = (rig, self.plant) {
                    self.plant_drop(rig);
                }
            }
        }
    }

    fn dial(&mut self, conn: ConnId, address: SocketAddr, preface: &[u8]) {
        let IpAddr::V4(ip) = address.ip() else {
            panic!("no server is at {address}");
        };
        let place = usize::from(ip.octets()[3]);
        let is_there = address_of(place, self.servers[place].moves) == address;
        let Header::Whole { source, .. } = proxy_header::parse(preface) else {
            panic!("a server would not read {preface:?}");
        };
        let rig = source.and_then(|source| self.rig_at(source));
        let cord = self.add_cord(Far::Server(place, None, rig), conn, LATENCY_MS);
        if let Some(rig) = rig {
            note!(self, "{rig:<2} goes to s{place}");
        }
        let happening = match is_there {
            true => Happening::Dialed(cord),
            false => Happening::Taken(cord, false),
        };
        self.after(LATENCY_MS, happening);
    }

    fn rig_at(&self, address: IpAddr) -> Option<usize> {
        (0..self.rigs.len()).find(|rig| arrival_of(*rig).address == address)
    }

    /// True if the proxy takes a server to be up.
    pub(crate) fn is_up(&self, place: usize) -> bool {
        let gate = self.gate.as_ref();
        gate.is_some_and(|gate| gate.driver.proxy().status()[place].state == "up")
    }

    /// Handles a failure of the proxy: its connections end, and it starts again later.
    pub(crate) fn fail_gate(&mut self) {
        self.inject("proxy panic");
        note!(self, "proxy     fails");
        self.end_gate();
        let delay_ms = between(&mut self.rngs.gate, 200, 5_000);
        self.after(delay_ms, Happening::Start);
    }

    /// Ends the process, and with it its connections.
    pub(crate) fn end_gate(&mut self) {
        let Some(gate) = self.gate.take() else { return };
        self.count(gate.driver.proxy().counts());
        let kept: Vec<Cord> = gate.cords.values().copied().collect();
        self.end_cords(&kept);
    }

    /// Closes these connections without any bytes from the proxy.
    fn end_cords(&mut self, cords: &[Cord]) {
        for cord in cords {
            let Some(state) = self.cords.get(cord).filter(|state| state.is_open()) else {
                continue;
            };
            let far = state.far;
            self.end_proxys(*cord);
            match far {
                Far::Miner(_) => self.end_miners(*cord),
                Far::Server(place, Some(conn), _) => {
                    let world = &mut self.servers[place].world;
                    world.now_ms = self.now_ms;
                    world.end_cord(conn);
                }
                Far::Server(_, None, _) => {}
            }
        }
    }

    /// Hands everything over to another process; in a fourth of the cases that fails, and this process
    /// continues.
    pub(crate) fn hand_over(&mut self) {
        if self.gate.is_none() || !self.drive(Driver::freeze) {
            return;
        }
        if self.rngs.gate.u8(..4) == 0 {
            note!(self, "proxy     fails to hand over");
            self.inject("failed hand-over");
            self.drive(Driver::go_on);
            return;
        }
        let mut old = self.gate.take().expect("it was just there");
        self.count(old.driver.proxy().counts());
        let moving: Vec<(ConnId, Option<ConnId>, String)> = old
            .driver
            .proxy()
            .hand_over()
            .map(|(conn, link, state)| {
                let text = serde_json::to_string(&state).expect("plain data");
                (conn, link, text)
            })
            .collect();
        self.inject("hand-over");
        note!(self, "proxy     hands {} miners over", moving.len());
        let all: Vec<Cord> = old.cords.values().copied().collect();
        let kept = moving
            .iter()
            .flat_map(|(conn, link, _)| [Some(*conn), *link]);
        let kept: Vec<Cord> = kept.flatten().map(|conn| old.cords[&conn]).collect();
        let left: Vec<Cord> = all
            .into_iter()
            .filter(|cord| !kept.contains(cord))
            .collect();
        self.boot += 1;
        // The new process cannot know for how long there has been no server.
        self.door_since_ms = self.now_ms;
        // A connection that has sent nothing yet waits in the listening socket's queue, or is lost with
        // it.
        self.end_cords(&left);
        self.gate = Some(self.new_gate());
        for (conn, link, text) in moving {
            self.pass_on(&mut old, conn, link, &text);
        }
        self.carry_out();
        self.after(0, Happening::Tick(self.boot));
    }

    /// Hands a miner to the new process, with its unread bytes.
    fn pass_on(&mut self, old: &mut Gate, conn: ConnId, link: Option<ConnId>, text: &str) {
        let miner = old.cords[&conn];
        let Far::Miner(rig) = self.cords[&miner].far else {
            panic!("{conn:?} is no miner's");
        };
        let conn = self.adopt(old, conn);
        let link = link.map(|link| self.adopt(old, link));
        let gate = self.gate.as_mut().expect("the new process");
        let state = serde_json::from_str(text).expect("it was written by the same program");
        let is_taken = gate.driver.go_on_with((conn, arrival_of(rig)), link, state);
        assert!(is_taken, "it was written by the same program");
    }

    fn adopt(&mut self, old: &mut Gate, conn: ConnId) -> ConnId {
        let cord = old.cords[&conn];
        let unread = old.driver.net.take_unread(conn);
        let gate = self.gate.as_mut().expect("the new process");
        let state = self.cords.get_mut(&cord).expect("it is not long gone");
        let new = gate.driver.net.adopt(state.is_servers());
        state.conn = new;
        state.boot = self.boot;
        gate.cords.insert(new, cord);
        for read in unread {
            gate.driver.net.reads.push_back((new, read));
        }
        new
    }
}
