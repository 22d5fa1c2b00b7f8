//! Properties that transcripts cannot show: the order of actions within an event, and large numbers. The
//! harness checks the invariants after every event.

mod harness;

use std::collections::HashSet;

use harness::{DIFFICULTY_TINY, Output, Setup, Table, Want, differs_behind_a_proxy, submit_line};
use hstratum_core::chain::block::{FoundBlock, Reach, Verdict};
use hstratum_core::limits::{PENDING_REPLIES_MAX, TEMPLATES_MAX};
use hstratum_core::order::Order;

#[test]
fn an_accepted_reply_leaves_when_its_own_share_is_durable_and_not_before() {
    let (mut table, alice) = Table::with_alice();
    let bob = table.miner("alice");
    let (job, other) = (table.job(alice), table.job(bob));
    table.ledger_held = true;
    table.submit(alice, &job, Want::Share);
    table.submit(bob, &other, Want::Share);
    table.submit(alice, &job, Want::Low);
    table.submit(alice, &job, Want::Share);
    table.submit(bob, &other, Want::Low);
    assert!(table.answers(alice).is_empty() && table.answers(bob).is_empty());
    table.durable(1);
    assert_eq!(table.answers(alice), ["true", "high-hash"]);
    assert!(table.answers(bob).is_empty());
    table.durable(3);
    assert_eq!(table.answers(alice), ["true"]);
    assert_eq!(table.answers(bob), ["true", "high-hash"]);
    table.submit(bob, &other, Want::Share);
    table.submit(bob, &other, Want::Share);
    table.durable(4);
    assert_eq!(table.answers(bob), ["true"]);
}

#[test]
fn a_block_leaves_before_what_the_lines_ahead_of_it_say() {
    let (mut table, alice) = Table::with_alice();
    let job = table.job(alice);
    let lines = [Want::Low, Want::Share, Want::Block].map(|want| {
        let found = table.find(alice, &job, want, job.time);
        submit_line("9", "alice", &job.id, &found)
    });
    table.output.clear();
    table.send(alice, &lines.join("\n"));
    let first = &table.output[0];
    assert!(matches!(first, Output::Effect(None, text) if text.starts_with("block ")));
    assert_eq!(table.answers(alice), ["high-hash", "true", "true"]);
}

#[test]
fn a_block_is_offered_once_for_a_thousand_submits() {
    let (mut table, alice) = Table::with_alice();
    let job = table.job(alice);
    let line = table.submit(alice, &job, Want::Block);
    for _ in 0..50 {
        table.send(alice, &line);
    }
    // A stale share is no duplicate, so it does not score.
    table.tip();
    for _ in 0..1000 {
        table.send(alice, &line);
    }
    assert_eq!((table.solutions.len(), table.spooled.len()), (1, 1));
    assert_eq!(table.records.len(), 1);
    let answers = table.answers(alice);
    assert_eq!(answers[0], "true");
    assert!(answers[1..51].iter().all(|text| text == "duplicate"));
    assert!(answers[51..].iter().all(|text| text == "stale-prevblk"));
}

#[test]
fn a_stale_block_goes_to_the_chain_without_credit() {
    let (mut table, alice) = Table::with_alice();
    let job = table.job(alice);
    table.tip();
    table.submit(alice, &job, Want::Block);
    assert_eq!(table.answers(alice), ["stale-prevblk"]);
    assert_eq!(table.solutions[0].reach, Reach::Chain);
    assert!(table.records.is_empty());
    table.answer_block(Verdict::Accepted);
    let hash = table.solutions[0].hash;
    assert_eq!(table.found[0].hash, hash);
    assert_eq!(table.answered, [(hash, Verdict::Accepted)]);
}

#[test]
fn a_block_found_before_its_transactions_is_kept_though_its_miner_is_gone() {
    let mut table = Table::new(&Setup::default());
    table.chain.transactions = 7;
    table.template();
    let alice = table.miner("alice");
    let job = table.job(alice);
    table.submit(alice, &job, Want::Block);
    table.submit(alice, &job, Want::Block);
    table.close(alice);
    assert_eq!((table.solutions.len(), table.spooled.len()), (2, 0));
    table.transactions();
    let hashes = |table: &Table| -> Vec<_> { table.spooled.iter().map(|(s, _)| s.hash).collect() };
    let found: Vec<_> = table.solutions.iter().map(|s| s.hash).collect();
    assert_eq!(hashes(&table), found);
    assert!(table.spooled.iter().all(|(_, raw)| raw.count == 7));
    table.transactions();
    assert_eq!(hashes(&table), found);
}

