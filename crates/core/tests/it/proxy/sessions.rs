//! Sessions through the proxy: lines of miners and servers, and admission.

use hstratum_core::accounts::refused_logins::RefusalReason;

use super::*;

#[test]
fn a_miner_that_names_its_session_has_it_again_and_the_same_server() {
    let mut harness = ProxyHarness::new(5, true);
    for _ in 0..10 {
        let miner = harness.miner("alice");
        let session = harness.miners[miner].extra_nonce1.expect("a session");
        assert_eq!(session >> 24, 1, "it is the proxy's");
        let server = harness.server_of(miner);
        harness.leave(miner);
        let again = harness.connect();
        let subscribe =
            format!(r#"{{"id":1,"method":"mining.subscribe","params":["agent","{session:08x}"]}}"#);
        harness.say(again, &subscribe);
        harness.settle();
        assert_eq!(harness.miners[again].extra_nonce1, Some(session));
        assert_eq!(harness.server_of(again), server);
        let thief = harness.connect();
        harness.say(thief, &subscribe);
        harness.settle();
        assert_ne!(harness.miners[thief].extra_nonce1, Some(session));
    }
}

#[test]
fn an_extranonce_that_is_taken_is_replaced_where_the_miner_understands_that() {
    for understands in [true, false] {
        let mut harness = ProxyHarness::new(2, true);
        let miner = harness.miner("alice");
        if understands {
            harness.say(
                miner,
                r#"{"id":3,"method":"mining.extranonce.subscribe","params":[]}"#,
            );
        }
        harness.settle();
        let session = harness.miners[miner].extra_nonce1.expect("a session");
        let server = harness.server_of(miner);
        // A stranger that has connected to the other server without the proxy.
        let other = 1 - server;
        let now = harness.now;
        let conn = ConnId(99 << 32 | 9_999);
        harness.servers[other].connect(now, conn);
        let line = format!(
            "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"x\",\"{session:08x}\"]}}\n"
        );
        harness.servers[other].receive(now, conn, line.as_bytes());
        harness.fail(server, Failing::Dies);
        harness.wait(20_000);
        assert_eq!(harness.miners[miner].is_open, understands);
        if understands {
            assert_eq!(harness.miners[miner].told_extra_nonces, 1);
            assert_eq!(harness.submit_and_see(miner), "true");
        }
    }
}

#[test]
fn a_proof_that_is_not_right_admits_nobody() {
    let mut harness = ProxyHarness::new(1, true);
    let (now, conn) = (harness.now, ConnId(99 << 32 | 9_999));
    let server = &mut harness.servers[0];
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
    let mut harness = ProxyHarness::new(1, true);
    let miner = harness.connect();
    for _ in 0..100 {
        harness.say(miner, r#"{"id":null,"method":7}"#);
    }
    harness.settle();
    harness.wait(6_000);
    assert!(!harness.miners[miner].is_open);
    assert_eq!(harness.spread(), [0]);
}

/// A miner's connection may be displaced until it has an accepted share, also in the process that takes
/// over.
#[test]
fn an_accepted_share_is_told_once_and_again_after_a_take_over() {
    let mut harness = ProxyHarness::new(2, true);
    let lazy = harness.miner("alice");
    let miner = harness.miner("alice");
    assert_eq!(harness.proven, []);
    for _ in 0..3 {
        assert_eq!(harness.submit_and_see(miner), "true");
    }
    assert_eq!(harness.proven.len(), 1);
    harness.handing_over = Some(harness.passed + 1);
    assert_eq!(harness.submit_and_see(lazy), "true");
    // Each one once, or twice if the other process had to be told.
    assert!(
        (3..=4).contains(&harness.proven.len()),
        "{:?}",
        harness.proven
    );
}

/// A miner that has closed its sending side gets the answer to its last share, then its connection is
/// closed.
#[test]
fn a_share_with_an_end_behind_it_is_answered() {
    let mut harness = ProxyHarness::new(1, true);
    let (miner, idle) = (harness.miner("alice"), harness.miner("alice"));
    let conns = [miner, idle].map(|miner| harness.miners[miner].conn);
    let id = harness.submit(miner);
    assert!(harness.step(), "it comes to the proxy");
    for conn in conns {
        harness.handle(ProxyEvent::Finished(conn));
    }
    assert!(harness.miners[miner].is_open, "it is owed an answer");
    assert!(!harness.miners[idle].is_open);
    harness.settle();
    assert_eq!(harness.miners[miner].answer(id), "true");
    assert!(!harness.miners[miner].is_open);
}

#[test]
fn the_same_events_give_the_same_actions() {
    let run = || {
        let mut harness = ProxyHarness::new(3, true);
        for _ in 0..20 {
            harness.miner("alice");
        }
        harness.fail(1, Failing::Dies);
        harness.wait(3_000);
        harness.revive(1);
        harness.wait(10_000);
        let jobs: Vec<_> = harness
            .miners
            .iter()
            .map(|test_miner| test_miner.jobs.clone())
            .collect();
        (harness.passed, jobs, harness.moved_ms, harness.log)
    };
    assert_eq!(run(), run());
}

#[test]
fn the_floor_of_a_server_holds_through_a_proxy() {
    let mut harness = ProxyHarness::new(2, true);
    let miner = harness.connect();
    harness.say(
        miner,
        r#"{"id":1,"method":"mining.subscribe","params":["agent"]}"#,
    );
    harness.say(
        miner,
        r#"{"id":2,"method":"mining.authorize","params":["alice","x,fd=5e-324"]}"#,
    );
    let least = r#"["minimum-difficulty"],{"minimum-difficulty.value":1e-300}"#;
    harness.say(
        miner,
        &format!(r#"{{"id":3,"method":"mining.configure","params":[{least}]}}"#),
    );
    harness.say(
        miner,
        r#"{"id":4,"method":"mining.suggest_difficulty","params":[1e-300]}"#,
    );
    harness.wait(10_000);
    assert_eq!(harness.submit_and_see(miner), "true");
    // Its requests for settings are repeated to the server that takes it over.
    let server = harness.server_of(miner);
    harness.fail(server, Failing::Dies);
    harness.wait(2_000);
    assert_eq!(harness.submit_and_see(miner), "true");
    let floor = 1.0 / f64::from(1_u32 << 31);
    let told = &harness.miners[miner].difficulties;
    assert!(
        !told.is_empty() && told.iter().all(|told| *told == floor),
        "{told:?}"
    );
}

/// The bytes that the proxy adds to a line must not make a server refuse it, and no server is blamed for
/// its miners' lines.
#[test]
fn a_miners_lines_of_every_length_are_no_servers_fault() {
    for secret in [true, false] {
        let mut harness = ProxyHarness::new(2, secret);
        let honest = harness.miner("alice");
        for length in (8_100..=8_200).step_by(5).chain(8_180..=8_194) {
            for before in [
                r#"{"id":1,"method":"mining.subscribe","params":[""#,
                r#"{"method":"mining.subscribe","params":[""#,
                r#"{"method":"mining.authorize","params":["alice",""#,
                r#"{"id":1,"method":"mining.authorize","params":[""#,
                r#"{"id":1,"method":"mining.configure","params":[""#,
                r#"{"method":"mining.configure","params":[""#,
                r#"{"method":"no.such","params":[""#,
            ] {
                let miner = harness.connect();
                let filler = "x".repeat(length - before.len() - 3);
                harness.say_anything(miner, &format!(r#"{before}{filler}"]}}"#));
                harness.settle();
            }
        }
        // The same miners move to another server.
        harness.fail(0, Failing::Dies);
        harness.wait(10_000);
        assert_eq!(harness.status(), ["down", "up"], "{:?}", harness.log);
        assert_eq!(
            harness
                .log
                .iter()
                .filter(|text| text.contains("is down"))
                .count(),
            1
        );
        assert_eq!(harness.submit_and_see(honest), "true");
    }
}

#[test]
fn a_line_that_a_server_cannot_read_is_answered_and_not_held_against_it() {
    let mut harness = ProxyHarness::new(2, true);
    let miner = harness.miner("alice");
    let server = harness.server_of(miner);
    for _ in 0..10 {
        harness.fail(server, Failing::Hangs);
        harness.say(miner, r#"{"id":7,"method":"mining.ping","params":[]}"#);
        harness.settle();
        let refusal = r#"{"id":null,"result":null,"error":[20,"line too long",null]}"#;
        harness.let_say(server, refusal);
        harness.settle();
        assert_eq!(harness.miners[miner].answer(7), "line too long");
        harness.servers[server].go_on();
    }
    harness.wait(1_000);
    assert_eq!(harness.status(), ["up", "up"], "{:?}", harness.log);
}

#[test]
fn a_connection_that_is_not_taken_is_no_servers_end() {
    let mut harness = ProxyHarness::new(1, true);
    let miner = harness.miner("alice");
    for _ in 0..20 {
        harness.servers[0].refuses_next = true;
        harness.connect_and_subscribe();
        harness.wait(100);
    }
    harness.wait(5_000);
    assert_eq!(harness.status(), ["up"]);
    assert!(
        !harness.log.iter().any(|text| text.contains("is down")),
        "{:?}",
        harness.log
    );
    assert_eq!(harness.submit_and_see(miner), "true");
}

/// A proof shows that a user was admitted once; the server decides if it may still mine.
#[test]
fn a_user_that_is_disabled_mines_no_more_through_a_proxy() {
    for secret in [true, false] {
        let mut harness = ProxyHarness::new(2, secret);
        let (miner, other) = (harness.miner("alice"), harness.miner("bob"));
        for server in 0..2 {
            harness.disable(server, "alice");
        }
        harness.wait(2_000);
        assert!(!harness.miners[miner].is_open, "nobody has it");
        assert!(harness.miners[other].is_open);
        assert_eq!(harness.spread().iter().sum::<usize>(), 1);
        let again = harness.connect_and_subscribe();
        harness.say(
            again,
            r#"{"id":2,"method":"mining.authorize","params":["alice","x"]}"#,
        );
        harness.settle();
        assert_eq!(harness.miners[again].answer(2), "unauthorized user");
        let said = |line: &String| line.starts_with("login of \"alice\" refused, from ");
        assert_eq!(harness.log.iter().filter(|line| said(line)).count(), 1);
    }
}

/// The proxy's operator sees every refused login, of a server and of the proxy itself.
#[test]
fn each_login_that_is_refused_is_counted() {
    let mut harness = ProxyHarness::new(2, true);
    let miner = harness.miner("alice");
    for line in [
        r#"{"id":2,"method":"mining.authorize","params":[7]}"#,
        r#"{"id":3,"method":"mining.authorize_admin","params":["x"]}"#,
    ] {
        harness.say(miner, line);
    }
    harness.settle();
    let reasons = vec![(RefusalReason::Malformed, 1), (RefusalReason::Server, 1)];
    assert_eq!(harness.refusals(), [reasons]);
}

/// A proxy behind this one has given its connection another extranonce1.
#[test]
fn an_extranonce_that_changes_at_the_server_is_passed_on() {
    for understands in [true, false] {
        let mut harness = ProxyHarness::new(2, true);
        let miner = harness.miner("alice");
        if understands {
            let line = r#"{"id":3,"method":"mining.extranonce.subscribe","params":[]}"#;
            harness.say(miner, line);
        }
        harness.settle();
        let server = harness.server_of(miner);
        let line = r#"{"id":null,"method":"mining.set_extranonce","params":["0badcafe",4]}"#;
        harness.let_say(server, line);
        harness.settle();
        if understands {
            assert_eq!(harness.miners[miner].extra_nonce1, Some(0x0bad_cafe));
        } else {
            // A miner that does not understand it moves to a server where it keeps its own.
            assert_eq!(harness.miners[miner].told_extra_nonces, 0);
            assert_ne!(harness.server_of(miner), server);
            assert_eq!(harness.submit_and_see(miner), "true");
        }
    }
}

/// The server that it moves to has not seen that it asked for the admin's rights.
#[test]
fn a_miner_that_sends_blocks_only_does_so_at_the_next_server_too() {
    for secret in [false, true] {
        let mut harness = ProxyHarness::new(2, secret);
        let miner = harness.connect();
        for line in [
            r#"{"id":1,"method":"mining.authorize_admin","params":["x"]}"#,
            r#"{"id":2,"method":"mining.authorize","params":["alice","x"]}"#,
            r#"{"id":3,"method":"mining.subscribe","params":[]}"#,
        ] {
            harness.say(miner, line);
        }
        harness.settle();
        let first = harness.server_of(miner);
        let sends_blocks = |harness: &ProxyHarness, server: usize| {
            let workers = harness.servers[server].workers(harness.now);
            workers.iter().all(|one| one.sends_blocks) && workers.len() == 1
        };
        assert!(sends_blocks(&harness, first));
        harness.fail(first, Failing::Dies);
        harness.wait(5_000);
        let next = harness.server_of(miner);
        assert_ne!(next, first);
        assert!(sends_blocks(&harness, next));
    }
}

/// The time of the last job is then too far ahead: the next one comes through the proxy as well, and no
/// miner leaves its server for it.
#[test]
fn jobs_are_sent_anew_when_the_clock_goes_back_by_two_hours() {
    let mut harness = ProxyHarness::new(2, true);
    let miner = harness.miner("alice");
    let job = |harness: &ProxyHarness| harness.miners[miner].job.as_ref().map(|job| job.id.clone());
    let before = job(&harness);
    harness.clock_behind_s = 7_500;
    harness.wait(2_000);
    assert_ne!(before, job(&harness));
    assert_eq!(harness.submit_and_see(miner), "true");
    assert_eq!(harness.lost(), [0, 0]);
    // The clocks are right again.
    harness.clock_behind_s = 0;
    harness.wait(2_000);
    assert_eq!(harness.submit_and_see(miner), "true");
}
