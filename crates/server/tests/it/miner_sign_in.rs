//! Miners who sign in to the dashboard: what they see and change, and who takes an account over.

use std::time::SystemTime;

use hstratum::sql::{Db, Sql, Sqlite};
use serde_json::{Value, json};

use crate::browser::{Answer, Browser, serve};
use crate::harness::miner::{Miner, Want};
use crate::harness::{Chain, Running, wait_until};
use crate::ledgers::Ledger;

pub(crate) const TOKEN: &str = "0123456789abcdef";

/// A pool where alice and bob mine.
pub(crate) struct Pool {
    pub(crate) running: Running,
    pub(crate) browser: Browser,
    _miners: Vec<Miner>,
}

pub(crate) fn pool(options: &[(&str, &str)]) -> Pool {
    let mut all = vec![("http-token", TOKEN), ("auth", "users")];
    all.extend(options);
    let (running, browser) = serve(&all);
    running.move_on(Chain::hard().empty_at(1));
    let mut miners = Vec::new();
    for name in ["alice", "bob"] {
        let user = json!({"name": name, "password": format!("{name}s password")});
        let added = browser.call("POST", "/api/v1/admin/users", Some(TOKEN), &user);
        assert_eq!(added.status, 204, "{}", added.body);
        let mut miner = running.connect();
        miner.log_in(&format!("{name}.{name}s-rig"), &format!("{name}s password"));
        miner.mine(Want::Share);
        miners.push(miner);
    }
    wait_until("both mine", || {
        let workers = browser.call("GET", "/api/v1/workers", Some(TOKEN), &json!(null));
        ["alices-rig", "bobs-rig"]
            .iter()
            .all(|name| workers.body.contains(name))
    });
    Pool {
        running,
        browser,
        _miners: miners,
    }
}

/// Whoever has signed in.
pub(crate) struct SignedIn<'a> {
    browser: &'a Browser,
    host: String,
    cookie: String,
    change_token: String,
}

/// A request to sign in, through a proxy that says for whom it is.
fn try_sign_in(browser: &Browser, body: &Value, address: &str) -> Answer {
    let host = format!("127.0.0.1:{}", browser.port);
    let headers = [
        ("Host", host.as_str()),
        ("Content-Type", "application/json"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", address),
    ];
    browser.ask_with("POST", "/api/v1/session", &headers, &body.to_string())
}

pub(crate) fn sign_in<'a>(browser: &'a Browser, name: &str, password: &str) -> SignedIn<'a> {
    let body = json!({"name": name, "password": password});
    let answer = try_sign_in(browser, &body, "192.0.2.1");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let cookie = answer.header("set-cookie").expect("a cookie");
    let attributes = "; HttpOnly; SameSite=Strict; Secure; Path=/";
    assert!(cookie.ends_with(attributes), "{cookie}");
    let cookie = cookie.split(';').next().expect("its value").to_owned();
    let told = answer.json();
    let account = name.split('.').next().expect("an account");
    assert_eq!(
        (&told["role"], &told["name"]),
        (&json!("miner"), &json!(account))
    );
    SignedIn {
        browser,
        host: format!("127.0.0.1:{}", browser.port),
        cookie,
        change_token: told["csrf_token"].as_str().expect("a token").to_owned(),
    }
}

impl SignedIn<'_> {
    fn ask(&self, method: &str, path: &str, change_token: Option<&str>, body: &Value) -> Answer {
        let mut headers = vec![
            ("Host", self.host.as_str()),
            ("Cookie", self.cookie.as_str()),
            ("Content-Type", "application/json"),
        ];
        headers.extend(change_token.map(|token| ("X-CSRF-Token", token)));
        self.browser
            .ask_with(method, path, &headers, &body.to_string())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None, &json!(null))
    }

    pub(crate) fn change(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.ask(method, path, Some(&self.change_token), body)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.get("/api/v1/session").json()["role"] == "miner"
    }
}

