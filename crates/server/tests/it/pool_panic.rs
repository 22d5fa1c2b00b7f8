//! A panic of the pool resets connections and has no other effect.

use std::fs;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::chain::header::{HEADER_BYTES, decode_header, header_hash};
use hstratum_core::event::Level;
use hstratum_core::limits::PENDING_REPLIES_MAX;
use serde_json::{Value, json};

use crate::harness::miner::{End, Want};
use crate::harness::template::FIRST_HEIGHT;
use crate::harness::{Chain, DEADLINE, EVERY_HASH, Miner, Offered, Running, start, start_in};

const FAILED: &str = "the pool has failed";

/// Lets a miner find a block while the pool panics in its submission.
fn fail(running: &Running, miner: &mut Miner) -> hstratum_core::units::Hash {
    running.node.panic_in_next_offer();
    let hash = miner.submit(Want::Block);
    let (_, end) = miner.end();
    assert_eq!(end, End::Reset);
    hash
}

#[test]
fn block_that_the_pool_fails_over_is_offered_again_and_spooled() {
    let running = start(&[]);
    running.node.be_blind();
    running.server.template(Chain::easy().empty_at(0));
    let mut miner = running.mine_as("alice");
    let hash = fail(&running, &mut miner);
    for number in 0..2 {
        let Offered::Found(solution) = running.node.offer_number(number) else {
            panic!("found in this run");
        };
        assert_eq!(solution.hash, hash);
    }
    let raw = running.wait_for_file(&format!("spool/{hash}.block"));
    let (fields, proof, mask) = decode_header(&raw[..HEADER_BYTES]).expect("a header");
    assert_eq!(header_hash(&fields, &proof, &mask), hash);
    let (level, _) = running.node.wait_for_log(FAILED);
    assert_eq!(level, Level::Error);
}

#[test]
fn miners_are_reset_and_have_other_work_within_a_second() {
    let running = start(&[]);
    running.server.template(Chain::easy().empty_at(0));
    let mut finder = running.mine_as("alice");
    let mut others: Vec<Miner> = (0..20).map(|_| running.mine_as("bob")).collect();
    let before: Vec<String> = others.iter_mut().map(job).collect();
    fail(&running, &mut finder);
    for other in &mut others {
        assert_eq!(other.end().1, End::Reset);
    }
    let begun = Instant::now();
    let mut again = running.mine_as("bob");
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!(!before.contains(&job(&mut again)));
    again.mine(Want::Block);
}

fn job(miner: &mut Miner) -> String {
    miner.wait_for_work().job.clone()
}

#[test]
fn block_found_before_the_failure_closes_its_round_after_it() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::easy().empty_at(0));
    let mut bob = running.mine_as("bob");
    bob.mine(Want::Share);
    let mut alice = running.mine_as("alice");
    let hash = fail(&running, &mut alice);
    running.server.block_result(hash, Verdict::Accepted);
    let name = format!("shares/{FIRST_HEIGHT}-{hash}.json");
    let dump: Value = serde_json::from_slice(&running.wait_for_file(&name)).expect("JSON");
    // The block's share was judged before the failure, so it counts.
    assert_eq!(
        dump["shares"],
        json!({ "alice": 7.275957614183426e-12, "bob": 7.275957614183426e-12 })
    );
    running.wait_until_gone(&format!("spool/{hash}.block"));
}

#[test]
fn users_survive_the_failure() {
    let running = start(&[("password", "secret")]);
    running.server.template(Chain::easy().empty_at(0));
    let mut admin = running.connect();
    admin.send(1, "mining.authorize_admin", &json!(["secret"]));
    admin.send(2, "mining.add_user", &json!(["alice", "pw"]));
    assert_eq!(admin.reply()["result"], true);
    assert_eq!(admin.reply()["result"], true);

    let mut miner = running.connect();
    miner.log_in("alice.rig", "pw");
    miner.wait_for_work();
    fail(&running, &mut miner);
    let mut miner = running.connect();
    miner.log_in("alice.rig", "pw");
    miner.wait_for_work();
    let mut stranger = running.connect();
    stranger.log_in("alice", "no");
    stranger.reply();
    assert_eq!(stranger.line(), UNAUTHORIZED);
}

