//! The audit trail: what of changes is in it, and what becomes of those that it cannot take.

use std::time::Duration;

use hstratum::audit_trail::{Actor, newest};
use hstratum::ledger_tools::set_address;
use hstratum::sql::{Db, Sql, SqlError, Sqlite};
use hstratum_core::operator_order::{Order, OrderRefusal};
use serde_json::{Value, json};

use crate::harness::Running;
use crate::ledgers::Ledger;
use crate::miner_sign_in::{ADDRESSES, Pool, pool, sign_in};

const ALICE: &str = "alices password";

impl Pool {
    /// The newest changes, as "who via origin change subject detail outcome".
    fn trail(&self, search: &str) -> Vec<String> {
        let path = format!("/api/v1/admin/audit?limit=100&search={search}");
        let told = self.order("GET", &path, &json!(null));
        for secret in [ALICE, "another password", "a third one", "hsk_"] {
            assert!(!told.contains(secret), "{told}");
        }
        let told: Value = serde_json::from_str(&told).expect("JSON");
        let rows = told["changes"].as_array().expect("rows");
        assert_eq!(told["total"], json!(rows.len()));
        rows.iter().map(in_words).collect()
    }
}

fn in_words(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let who = row["account"].as_str().unwrap_or("operator").to_owned();
    let keys = [
        "via", "origin", "change", "subject", "detail", "outcome", "reason",
    ];
    let words = keys.map(|key| match text(key).as_str() {
        "" => "-".to_owned(),
        word => word.to_owned(),
    });
    format!("{who} {}", words.join(" "))
}

/// That of the changes below, newest first; `id` is the key's.
fn trail_of_every_change(id: &str) -> [String; 17] {
    let [a, b, c] = ADDRESSES;
    [
        format!("operator rpc - set-address carol {c} done -"),
        "operator rpc - disable-user no body - refused not an account name: expected 1 to 128 bytes without control characters".to_owned(),
        "operator token 127.0.0.1 enable-user alice - done -".to_owned(),
        "operator token 127.0.0.1 disable-user alice - done -".to_owned(),
        "operator token 127.0.0.1 set-password alice - done -".to_owned(),
        "alice session 127.0.0.1 set-password alice - done -".to_owned(),
        format!("alice session 127.0.0.1 revoke-key alice {id} done -"),
        "alice key 127.0.0.1 set-threshold alice - done -".to_owned(),
        "alice session 127.0.0.1 add-key alice a program (settings) done -".to_owned(),
        "alice session 127.0.0.1 cancel-address alice - done -".to_owned(),
        format!("alice session 127.0.0.1 set-next-address alice {b} in 86400 s done -"),
        "operator token 127.0.0.1 resume-payouts - - done -".to_owned(),
        "operator token 127.0.0.1 pause-payouts - - done -".to_owned(),
        "operator token 127.0.0.1 unban 192.0.2.9 - done -".to_owned(),
        "operator token 127.0.0.1 ban 192.0.2.9 60 s: a test done -".to_owned(),
        "operator token 127.0.0.1 set-threshold alice 5000000 done -".to_owned(),
        format!("operator token 127.0.0.1 set-address alice {a} done -"),
    ]
}

/// The newest changes are these, and are found by parts of what they have.
fn is_found(pool: &Pool, expected: &[String]) {
    let trail = pool.trail("");
    assert!(trail.len() > expected.len(), "users were added before");
    assert_eq!(&trail[..expected.len()], expected);
    let of_bans = pool.trail("0.2.9");
    assert_eq!(of_bans, expected[13..15], "found by a part of the subject");
    assert!(pool.trail("a_ice").is_empty() && pool.trail("%25").is_empty());
    assert_eq!(pool.trail("nobody").len(), 0, "as it is written: no body");
    let named = json!({"name": "Ärger", "password": "a password"});
    pool.order("POST", "/api/v1/admin/users", &named);
    assert_eq!(
        pool.trail("%C3%84RGER").len(),
        1,
        "whatever the case of ASCII letters"
    );
    let found = pool.order("GET", "/api/v1/admin/users?search=%C3%84rG", &json!(null));
    assert!(
        found.contains("\"total\":1") && found.contains("Ärger"),
        "{found}"
    );
}

