//! Properties that transcripts cannot show: the order of actions within an event, and large numbers. The
//! harness checks the invariants after every event.

use std::collections::HashSet;

use super::ACCESS;
use crate::harness::{DIFFICULTY_TINY, Output, PoolHarness, Setup, Want, submit_line};
use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::chain::block::{FoundBlock, Reach};
use hstratum_core::limits::{PENDING_REPLIES_MAX, TEMPLATES_MAX};
use hstratum_core::operator_order::Order;

#[test]
fn an_accepted_reply_leaves_when_its_own_share_is_durable_and_not_before() {
    let (mut harness, alice) = ACCESS.with_alice();
    let bob = harness.miner("alice");
    let (job, other) = (harness.job(alice), harness.job(bob));
    harness.ledger_held = true;
    harness.submit(alice, &job, Want::Share);
    harness.submit(bob, &other, Want::Share);
    harness.submit(alice, &job, Want::Low);
    harness.submit(alice, &job, Want::Share);
    harness.submit(bob, &other, Want::Low);
    assert!(harness.answers(alice).is_empty() && harness.answers(bob).is_empty());
    harness.durable(1);
    assert_eq!(harness.answers(alice), ["true", "high-hash"]);
    assert!(harness.answers(bob).is_empty());
    harness.durable(3);
    assert_eq!(harness.answers(alice), ["true"]);
    assert_eq!(harness.answers(bob), ["true", "high-hash"]);
    harness.submit(bob, &other, Want::Share);
    harness.submit(bob, &other, Want::Share);
    harness.durable(4);
    assert_eq!(harness.answers(bob), ["true"]);
}

#[test]
fn a_block_leaves_before_what_the_lines_ahead_of_it_say() {
    let (mut harness, alice) = ACCESS.with_alice();
    let job = harness.job(alice);
    let lines = [Want::Low, Want::Share, Want::Block].map(|want| {
        let found = harness.find(alice, &job, want, job.time);
        submit_line("9", "alice", &job.id, &found)
    });
    harness.output.clear();
    harness.send(alice, &lines.join("\n"));
    let first = &harness.output[0];
    assert!(matches!(first, Output::Effect(None, text) if text.starts_with("block ")));
    assert_eq!(harness.answers(alice), ["high-hash", "true", "true"]);
}

#[test]
fn a_block_is_offered_once_for_a_thousand_submits() {
    let (mut harness, alice) = ACCESS.with_alice();
    let job = harness.job(alice);
    let line = harness.submit(alice, &job, Want::Block);
    for _ in 0..50 {
        harness.send(alice, &line);
    }
    // A stale share is no duplicate, so it does not score.
    harness.tip();
    for _ in 0..1000 {
        harness.send(alice, &line);
    }
    assert_eq!((harness.solutions.len(), harness.spooled.len()), (1, 1));
    assert_eq!(harness.records.len(), 1);
    let answers = harness.answers(alice);
    assert_eq!(answers[0], "true");
    assert!(answers[1..51].iter().all(|text| text == "duplicate"));
    assert!(answers[51..].iter().all(|text| text == "stale-prevblk"));
}

#[test]
fn a_stale_block_goes_to_the_chain_without_credit() {
    let (mut harness, alice) = ACCESS.with_alice();
    let job = harness.job(alice);
    harness.tip();
    harness.submit(alice, &job, Want::Block);
    assert_eq!(harness.answers(alice), ["stale-prevblk"]);
    assert_eq!(harness.solutions[0].reach, Reach::Chain);
    assert!(harness.records.is_empty());
    harness.answer_block(Verdict::Accepted);
    let hash = harness.solutions[0].hash;
    assert_eq!(harness.found[0].hash, hash);
    assert_eq!(harness.answered, [(hash, Verdict::Accepted)]);
}

#[test]
fn a_block_found_before_its_transactions_is_kept_though_its_miner_is_gone() {
    let mut harness = ACCESS.harness(&Setup::default());
    harness.chain.transactions = 7;
    harness.template();
    let alice = harness.miner("alice");
    let job = harness.job(alice);
    harness.submit(alice, &job, Want::Block);
    harness.submit(alice, &job, Want::Block);
    harness.close(alice);
    assert_eq!((harness.solutions.len(), harness.spooled.len()), (2, 0));
    harness.transactions();
    let hashes =
        |harness: &PoolHarness| -> Vec<_> { harness.spooled.iter().map(|(s, _)| s.hash).collect() };
    let found: Vec<_> = harness.solutions.iter().map(|s| s.hash).collect();
    assert_eq!(hashes(&harness), found);
    assert!(harness.spooled.iter().all(|(_, raw)| raw.count == 7));
    harness.transactions();
    assert_eq!(hashes(&harness), found);
}

#[test]
fn a_block_of_an_earlier_run_closes_its_round_when_the_node_takes_it() {
    let (mut harness, alice) = ACCESS.with_alice();
    let job = harness.job(alice);
    harness.submit(alice, &job, Want::Block);
    let (solution, transactions) = &harness.spooled[0];
    let block = FoundBlock::parse(&solution.encode(transactions), solution.payout())
        .expect("a whole block");
    let (hash, height) = (block.hash, block.height);
    let mut later = ACCESS.harness(&Setup::default());
    later.spooled(block);
    later.answer(hash, Verdict::Accepted);
    assert_eq!(later.answered, [(hash, Verdict::Accepted)]);
    assert_eq!(later.found.len(), 1);
    assert_eq!((later.found[0].hash, later.found[0].height), (hash, height));
}

