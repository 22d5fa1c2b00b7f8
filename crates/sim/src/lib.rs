//! Simulator: the whole server on a simulated clock, disk, network and node, in one thread, driven by a
//! seed. It simulates hours in seconds, and every failure can be repeated by its seed.
//!
//! Real are the `Pool`, the `Driver`, the `GroupCommit` and, in half of the seeds, the ledger in SQLite. The
//! invariants are checked in `oracle` and `check`.

#![forbid(unsafe_code)]

mod miner;
mod proxy_world;
mod server;
mod world;

pub use world::{injected_bug, ledger_model, plan};

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use injected_bug::InjectedBug;
use plan::{Injected, RunPlan};
use proxy_world::ProxyWorld;
use proxy_world::plan::ProxyWorldPlan;
use world::World;
use world::estimate_check::{EstimateCheck, calm_plan};

/// The set-up that is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// One server and its miners.
    Server,
    /// A proxy between miners and two or three servers.
    Proxy,
}

/// The parameters of a run.
#[derive(Debug, Clone)]
pub struct Run {
    /// The set-up.
    pub scene: Scene,
    /// The seed that everything is drawn from.
    pub seed: u64,
    /// Simulated hours with faults, approximately.
    pub hours: f64,
    /// A bug to inject, which the checks must find.
    pub injected_bug: Option<InjectedBug>,
    /// True to print the trace.
    pub prints: bool,
    /// Step at which the run stops.
    pub steps_max: u64,
    /// Names of the faults that are left out.
    pub without: Vec<&'static str>,
}

impl Run {
    /// A run of this seed with the default parameters.
    #[must_use]
    pub fn of(seed: u64, hours: f64) -> Self {
        Self {
            scene: Scene::Server,
            seed,
            hours,
            injected_bug: None,
            prints: false,
            steps_max: u64::MAX,
            without: Vec::new(),
        }
    }

    /// The same run with a proxy.
    #[must_use]
    pub fn with_proxy(self) -> Self {
        Self {
            scene: Scene::Proxy,
            ..self
        }
    }

    /// Names of the faults that occur in it.
    #[must_use]
    pub fn fault_names(&self) -> Vec<&'static str> {
        match self.scene {
            Scene::Server => self.plan().faults.names(),
            Scene::Proxy => self.proxy_world_plan().fault_names(),
        }
    }

    fn proxy_world_plan(&self) -> ProxyWorldPlan {
        let mut plan = ProxyWorldPlan::draw(&mut fastrand::Rng::with_seed(self.seed), self.hours);
        for name in &self.without {
            plan.leave_out(name);
        }
        plan
    }

    fn plan(&self) -> RunPlan {
        let mut plan = RunPlan::draw(&mut fastrand::Rng::with_seed(self.seed), self.hours);
        for name in &self.without {
            plan.faults = plan.faults.without(name);
        }
        plan
    }
}

/// Counters of what a run has exercised.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunReport {
    /// Steps taken.
    pub steps: u64,
    /// Simulated milliseconds.
    pub ms: u64,
    /// Acknowledged shares.
    pub shares: u64,
    /// Acknowledged shares of solo miners, which are no credit.
    pub solo_shares: u64,
    /// Blocks found by the pool.
    pub blocks: u64,
    /// Of those, blocks that pay their finder.
    pub solo_blocks: u64,
    /// Blocks lost with the process before anything of them could be on a disk.
    pub lost_blocks: u64,
    /// Blocks whose reward was divided and checked.
    pub settled: u64,
    /// Injected faults, by name.
    pub injected: Injected,
    /// Counters of the proxies, by name.
    pub counted: BTreeMap<&'static str, u64>,
    /// The largest count of everything the pool keeps, by name.
    pub largest: BTreeMap<&'static str, usize>,
    /// Lines of the trace.
    pub lines: u64,
    /// Digest of the trace; the same seed must give the same.
    pub digest: u64,
}

impl RunReport {
    /// Adds the report of another run, to sum up several.
    pub fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.ms += other.ms;
        self.shares += other.shares;
        self.solo_shares += other.solo_shares;
        self.blocks += other.blocks;
        self.solo_blocks += other.solo_blocks;
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

/// Estimates of blocks, compared with what they brought. Differences and work are parts of one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EstimateReport {
    /// Blocks that were settled and compared.
    pub blocks: u64,
    /// Readings of what was pending of them that were what the settlement credited.
    pub pending_exact: u64,
    /// Readings before all shares of the round were in the ledger, or the block below had its verdict.
    pub pending_early: u64,
    /// Blocks whose estimate at the find was compared.
    pub forecasts: u64,
    /// Blocks that were found before the block below had its verdict.
    pub forecasts_of_other_rounds: u64,
    /// Largest difference of an account in a block, as a part of the reward.
    pub off_largest: f64,
    /// Sum over the blocks of the largest difference of an account.
    pub off_sum: f64,
    /// Largest work that the ledger did not have at a find, as a part of the round or window.
    pub missing_largest: f64,
    /// Sum of that over the blocks.
    pub missing_sum: f64,
}

/// Runs this seed without faults, under PROP or PPLNS over a window, until so many blocks are settled, and
/// compares estimates with settlements. A panic is a violated invariant.
///
/// # Panics
/// Where an estimate was wrong.
#[must_use]
pub fn run_with_estimates(seed: u64, window: Option<&str>, blocks: u64) -> EstimateReport {
    // Even seeds have the ledger in SQLite.
    let mut world = World::new(2 * seed, calm_plan(), None, false);
    let mut check = EstimateCheck::new(window);
    world.run_with_estimates(&mut check, blocks);
    check.report
}

/// A violated invariant.
#[derive(Debug, Clone)]
pub struct SeedFailure {
    /// The step at which it was detected.
    pub step: u64,
    /// The simulated time, in milliseconds.
    pub ms: u64,
    /// The message of the failed check.
    pub what: String,
    /// The last lines of the trace.
    pub last: String,
}

thread_local! {
    /// The message of the last panic in a run; `None` while no run is in progress.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Installs a panic hook that keeps the panics of runs, which are their results, and prints all others.
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
/// The first violated invariant.
pub fn run(run: &Run) -> Result<RunReport, Box<SeedFailure>> {
    keep_panics();
    SAID.set(Some(String::new()));
    let (result, step, ms, last) = match run.scene {
        Scene::Server => {
            let mut world = World::new(run.seed, run.plan(), run.injected_bug, run.prints);
            let result = catch_unwind(AssertUnwindSafe(|| world.run(run.steps_max)));
            let result = result.map(|()| world.report());
            (result, world.step, world.now_ms, world.trace.last())
        }
        Scene::Proxy => {
            let mut proxy_world = ProxyWorld::new(
                run.seed,
                run.proxy_world_plan(),
                run.injected_bug,
                run.prints,
            );
            let result = catch_unwind(AssertUnwindSafe(|| proxy_world.run(run.steps_max)));
            let result = result.map(|()| proxy_world.report());
            (
                result,
                proxy_world.step,
                proxy_world.now_ms,
                proxy_world.last(),
            )
        }
    };
    let what = SAID.take().unwrap_or_default();
    result.map_err(|_| {
        Box::new(SeedFailure {
            step,
            ms,
            what,
            last,
        })
    })
}

/// Repeats a failed run with one kind of fault after the other left out; gives the smallest run that
/// still fails, with its failure.
#[must_use]
pub fn shrink(failed: &Run, failure: Box<SeedFailure>) -> (Run, Box<SeedFailure>) {
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
