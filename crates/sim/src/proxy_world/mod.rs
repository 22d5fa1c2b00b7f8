//! A proxy between miners and servers, each of which is a [`World`] of its own without miners: the
//! proxy's bytes arrive there on a simulated connection, and the server's bytes come back on it.
//!
//! Real are the servers as in `crate::world`, and the proxy with its driver. All clocks are the same. The
//! invariants are checked in `check`.

mod chain;
mod check;
mod fault;
mod link;
mod miner;
pub(crate) mod plan;
mod proxy_process;
mod share;

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use hstratum_core::proxy::ProxyCounts;
use hstratum_core::units::{Hash, Height, Now};

use crate::RunReport;
use crate::proxy_world::fault::{ProxyFault, Squatter};
use crate::proxy_world::link::ProxyLink;
use crate::proxy_world::miner::ProxyWorldMiner;
use crate::proxy_world::plan::{ProxyFaults, ProxyWorldPlan};
use crate::proxy_world::proxy_process::ProxyProcess;
use crate::proxy_world::share::ProxiedShares;
use crate::server::net::LinkId;
use crate::world::event_queue::EventQueue;
use crate::world::injected_bug::InjectedBug;
use crate::world::plan::Injected;
use crate::world::trace::Trace;
use crate::world::{ChainIs, START_S, World, note};

/// Every event outside of the servers' worlds. A first `u32` is the number of the process it is meant
/// for.
pub(crate) enum ProxyWorldEvent {
    /// The proxy starts.
    Start,
    /// The proxy has a turn.
    Turn(u32),
    /// The proxy's clock ticks.
    Tick(u32),
    /// A connection attempt of the proxy arrives at the server.
    Dialed(LinkId),
    /// The proxy hears if it was accepted.
    Taken(LinkId, bool),
    /// A miner tries to connect.
    Connect(usize),
    /// Its attempt arrives at the proxy.
    Arrive(usize),
    /// The miner is connected, or refused.
    Answered(usize, Option<LinkId>),
    /// Bytes arrive.
    ToProxy(LinkId, Vec<u8>),
    ToMiner(LinkId, Vec<u8>),
    /// One end notices that the connection has ended.
    ProxyGone(LinkId),
    MinerGone(LinkId),
    /// A miner finds a share for its work of this number.
    Share(usize, u64),
    /// A hostile miner does something.
    Mischief(usize, LinkId),
    /// A miner checks if the proxy still sends something.
    Patience(usize),
    /// A miner elsewhere finds a block.
    Block,
    /// A node learns of a block.
    Gossip(usize, Hash),
    /// A suspended server continues.
    Thaw(usize),
    /// A server's drain ends.
    Fill(usize),
    /// The proxy looks up a server's address.
    LookUp(usize),
    /// A stranger with a miner's session leaves.
    SquatterGone,
    /// A random fault occurs.
    Trouble(ProxyFault),
    /// All miners are checked.
    Survey,
    /// The faults stop.
    Heal,
    /// Mining stops.
    Rest,
    /// All miners disconnect.
    Leave,
    /// The proxy ends.
    Close,
}

/// A server with its world.
pub(crate) struct ServerWorld {
    pub(crate) world: World,
    /// Time until which its process is suspended.
    pub(crate) frozen_until_ms: u64,
    /// Time until which its node learns of no blocks.
    pub(crate) isolated_until_ms: u64,
    /// The tip that was announced to other nodes.
    pub(crate) spread: Hash,
    /// Time since which it takes miners and has work for them; `None` while it does not.
    pub(crate) well_since_ms: Option<u64>,
    /// Count of changes of its address.
    pub(crate) moves: u8,
    /// Time until which the proxy does not know the latest address.
    pub(crate) unknown_until_ms: u64,
    /// Time since which nobody answers there; `None` while it does.
    pub(crate) gone_since_ms: Option<u64>,
}

/// A stream of random numbers for each part.
pub(crate) struct ProxyWorldRngs {
    pub(crate) net: Rng,
    pub(crate) chain: Rng,
    pub(crate) fault: Rng,
    pub(crate) proxy_process: Rng,
}

