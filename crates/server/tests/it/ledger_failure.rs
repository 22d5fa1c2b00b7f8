//! A ledger that cannot be written, as miners see it, and what the ledger stores of addresses.

use hstratum::audit_trail::Actor;
use hstratum_core::operator_order::{NewUser, Order, OrderOutcome};
use hstratum_core::wire::client::Update;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::miner::{End, Want};
use crate::harness::{Chain, EVERY_HASH, Miner, Running, start};

/// Every write to the ledger fails as on a full disk.
const BREAK: &str = "
    CREATE TRIGGER no_group BEFORE UPDATE ON meta BEGIN SELECT RAISE(ABORT, 'broken'); END;
    CREATE TRIGGER no_address BEFORE UPDATE ON accounts BEGIN SELECT RAISE(ABORT, 'broken'); END;
    CREATE TRIGGER no_probe BEFORE INSERT ON probe BEGIN SELECT RAISE(ABORT, 'broken'); END;";
const MEND: &str = "DROP TRIGGER no_group; DROP TRIGGER no_address; DROP TRIGGER no_probe;";

const ADDRESS: &str = "rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u";

/// Opens the ledger as another process does.
fn beside(running: &Running) -> Connection {
    Connection::open(running.dir.join("ledger.db")).expect("opened")
}

fn run(conn: &Connection, sql: &str) {
    conn.busy_timeout(crate::harness::DEADLINE).expect("set");
    conn.execute_batch(sql).expect("carried out");
}

fn count(conn: &Connection, sql: &str) -> i64 {
    conn.query_row(sql, [], |row| row.get(0)).expect("a number")
}

/// Reads until a share is judged; returns the text of the reject.
fn verdict(miner: &mut Miner) -> Result<(), String> {
    loop {
        match miner.update().expect("a line of stratum") {
            Update::Nothing => {}
            Update::Accepted { .. } => return Ok(()),
            Update::Rejected(refusal) => return Err(refusal.to_string()),
        }
    }
}

fn expect_refused(miner: &mut Miner) {
    let text = verdict(miner).expect_err("the ledger is broken");
    assert!(text.contains("ledger unavailable"), "{text}");
}

#[test]
fn shares_are_refused_while_the_ledger_fails_and_taken_when_it_is_back() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::easy().empty_at(0));
    let mut miner = running.mine_as("alice");
    miner.mine(Want::Share);
    let ledger = beside(&running);
    run(&ledger, BREAK);

    // The first waits for the ledger, which gives it up; the others are refused at once.
    miner.submit(Want::Share);
    expect_refused(&mut miner);
    running.node.wait_for_log("shares are refused");
    let (line, _) = miner.solve(Want::Share);
    miner.send_raw(line.as_bytes());
    expect_refused(&mut miner);
    // A block is offered all the same.
    let block = miner.submit(Want::Block);
    expect_refused(&mut miner);
    assert_eq!(running.node.offer_number(0).hash(), block);

    // The pool that follows a panic meanwhile knows of it.
    running.node.panic_in_next_offer();
    miner.submit(Want::Block);
    assert_eq!(miner.end().1, End::Reset);
    let mut miner = running.mine_as("alice");
    miner.submit(Want::Share);
    expect_refused(&mut miner);

    run(&ledger, MEND);
    while let Err(text) = {
        miner.submit(Want::Share);
        verdict(&mut miner)
    } {
        assert!(text.contains("ledger unavailable"), "{text}");
    }
    assert_eq!(count(&ledger, "SELECT sum(count) FROM credit"), 2);
    assert_eq!(count(&ledger, "SELECT count(*) FROM blocks"), 2);
}

/// An admin on the wire, who adds users with a payout address; returns the replies.
fn adding(running: &Running) -> impl FnMut(&str) -> Value + use<> {
    let mut admin = running.connect();
    admin.send(1, "mining.authorize_admin", &json!(["secret"]));
    assert_eq!(admin.reply()["result"], true);
    move |user| {
        admin.send(2, "mining.add_user", &json!([user, "pw", ADDRESS]));
        admin.reply()
    }
}