#[test]
fn a_miner_sees_the_own_account_whole_and_no_other() {
    for dashboard in ["names-hidden", "private"] {
        let pool = pool(&[("dashboard", dashboard)]);
        let alice = sign_in(&pool.browser, "alice.alices-rig", "alices password");
        for own in [
            "/api/v1/accounts/alice",
            "/api/v1/accounts/alice/history",
            "/api/v1/accounts/alice/credits",
            "/api/v1/workers?account=alice",
            "/api/v1/workers?account=alice&search=rig&sort=name",
            "/api/v1/payouts?account=alice",
            "/api/v1/blocks?account=alice",
        ] {
            let told = alice.get(own);
            assert_eq!(told.status, 200, "{dashboard} {own}: {}", told.body);
            let shows = own.starts_with("/api/v1/workers");
            assert_eq!(told.body.contains("alices-rig"), shows, "{dashboard} {own}");
        }
        let mut seen = 0;
        let document = pool.browser.json("/api/v1/openapi.json");
        for (path, methods) in document["paths"].as_object().expect("paths") {
            let is_streamed = path.ends_with("/events");
            if methods.get("get").is_none() || is_streamed {
                continue;
            }
            let theirs = path
                .replace("{name}", "bob")
                .replace("{hash}", &"0".repeat(64));
            let told = alice.get(&theirs.replace("{id}", "0"));
            assert!(
                !told.body.contains("bobs-rig"),
                "{dashboard} {theirs}: {}",
                told.body
            );
            // Whoever knows a name may ask for it, where names are merely hidden.
            let is_asked = dashboard == "names-hidden" && path.contains("{name}");
            assert!(
                is_asked || !told.body.contains("bob"),
                "{dashboard} {theirs}: {}",
                told.body
            );
            if path.starts_with("/api/v1/admin") {
                assert_eq!(told.status, 401, "{theirs}");
            }
            seen += 1;
        }
        assert!(seen > 20, "{seen} paths");
        let status = if dashboard == "private" { 401 } else { 200 };
        for others in ["/api/v1/accounts/bob", "/api/v1/workers?account=bob"] {
            assert_eq!(alice.get(others).status, status, "{dashboard} {others}");
        }
    }
}

/// The reason would tell whether there is such an account.
#[test]
fn refused_logins_of_an_account_are_told_to_it_only() {
    for dashboard in ["names-hidden", "private"] {
        let pool = pool(&[("dashboard", dashboard)]);
        let alice = sign_in(&pool.browser, "alice", "alices password");
        let mut stranger = pool.running.connect();
        stranger.send(1, "mining.authorize", &json!(["alice.new-rig", "wrong"]));
        assert_eq!(stranger.reply()["error"][1], "unauthorized user");
        let own = "/api/v1/refusals?account=alice";
        wait_until("its owner is told", || {
            let told = alice.get(own);
            assert_eq!(told.status, 200, "{}", told.body);
            let first = &told.json()["refusals"][0];
            (&first["name"], &first["reason"])
                == (&json!("alice.new-rig"), &json!("wrong_password"))
        });
        for account in ["alice", "bob", "nobody"] {
            let asked = format!("/api/v1/refusals?account={account}");
            assert_eq!(
                pool.browser.get(&asked).status,
                401,
                "{dashboard} {account}"
            );
            let is_own = account == "alice";
            assert_eq!(
                alice.get(&asked).status == 200,
                is_own,
                "{dashboard} {account}"
            );
        }
    }
}

