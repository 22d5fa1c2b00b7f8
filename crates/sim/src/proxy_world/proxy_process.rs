//! The proxy's process: the real driver between queues instead of sockets; its start, its end, and its
//! handover to another process.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use hstratum::net::proxy_header::{self, Header};
use hstratum::proxy::control::{ControlOrder, ProxyCommand};
use hstratum::proxy::driver::{Flags, ProxyDriver};
use hstratum::proxy::settings::{BackendAddress, ProxySettings};
use hstratum_core::event::Listening;
use hstratum_core::limits::{JOBLESS_GRACE_MS, PROXY_TICK_MS};
use hstratum_core::proxy::{NoBackend, Proxy, ProxyConfig};
use hstratum_core::units::ConnId;

use crate::proxy_world::link::{LinkPeer, arrival_of};
use crate::proxy_world::{ProxyWorld, ProxyWorldEvent};
use crate::server::net::LinkId;
use crate::server::secret;
use crate::server::sim_io::{SimHost, SimIo, Simulated, SocketAction};
use crate::world::injected_bug::InjectedBug;
use crate::world::note;
use crate::world::plan::{between, happens};

/// Time for which miners wait for a server.
pub(crate) const PATIENCE_MS: u64 = JOBLESS_GRACE_MS;
/// Latency between the proxy and a server, in milliseconds.
const LATENCY_MS: u64 = 3;

/// The process.
pub(crate) struct ProxyProcess {
    pub(crate) driver: ProxyDriver<SimIo>,
    pub(crate) sim_host: Arc<SimHost>,
    orders: Sender<ProxyCommand>,
    is_turn_due: bool,
    /// True while it accepts miners.
    pub(crate) is_listening: bool,
    /// The connections by their names in this process.
    pub(crate) links: BTreeMap<ConnId, LinkId>,
}

fn name_of(place: usize) -> String {
    format!("server{place}:3008")
}

/// A server's address after `moves` changes.
fn address_of(place: usize, moves: u8) -> SocketAddr {
    let host = u8::try_from(place).expect("few servers");
    SocketAddr::from(([10, 9, moves, host], 3008))
}

impl ProxyWorld {
    fn new_proxy_process(&mut self) -> ProxyProcess {
        let now = self.now();
        let mut key = [0; 32];
        self.rngs.proxy_process.fill(&mut key);
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
        let backends = places.map(|place| BackendAddress {
            name: name_of(place),
            address: None,
        });
        let settings = ProxySettings {
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
        let sim_host = Arc::new(SimHost::default());
        let (orders, mail) = channel();
        let ports = SimIo::new(now, sim_host.clone());
        for (place, server) in self.servers.iter().enumerate() {
            let mail = ProxyCommand::Addresses(place, vec![address_of(place, server.moves)]);
            orders.send(mail).expect("the driver reads it");
        }
        ProxyProcess {
            driver: ProxyDriver::new(
                ports,
                Proxy::new(config, now),
                settings,
                mail,
                Flags::default(),
            ),
            sim_host,
            orders,
            is_turn_due: false,
            is_listening: true,
            links: BTreeMap::new(),
        }
    }

    pub(crate) fn start_proxy_process(&mut self) {
        self.boot += 1;
        self.proxy_since_ms = self.now_ms;
        self.door_since_ms = self.now_ms;
        note!(self, "start     proxy number {}", self.boot);
        self.proxy_process = Some(self.new_proxy_process());
        self.after(0, ProxyWorldEvent::Tick(self.boot));
    }

    pub(crate) fn want_turn(&mut self) {
        let delay_ms = if happens(&mut self.rngs.proxy_process, self.faults.proxy_slow_turn) {
            self.inject("proxy slow turn");
            between(&mut self.rngs.proxy_process, 5, 500)
        } else {
            0
        };
        if let Some(proxy_process) = &mut self.proxy_process
            && !std::mem::replace(&mut proxy_process.is_turn_due, true)
        {
            self.after(delay_ms, ProxyWorldEvent::Turn(self.boot));
        }
    }

    pub(crate) fn tick(&mut self) {
        if self.proxy_process.is_some() {
            self.turn();
            self.after(PROXY_TICK_MS, ProxyWorldEvent::Tick(self.boot));
        }
    }

    /// Gives the proxy a turn, with everything that has come.
    pub(crate) fn turn(&mut self) {
        let Some(proxy_process) = &mut self.proxy_process else {
            return;
        };
        proxy_process.is_turn_due = false;
        if !self.drive(|driver| drop(driver.turn())) {
            return;
        }
        self.check_memory();
        let proxy_process = self.proxy_process.as_ref().expect("it has just had a turn");
        if !proxy_process.driver.net.reads.is_empty() {
            self.want_turn();
        }
    }

    /// Calls the driver; false if the proxy has failed in it, as injected.
    fn drive(&mut self, act: impl FnOnce(&mut ProxyDriver<SimIo>)) -> bool {
        let now = self.now();
        let proxy_process = self.proxy_process.as_mut().expect("there is a process");
        proxy_process.driver.net.now = now;
        match catch_unwind(AssertUnwindSafe(|| act(&mut proxy_process.driver))) {
            Ok(()) => {
                self.carry_out();
                true
            }
            Err(failure) if failure.is::<Simulated>() => {
                self.fail_proxy_process();
                false
            }
            Err(failure) => resume_unwind(failure),
        }
    }

    /// Sends an order of the operator to the proxy.
    pub(crate) fn order(&mut self, order: ControlOrder) {
        if let Some(proxy_process) = &self.proxy_process {
            // The answer is not awaited.
            let mail = ProxyCommand::Order(order, channel().0);
            proxy_process
                .orders
                .send(mail)
                .expect("the driver reads it");
            self.want_turn();
        }
    }

    /// Looks up a server's address for the proxy.
    pub(crate) fn look_up(&mut self, place: usize) {
        let moves = self.servers[place].moves;
        self.see_server(place);
        if let Some(proxy_process) = &self.proxy_process
            && self.injected_bug != Some(InjectedBug::StaleAddress)
        {
            let mail = ProxyCommand::Addresses(place, vec![address_of(place, moves)]);
            proxy_process
                .orders
                .send(mail)
                .expect("the driver reads it");
            self.want_turn();
        }
    }

    pub(crate) fn drain_order(place: usize) -> ControlOrder {
        ControlOrder::Drain(name_of(place))
    }

    pub(crate) fn fill_order(place: usize) -> ControlOrder {
        ControlOrder::Fill(name_of(place))
    }

    /// Applies everything that the proxy has done in a turn.
    fn carry_out(&mut self) {
        let proxy_process = self.proxy_process.as_mut().expect("it has just had a turn");
        let out = std::mem::take(&mut proxy_process.driver.net.out);
        let said = proxy_process.sim_host.take();
        if let Some(words) = said.fails_in {
            proxy_process.sim_host.fail_in(words);
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
                SocketAction::Send(conn, bytes) => self.send(conn, bytes),
                SocketAction::Close(conn) => self.close_link(conn),
                SocketAction::Dial(conn, address, preface) => self.dial(conn, address, &preface),
                SocketAction::ResetAll => {}
                SocketAction::Listen(listening) => self.listen(listening),
            }
        }
        self.flush();
    }

