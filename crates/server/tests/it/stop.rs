//! Stopping: no accepted share is lost, and nothing is left behind.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::limits::PENDING_REPLIES_MAX;
use serde_json::{Value, json};

use crate::harness::miner::{End, Want};
use crate::harness::template::FIRST_HEIGHT;
use crate::harness::{Chain, DEADLINE, EVERY_HASH, Miner, Running, restart, start, wait_until};

/// A stop that waits for nothing takes milliseconds; one that waits for a timeout, seconds.
const SOON: Duration = Duration::from_secs(1);

fn close_soon(running: &Running) {
    let begun = Instant::now();
    assert!(running.server.close().wait());
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
}

#[test]
fn stopped_server_leaves_nothing_behind() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::easy().empty_at(0));
    let mut miner = running.mine_as("alice");
    miner.mine(Want::Share);
    close_soon(&running);
    assert_eq!(running.node.log_texts().last().expect("a line"), "stopped");
    assert_eq!(miner.end().1, End::Reset);
    TcpListener::bind(running.server.address()).expect("the port is free");
    // Each thread of the server holds the node.
    wait_until("its threads have ended", || {
        Arc::strong_count(&running.node) == 1
    });
}

#[test]
fn second_close_returns_at_once() {
    let running = start(&[]);
    let (first, second) = (running.server.close(), running.server.close());
    assert!(first.wait() && second.wait());
    close_soon(&running);
    // Messages after the stop are ignored.
    running.server.template(Chain::easy().empty_at(0));
    running.server.no_template("closed".into());
    assert_eq!(running.node.log_texts().last().expect("a line"), "stopped");
}

#[test]
fn server_that_was_just_started_stops() {
    close_soon(&start(&[]));
}

#[test]
fn hundreds_of_miners_are_reset() {
    let running = start(&[]);
    running.server.template(Chain::easy().empty_at(0));
    let mut miners: Vec<Miner> = (0..500).map(|_| running.mine_as("alice")).collect();
    let _silent: Vec<Miner> = (0..100).map(|_| running.connect()).collect();
    close_soon(&running);
    for miner in &mut miners {
        assert_eq!(miner.end(), (0, End::Reset));
    }
}

#[test]
fn shares_before_the_last_block_are_in_its_dump() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::easy().empty_at(0));
    let mut miner = running.mine_as("alice");
    const SHARES: usize = 3000;
    let mut lines = String::new();
    for _ in 1..SHARES {
        lines += &miner.solve(Want::Share).0;
    }
    let (line, hash) = miner.solve(Want::Block);
    lines += &line;
    running.node.in_next_offer(move |server| {
        server.block_result(hash, Verdict::Accepted);
        server.close();
    });
    miner.send_raw(lines.as_bytes());
    let (replies, end) = miner.end();
    assert_eq!(end, End::Reset);
    assert!(replies <= SHARES, "{replies}");
    running.node.wait_for_log("stopped");
    // The node is no longer asked where the block is; the next start does that.
    let running = restart(running, &[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::easy().empty_at(1));
    let name = format!("shares/{FIRST_HEIGHT}-{hash}.json");
    let dump: Value = serde_json::from_slice(&running.wait_for_file(&name)).expect("JSON");
    let expected = 7.275957614183426e-12 * SHARES as f64;
    assert_eq!(dump["shares"], json!({ "alice": expected }));
    assert!(running.files("spool").is_empty());
}

#[test]
fn lines_that_waited_unread_do_not_hold_up_the_stop() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::easy().empty_at(0));
    let mut miner = running.mine_as("alice");
    let mut lines = miner.solve(Want::Block).0;
    for _ in 0..PENDING_REPLIES_MAX + 50 {
        lines += &miner.solve(Want::Share).0;
    }
    let (sent, all_sent) = channel();
    running.node.in_next_offer(move |server| {
        all_sent.recv_timeout(DEADLINE).expect("sent");
        server.close();
    });
    miner.send_raw(lines.as_bytes());
    sent.send(()).expect("the offer waits for it");
    close_soon(&running);
}

#[test]
fn passwords_that_wait_to_be_checked_do_not_hold_up_the_stop() {
    let running = start(&[("password", "secret")]);
    let mut admin = running.connect();
    admin.send(1, "mining.authorize_admin", &json!(["secret"]));
    admin.send(2, "mining.add_user", &json!(["alice", "pw"]));
    admin.reply();
    assert_eq!(admin.reply()["result"], true);
    // Each check takes some milliseconds.
    let mut guessers: Vec<Miner> = (0..1000).map(|_| running.connect()).collect();
    for (number, guesser) in guessers.iter_mut().enumerate() {
        guesser.log_in("alice", &format!("guess {number}"));
        guesser.line();
    }
    close_soon(&running);
}

/// A miner's last requests before it ends are answered, and then its connection is closed.
#[test]
fn a_share_with_an_end_behind_it_is_credited_and_answered() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::easy().empty_at(0));
    for _ in 0..20 {
        let mut miner = running.mine_as("alice");
        miner.submit(Want::Share);
        miner.finish();
        miner.expect_accepted();
        assert_eq!(miner.end().1, End::Finished);
    }
    // Other requests are answered too.
    let mut other = running.connect();
    other.send(1, "mining.ping", &json!([]));
    other.finish();
    assert_eq!(other.reply()["result"], "pong");
    assert_eq!(other.end().1, End::Finished);
}