/// Makes one change of each kind, and compares the trail, newest first.
fn has_every_change(pool: &Pool) {
    let [a, b, c] = ADDRESSES;
    let order = |method: &str, path: &str, body: Value| pool.order(method, path, &body);
    let user = "/api/v1/admin/users/alice";
    order("PUT", &format!("{user}/address"), json!({"address": a}));
    order(
        "PUT",
        &format!("{user}/threshold"),
        json!({"threshold": 5_000_000}),
    );
    order(
        "POST",
        "/api/v1/admin/bans",
        json!({"address": "192.0.2.9", "seconds": 60, "reason": "a test"}),
    );
    order("DELETE", "/api/v1/admin/bans/192.0.2.9", json!(null));
    order("PUT", "/api/v1/admin/payout/pause", json!(null));
    order("DELETE", "/api/v1/admin/payout/pause", json!(null));

    let alice = sign_in(&pool.browser, "alice", ALICE);
    alice.set_address(b, ALICE);
    let cancelled = alice.change("DELETE", "/api/v1/me/address", &json!(null));
    assert_eq!(cancelled.status, 204, "{}", cancelled.body);
    let (id, key) = alice.make_key("a program", "settings");
    let threshold = json!({"threshold": null});
    let set = pool
        .browser
        .call("PUT", "/api/v1/me/threshold", Some(&key), &threshold);
    assert_eq!(set.status, 204, "{}", set.body);
    assert_eq!(alice.revoke("keys", &id), 204);
    let new = json!({"password": ALICE, "new_password": "another password"});
    let set = alice.change("PUT", "/api/v1/me/password", &new);
    assert_eq!(set.status, 204, "{}", set.body);

    order(
        "PUT",
        &format!("{user}/password"),
        json!({"password": "a third one"}),
    );
    order("PUT", &format!("{user}/disabled"), json!(null));
    order("DELETE", &format!("{user}/disabled"), json!(null));
    let rpc = |order| {
        pool.running
            .server
            .change(&Actor::rpc(), order)
            .make()
            .expect("an answer")
    };
    let unknown = rpc(Order::DisableUser("no\u{7}body".to_owned()));
    assert_eq!(unknown, Err(OrderRefusal::InvalidName));
    let stored = pool.running.server.set_address(&Actor::rpc(), "carol", c);
    stored.expect("an address").wait().expect("stored");

    is_found(pool, &trail_of_every_change(&id));
    let told = pool
        .browser
        .call("GET", "/api/v1/admin/audit", None, &json!(null));
    assert_eq!(told.status, 401);
}

#[test]
fn every_change_is_in_the_trail_of_either_engine() {
    has_every_change(&pool(&[]));
    let shared = Ledger::in_postgres();
    let url = shared.argument();
    let pool = pool(&[("database", url.as_str()), ("server-id", "here")]);
    has_every_change(&pool);
    let others = "SELECT count(*) FROM audit WHERE server <> 'here'";
    assert_eq!(shared.value::<i64>(others, &[]), 0);

    let told = pool.browser.call(
        "PUT",
        "/api/v1/admin/drain",
        Some(crate::miner_sign_in::TOKEN),
        &json!({"server": "here", "seconds": 0}),
    );
    assert_eq!(told.status, 204, "{}", told.body);
    assert_eq!(
        pool.trail("here").first().map(String::as_str),
        Some("operator token 127.0.0.1 drain here 0 s done -")
    );
}

/// The ledger in a file, as another process opens it.
fn beside(running: &Running) -> Db {
    let path = running.dir.join("ledger.db");
    Db::Sqlite(Sqlite::open_beside(&path).expect("opened"))
}

fn admin_adds(running: &Running, name: &str) -> Value {
    let mut admin = running.connect();
    admin.send(1, "mining.authorize_admin", &json!(["secret"]));
    assert_eq!(admin.reply()["result"], true);
    admin.send(2, "mining.add_user", &json!([name, "pw"]));
    admin.reply()["result"].clone()
}