    fn link_of(&self, conn: ConnId) -> Option<LinkId> {
        let link = *self.proxy_process.as_ref()?.links.get(&conn)?;
        self.links.get(&link)?.is_open().then_some(link)
    }

    fn send(&mut self, conn: ConnId, bytes: Vec<u8>) {
        let Some(link) = self.link_of(conn) else {
            return;
        };
        let bytes = match self.links[&link].peer {
            LinkPeer::Server(_, _, rig) => {
                let bytes = self.inject_old_job(link, bytes);
                let bytes = self.inject_long_line(bytes);
                self.see_submits(link, rig, &bytes);
                bytes
            }
            LinkPeer::Miner(rig) => self.inject_answer(rig, bytes),
        };
        let state = self.links.get_mut(&link).expect("it was just there");
        state.out.extend_from_slice(&bytes);
    }

    /// Starts or stops accepting miners; on a stop, connections that have sent nothing yet are closed
    /// too.
    fn listen(&mut self, listening: Listening) {
        let proxy_process = self.proxy_process.as_mut().expect("it has just had a turn");
        note!(self, "proxy     listening {listening:?}");
        let planted = match listening {
            Listening::On => InjectedBug::DeafProxy,
            Listening::Off => InjectedBug::HeldNewcomers,
        };
        if self.injected_bug == Some(planted) {
            return;
        }
        proxy_process.is_listening = listening == Listening::On;
        if listening == Listening::Off {
            self.inject("proxy refuses");
            let unknown = self.links.iter().filter(|(_, state)| {
                let is_here = state.boot == self.boot && state.is_open() && !state.is_known;
                is_here && !state.is_servers()
            });
            let unknown: Vec<LinkId> = unknown.map(|(link, _)| *link).collect();
            self.end_links(&unknown);
        }
    }

