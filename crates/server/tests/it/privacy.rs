//! What the dashboard's API shows to whom, and signing in.

use std::collections::BTreeSet;

use hstratum_core::chain::address::{Address, Network};
use serde_json::{Value, json};

use crate::browser::{Answer, Browser, serve, wait_for_line};
use crate::harness::miner::{Miner, Want};
use crate::harness::{Chain, Running, wait_until};

const TOKEN: &str = "0123456789abcdef";
const ACCOUNT: &str = "confidential";
const WORKER: &str = "undisclosed";
/// A login that was refused.
const STRANGER: &str = "unmentionable";

/// A pool with an account, a worker, an address, a block and a refused login.
struct Pool {
    _running: Running,
    browser: Browser,
    miner: Miner,
    address: String,
}

fn pool(dashboard: &str) -> Pool {
    let (running, browser) = serve(&[
        ("http-token", TOKEN),
        ("dashboard", dashboard),
        ("auth", "users"),
    ]);
    let address = Address::new(0, vec![9; 20])
        .expect("an address")
        .encode(Network::Regtest);
    let user = json!({"name": ACCOUNT, "password": "x", "address": address});
    let added = browser.call("POST", "/api/v1/admin/users", Some(TOKEN), &user);
    assert_eq!(added.status, 204, "{}", added.body);
    running.move_on(Chain::easy().empty_at(1));
    let mut miner = running.connect();
    miner.log_in(&format!("{ACCOUNT}.{WORKER}"), "x");
    miner.mine(Want::Share);
    miner.mine(Want::Block);
    let mut stranger = running.connect();
    stranger.send(1, "mining.authorize", &json!([STRANGER, "x"]));
    assert_eq!(stranger.reply()["error"][1], "unauthorized user");
    wait_until("everything is shown to the operator", || {
        let shown = |path: &str| as_operator(&browser, path).body;
        shown("/api/v1/workers").contains(WORKER)
            && shown("/api/v1/blocks").contains(ACCOUNT)
            && shown("/api/v1/refusals").contains(STRANGER)
            && shown(&format!("/api/v1/accounts/{ACCOUNT}")).contains(&address)
    });
    Pool {
        _running: running,
        browser,
        miner,
        address,
    }
}

fn host(browser: &Browser) -> String {
    format!("127.0.0.1:{}", browser.port)
}

fn as_operator(browser: &Browser, path: &str) -> Answer {
    let bearer = format!("Bearer {TOKEN}");
    browser.ask(
        "GET",
        path,
        &[("Host", &host(browser)), ("Authorization", &bearer)],
    )
}

/// Every path of the API's own description that can be read, for this account, block and job; but the operator's, and
/// those of whoever has signed in.
fn paths(browser: &Browser, block: &str, job: &str) -> BTreeSet<String> {
    let document = browser.json("/api/v1/openapi.json");
    let paths = document["paths"].as_object().expect("paths").iter();
    // There is no split here.
    let read = paths.filter(|(path, methods)| {
        let is_other = ["/admin/", "/me/", "/events", "/split"]
            .iter()
            .any(|part| path.contains(part));
        methods.get("get").is_some() && !is_other
    });
    let filled = read.map(|(path, _)| {
        path.replace("{name}", ACCOUNT)
            .replace("{hash}", block)
            .replace("{id}", job)
    });
    filled.collect()
}

#[test]
fn no_path_shows_names_to_strangers_where_they_are_hidden() {
    for dashboard in ["public", "names-hidden", "private"] {
        let mut pool = pool(dashboard);
        let job = pool.miner.wait_for_work().job.clone();
        let (browser, address) = (&pool.browser, pool.address.as_str());
        let block = as_operator(browser, "/api/v1/blocks").json()["blocks"][0]["hash"].clone();
        let block = block.as_str().expect("a block").to_owned();
        let all = paths(browser, &block, &job);
        assert!(all.len() > 18, "{all:?}");
        let secrets = [ACCOUNT, WORKER, STRANGER, address];
        let (mut refused, mut shown) = (Vec::new(), BTreeSet::new());
        for path in &all {
            let (theirs, ours) = (browser.get(path), as_operator(browser, path));
            assert_eq!(ours.status, 200, "{path}: {}", ours.body);
            match theirs.status {
                401 => refused.push(path.as_str()),
                status => assert_eq!(status, 200, "{path}: {}", theirs.body),
            }
            for secret in secrets {
                // Whoever knows a name may ask for it.
                let is_asked = path.contains(secret);
                let is_hidden = dashboard != "public" && !(is_asked && dashboard == "names-hidden");
                if is_hidden {
                    assert!(
                        !theirs.body.contains(secret),
                        "{dashboard} {path}: {}",
                        theirs.body
                    );
                }
                if ours.body.contains(secret) {
                    shown.insert(secret.to_owned());
                }
            }
        }
        assert_eq!(
            shown.len(),
            secrets.len(),
            "the operator sees all: {shown:?}"
        );
        let own = format!("/api/v1/accounts/{ACCOUNT}");
        let expected = match dashboard {
            "private" => vec![
                "/api/v1/accounts".to_owned(),
                own.clone(),
                format!("{own}/credits"),
                format!("{own}/history"),
                "/api/v1/payouts".to_owned(),
                "/api/v1/refusals".to_owned(),
                "/api/v1/servers".to_owned(),
                "/api/v1/workers".to_owned(),
            ],
            _ => Vec::new(),
        };
        assert_eq!(refused, expected, "{dashboard}");
        let (theirs, ours) = (
            browser.json("/api/v1/pool"),
            as_operator(browser, "/api/v1/pool").json(),
        );
        assert_eq!(
            (&theirs["workers"], &theirs["accounts"]),
            (&ours["workers"], &ours["accounts"]),
            "{dashboard}"
        );
        let by_finder = browser.get(&format!("/api/v1/blocks?account={ACCOUNT}"));
        let status = if dashboard == "private" { 401 } else { 200 };
        assert_eq!(by_finder.status, status, "{dashboard}");
    }
}

