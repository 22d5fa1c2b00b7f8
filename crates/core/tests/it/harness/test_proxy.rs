//! A proxy between the miners of the harness and its pool, so that the same test can run through it.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use hstratum_core::event::{Action, Arrival, ArrivalKind, CloseHow, Event, Listening};
use hstratum_core::limits::{PROXY_SCORE_MAX, PROXY_TICK_MS, SCORE_MAX};
use hstratum_core::proxy::{self, NoBackend, Proxy, ProxyConfig, Purpose};
use hstratum_core::units::{ConnId, Now};

use super::test_miner::name_of;
use super::{Miner, Output, PoolHarness, Setup};

/// The way of a suite's miners to the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Direct,
    ThroughProxy,
}

impl Access {
    pub(crate) fn harness(self, setup: &Setup) -> PoolHarness {
        let mut harness = PoolHarness::new(setup);
        harness.access = self;
        match self {
            Self::Direct => harness,
            Self::ThroughProxy => harness.behind_a_proxy(setup.public_host.clone()),
        }
    }

    /// A harness whose pool has a template.
    pub(crate) fn with_job(self, setup: &Setup) -> PoolHarness {
        let mut harness = self.harness(setup);
        harness.template();
        harness
    }

    /// A harness with a job, and alice connected.
    pub(crate) fn with_alice(self) -> (PoolHarness, Miner) {
        let mut harness = self.with_job(&Setup::default());
        let alice = harness.miner("alice");
        harness.lines(alice);
        (harness, alice)
    }

    /// The score at which a connection is dropped: a proxy is stricter than its servers.
    pub(crate) fn score_limit(self) -> u32 {
        match self {
            Self::Direct => SCORE_MAX,
            Self::ThroughProxy => PROXY_SCORE_MAX,
        }
    }

    /// True if a test is skipped behind a proxy, for this reason.
    pub(crate) fn differs(self, why: &str) -> bool {
        let is_skipped = self == Self::ThroughProxy;
        if is_skipped {
            println!("left out: {why}");
        }
        is_skipped
    }
}

/// A message on its way between the proxy and the pool.
pub(super) enum InTransit {
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
pub(super) struct TestProxy {
    proxy: Proxy,
    ms: u64,
    made: u64,
    links: HashMap<ConnId, Link>,
    pub(super) wires: VecDeque<InTransit>,
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

impl TestProxy {
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

impl PoolHarness {
    /// Adds a proxy before the pool, which tells the pool the miners' addresses.
    pub(crate) fn behind_a_proxy(mut self, public_host: Option<String>) -> Self {
        self.test_proxy = Some(Box::new(TestProxy::new(self.now, public_host)));
        self.probe_through_proxy();
        self
    }

    /// Gives the proxy time to probe the pool.
    pub(crate) fn probe_through_proxy(&mut self) {
        self.advance_test_proxy(LOOK_MS);
    }

    /// Lets time pass for the proxy.
    pub(super) fn advance_test_proxy(&mut self, ms: u64) {
        for _ in 0..ms / PROXY_TICK_MS {
            let Some(test_proxy) = &mut self.test_proxy else {
                return;
            };
            test_proxy.ms += PROXY_TICK_MS;
            self.tell_test_proxy(proxy::ProxyEvent::Tick);
            self.settle();
        }
    }

    pub(super) fn tell_test_proxy(&mut self, event: proxy::ProxyEvent<'_>) {
        let mut test_proxy = self.test_proxy.take().expect("there is a proxy");
        let now = Now {
            ms: test_proxy.ms,
            unix_s: self.now.unix_s,
        };
        let mut actions = proxy::ProxyActions::default();
        test_proxy.proxy.handle(now, event, &mut actions);
        let mut dialed = Vec::new();
        actions.drain(|action, bytes| {
            self.perform_test_proxy(&mut test_proxy, action, bytes, &mut dialed);
        });
        self.test_proxy = Some(test_proxy);
        for (purpose, conn) in dialed {
            self.tell_test_proxy(proxy::ProxyEvent::Dialed(purpose, Some(conn)));
        }
    }