    /// Closes a connection for the proxy, after the bytes it has written.
    fn close_link(&mut self, conn: ConnId) {
        let Some(link) = self.link_of(conn) else {
            return;
        };
        self.flush();
        let peer = self.links[&link].peer;
        match peer {
            LinkPeer::Miner(rig) => {
                note!(self, "{rig:<2} closed by the proxy");
                self.check_drop(rig, link);
                self.end_proxys(link);
                self.end_miners(link);
            }
            LinkPeer::Server(place, conn, rig) => {
                if let Some(rig) = rig {
                    note!(self, "{rig:<2} leaves s{place}");
                }
                self.end_proxys(link);
                if let Some(conn) = conn {
                    let world = &mut self.servers[place].world;
                    world.now_ms = self.now_ms;
                    world.end_link(conn);
                }
                if let (Some(rig), Some(InjectedBug::DroppedMiner)) = (rig, self.injected_bug) {
                    self.inject_drop(rig);
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
        let rig = source.and_then(|source| self.miner_at(source));
        let link = self.add_link(LinkPeer::Server(place, None, rig), conn, LATENCY_MS);
        if let Some(rig) = rig {
            note!(self, "{rig:<2} goes to s{place}");
        }
        let happening = match is_there {
            true => ProxyWorldEvent::Dialed(link),
            false => ProxyWorldEvent::Taken(link, false),
        };
        self.after(LATENCY_MS, happening);
    }

    fn miner_at(&self, address: IpAddr) -> Option<usize> {
        (0..self.rigs.len()).find(|rig| arrival_of(*rig).address == address)
    }

    /// True if the proxy takes a server to be up.
    pub(crate) fn is_up(&self, place: usize) -> bool {
        let proxy_process = self.proxy_process.as_ref();
        proxy_process
            .is_some_and(|proxy_process| proxy_process.driver.proxy().status()[place].state == "up")
    }

    /// Handles a failure of the proxy: its connections end, and it starts again later.
    pub(crate) fn fail_proxy_process(&mut self) {
        self.inject("proxy panic");
        note!(self, "proxy     fails");
        self.end_proxy_process();
        let delay_ms = between(&mut self.rngs.proxy_process, 200, 5_000);
        self.after(delay_ms, ProxyWorldEvent::Start);
    }

    /// Ends the process, and with it its connections.
    pub(crate) fn end_proxy_process(&mut self) {
        let Some(proxy_process) = self.proxy_process.take() else {
            return;
        };
        self.count(proxy_process.driver.proxy().counts());
        let kept: Vec<LinkId> = proxy_process.links.values().copied().collect();
        self.end_links(&kept);
    }

    /// Closes these connections without any bytes from the proxy.
    fn end_links(&mut self, links: &[LinkId]) {
        for link in links {
            let Some(state) = self.links.get(link).filter(|state| state.is_open()) else {
                continue;
            };
            let peer = state.peer;
            self.end_proxys(*link);
            match peer {
                LinkPeer::Miner(_) => self.end_miners(*link),
                LinkPeer::Server(place, Some(conn), _) => {
                    let world = &mut self.servers[place].world;
                    world.now_ms = self.now_ms;
                    world.end_link(conn);
                }
                LinkPeer::Server(_, None, _) => {}
            }
        }
    }

    /// Hands everything over to another process; in a fourth of the cases that fails, and this process
    /// continues.
    pub(crate) fn hand_over(&mut self) {
        if self.proxy_process.is_none() || !self.drive(ProxyDriver::freeze) {
            return;
        }
        if self.rngs.proxy_process.u8(..4) == 0 {
            note!(self, "proxy     fails to hand over");
            self.inject("failed hand-over");
            self.drive(ProxyDriver::go_on);
            return;
        }
        let mut old = self.proxy_process.take().expect("it was just there");
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
        let all: Vec<LinkId> = old.links.values().copied().collect();
        let kept = moving
            .iter()
            .flat_map(|(conn, link, _)| [Some(*conn), *link]);
        let kept: Vec<LinkId> = kept.flatten().map(|conn| old.links[&conn]).collect();
        let left: Vec<LinkId> = all
            .into_iter()
            .filter(|link| !kept.contains(link))
            .collect();
        self.boot += 1;
        // The new process cannot know for how long there has been no server.
        self.door_since_ms = self.now_ms;
        // A connection that has sent nothing yet waits in the listening socket's queue, or is lost with
        // it.
        self.end_links(&left);
        self.proxy_process = Some(self.new_proxy_process());
        for (conn, link, text) in moving {
            self.pass_on(&mut old, conn, link, &text);
        }
        self.carry_out();
        self.after(0, ProxyWorldEvent::Tick(self.boot));
    }

    /// Hands a miner to the new process, with its unread bytes.
    fn pass_on(&mut self, old: &mut ProxyProcess, conn: ConnId, link: Option<ConnId>, text: &str) {
        let miner = old.links[&conn];
        let LinkPeer::Miner(rig) = self.links[&miner].peer else {
            panic!("{conn:?} is no miner's");
        };
        let conn = self.adopt(old, conn);
        let link = link.map(|link| self.adopt(old, link));
        let proxy_process = self.proxy_process.as_mut().expect("the new process");
        let state = serde_json::from_str(text).expect("it was written by the same program");
        let is_taken = proxy_process
            .driver
            .go_on_with((conn, arrival_of(rig)), link, state);
        assert!(is_taken, "it was written by the same program");
    }

    fn adopt(&mut self, old: &mut ProxyProcess, conn: ConnId) -> ConnId {
        let link = old.links[&conn];
        let unread = old.driver.net.take_unread(conn);
        let proxy_process = self.proxy_process.as_mut().expect("the new process");
        let state = self.links.get_mut(&link).expect("it is not long gone");
        let new = proxy_process.driver.net.adopt(state.is_servers());
        state.conn = new;
        state.boot = self.boot;
        proxy_process.links.insert(new, link);
        for read in unread {
            proxy_process.driver.net.reads.push_back((new, read));
        }
        new
    }
}
