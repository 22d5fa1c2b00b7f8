//! The whole server on a simulated clock, disk, network and node, in one thread, driven by a seed:
//! hours in seconds, and any failure repeatable by its number.
//!
//! What is real: the `Pool`, the `Driver`, the `Keeper` and, in half of the seeds, the ledger in
//! SQLite. What must hold is in `book` and `check`.

#![forbid(unsafe_code)]

mod admin;
mod agenda;
mod book;
mod census;
mod chain;
mod check;
mod counts;
mod disk;
mod fault;
mod fleet;
mod miner;
mod mining;
mod mischief;
pub mod model;
mod net;
mod node;
mod pay;
mod perform;
pub mod plan;
pub mod plant;
mod play;
mod ports;
mod server;
mod store;
mod trace;
mod wire;
mod work;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use fleet::Fleet;
use fleet::plan::FleetPlan;
use plan::{Injected, Plan};
use plant::Plant;
use world::World;

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// One server and its miners.
    Server,
    /// A proxy between miners and two or three servers.
    Proxy,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Run {
    /// On which scene.
    pub scene: Scene,
    /// Everything is drawn from it.
    pub seed: u64,
    /// Simulated hours with faults, about.
    pub hours: f64,
    /// A bug to be found.
    pub plant: Option<Plant>,
    /// Whether the trace is printed.
    pub prints: bool,
    /// Stop after so many steps.
    pub steps_max: u64,
    /// Faults that are left out, by name.
    pub without: Vec<&'static str>,
}

impl Run {
    /// A seed as it is run without being told more.
    #[must_use]
    pub fn of(seed: u64, hours: f64) -> Self {
        Self {
            scene: Scene::Server,
            seed,
            hours,
            plant: None,
            prints: false,
            steps_max: u64::MAX,
            without: Vec::new(),
        }
    }

    /// The same with a proxy.
    #[must_use]
    pub fn with_proxy(self) -> Self {
        Self {
            scene: Scene::Proxy,
            ..self
        }
    }

    /// The kinds of faults that happen in it.
    #[must_use]
    pub fn fault_names(&self) -> Vec<&'static str> {
        match self.scene {
            Scene::Server => self.plan().faults.names(),
            Scene::Proxy => self.fleet_plan().fault_names(),
        }
    }

    fn fleet_plan(&self) -> FleetPlan {
        let mut plan = FleetPlan::draw(&mut fastrand::Rng::with_seed(self.seed), self.hours);
        for name in &self.without {
            plan.leave_out(name);
        }
        plan
    }

    fn plan(&self) -> Plan {
        let mut plan = Plan::draw(&mut fastrand::Rng::with_seed(self.seed), self.hours);
        for name in &self.without {
            plan.faults = plan.faults.without(name);
        }
        plan
    }
}

/// What a run has exercised.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Steps taken.
    pub steps: u64,
    /// Simulated time.
    pub ms: u64,
    /// Shares that were acknowledged.
    pub shares: u64,
    /// Blocks that the pool found.
    pub blocks: u64,
    /// Of those, lost with the process before anything of them could be on a disk.
    pub lost_blocks: u64,
    /// Blocks whose reward was divided and checked.
    pub settled: u64,
    /// Faults, by kind.
    pub injected: Injected,
    /// What proxies have counted.
    pub counted: BTreeMap<&'static str, u64>,
    /// The most that the pool ever kept, by name.
    pub largest: BTreeMap<&'static str, usize>,
    /// Lines of the trace.
    pub lines: u64,
    /// The same for the same seed.
    pub digest: u64,
}

impl Report {
    /// Another's as well; the same simulated time.
    pub fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.ms += other.ms;
        self.shares += other.shares;
        self.blocks += other.blocks;
        self.lost_blocks += other.lost_blocks;
        self.settled += other.settled;
        self.lines += other.lines;
        self.digest = self.digest.rotate_left(1) ^ other.digest;
        for (sums, more) in [
            (&mut self.injected, other.injected),
            (&mut self.counted, other.counted),
        ] {
            for (name, count) in more {
                *sums.entry(name).or_default() += count;
            }
        }
        for (name, count) in other.largest {
            let most = self.largest.entry(name).or_default();
            *most = count.max(*most);
        }
    }
}

/// What was found broken.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The step it showed at.
    pub step: u64,
    /// The simulated time.
    pub ms: u64,
    /// What.
    pub what: String,
    /// The last lines of the trace.
    pub last: String,
}

thread_local! {
    /// What the last panic of a run said; none while no run is under way.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics of a run are its result, and not printed.
fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_ours = SAID.with_borrow_mut(|said| {
                if let Some(said) = said {
                    *said = info.to_string();
                }
                said.is_some()
            });
            if !is_ours {
                others(info);
            }
        }));
    });
}

/// Runs a seed to its end.
///
/// # Errors
/// What does not hold, and when it showed.
pub fn run(run: &Run) -> Result<Report, Box<Failure>> {
    keep_panics();
    SAID.set(Some(String::new()));
    let (result, step, ms, last) = match run.scene {
        Scene::Server => {
            let mut world = World::new(run.seed, run.plan(), run.plant, run.prints);
            let result = catch_unwind(AssertUnwindSafe(|| world.run(run.steps_max)));
            let result = result.map(|()| world.report());
            (result, world.step, world.now_ms, world.trace.last())
        }
        Scene::Proxy => {
            let mut fleet = Fleet::new(run.seed, run.fleet_plan(), run.plant, run.prints);
            let result = catch_unwind(AssertUnwindSafe(|| fleet.run(run.steps_max)));
            let result = result.map(|()| fleet.report());
            (result, fleet.step, fleet.now_ms, fleet.last())
        }
    };
    let what = SAID.take().unwrap_or_default();
    result.map_err(|_| {
        Box::new(Failure {
            step,
            ms,
            what,
            last,
        })
    })
}

/// Leaves out what a failure does not need, one kind of fault after the other, and gives the run
/// that is left, with its failure.
#[must_use]
pub fn shrink(failed: &Run, failure: Box<Failure>) -> (Run, Box<Failure>) {
    let (mut least, mut last) = (failed.clone(), failure);
    for name in failed.fault_names() {
        let mut smaller = least.clone();
        smaller.without.push(name);
        smaller.steps_max = last.step.saturating_mul(2);
        if let Err(failure) = run(&smaller) {
            least = smaller;
            last = failure;
        }
    }
    (least, last)
}
