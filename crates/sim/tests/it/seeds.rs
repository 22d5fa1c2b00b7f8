//! Runs a few seeds of the simulator, each twice; `make sim` runs more and longer.

use hstratum_sim::injected_bug::InjectedBug;
use hstratum_sim::{Run, run};

/// Simulated hours of a seed.
const HOURS: f64 = 0.4;

/// The same with a proxy: the default of `make sim`, because shorter seeds find less than they cost.
const HOURS_WITH_PROXY: f64 = 3.0;

fn check(seed: u64) {
    check_run(&Run::of(seed, HOURS));
}

fn check_run(one: &Run) {
    let seed = one.seed;
    let first = run(one).unwrap_or_else(|failure| panic!("seed {seed}: {failure:#?}"));
    let second = run(one).expect("what held once holds again");
    assert_eq!(first, second, "seed {seed} does not repeat itself");
    assert!(first.shares > 0, "seed {seed} did nothing");
}

#[test]
fn seeds_with_the_ledger_in_sqlite_hold_and_repeat_themselves() {
    for seed in [2, 4, 6, 8, 10, 12] {
        check(seed);
    }
}

#[test]
fn seeds_with_the_ledger_in_maps_hold_and_repeat_themselves() {
    for seed in [1, 3, 5, 7, 9, 11] {
        check(seed);
    }
}

#[test]
fn seeds_with_a_proxy_hold_and_repeat_themselves() {
    for seed in 1..=3 {
        check_run(&Run::of(seed, HOURS_WITH_PROXY).with_proxy());
    }
}

/// The seeds are the first that find each bug; see the simulator's README.
#[test]
fn planted_bugs_are_found() {
    for (injected_bug, seed, says) in [
        (
            InjectedBug::ReplyBeforeSync,
            1,
            "acknowledged that is not on the disk",
        ),
        (
            InjectedBug::DuplicateAfterResume,
            5,
            "one share was accepted twice",
        ),
        (InjectedBug::LostBlock, 6, "was not offered to the node"),
        (
            InjectedBug::RoundClosedTwice,
            6,
            "crates/sim/src/world/check.rs",
        ),
        (
            InjectedBug::JudgedWithoutEvidence,
            1,
            "knows less than the ledger was shown",
        ),
        (InjectedBug::GroupCountedTwice, 5, "more is in the ledger"),
        (
            InjectedBug::WindowOffByOne,
            4,
            "crates/sim/src/world/payout_check.rs",
        ),
        (
            InjectedBug::JobWithoutEvidence,
            6,
            "a share was credited at height",
        ),
        (
            InjectedBug::ForgottenEnd,
            1,
            "kept after everybody has left",
        ),
        (InjectedBug::LostTally, 1, "has seen"),
        (
            InjectedBug::BlockWaitsForDisk,
            3,
            "was not offered to the node",
        ),
        (InjectedBug::FloorIgnored, 3, "below the floor"),
        (InjectedBug::ForgottenUser, 2, "is written"),
        (
            InjectedBug::ForgottenPayout,
            1,
            "more is in the ledger than was earned",
        ),
        (
            InjectedBug::TornCommit,
            1,
            "the ledger has lost or invented credit",
        ),
    ] {
        let whole = Run::of(seed, 1.0);
        check_plant(injected_bug, &whole, says);
        run(&whole).expect("without it nothing is broken");
    }
}

#[test]
fn planted_bugs_of_a_proxy_are_found() {
    for (injected_bug, seed, says) in [
        (
            InjectedBug::OldJobPassedOn,
            1,
            "a job that it has not given",
        ),
        (
            InjectedBug::DroppedAnswer,
            1,
            "in the order of the requests",
        ),
        (
            InjectedBug::InventedAnswer,
            1,
            "acknowledged that is not on the disk",
        ),
        (
            InjectedBug::DroppedMiner,
            1,
            "dropped while a server is well",
        ),
        (InjectedBug::SilentExtraNonce, 3, "high-hash"),
        (InjectedBug::LengthenedLine, 3, "a line that is too long"),
        (InjectedBug::DeafProxy, 1, "refused while a server is well"),
        (InjectedBug::HeldNewcomers, 1, "taken though no server"),
        (
            InjectedBug::StaleAddress,
            2,
            "dropped while a server is well",
        ),
    ] {
        check_plant(injected_bug, &Run::of(seed, 1.0).with_proxy(), says);
    }
    for seed in [1, 2, 3] {
        let whole = Run::of(seed, 1.0).with_proxy();
        run(&whole).unwrap_or_else(|failure| panic!("without any: {failure:#?}"));
    }
}

/// Checks that the run fails with the bug, and with this message.
fn check_plant(bug: InjectedBug, whole: &Run, says: &str) {
    let planted = Run {
        injected_bug: Some(bug),
        ..whole.clone()
    };
    let failure = run(&planted).expect_err("it is found");
    assert!(failure.what.contains(says), "{bug:?}: {}", failure.what);
}
