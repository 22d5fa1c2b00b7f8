//! Servers that are down, behind or drained, and the moves of their miners.

use super::*;

#[test]
fn without_a_server_miners_wait_for_a_bounded_time_or_not_at_all() {
    for (no_backend, until_ms) in [(NoBackend::Close, 0), (NoBackend::Wait(10_000), 10_000)] {
        let mut stage = Stage::with(2, true, no_backend);
        let miner = stage.miner("alice");
        stage.fail(0, Failing::Dies);
        stage.fail(1, Failing::Dies);
        stage.settle();
        if until_ms > 0 {
            stage.wait(until_ms - 200);
            assert!(stage.players[miner].is_open);
            // Its requests are still answered.
            assert_eq!(stage.submit_and_see(miner), "job not found");
        }
        stage.wait(400);
        assert!(!stage.players[miner].is_open);
    }
}

#[test]
fn a_miner_that_waits_goes_on_with_the_first_server_that_is_back() {
    let mut stage = Stage::new(2, true);
    let miner = stage.miner("alice");
    stage.fail(0, Failing::Dies);
    stage.fail(1, Failing::Dies);
    stage.wait(5_000);
    stage.revive(1);
    stage.wait(2_000);
    assert_eq!(stage.submit_and_see(miner), "true");
}

#[test]
fn without_a_server_for_long_whoever_comes_is_refused_until_there_is_one() {
    let mut stage = Stage::with(2, true, NoBackend::Wait(15_000));
    let miner = stage.miner("alice");
    stage.fail(0, Failing::Dies);
    stage.fail(1, Failing::Dies);
    stage.wait(14_000);
    let late = stage.connect();
    assert!(stage.players[miner].is_open && !stage.is_refusing);
    stage.wait(2_000);
    assert!(!stage.players[miner].is_open && !stage.players[late].is_open);
    assert!(stage.is_refusing);
    let refused = stage.connect();
    assert!(!stage.players[refused].is_open);
    stage.revive(1);
    stage.wait(2_000);
    assert!(!stage.is_refusing);
    let miner = stage.miner("alice");
    assert_eq!(stage.submit_and_see(miner), "true");
}

/// Nothing recurses over the waiting miners, and no one retries in a loop.
#[test]
fn dials_that_fail_at_once_are_few() {
    let mut stage = Stage::new(2, true);
    stage.is_out_of_descriptors = true;
    for _ in 0..1_000 {
        stage.connect_and_subscribe();
    }
    let before = stage.dials;
    stage.wait(2_000);
    // A few for each server in half a second, and its probe.
    assert!(stage.dials - before < 100, "{}", stage.dials - before);
    stage.is_out_of_descriptors = false;
    stage.wait(5_000);
    assert_eq!(stage.spread().iter().sum::<usize>(), 1_000);
}

/// Connections end before the server is known to be down: their miners are counted all the same.
#[test]
fn those_that_move_are_counted() {
    let mut stage = Stage::new(2, true);
    let miners: Vec<usize> = (0..20).map(|_| stage.miner("alice")).collect();
    let on_it = stage.spread()[0];
    stage.fail(0, Failing::Dies);
    stage.wait(3_000);
    let text = format!("moving {on_it} miner");
    assert!(
        stage.log.iter().any(|line| line.contains(&text)),
        "{:?}",
        stage.log
    );
    assert_eq!(stage.lost(), [on_it, 0]);
    assert_eq!(stage.spread(), [0, miners.len()]);
}

/// The miners lose it a while before the proxy's own connection shows that it is down.
#[test]
fn those_that_lost_a_server_before_it_was_down_are_counted_too() {
    let mut stage = Stage::new(1, true);
    let miners: Vec<usize> = (0..12).map(|_| stage.miner("alice")).collect();
    // The server refuses new miners for a while, but still answers the proxy.
    stage.servers[0].refuses_miners = true;
    stage.cut(0);
    stage.wait(2_000);
    assert_eq!(stage.spread(), [0]);
    stage.fail(0, Failing::Dies);
    stage.wait(1_000);
    let downs = stage.log.iter().filter(|line| line.contains("is down"));
    let downs: Vec<&String> = downs.collect();
    assert!(
        downs.len() == 1 && downs[0].contains("moving 12 miners"),
        "{downs:?}"
    );
    assert_eq!(stage.lost(), [12]);
    // The next outage has a count of its own.
    stage.servers[0].refuses_miners = false;
    stage.revive(0);
    stage.wait(5_000);
    assert_eq!(stage.spread(), [12]);
    for miner in &miners[..11] {
        stage.leave(*miner);
    }
    stage.wait(12_000);
    stage.fail(0, Failing::Dies);
    stage.wait(1_000);
    assert_eq!(stage.lost(), [1]);
}

/// A miner whose extranonce1 is in use at the only good server must not stay at one where its work is
/// worth nothing.
#[test]
fn a_miner_does_not_stay_at_an_unfit_server_for_its_extranonce() {
    let mut stage = Stage::new(2, true);
    let miner = stage.miner("alice");
    let server = stage.server_of(miner);
    let other = 1 - server;
    let session = stage.players[miner].extra_nonce1.expect("a session");
    stage.squat(other, session);
    stage.block(other);
    stage.wait(20_000);
    assert!(
        !stage.players[miner].is_open,
        "it can come back with another"
    );
}

#[test]
fn a_drained_server_is_better_than_one_that_is_behind() {
    let mut stage = Stage::new(2, true);
    let miners: Vec<usize> = (0..6).map(|_| stage.miner("alice")).collect();
    stage.handle(ProxyEvent::Drain(0, BackendDrain::Out));
    stage.wait(3_000);
    assert_eq!(stage.spread(), [0, 6]);
    stage.block(0);
    stage.wait(10_000);
    assert_eq!(stage.status(), ["up", "unfit"]);
    assert_eq!(stage.spread(), [6, 0]);
    stage.block(1);
    stage.wait(3_000);
    assert_eq!(
        stage.spread(),
        [0, 6],
        "the operator wants none on the other"
    );
    for miner in miners {
        assert_eq!(stage.submit_and_see(miner), "true");
    }
}

/// The server it belongs to never admits it: it must not try only that one for ever.
#[test]
fn a_miner_of_an_unfit_server_tries_all_others() {
    let mut stage = Stage::new(3, true);
    let miners: Vec<usize> = (0..12).map(|_| stage.miner("alice")).collect();
    stage.disable(0, "alice");
    for server in [0, 2] {
        stage.block(server);
    }
    stage.wait(20_000);
    assert_eq!(stage.status(), ["up", "unfit", "up"]);
    assert_eq!(stage.spread()[1], 0, "{:?}", stage.spread());
    for miner in miners {
        assert_eq!(stage.submit_and_see(miner), "true");
    }
}

/// A server that was behind when the proxy started must still become known as unfit, so that its miners
/// are moved.
#[test]
fn a_server_that_is_behind_since_a_take_over_is_left() {
    let mut stage = Stage::new(2, true);
    let miners: Vec<usize> = (0..6).map(|_| stage.miner("alice")).collect();
    stage.block(0);
    stage.hand_over();
    stage.wait(10_000);
    assert_eq!(stage.status(), ["up", "unfit"]);
    assert_eq!(stage.spread(), [6, 0]);
    for miner in miners {
        assert_eq!(stage.submit_and_see(miner), "true");
    }
}
