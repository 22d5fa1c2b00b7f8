//! Servers that are down, behind or drained, and the moves of their miners.

use super::*;

#[test]
fn without_a_server_miners_wait_for_a_bounded_time_or_not_at_all() {
    for (no_backend, until_ms) in [(NoBackend::Close, 0), (NoBackend::Wait(10_000), 10_000)] {
        let mut harness = ProxyHarness::with(2, true, no_backend);
        let miner = harness.miner("alice");
        harness.fail(0, Failing::Dies);
        harness.fail(1, Failing::Dies);
        harness.settle();
        if until_ms > 0 {
            harness.wait(until_ms - 200);
            assert!(harness.miners[miner].is_open);
            // Its requests are still answered.
            assert_eq!(harness.submit_and_see(miner), "job not found");
        }
        harness.wait(400);
        assert!(!harness.miners[miner].is_open);
    }
}

#[test]
fn a_miner_that_waits_goes_on_with_the_first_server_that_is_back() {
    let mut harness = ProxyHarness::new(2, true);
    let miner = harness.miner("alice");
    harness.fail(0, Failing::Dies);
    harness.fail(1, Failing::Dies);
    harness.wait(5_000);
    harness.revive(1);
    harness.wait(2_000);
    assert_eq!(harness.submit_and_see(miner), "true");
}

#[test]
fn without_a_server_for_long_whoever_comes_is_refused_until_there_is_one() {
    let mut harness = ProxyHarness::with(2, true, NoBackend::Wait(15_000));
    let miner = harness.miner("alice");
    harness.fail(0, Failing::Dies);
    harness.fail(1, Failing::Dies);
    harness.wait(14_000);
    let late = harness.connect();
    assert!(harness.miners[miner].is_open && !harness.is_refusing);
    harness.wait(2_000);
    assert!(!harness.miners[miner].is_open && !harness.miners[late].is_open);
    assert!(harness.is_refusing);
    let refused = harness.connect();
    assert!(!harness.miners[refused].is_open);
    harness.revive(1);
    harness.wait(2_000);
    assert!(!harness.is_refusing);
    let miner = harness.miner("alice");
    assert_eq!(harness.submit_and_see(miner), "true");
}

/// Nothing recurses over the waiting miners, and no one retries in a loop.
#[test]
fn dials_that_fail_at_once_are_few() {
    let mut harness = ProxyHarness::new(2, true);
    harness.is_out_of_descriptors = true;
    for _ in 0..1_000 {
        harness.connect_and_subscribe();
    }
    let before = harness.dials;
    harness.wait(2_000);
    // A few for each server in half a second, and its probe.
    assert!(harness.dials - before < 100, "{}", harness.dials - before);
    harness.is_out_of_descriptors = false;
    harness.wait(5_000);
    assert_eq!(harness.spread().iter().sum::<usize>(), 1_000);
}

/// Connections end before the server is known to be down: their miners are counted all the same.
#[test]
fn those_that_move_are_counted() {
    let mut harness = ProxyHarness::new(2, true);
    let miners: Vec<usize> = (0..20).map(|_| harness.miner("alice")).collect();
    let on_it = harness.spread()[0];
    harness.fail(0, Failing::Dies);
    harness.wait(3_000);
    let text = format!("moving {on_it} miner");
    assert!(
        harness.log.iter().any(|line| line.contains(&text)),
        "{:?}",
        harness.log
    );
    assert_eq!(harness.lost(), [on_it, 0]);
    assert_eq!(harness.spread(), [0, miners.len()]);
}

/// The miners lose it a while before the proxy's own connection shows that it is down.
#[test]
fn those_that_lost_a_server_before_it_was_down_are_counted_too() {
    let mut harness = ProxyHarness::new(1, true);
    let miners: Vec<usize> = (0..12).map(|_| harness.miner("alice")).collect();
    // The server refuses new miners for a while, but still answers the proxy.
    harness.servers[0].refuses_miners = true;
    harness.cut(0);
    harness.wait(2_000);
    assert_eq!(harness.spread(), [0]);
    harness.fail(0, Failing::Dies);
    harness.wait(1_000);
    let downs = harness.log.iter().filter(|line| line.contains("is down"));
    let downs: Vec<&String> = downs.collect();
    assert!(
        downs.len() == 1 && downs[0].contains("moving 12 miners"),
        "{downs:?}"
    );
    assert_eq!(harness.lost(), [12]);
    // The next outage has a count of its own.
    harness.servers[0].refuses_miners = false;
    harness.revive(0);
    harness.wait(5_000);
    assert_eq!(harness.spread(), [12]);
    for miner in &miners[..11] {
        harness.leave(*miner);
    }
    harness.wait(12_000);
    harness.fail(0, Failing::Dies);
    harness.wait(1_000);
    assert_eq!(harness.lost(), [1]);
}

/// A miner whose extranonce1 is in use at the only good server must not stay at one where its work is
/// worth nothing.
#[test]
fn a_miner_does_not_stay_at_an_unfit_server_for_its_extranonce() {
    let mut harness = ProxyHarness::new(2, true);
    let miner = harness.miner("alice");
    let server = harness.server_of(miner);
    let other = 1 - server;
    let session = harness.miners[miner].extra_nonce1.expect("a session");
    harness.squat(other, session);
    harness.block(other);
    harness.wait(20_000);
    assert!(
        !harness.miners[miner].is_open,
        "it can come back with another"
    );
}

#[test]
fn a_drained_server_is_better_than_one_that_is_behind() {
    let mut harness = ProxyHarness::new(2, true);
    let miners: Vec<usize> = (0..6).map(|_| harness.miner("alice")).collect();
    harness.handle(ProxyEvent::Drain(0, BackendDrain::Out));
    harness.wait(3_000);
    assert_eq!(harness.spread(), [0, 6]);
    harness.block(0);
    harness.wait(10_000);
    assert_eq!(harness.status(), ["up", "unfit"]);
    assert_eq!(harness.spread(), [6, 0]);
    harness.block(1);
    harness.wait(3_000);
    assert_eq!(
        harness.spread(),
        [0, 6],
        "the operator wants none on the other"
    );
    for miner in miners {
        assert_eq!(harness.submit_and_see(miner), "true");
    }
}

/// The server it belongs to never admits it: it must not try only that one for ever.
#[test]
fn a_miner_of_an_unfit_server_tries_all_others() {
    let mut harness = ProxyHarness::new(3, true);
    let miners: Vec<usize> = (0..12).map(|_| harness.miner("alice")).collect();
    harness.disable(0, "alice");
    for server in [0, 2] {
        harness.block(server);
    }
    harness.wait(20_000);
    assert_eq!(harness.status(), ["up", "unfit", "up"]);
    assert_eq!(harness.spread()[1], 0, "{:?}", harness.spread());
    for miner in miners {
        assert_eq!(harness.submit_and_see(miner), "true");
    }
}

/// A server that was behind when the proxy started must still become known as unfit, so that its miners
/// are moved.
#[test]
fn a_server_that_is_behind_since_a_take_over_is_left() {
    let mut harness = ProxyHarness::new(2, true);
    let miners: Vec<usize> = (0..6).map(|_| harness.miner("alice")).collect();
    harness.block(0);
    harness.hand_over();
    harness.wait(10_000);
    assert_eq!(harness.status(), ["up", "unfit"]);
    assert_eq!(harness.spread(), [6, 0]);
    for miner in miners {
        assert_eq!(harness.submit_and_see(miner), "true");
    }
}
