//! The proxy with servers that are real pools, and that die or hang at every point.

#[path = "../harness/mod.rs"]
mod harness;
mod outages;
mod sessions;
#[path = "../stage/mod.rs"]
mod stage;

use hstratum_core::accounts::proxy_secret::ProxySecret;
use hstratum_core::limits::LEAVE_MS;
use hstratum_core::proxy::{BackendDrain, NoBackend, ProxyEvent};
use hstratum_core::units::{ConnId, unhex};
use serde_json::Value;
use stage::{Failing, SECRET, Stage};

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
    let mut stage = Stage::new(3, secret);
    stage.passed = 0;
    stage.failing = failing;
    play_on(stage, lines)
}

fn play_on(mut stage: Stage, lines: &[&str]) -> usize {
    let miner = stage.connect();
    for line in lines {
        stage.say(miner, line);
    }
    stage.settle();
    stage.wait(100);
    for _ in 0..2 {
        if stage.players[miner].job.is_some() {
            stage.submit(miner);
            stage.submit(miner);
        }
        stage.settle();
        for server in 0..3 {
            stage.block(server);
        }
    }
    let passed = stage.passed;
    stage.wait(3_000);

    let player = &stage.players[miner];
    assert!(player.is_open, "no miner is dropped while a server lives");
    assert_eq!(player.unanswered(), 0, "every request is answered");
    let status = stage.status();
    assert_eq!(stage.submit_and_see(miner), "true", "{status:?}");
    assert_eq!(stage.counts().reset, 0);
    assert_eq!(stage.counts().extra_nonces_changed, 0);
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
            let mut stage = Stage::new(3, true);
            stage.passed = 0;
            stage.handing_over = Some(after);
            play_on(stage, lines);
        }
    }
}

#[test]
fn miners_that_are_handed_over_stay_where_they_are() {
    let mut stage = Stage::new(3, true);
    let miners: Vec<usize> = (0..30).map(|_| stage.miner("alice")).collect();
    let before = stage.spread();
    let ids: Vec<u64> = miners.iter().map(|&miner| stage.submit(miner)).collect();
    stage.hand_over();
    stage.wait(6_000);
    assert_eq!(stage.spread(), before);
    assert_eq!(
        (stage.counts().moved_alive, stage.counts().moved_lost),
        (0, 0)
    );
    for (miner, id) in miners.into_iter().zip(ids) {
        assert_eq!(stage.players[miner].answer(id), "true");
        assert_eq!(stage.players[miner].jobs.len(), 1);
    }
}

#[test]
fn moving_thousands_costs_no_password_hash_where_there_is_a_secret() {
    for secret in [true, false] {
        let mut stage = Stage::new(2, secret);
        let miners: Vec<usize> = (0..40).map(|_| stage.miner("alice")).collect();
        let (left, right) = (stage.spread()[0], stage.spread()[1]);
        assert!(left > 8 && right > 8, "{left} {right}");
        let hashed = stage.servers[1].hashed;
        // The other server has not seen alice since it was started.
        stage.revive(1);
        stage.wait(8_000);
        assert_eq!(stage.servers[1].hashed - hashed, usize::from(!secret));
        assert_eq!(stage.spread(), [left, right], "they have come back");
        for miner in miners {
            assert_eq!(stage.submit_and_see(miner), "true");
        }
    }
}

#[test]
fn a_drained_server_loses_no_share() {
    let mut stage = Stage::new(3, true);
    let miners: Vec<usize> = (0..30).map(|_| stage.miner("alice")).collect();
    let before = stage.spread();
    stage.drain(0, BackendDrain::Out);
    let mut ids = Vec::new();
    for _ in 0..120 {
        for &miner in &miners {
            ids.push((miner, stage.submit(miner)));
        }
        stage.wait(50);
    }
    assert_eq!(stage.spread()[0], 0);
    for (miner, id) in ids {
        assert_eq!(stage.players[miner].answer(id), "true");
    }
    let counts = stage.counts();
    assert_eq!(counts.moved_alive, before[0] as u64);
    assert_eq!((counts.moved_lost, counts.refused_in_flight), (0, 0));
    stage.drain(0, BackendDrain::In);
    stage.wait(6_000);
    assert_eq!(stage.spread(), before, "each is back where it was");
}

#[test]
fn a_server_that_is_about_to_stop_is_emptied_one_by_one() {
    let mut stage = Stage::new(3, true);
    let miners: Vec<usize> = (0..30).map(|_| stage.miner("alice")).collect();
    stage.wait(500);
    let before = stage.spread();
    assert_eq!(stage.servers[0].proxied(), before[0] as u64);
    let now = stage.now;
    stage.servers[0].leave(now);
    let mut ids = Vec::new();
    let mut left = Vec::new();
    while stage.servers[0].proxied() > 0 {
        for &miner in &miners {
            ids.push((miner, stage.submit(miner)));
        }
        stage.wait(50);
        left.push(stage.spread()[0]);
        assert!(stage.now.ms - now.ms < LEAVE_MS, "{left:?}");
    }
    assert_eq!(stage.spread()[0], 0);
    left.dedup();
    assert!(left.len() > before[0] / 2, "spread over time: {left:?}");
    for (miner, id) in ids {
        assert_eq!(stage.players[miner].answer(id), "true");
    }
    let counts = stage.counts();
    assert_eq!(
        (counts.moved_alive, counts.moved_lost),
        (before[0] as u64, 0)
    );
    stage.fail(0, Failing::Dies);
    stage.wait(1_000);
    stage.revive(0);
    stage.wait(6_000);
    assert_eq!(stage.spread(), before, "it takes miners when it is back");
}