#[test]
fn a_block_of_an_earlier_run_closes_its_round_when_the_node_takes_it() {
    let (mut table, alice) = Table::with_alice();
    let job = table.job(alice);
    table.submit(alice, &job, Want::Block);
    let (solution, transactions) = &table.spooled[0];
    let block = FoundBlock::parse(&solution.encode(transactions)).expect("a whole block");
    let (hash, height) = (block.hash, block.height);
    let mut later = Table::new(&Setup::default());
    later.spooled(block);
    later.answer(hash, Verdict::Accepted);
    assert_eq!(later.answered, [(hash, Verdict::Accepted)]);
    assert_eq!(later.found.len(), 1);
    assert_eq!((later.found[0].hash, later.found[0].height), (hash, height));
}

#[test]
fn a_job_keeps_the_difficulty_that_it_was_sent_under() {
    let mut table = Table::new(&Setup {
        difficulty: 1.0 / f64::from(1 << 26),
        ..Setup::default()
    });
    table.chain.bits = 0x207f_ffff;
    table.template();
    let alice = table.miner("alice");
    let easy = table.job(alice);
    table.chain.bits = 0x2000_ffff;
    table.template();
    let hard = table.job(alice);
    table.submit(alice, &easy, Want::Block);
    table.submit(alice, &hard, Want::Low);
    table.submit(alice, &hard, Want::Share);
    assert_eq!(table.answers(alice), ["true", "high-hash", "true"]);
    let credits: Vec<f64> = table.records.iter().map(|c| c.difficulty.get()).collect();
    assert!(credits[0] < DIFFICULTY_TINY * 1.01);
    assert_eq!(credits[1..], [1.0 / f64::from(1 << 26)]);
}

#[test]
fn no_connection_begins_with_a_job_that_another_had() {
    let mut table = Table::with_job(&Setup::default());
    let (mut ids, mut roots) = (HashSet::new(), HashSet::new());
    for _ in 0..50 {
        let miner = table.miner("alice");
        let job = table.job(miner);
        assert!(ids.insert(job.id) && roots.insert(job.witness_root));
        table.close(miner);
    }
    let miner = table.miner("alice");
    table.template();
    let job = table.job(miner);
    assert!(ids.insert(job.id) && roots.insert(job.witness_root));
}

#[test]
fn jobs_of_the_last_ten_templates_are_known() {
    let (mut table, alice) = Table::with_alice();
    let own = table.job(alice);
    for _ in 1..TEMPLATES_MAX {
        table.template();
    }
    table.submit(alice, &own, Want::Share);
    assert_eq!(table.answers(alice), ["true"]);
    table.template();
    table.submit(alice, &own, Want::Share);
    assert_eq!(table.answers(alice), ["job not found"]);
    let shared = table.job(alice);
    for _ in 1..TEMPLATES_MAX {
        table.template();
    }
    table.submit(alice, &shared, Want::Share);
    table.template();
    table.submit(alice, &shared, Want::Share);
    assert_eq!(table.answers(alice), ["true", "job not found"]);
}

#[test]
fn a_connection_with_too_many_waiting_replies_pauses_and_loses_nothing() {
    let mut table = Table::with_job(&Setup {
        slow_users: vec![("carol".into(), "pw".into())],
        ..Setup::default()
    });
    let alice = table.miner("alice");
    let job = table.job(alice);
    table.lines(alice);
    table.ledger_held = true;
    table.clerk_held = true;
    let mut lines = Vec::new();
    for number in 0..3000 {
        let found = table.find(alice, &job, Want::Share, job.time);
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
        table.send(alice, &part.join("\n"));
    }
    // The password check comes first: its reply is the last one that fits.
    table.clerk_held = false;
    table.advance(250);
    assert!(table.is_paused(alice) && table.lines(alice).is_empty());
    assert!(table.records.len() <= PENDING_REPLIES_MAX);
    let mut durable = 0;
    while table.unanswered(alice) > 0 {
        durable += 7;
        table.durable(durable);
        assert!(durable < 10_000, "something is lost");
    }
    assert!(!table.is_paused(alice));
    assert_eq!(table.records.len(), 3000);
    assert_eq!(table.lines(alice).len(), lines.len());
}

/// A proxy asks for the server's status over this connection; no miner is behind it.
#[test]
fn a_proxys_own_connection_is_not_counted_among_the_miners() {
    if differs_behind_a_proxy("it is about a proxy's own lines, which no miner's are") {
        return;
    }
    let (mut table, _) = Table::with_alice();
    assert_eq!(table.connections(), 1);
    let probe = table.connect();
    let hello = |params: &str| format!(r#"{{"id":1,"method":"hstratum.hello","params":{params}}}"#);
    for (params, counted) in [("[]", 2), ("[3]", 1), ("[4]", 1), ("[]", 2), ("[0]", 1)] {
        table.send(probe, &hello(params));
        assert_eq!(table.connections(), counted, "{params}");
    }
    table.order(Order::Info);
    let told = |output: &Output| matches!(output, Output::Effect(None, text) if text.contains("connections: 1,"));
    assert!(table.output.iter().any(told));
    table.close(probe);
    assert_eq!(table.connections(), 1);
}