#[test]
fn hidden_names_are_not_found_letter_by_letter() {
    let pool = pool("names-hidden");
    let browser = &pool.browser;
    for list in ["workers", "accounts"] {
        for by_name in ["search=conf", "sort=name", "sort=%6eame"] {
            let path = format!("/api/v1/{list}?{by_name}");
            assert_eq!(browser.get(&path).status, 401, "{path}");
        }
        let path = format!("/api/v1/{list}?search=conf");
        assert_eq!(as_operator(browser, &path).json()["total"], 1);
    }
    // A whole name is its owner's.
    let own = browser.json(&format!("/api/v1/workers?account={ACCOUNT}"));
    assert_eq!(own["workers"][0]["worker"], WORKER);
    assert_eq!(
        browser.json("/api/v1/workers")["workers"][0]["account"],
        "conf…"
    );
    let page = browser.json(&format!("/api/v1/accounts/{ACCOUNT}"));
    assert_eq!(
        (&page["name"], page["blocks"].as_u64()),
        (&json!(ACCOUNT), Some(1))
    );
    assert_ne!(page["address"], pool.address.as_str());
}

/// A stranger would log in under names around a hidden one, and look at its place among them.
#[test]
fn hidden_names_are_not_found_by_the_order_of_rows() {
    const NAMES: u64 = 10;
    let (running, browser) = serve(&[("http-token", TOKEN), ("dashboard", "names-hidden")]);
    running.move_on(Chain::hard().empty_at(1));
    // Rows are told apart by their connections: one more for each name.
    let users = (1..=NAMES).flat_map(|count| {
        let name = format!("name {count:02}");
        std::iter::repeat_n(name, usize::try_from(count).expect("few"))
    });
    let _miners: Vec<Miner> = users.map(|name| running.mine_as(&name)).collect();
    let order = |answer: Answer| -> Vec<u64> {
        let answer = answer.json();
        let rows = answer["workers"].as_array().expect("rows").iter();
        rows.map(|row| row["connections"].as_u64().expect("a number"))
            .collect()
    };
    let by_name: Vec<u64> = (1..=NAMES).collect();
    wait_until("all are there", || {
        order(as_operator(&browser, "/api/v1/workers")) == by_name
    });
    let theirs = order(browser.get("/api/v1/workers"));
    assert_eq!(theirs.len(), by_name.len());
    assert_ne!(theirs, by_name);
}

#[test]
fn events_have_names_for_the_operator_only() {
    for (dashboard, account) in [("names-hidden", Value::Null), ("public", json!(ACCOUNT))] {
        let pool = pool(dashboard);
        let block = |token: Option<&str>| -> Value {
            let mut events = pool.browser.listen_as(token);
            loop {
                wait_for_line(&mut events, "event: happening");
                let told = wait_for_line(&mut events, "data: ");
                let told: Value = serde_json::from_str(&told).expect("JSON");
                if told["kind"] == "block" {
                    return told["account"].clone();
                }
            }
        };
        assert_eq!(block(Some(TOKEN)), ACCOUNT);
        assert_eq!(block(None), account);
    }
}

/// The cookie that an answer sets, without its attributes.
fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie").expect("a cookie");
    set.split(';').next().expect("its value").to_owned()
}

fn sign_in(browser: &Browser, host: &str, proto: Option<&str>, token: &str) -> Answer {
    let mut headers = vec![("Host", host), ("Content-Type", "application/json")];
    headers.extend(proto.map(|proto| ("X-Forwarded-Proto", proto)));
    browser.ask_with(
        "POST",
        "/api/v1/session",
        &headers,
        &json!({"token": token}).to_string(),
    )
}