#[test]
fn an_admin_on_the_wire_and_a_command_are_in_the_trail() {
    let shared = Ledger::in_postgres();
    let url = shared.argument();
    for options in [
        vec![],
        vec![("database", url.as_str()), ("server-id", "here")],
    ] {
        let pool = pool(&[&[("password", "secret")], options.as_slice()].concat());
        assert_eq!(admin_adds(&pool.running, "carol"), true);
        let expected = "operator wire 127.0.0.1 add-user carol - done -";
        assert_eq!(pool.trail("carol"), [expected]);
        let mut db = match options.is_empty() {
            true => beside(&pool.running),
            false => shared.open(),
        };
        set_address(&mut db, "alice", Some(ADDRESSES[0])).expect("set");
        let newest = &pool.trail("alice")[0];
        assert!(newest.starts_with("operator command "), "{newest}");
        assert!(set_address(&mut db, "nobody", Some(ADDRESSES[0])).is_err());
        assert!(pool.trail("nobody").is_empty());
    }
}

/// Bans go on; what is worth money is not changed without a record.
#[test]
fn a_trail_that_cannot_be_written_stops_what_is_worth_money() {
    let pool = pool(&[]);
    let beside = rusqlite::Connection::open(pool.running.dir.join("ledger.db")).expect("opened");
    beside.busy_timeout(Duration::from_secs(5)).expect("set");
    let broken =
        "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END";
    beside.execute_batch(broken).expect("broken");

    let call = |method: &str, path: &str, body: Value| {
        let told = pool
            .browser
            .call(method, path, Some(crate::miner_sign_in::TOKEN), &body);
        (told.status, told.body)
    };
    let (status, text) = call(
        "PUT",
        "/api/v1/admin/users/alice/password",
        json!({"password": "taken over"}),
    );
    assert_eq!(status, 503, "{text}");
    assert!(
        text.contains("the user could not be written: see the log"),
        "{text}"
    );
    sign_in(&pool.browser, "alice", ALICE);
    let (status, text) = call("PUT", "/api/v1/admin/payout/pause", json!(null));
    assert_eq!(status, 503, "{text}");
    assert!(
        call("GET", "/api/v1/admin/payout", json!(null))
            .1
            .contains("\"paused_at\":null")
    );

    let (status, text) = call(
        "POST",
        "/api/v1/admin/bans",
        json!({"address": "192.0.2.9"}),
    );
    assert_eq!(status, 204, "{text}");
    pool.running.node.wait_for_log(
        "ban \"192.0.2.9\" by the operator (token \"127.0.0.1\") is made without a record of it",
    );
}

#[test]
fn an_owner_crowds_out_nothing_but_the_same_kind_of_change() {
    let pool = pool(&[]);
    let alice = sign_in(&pool.browser, "alice", ALICE);
    alice.set_address(ADDRESSES[0], ALICE);
    let mut db = beside(&pool.running);
    let many = "INSERT INTO audit (at, server, account, via, change, subject, detail, outcome)
                SELECT 1, '', 'alice', 'key', 'set-threshold', 'alice', '', 'done' FROM
                  (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150) SELECT i FROM n)";
    let written: Result<_, SqlError> = db.write(|sql: &mut dyn Sql| sql.execute(many, &[]));
    written.expect("written");
    let set = alice.change(
        "PUT",
        "/api/v1/me/threshold",
        &json!({"threshold": 7_000_000}),
    );
    assert_eq!(set.status, 204, "{}", set.body);
    let (rows, total) = db
        .read(|sql: &mut dyn Sql| newest(sql, "alice", (500, 0)))
        .expect("read");
    let count = |change: &str| rows.iter().filter(|row| row.change == change).count();
    assert_eq!(
        (
            count("set-threshold"),
            count("set-next-address"),
            count("add-user")
        ),
        (100, 1, 1)
    );
    assert_eq!(total, 102);
    assert_eq!(rows[0].detail, "7000000");
}
