//! The proxy with servers that are real pools, and that die or hang at every point.

mod harness;
mod outages;
mod sessions;

use harness::{Failing, ProxyHarness, SECRET};
use hstratum_core::accounts::proxy_secret::ProxySecret;
use hstratum_core::limits::LEAVE_MS;
use hstratum_core::proxy::{BackendDrain, NoBackend, ProxyEvent};
use hstratum_core::units::{ConnId, unhex};
use serde_json::Value;

/// Login sequences of known miners, and the lines after them.
const DIALECTS: [(&str, &[&str]); 5] = [
    (
        "subscribe first",
        &[
            r#"{"id":1,"method":"mining.subscribe","params":["icbtminer"]}"#,
            r#"{"id":2,"method":"mining.authorize","params":["alice","x"]}"#,
        ],
    ),
    (
        "authorize first, twice",
        &[
            r#"{"id":1,"method":"mining.authorize","params":["alice","x,d=0.0000000005"]}"#,
            r#"{"id":1,"method":"mining.authorize","params":["bob.rig","x"]}"#,
            r#"{"id":3,"method":"mining.subscribe","params":[]}"#,
        ],
    ),
    (
        "handyminer",
        &[
            r#"{"id":"long-1","method":"mining.authorize_admin","params":["x"]}"#,
            r#"{"id":"long-1","method":"mining.add_user","params":["alice","x"]}"#,
            r#"{"id":"long-2","method":"mining.authorize","params":["alice","x"]}"#,
            r#"{"id":"long-3","method":"mining.subscribe","params":["handyminer/0.0.5"]}"#,
        ],
    ),
    (
        "rented",
        &[
            r#"{"id":1,"method":"mining.configure","params":[["minimum-difficulty"],{"minimum-difficulty.value":1e-9}]}"#,
            r#"{"id":2,"method":"mining.subscribe","params":["rig","01abcdef"]}"#,
            r#"{"id":3,"method":"mining.extranonce.subscribe","params":[]}"#,
            r#"{"id":4,"method":"mining.authorize","params":["alice","x,fd=0.00000000023"]}"#,
            r#"{"id":5,"method":"mining.ping","params":[]}"#,
            r#"{"id":6,"method":"mining.get_transactions","params":["none"]}"#,
            r#"{"id":7,"method":"mining.suggest_difficulty","params":[2]}"#,
        ],
    ),
    (
        "careless",
        &[
            r#"{"method":"mining.subscribe","params":["quiet"]}"#,
            r#"{"method":"mining.authorize","params":["alice","x"]}"#,
            r#"{"id":3,"method":"mining.subscribe","params":["quiet"]}"#,
            r#"{"id":4,"method":"no.such","params":[]}"#,
            r#"{"id":5,"method":"hstratum.hello","params":[]}"#,
        ],
    ),
];

/// Plays a session; after `after` messages on the wires the server fails. Returns the count of messages.
fn play(lines: &[&str], secret: bool, failing: Option<(usize, Failing)>) -> usize {
    let mut harness = ProxyHarness::new(3, secret);
    harness.passed = 0;
    harness.failing = failing;
    play_on(harness, lines)
}

fn play_on(mut harness: ProxyHarness, lines: &[&str]) -> usize {
    let miner = harness.connect();
    for line in lines {
        harness.say(miner, line);
    }
    harness.settle();
    harness.wait(100);
    for _ in 0..2 {
        if harness.miners[miner].job.is_some() {
            harness.submit(miner);
            harness.submit(miner);
        }
        harness.settle();
        for server in 0..3 {
            harness.block(server);
        }
    }
    let passed = harness.passed;
    harness.wait(3_000);

    let test_miner = &harness.miners[miner];
    assert!(
        test_miner.is_open,
        "no miner is dropped while a server lives"
    );
    assert_eq!(test_miner.unanswered(), 0, "every request is answered");
    let status = harness.status();
    assert_eq!(harness.submit_and_see(miner), "true", "{status:?}");
    assert_eq!(harness.counts().reset, 0);
    assert_eq!(harness.counts().extra_nonces_changed, 0);
    passed
}

fn fail_everywhere(failing: Failing) {
    for (name, lines) in DIALECTS {
        for secret in [false, true] {
            let passed = play(lines, secret, None);
            assert!(passed > 20, "{name}: {passed}");
            for after in 0..passed {
                eprintln!("{name}, secret {secret}, {failing:?} after {after} of {passed}");
                play(lines, secret, Some((after, failing)));
            }
        }
    }
}

#[test]
fn a_server_may_die_at_any_point_of_a_session() {
    fail_everywhere(Failing::Dies);
}