#[test]
fn a_job_keeps_the_difficulty_that_it_was_sent_under() {
    let mut harness = ACCESS.harness(&Setup {
        difficulty: 1.0 / f64::from(1 << 26),
        ..Setup::default()
    });
    harness.chain.bits = 0x207f_ffff;
    harness.template();
    let alice = harness.miner("alice");
    let easy = harness.job(alice);
    harness.chain.bits = 0x2000_ffff;
    harness.template();
    let hard = harness.job(alice);
    harness.submit(alice, &easy, Want::Block);
    harness.submit(alice, &hard, Want::Low);
    harness.submit(alice, &hard, Want::Share);
    assert_eq!(harness.answers(alice), ["true", "high-hash", "true"]);
    let credits: Vec<f64> = harness.records.iter().map(|c| c.difficulty.get()).collect();
    assert!(credits[0] < DIFFICULTY_TINY * 1.01);
    assert_eq!(credits[1..], [1.0 / f64::from(1 << 26)]);
}

#[test]
fn no_connection_begins_with_a_job_that_another_had() {
    let mut harness = ACCESS.with_job(&Setup::default());
    let (mut ids, mut roots) = (HashSet::new(), HashSet::new());
    for _ in 0..50 {
        let miner = harness.miner("alice");
        let job = harness.job(miner);
        assert!(ids.insert(job.id) && roots.insert(job.witness_root));
        harness.close(miner);
    }
    let miner = harness.miner("alice");
    harness.template();
    let job = harness.job(miner);
    assert!(ids.insert(job.id) && roots.insert(job.witness_root));
}

#[test]
fn jobs_of_the_last_ten_templates_are_known() {
    let (mut harness, alice) = ACCESS.with_alice();
    let own = harness.job(alice);
    for _ in 1..TEMPLATES_MAX {
        harness.template();
    }
    harness.submit(alice, &own, Want::Share);
    assert_eq!(harness.answers(alice), ["true"]);
    harness.template();
    harness.submit(alice, &own, Want::Share);
    assert_eq!(harness.answers(alice), ["job not found"]);
    let shared = harness.job(alice);
    for _ in 1..TEMPLATES_MAX {
        harness.template();
    }
    harness.submit(alice, &shared, Want::Share);
    harness.template();
    harness.submit(alice, &shared, Want::Share);
    assert_eq!(harness.answers(alice), ["true", "job not found"]);
}

#[test]
fn a_connection_with_too_many_waiting_replies_pauses_and_loses_nothing() {
    let mut harness = ACCESS.with_job(&Setup {
        slow_users: vec![("carol".into(), "pw".into())],
        ..Setup::default()
    });
    let alice = harness.miner("alice");
    let job = harness.job(alice);
    harness.lines(alice);
    harness.ledger_held = true;
    harness.passwords_held = true;
    let mut lines = Vec::new();
    for number in 0..3000 {
        let found = harness.find(alice, &job, Want::Share, job.time);
        lines.push(submit_line(&number.to_string(), "alice", &job.id, &found));
        if number % 100 == 50 {
            lines.push(r#"{"id":"nothing","method":"mining.nothing"}"#.to_owned());
        }
        if lines.len() == PENDING_REPLIES_MAX - 1 {
            let authorize = r#"{"id":"carol","method":"mining.authorize","params":["carol","pw"]}"#;
            lines.push(authorize.to_owned());
        }
    }
    for part in lines.chunks(500) {
        harness.send(alice, &part.join("\n"));
    }
    // The password check comes first: its reply is the last one that fits.
    harness.passwords_held = false;
    harness.advance(250);
    assert!(harness.is_paused(alice) && harness.lines(alice).is_empty());
    assert!(harness.records.len() <= PENDING_REPLIES_MAX);
    let mut durable = 0;
    while harness.unanswered(alice) > 0 {
        durable += 7;
        harness.durable(durable);
        assert!(durable < 10_000, "something is lost");
    }
    assert!(!harness.is_paused(alice));
    assert_eq!(harness.records.len(), 3000);
    assert_eq!(harness.lines(alice).len(), lines.len());
}

/// A proxy asks for the server's status over this connection; no miner is behind it.
#[test]
fn a_proxys_own_connection_is_not_counted_among_the_miners() {
    if ACCESS.differs("it is about a proxy's own lines, which no miner's are") {
        return;
    }
    let (mut harness, _) = ACCESS.with_alice();
    assert_eq!(harness.connections(), 1);
    let probe = harness.connect();
    let hello = |params: &str| format!(r#"{{"id":1,"method":"hstratum.hello","params":{params}}}"#);
    for (params, counted) in [("[]", 2), ("[3]", 1), ("[4]", 1), ("[]", 2), ("[0]", 1)] {
        harness.send(probe, &hello(params));
        assert_eq!(harness.connections(), counted, "{params}");
    }
    harness.order(Order::Info);
    let told = |output: &Output| matches!(output, Output::Effect(None, text) if text.contains("connections: 1,"));
    assert!(harness.output.iter().any(told));
    harness.close(probe);
    assert_eq!(harness.connections(), 1);
}
