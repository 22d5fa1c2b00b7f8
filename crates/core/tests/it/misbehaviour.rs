//! Misbehaviour: which connections are dropped and which are not, addresses that are banned, and miners
//! with a wrong difficulty.

use std::net::Ipv4Addr;

use super::ACCESS;
use crate::harness::{DIFFICULTY_TINY, Miner, PoolHarness, Setup, Want};
use hstratum_core::event::ArrivalKind;
use hstratum_core::limits::{BAN_DROPS, BAN_MS, CLOSE_DELAY_MS, OPERATOR_BANS_MAX, SCORE_MAX};
use hstratum_core::operator_order::Order;
use hstratum_core::session::difficulty::Dynamic;

#[test]
fn a_connection_that_talks_nonsense_is_dropped_after_a_while_and_no_other() {
    let (mut harness, alice) = ACCESS.with_alice();
    let mallory = harness.connect();
    for _ in 0..ACCESS.score_limit() / 10 {
        harness.send(mallory, "nonsense");
    }
    assert_eq!(
        harness.lines(mallory).len(),
        ACCESS.score_limit() as usize / 10
    );
    harness.ignore_replies(mallory);
    harness.send(mallory, "more");
    harness.advance(CLOSE_DELAY_MS - 250);
    assert!(harness.is_open(mallory) && harness.lines(mallory).is_empty());
    harness.advance(250);
    assert!(!harness.is_open(mallory) && harness.is_open(alice));
    let job = harness.job(alice);
    harness.submit(alice, &job, Want::Share);
    assert_eq!(harness.answers(alice), ["true"]);
}

#[test]
fn low_shares_drop_nobody_unless_there_is_no_end_of_them() {
    let (mut harness, alice) = ACCESS.with_alice();
    let job = harness.job(alice);
    for _ in 0..10 {
        for _ in 1..ACCESS.score_limit() {
            harness.submit(alice, &job, Want::Low);
        }
        harness.advance(u64::from(ACCESS.score_limit()) * 1000);
    }
    assert!(harness.is_open(alice));
    for _ in 0..ACCESS.score_limit() {
        harness.submit(alice, &job, Want::Low);
    }
    harness.advance(CLOSE_DELAY_MS);
    assert!(!harness.is_open(alice));
}

#[test]
fn low_shares_of_the_first_minute_count_for_nothing() {
    let (mut harness, alice) = ACCESS.with_alice();
    let job = harness.job(alice);
    for _ in 0..2 * SCORE_MAX {
        harness.submit(alice, &job, Want::Low);
    }
    harness.advance(CLOSE_DELAY_MS);
    assert!(harness.is_open(alice));
}

/// Sends malformed lines until the connection is dropped.
fn misbehave(harness: &mut PoolHarness, miner: Miner) {
    for _ in 0..SCORE_MAX / 10 {
        harness.send(miner, "nonsense");
    }
    harness.advance(CLOSE_DELAY_MS);
    assert!(!harness.is_open(miner));
}

#[test]
fn an_address_that_keeps_misbehaving_is_refused_for_ten_minutes() {
    let mut harness = ACCESS.with_job(&Setup::default());
    let address = Ipv4Addr::new(192, 0, 2, 1);
    for _ in 0..BAN_DROPS {
        let mallory = harness.connect_from(address);
        assert!(harness.is_open(mallory));
        misbehave(&mut harness, mallory);
    }
    let refused = harness.connect_from(address);
    assert!(!harness.is_open(refused));
    let other = harness.connect();
    assert!(harness.is_open(other));
    harness.advance(BAN_MS);
    let forgiven = harness.connect_from(address);
    assert!(harness.is_open(forgiven));
}

/// Connects alice, who has an accepted share from this address.
fn earn_at(harness: &mut PoolHarness, address: Ipv4Addr) -> Miner {
    let alice = harness.connect_from(address);
    harness.login(alice, "alice");
    let job = harness.job(alice);
    harness.submit(alice, &job, Want::Share);
    alice
}

#[test]
fn an_address_where_somebody_earns_is_never_refused() {
    let mut harness = ACCESS.with_job(&Setup::default());
    let address = Ipv4Addr::new(192, 0, 2, 1);
    let alice = earn_at(&mut harness, address);
    for _ in 0..BAN_DROPS * 2 {
        let mallory = harness.connect_from(address);
        misbehave(&mut harness, mallory);
    }
    let bob = harness.connect_from(address);
    assert!(harness.is_open(bob) && harness.is_open(alice));
}

#[test]
fn a_trusted_proxy_is_never_refused() {
    let mut harness = ACCESS.with_job(&Setup::default());
    let address = "192.0.2.1".parse().expect("an address");
    for _ in 0..BAN_DROPS * 2 {
        let proxied = harness.arrive(address, ArrivalKind::Proxy);
        assert!(harness.is_open(proxied));
        misbehave(&mut harness, proxied);
    }
    let miner = harness.arrive(address, ArrivalKind::Miner);
    assert!(harness.is_open(miner));
}

#[test]
fn a_neighbour_in_the_same_ipv6_network_is_refused_with_it() {
    let mut harness = ACCESS.with_job(&Setup::default());
    let [bad, neighbour, other] = ["2001:db8::1", "2001:db8::2", "2001:db8:1::1"]
        .map(|address| address.parse().expect("an address"));
    for _ in 0..BAN_DROPS {
        let mallory = harness.arrive(bad, ArrivalKind::Miner);
        misbehave(&mut harness, mallory);
    }
    let refused = harness.arrive(neighbour, ArrivalKind::Miner);
    let served = harness.arrive(other, ArrivalKind::Miner);
    assert!(!harness.is_open(refused) && harness.is_open(served));
}