    fn perform_test_proxy(
        &mut self,
        test_proxy: &mut TestProxy,
        action: proxy::ProxyAction,
        bytes: &[u8],
        dialed: &mut Vec<(Purpose, ConnId)>,
    ) {
        match action {
            proxy::ProxyAction::Send(conn, _) if test_proxy.links.contains_key(&conn) => {
                test_proxy
                    .wires
                    .push_back(InTransit::ToPool(conn, bytes.to_vec()));
            }
            proxy::ProxyAction::Send(conn, _) => {
                if let Some(miner) = self.miner_of(conn) {
                    self.deliver(miner, bytes);
                }
            }
            proxy::ProxyAction::Dial(purpose, source) => {
                let taken = |slot: &u64| {
                    test_proxy
                        .links
                        .keys()
                        .any(|conn| conn.0 & 0xffff_ffff == *slot)
                };
                let slot = (LINKS_FROM..).find(|slot| !taken(slot)).expect("a slot");
                test_proxy.made += 1;
                let conn = ConnId((1 << 60) | test_proxy.made << 32 | slot);
                let link = Link {
                    purpose,
                    is_paused: false,
                    held: Vec::new(),
                };
                test_proxy.links.insert(conn, link);
                let arrival = Arrival {
                    address: source.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                    kind: match source {
                        Some(_) => ArrivalKind::Miner,
                        None => ArrivalKind::Proxy,
                    },
                    difficulty: self.difficulty,
                    payout: self.payout,
                };
                test_proxy
                    .wires
                    .push_back(InTransit::Connect(conn, arrival));
                dialed.push((purpose, conn));
            }
            proxy::ProxyAction::Pause(conn) | proxy::ProxyAction::Resume(conn) => {
                let is_paused = matches!(action, proxy::ProxyAction::Pause(_));
                if let Some(miner) = self.miner_of(conn) {
                    self.miners[miner.0].pause(is_paused);
                }
            }
            proxy::ProxyAction::Close(conn, how) => {
                if test_proxy.links.remove(&conn).is_some() {
                    test_proxy.wires.push_back(InTransit::EndToPool(conn));
                } else if let Some(miner) = self.miner_of(conn) {
                    let text = name_of(&Action::Close(conn, how)).expect("it has words");
                    self.output.push(Output::Effect(Some(miner), text));
                    self.miners[miner.0].end();
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
        let test_miner = self
            .miners
            .iter()
            .rposition(|test_miner| test_miner.conn == conn && test_miner.is_open);
        test_miner.map(Miner)
    }

    /// Delivers a message.
    pub(super) fn carry(&mut self, wire: InTransit) {
        let test_proxy = self.test_proxy.as_mut().expect("there is a proxy");
        match wire {
            InTransit::Connect(conn, _) if !test_proxy.links.contains_key(&conn) => {}
            InTransit::Connect(conn, _) if !test_proxy.is_pool_listening => {
                test_proxy.links.remove(&conn);
                self.tell_test_proxy(proxy::ProxyEvent::Closed(conn));
            }
            InTransit::Connect(conn, arrival) => {
                self.step(Event::Connected(conn, arrival));
                let test_proxy = self.test_proxy.as_ref().expect("as before");
                if test_proxy.links.contains_key(&conn) {
                    self.tell_test_proxy(proxy::ProxyEvent::Opened(conn));
                }
            }
            InTransit::ToPool(conn, bytes) => match test_proxy.links.get_mut(&conn) {
                None => {}
                Some(link) if link.is_paused => link.held.push(bytes),
                Some(link) if matches!(link.purpose, Purpose::Probe(_)) && is_hello(&bytes) => {
                    let subscribe = bytes.split_inclusive(|byte| *byte == b'\n').next();
                    let subscribe = subscribe.filter(|line| !is_hello(line));
                    if let Some(line) = subscribe {
                        self.step(Event::Received(conn, line));
                    }
                    let test_proxy = self.test_proxy.as_mut().expect("as before");
                    test_proxy
                        .wires
                        .push_back(InTransit::ToProxy(conn, UNKNOWN.to_vec()));
                }
                Some(_) => self.step(Event::Received(conn, &bytes)),
            },
            InTransit::EndToPool(conn) => self.step(Event::Closed(conn)),
            InTransit::ToProxy(conn, bytes) => {
                self.tell_test_proxy(proxy::ProxyEvent::Received(conn, &bytes));
            }
            InTransit::EndToProxy(conn) => self.tell_test_proxy(proxy::ProxyEvent::Closed(conn)),
        }
    }

    /// Applies a pool's action on a connection of the proxy; false if it is not on one.
    pub(super) fn perform_for_test_proxy(&mut self, action: &Action, bytes: &[u8]) -> bool {
        let Some(test_proxy) = &mut self.test_proxy else {
            return false;
        };
        let TestProxy { links, wires, .. } = &mut **test_proxy;
        match action {
            Action::Send(conn, _) if links.contains_key(conn) => {
                wires.push_back(InTransit::ToProxy(*conn, bytes.to_vec()));
            }
            Action::SendShared(conn, line) if links.contains_key(conn) => {
                wires.push_back(InTransit::ToProxy(*conn, line.to_vec()));
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
                        wires.push_front(InTransit::ToPool(*conn, bytes));
                    }
                }
            }
            Action::Close(conn, CloseHow::Reset | CloseHow::Flushed) => {
                if links.remove(conn).is_some() {
                    wires.push_back(InTransit::EndToProxy(*conn));
                }
            }
            // The proxy has closed it already.
            Action::Send(..) | Action::SendShared(..) | Action::Admitted(_) => {}
            Action::Listen(listening) => {
                test_proxy.is_pool_listening = *listening == Listening::On;
                return false;
            }
            _ => return false,
        }
        true
    }
}
