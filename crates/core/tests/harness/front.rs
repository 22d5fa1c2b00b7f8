//! A proxy between the miners of the harness and its pool, so that the same test can run through it.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use hstratum_core::event::{Action, Arrival, ArrivalKind, CloseHow, Event, Listening};
use hstratum_core::limits::{PROXY_SCORE_MAX, PROXY_TICK_MS, SCORE_MAX};
use hstratum_core::proxy::{self, NoBackend, Proxy, ProxyConfig, Purpose};
use hstratum_core::units::{ConnId, Now};

use super::seat::name_of;
use super::{Miner, Output, Table};

/// True if every harness has a proxy.
pub(super) const IS_EVERYWHERE: bool = is_proxied(env!("CARGO_CRATE_NAME"));

const fn is_proxied(name: &str) -> bool {
    matches!(name.as_bytes(), b"proxied")
}

/// The score at which a connection is dropped: a proxy is stricter than its servers.
pub(crate) const SCORE_LIMIT: u32 = match IS_EVERYWHERE {
    true => PROXY_SCORE_MAX,
    false => SCORE_MAX,
};

/// True if a test is skipped behind a proxy, for this reason.
pub(crate) fn differs_behind_a_proxy(why: &str) -> bool {
    if IS_EVERYWHERE {
        println!("left out: {why}");
    }
    IS_EVERYWHERE
}

/// A message on its way between the proxy and the pool.
pub(super) enum Wire {
    Connect(ConnId, Arrival),
    ToPool(ConnId, Vec<u8>),
    EndToPool(ConnId),
    ToProxy(ConnId, Vec<u8>),
    EndToProxy(ConnId),
}

/// A connection of the proxy to the pool.
struct Link {
    purpose: Purpose,
    is_paused: bool,
    /// Bytes that the pool has not read.
    held: Vec<Vec<u8>>,
}

/// The proxy with its connections to the pool.
pub(super) struct Front {
    proxy: Proxy,
    ms: u64,
    made: u64,
    links: HashMap<ConnId, Link>,
    pub(super) wires: VecDeque<Wire>,
    is_pool_listening: bool,
}

/// First slot of connections to the pool; miners have those below.
const LINKS_FROM: u64 = 1_000;
/// The proxy probes a server every 200 ms, and a miner that has lost its server looks for another within
/// 750 ms.
const LOOK_MS: u64 = 1_200;

/// The answer of a server without this method: the proxy then sends miners to it whether it has a job or
/// not.
const UNKNOWN: &[u8] = b"{\"id\":\"p\",\"result\":null,\"error\":[0,\"unknown method\",false]}\n";

fn is_hello(bytes: &[u8]) -> bool {
    // The first one comes with the subscribe, which the pool answers.
    String::from_utf8_lossy(bytes).contains("hstratum.hello")
}

impl Front {
    fn new(now: Now, public_host: Option<String>) -> Self {
        let config = ProxyConfig {
            backends: vec!["pool:3008".to_owned()],
            prefix: 1,
            key: [9; 32],
            secret: None,
            no_backend: NoBackend::Wait(15_000),
            probe_timeout_ms: 500,
            public_host,
            public_port: 3008,
        };
        Self {
            proxy: Proxy::new(config, now),
            ms: now.ms,
            made: 0,
            links: HashMap::new(),
            wires: VecDeque::new(),
            is_pool_listening: true,
        }
    }
}

impl Table {
    /// Adds a proxy before the pool, which tells the pool the miners' addresses.
    pub(crate) fn behind_a_proxy(mut self, public_host: Option<String>) -> Self {
        self.front = Some(Box::new(Front::new(self.now, public_host)));
        self.look_through_front();
        self
    }

    /// Gives the proxy time to probe the pool.
    pub(crate) fn look_through_front(&mut self) {
        self.advance_front(LOOK_MS);
    }

    /// Lets time pass for the proxy.
    pub(super) fn advance_front(&mut self, ms: u64) {
        for _ in 0..ms / PROXY_TICK_MS {
            let Some(front) = &mut self.front else { return };
            front.ms += PROXY_TICK_MS;
            self.tell_front(proxy::ProxyEvent::Tick);
            self.settle();
        }
    }

    pub(super) fn tell_front(&mut self, event: proxy::ProxyEvent<'_>) {
        let mut front = self.front.take().expect("there is a proxy");
        let now = Now {
            ms: front.ms,
            unix_s: self.now.unix_s,
        };
        let mut actions = proxy::ProxyActions::default();
        front.proxy.handle(now, event, &mut actions);
        let mut dialed = Vec::new();
        actions.drain(|action, bytes| self.perform_front(&mut front, action, bytes, &mut dialed));
        self.front = Some(front);
        for (purpose, conn) in dialed {
            self.tell_front(proxy::ProxyEvent::Dialed(purpose, Some(conn)));
        }
    }