fn ban(address: Ipv4Addr, duration_s: Option<u64>) -> Order {
    Order::Ban {
        address: address.into(),
        duration_s,
        reason: String::new(),
    }
}

#[test]
fn the_operator_has_an_address_refused_for_a_time_though_somebody_earns_there() {
    if ACCESS.differs("it takes whoever comes, and resets who finds no server for 15 s") {
        return;
    }
    let mut harness = ACCESS.with_job(&Setup::default());
    let address = Ipv4Addr::new(192, 0, 2, 1);
    let alice = earn_at(&mut harness, address);
    let proxy = harness.arrive(address.into(), ArrivalKind::Proxy);
    harness.order(ban(address, Some(60)));
    assert!(!harness.is_open(alice) && harness.is_open(proxy));
    let refused = harness.connect_from(address);
    let other = harness.connect();
    assert!(!harness.is_open(refused) && harness.is_open(other));
    harness.advance(60_000);
    let back = harness.connect_from(address);
    assert!(harness.is_open(back));
}

#[test]
fn the_operator_forgives_what_the_pool_does_not() {
    if ACCESS.differs("it refuses an address by itself, and no order reaches it") {
        return;
    }
    let mut harness = ACCESS.with_job(&Setup::default());
    let address = Ipv4Addr::new(192, 0, 2, 1);
    for _ in 0..BAN_DROPS {
        let mallory = harness.connect_from(address);
        misbehave(&mut harness, mallory);
    }
    let refused = harness.connect_from(address);
    harness.order(Order::Unban(address.into()));
    let forgiven = harness.connect_from(address);
    assert!(!harness.is_open(refused) && harness.is_open(forgiven));
}

#[test]
fn so_many_addresses_can_be_banned_and_no_more() {
    let mut harness = ACCESS.with_job(&Setup::default());
    for n in 0..OPERATOR_BANS_MAX as u32 {
        harness.order(ban(Ipv4Addr::from(n << 8), None));
    }
    let full = Ipv4Addr::new(192, 0, 2, 1);
    harness.order(ban(full, None));
    harness.order(ban(Ipv4Addr::from(0), Some(60)));
    let served = harness.connect_from(full);
    assert!(harness.is_open(served));
    // An expired ban makes room.
    harness.advance(60_000);
    harness.order(ban(full, None));
    assert!(!harness.is_open(served));
}

#[test]
fn a_drain_moves_miners_away_evenly() {
    if ACCESS.differs("miners wait for another server for 15 s") {
        return;
    }
    let mut harness = ACCESS.with_job(&Setup::default());
    let miners: Vec<_> = (0..40).map(|n| harness.miner(&format!("m{n}"))).collect();
    harness.order(Order::Drain { over_s: 10 });
    for second in 1..=10 {
        harness.advance(1_000);
        let open = miners.iter().filter(|miner| harness.is_open(**miner));
        let open = open.count() as i64;
        assert!(
            (open - (40 - 4 * second)).abs() <= 2,
            "{open} at {second} s"
        );
    }
    assert!(miners.iter().all(|miner| !harness.is_open(*miner)));
}

#[test]
fn a_connection_that_comes_and_goes_without_a_byte_harms_nobody() {
    let mut harness = ACCESS.with_job(&Setup::default());
    let address = Ipv4Addr::new(192, 0, 2, 1);
    for _ in 0..1000 {
        let miner = harness.connect_from(address);
        harness.close(miner);
    }
    assert!(harness.output.is_empty(), "not even a log line");
    let miner = harness.connect_from(address);
    assert!(harness.is_open(miner));
}

#[test]
fn a_fast_miner_gets_a_harder_job_and_no_share_is_lost_on_the_way() {
    let mut harness = ACCESS.harness(&Setup {
        dynamic: Dynamic::On,
        ..Setup::default()
    });
    harness.chain.bits = 0x1d00_ffff;
    harness.template();
    let alice = harness.miner("alice");
    harness.lines(alice);
    let first = harness.job(alice);
    while harness.job_count(alice) < 3 {
        assert!(
            harness.records.len() < 1000,
            "the difficulty follows the speed"
        );
        let job = harness.job(alice);
        harness.submit(alice, &job, Want::Share);
        // A share of the first job, under the first difficulty.
        harness.submit(alice, &first, Want::Share);
        harness.advance(250);
    }
    assert!(harness.answers(alice).iter().all(|text| text == "true"));
    let credits = harness.records.iter().map(|credit| credit.difficulty.get());
    assert!(credits.fold(0.0, f64::max) > DIFFICULTY_TINY);
    assert!(harness.is_open(alice));
}

#[test]
fn a_miner_that_falls_silent_gets_an_easier_job() {
    let mut harness = ACCESS.harness(&Setup {
        difficulty: 64.0,
        dynamic: Dynamic::On,
        ..Setup::default()
    });
    harness.chain.bits = 0x1a00_ffff;
    harness.template();
    let alice = harness.miner("alice");
    harness.advance(10 * 60_000);
    assert!(harness.job_count(alice) > 1);
    let lines = harness.lines(alice);
    let mut told = lines.iter().filter(|line| line.contains("set_difficulty"));
    let last = told.next_back().expect("it was told");
    assert!(!last.contains("[64]"), "{last}");
    assert!(lines.last().is_some_and(|line| line.contains("mining.")));
}
