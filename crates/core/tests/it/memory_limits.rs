//! Limits of memory that strangers could otherwise make grow.

use std::net::Ipv4Addr;

use crate::harness::{PoolHarness, Setup, Want};
use hstratum_core::limits::{
    NAMES_UNPROVEN_ALL_MAX, NAMES_UNPROVEN_MAX, OWN_JOBS_MAX, QUESTIONS_ASKED_MAX, SHARED_JOBS_MAX,
    STRANGER_LINES_MAX, TEMPLATES_MAX, USERS_PER_SESSION_MAX,
};

fn with_slow_user() -> PoolHarness {
    let mut harness = PoolHarness::with_job(&Setup {
        slow_users: vec![("frank".to_owned(), "right".to_owned())],
        ..Setup::default()
    });
    harness.passwords_held = true;
    harness
}

fn authorize(password: &str) -> String {
    format!(r#"{{"id":1,"method":"mining.authorize","params":["frank","{password}"]}}"#)
}

#[test]
fn a_password_is_not_checked_for_who_has_hung_up() {
    let mut harness = with_slow_user();
    for n in 0..10 * QUESTIONS_ASKED_MAX {
        let mallory = harness.connect();
        harness.send(mallory, &authorize(&n.to_string()));
        harness.close(mallory);
    }
    assert_eq!(harness.passwords_owed(), QUESTIONS_ASKED_MAX);
    assert_eq!(harness.size("queued questions"), 0);
    assert_eq!(harness.size("askers"), 0);
    harness.passwords_held = false;
    let frank = harness.connect();
    harness.send(frank, &authorize("right"));
    assert_eq!(harness.lines(frank).len(), 1);
    assert_eq!(harness.size("questions"), 0);
}

#[test]
fn who_asks_without_end_keeps_others_waiting_for_a_turn_only() {
    let mut harness = with_slow_user();
    for n in 0..10 * QUESTIONS_ASKED_MAX {
        let mallory = harness.connect_from(Ipv4Addr::new(192, 0, 2, 1));
        harness.send(mallory, &authorize(&n.to_string()));
    }
    let frank = harness.connect();
    harness.send(frank, &authorize("right"));
    // A farm that reconnects needs one check.
    let again = harness.connect();
    harness.send(again, &authorize("right"));
    for _ in 0..=QUESTIONS_ASKED_MAX {
        harness.check_password();
    }
    assert_eq!(harness.lines(frank).len(), 1);
    assert_eq!(harness.lines(again).len(), 1);
    assert!(harness.size("queued questions") > QUESTIONS_ASKED_MAX);
}

#[test]
fn jobs_are_so_many_and_no_more() {
    let (mut harness, alice) = PoolHarness::with_alice();
    for n in 0..3 * SHARED_JOBS_MAX {
        harness.template();
        let suggest = 1.0 / (2.0 + n as f64);
        let line =
            format!(r#"{{"id":3,"method":"mining.suggest_difficulty","params":[{suggest}]}}"#);
        harness.send(alice, &line);
    }
    assert_eq!(harness.size("templates"), TEMPLATES_MAX);
    assert_eq!(harness.size("jobs"), TEMPLATES_MAX);
    assert!(harness.size("own jobs") <= OWN_JOBS_MAX);
}

/// A miner that works on its latest job is never refused, and the limit over all jobs holds.
#[test]
fn shares_are_remembered_of_two_generations_of_jobs() {
    let mut harness = PoolHarness::with_job(&Setup {
        shares_remembered_max: 40,
        ..Setup::default()
    });
    let (alice, bob) = (harness.miner("alice"), harness.miner("alice"));
    let first = harness.job(bob);
    for n in 0..200 {
        // Bob is one job behind, as on a slow connection.
        let job = harness.job(alice);
        let late = harness.job_before(bob, usize::from(harness.job_count(bob) > 1));
        harness.submit(alice, &job, Want::Share);
        harness.submit(bob, &late, Want::Share);
        assert_eq!(harness.answers(alice), ["true"], "share {n}");
        assert_eq!(harness.answers(bob), ["true"], "share {n} of who is late");
        // Count against the limit.
        assert!(harness.size("shares of all jobs") <= 40);
    }
    assert!(harness.job_count(alice) >= 400 / 20, "fresh jobs went out");
    assert_eq!(harness.records.len(), 400);
    harness.submit(bob, &first, Want::Share);
    assert_eq!(harness.answers(bob), ["job not found"]);
    let blocks = harness.solutions.len();
    harness.submit(bob, &first, Want::Block);
    assert_eq!(harness.answers(bob), ["job not found"]);
    assert_eq!(
        harness.solutions.len(),
        blocks + 1,
        "a block is offered all the same"
    );
}

/// A name takes half a kilobyte and no work: few are allowed on each connection, and more only up to a
/// limit for the whole pool. A name with an accepted share no longer counts.
#[test]
fn names_without_a_share_are_few() {
    let mut harness = PoolHarness::with_job(&Setup::default());
    let name = |who: &str, n| {
        format!(r#"{{"id":{n},"method":"mining.authorize","params":["{who}.{n}","x"]}}"#)
    };
    let what = "names without a share beyond those of each connection";
    let mut strangers = Vec::new();
    for _ in 0..NAMES_UNPROVEN_ALL_MAX / (USERS_PER_SESSION_MAX - NAMES_UNPROVEN_MAX) + 2 {
        let mallory = harness.connect();
        let lines: Vec<String> = (0..USERS_PER_SESSION_MAX)
            .map(|n| name("mallory", n))
            .collect();
        harness.send(mallory, &lines.join("\n"));
        harness.lines(mallory);
        strangers.push(mallory);
    }
    assert_eq!(harness.size(what), NAMES_UNPROVEN_ALL_MAX);
    // Honest miners still get their names, and more once those have accepted shares.
    let alice = harness.miner("alice");
    harness.lines(alice);
    for n in 1..2 * NAMES_UNPROVEN_MAX {
        if n >= NAMES_UNPROVEN_MAX {
            harness.send(alice, &name("alice", n));
            assert!(harness.lines(alice)[0].contains("unauthorized"), "name {n}");
            let work = harness.job(alice);
            harness.submit(alice, &work, Want::Share);
            harness.lines(alice);
        }
        harness.send(alice, &name("alice", n));
        assert!(harness.lines(alice)[0].contains("true"), "name {n}");
        if n >= NAMES_UNPROVEN_MAX {
            break;
        }
    }
    for mallory in strangers {
        harness.close(mallory);
    }
    assert_eq!(harness.size(what), 0);
}

/// Each line would cross into the node's own log.
#[test]
fn a_flood_of_logins_makes_few_lines() {
    let mut harness = PoolHarness::with_job(&Setup::default());
    let before = harness.log.len();
    for n in 0..2_000 {
        let mallory = harness.connect();
        let login = format!(r#"{{"id":1,"method":"mining.authorize","params":["mallory.{n}"]}}"#);
        harness.send(mallory, &login);
        harness.close(mallory);
    }
    assert_eq!(harness.log.len() - before, STRANGER_LINES_MAX as usize);
    harness.advance(2_000);
    assert_eq!(harness.log.len() - before, STRANGER_LINES_MAX as usize + 1);
    assert_eq!(
        harness.log.last().map(String::as_str),
        Some("1980 more lines about connections left out")
    );
}