#[test]
fn a_server_that_stops_waits_for_no_miner_that_has_nowhere_to_go() {
    let mut stage = Stage::new(2, true);
    let miner = stage.miner("alice");
    let server = stage.server_of(miner);
    stage.fail(1 - server, Failing::Dies);
    stage.wait(1_000);
    assert_eq!(stage.servers[server].proxied(), 0);
    let now = stage.now;
    stage.servers[server].leave(now);
    stage.wait(3_000);
    assert_eq!(stage.server_of(miner), server, "it serves to the end");
    assert_eq!(stage.submit_and_see(miner), "true");
}

#[test]
fn a_miner_whose_server_would_not_have_it_back_comes_back_later() {
    let mut stage = Stage::new(2, false);
    for _ in 0..10 {
        stage.miner("alice");
    }
    let before = stage.spread();
    assert!(before[0] > 0, "{before:?}");
    stage.fail(0, Failing::Dies);
    stage.wait(2_000);
    stage.servers[0].refuses_users = true;
    stage.revive(0);
    stage.wait(8_000);
    assert_eq!(stage.status(), ["up"; 2]);
    assert_eq!(stage.spread(), [0, 10], "they stay where they are");
    stage.servers[0].refuses_users = false;
    stage.wait(12_000);
    assert_eq!(stage.spread(), before);
}

#[test]
fn a_miner_that_was_on_its_way_when_its_server_came_back_comes_back_later() {
    let mut stage = Stage::new(2, true);
    let miner = stage.miner("alice");
    let home = stage.server_of(miner);
    // Its login at the other server takes so long that both drains are over before it is done.
    for drain in [BackendDrain::Out, BackendDrain::In] {
        stage.handle(ProxyEvent::Drain(home, drain));
        stage.tick();
    }
    stage.settle();
    assert_ne!(stage.server_of(miner), home);
    stage.wait(12_000);
    assert_eq!(stage.server_of(miner), home);
    assert_eq!(stage.submit_and_see(miner), "true");
}

#[test]
fn only_the_miners_of_a_server_that_leaves_move_and_they_come_back() {
    let mut stage = Stage::new(5, true);
    let miners: Vec<usize> = (0..200).map(|_| stage.miner("alice")).collect();
    let servers = |stage: &Stage| -> Vec<usize> {
        miners.iter().map(|&miner| stage.server_of(miner)).collect()
    };
    let before = servers(&stage);
    let own = stage.spread()[2] as u64;
    stage.fail(2, Failing::Dies);
    stage.wait(1_000);
    for (miner, (old, new)) in before.iter().zip(servers(&stage)).enumerate() {
        let has_moved = *old == 2;
        assert_eq!(*old != new, has_moved);
        assert_eq!(stage.players[miner].jobs.len(), 1 + usize::from(has_moved));
    }
    stage.revive(2);
    stage.wait(6_000);
    assert_eq!(servers(&stage), before);
    let counts = stage.counts();
    assert_eq!((counts.moved_lost, counts.moved_alive), (own, own));
}

#[test]
fn a_server_that_is_behind_is_left_and_taken_back() {
    let mut stage = Stage::new(3, true);
    for _ in 0..30 {
        stage.miner("alice");
    }
    let before = stage.spread();
    for server in [0, 2] {
        stage.block(server);
    }
    stage.wait(4_500);
    assert_eq!(stage.status(), ["up"; 3], "blocks take a while to arrive");
    stage.wait(7_000);
    assert_eq!(stage.status(), ["up", "unfit", "up"]);
    assert_eq!(stage.spread()[1], 0);
    stage.block(1);
    stage.wait(7_000);
    assert_eq!(stage.status(), ["up"; 3]);
    assert_eq!(stage.spread(), before);
    assert_eq!(stage.counts().moved_lost, 0);
}

#[test]
fn a_server_that_talks_nonsense_is_left() {
    let mut stage = Stage::new(2, true);
    let miners: Vec<usize> = (0..10).map(|_| stage.miner("alice")).collect();
    stage.servers[0].talks_nonsense = true;
    stage.wait(2_000);
    assert_eq!(stage.status(), ["down", "up"]);
    for miner in miners {
        assert_eq!(stage.submit_and_see(miner), "true");
    }
}

