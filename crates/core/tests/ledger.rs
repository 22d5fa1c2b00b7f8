//! The pool and the ledger, beyond the transcripts: reports of submitted shares, and reactions to the
//! ledger's state.

mod harness;

use harness::{DIFFICULTY_TINY, Miner, Output, Table, Want, submit_line};
use hstratum_core::accounting::ledger::{ShareTotals, Tallied};
use hstratum_core::limits::{PENDING_REPLIES_MAX, SCORE_MAX, TALLY_MS};
use hstratum_core::order::Order;

fn work(count: u64) -> ShareTotals {
    ShareTotals {
        count,
        difficulty: count as f64 * DIFFICULTY_TINY,
    }
}

/// The reported shares, by worker's name.
fn tallied(table: &mut Table) -> Vec<Tallied> {
    let mut list = std::mem::take(&mut table.tallied);
    list.sort_by_key(|one| (one.account.clone(), one.worker.clone()));
    list
}

/// The pool's status as an operator gets it now.
fn info(table: &mut Table) -> String {
    table.order(Order::Info);
    let told = table.output.iter().rev().find_map(|output| match output {
        Output::Effect(None, text) if text.starts_with("info: ") => Some(text.clone()),
        _ => None,
    });
    told.expect("an answer")
}

fn submit_as(table: &mut Table, miner: Miner, user: &str, want: Want) -> String {
    let job = table.job(miner);
    let found = table.find(miner, &job, want, job.time);
    let line = submit_line("9", user, &job.id, &found);
    table.send(miner, &line);
    line
}

#[test]
fn every_outcome_is_counted_once_for_the_worker_that_sent_it() {
    let mut table = Table::with_job(&harness::Setup::default());
    let miner = table.miner("alice.one");
    table.login(miner, "alice.two");
    let first = submit_as(&mut table, miner, "alice.one", Want::Share);
    table.send(miner, &first);
    submit_as(&mut table, miner, "alice.one", Want::Low);
    submit_as(&mut table, miner, "alice.two", Want::Share);
    submit_as(&mut table, miner, "alice.two", Want::Block);
    let stale = table.job(miner);
    table.block();
    let late = table.find(miner, &stale, Want::Share, stale.time);
    table.send(miner, &submit_line("9", "alice.two", &stale.id, &late));
    table.send(miner, &submit_line("9", "alice.two", "00", &late));
    // Neither is counted for a worker.
    table.send(miner, &submit_line("9", "mallory", &stale.id, &late));
    let early = table.find(miner, &stale, Want::Share, 1);
    table.send(miner, &submit_line("9", "alice.two", &stale.id, &early));

    assert_eq!(tallied(&mut table), []);
    // An operator gets the count at once, before it is reported to the ledger.
    let counted = "accepted: ShareTotals { count: 3,";
    let asked = info(&mut table);
    assert!(asked.contains(counted), "{asked}");
    table.advance(TALLY_MS);
    let list = tallied(&mut table);
    let asked = info(&mut table);
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
    table.advance(3 * TALLY_MS);
    assert_eq!(tallied(&mut table), [], "what was told is not told again");
}

#[test]
fn what_a_connection_has_sent_outlives_it_and_a_stop() {
    let mut table = Table::with_job(&harness::Setup::default());
    let [alice, bob] = ["alice", "bob"].map(|name| table.miner(name));
    submit_as(&mut table, alice, "alice", Want::Share);
    submit_as(&mut table, bob, "bob", Want::Share);
    table.close(alice);
    table.stop();
    let list = tallied(&mut table);
    let names: Vec<_> = list
        .iter()
        .map(|one| (&*one.account, &*one.worker))
        .collect();
    assert_eq!(names, [("alice", ""), ("bob", "")]);
    assert!(list.iter().all(|one| one.tally.accepted == work(1)));
}

#[test]
fn a_connection_that_waits_for_a_ledger_that_gives_up_reads_on() {
    let (mut table, alice) = Table::with_alice();
    table.ledger_held = true;
    for _ in 0..PENDING_REPLIES_MAX {
        submit_as(&mut table, alice, "alice", Want::Share);
    }
    assert!(table.is_paused(alice));
    submit_as(&mut table, alice, "alice", Want::Share);
    table.break_ledger();
    table.release();
    assert!(!table.is_paused(alice));
    let answers = table.answers(alice);
    assert_eq!(answers.len(), PENDING_REPLIES_MAX + 1);
    assert!(answers.iter().all(|answer| answer == "ledger unavailable"));
}

#[test]
fn what_was_durable_before_the_ledger_gave_up_is_acknowledged() {
    let (mut table, alice) = Table::with_alice();
    table.ledger_held = true;
    for _ in 0..3 {
        submit_as(&mut table, alice, "alice", Want::Share);
    }
    table.durable(2);
    table.break_ledger();
    table.release();
    assert_eq!(table.answers(alice), ["true", "true", "ledger unavailable"]);
}

#[test]
fn shares_that_want_no_reply_wait_like_others() {
    let (mut table, alice) = Table::with_alice();
    table.ledger_held = true;
    let job = table.job(alice);
    for _ in 0..PENDING_REPLIES_MAX {
        let found = table.find(alice, &job, Want::Share, job.time);
        let line = submit_line("9", "alice", &job.id, &found).replacen("\"id\":9,", "", 1);
        table.send(alice, &line);
    }
    assert!(table.is_paused(alice));
    table.release();
    assert!(!table.is_paused(alice));
    assert_eq!(table.records.len(), PENDING_REPLIES_MAX);
    assert!(table.answers(alice).is_empty());
}

#[test]
fn nobody_is_blamed_for_a_ledger_that_fails() {
    let (mut table, alice) = Table::with_alice();
    table.break_ledger();
    let line = submit_as(&mut table, alice, "alice", Want::Share);
    for _ in 0..2 * SCORE_MAX {
        table.send(alice, &line);
    }
    assert!(table.is_open(alice));
    table.mend_ledger();
    table.answers(alice);
    table.send(alice, &line);
    assert_eq!(table.answers(alice), ["true"]);
}