/// Every path that changes something, from the API's own description.
#[test]
fn changes_are_only_for_whom_they_are() {
    let pool = pool(&[]);
    let alice = sign_in(&pool.browser, "alice", "alices password");
    let document = pool.browser.json("/api/v1/openapi.json");
    let (mut own, mut operators) = (0, 0);
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in ["post", "put", "delete", "patch"] {
            if methods.get(method).is_none() || path.starts_with("/api/v1/session") {
                continue;
            }
            let method = method.to_uppercase();
            let path = path
                .replace("{name}", "bob")
                .replace("{address}", "192.0.2.9")
                .replace("{id}", "0123456789abcdef");
            let nobody = pool.browser.call(&method, &path, None, &json!({}));
            assert_eq!(nobody.status, 401, "{method} {path}: {}", nobody.body);
            let own_token = Some(&*alice.change_token);
            match path.starts_with("/api/v1/me/") {
                true => {
                    own += 1;
                    for token in [None, Some(""), Some(TOKEN)] {
                        let told = alice.ask(&method, &path, token, &json!({}));
                        assert_eq!(told.status, 403, "{method} {path}: {}", told.body);
                    }
                    let told = alice.ask(&method, &path, own_token, &json!({}));
                    // There is nothing to cancel or revoke.
                    let status = match (&*method, path.ends_with("/address")) {
                        ("DELETE", true) => 409,
                        ("DELETE", false) => 404,
                        _ => 400,
                    };
                    assert_eq!(told.status, status, "{method} {path}: {}", told.body);
                    let operator = pool.browser.call(&method, &path, Some(TOKEN), &json!({}));
                    assert_eq!(operator.status, 403, "{method} {path}: {}", operator.body);
                }
                false => {
                    operators += 1;
                    let told = alice.ask(&method, &path, own_token, &json!({}));
                    assert_eq!(told.status, 401, "{method} {path}: {}", told.body);
                }
            }
        }
    }
    assert!(own >= 8 && operators >= 12, "{own} and {operators}");
}

#[test]
fn another_password_ends_every_session_of_the_account() {
    let pool = pool(&[]);
    let browser = &pool.browser;
    let (here, there) = (
        sign_in(browser, "alice", "alices password"),
        sign_in(browser, "alice", "alices password"),
    );
    let bob = sign_in(browser, "bob", "bobs password");
    let change = |old: &str, new: &str| {
        here.change(
            "PUT",
            "/api/v1/me/password",
            &json!({"password": old, "new_password": new}),
        )
    };
    assert_eq!(change("bobs password", "a new password").status, 403);
    for wrong in ["", "7 bytes", "new password,d=4"] {
        assert_eq!(change("alices password", wrong).status, 400, "{wrong}");
    }
    assert!(here.is_open() && there.is_open());
    let changed = change("alices password", "new password");
    assert_eq!(changed.status, 204, "{}", changed.body);
    assert!(!here.is_open() && !there.is_open());
    assert!(bob.is_open());
    let old = json!({"name": "alice", "password": "alices password"});
    assert_eq!(try_sign_in(browser, &old, "192.0.2.2").status, 401);
    // It is the password for mining.
    let mut miner = pool.running.connect();
    miner.send(1, "mining.authorize", &json!(["alice", "new password"]));
    assert_eq!(miner.reply()["result"], true);

    // By the operator; and an account that is disabled.
    let alice = sign_in(browser, "alice", "new password");
    let set = json!({"password": "third password"});
    let path = "/api/v1/admin/users/alice/password";
    assert_eq!(browser.call("PUT", path, Some(TOKEN), &set).status, 204);
    assert!(!alice.is_open());
    let alice = sign_in(browser, "alice", "third password");
    let path = "/api/v1/admin/users/alice/disabled";
    assert_eq!(
        browser.call("PUT", path, Some(TOKEN), &json!(null)).status,
        204
    );
    assert!(!alice.is_open());
    let right = json!({"name": "alice", "password": "third password"});
    assert_eq!(try_sign_in(browser, &right, "192.0.2.3").status, 401);
    assert!(bob.is_open());
}

#[test]
fn a_miner_sets_the_own_threshold_and_signs_out() {
    let pool = pool(&[("threshold-min", "1")]);
    let alice = sign_in(&pool.browser, "alice", "alices password");
    let set = |threshold: Value| {
        alice.change(
            "PUT",
            "/api/v1/me/threshold",
            &json!({"threshold": threshold}),
        )
    };
    assert_eq!(set(json!(999_999)).status, 400);
    assert_eq!(set(json!(5_000_000)).status, 204);
    wait_until("it is shown", || {
        let shown = alice.get("/api/v1/accounts/alice").json();
        shown["threshold"] == 5_000_000
    });
    assert_eq!(set(json!(null)).status, 204);
    assert_eq!(
        alice
            .ask("DELETE", "/api/v1/session", None, &json!(null))
            .status,
        403
    );
    assert!(alice.is_open());
    assert_eq!(
        alice
            .change("DELETE", "/api/v1/session", &json!(null))
            .status,
        204
    );
    assert!(!alice.is_open());
    assert_eq!(set(json!(null)).status, 401);
}

