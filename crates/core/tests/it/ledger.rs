//! The pool and the ledger, beyond the transcripts: reports of submitted shares, and reactions to the
//! ledger's state.

use crate::harness::{DIFFICULTY_TINY, Miner, Output, PoolHarness, Setup, Want, submit_line};
use hstratum_core::accounting::ledger::{ShareTotals, Tallied};
use hstratum_core::limits::{PENDING_REPLIES_MAX, SCORE_MAX, TALLY_MS};
use hstratum_core::operator_order::Order;
use hstratum_core::units::{Hash, Target};

fn work(count: u64) -> ShareTotals {
    ShareTotals {
        count,
        difficulty: count as f64 * DIFFICULTY_TINY,
    }
}

/// The reported shares, by worker's name.
fn tallied(harness: &mut PoolHarness) -> Vec<Tallied> {
    let mut list = std::mem::take(&mut harness.tallied);
    list.sort_by_key(|one| (one.account.clone(), one.worker.clone()));
    list
}

/// The pool's status as an operator gets it now.
fn info(harness: &mut PoolHarness) -> String {
    harness.order(Order::Info);
    let told = harness.output.iter().rev().find_map(|output| match output {
        Output::Effect(None, text) if text.starts_with("info: ") => Some(text.clone()),
        _ => None,
    });
    told.expect("an answer")
}

fn submit_as(harness: &mut PoolHarness, miner: Miner, user: &str, want: Want) -> String {
    let job = harness.job(miner);
    let found = harness.find(miner, &job, want, job.time);
    let line = submit_line("9", user, &job.id, &found);
    harness.send(miner, &line);
    line
}

#[test]
fn every_outcome_is_counted_once_for_the_worker_that_sent_it() {
    let mut harness = PoolHarness::with_job(&Setup::default());
    let miner = harness.miner("alice.one");
    harness.login(miner, "alice.two");
    let first = submit_as(&mut harness, miner, "alice.one", Want::Share);
    harness.send(miner, &first);
    submit_as(&mut harness, miner, "alice.one", Want::Low);
    submit_as(&mut harness, miner, "alice.two", Want::Share);
    submit_as(&mut harness, miner, "alice.two", Want::Block);
    let stale = harness.job(miner);
    harness.block();
    let late = harness.find(miner, &stale, Want::Share, stale.time);
    harness.send(miner, &submit_line("9", "alice.two", &stale.id, &late));
    harness.send(miner, &submit_line("9", "alice.two", "00", &late));
    // Neither is counted for a worker.
    harness.send(miner, &submit_line("9", "mallory", &stale.id, &late));
    let early = harness.find(miner, &stale, Want::Share, 1);
    harness.send(miner, &submit_line("9", "alice.two", &stale.id, &early));

    assert_eq!(tallied(&mut harness), []);
    // An operator gets the count at once, before it is reported to the ledger.
    let counted = "accepted: ShareTotals { count: 3,";
    let asked = info(&mut harness);
    assert!(asked.contains(counted), "{asked}");
    harness.advance(TALLY_MS);
    let list = tallied(&mut harness);
    let asked = info(&mut harness);
    assert!(asked.contains(counted), "nothing counts twice: {asked}");
    let [one, two] = list.as_slice() else {
        panic!("{list:?}");
    };
    assert_eq!((&*one.account, &*one.worker), ("alice", "one"));
    assert_eq!(one.tally.accepted, work(1));
    assert_eq!(one.tally.duplicate, work(1));
    assert_eq!(one.tally.low, work(1));
    assert_eq!(one.tally.stale, work(0));
    assert_eq!((&*two.account, &*two.worker), ("alice", "two"));
    assert_eq!(two.tally.accepted, work(2));
    assert_eq!(two.tally.stale, work(3));
    harness.advance(3 * TALLY_MS);
    assert_eq!(tallied(&mut harness), [], "what was told is not told again");
}