const UNAUTHORIZED: &str = r#"{"id":1,"result":null,"error":[24,"unauthorized user",false]}"#;

#[test]
fn password_found_right_before_the_failure_opens_no_door_after_it() {
    // One account for each, since one password is checked once.
    const ACCOUNTS: usize = 200;
    let password = hstratum::task_threads::password_hash::hash("pw")
        .expect("hashed")
        .to_text();
    let line = |n| format!("{{\"username\":\"user{n}\",\"password\":\"{password}\"}}\n");
    let root = Arc::new(tempfile::tempdir().expect("a directory"));
    let dir = root.path().join("stratum");
    fs::create_dir(&dir).expect("created");
    let lines: String = (0..ACCOUNTS).map(line).collect();
    fs::write(dir.join("users.json"), lines).expect("written");
    let running = start_in(root, &[]);
    running.server.template(Chain::easy().empty_at(0));

    let mut finder = running.mine_as("bob");
    let mut right: Vec<Miner> = (0..ACCOUNTS).map(|_| running.connect()).collect();
    for (number, miner) in right.iter_mut().enumerate() {
        miner.log_in(&format!("user{number}"), "pw");
        // The reply to subscribe: the password is being checked.
        miner.line();
    }
    fail(&running, &mut finder);
    let mut wrong: Vec<Miner> = (0..ACCOUNTS).map(|_| running.connect()).collect();
    for (number, miner) in wrong.iter_mut().enumerate() {
        miner.log_in(&format!("user{number}"), "no");
    }
    for miner in &mut wrong {
        miner.line();
        assert_eq!(miner.line(), UNAUTHORIZED);
    }
}

#[test]
fn job_that_the_node_took_back_is_not_given_out_again() {
    let running = start(&[]);
    running.server.template(Chain::easy().empty_at(0));
    let mut miner = running.mine_as("alice");
    running.server.no_template("not synced".into());
    running.node.wait_for_log("not synced");
    fail(&running, &mut miner);
    let mut miner = running.connect();
    miner.log_in("alice", "");
    miner.send(9, "mining.nonsense", &json!([]));
    for id in [0, 1, 9] {
        // A job would come before the last of them.
        assert_eq!(miner.json()["id"], id);
    }
    running.node.wait_for_logs("not synced", 2);
}

#[test]
fn pool_that_fails_while_it_starts_again_is_started_once_more() {
    let running = start(&[]);
    running.server.template(Chain::easy().empty_at(0));
    let mut miner = running.mine_as("alice");
    running.node.panic_in_next_offer();
    running.node.panic_in_next_offer();
    let hash = fail(&running, &mut miner);
    running.node.wait_for_logs(FAILED, 3);
    assert_eq!(running.node.offer_number(3).hash(), hash);
    running.mine_as("alice").mine(Want::Block);
}

#[test]
fn failure_while_the_server_stops_does_not_keep_it_from_stopping() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::easy().empty_at(0));
    let mut miner = running.mine_as("alice");
    // More shares than may be queued, so that the second block is still unread when the stop begins.
    let mut lines = miner.solve(Want::Block).0;
    for _ in 0..PENDING_REPLIES_MAX {
        lines += &miner.solve(Want::Share).0;
    }
    lines += &miner.solve(Want::Block).0;
    let (sent, all_sent) = channel();
    running.node.in_next_offer(move |server| {
        all_sent.recv_timeout(DEADLINE).expect("sent");
        server.close();
    });
    running.node.panic_in_next_offer();
    miner.send_raw(lines.as_bytes());
    sent.send(()).expect("the offer waits for it");
    running.node.wait_for_log("stopped");
    running.node.wait_for_log(FAILED);
    assert_eq!(running.node.offers(), 2);
    assert!(running.server.close().wait());
}
