//! Listeners whose blocks pay their finder, on a real server: each block is kept, offered and recorded as any
//! other, and concerns no round.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hstratum::ledger_tools::{check, set_address};
use hstratum::server::Server;
use hstratum::sql::{Db, FromValue, Sql, Sqlite};
use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::coinbase::Coinbase;
use hstratum_core::units::Height;
use serde_json::json;

use crate::harness::miner::{Miner, Want};
use crate::harness::template::FIRST_HEIGHT;
use crate::harness::{
    Chain, EVERY_HASH, Offered, Running, TestNode, payee, restart, settings, start, view_at,
    wait_until,
};

const SOLO: [(&str, &str); 3] = [
    ("difficulty", EVERY_HASH),
    ("payout", "solo"),
    ("fee", "2.5"),
];

fn wait_for<T: FromValue + PartialEq + 'static>(running: &Running, sql: &str, expected: T) {
    wait_until(sql, || running.value::<T>(sql) == expected);
}

#[test]
fn block_is_kept_and_recorded_and_closes_no_round() {
    let running = start(&SOLO);
    // No look finds the block before the answer.
    running.node.know(view_at(Height(FIRST_HEIGHT - 1)));
    running.server.template(Chain::easy().empty_at(0));
    running.node.wait_for_log(", each block pays its finder");
    let mut miner = running.mine_as(&payee(1));
    miner.mine(Want::Share);
    let hash = miner.mine(Want::Block);
    let name = format!("spool/{hash}.solo.block");
    let raw = running.wait_for_file(&name);
    let coinbase = Coinbase::of_block(&raw).expect("a coinbase");
    assert_eq!(coinbase.address().encode(Network::Regtest), payee(1));
    let Offered::Found(solution) = running.node.offer_number(0) else {
        panic!("found just now");
    };
    assert_eq!(solution.coinbase, coinbase);

    running.node.know(view_at(Height(FIRST_HEIGHT + 1)));
    running.server.block_result(hash, Verdict::Accepted);
    running.wait_until_gone(&name);
    running.move_on(Chain::easy().empty_at(2));
    wait_for(&running, "SELECT state FROM blocks", "confirmed".to_owned());
    let row = "SELECT payout || ' ' || address || ' ' || reward || ' ' || (closed_at IS NULL) FROM blocks";
    let expected = format!("solo {} {} 1", payee(1), coinbase.value());
    assert_eq!(running.value::<String>(row), expected);
    assert_eq!(running.value::<i64>("SELECT count(*) FROM credit"), 0);
    assert!(running.files("shares").is_empty());
    let file = running.dir.join("ledger.db");
    assert!(running.server.close().wait());
    let accepted = "SELECT CAST(sum(accepted) AS BIGINT) FROM statistics";
    assert_eq!(running.value::<i64>(accepted), 2);
    let mut db = Db::Sqlite(Sqlite::open_beside(&file).expect("opened"));
    let found = check(&mut db, None).expect("checked").errors;
    assert_eq!(found, Vec::<String>::new());
}

/// As after a power cut before the block's row was durable.
#[test]
fn block_that_an_earlier_run_left_in_the_spool_is_still_its_finders() {
    let running = start(&SOLO);
    running.node.be_blind();
    running.server.template(Chain::easy().empty_at(0));
    let hash = running.mine_as(&payee(1)).mine(Want::Block);
    let raw = running.wait_for_file(&format!("spool/{hash}.solo.block"));
    wait_for(&running, "SELECT count(*) FROM blocks", 1_i64);
    let file = running.dir.join("ledger.db");
    assert!(running.server.close().wait());
    let mut db = Db::Sqlite(Sqlite::open_beside(&file).expect("opened"));
    db.write(|db: &mut dyn Sql| db.execute("DELETE FROM blocks", &[]))
        .expect("deleted");
    drop(db);

    let running = restart(running, &SOLO);
    let Offered::Spooled { raw: offered, .. } = running.node.offer_number(0) else {
        panic!("found in an earlier run");
    };
    assert_eq!(offered, raw);
    let payout = "SELECT coalesce(max(payout), '') FROM blocks";
    wait_for(&running, payout, "solo".to_owned());
    running.server.block_result(hash, Verdict::Accepted);
    running.wait_until_gone(&format!("spool/{hash}.solo.block"));
}

