//! Orders of the operator, on a real server: answers, files, and what survives a failure.

use std::fs;
use std::net::{IpAddr, TcpStream};

use hstratum::audit_trail::Actor;
use hstratum_core::accounts::ban::Ban;
use hstratum_core::event::Level;
use hstratum_core::operator_order::{NewUser, Order, OrderOutcome, OrderRefusal};
use serde_json::json;

use crate::harness::miner::{End, Want};
use crate::harness::{Chain, Miner, Running, start};

fn order(running: &Running, order: Order) -> Result<OrderOutcome, OrderRefusal> {
    running
        .server
        .change(&Actor::rpc(), order)
        .make()
        .expect("an answer")
}

fn add(running: &Running, name: &str, password: &str) -> Result<OrderOutcome, OrderRefusal> {
    order(
        running,
        Order::AddUser(NewUser {
            name: name.to_owned(),
            password: password.to_owned(),
            address: None,
            is_locked: false,
            wire_admin: None,
        }),
    )
}

fn ban(address: &str) -> Order {
    Order::Ban {
        address: address.parse().expect("an address"),
        duration_s: None,
        reason: "a reason".to_owned(),
    }
}

fn banned(running: &Running) -> Vec<IpAddr> {
    match order(running, Order::ListBans) {
        Ok(OrderOutcome::Bans(bans)) => bans.into_iter().map(|ban: Ban| ban.address).collect(),
        other => panic!("no list: {other:?}"),
    }
}

fn may_mine(running: &Running, user: &str, password: &str) -> bool {
    let mut miner = running.connect();
    miner.send(1, "mining.authorize", &json!([user, password]));
    miner.reply()["result"] == true
}

fn is_refused(running: &Running) -> bool {
    TcpStream::connect(running.server.address()).is_err()
}

/// Lets a miner find a block on which the pool panics.
fn fail(running: &Running, mut miner: Miner) {
    running.node.panic_in_next_offer();
    miner.submit(Want::Block);
    assert_eq!(miner.end().1, End::Reset);
    running.node.wait_for_log("the pool has failed");
}

#[test]
fn bans_a_drain_and_disabled_users_outlive_a_failure_of_the_pool() {
    let running = start(&[]);
    running.server.template(Chain::easy().empty_at(0));
    let miner = running.mine_as("visitor");
    assert_eq!(add(&running, "alice", "pw"), Ok(OrderOutcome::Done));
    let disable = Order::DisableUser("alice".to_owned());
    assert_eq!(order(&running, disable), Ok(OrderOutcome::Done));
    assert_eq!(order(&running, ban("192.0.2.1")), Ok(OrderOutcome::Done));
    let drain = Order::Drain { over_s: 3600 };
    assert_eq!(order(&running, drain), Ok(OrderOutcome::Done));
    fail(&running, miner);

    // The new pool answers, and accepts no miners.
    assert_eq!(banned(&running), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    assert!(is_refused(&running));
    assert_eq!(order(&running, Order::Undrain), Ok(OrderOutcome::Done));
    assert!(!may_mine(&running, "alice", "pw"));
    let enable = Order::EnableUser("alice".to_owned());
    assert_eq!(order(&running, enable), Ok(OrderOutcome::Done));
    assert!(may_mine(&running, "alice", "pw"));
}

#[test]
fn order_is_answered_also_when_the_server_stops_or_the_pool_fails() {
    let running = start(&[]);
    running.server.template(Chain::easy().empty_at(0));
    let mut miner = running.mine_as("alice");
    let (waiting, waits) = std::sync::mpsc::channel();
    running.node.in_next_offer(move |server| {
        // Sent after the block, and before the failure is over.
        waiting.send(server.order(Order::ListBans)).expect("taken");
        panic!("a failure that a test asked for");
    });
    miner.submit(Want::Block);
    let ordered = waits.recv().expect("the offer came");
    assert!(ordered.wait().expect("an answer of the next pool").is_ok());
    assert!(running.server.close().wait());
    let after = running.server.order(Order::ListBans).wait();
    let error = after.expect_err("nobody is there").to_string();
    assert!(error.contains("the pool has stopped"), "{error}");
}

#[test]
fn what_cannot_be_written_is_said_and_users_stay_as_they_were() {
    let running = start(&[]);
    running.server.template(Chain::easy().empty_at(0));
    assert_eq!(add(&running, "alice", "pw"), Ok(OrderOutcome::Done));
    // A directory in the place of either file makes writing fail.
    let users = running.dir.join("users.json");
    fs::rename(&users, running.dir.join("users.json.old")).expect("renamed");
    fs::create_dir(&users).expect("created");
    fs::create_dir(running.dir.join("bans.json")).expect("created");

    let disable = Order::DisableUser("alice".to_owned());
    assert_eq!(order(&running, disable), Err(OrderRefusal::UserNotStored));
    assert!(may_mine(&running, "alice", "pw"));
    let (level, _) = running.node.wait_for_log("users.json");
    assert_eq!(level, Level::Error);

    assert_eq!(
        order(&running, ban("192.0.2.1")),
        Err(OrderRefusal::BanNotStored)
    );
    assert_eq!(banned(&running).len(), 1, "it holds all the same");
    fs::remove_dir(running.dir.join("bans.json")).expect("removed");
    assert_eq!(order(&running, ban("192.0.2.2")), Ok(OrderOutcome::Done));
    let text = fs::read_to_string(running.dir.join("bans.json")).expect("read");
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn drain_ends_connections_and_its_end_takes_new_ones() {
    let running = start(&[]);
    running.server.template(Chain::easy().empty_at(0));
    let mut miners: Vec<Miner> = (0..4).map(|n| running.mine_as(&format!("m{n}"))).collect();
    assert_eq!(
        order(&running, Order::Drain { over_s: 1 }),
        Ok(OrderOutcome::Done)
    );
    assert!(is_refused(&running));
    for miner in &mut miners {
        assert_eq!(miner.end().1, End::Reset);
    }
    running.node.wait_for_log("drained: no miner is connected");
    assert_eq!(order(&running, Order::Undrain), Ok(OrderOutcome::Done));
    assert!(running.connect().is_served());
}
