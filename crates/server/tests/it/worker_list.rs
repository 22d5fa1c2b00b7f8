//! A worker that has left stays in the list.

use std::time::Duration;

use rusqlite::Connection;

use crate::browser::serve;
use crate::harness::miner::Want;
use crate::harness::{Chain, wait_until};

#[test]
fn a_worker_that_left_is_listed_until_the_ledger_has_it_and_after() {
    let (running, browser) = serve(&[]);
    running.move_on(Chain::hard().empty_at(1));
    let list = || browser.json("/api/v1/workers")["workers"].clone();
    let connections = || list()[0]["connections"].as_u64();
    let mut miner = running.mine_as("alice.rig");
    miner.mine(Want::Share);
    wait_until("it is listed", || connections() == Some(1));
    miner.reset();
    let ledger = Connection::open(running.dir.join("ledger.db")).expect("opened");
    ledger.busy_timeout(crate::harness::DEADLINE).expect("set");
    let spans = || {
        let count = "SELECT count(*) FROM statistics";
        ledger
            .query_row(count, [], |row| row.get::<_, i64>(0))
            .expect("a number")
    };
    // A few more requests after the ledger has it.
    let mut looks = 0;
    while looks < 8 {
        let rows = list();
        assert_eq!(rows[0]["worker"], "rig", "it is there: {rows}");
        looks += u32::from(spans() > 0);
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(connections(), Some(0));
    assert!(list()[0]["connected_at"].is_null());
}