#[test]
fn a_user_is_added_with_its_address_or_not_at_all() {
    let running = start(&[("password", "secret")]);
    let mut add = adding(&running);
    let ledger = beside(&running);
    assert_eq!(add("alice")["result"], true);
    let kept = "SELECT count(*) FROM accounts WHERE address = 'rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u'";
    assert_eq!(count(&ledger, kept), 1);

    let set = |account: &str| running.server.set_address(&Actor::rpc(), account, ADDRESS);
    set("bob").expect("an address").wait().expect("stored");
    assert_eq!(count(&ledger, kept), 2);

    let set_threshold = |hns| running.server.set_threshold(&Actor::rpc(), "bob", hns);
    let low = set_threshold(Some(999_999)).err().expect("too low");
    let text = low.to_string();
    assert_eq!(
        text,
        "0.999999 HNS is below threshold-min, which is 1.000000 HNS"
    );
    let of_bob = "SELECT coalesce(threshold, -1) FROM accounts WHERE name = 'bob'";
    for (threshold, stored) in [(Some(1_000_000), 1_000_000), (None, -1)] {
        let set = set_threshold(threshold).expect("a threshold");
        set.wait().expect("stored");
        assert_eq!(count(&ledger, of_bob), stored);
    }

    run(&ledger, BREAK);
    let unstored = set_threshold(Some(2_000_000)).expect("a threshold");
    let error = format!("{:#}", unstored.wait().expect_err("not stored"));
    assert!(
        error.starts_with("failed to store the threshold"),
        "{error}"
    );
    assert_eq!(add("carol")["error"][1], "user not stored");
    let (_, line) = running.node.wait_for_log("failed to store the address");
    assert!(line.contains("\"carol\""), "{line}");
    assert!(set("carol").expect("an address").wait().is_err());
    assert_eq!(count(&ledger, kept), 2);
    let users = String::from_utf8(running.wait_for_file("users.json")).expect("text");
    assert!(users.contains("alice") && !users.contains("carol"));
}

#[test]
fn what_miners_have_sent_is_kept_over_a_stop() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::easy().empty_at(0));
    let mut miner = running.mine_as("alice.rig");
    for _ in 0..3 {
        miner.mine(Want::Share);
    }
    assert!(running.server.close().wait());
    let ledger = beside(&running);
    let sent = "SELECT sum(accepted) FROM statistics JOIN workers ON workers.id = worker
        JOIN accounts ON accounts.id = account WHERE accounts.name = 'alice' AND workers.name = 'rig'";
    assert_eq!(count(&ledger, sent), 3);
}

/// A name that has earned has an owner: an admin on the wire cannot take it over, the operator can.
#[test]
fn an_account_that_earns_is_added_by_the_operator_alone() {
    let options = [
        ("difficulty", EVERY_HASH),
        ("auth", "open"),
        ("password", "secret"),
    ];
    let running = start(&options);
    running.server.template(Chain::easy().empty_at(0));
    running.mine_as("alice.rig").mine(Want::Share);
    let stored = running.server.set_address(&Actor::rpc(), "paid", ADDRESS);
    stored.expect("an address").wait().expect("stored");
    let mut add = adding(&running);
    for owned in ["alice", "paid"] {
        assert_eq!(add(owned)["error"][1], "User already exists.");
        let text = format!("{owned:?} is not added for an admin on the wire");
        running.node.wait_for_log(&text);
    }
    let ledger = beside(&running);
    let paid = "SELECT count(*) FROM accounts WHERE name = 'alice' AND address IS NOT NULL";
    assert_eq!(count(&ledger, paid), 0, "it is not paid elsewhere");
    running.mine_as("alice.rig").mine(Want::Share);
    assert_eq!(add("carol")["result"], true);
    assert_eq!(add("carol")["error"][1], "User already exists.");

    let user = NewUser {
        name: "alice".to_owned(),
        password: "pw".to_owned(),
        address: None,
        is_locked: false,
        wire_admin: None,
    };
    let order = running.server.change(&Actor::rpc(), Order::AddUser(user));
    assert_eq!(order.make().expect("an answer"), Ok(OrderOutcome::Done));
    running.node.wait_for_log("\"alice\" is a user from now on");
}