#[test]
fn session_is_the_operator_and_changes_need_its_token() {
    let pool = pool("private");
    let browser = &pool.browser;
    let host = &host(browser);
    for wrong in ["", "0123456789abcdeX", ACCOUNT] {
        let refused = sign_in(browser, host, None, wrong);
        assert_eq!(
            (refused.status, refused.header("set-cookie")),
            (401, None),
            "{wrong}"
        );
    }
    let signed_in = sign_in(browser, host, None, TOKEN);
    assert_eq!(signed_in.status, 200, "{}", signed_in.body);
    let set = signed_in.header("set-cookie").expect("a cookie");
    assert!(set.contains("HttpOnly; SameSite=Strict; Path=/"), "{set}");
    assert!(!set.contains("Secure"), "plain HTTP on this machine: {set}");
    assert!(
        set.starts_with(&format!("hstratum_session_{}=", browser.port)),
        "{set}"
    );
    let (cookie, answer) = (cookie(&signed_in), signed_in.json());
    let change_token = answer["csrf_token"].as_str().expect("a token");
    let with = |method: &str, path: &str, more: &[(&str, &str)]| {
        let mut headers = vec![("Host", host.as_str()), ("Cookie", cookie.as_str())];
        headers.extend(more);
        browser.ask(method, path, &headers)
    };
    assert_eq!(with("GET", "/api/v1/session", &[]).json(), answer);
    assert!(with("GET", "/api/v1/workers", &[]).body.contains(WORKER));
    assert_eq!(with("GET", "/api/v1/admin/bans", &[]).status, 200);
    // What a page of another site could have the browser send.
    for (method, path) in [
        ("PUT", "/api/v1/admin/payout/pause"),
        ("DELETE", "/api/v1/admin/drain"),
        ("DELETE", "/api/v1/session"),
    ] {
        for token in [&[][..], &[("X-CSRF-Token", TOKEN)], &[("X-CSRF-Token", "")]] {
            assert_eq!(
                with(method, path, token).status,
                403,
                "{method} {path} {token:?}"
            );
        }
        let origin = [
            ("X-CSRF-Token", change_token),
            ("Origin", "https://evil.example"),
        ];
        assert_eq!(with(method, path, &origin).status, 403);
    }
    let token = [("X-CSRF-Token", change_token)];
    assert_eq!(with("DELETE", "/api/v1/admin/drain", &token).status, 204);
    let mut events = browser.listen_with(&format!("Cookie: {cookie}\r\n"));
    wait_for_line(&mut events, "event: pool");
    assert_eq!(with("DELETE", "/api/v1/session", &token).status, 204);
    // Its stream ends with it.
    std::io::copy(&mut events, &mut std::io::sink()).expect("the end");
    assert_eq!(with("GET", "/api/v1/session", &[]).json()["role"], "nobody");
    assert_eq!(with("GET", "/api/v1/workers", &[]).status, 401);
    assert_eq!(with("GET", "/api/v1/admin/bans", &[]).status, 401);
}

#[test]
fn signing_in_needs_tls_but_on_this_machine() {
    let (_running, browser) = serve(&[("http-token", TOKEN), ("public-host", "pool.example")]);
    let plain = sign_in(&browser, "pool.example", None, TOKEN);
    assert_eq!(plain.status, 403);
    assert!(plain.body.contains("X-Forwarded-Proto"), "{}", plain.body);
    assert_eq!(
        sign_in(&browser, "pool.example", Some("http"), TOKEN).status,
        403
    );
    let tls = sign_in(&browser, "pool.example", Some("https"), TOKEN);
    let set = tls.header("set-cookie").expect("a cookie");
    assert!(set.contains("Secure"), "{set}");
}

#[test]
fn no_operator_signs_in_where_there_is_no_token() {
    let (_running, browser) = serve(&[]);
    assert_eq!(sign_in(&browser, &host(&browser), None, "").status, 401);
    assert_eq!(browser.json("/api/v1/session")["role"], "nobody");
    assert_eq!(browser.json("/api/v1/pool")["can_sign_in"], true);
}

#[test]
fn nobody_signs_in_where_that_is_off() {
    let (_running, browser) = serve(&[("http-token", TOKEN), ("http-login", "off")]);
    let refused = sign_in(&browser, &host(&browser), None, TOKEN);
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("http-login: off"), "{}", refused.body);
    assert_eq!(browser.json("/api/v1/pool")["can_sign_in"], false);
    // Programs of the operator go on.
    let bans = browser.call("GET", "/api/v1/admin/bans", Some(TOKEN), &json!(null));
    assert_eq!(bans.status, 200);
}