/// The simulated world of a proxy.
pub(crate) struct ProxyWorld {
    pub(crate) now_ms: u64,
    pub(crate) step: u64,
    pub(crate) event_queue: EventQueue<ProxyWorldEvent>,
    pub(crate) trace: Trace,
    pub(crate) plan: ProxyWorldPlan,
    pub(crate) faults: ProxyFaults,
    pub(crate) injected: Injected,
    pub(crate) rngs: ProxyWorldRngs,
    pub(crate) servers: Vec<ServerWorld>,
    /// The proxy's process, if one is running, and the count of processes so far.
    pub(crate) proxy_process: Option<ProxyProcess>,
    pub(crate) boot: u32,
    /// Time since which the proxy has been there.
    pub(crate) proxy_since_ms: u64,
    /// Time since which its process has been there.
    pub(crate) door_since_ms: u64,
    pub(crate) links: BTreeMap<LinkId, ProxyLink>,
    pub(crate) made: LinkId,
    pub(crate) rigs: Vec<ProxyWorldMiner>,
    pub(crate) squatters: VecDeque<Squatter>,
    pub(crate) shares: ProxiedShares,
    /// Count of blocks found by other miners; the greatest height of a chain, and its time.
    pub(crate) blocks_made: u64,
    pub(crate) best: (Height, u64),
    /// Counters of proxies that have ended.
    pub(crate) counted: BTreeMap<&'static str, u64>,
    pub(crate) largest: BTreeMap<&'static str, usize>,
    pub(crate) injected_bug: Option<InjectedBug>,
    pub(crate) rests: bool,
}

/// Times from the end of the faults until everything must have recovered, until mining stops, until all
/// miners leave, and until the proxy ends.
const RECOVERED_MS: u64 = 400_000;
const REST_MS: u64 = 500_000;
const LEAVE_MS: u64 = 770_000;
const CLOSE_MS: u64 = 810_000;

impl ProxyWorld {
    pub(crate) fn new(
        seed: u64,
        plan: ProxyWorldPlan,
        injected_bug: Option<InjectedBug>,
        prints: bool,
    ) -> Self {
        let mut root = Rng::with_seed(seed ^ 0xf1ee_7000);
        let servers = plan.servers.iter().enumerate().map(|(n, server)| {
            let trace = Trace::labelled(prints, format!("s{n} "));
            let mut world = World::new(seed * 8 + n as u64, server.clone(), injected_bug, prints);
            world.trace = trace;
            world.chain_is = ChainIs::Shared;
            ServerWorld {
                spread: world.chain.tip(),
                world,
                frozen_until_ms: 0,
                isolated_until_ms: 0,
                well_since_ms: None,
                moves: 0,
                unknown_until_ms: 0,
                gone_since_ms: Some(0),
            }
        });
        let servers: Vec<ServerWorld> = servers.collect();
        let rigs = plan.miners.iter().zip(&plan.takes_extra_nonces);
        let rigs =
            rigs.map(|(miner, takes)| ProxyWorldMiner::new(miner.clone(), root.fork(), *takes));
        let rigs = rigs.collect();
        let rngs = ProxyWorldRngs {
            net: root.fork(),
            chain: root.fork(),
            fault: root.fork(),
            proxy_process: root.fork(),
        };
        Self {
            now_ms: 0,
            step: 0,
            event_queue: EventQueue::new(),
            trace: Trace::labelled(prints, "px ".to_owned()),
            faults: plan.faults.clone(),
            plan,
            injected: Injected::new(),
            rngs,
            best: (servers[0].world.chain.tip_height(), 0),
            servers,
            proxy_process: None,
            boot: 0,
            proxy_since_ms: 0,
            door_since_ms: 0,
            links: BTreeMap::new(),
            made: 0,
            rigs,
            squatters: VecDeque::new(),
            shares: ProxiedShares::default(),
            blocks_made: 0,
            counted: BTreeMap::new(),
            largest: BTreeMap::new(),
            injected_bug,
            rests: false,
        }
    }

