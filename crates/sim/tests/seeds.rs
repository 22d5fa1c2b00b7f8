//! A few seeds of the lab, each twice; `make sim` runs more and longer.

use hstratum_sim::plant::Plant;
use hstratum_sim::{Run, run};

/// Simulated hours of a seed here.
const HOURS: f64 = 0.4;

fn check(seed: u64) {
    let first = run(&Run::of(seed, HOURS));
    let first = first.unwrap_or_else(|failure| panic!("seed {seed}: {failure:#?}"));
    let second = run(&Run::of(seed, HOURS)).expect("what held once holds again");
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

/// The seeds are the first that find them; see the lab's README.
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
            1,
            "one share was accepted twice",
        ),
        (Plant::LostBlock, 4, "was not offered to the node"),
        (Plant::RoundClosedTwice, 1, "a round was closed twice"),
        (Plant::GroupCountedTwice, 1, "more is in the ledger"),
        (Plant::WindowOffByOne, 6, "crates/sim/src/pay.rs"),
        (Plant::ForgottenEnd, 1, "kept after everybody has left"),
        (
            Plant::TornCommit,
            1,
            "the ledger has lost or invented credit",
        ),
    ] {
        let planted = Run {
            plant: Some(plant),
            ..Run::of(seed, 1.0)
        };
        let failure = run(&planted).expect_err("it is found");
        assert!(failure.what.contains(says), "{plant:?}: {}", failure.what);
        let whole = Run::of(seed, 1.0);
        run(&whole).expect("without it nothing is broken");
    }
}
