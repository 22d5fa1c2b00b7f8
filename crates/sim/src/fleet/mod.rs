//! A proxy between miners and servers, each of which is a [`World`] of its own without miners: the
//! proxy's bytes arrive there on a simulated connection, and the server's bytes come back on it.
//!
//! Real are the servers as in `crate::world`, and the proxy with its driver. All clocks are the same. The
//! invariants are checked in `check`.

mod chain;
mod check;
mod cord;
mod fault;
mod gate;
pub(crate) mod plan;
mod rig;
mod share;

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use hstratum_core::proxy::Counts;
use hstratum_core::units::{Hash, Height, Now};

use crate::Report;
use crate::agenda::Agenda;
use crate::fleet::cord::CordState;
use crate::fleet::fault::{Squatter, Trouble};
use crate::fleet::gate::Gate;
use crate::fleet::plan::{FleetFaults, FleetPlan};
use crate::fleet::rig::Rig;
use crate::fleet::share::Shares;
use crate::net::Cord;
use crate::plan::Injected;
use crate::plant::Plant;
use crate::trace::Trace;
use crate::world::{ChainIs, START_S, World, note};

/// Every event outside of the servers' worlds. A first `u32` is the number of the process it is meant
/// for.
pub(crate) enum Happening {
    /// The proxy starts.
    Start,
    /// The proxy has a turn.
    Turn(u32),
    /// The proxy's clock ticks.
    Tick(u32),
    /// A connection attempt of the proxy arrives at the server.
    Dialed(Cord),
    /// The proxy hears if it was accepted.
    Taken(Cord, bool),
    /// A miner tries to connect.
    Connect(usize),
    /// Its attempt arrives at the proxy.
    Arrive(usize),
    /// It is connected, or refused.
    Answered(usize, Option<Cord>),
    /// Bytes arrive.
    ToProxy(Cord, Vec<u8>),
    ToMiner(Cord, Vec<u8>),
    /// One end notices that the connection has ended.
    ProxyGone(Cord),
    MinerGone(Cord),
    /// A miner finds a share for its work of this number.
    Share(usize, u64),
    /// A hostile miner does something.
    Mischief(usize, Cord),
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
    Trouble(Trouble),
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
pub(crate) struct Server {
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
pub(crate) struct Rngs {
    pub(crate) net: Rng,
    pub(crate) chain: Rng,
    pub(crate) fault: Rng,
    pub(crate) gate: Rng,
}

/// The simulated world of a proxy.
pub(crate) struct Fleet {
    pub(crate) now_ms: u64,
    pub(crate) step: u64,
    pub(crate) agenda: Agenda<Happening>,
    pub(crate) trace: Trace,
    pub(crate) plan: FleetPlan,
    pub(crate) faults: FleetFaults,
    pub(crate) injected: Injected,
    pub(crate) rngs: Rngs,
    pub(crate) servers: Vec<Server>,
    /// The proxy's process, if one is running, and the count of processes so far.
    pub(crate) gate: Option<Gate>,
    pub(crate) boot: u32,
    /// Time since which the proxy has been there.
    pub(crate) gate_since_ms: u64,
    /// Time since which its process has been there.
    pub(crate) door_since_ms: u64,
    pub(crate) cords: BTreeMap<Cord, CordState>,
    pub(crate) made: Cord,
    pub(crate) rigs: Vec<Rig>,
    pub(crate) squatters: VecDeque<Squatter>,
    pub(crate) shares: Shares,
    /// Count of blocks found by other miners; the greatest height of a chain, and its time.
    pub(crate) blocks_made: u64,
    pub(crate) best: (Height, u64),
    /// Counters of proxies that have ended.
    pub(crate) counted: BTreeMap<&'static str, u64>,
    pub(crate) largest: BTreeMap<&'static str, usize>,
    pub(crate) plant: Option<Plant>,
    pub(crate) rests: bool,
}

/// Times from the end of the faults until everything must have recovered, until mining stops, until all
/// miners leave, and until the proxy ends.
const RECOVERED_MS: u64 = 400_000;
const REST_MS: u64 = 500_000;
const LEAVE_MS: u64 = 770_000;
const CLOSE_MS: u64 = 810_000;

impl Fleet {
    pub(crate) fn new(seed: u64, plan: FleetPlan, plant: Option<Plant>, prints: bool) -> Self {
        let mut root = Rng::with_seed(seed ^ 0xf1ee_7000);
        let servers = plan.servers.iter().enumerate().map(|(n, server)| {
            let trace = Trace::labelled(prints, format!("s{n} "));
            let mut world = World::new(seed * 8 + n as u64, server.clone(), plant, prints);
            world.trace = trace;
            world.chain_is = ChainIs::Shared;
            Server {
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
        let servers: Vec<Server> = servers.collect();
        let rigs = plan.miners.iter().zip(&plan.takes_extra_nonces);
        let rigs = rigs.map(|(miner, takes)| Rig::new(miner.clone(), root.fork(), *takes));
        let rigs = rigs.collect();
        let rngs = Rngs {
            net: root.fork(),
            chain: root.fork(),
            fault: root.fork(),
            gate: root.fork(),
        };
        Self {
            now_ms: 0,
            step: 0,
            agenda: Agenda::new(),
            trace: Trace::labelled(prints, "px ".to_owned()),
            faults: plan.faults.clone(),
            plan,
            injected: Injected::new(),
            rngs,
            best: (servers[0].world.chain.tip_height(), 0),
            servers,
            gate: None,
            boot: 0,
            gate_since_ms: 0,
            door_since_ms: 0,
            cords: BTreeMap::new(),
            made: 0,
            rigs,
            squatters: VecDeque::new(),
            shares: Shares::default(),
            blocks_made: 0,
            counted: BTreeMap::new(),
            largest: BTreeMap::new(),
            plant,
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
                    let (_, happening) = self.agenda.next().expect("it was just there");
                    self.happen(happening);
                }
                Some(place) => self.let_go_on(place),
            }
        }
    }

    /// Time of the next event, and its server if it is in a server's world. A suspended server does
    /// nothing until it continues.
    fn next(&self) -> Option<(u64, Option<usize>)> {
        let own = self.agenda.next_ms().map(|at_ms| (at_ms, None));
        let servers = self
            .servers
            .iter()
            .enumerate()
            .filter_map(|(place, server)| {
                let at_ms = server.world.agenda.next_ms()?;
                let is_there = !server.world.is_over;
                is_there.then_some((at_ms.max(server.frozen_until_ms), Some(place)))
            });
        own.into_iter()
            .chain(servers)
            .min_by_key(|(at_ms, place)| (*at_ms, *place))
    }

    fn let_go_on(&mut self, place: usize) {
        let world = &mut self.servers[place].world;
        let (_, what) = world.agenda.next().expect("it was just there");
        world.now_ms = self.now_ms;
        world.take_step(what);
        self.after_step(place);
    }

    /// Passes on what has left a server in its step.
    pub(crate) fn after_step(&mut self, place: usize) {
        let server = &mut self.servers[place];
        for (cord, bytes) in std::mem::take(&mut server.world.to_proxy) {
            self.hear_server(cord, bytes);
        }
        self.spread_tip(place);
        self.see_server(place);
    }

    fn begin(&mut self) {
        for server in &mut self.servers {
            server.world.begin();
        }
        self.after(500, Happening::Start);
        for rig in 0..self.rigs.len() {
            let delay_ms = self.rngs.net.u64(1_000..20_000);
            self.after(delay_ms, Happening::Connect(rig));
            self.after(10_000, Happening::Patience(rig));
        }
        self.after(2_000, Happening::Block);
        self.after(5_000, Happening::Survey);
        for trouble in Trouble::ALL {
            self.plan_trouble(trouble);
        }
        let faulty_ms = self.plan.faulty_ms;
        for (delay_ms, happening) in [
            (0, Happening::Heal),
            (REST_MS, Happening::Rest),
            (LEAVE_MS, Happening::Leave),
            (CLOSE_MS, Happening::Close),
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

    pub(crate) fn after(&mut self, delay_ms: u64, happening: Happening) {
        self.agenda.add(self.now_ms + delay_ms, happening);
    }

    /// Counts a fault.
    pub(crate) fn inject(&mut self, name: &'static str) {
        *self.injected.entry(name).or_default() += 1;
    }

    pub(crate) fn is_healed(&self) -> bool {
        self.now_ms >= self.plan.faulty_ms
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Start => self.start_gate(),
            Happening::Turn(boot) if boot == self.boot => self.turn(),
            Happening::Tick(boot) if boot == self.boot => self.tick(),
            Happening::Turn(_) | Happening::Tick(_) => {}
            Happening::Dialed(cord) => self.dialed(cord),
            Happening::Taken(cord, is_taken) => self.taken(cord, is_taken),
            Happening::Connect(rig) => self.connect(rig),
            Happening::Arrive(rig) => self.arrive(rig),
            Happening::Answered(rig, cord) => self.answered(rig, cord),
            Happening::ToProxy(cord, bytes) => self.reach_proxy(cord, &bytes),
            Happening::ToMiner(cord, bytes) => self.reach_miner(cord, &bytes),
            Happening::ProxyGone(cord) => self.proxy_gone(cord),
            Happening::MinerGone(cord) => self.miner_gone(cord),
            Happening::Share(rig, number) => self.share(rig, number),
            Happening::Mischief(rig, cord) => self.mischief(rig, cord),
            Happening::Patience(rig) => self.patience(rig),
            Happening::Block => self.block(),
            Happening::Gossip(place, hash) => self.gossip(place, hash),
            Happening::Thaw(place) => self.thaw(place),
            Happening::Fill(place) => self.fill(place),
            Happening::LookUp(place) => self.look_up(place),
            Happening::SquatterGone => self.squatter_gone(),
            Happening::Trouble(trouble) => self.trouble(trouble),
            Happening::Survey => self.survey(),
            Happening::Heal => self.heal(),
            Happening::Rest => self.rest(),
            Happening::Leave => self.leave(),
            Happening::Close => self.close(),
        }
    }

    pub(crate) fn count(&mut self, counts: Counts) {
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
    pub(crate) fn report(&self) -> Report {
        let mut report = Report {
            steps: self.step,
            ms: self.now_ms,
            injected: self.injected.clone(),
            counted: self.counted.clone(),
            largest: self.largest.clone(),
            lines: self.trace.lines(),
            digest: self.trace.digest(),
            ..Report::default()
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
        self.faults = FleetFaults::default();
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
        let dead = self.cords.iter().filter(|(_, cord)| cord.is_dead);
        let dead: Vec<Cord> = dead.map(|(name, _)| *name).collect();
        for cord in dead {
            self.after(10, Happening::ProxyGone(cord));
            self.after(10, Happening::MinerGone(cord));
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
        self.after(1, Happening::Block);
    }
}
