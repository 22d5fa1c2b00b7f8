//! Keys of an account for programs, and links that show it: who makes them, what they may, and when they end.

use hstratum::sql::{Db, Sql, Sqlite};
use serde_json::{Value, json};

use crate::browser::{Answer, Browser, free_port};
use crate::harness::{Chain, restart, start, wait_until};
use crate::ledgers::Ledger;
use crate::miner_sign_in::{ADDRESSES, Pool, SignedIn, TOKEN, pool, sign_in};

const PASSWORD: &str = "alices password";

impl SignedIn<'_> {
    fn try_make(&self, kind: &str, body: &Value) -> Answer {
        self.change("POST", &format!("/api/v1/me/{kind}"), body)
    }

    /// Makes a key; returns its id and itself.
    pub(crate) fn make_key(&self, name: &str, may: &str) -> (String, String) {
        let told = self.try_make("keys", &json!({"name": name, "may": may}));
        assert_eq!(told.status, 201, "{}", told.body);
        let told = told.json();
        assert_eq!((&told["name"], &told["may"]), (&json!(name), &json!(may)));
        (text(&told["id"]), text(&told["key"]))
    }

    /// Makes a link; returns its id and its secret.
    fn make_link(&self, name: &str) -> (String, String) {
        let told = self.try_make("links", &json!({"name": name}));
        assert_eq!(told.status, 201, "{}", told.body);
        let told = told.json();
        let url = text(&told["url"]);
        let secret = url.split_once("/#view=").expect("behind the hash").1;
        (text(&told["id"]), secret.to_owned())
    }

    pub(crate) fn revoke(&self, kind: &str, id: &str) -> u16 {
        let path = format!("/api/v1/me/{kind}/{id}");
        self.change("DELETE", &path, &json!(null)).status
    }

    /// Names of what there is.
    fn names(&self, kind: &str) -> Vec<String> {
        let told = self.get(&format!("/api/v1/me/{kind}"));
        assert_eq!(told.status, 200, "{}", told.body);
        assert!(!told.body.contains("hsk_"), "{}", told.body);
        let rows = told.json();
        let rows = rows.as_array().expect("a list").iter();
        let mut names: Vec<String> = rows.map(|row| text(&row["name"])).collect();
        // Those of one second are in any order.
        names.sort();
        names
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// A program's request with a key.
fn ask(browser: &Browser, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    browser.call(method, path, Some(key), body)
}

fn status(browser: &Browser, key: &str) -> u16 {
    ask(browser, key, "GET", "/api/v1/session", &json!(null)).status
}

/// A key is known on another server soon.
fn wait_for_status(browser: &Browser, key: &str, expected: u16) {
    wait_until("the key is known as it is", || {
        status(browser, key) == expected
    });
}

/// What needs a session.
fn no_key_is_enough(browser: &Browser, key: &str) {
    for (method, path, body) in [
        (
            "POST",
            "/api/v1/me/keys",
            json!({"name": "more", "may": "settings"}),
        ),
        ("POST", "/api/v1/me/links", json!({"name": "more"})),
        ("DELETE", "/api/v1/me/keys/0123456789abcdef", json!(null)),
        (
            "PUT",
            "/api/v1/me/password",
            json!({"password": PASSWORD, "new_password": "new password"}),
        ),
        (
            "PUT",
            "/api/v1/me/address",
            json!({"address": ADDRESSES[1], "password": PASSWORD}),
        ),
        ("DELETE", "/api/v1/me/address", json!(null)),
    ] {
        let told = ask(browser, key, method, path, &body);
        assert_eq!(told.status, 403, "{method} {path}: {}", told.body);
    }
}

fn each_sees_and_changes_what_it_may(pool: &Pool) {
    let browser = &pool.browser;
    let alice = sign_in(browser, "alice", PASSWORD);
    alice.set_address(ADDRESSES[0], PASSWORD);
    let (_, read) = alice.make_key("a reader", "read");
    let (_, settings) = alice.make_key("设置", "settings");
    let (_, link) = alice.make_link("for friends");
    assert_eq!(alice.names("keys"), ["a reader", "设置"]);
    assert_eq!(alice.names("links"), ["for friends"]);

    let own = "/api/v1/accounts/alice";
    for (key, role, next) in [
        (&read, "miner", json!(ADDRESSES[0])),
        (&settings, "miner", json!(ADDRESSES[0])),
        (&link, "link", json!(null)),
    ] {
        let get = |path: &str| ask(browser, key, "GET", path, &json!(null));
        let session = get("/api/v1/session").json();
        let expected = json!({"role": role, "name": "alice", "csrf_token": null});
        assert_eq!(session, expected);
        wait_until("the address is shown", || {
            get(own).json()["next_address"]["address"] == next
        });
        assert!(
            get("/api/v1/workers?account=alice")
                .body
                .contains("alices-rig")
        );
        assert_eq!(get("/api/v1/accounts/bob").status, 401, "of another");
        for path in ["/api/v1/me/keys", "/api/v1/me/links"] {
            assert_eq!(get(path).status, 403, "{role} {path}");
        }
        no_key_is_enough(browser, key);
        let told = ask(browser, key, "GET", "/api/v1/admin/bans", &json!(null));
        assert_eq!(told.status, 401, "{}", told.body);
    }
    let set = |key: &str| {
        let body = json!({"threshold": 7_000_000});
        ask(browser, key, "PUT", "/api/v1/me/threshold", &body)
    };
    for (key, reason) in [
        (&read, "this key may read, and change nothing"),
        (&link, "a link shows the account, and changes nothing"),
    ] {
        let told = set(key);
        assert_eq!((told.status, told.json()), (403, json!({"error": reason})));
    }
    assert_eq!(set(&settings).status, 204);
    wait_until("it is set", || {
        alice.get(own).json()["threshold"] == 7_000_000
    });
}

#[test]
fn a_key_and_a_link_see_and_change_what_they_may() {
    let options = [("dashboard", "private"), ("threshold-min", "1")];
    each_sees_and_changes_what_it_may(&pool(&options));

    let shared = Ledger::in_postgres();
    let url = shared.argument();
    let mut all = options.to_vec();
    all.extend([("database", url.as_str()), ("server-id", "there")]);
    each_sees_and_changes_what_it_may(&pool(&all));
}

fn keys_end_with_what_they_were_made_by(pool: &Pool, mut ledger: Db) {
    let browser = &pool.browser;
    let bob = sign_in(browser, "bob", "bobs password");
    let (_, bobs) = bob.make_key("mine", "read");

    let alice = sign_in(browser, "alice", PASSWORD);
    let (id, first) = alice.make_key("first", "read");
    let (link_id, link) = alice.make_link("second");
    assert_eq!(bob.revoke("keys", &id), 404, "of another");
    assert_eq!(alice.revoke("links", &id), 404, "no link");
    assert_eq!(alice.revoke("keys", &id), 204);
    assert_eq!(alice.revoke("keys", &id), 404);
    let refused = ask(browser, &first, "GET", "/api/v1/pool", &json!(null));
    assert_eq!(refused.status, 401, "{}", refused.body);
    assert!(refused.body.contains("it was revoked"), "{}", refused.body);
    let header = refused.header("www-authenticate");
    assert_eq!(header, Some("Bearer error=\"invalid_token\""));
    assert_eq!(status(browser, &link), 200);
    assert_eq!(alice.revoke("links", &link_id), 204);
    assert_eq!(status(browser, &link), 401);

    // Another password, by whomever, and that the account is disabled.
    let by_herself = |old: &str, new: &str| {
        let alice = sign_in(browser, "alice", old);
        let keys = [
            alice.make_key("third", "settings").1,
            alice.make_link("fourth").1,
        ];
        let body = json!({"password": old, "new_password": new});
        let told = alice.change("PUT", "/api/v1/me/password", &body);
        assert_eq!(told.status, 204, "{}", told.body);
        for key in keys {
            assert_eq!(status(browser, &key), 401);
        }
    };
    by_herself(PASSWORD, "second password");
    for (password, method, path, body) in [
        (
            "second password",
            "PUT",
            "password",
            json!({"password": "third password"}),
        ),
        ("third password", "PUT", "disabled", json!(null)),
    ] {
        let alice = sign_in(browser, "alice", password);
        let (_, key) = alice.make_key("third", "settings");
        assert_eq!(status(browser, &key), 200);
        pool.order(method, &format!("/api/v1/admin/users/alice/{path}"), &body);
        assert_eq!(status(browser, &key), 401, "{path}");
        assert!(!alice.is_open());
    }
    pool.order("DELETE", "/api/v1/admin/users/alice/disabled", &json!(null));
    let left = "SELECT a.name FROM account_keys AS k JOIN accounts AS a ON a.id = k.account";
    let left = ledger
        .read(|sql: &mut dyn Sql| sql.query(left, &[]))
        .expect("read");
    let left: Vec<String> = left.iter().map(|row| row.get(0).expect("a name")).collect();
    assert_eq!(left, ["bob"]);
    assert_eq!(status(browser, &bobs), 200);
}

#[test]
fn keys_end_when_they_are_revoked_and_with_the_password() {
    let here = pool(&[]);
    let ledger = Sqlite::open_beside(&here.running.dir.join("ledger.db"));
    keys_end_with_what_they_were_made_by(&here, Db::Sqlite(ledger.expect("opened")));

    let shared = Ledger::in_postgres();
    let url = shared.argument();
    let there = pool(&[("database", url.as_str()), ("server-id", "there")]);
    keys_end_with_what_they_were_made_by(&there, shared.open());
}

#[test]
fn a_key_is_refused_by_what_is_wrong_with_it() {
    let pool = pool(&[]);
    let alice = sign_in(&pool.browser, "alice", PASSWORD);
    for (kind, body, reason) in [
        ("keys", json!({"name": "a"}), "missing field `may`"),
        (
            "keys",
            json!({"name": "a", "may": "pay"}),
            "expected `read` or `settings`",
        ),
        (
            "keys",
            json!({"name": "", "may": "read"}),
            "name: expected 1 to 40 letters",
        ),
        (
            "keys",
            json!({"name": "<b>", "may": "read"}),
            "name: expected 1 to 40 letters",
        ),
        (
            "links",
            json!({"name": "x".repeat(41)}),
            "name: expected 1 to 40 letters",
        ),
        (
            "links",
            json!({"name": "a", "may": "read"}),
            "unknown field `may`",
        ),
    ] {
        let told = alice.try_make(kind, &body);
        assert_eq!(told.status, 400, "{body}: {}", told.body);
        assert!(told.body.contains(reason), "{body}: {}", told.body);
    }
    let (_, key) = alice.make_key("0", "read");
    for (kind, body) in [
        ("keys", json!({"name": "0", "may": "settings"})),
        ("links", json!({"name": "0"})),
    ] {
        let told = alice.try_make(kind, &body);
        assert_eq!(told.status, 409, "{}", told.body);
        assert!(
            told.body.contains("has the name \\\"0\\\" already"),
            "{}",
            told.body
        );
    }
    for number in 1..16 {
        alice.make_link(&number.to_string());
    }
    let told = alice.try_make("links", &json!({"name": "one more"}));
    assert_eq!(told.status, 409, "{}", told.body);
    assert!(told.body.contains("has 16 keys and links"), "{}", told.body);
    assert_eq!(status(&pool.browser, &key), 200);
    let statuses = (0..4).map(|_| alice.try_make("links", &json!({"name": "0"})).status);
    assert_eq!(statuses.collect::<Vec<u16>>(), [409, 429, 429, 429]);
}

#[test]
fn what_is_no_key_is_nobodys_and_a_key_that_nobody_has_is_refused() {
    let pool = pool(&[]);
    let alice = sign_in(&pool.browser, "alice", PASSWORD);
    let (_, key) = alice.make_key("0", "read");
    let last = key.chars().last().expect("a digit");
    let other = if last == '0' { '1' } else { '0' };
    let wrong = format!("{}{other}", &key[..key.len() - 1]);
    for (token, expected) in [
        (wrong.as_str(), 401),
        ("hsk_", 200),
        ("x", 200),
        (TOKEN, 200),
    ] {
        assert_eq!(status(&pool.browser, token), expected, "{token}");
    }
    // Over plain HTTP for another machine.
    let host = format!("127.0.0.1:{}", pool.browser.port);
    let bearer = format!("Bearer {key}");
    let headers = [
        ("Host", host.as_str()),
        ("Authorization", &bearer),
        ("Via", "1.1 proxy"),
    ];
    let told = pool.browser.ask("GET", "/api/v1/session", &headers);
    assert_eq!(told.status, 403, "{}", told.body);
    assert!(told.body.contains("a key needs TLS"), "{}", told.body);
}

#[test]
fn keys_outlive_a_restart() {
    let Pool {
        running, browser, ..
    } = pool(&[]);
    let (_, key) = sign_in(&browser, "alice", PASSWORD).make_key("kept", "read");
    let port = free_port().to_string();
    let options = |login| {
        [
            ("http-port", port.as_str()),
            ("http-login", login),
            ("auth", "users"),
        ]
    };
    let again = restart(running, &options("on"));
    let browser = Browser::new(port.parse().expect("a port"));
    wait_for_status(&browser, &key, 200);
    assert_eq!(sign_in(&browser, "alice", PASSWORD).names("keys"), ["kept"]);

    // Where nobody signs in no key is taken.
    let _again = restart(again, &options("off"));
    wait_for_status(&browser, &key, 403);
}

#[test]
fn a_key_holds_on_every_server_until_one_revokes_it() {
    let shared = Ledger::in_postgres();
    let url = shared.argument();
    let here = pool(&[("database", url.as_str()), ("server-id", "here")]);
    let port = free_port();
    let text = port.to_string();
    let there = start(&[
        ("database", url.as_str()),
        ("server-id", "there"),
        ("http-port", &text),
        ("auth", "users"),
    ]);
    there.move_on(Chain::hard().empty_at(1));
    let there = Browser::new(port);
    let alice = sign_in(&here.browser, "alice", PASSWORD);
    let ((id, first), (_, second)) = (
        alice.make_key("first", "read"),
        alice.make_key("second", "read"),
    );
    for key in [&first, &second] {
        wait_for_status(&there, key, 200);
    }
    assert_eq!(alice.revoke("keys", &id), 204);
    wait_for_status(&there, &first, 401);

    let set = json!({"password": "second password"});
    here.order("PUT", "/api/v1/admin/users/alice/password", &set);
    assert_eq!(status(&here.browser, &second), 401);
    wait_for_status(&there, &second, 401);

    // Whoever has signed in with an old password gets no key before the new one is known there.
    let elsewhere = sign_in(&there, "alice", "second password");
    elsewhere.make_key("third", "read");
    let changed = "UPDATE accounts SET password = 'changed' WHERE name = 'alice'";
    shared.execute(changed, &[]);
    let told = elsewhere.try_make("keys", &json!({"name": "fourth", "may": "read"}));
    assert_eq!(told.status, 400, "{}", told.body);
    assert!(
        told.body.contains("the password was changed just now"),
        "{}",
        told.body
    );
    assert_eq!(elsewhere.names("keys"), ["third"]);
}
