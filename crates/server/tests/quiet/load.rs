//! Many miners and many shares: nothing is timed, everything is counted.

use std::thread;

use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::wire::client::Attempt;
use serde_json::json;

use crate::harness::miner::Want;
use crate::harness::template::FIRST_HEIGHT;
use crate::harness::{Chain, Miner, Running, start};

const CONNECTIONS: usize = 2000;

#[test]
fn all_who_connect_at_once_get_a_job_and_the_next() {
    let _turn = crate::turn();
    let running = start(&[]);
    let mut chain = Chain::easy();
    running.server.template(chain.empty_at(0));
    let mut miners: Vec<Miner> = (0..CONNECTIONS).map(|_| running.connect()).collect();
    for (number, miner) in miners.iter_mut().enumerate() {
        miner.log_in(&format!("user{}.{number}", number % 7), "");
    }
    let first: Vec<_> = miners.iter_mut().map(Miner::wait_for_work).collect();
    running.move_on(chain.empty_at(1));
    for (miner, work) in miners.iter_mut().zip(&first) {
        miner.wait_for_new_work(work);
    }
    // Each one's first job is its own, so that no two ever hash the same.
    let mut jobs: Vec<&str> = first.iter().map(|work| work.job.as_str()).collect();
    jobs.sort_unstable();
    jobs.dedup();
    assert_eq!(jobs.len(), CONNECTIONS);
}

const MINERS: usize = 50;
const SUBMITS: u32 = 4000;
/// One hash in fourteen is above its target.
const DIFFICULTY: f64 = 1.0 / (1_u64 << 32) as f64;
/// Number of submits after which one is sent again.
const DUPLICATE_EACH: u32 = 100;

#[test]
fn each_of_many_submits_is_answered_once_and_counted_once() {
    let _turn = crate::turn();
    let running = start(&[("difficulty", &DIFFICULTY.to_string())]);
    let mut chain = Chain::hard();
    running.server.template(chain.empty_at(0));
    let accepted: u32 = thread::scope(|scope| {
        let running = &running;
        let mining: Vec<_> = (0..MINERS)
            .map(|_| scope.spawn(|| submit_and_count(running)))
            .collect();
        let counts = mining.into_iter().map(|one| one.join().expect("counted"));
        counts.sum()
    });

    running.move_on(Chain::easy().empty_at(1));
    let mut miner = running.mine_as("alice");
    let hash = miner.mine(Want::Block);
    running.server.block_result(hash, Verdict::Accepted);
    let name = format!("shares/{}-{hash}.json", FIRST_HEIGHT + 1);
    let dump = String::from_utf8(running.wait_for_file(&name)).expect("UTF-8");
    let expected = json!({ "alice": DIFFICULTY * f64::from(accepted + 1) });
    // Compared as text, since parsing a number may round it.
    let expected = serde_json::to_string_pretty(&expected).expect("plain");
    assert!(
        dump.replace("\n  ", "\n").contains(&expected),
        "{dump} {expected}"
    );
}

/// Submits good shares, some above their target and some twice, without waiting for answers; returns the
/// number accepted.
fn submit_and_count(running: &Running) -> u32 {
    let mut miner = running.mine_as("alice");
    let work = miner.wait_for_work();
    let mut lines = String::new();
    let mut replies = Vec::new();
    let mut last_good = 0;
    for id in 0..SUBMITS {
        let attempt = |nonce| Attempt {
            extra_nonce2: 0,
            time: work.time,
            nonce,
        };
        let is_again = id % DUPLICATE_EACH == DUPLICATE_EACH - 1;
        let nonce = if is_again { last_good } else { id };
        let (job, time) = (&work.job, work.time);
        lines += &format!(
            "{{\"id\":{id},\"method\":\"mining.submit\",\"params\":\
             [\"alice\",\"{job}\",\"00000000\",\"{time:08x}\",\"{nonce:08x}\"]}}\n"
        );
        replies.push(if is_again {
            format!(r#"{{"id":{id},"result":null,"error":[22,"duplicate",false]}}"#)
        } else if work.is_share(&work.hash(&attempt(nonce))) {
            last_good = nonce;
            format!(r#"{{"id":{id},"result":true,"error":null}}"#)
        } else {
            format!(r#"{{"id":{id},"result":null,"error":[23,"high-hash",false]}}"#)
        });
    }
    let (mut writer, mut miner) = miner.split();
    thread::scope(|scope| {
        scope.spawn(move || writer.send_raw(lines.as_bytes()));
        for reply in &replies {
            assert_eq!(miner.line(), *reply);
        }
    });
    // Nothing is left over: the next line answers the next request.
    assert!(miner.is_served());
    let accepted = replies.iter().filter(|reply| reply.contains("true"));
    u32::try_from(accepted.count()).expect("few enough")
}