    /// Runs to the end of the plan, or for `steps_max` steps.
    pub(crate) fn run(&mut self, steps_max: u64) {
        self.begin();
        while self.step < steps_max
            && !self.servers.iter().all(|server| server.world.is_over)
            && let Some((at_ms, place)) = self.next()
        {
            self.step += 1;
            assert!(at_ms >= self.now_ms, "the lab's time goes back");
            self.now_ms = at_ms;
            match place {
                None => {
                    let (_, happening) = self.event_queue.next().expect("it was just there");
                    self.happen(happening);
                }
                Some(place) => self.let_go_on(place),
            }
        }
    }

    /// Time of the next event, and its server if it is in a server's world. A suspended server does
    /// nothing until it continues.
    fn next(&self) -> Option<(u64, Option<usize>)> {
        let own = self.event_queue.next_ms().map(|at_ms| (at_ms, None));
        let servers = self
            .servers
            .iter()
            .enumerate()
            .filter_map(|(place, server)| {
                let at_ms = server.world.event_queue.next_ms()?;
                let is_there = !server.world.is_over;
                is_there.then_some((at_ms.max(server.frozen_until_ms), Some(place)))
            });
        own.into_iter()
            .chain(servers)
            .min_by_key(|(at_ms, place)| (*at_ms, *place))
    }

    fn let_go_on(&mut self, place: usize) {
        let world = &mut self.servers[place].world;
        let (_, what) = world.event_queue.next().expect("it was just there");
        world.now_ms = self.now_ms;
        world.take_step(what);
        self.after_step(place);
    }

    /// Passes on what has left a server in its step.
    pub(crate) fn after_step(&mut self, place: usize) {
        let server = &mut self.servers[place];
        for (link, bytes) in std::mem::take(&mut server.world.to_proxy) {
            self.hear_server(link, bytes);
        }
        self.spread_tip(place);
        self.see_server(place);
    }

    fn begin(&mut self) {
        for server in &mut self.servers {
            server.world.begin();
        }
        self.after(500, ProxyWorldEvent::Start);
        for rig in 0..self.rigs.len() {
            let delay_ms = self.rngs.net.u64(1_000..20_000);
            self.after(delay_ms, ProxyWorldEvent::Connect(rig));
            self.after(10_000, ProxyWorldEvent::Patience(rig));
        }
        self.after(2_000, ProxyWorldEvent::Block);
        self.after(5_000, ProxyWorldEvent::Survey);
        for trouble in ProxyFault::ALL {
            self.plan_trouble(trouble);
        }
        let faulty_ms = self.plan.faulty_ms;
        for (delay_ms, happening) in [
            (0, ProxyWorldEvent::Heal),
            (REST_MS, ProxyWorldEvent::Rest),
            (LEAVE_MS, ProxyWorldEvent::Leave),
            (CLOSE_MS, ProxyWorldEvent::Close),
        ] {
            self.after(faulty_ms + delay_ms, happening);
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            ms: self.now_ms,
            unix_s: START_S + self.now_ms / 1000,
        }
    }

    pub(crate) fn after(&mut self, delay_ms: u64, happening: ProxyWorldEvent) {
        self.event_queue.add(self.now_ms + delay_ms, happening);
    }

    /// Counts a fault.
    pub(crate) fn inject(&mut self, name: &'static str) {
        *self.injected.entry(name).or_default() += 1;
    }

    pub(crate) fn is_healed(&self) -> bool {
        self.now_ms >= self.plan.faulty_ms
    }