#[test]
fn a_server_that_talks_nonsense_to_its_miners_is_left() {
    let mut stage = Stage::new(2, true);
    let miners: Vec<usize> = (0..30).map(|_| stage.miner("alice")).collect();
    let ids: Vec<u64> = miners.iter().map(|&miner| stage.submit(miner)).collect();
    stage.garble(0);
    stage.wait(100);
    assert_eq!(stage.status(), ["down", "up"]);
    assert_eq!(stage.spread(), [0, 30]);
    for (miner, id) in miners.into_iter().zip(ids) {
        // Answered by one of the servers, or lost with the connection.
        stage.players[miner].answer(id);
        assert_eq!(stage.submit_and_see(miner), "true");
    }
}

#[test]
fn miners_that_queue_for_a_server_that_hangs_go_to_the_next() {
    let mut stage = Stage::new(3, true);
    let miners: Vec<usize> = (0..900).map(|_| stage.miner("alice")).collect();
    assert!(stage.spread().iter().all(|&miners| miners > 256));
    // More miners lose the first server than may log in at the second at once.
    stage.fail(1, Failing::Hangs);
    stage.fail(0, Failing::Dies);
    stage.wait(3_000);
    assert_eq!(stage.status(), ["down", "down", "up"]);
    assert_eq!(stage.spread(), [0, 0, 900]);
    for miner in miners {
        assert_eq!(stage.submit_and_see(miner), "true");
    }
}

#[test]
fn a_server_that_hangs_is_left_within_a_second() {
    let mut stage = Stage::new(2, true);
    for _ in 0..20 {
        stage.miner("alice");
    }
    stage.fail(0, Failing::Hangs);
    stage.wait(1_000);
    assert_eq!(stage.status(), ["down", "up"]);
    assert_eq!(stage.spread(), [0, 20]);
    assert!(
        stage.moved_ms.iter().all(|&ms| (600..1_000).contains(&ms)),
        "{:?}",
        stage.moved_ms
    );
}

#[test]
fn a_server_that_owes_answers_is_left_by_its_silence_whenever_it_was_last_probed() {
    for ticks in 0..5 {
        let mut stage = Stage::new(2, true);
        for _ in 0..20 {
            stage.miner("alice");
        }
        stage.wait(50 * ticks);
        stage.fail(0, Failing::Hangs);
        for _ in 0..20 {
            for miner in 0..20 {
                stage.submit(miner);
            }
            stage.wait(50);
        }
        assert!(
            stage.moved_ms.iter().all(|&ms| (700..=800).contains(&ms)),
            "{ticks}: {:?}",
            stage.moved_ms
        );
    }
}

#[test]
fn a_server_is_not_left_for_one_dead_connection() {
    for submits in [true, false] {
        let mut stage = Stage::new(2, true);
        for _ in 0..20 {
            stage.miner("alice");
        }
        let before = stage.spread();
        let play = |stage: &mut Stage, ms: u64| {
            for _ in 0..ms / 50 {
                for miner in (0..20).filter(|_| submits) {
                    stage.submit(miner);
                }
                stage.wait(50);
            }
        };
        for _ in 0..3 {
            stage.lose_probe(0);
            play(&mut stage, 1_500);
            assert_eq!(stage.status(), ["up", "up"]);
        }
        assert_eq!(stage.spread(), before);
        assert_eq!(stage.counts().moved_lost, 0);
        // The next connection works as well as the first.
        stage.fail(0, Failing::Hangs);
        play(&mut stage, 1_000);
        assert_eq!(stage.status(), ["down", "up"]);
    }
}

#[test]
fn a_server_is_not_left_for_what_the_proxy_lacks() {
    let mut stage = Stage::new(2, true);
    for _ in 0..20 {
        stage.miner("alice");
    }
    stage.lose_probe(0);
    for lacks in [true, false] {
        stage.is_out_of_descriptors = lacks;
        // An answer takes a while.
        (0..5).for_each(|_| stage.tick());
        for _ in 0..40 {
            for miner in 0..20 {
                stage.submit(miner);
            }
            stage.wait(50);
        }
    }
    assert_eq!(stage.status(), ["up", "up"]);
    assert_eq!(stage.counts().moved_lost, 0);
}

#[test]
fn a_server_that_failed_again_and_again_is_taken_back_at_once_where_no_other_is() {
    let mut stage = Stage::new(2, true);
    let miners: Vec<usize> = (0..20).map(|_| stage.miner("alice")).collect();
    for _ in 0..5 {
        stage.fail(0, Failing::Dies);
        stage.wait(500);
        stage.revive(0);
        while stage.status() != ["up", "up"] {
            stage.wait(500);
        }
    }
    stage.fail(0, Failing::Dies);
    stage.wait(500);
    stage.revive(0);
    stage.wait(2_000);
    assert_eq!(stage.status(), ["down", "up"]);
    stage.fail(1, Failing::Dies);
    stage.wait(1_000);
    assert_eq!(stage.status(), ["up", "down"]);
    assert_eq!(stage.spread(), [20, 0]);
    for miner in miners {
        assert_eq!(stage.submit_and_see(miner), "true");
    }
}