    fn perform_front(
        &mut self,
        front: &mut Front,
        action: proxy::ProxyAction,
        bytes: &[u8],
        dialed: &mut Vec<(Purpose, ConnId)>,
    ) {
        match action {
            proxy::ProxyAction::Send(conn, _) if front.links.contains_key(&conn) => {
                front.wires.push_back(Wire::ToPool(conn, bytes.to_vec()));
            }
            proxy::ProxyAction::Send(conn, _) => {
                if let Some(miner) = self.miner_of(conn) {
                    self.deliver(miner, bytes);
                }
            }
            proxy::ProxyAction::Dial(purpose, source) => {
                let taken =
                    |slot: &u64| front.links.keys().any(|conn| conn.0 & 0xffff_ffff == *slot);
                let slot = (LINKS_FROM..).find(|slot| !taken(slot)).expect("a slot");
                front.made += 1;
                let conn = ConnId((1 << 60) | front.made << 32 | slot);
                let link = Link {
                    purpose,
                    is_paused: false,
                    held: Vec::new(),
                };
                front.links.insert(conn, link);
                let arrival = Arrival {
                    address: source.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                    kind: match source {
                        Some(_) => ArrivalKind::Miner,
                        None => ArrivalKind::Proxy,
                    },
                    difficulty: self.difficulty,
                };
                front.wires.push_back(Wire::Connect(conn, arrival));
                dialed.push((purpose, conn));
            }
            proxy::ProxyAction::Pause(conn) | proxy::ProxyAction::Resume(conn) => {
                let is_paused = matches!(action, proxy::ProxyAction::Pause(_));
                if let Some(miner) = self.miner_of(conn) {
                    self.seats[miner.0].pause(is_paused);
                }
            }
            proxy::ProxyAction::Close(conn, how) => {
                if front.links.remove(&conn).is_some() {
                    front.wires.push_back(Wire::EndToPool(conn));
                } else if let Some(miner) = self.miner_of(conn) {
                    let text = name_of(&Action::Close(conn, how)).expect("it has words");
                    self.output.push(Output::Effect(Some(miner), text));
                    self.seats[miner.0].end();
                }
            }
            proxy::ProxyAction::Log(_, text) => self.log.push(text),
            proxy::ProxyAction::Admitted(_)
            | proxy::ProxyAction::Proven(_)
            | proxy::ProxyAction::Listen(_)
            | proxy::ProxyAction::Moved(_) => {}
        }
    }

    fn miner_of(&self, conn: ConnId) -> Option<Miner> {
        let seat = self
            .seats
            .iter()
            .rposition(|seat| seat.conn == conn && seat.is_open);
        seat.map(Miner)
    }

    /// Delivers a message.
    pub(super) fn carry(&mut self, wire: Wire) {
        let front = self.front.as_mut().expect("there is a proxy");
        match wire {
            Wire::Connect(conn, _) if !front.links.contains_key(&conn) => {}
            Wire::Connect(conn, _) if !front.is_pool_listening => {
                front.links.remove(&conn);
                self.tell_front(proxy::ProxyEvent::Closed(conn));
            }
            Wire::Connect(conn, arrival) => {
                self.step(Event::Connected(conn, arrival));
                let front = self.front.as_ref().expect("as before");
                if front.links.contains_key(&conn) {
                    self.tell_front(proxy::ProxyEvent::Opened(conn));
                }
            }
            Wire::ToPool(conn, bytes) => match front.links.get_mut(&conn) {
                None => {}
                Some(link) if link.is_paused => link.held.push(bytes),
                Some(link) if matches!(link.purpose, Purpose::Probe(_)) && is_hello(&bytes) => {
                    let subscribe = bytes.split_inclusive(|byte| *byte == b'\n').next();
                    let subscribe = subscribe.filter(|line| !is_hello(line));
                    if let Some(line) = subscribe {
                        self.step(Event::Received(conn, line));
                    }
                    let front = self.front.as_mut().expect("as before");
                    front.wires.push_back(Wire::ToProxy(conn, UNKNOWN.to_vec()));
                }
                Some(_) => self.step(Event::Received(conn, &bytes)),
            },
            Wire::EndToPool(conn) => self.step(Event::Closed(conn)),
            Wire::ToProxy(conn, bytes) => {
                self.tell_front(proxy::ProxyEvent::Received(conn, &bytes));
            }
            Wire::EndToProxy(conn) => self.tell_front(proxy::ProxyEvent::Closed(conn)),
        }
    }

    /// Applies a pool's action on a connection of the proxy; false if it is not on one.
    pub(super) fn perform_for_front(&mut self, action: &Action, bytes: &[u8]) -> bool {
        let Some(front) = &mut self.front else {
            return false;
        };
        let Front { links, wires, .. } = &mut **front;
        match action {
            Action::Send(conn, _) if links.contains_key(conn) => {
                wires.push_back(Wire::ToProxy(*conn, bytes.to_vec()));
            }
            Action::SendShared(conn, line) if links.contains_key(conn) => {
                wires.push_back(Wire::ToProxy(*conn, line.to_vec()));
            }
            Action::Pause(conn) => {
                if let Some(link) = links.get_mut(conn) {
                    link.is_paused = true;
                }
            }
            Action::Resume(conn) => {
                if let Some(link) = links.get_mut(conn) {
                    link.is_paused = false;
                    for bytes in link.held.drain(..).rev() {
                        wires.push_front(Wire::ToPool(*conn, bytes));
                    }
                }
            }
            Action::Close(conn, CloseHow::Reset | CloseHow::Flushed) => {
                if links.remove(conn).is_some() {
                    wires.push_back(Wire::EndToProxy(*conn));
                }
            }
            // The proxy has closed it already.
            Action::Send(..) | Action::SendShared(..) | Action::Admitted(_) => {}
            Action::Listen(listening) => {
                front.is_pool_listening = *listening == Listening::On;
                return false;
            }
            _ => return false,
        }
        true
    }
}
