//! HandyMiner in solo mode: a miner that sends blocks only, whatever its difficulty.

use crate::harness::{DIFFICULTY_TINY, PoolHarness, Setup, Want, submit_line};
use hstratum_core::accounting::ledger::Tallied;
use hstratum_core::limits::TALLY_MS;

/// About the target of the main network.
const BITS_MAIN: u32 = 0x1906_292f;

/// The first lines that it sends.
const ADMIN: &str = r#"{"id":"a","method":"mining.authorize_admin","params":["x"]}"#;
const AUTHORIZE: &str = r#"{"id":"b","method":"mining.authorize","params":["alice","x"]}"#;
const SUBSCRIBE: &str = r#"{"id":"c","method":"mining.subscribe","params":[]}"#;

fn told(lines: &[String]) -> f64 {
    let line = lines
        .iter()
        .find(|line| line.contains("set_difficulty\",\"params"));
    let text = line.and_then(|line| line.split(['[', ']']).nth(1));
    text.expect("a difficulty").parse().expect("a number")
}

#[test]
fn solo_miner_works_at_the_networks_difficulty_and_is_told_what_it_survives() {
    let mut harness = PoolHarness::new(&Setup::default());
    harness.chain.bits = BITS_MAIN;
    harness.template();
    let miner = harness.connect();
    harness.send(miner, &[ADMIN, AUTHORIZE, SUBSCRIBE].join("\n"));
    assert_eq!(told(&harness.lines(miner)), 131_072.0);
    let worker = harness.workers().remove(0);
    assert!(worker.sends_blocks);
    let difficulty = worker.difficulty.expect("it has a job").get();
    assert!((6.9e8..7.1e8).contains(&difficulty), "{difficulty}");
}

#[test]
fn its_blocks_count_what_they_took_and_a_share_of_it_nothing() {
    let mut harness = PoolHarness::with_job(&Setup::default());
    let miner = harness.connect();
    harness.send(miner, &[ADMIN, AUTHORIZE, SUBSCRIBE].join("\n"));
    let network = told(&harness.lines(miner));
    assert!(network > 100.0 * DIFFICULTY_TINY);
    let job = harness.job(miner);
    for want in [Want::Low, Want::Block] {
        let found = harness.find(miner, &job, want, job.time);
        harness.send(miner, &submit_line("9", "alice", &job.id, &found));
    }
    harness.advance(TALLY_MS);
    let [Tallied { tally, .. }] = harness.tallied.as_slice() else {
        panic!("{:?}", harness.tallied);
    };
    assert_eq!((tally.accepted.count, tally.low.count), (1, 1));
    assert_eq!(tally.accepted.difficulty, network);
    assert_eq!(harness.records[0].difficulty.get(), network);
}

#[test]
fn who_says_its_name_or_asks_for_nothing_is_no_solo_miner() {
    for lines in [
        [AUTHORIZE, SUBSCRIBE, ADMIN],
        [
            ADMIN,
            AUTHORIZE,
            r#"{"id":"c","method":"mining.subscribe","params":["rig"]}"#,
        ],
    ] {
        let mut harness = PoolHarness::with_job(&Setup::default());
        let miner = harness.connect();
        harness.send(miner, &lines.join("\n"));
        assert_eq!(told(&harness.lines(miner)), DIFFICULTY_TINY);
        assert!(!harness.workers().remove(0).sends_blocks);
    }
}