#[test]
fn a_server_may_hang_at_any_point_of_a_session() {
    fail_everywhere(Failing::Hangs);
}

#[test]
fn another_process_may_go_on_at_any_point_of_a_session() {
    for (name, lines) in DIALECTS {
        let passed = play(lines, true, None);
        for after in 0..passed {
            eprintln!("{name}, handed over after {after} of {passed}");
            let mut harness = ProxyHarness::new(3, true);
            harness.passed = 0;
            harness.handing_over = Some(after);
            play_on(harness, lines);
        }
    }
}

#[test]
fn miners_that_are_handed_over_stay_where_they_are() {
    let mut harness = ProxyHarness::new(3, true);
    let miners: Vec<usize> = (0..30).map(|_| harness.miner("alice")).collect();
    let before = harness.spread();
    let ids: Vec<u64> = miners.iter().map(|&miner| harness.submit(miner)).collect();
    harness.hand_over();
    harness.wait(6_000);
    assert_eq!(harness.spread(), before);
    assert_eq!(
        (harness.counts().moved_alive, harness.counts().moved_lost),
        (0, 0)
    );
    for (miner, id) in miners.into_iter().zip(ids) {
        assert_eq!(harness.miners[miner].answer(id), "true");
        assert_eq!(harness.miners[miner].jobs.len(), 1);
    }
}

#[test]
fn moving_thousands_costs_no_password_hash_where_there_is_a_secret() {
    for secret in [true, false] {
        let mut harness = ProxyHarness::new(2, secret);
        let miners: Vec<usize> = (0..40).map(|_| harness.miner("alice")).collect();
        let (left, right) = (harness.spread()[0], harness.spread()[1]);
        assert!(left > 8 && right > 8, "{left} {right}");
        let hashed = harness.servers[1].hashed;
        // The other server has not seen alice since it was started.
        harness.revive(1);
        harness.wait(8_000);
        assert_eq!(harness.servers[1].hashed - hashed, usize::from(!secret));
        assert_eq!(harness.spread(), [left, right], "they have come back");
        for miner in miners {
            assert_eq!(harness.submit_and_see(miner), "true");
        }
    }
}

#[test]
fn a_drained_server_loses_no_share() {
    let mut harness = ProxyHarness::new(3, true);
    let miners: Vec<usize> = (0..30).map(|_| harness.miner("alice")).collect();
    let before = harness.spread();
    harness.drain(0, BackendDrain::Out);
    let mut ids = Vec::new();
    for _ in 0..120 {
        for &miner in &miners {
            ids.push((miner, harness.submit(miner)));
        }
        harness.wait(50);
    }
    assert_eq!(harness.spread()[0], 0);
    for (miner, id) in ids {
        assert_eq!(harness.miners[miner].answer(id), "true");
    }
    let counts = harness.counts();
    assert_eq!(counts.moved_alive, before[0] as u64);
    assert_eq!((counts.moved_lost, counts.refused_in_flight), (0, 0));
    harness.drain(0, BackendDrain::In);
    harness.wait(6_000);
    assert_eq!(harness.spread(), before, "each is back where it was");
}

#[test]
fn a_server_that_is_about_to_stop_is_emptied_one_by_one() {
    let mut harness = ProxyHarness::new(3, true);
    let miners: Vec<usize> = (0..30).map(|_| harness.miner("alice")).collect();
    harness.wait(500);
    let before = harness.spread();
    assert_eq!(harness.servers[0].proxied(), before[0] as u64);
    let now = harness.now;
    harness.servers[0].leave(now);
    let mut ids = Vec::new();
    let mut left = Vec::new();
    while harness.servers[0].proxied() > 0 {
        for &miner in &miners {
            ids.push((miner, harness.submit(miner)));
        }
        harness.wait(50);
        left.push(harness.spread()[0]);
        assert!(harness.now.ms - now.ms < LEAVE_MS, "{left:?}");
    }
    assert_eq!(harness.spread()[0], 0);
    left.dedup();
    assert!(left.len() > before[0] / 2, "spread over time: {left:?}");
    for (miner, id) in ids {
        assert_eq!(harness.miners[miner].answer(id), "true");
    }
    let counts = harness.counts();
    assert_eq!(
        (counts.moved_alive, counts.moved_lost),
        (before[0] as u64, 0)
    );
    harness.fail(0, Failing::Dies);
    harness.wait(1_000);
    harness.revive(0);
    harness.wait(6_000);
    assert_eq!(harness.spread(), before, "it takes miners when it is back");
}

