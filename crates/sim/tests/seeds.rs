//! Runs a few seeds of the simulator, each twice; `make sim` runs more and longer.

use hstratum_sim::plant::Plant;
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
    for (plant, seed, says) in [
        (
            Plant::ReplyBeforeSync,
            1,
            "acknowledged that is not on the disk",
        ),
        (
            Plant::DuplicateAfterResume,
            5,
            "one share was accepted twice",
        ),
        (Plant::LostBlock, 1, "was not offered to the node"),
        (Plant::RoundClosedTwice, 6, "closed twice"),
        (
            Plant::JudgedWithoutEvidence,
            1,
            "knows less than the ledger was shown",
        ),
        (Plant::GroupCountedTwice, 1, "more is in the ledger"),
        (Plant::WindowOffByOne, 4, "crates/sim/src/pay.rs"),
        (
            Plant::JobWithoutEvidence,
            6,
            "a share was credited at height",
        ),
        (Plant::ForgottenEnd, 1, "kept after everybody has left"),
        (Plant::LostTally, 1, "has seen"),
        (Plant::BlockWaitsForDisk, 3, "was not offered to the node"),
        (Plant::FloorIgnored, 2, "below the floor"),
        (Plant::ForgottenUser, 2, "is written"),
        (
            Plant::TornCommit,
            1,
            "the ledger has lost or invented credit",
        ),
    ] {
        let whole = Run::of(seed, 1.0);
        check_plant(plant, &whole, says);
        run(&whole).expect("without it nothing is broken");
    }
}

#[test]
fn planted_bugs_of_a_proxy_are_found() {
    for (plant, seed, says) in [
        (Plant::OldJobPassedOn, 1, "a job that it has not given"),
        (Plant::DroppedAnswer, 1, "in the order of the requests"),
        (
            Plant::InventedAnswer,
            1,
            "acknowledged that is not on the disk",
        ),
        (Plant::DroppedMiner, 1, "dropped while a server is well"),
        (Plant::SilentExtraNonce, 3, "high-hash"),
        (Plant::LengthenedLine, 3, "a line that is too long"),
        (Plant::DeafProxy, 1, "refused while a server is well"),
        (Plant::HeldNewcomers, 1, "taken though no server"),
        (Plant::StaleAddress, 2, "dropped while a server is well"),
    ] {
        check_plant(plant, &Run::of(seed, 1.0).with_proxy(), says);
    }
    for seed in [1, 2, 3] {
        let whole = Run::of(seed, 1.0).with_proxy();
        run(&whole).unwrap_or_else(|failure| panic!("without any: {failure:#?}"));
    }
}

/// Checks that the run fails with the bug, and with this message.
fn check_plant(plant: Plant, whole: &Run, says: &str) {
    let planted = Run {
        plant: Some(plant),
        ..whole.clone()
    };
    let failure = run(&planted).expect_err("it is found");
    assert!(failure.what.contains(says), "{plant:?}: {}", failure.what);
}