    fn happen(&mut self, happening: ProxyWorldEvent) {
        match happening {
            ProxyWorldEvent::Start => self.start_proxy_process(),
            ProxyWorldEvent::Turn(boot) if boot == self.boot => self.turn(),
            ProxyWorldEvent::Tick(boot) if boot == self.boot => self.tick(),
            ProxyWorldEvent::Turn(_) | ProxyWorldEvent::Tick(_) => {}
            ProxyWorldEvent::Dialed(link) => self.dialed(link),
            ProxyWorldEvent::Taken(link, is_taken) => self.taken(link, is_taken),
            ProxyWorldEvent::Connect(rig) => self.connect(rig),
            ProxyWorldEvent::Arrive(rig) => self.arrive(rig),
            ProxyWorldEvent::Answered(rig, link) => self.answered(rig, link),
            ProxyWorldEvent::ToProxy(link, bytes) => self.reach_proxy(link, &bytes),
            ProxyWorldEvent::ToMiner(link, bytes) => self.reach_miner(link, &bytes),
            ProxyWorldEvent::ProxyGone(link) => self.proxy_gone(link),
            ProxyWorldEvent::MinerGone(link) => self.miner_gone(link),
            ProxyWorldEvent::Share(rig, number) => self.share(rig, number),
            ProxyWorldEvent::Mischief(rig, link) => self.mischief(rig, link),
            ProxyWorldEvent::Patience(rig) => self.patience(rig),
            ProxyWorldEvent::Block => self.block(),
            ProxyWorldEvent::Gossip(place, hash) => self.gossip(place, hash),
            ProxyWorldEvent::Thaw(place) => self.thaw(place),
            ProxyWorldEvent::Fill(place) => self.fill(place),
            ProxyWorldEvent::LookUp(place) => self.look_up(place),
            ProxyWorldEvent::SquatterGone => self.squatter_gone(),
            ProxyWorldEvent::Trouble(trouble) => self.trouble(trouble),
            ProxyWorldEvent::Survey => self.survey(),
            ProxyWorldEvent::Heal => self.heal(),
            ProxyWorldEvent::Rest => self.rest(),
            ProxyWorldEvent::Leave => self.leave(),
            ProxyWorldEvent::Close => self.close(),
        }
    }

    pub(crate) fn count(&mut self, counts: ProxyCounts) {
        for (name, count) in [
            ("shares accepted", counts.accepted),
            ("shares refused by servers", counts.refused),
            ("shares of another server", counts.refused_stale),
            ("shares in flight when lost", counts.refused_in_flight),
            ("moves from a lost server", counts.moved_lost),
            ("moves from a live server", counts.moved_alive),
            ("extranonces changed", counts.extra_nonces_changed),
            ("miners reset", counts.reset),
        ] {
            *self.counted.entry(name).or_default() += count;
        }
    }

    /// The report of the proxy and all servers.
    pub(crate) fn report(&self) -> RunReport {
        let mut report = RunReport {
            steps: self.step,
            ms: self.now_ms,
            injected: self.injected.clone(),
            counted: self.counted.clone(),
            largest: self.largest.clone(),
            lines: self.trace.lines(),
            digest: self.trace.digest(),
            ..RunReport::default()
        };
        for server in &self.servers {
            report.add(server.world.report());
        }
        report.ms = self.now_ms;
        report
    }

    /// The last lines of all traces, in the order of time.
    pub(crate) fn last(&self) -> String {
        let own = self.trace.last();
        let servers = self.servers.iter().map(|server| server.world.trace.last());
        let mut lines: Vec<String> = servers
            .chain([own])
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        // The time is at the start of a line, in a form that sorts.
        lines.sort();
        let from = lines.len().saturating_sub(60);
        lines[from..].join("\n")
    }

    fn heal(&mut self) {
        note!(self, "heal      no more faults");
        self.faults = ProxyFaults::default();
        for place in 0..self.servers.len() {
            // Events that wait for the end of a suspension happen now, not at the time for which they
            // were planned.
            let server = &mut self.servers[place];
            server.isolated_until_ms = 0;
            server.frozen_until_ms = server.frozen_until_ms.min(self.now_ms);
            self.fill(place);
            self.thaw(place);
        }
        while !self.squatters.is_empty() {
            self.squatter_gone();
        }
        let dead = self.links.iter().filter(|(_, link)| link.is_dead);
        let dead: Vec<LinkId> = dead.map(|(name, _)| *name).collect();
        for link in dead {
            self.after(10, ProxyWorldEvent::ProxyGone(link));
            self.after(10, ProxyWorldEvent::MinerGone(link));
        }
        for rig in 0..self.rigs.len() {
            if !self.rigs[rig].miner.is_honest() {
                self.rigs[rig].miner.retires = true;
                self.hang_up(rig);
            }
        }
    }

    fn rest(&mut self) {
        note!(self, "rest      nobody mines");
        self.check_recovered();
        for rig in &mut self.rigs {
            rig.miner.plan.hashrate = 0.0;
        }
        self.rests = true;
        // Old credit is merged once there are many blocks above it.
        self.plan.block_ms = 1_000;
        self.after(1, ProxyWorldEvent::Block);
    }
}
