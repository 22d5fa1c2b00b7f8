//! Misbehaviour: which connections are dropped and which are not, addresses that are banned, and miners
//! with a wrong difficulty.

mod harness;

use std::net::Ipv4Addr;

use harness::{DIFFICULTY_TINY, Miner, SCORE_LIMIT, Setup, Table, Want, differs_behind_a_proxy};
use hstratum_core::event::ArrivalKind;
use hstratum_core::limits::{BAN_DROPS, BAN_MS, CLOSE_DELAY_MS, OPERATOR_BANS_MAX, SCORE_MAX};
use hstratum_core::order::Order;
use hstratum_core::session::difficulty::Dynamic;

#[test]
fn a_connection_that_talks_nonsense_is_dropped_after_a_while_and_no_other() {
    let (mut table, alice) = Table::with_alice();
    let mallory = table.connect();
    for _ in 0..SCORE_LIMIT / 10 {
        table.send(mallory, "nonsense");
    }
    assert_eq!(table.lines(mallory).len(), SCORE_LIMIT as usize / 10);
    table.ignore_replies(mallory);
    table.send(mallory, "more");
    table.advance(CLOSE_DELAY_MS - 250);
    assert!(table.is_open(mallory) && table.lines(mallory).is_empty());
    table.advance(250);
    assert!(!table.is_open(mallory) && table.is_open(alice));
    let job = table.job(alice);
    table.submit(alice, &job, Want::Share);
    assert_eq!(table.answers(alice), ["true"]);
}

#[test]
fn low_shares_drop_nobody_unless_there_is_no_end_of_them() {
    let (mut table, alice) = Table::with_alice();
    let job = table.job(alice);
    for _ in 0..10 {
        for _ in 1..SCORE_LIMIT {
            table.submit(alice, &job, Want::Low);
        }
        table.advance(u64::from(SCORE_LIMIT) * 1000);
    }
    assert!(table.is_open(alice));
    for _ in 0..SCORE_LIMIT {
        table.submit(alice, &job, Want::Low);
    }
    table.advance(CLOSE_DELAY_MS);
    assert!(!table.is_open(alice));
}

#[test]
fn low_shares_of_the_first_minute_count_for_nothing() {
    let (mut table, alice) = Table::with_alice();
    let job = table.job(alice);
    for _ in 0..2 * SCORE_MAX {
        table.submit(alice, &job, Want::Low);
    }
    table.advance(CLOSE_DELAY_MS);
    assert!(table.is_open(alice));
}

/// Sends malformed lines until the connection is dropped.
fn misbehave(table: &mut Table, miner: Miner) {
    for _ in 0..SCORE_MAX / 10 {
        table.send(miner, "nonsense");
    }
    table.advance(CLOSE_DELAY_MS);
    assert!(!table.is_open(miner));
}

#[test]
fn an_address_that_keeps_misbehaving_is_refused_for_ten_minutes() {
    let mut table = Table::with_job(&Setup::default());
    let address = Ipv4Addr::new(192, 0, 2, 1);
    for _ in 0..BAN_DROPS {
        let mallory = table.connect_from(address);
        assert!(table.is_open(mallory));
        misbehave(&mut table, mallory);
    }
    let refused = table.connect_from(address);
    assert!(!table.is_open(refused));
    let other = table.connect();
    assert!(table.is_open(other));
    table.advance(BAN_MS);
    let forgiven = table.connect_from(address);
    assert!(table.is_open(forgiven));
}

/// Connects alice, who has an accepted share from this address.
fn earn_at(table: &mut Table, address: Ipv4Addr) -> Miner {
    let alice = table.connect_from(address);
    table.login(alice, "alice");
    let job = table.job(alice);
    table.submit(alice, &job, Want::Share);
    alice
}

#[test]
fn an_address_where_somebody_earns_is_never_refused() {
    let mut table = Table::with_job(&Setup::default());
    let address = Ipv4Addr::new(192, 0, 2, 1);
    let alice = earn_at(&mut table, address);
    for _ in 0..BAN_DROPS * 2 {
        let mallory = table.connect_from(address);
        misbehave(&mut table, mallory);
    }
    let bob = table.connect_from(address);
    assert!(table.is_open(bob) && table.is_open(alice));
}

#[test]
fn a_trusted_proxy_is_never_refused() {
    let mut table = Table::with_job(&Setup::default());
    let address = "192.0.2.1".parse().expect("an address");
    for _ in 0..BAN_DROPS * 2 {
        let proxied = table.arrive(address, ArrivalKind::Proxy);
        assert!(table.is_open(proxied));
        misbehave(&mut table, proxied);
    }
    let miner = table.arrive(address, ArrivalKind::Miner);
    assert!(table.is_open(miner));
}