#[test]
fn a_server_that_stops_waits_for_no_miner_that_has_nowhere_to_go() {
    let mut harness = ProxyHarness::new(2, true);
    let miner = harness.miner("alice");
    let server = harness.server_of(miner);
    harness.fail(1 - server, Failing::Dies);
    harness.wait(1_000);
    assert_eq!(harness.servers[server].proxied(), 0);
    let now = harness.now;
    harness.servers[server].leave(now);
    harness.wait(3_000);
    assert_eq!(harness.server_of(miner), server, "it serves to the end");
    assert_eq!(harness.submit_and_see(miner), "true");
}

#[test]
fn a_miner_whose_server_would_not_have_it_back_comes_back_later() {
    let mut harness = ProxyHarness::new(2, false);
    for _ in 0..10 {
        harness.miner("alice");
    }
    let before = harness.spread();
    assert!(before[0] > 0, "{before:?}");
    harness.fail(0, Failing::Dies);
    harness.wait(2_000);
    harness.servers[0].refuses_users = true;
    harness.revive(0);
    harness.wait(8_000);
    assert_eq!(harness.status(), ["up"; 2]);
    assert_eq!(harness.spread(), [0, 10], "they stay where they are");
    harness.servers[0].refuses_users = false;
    harness.wait(12_000);
    assert_eq!(harness.spread(), before);
}

#[test]
fn a_miner_that_was_on_its_way_when_its_server_came_back_comes_back_later() {
    let mut harness = ProxyHarness::new(2, true);
    let miner = harness.miner("alice");
    let home = harness.server_of(miner);
    // Its login at the other server takes so long that both drains are over before it is done.
    for drain in [BackendDrain::Out, BackendDrain::In] {
        harness.handle(ProxyEvent::Drain(home, drain));
        harness.tick();
    }
    harness.settle();
    assert_ne!(harness.server_of(miner), home);
    harness.wait(12_000);
    assert_eq!(harness.server_of(miner), home);
    assert_eq!(harness.submit_and_see(miner), "true");
}

#[test]
fn only_the_miners_of_a_server_that_leaves_move_and_they_come_back() {
    let mut harness = ProxyHarness::new(5, true);
    let miners: Vec<usize> = (0..200).map(|_| harness.miner("alice")).collect();
    let servers = |harness: &ProxyHarness| -> Vec<usize> {
        miners
            .iter()
            .map(|&miner| harness.server_of(miner))
            .collect()
    };
    let before = servers(&harness);
    let own = harness.spread()[2] as u64;
    harness.fail(2, Failing::Dies);
    harness.wait(1_000);
    for (miner, (old, new)) in before.iter().zip(servers(&harness)).enumerate() {
        let has_moved = *old == 2;
        assert_eq!(*old != new, has_moved);
        assert_eq!(harness.miners[miner].jobs.len(), 1 + usize::from(has_moved));
    }
    harness.revive(2);
    harness.wait(6_000);
    assert_eq!(servers(&harness), before);
    let counts = harness.counts();
    assert_eq!((counts.moved_lost, counts.moved_alive), (own, own));
}

#[test]
fn a_server_that_is_behind_is_left_and_taken_back() {
    let mut harness = ProxyHarness::new(3, true);
    for _ in 0..30 {
        harness.miner("alice");
    }
    let before = harness.spread();
    for server in [0, 2] {
        harness.block(server);
    }
    harness.wait(4_500);
    assert_eq!(harness.status(), ["up"; 3], "blocks take a while to arrive");
    harness.wait(7_000);
    assert_eq!(harness.status(), ["up", "unfit", "up"]);
    assert_eq!(harness.spread()[1], 0);
    harness.block(1);
    harness.wait(7_000);
    assert_eq!(harness.status(), ["up"; 3]);
    assert_eq!(harness.spread(), before);
    assert_eq!(harness.counts().moved_lost, 0);
}

#[test]
fn a_server_that_talks_nonsense_is_left() {
    let mut harness = ProxyHarness::new(2, true);
    let miners: Vec<usize> = (0..10).map(|_| harness.miner("alice")).collect();
    harness.servers[0].talks_nonsense = true;
    harness.wait(2_000);
    assert_eq!(harness.status(), ["down", "up"]);
    for miner in miners {
        assert_eq!(harness.submit_and_see(miner), "true");
    }
}

#[test]
fn a_server_that_talks_nonsense_to_its_miners_is_left() {
    let mut harness = ProxyHarness::new(2, true);
    let miners: Vec<usize> = (0..30).map(|_| harness.miner("alice")).collect();
    let ids: Vec<u64> = miners.iter().map(|&miner| harness.submit(miner)).collect();
    harness.garble(0);
    harness.wait(100);
    assert_eq!(harness.status(), ["down", "up"]);
    assert_eq!(harness.spread(), [0, 30]);
    for (miner, id) in miners.into_iter().zip(ids) {
        // Answered by one of the servers, or lost with the connection.
        harness.miners[miner].answer(id);
        assert_eq!(harness.submit_and_see(miner), "true");
    }
}