/// Addresses of regtest, and one of another network.
pub(crate) const ADDRESSES: [&str; 3] = [
    "rs1qhmgjemz69l0hnkv8st2ahkrld9w45xrjztms54",
    "rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u",
    "rs1qqgpqyqszqgpqyqszqgpqyqszqgpqyqszs8ajv2",
];
const OF_MAIN: &str = "hs1qd42hrldu5yqee58se4uj6xctm7nk28r70e84vx";

/// The payout address of whoever has signed in as alice.
impl SignedIn<'_> {
    fn ask_for_address(&self, body: &Value) -> Answer {
        self.change("PUT", "/api/v1/me/address", body)
    }

    pub(crate) fn set_address(&self, address: &str, password: &str) {
        let told = self.ask_for_address(&json!({"address": address, "password": password}));
        assert_eq!(told.status, 204, "{}", told.body);
    }

    fn keep_address(&self) -> u16 {
        self.change("DELETE", "/api/v1/me/address", &json!(null))
            .status
    }

    /// Waits until these are shown.
    fn sees_addresses(&self, now: Option<&str>, next: Option<&str>) {
        wait_until("the addresses are shown", || {
            let told = self.get("/api/v1/accounts/alice").json();
            told["address"] == json!(now) && told["next_address"]["address"] == json!(next)
        });
    }
}

impl Pool {
    /// A call of the operator, which is carried out.
    pub(crate) fn order(&self, method: &str, path: &str, body: &Value) -> String {
        let told = self.browser.call(method, path, Some(TOKEN), body);
        assert!(told.status < 300, "{path}: {}", told.body);
        told.body
    }
}

fn no_address_is_set_by_what_is_wrong(alice: &SignedIn<'_>) {
    let [a, ..] = ADDRESSES;
    let password = "alices password";
    for (body, status) in [
        (json!({"address": a, "password": "bobs password"}), 403),
        (json!({"address": OF_MAIN, "password": password}), 400),
        (json!({"address": "", "password": password}), 400),
        (json!({"address": a}), 400),
        (
            json!({"address": a, "password": password, "signature": "x"}),
            400,
        ),
        // Her account is no address.
        (json!({"address": a, "signature": "x"}), 400),
    ] {
        let told = alice.ask_for_address(&body);
        assert_eq!(told.status, status, "{body}: {}", told.body);
    }
    alice.sees_addresses(None, None);
}

fn next_address_is_shown_to_owner_and_operator(pool: &Pool, alice: &SignedIn<'_>) {
    let [a, ..] = ADDRESSES;
    alice.set_address(a, "alices password");
    pool.running.node.wait_for_log(&format!(
        "\"alice\" asks to be paid at {a}, from 86400 s from now on"
    ));
    alice.sees_addresses(None, Some(a));
    let next = alice.get("/api/v1/accounts/alice").json()["next_address"].clone();
    let holds_at = next["holds_at"].as_u64().expect("a time");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let in_a_day = now.expect("after 1970").as_secs() + 86_400;
    assert!((in_a_day - 60..=in_a_day).contains(&holds_at), "{holds_at}");
    let bob = sign_in(&pool.browser, "bob", "bobs password");
    for told in [
        bob.get("/api/v1/accounts/alice").json(),
        pool.browser.json("/api/v1/accounts/alice"),
    ] {
        assert_eq!(told["next_address"], json!(null));
    }
    let told = pool.order("GET", "/api/v1/accounts/alice", &json!(null));
    assert!(told.contains(&next.to_string()), "{told}");
}