#[test]
fn a_neighbour_in_the_same_ipv6_network_is_refused_with_it() {
    let mut table = Table::with_job(&Setup::default());
    let [bad, neighbour, other] = ["2001:db8::1", "2001:db8::2", "2001:db8:1::1"]
        .map(|address| address.parse().expect("an address"));
    for _ in 0..BAN_DROPS {
        let mallory = table.arrive(bad, ArrivalKind::Miner);
        misbehave(&mut table, mallory);
    }
    let refused = table.arrive(neighbour, ArrivalKind::Miner);
    let served = table.arrive(other, ArrivalKind::Miner);
    assert!(!table.is_open(refused) && table.is_open(served));
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
    if differs_behind_a_proxy("it takes whoever comes, and resets who finds no server for 15 s") {
        return;
    }
    let mut table = Table::with_job(&Setup::default());
    let address = Ipv4Addr::new(192, 0, 2, 1);
    let alice = earn_at(&mut table, address);
    let proxy = table.arrive(address.into(), ArrivalKind::Proxy);
    table.order(ban(address, Some(60)));
    assert!(!table.is_open(alice) && table.is_open(proxy));
    let refused = table.connect_from(address);
    let other = table.connect();
    assert!(!table.is_open(refused) && table.is_open(other));
    table.advance(60_000);
    let back = table.connect_from(address);
    assert!(table.is_open(back));
}

#[test]
fn the_operator_forgives_what_the_pool_does_not() {
    if differs_behind_a_proxy("it refuses an address by itself, and no order reaches it") {
        return;
    }
    let mut table = Table::with_job(&Setup::default());
    let address = Ipv4Addr::new(192, 0, 2, 1);
    for _ in 0..BAN_DROPS {
        let mallory = table.connect_from(address);
        misbehave(&mut table, mallory);
    }
    let refused = table.connect_from(address);
    table.order(Order::Unban(address.into()));
    let forgiven = table.connect_from(address);
    assert!(!table.is_open(refused) && table.is_open(forgiven));
}

#[test]
fn so_many_addresses_can_be_banned_and_no_more() {
    let mut table = Table::with_job(&Setup::default());
    for n in 0..OPERATOR_BANS_MAX as u32 {
        table.order(ban(Ipv4Addr::from(n << 8), None));
    }
    let full = Ipv4Addr::new(192, 0, 2, 1);
    table.order(ban(full, None));
    table.order(ban(Ipv4Addr::from(0), Some(60)));
    let served = table.connect_from(full);
    assert!(table.is_open(served));
    // An expired ban makes room.
    table.advance(60_000);
    table.order(ban(full, None));
    assert!(!table.is_open(served));
}

#[test]
fn a_drain_moves_miners_away_evenly() {
    if differs_behind_a_proxy("miners wait for another server for 15 s") {
        return;
    }
    let mut table = Table::with_job(&Setup::default());
    let miners: Vec<_> = (0..40).map(|n| table.miner(&format!("m{n}"))).collect();
    table.order(Order::Drain { over_s: 10 });
    for second in 1..=10 {
        table.advance(1_000);
        let open = miners.iter().filter(|miner| table.is_open(**miner));
        let open = open.count() as i64;
        assert!(
            (open - (40 - 4 * second)).abs() <= 2,
            "{open} at {second} s"
        );
    }
    assert!(miners.iter().all(|miner| !table.is_open(*miner)));
}

#[test]
fn a_connection_that_comes_and_goes_without_a_byte_harms_nobody() {
    let mut table = Table::with_job(&Setup::default());
    let address = Ipv4Addr::new(192, 0, 2, 1);
    for _ in 0..1000 {
        let miner = table.connect_from(address);
        table.close(miner);
    }
    assert!(table.output.is_empty(), "not even a log line");
    let miner = table.connect_from(address);
    assert!(table.is_open(miner));
}

#[test]
fn a_fast_miner_gets_a_harder_job_and_no_share_is_lost_on_the_way() {
    let mut table = Table::new(&Setup {
        dynamic: Dynamic::On,
        ..Setup::default()
    });
    table.chain.bits = 0x1d00_ffff;
    table.template();
    let alice = table.miner("alice");
    table.lines(alice);
    let first = table.job(alice);
    while table.job_count(alice) < 3 {
        assert!(
            table.records.len() < 1000,
            "the difficulty follows the speed"
        );
        let job = table.job(alice);
        table.submit(alice, &job, Want::Share);
        // A share of the first job, under the first difficulty.
        table.submit(alice, &first, Want::Share);
        table.advance(250);
    }
    assert!(table.answers(alice).iter().all(|text| text == "true"));
    let credits = table.records.iter().map(|credit| credit.difficulty.get());
    assert!(credits.fold(0.0, f64::max) > DIFFICULTY_TINY);
    assert!(table.is_open(alice));
}

#[test]
fn a_miner_that_falls_silent_gets_an_easier_job() {
    let mut table = Table::new(&Setup {
        difficulty: 64.0,
        dynamic: Dynamic::On,
        ..Setup::default()
    });
    table.chain.bits = 0x1a00_ffff;
    table.template();
    let alice = table.miner("alice");
    table.advance(10 * 60_000);
    assert!(table.job_count(alice) > 1);
    let lines = table.lines(alice);
    let mut told = lines.iter().filter(|line| line.contains("set_difficulty"));
    let last = told.next_back().expect("it was told");
    assert!(!last.contains("[64]"), "{last}");
    assert!(lines.last().is_some_and(|line| line.contains("mining.")));
}
