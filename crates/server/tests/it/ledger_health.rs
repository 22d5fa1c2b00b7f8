//! A ledger held by another process is reported as unhealthy.

use std::time::Instant;

use rusqlite::Connection;

use crate::browser::serve;
use crate::harness::miner::Want;
use crate::harness::{Chain, wait_until};

#[test]
fn a_ledger_that_another_process_holds_is_not_well_until_it_is_free() {
    let (running, browser) = serve(&[]);
    running.move_on(Chain::hard().empty_at(1));
    let mut miner = running.mine_as("alice");
    miner.mine(Want::Share);
    wait_until("it is well", || browser.get("/healthz").status == 200);

    let other = Connection::open(running.dir.join("ledger.db")).expect("opened");
    other.busy_timeout(crate::harness::DEADLINE).expect("set");
    other.execute_batch("BEGIN IMMEDIATE").expect("it is ours");
    let begun = Instant::now();
    miner.submit(Want::Share);
    wait_until("it is not well", || browser.get("/healthz").status == 503);
    println!("not well after {:?}", begun.elapsed());
    let health = browser.get("/healthz").body;
    assert!(
        health.contains("another process holds the ledger"),
        "{health}"
    );
    assert_eq!(browser.json("/api/v1/pool")["ledger_stalled"], true);
    let is_said = |line: &str| browser.get("/metrics").body.lines().any(|one| one == line);
    assert!(is_said("hstratum_ledger_stalled 1"));
    let trouble = running.server.ledger_status().trouble();
    assert!(trouble.is_some_and(|text| text.contains("shares wait")));

    other.execute_batch("COMMIT").expect("it is free");
    miner.expect_accepted();
    wait_until("it is well again", || browser.get("/healthz").status == 200);
    assert!(is_said("hstratum_ledger_stalled 0"));
    assert_eq!(running.server.ledger_status().trouble(), None);
    wait_until("the blocks' age is said", || {
        let metrics = browser.get("/metrics").body;
        metrics
            .lines()
            .any(|line| line.starts_with("hstratum_blocks_age_seconds 0"))
    });
}
