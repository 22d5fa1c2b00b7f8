//! What strangers try to make grow.

mod harness;

use std::net::Ipv4Addr;

use harness::{Setup, Table};
use hstratum_core::limits::{OWN_JOBS_MAX, QUESTIONS_ASKED_MAX, SHARED_JOBS_MAX, TEMPLATES_MAX};

fn with_slow_user() -> Table {
    let mut table = Table::with_job(&Setup {
        slow_users: vec![("frank".to_owned(), "right".to_owned())],
        ..Setup::default()
    });
    table.clerk_held = true;
    table
}

fn authorize(password: &str) -> String {
    format!(r#"{{"id":1,"method":"mining.authorize","params":["frank","{password}"]}}"#)
}

#[test]
fn a_password_is_not_checked_for_who_has_hung_up() {
    let mut table = with_slow_user();
    for n in 0..10 * QUESTIONS_ASKED_MAX {
        let mallory = table.connect();
        table.send(mallory, &authorize(&n.to_string()));
        table.close(mallory);
    }
    assert_eq!(table.clerk_owes(), QUESTIONS_ASKED_MAX);
    assert_eq!(table.size("queued questions"), 0);
    assert_eq!(table.size("askers"), 0);
    table.clerk_held = false;
    let frank = table.connect();
    table.send(frank, &authorize("right"));
    assert_eq!(table.lines(frank).len(), 1);
    assert_eq!(table.size("questions"), 0);
}

#[test]
fn who_asks_without_end_keeps_others_waiting_for_a_turn_only() {
    let mut table = with_slow_user();
    for n in 0..10 * QUESTIONS_ASKED_MAX {
        let mallory = table.connect_from(Ipv4Addr::new(192, 0, 2, 1));
        table.send(mallory, &authorize(&n.to_string()));
    }
    let frank = table.connect();
    table.send(frank, &authorize("right"));
    // A farm that comes back asks once.
    let again = table.connect();
    table.send(again, &authorize("right"));
    for _ in 0..=QUESTIONS_ASKED_MAX {
        table.check_password();
    }
    assert_eq!(table.lines(frank).len(), 1);
    assert_eq!(table.lines(again).len(), 1);
    assert!(table.size("queued questions") > QUESTIONS_ASKED_MAX);
}

#[test]
fn jobs_are_so_many_and_no_more() {
    let (mut table, alice) = Table::with_alice();
    for n in 0..3 * SHARED_JOBS_MAX {
        table.template();
        let suggest = 1.0 / (2.0 + n as f64);
        let line =
            format!(r#"{{"id":3,"method":"mining.suggest_difficulty","params":[{suggest}]}}"#);
        table.send(alice, &line);
    }
    assert_eq!(table.size("templates"), TEMPLATES_MAX);
    assert_eq!(table.size("jobs"), TEMPLATES_MAX);
    assert!(table.size("own jobs") <= OWN_JOBS_MAX);
}