#[test]
fn miners_that_queue_for_a_server_that_hangs_go_to_the_next() {
    let mut harness = ProxyHarness::new(3, true);
    let miners: Vec<usize> = (0..900).map(|_| harness.miner("alice")).collect();
    assert!(harness.spread().iter().all(|&miners| miners > 256));
    // More miners lose the first server than may log in at the second at once.
    harness.fail(1, Failing::Hangs);
    harness.fail(0, Failing::Dies);
    harness.wait(3_000);
    assert_eq!(harness.status(), ["down", "down", "up"]);
    assert_eq!(harness.spread(), [0, 0, 900]);
    for miner in miners {
        assert_eq!(harness.submit_and_see(miner), "true");
    }
}

#[test]
fn a_server_that_hangs_is_left_within_a_second() {
    let mut harness = ProxyHarness::new(2, true);
    for _ in 0..20 {
        harness.miner("alice");
    }
    harness.fail(0, Failing::Hangs);
    harness.wait(1_000);
    assert_eq!(harness.status(), ["down", "up"]);
    assert_eq!(harness.spread(), [0, 20]);
    assert!(
        harness
            .moved_ms
            .iter()
            .all(|&ms| (600..1_000).contains(&ms)),
        "{:?}",
        harness.moved_ms
    );
}

#[test]
fn a_server_that_owes_answers_is_left_by_its_silence_whenever_it_was_last_probed() {
    for ticks in 0..5 {
        let mut harness = ProxyHarness::new(2, true);
        for _ in 0..20 {
            harness.miner("alice");
        }
        harness.wait(50 * ticks);
        harness.fail(0, Failing::Hangs);
        for _ in 0..20 {
            for miner in 0..20 {
                harness.submit(miner);
            }
            harness.wait(50);
        }
        assert!(
            harness.moved_ms.iter().all(|&ms| (700..=800).contains(&ms)),
            "{ticks}: {:?}",
            harness.moved_ms
        );
    }
}

#[test]
fn a_server_is_not_left_for_one_dead_connection() {
    for submits in [true, false] {
        let mut harness = ProxyHarness::new(2, true);
        for _ in 0..20 {
            harness.miner("alice");
        }
        let before = harness.spread();
        let play = |harness: &mut ProxyHarness, ms: u64| {
            for _ in 0..ms / 50 {
                for miner in (0..20).filter(|_| submits) {
                    harness.submit(miner);
                }
                harness.wait(50);
            }
        };
        for _ in 0..3 {
            harness.lose_probe(0);
            play(&mut harness, 1_500);
            assert_eq!(harness.status(), ["up", "up"]);
        }
        assert_eq!(harness.spread(), before);
        assert_eq!(harness.counts().moved_lost, 0);
        // The next connection works as well as the first.
        harness.fail(0, Failing::Hangs);
        play(&mut harness, 1_000);
        assert_eq!(harness.status(), ["down", "up"]);
    }
}

#[test]
fn a_server_is_not_left_for_what_the_proxy_lacks() {
    let mut harness = ProxyHarness::new(2, true);
    for _ in 0..20 {
        harness.miner("alice");
    }
    harness.lose_probe(0);
    for lacks in [true, false] {
        harness.is_out_of_descriptors = lacks;
        // An answer takes a while.
        (0..5).for_each(|_| harness.tick());
        for _ in 0..40 {
            for miner in 0..20 {
                harness.submit(miner);
            }
            harness.wait(50);
        }
    }
    assert_eq!(harness.status(), ["up", "up"]);
    assert_eq!(harness.counts().moved_lost, 0);
}

#[test]
fn a_server_that_failed_again_and_again_is_taken_back_at_once_where_no_other_is() {
    let mut harness = ProxyHarness::new(2, true);
    let miners: Vec<usize> = (0..20).map(|_| harness.miner("alice")).collect();
    for _ in 0..5 {
        harness.fail(0, Failing::Dies);
        harness.wait(500);
        harness.revive(0);
        while harness.status() != ["up", "up"] {
            harness.wait(500);
        }
    }
    harness.fail(0, Failing::Dies);
    harness.wait(500);
    harness.revive(0);
    harness.wait(2_000);
    assert_eq!(harness.status(), ["down", "up"]);
    harness.fail(1, Failing::Dies);
    harness.wait(1_000);
    assert_eq!(harness.status(), ["up", "down"]);
    assert_eq!(harness.spread(), [20, 0]);
    for miner in miners {
        assert_eq!(harness.submit_and_see(miner), "true");
    }
}