#[test]
fn best_share_of_a_connection_is_told_once_and_then_only_a_better_one() {
    let (mut harness, alice) = PoolHarness::with_alice();
    let mut known = 0.0;
    for round in 0..30 {
        let mut best = 0.0_f64;
        for _ in 0..2 {
            let job = harness.job(alice);
            let found = harness.find(alice, &job, Want::Share, job.time);
            let halves = (harness.extra_nonce1(alice), found.n2);
            let Hash(hash) = job.hash(halves, found.time, found.nonce);
            best = best.max(Target(hash).difficulty().get());
            harness.send(alice, &submit_line("9", "alice", &job.id, &found));
        }
        harness.advance(TALLY_MS);
        let list = tallied(&mut harness);
        let told = list[0].tally.best.map(|best| best.difficulty.get());
        assert_eq!(
            told,
            Some(best).filter(|best| *best > known),
            "round {round}"
        );
        known = best.max(known);
    }
    assert!(known > 0.0);
}

#[test]
fn what_a_connection_has_sent_outlives_it_and_a_stop() {
    let mut harness = PoolHarness::with_job(&Setup::default());
    let [alice, bob] = ["alice", "bob"].map(|name| harness.miner(name));
    submit_as(&mut harness, alice, "alice", Want::Share);
    submit_as(&mut harness, bob, "bob", Want::Share);
    harness.close(alice);
    harness.stop();
    let list = tallied(&mut harness);
    let names: Vec<_> = list
        .iter()
        .map(|one| (&*one.account, &*one.worker))
        .collect();
    assert_eq!(names, [("alice", ""), ("bob", "")]);
    assert!(list.iter().all(|one| one.tally.accepted == work(1)));
}

#[test]
fn a_connection_that_waits_for_a_ledger_that_gives_up_reads_on() {
    let (mut harness, alice) = PoolHarness::with_alice();
    harness.ledger_held = true;
    for _ in 0..PENDING_REPLIES_MAX {
        submit_as(&mut harness, alice, "alice", Want::Share);
    }
    assert!(harness.is_paused(alice));
    submit_as(&mut harness, alice, "alice", Want::Share);
    harness.break_ledger();
    harness.release();
    assert!(!harness.is_paused(alice));
    let answers = harness.answers(alice);
    assert_eq!(answers.len(), PENDING_REPLIES_MAX + 1);
    assert!(answers.iter().all(|answer| answer == "ledger unavailable"));
}

#[test]
fn what_was_durable_before_the_ledger_gave_up_is_acknowledged() {
    let (mut harness, alice) = PoolHarness::with_alice();
    harness.ledger_held = true;
    for _ in 0..3 {
        submit_as(&mut harness, alice, "alice", Want::Share);
    }
    harness.durable(2);
    harness.break_ledger();
    harness.release();
    assert_eq!(
        harness.answers(alice),
        ["true", "true", "ledger unavailable"]
    );
}

#[test]
fn shares_that_want_no_reply_wait_like_others() {
    let (mut harness, alice) = PoolHarness::with_alice();
    harness.ledger_held = true;
    let job = harness.job(alice);
    for _ in 0..PENDING_REPLIES_MAX {
        let found = harness.find(alice, &job, Want::Share, job.time);
        let line = submit_line("9", "alice", &job.id, &found).replacen("\"id\":9,", "", 1);
        harness.send(alice, &line);
    }
    assert!(harness.is_paused(alice));
    harness.release();
    assert!(!harness.is_paused(alice));
    assert_eq!(harness.records.len(), PENDING_REPLIES_MAX);
    assert!(harness.answers(alice).is_empty());
}

#[test]
fn nobody_is_blamed_for_a_ledger_that_fails() {
    let (mut harness, alice) = PoolHarness::with_alice();
    harness.break_ledger();
    let line = submit_as(&mut harness, alice, "alice", Want::Share);
    for _ in 0..2 * SCORE_MAX {
        harness.send(alice, &line);
    }
    assert!(harness.is_open(alice));
    harness.mend_ledger();
    harness.answers(alice);
    harness.send(alice, &line);
    assert_eq!(harness.answers(alice), ["true"]);
}
