//! The whole server on a simulated clock, disk, network and node, in one thread, driven by a seed:
//! hours in seconds, and any failure repeatable by its number.
//!
//! What is real: the `Pool`, the `Driver`, the `Keeper` and, in half of the seeds, the ledger in
//! SQLite. What must hold is in `book` and `check`.

#![forbid(unsafe_code)]

mod agenda;
mod book;
mod census;
mod chain;
mod check;
mod disk;
mod fault;
mod miner;
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

use plan::{Injected, Plan};
use plant::Plant;
use world::World;

/// What to run.
#[derive(Debug, Clone)]
pub struct Run {
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
            seed,
            hours,
            plant: None,
            prints: false,
            steps_max: u64::MAX,
            without: Vec::new(),
        }
    }

    /// What this seed draws.
    #[must_use]
    pub fn plan(&self) -> Plan {
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
    /// The most that the pool ever kept, by name.
    pub largest: BTreeMap<&'static str, usize>,
    /// Lines of the trace.
    pub lines: u64,
    /// The same for the same seed.
    pub digest: u64,
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
    let mut world = World::new(run.seed, run.plan(), run.plant, run.prints);
    let result = catch_unwind(AssertUnwindSafe(|| world.run(run.steps_max)));
    let said = SAID.take().unwrap_or_default();
    match result {
        Ok(()) => Ok(world.report()),
        Err(_) => Err(Box::new(Failure {
            step: world.step,
            ms: world.now_ms,
            what: said,
            last: world.trace.last(),
        })),
    }
}

/// Leaves out what a failure does not need, one kind of fault after the other, and gives the run
/// that is left, with its failure.
#[must_use]
pub fn shrink(failed: &Run, failure: Box<Failure>) -> (Run, Box<Failure>) {
    let (mut least, mut last) = (failed.clone(), failure);
    for name in failed.plan().faults.names() {
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
