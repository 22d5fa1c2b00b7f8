//! Miners without a server, sessions, and who is let in.

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
            // Whatever it sends is answered.
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
fn a_miner_that_names_its_session_has_it_again_and_the_same_server() {
    let mut stage = Stage::new(5, true);
    for _ in 0..10 {
        let miner = stage.miner("alice");
        let session = stage.players[miner].extra_nonce1.expect("a session");
        assert_eq!(session >> 24, 1, "it is the proxy's");
        let server = stage.server_of(miner);
        stage.leave(miner);
        let again = stage.connect();
        let subscribe =
            format!(r#"{{"id":1,"method":"mining.subscribe","params":["agent","{session:08x}"]}}"#);
        stage.say(again, &subscribe);
        stage.settle();
        assert_eq!(stage.players[again].extra_nonce1, Some(session));
        assert_eq!(stage.server_of(again), server);
        let thief = stage.connect();
        stage.say(thief, &subscribe);
        stage.settle();
        assert_ne!(stage.players[thief].extra_nonce1, Some(session));
    }
}

#[test]
fn an_extranonce_that_is_taken_is_replaced_where_the_miner_understands_that() {
    for understands in [true, false] {
        let mut stage = Stage::new(2, true);
        let miner = stage.miner("alice");
        if understands {
            stage.say(
                miner,
                r#"{"id":3,"method":"mining.extranonce.subscribe","params":[]}"#,
            );
        }
        stage.settle();
        let session = stage.players[miner].extra_nonce1.expect("a session");
        let server = stage.server_of(miner);
        // Somebody who came to the other server without the proxy.
        let other = 1 - server;
        let now = stage.now;
        let conn = ConnId(99 << 32 | 9_999);
        stage.servers[other].connect(now, conn);
        let line = format!(
            "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"x\",\"{session:08x}\"]}}\n"
        );
        stage.servers[other].receive(now, conn, line.as_bytes());
        stage.fail(server, Failing::Dies);
        stage.wait(20_000);
        assert_eq!(stage.players[miner].is_open, understands);
        if understands {
            assert_eq!(stage.players[miner].told_extra_nonces, 1);
            assert_eq!(stage.submit_and_see(miner), "true");
        }
    }
}

#[test]
fn a_proof_that_is_not_right_admits_nobody() {
    let mut stage = Stage::new(1, true);
    let (now, conn) = (stage.now, ConnId(99 << 32 | 9_999));
    let server = &mut stage.servers[0];
    server.connect(now, conn);
    let mut ask = |line: &str| {
        server.said.clear();
        server.receive(now, conn, format!("{line}\n").as_bytes());
        let said = server.said.pop().expect("an answer");
        String::from_utf8(said.1.expect("it stays open")).expect("text")
    };
    let hello = ask(r#"{"id":1,"method":"hstratum.hello","params":[]}"#);
    let hello: Value = serde_json::from_str(&hello).expect("JSON");
    assert_eq!(hello["result"]["height"], 100);
    let challenge = unhex(hello["result"]["challenge"].as_str().expect("a challenge"));
    let challenge = challenge.expect("hex digits");
    let secret = ProxySecret::new(SECRET).expect("long enough");
    let mut admit = |name: &str, proof: String| {
        let params = format!(r#"["{name}","fd=0.0000000005","{proof}"]"#);
        ask(&format!(
            r#"{{"id":2,"method":"hstratum.admit","params":{params}}}"#
        ))
    };
    let right = secret.prove(&challenge, "carol", "fd=0.0000000005");
    let other = secret.prove(&[0; 16], "carol", "fd=0.0000000005");
    assert!(admit("alice", right.clone()).contains("unauthorized user"));
    assert!(admit("carol", other).contains("unauthorized user"));
    assert!(admit("carol", right).contains(r#""result":true"#));
}

#[test]
fn hostile_miners_are_stopped_before_they_reach_a_server() {
    let mut stage = Stage::new(1, true);
    let miner = stage.connect();
    for _ in 0..100 {
        stage.say(miner, r#"{"id":null,"method":7}"#);
    }
    stage.settle();
    stage.wait(6_000);
    assert!(!stage.players[miner].is_open);
    assert_eq!(stage.spread(), [0]);
}

#[test]
fn the_same_events_give_the_same_actions() {
    let run = || {
        let mut stage = Stage::new(3, true);
        for _ in 0..20 {
            stage.miner("alice");
        }
        stage.fail(1, Failing::Dies);
        stage.wait(3_000);
        stage.revive(1);
        stage.wait(10_000);
        let jobs: Vec<_> = stage
            .players
            .iter()
            .map(|player| player.jobs.clone())
            .collect();
        (stage.passed, jobs, stage.moved_ms, stage.log)
    };
    assert_eq!(run(), run());
}

#[test]
fn the_floor_of_a_server_holds_through_a_proxy() {
    let mut stage = Stage::new(2, true);
    let miner = stage.connect();
    stage.say(
        miner,
        r#"{"id":1,"method":"mining.subscribe","params":["agent"]}"#,
    );
    stage.say(
        miner,
        r#"{"id":2,"method":"mining.authorize","params":["alice","x,fd=5e-324"]}"#,
    );
    let least = r#"["minimum-difficulty"],{"minimum-difficulty.value":1e-300}"#;
    stage.say(
        miner,
        &format!(r#"{{"id":3,"method":"mining.configure","params":[{least}]}}"#),
    );
    stage.say(
        miner,
        r#"{"id":4,"method":"mining.suggest_difficulty","params":[1e-300]}"#,
    );
    stage.wait(10_000);
    assert_eq!(stage.submit_and_see(miner), "true");
    // What it asked for is said again to the server that takes it over.
    let server = stage.server_of(miner);
    stage.fail(server, Failing::Dies);
    stage.wait(2_000);
    assert_eq!(stage.submit_and_see(miner), "true");
    let floor = 1.0 / f64::from(1_u32 << 31);
    let told = &stage.players[miner].difficulties;
    assert!(
        !told.is_empty() && told.iter().all(|told| *told == floor),
        "{told:?}"
    );
}