/// Blocks of both kinds on one server: the round of one goes over the height of the other.
#[test]
fn listener_of_its_own_leaves_the_rounds_of_the_others_alone() {
    let options = [
        ("difficulty", EVERY_HASH),
        ("listen", "tcp://127.0.0.1:0?payout=solo"),
    ];
    let running = start(&options);
    running.node.answer_with(Verdict::Accepted);
    running.move_on(Chain::easy().empty_at(0));
    running.mine_as("alice").mine(Want::Share);
    let mut solo = Miner::connect(running.server.addresses()[1]);
    solo.log_in(&payee(2), "");
    solo.wait_for_work();
    solo.mine(Want::Block);
    running.move_on(Chain::easy().empty_at(1));
    let work = solo.wait_for_work();
    assert!(!work.job.is_empty());
    let hash = running.mine_as("bob").mine(Want::Block);
    running.move_on(Chain::easy().empty_at(2));
    let name = format!("shares/{}-{hash}.json", FIRST_HEIGHT + 1);
    let dump = running.wait_for_file(&name);
    let dump: serde_json::Value = serde_json::from_slice(&dump).expect("JSON");
    let shares = dump["shares"].as_object().expect("an object");
    assert_eq!(shares.keys().collect::<Vec<_>>(), ["alice", "bob"]);
    let rounds = "SELECT count(*) FROM blocks WHERE round_from = 0 AND payout = 'operator'";
    assert_eq!(running.value::<i64>(rounds), 1);
}

#[test]
fn payout_address_that_is_set_while_the_server_runs_is_paid() {
    let running = start(&SOLO);
    running.node.answer_with(Verdict::Accepted);
    running.move_on(Chain::easy().empty_at(0));
    let mut refused = running.connect();
    wait_until("the addresses are read", || {
        thread::sleep(Duration::from_millis(20));
        refused.send(1, "mining.authorize", &json!(["alice", ""]));
        let error = refused.reply()["error"][1].clone();
        error == "no address to be paid at: use one as the user name"
    });
    let file = running.dir.join("ledger.db");
    let mut db = Db::Sqlite(Sqlite::open_beside(&file).expect("opened"));
    let alice = "INSERT INTO accounts (name) VALUES ('alice')";
    db.write(|db: &mut dyn Sql| db.execute(alice, &[]))
        .expect("inserted");
    set_address(&mut db, "alice", Some(&payee(3))).expect("set");
    let mut miner = running.connect();
    miner.send(1, "mining.subscribe", &json!([]));
    miner.reply();
    wait_until("the address counts", || {
        // A miner that is refused all the time is dropped.
        thread::sleep(Duration::from_millis(200));
        miner.send(2, "mining.authorize", &json!(["alice", ""]));
        miner.reply()["result"] == true
    });
    let mut miner = running.mine_as("alice.rig");
    miner.mine(Want::Block);
    let Offered::Found(solution) = running.node.offer_number(0) else {
        panic!("found just now");
    };
    assert_eq!(
        solution
            .payee
            .as_ref()
            .map(|one| one.encode(Network::Regtest)),
        Some(payee(3))
    );
}

#[test]
fn fee_address_of_another_network_stops_the_start() {
    let main = Address::new(0, vec![1; 20]).expect("an address");
    let main = main.encode(Network::Main);
    let root = tempfile::tempdir().expect("a directory");
    for (address, why) in [(&*main, " (it is one of main)"), ("operator", "")] {
        let options = [("payout", "solo"), ("fee-address", address)];
        let settings = settings(&options, Some(root.path()));
        let error = Server::start(settings, Arc::new(TestNode::default())).err();
        let text = format!("{:#}", error.expect("refused"));
        let expected = format!("fee-address: not a payable regtest address: {address:?}{why}");
        assert_eq!(text, expected);
    }
}