/// She has one, none, and one after the other.
fn address_holds_or_is_cancelled(pool: &Pool, alice: &SignedIn<'_>, mut ledger: Db) {
    let [a, b, c] = ADDRESSES;
    assert_eq!(alice.keep_address(), 204);
    alice.sees_addresses(None, None);
    assert_eq!(alice.keep_address(), 409);

    alice.set_address(a, "alices password");
    let hold =
        "UPDATE accounts SET next_address_at = (SELECT unix_s FROM clock) WHERE name = 'alice'";
    let changed = ledger.write(|sql: &mut dyn Sql| sql.execute(hold, &[]));
    assert_eq!(changed.expect("written"), 1);
    alice.sees_addresses(Some(a), None);
    assert_eq!(alice.keep_address(), 409);
    alice.sees_addresses(Some(a), None);

    // The one that holds is not lost over the next; and the operator's holds at once.
    alice.set_address(b, "alices password");
    alice.sees_addresses(Some(a), Some(b));
    let path = "/api/v1/admin/users/alice/address";
    pool.order("PUT", path, &json!({"address": c}));
    alice.sees_addresses(Some(c), None);
}

/// Another address ends the other sessions; another password, or that she is disabled, ends the next address.
fn what_was_to_hold_later_ends(pool: &Pool, alice: &SignedIn<'_>) {
    let [_, b, c] = ADDRESSES;
    let elsewhere = sign_in(&pool.browser, "alice", "alices password");
    alice.set_address(b, "alices password");
    assert!(alice.is_open() && !elsewhere.is_open());
    alice.sees_addresses(Some(c), Some(b));
    let is_ended = || {
        wait_until("no other address is to hold later", || {
            let told = pool.order("GET", "/api/v1/accounts/alice", &json!(null));
            told.contains("\"next_address\":null") && told.contains(c)
        });
    };
    let path = "/api/v1/admin/users/alice/password";
    pool.order("PUT", path, &json!({"password": "second password"}));
    is_ended();
    let alice = sign_in(&pool.browser, "alice", "second password");
    alice.set_address(b, "second password");
    pool.order("PUT", "/api/v1/admin/users/alice/disabled", &json!(null));
    is_ended();
}

fn payout_address_is_changed(pool: &Pool, ledger: Db) {
    let alice = sign_in(&pool.browser, "alice", "alices password");
    no_address_is_set_by_what_is_wrong(&alice);
    next_address_is_shown_to_owner_and_operator(pool, &alice);
    address_holds_or_is_cancelled(pool, &alice, ledger);
    what_was_to_hold_later_ends(pool, &alice);
}

#[test]
fn a_payout_address_holds_after_its_delay_unless_it_is_cancelled() {
    let here = pool(&[]);
    let ledger = Sqlite::open_beside(&here.running.dir.join("ledger.db"));
    payout_address_is_changed(&here, Db::Sqlite(ledger.expect("opened")));

    let shared = Ledger::in_postgres();
    let url = shared.argument();
    let there = pool(&[("database", url.as_str()), ("server-id", "there")]);
    payout_address_is_changed(&there, shared.open());
}

#[test]
fn a_payout_address_without_delay_holds_at_once() {
    let pool = pool(&[("address-delay", "off")]);
    let alice = sign_in(&pool.browser, "alice", "alices password");
    let body = json!({"address": ADDRESSES[0], "password": "alices password"});
    assert_eq!(alice.change("PUT", "/api/v1/me/address", &body).status, 204);
    wait_until("it is shown", || {
        let told = alice.get("/api/v1/accounts/alice").json();
        told["address"] == ADDRESSES[0] && told["next_address"].is_null()
    });
}

#[test]
fn guesses_from_an_address_end_and_others_go_on() {
    let pool = pool(&[]);
    let guess = |name: &str, password: &str, address: &str| {
        let body = json!({"name": name, "password": password});
        try_sign_in(&pool.browser, &body, address)
    };
    for number in 0..10 {
        // What a client says of itself stands before what the proxy says of it.
        let spoofed = format!("198.51.100.{number}, 192.0.2.50");
        let known = guess("alice", &number.to_string(), &spoofed);
        assert_eq!(known.status, 401, "{}", known.body);
        let unknown = guess("nobody", &number.to_string(), "192.0.2.51");
        assert_eq!((known.status, known.body), (unknown.status, unknown.body));
    }
    for address in ["192.0.2.50", "192.0.2.51", "203.0.113.1, 192.0.2.51"] {
        let right = guess("alice", "alices password", address);
        assert_eq!(right.status, 429, "{address}: {}", right.body);
        assert_eq!(right.header("set-cookie"), None);
    }
    for address in [
        "192.0.2.52",
        "192.0.2.52:4711",
        "2001:db8::1",
        "[2001:db8::2]:80",
    ] {
        assert_eq!(
            guess("alice", "alices password", address).status,
            200,
            "{address}"
        );
    }
    // Whoever passes on requests and does not say for whom would be everybody.
    for address in ["", "unknown", "192.0.2.52, _hidden"] {
        let told = guess("alice", "alices password", address);
        assert_eq!(told.status, 403, "{address:?}");
        assert!(told.body.contains("X-Forwarded-For"), "{}", told.body);
    }
    // The operator hears of it.
    let all = json!(null);
    wait_until("the refusals are shown", || {
        let refusals = (pool.browser).call("GET", "/api/v1/admin/refusals", Some(TOKEN), &all);
        refusals.body.contains("192.0.2.51") && refusals.body.contains("unknown_user")
    });
    wait_until("the refusals are counted", || {
        let metrics = pool.browser.get("/metrics").body;
        ["wrong_password", "unknown_user"].iter().all(|reason| {
            let line = format!("hstratum_logins_refused_total{{reason=\"{reason}\"}} 10");
            metrics.lines().any(|one| one == line)
        })
    });
}

#[test]
fn an_account_is_changed_now_and_then() {
    let pool = pool(&[]);
    let alice = sign_in(&pool.browser, "alice", "alices password");
    let bob = sign_in(&pool.browser, "bob", "bobs password");
    let set = |who: &SignedIn<'_>| {
        let body = json!({"threshold": null});
        who.change("PUT", "/api/v1/me/threshold", &body).status
    };
    let statuses: Vec<u16> = (0..30).map(|_| set(&alice)).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 20);
    assert_eq!(statuses.last(), Some(&429));
    assert_eq!(set(&bob), 204);
    // What needs the password has its own count, and a wrong one does not count.
    let mut statuses = (0..8).map(|_| {
        let body = json!({"address": ADDRESSES[0], "password": "wrong password"});
        alice.change("PUT", "/api/v1/me/address", &body).status
    });
    assert!(statuses.all(|status| status == 403));
    let body = json!({"address": ADDRESSES[0], "password": "alices password"});
    assert_eq!(alice.change("PUT", "/api/v1/me/address", &body).status, 204);
}

#[test]
fn whatever_is_no_sign_in_is_refused_by_what_is_wrong() {
    let pool = pool(&[]);
    for body in [
        json!({}),
        json!([]),
        json!({"name": "alice"}),
        json!({"name": "alice", "password": 1}),
        json!({"name": "alice", "password": "alices password", "token": TOKEN}),
        json!({"name": ["alice"], "password": "alices password"}),
    ] {
        let told = try_sign_in(&pool.browser, &body, "192.0.2.1");
        assert_eq!(told.status, 400, "{body}: {}", told.body);
        assert!(told.body.contains("expected {"), "{body}: {}", told.body);
    }
    for (name, password) in [
        ("", "x"),
        ("alice\u{0}", "alices password"),
        ("alice", &*"x".repeat(300)),
        ("Alice", "alices password"),
        ("alice ", "alices password"),
        ("alices-rig", "alices password"),
    ] {
        let body = json!({"name": name, "password": password});
        assert_eq!(
            try_sign_in(&pool.browser, &body, "192.0.2.1").status,
            401,
            "{name:?}"
        );
    }
}
