//! HTTP on real sockets: access, answers, limits.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use hstratum::server::{Server, SyncReport};
use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::event::Level;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::browser::{Browser, free_port, head, serve, wait_for_line};
use crate::harness::miner::Want;
use crate::harness::{Chain, EVERY_HASH, Miner, TestNode, settings, wait_until};

#[test]
fn pool_is_shown_as_it_is() {
    let (running, browser) = serve(&[]);
    assert_eq!(browser.get("/healthz").status, 503);
    assert_eq!(browser.json("/api/v1/pool")["has_job"], false);

    running.move_on(Chain::hard().empty_at(1));
    let mut miner = running.mine_as("alice.rig");
    miner.mine(Want::Share);
    wait_until("the pool is well", || browser.get("/healthz").status == 200);
    wait_until("the share and its worker count", || {
        let pool = browser.json("/api/v1/pool");
        pool["shares"]["accepted"] == 1 && pool["workers"] == 1
    });
    let worker = &browser.json("/api/v1/workers")["workers"][0];
    let (since, last) = (&worker["connected_at"], &worker["last_share_at"]);
    assert!(
        since.as_i64().is_some() && since.as_i64() <= last.as_i64(),
        "{worker}"
    );
    let pool = browser.json("/api/v1/pool");
    assert_eq!(pool["network"], "regtest");
    assert_eq!(
        (&pool["workers"], &pool["accounts"]),
        (&1.into(), &1.into())
    );
    assert_eq!(pool["connections"], 1);
    assert!(pool["hashrate"].as_f64() > Some(0.0));
    let port = running.server.address().port();
    assert_eq!(
        pool["stratum_url"],
        format!("stratum+tcp://127.0.0.1:{port}")
    );
    let metrics = browser.get("/metrics").body;
    for line in [
        "hstratum_job_fresh 1",
        "hstratum_shares_total{outcome=\"accepted\"} 1",
        "hstratum_shares_total{outcome=\"duplicate\"} 0",
        "hstratum_reply_seconds_count 1",
        "hstratum_workers 1",
        "# TYPE hstratum_notify_seconds histogram",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
    }

    running.server.no_template("no peers".into());
    wait_until("the pool is not well", || {
        browser.get("/healthz").status == 503
    });
    assert!(browser.get("/healthz").body.contains("no peers"));
}

#[test]
fn download_of_the_chain_is_told_until_it_is_done() {
    let (running, browser) = serve(&[("dashboard", "private")]);
    let has = |line: &str| browser.get("/metrics").body.lines().any(|one| one == line);
    assert_eq!(browser.json("/api/v1/pool")["sync"], Value::Null);
    assert!(has("hstratum_node_syncing 0"));

    let mut report = SyncReport {
        height: 120_000,
        progress: 0.25,
        peers: 8,
        tip_time: 1_650_000_000,
        peer_height: Some(260_000),
    };
    running.server.chain_sync(Some(report));
    let expected = json!({"height": 120_000, "progress": 0.25, "peers": 8,
        "tip_time": 1_650_000_000, "peer_height": 260_000, "remaining_s": null});
    wait_until("the download is told", || {
        browser.json("/api/v1/pool")["sync"] == expected
    });
    wait_until("its metrics are there", || has("hstratum_node_syncing 1"));
    for line in [
        "hstratum_node_sync_progress 0.25",
        "hstratum_node_sync_height 120000",
        "hstratum_node_sync_tip_seconds 1650000000",
        "hstratum_node_sync_peers 8",
    ] {
        assert!(has(line), "{line}");
    }

    // Open pages are told of each report, and of the end.
    let mut events = browser.listen();
    let mut told = |is_told: &dyn Fn(&Value) -> bool| {
        loop {
            wait_for_line(&mut events, "event: pool");
            let data = wait_for_line(&mut events, "data: ");
            let pool: Value = serde_json::from_str(&data).expect("JSON");
            if is_told(&pool["sync"]) {
                return;
            }
        }
    };
    (report.peers, report.peer_height) = (0, None);
    running.server.chain_sync(Some(report));
    told(&|sync| sync["peers"] == 0 && sync["peer_height"].is_null());
    running.server.chain_sync(None);
    told(&Value::is_null);
    wait_until("it is told to others too", || {
        browser.json("/api/v1/pool")["sync"].is_null()
    });
    wait_until("its metrics are gone", || has("hstratum_node_syncing 0"));
    let metrics = browser.get("/metrics").body;
    assert!(!metrics.contains("hstratum_node_sync_"), "{metrics}");
}

#[test]
fn listeners_are_told_as_whoever_asks_reaches_them() {
    let port = free_port();
    let solo = format!("tcp://[::]:{port}?payout=solo&difficulty=1024");
    let (running, browser) = serve(&[
        ("listen", &solo),
        ("difficulty-min", "2"),
        ("dynamic", "false"),
        ("http-host-names", "pool.example"),
    ]);
    let own = running.server.address().port();
    for host in ["127.0.0.1", "pool.example"] {
        let answer = browser.ask("GET", "/api/v1/listeners", &[("Host", host)]);
        let expected = json!({"is_behind_proxy": false, "is_dynamic": false, "listeners": [
            {"url": format!("stratum+tcp://127.0.0.1:{own}"), "port": own, "transport": "tcp",
             "difficulty": 2.0, "payout": "operator"},
            {"url": format!("stratum+tcp://{host}:{port}"), "port": port, "transport": "tcp",
             "difficulty": 1024.0, "payout": "solo"}]});
        assert_eq!(answer.json(), expected);
    }
    let (_running, browser) = serve(&[("proxy-secret", "0123456789abcdef")]);
    let told = browser.json("/api/v1/listeners");
    assert_eq!(
        (&told["is_behind_proxy"], &told["listeners"][0]["url"]),
        (&json!(true), &Value::Null)
    );
}

#[test]
fn block_is_told_and_listed() {
    let (running, browser) = serve(&[("explorer", "https://example.com/b/%h/%s")]);
    running.node.answer_with(Verdict::Accepted);
    running.move_on(Chain::easy().empty_at(1));
    let mut events = browser.listen();
    let hash = running.mine_as("<b>alice</b>").mine(Want::Block);
    let mut next = || -> Value {
        wait_for_line(&mut events, "event: happening");
        serde_json::from_str(&wait_for_line(&mut events, "data: ")).expect("JSON")
    };
    let mut told = next();
    // Where somebody looked before the first job, that is told first.
    if told["kind"] == "job" {
        told = next();
    }
    assert_eq!(told["kind"], "block");
    assert_eq!(told["hash"], hash.to_string());
    wait_for_line(&mut events, "event: pool");

    wait_until("the block is accepted", || {
        browser.json("/api/v1/blocks")["blocks"][0]["state"] == "accepted"
    });
    let blocks = browser.json("/api/v1/blocks?state=accepted&account=%3Cb%3Ealice%3C%2Fb%3E");
    assert_eq!(blocks["total"], 1);
    let block = &blocks["blocks"][0];
    assert_eq!(block["account"], "<b>alice</b>");
    assert_eq!(
        block["link"],
        format!("https://example.com/b/{}/{hash}", block["height"])
    );
    let account = browser.json("/api/v1/accounts/%3Cb%3Ealice%3C%2Fb%3E");
    assert_eq!(account["blocks"], 1);
    // One share's work of what a block takes: the round's effort.
    let expected = account["blocks_expected_month"].as_f64();
    assert_eq!(expected, block["effort"].as_f64());
    assert_eq!(account["blocks_month"], 1);
    assert_eq!(browser.json("/api/v1/round")["shares"], 0);
    assert_eq!(browser.json("/api/v1/payouts")["total"], 0);
    assert_eq!(block["confirmations"], 1);
    running.move_on(Chain::easy().empty_at(4));
    wait_until("two blocks are on top of it", || {
        browser.json("/api/v1/blocks")["blocks"][0]["confirmations"] == 3
    });
    let records = browser.json("/api/v1/records");
    for record in ["luckiest", "unluckiest"] {
        assert_eq!(records[record]["hash"], hash.to_string(), "{records}");
        assert_eq!(records[record]["effort"], block["effort"]);
    }
}

#[test]
fn workers_and_accounts_are_found_sorted_and_paged() {
    let (running, browser) = serve(&[]);
    running.move_on(Chain::hard().empty_at(1));
    let names = ["alice.one", "alice.two", "Bob", "carol./"];
    let miners: Vec<_> = names
        .iter()
        .map(|name| {
            let mut miner = running.mine_as(name);
            miner.mine(Want::Share);
            miner
        })
        .collect();
    wait_until("all are there", || {
        browser.json("/api/v1/workers")["total"] == miners.len()
    });
    let names = |path: &str| -> Vec<String> {
        let page = browser.json(path);
        let rows = page["workers"].as_array().expect("rows").clone();
        rows.iter()
            .map(|row| format!("{}.{}", row["account"], row["worker"]).replace('"', ""))
            .collect()
    };
    let sorted = "/api/v1/workers?sort=name&order=asc";
    assert_eq!(names(sorted), ["Bob.", "alice.one", "alice.two", "carol./"]);
    assert_eq!(names(&format!("{sorted}&limit=1&offset=2")), ["alice.two"]);
    assert_eq!(names(&format!("{sorted}&search=BO")), ["Bob."]);
    assert_eq!(
        names(&format!("{sorted}&account=alice")),
        ["alice.one", "alice.two"]
    );
    let one = |worker| names(&format!("{sorted}&account=alice&worker={worker}"));
    assert_eq!(one("two"), ["alice.two"]);
    assert_eq!([one(""), one("tw")], [[""; 0]; 2]);
    assert_eq!(names(&format!("{sorted}&account=Bob&worker=")), ["Bob."]);
    assert!(names(&format!("{sorted}&online=false")).is_empty());
    let accounts = browser.json("/api/v1/accounts?sort=workers");
    assert_eq!(accounts["total"], 3);
    assert_eq!(accounts["accounts"][0]["name"], "alice");
    assert_eq!(accounts["accounts"][0]["workers_online"], 2);
    wait_until("the ledger knows alice", || {
        browser
            .get("/api/v1/accounts/alice/history?worker=one")
            .status
            == 200
    });
    assert_eq!(browser.get("/api/v1/accounts/nobody").status, 404);
    assert_eq!(browser.get("/api/v1/accounts/nobody/history").status, 404);
}

#[test]
fn what_is_asked_wrongly_is_refused_in_json() {
    let (_running, browser) = serve(&[]);
    let check = |method: &str, path: &str, status: u16| {
        let host = format!("localhost:{}", browser.port);
        let answer = browser.ask(method, path, &[("Host", &host)]);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        if method != "HEAD" {
            assert!(answer.json()["error"].is_string());
        }
    };
    for path in [
        "/api/v1/workers?limit=0",
        "/api/v1/workers?limit=501",
        "/api/v1/workers?offset=-1",
        "/api/v1/workers?sort=shoe",
        "/api/v1/workers?limt=5",
        "/api/v1/workers?worker=rig",
        "/api/v1/workers?online=perhaps",
        "/api/v1/blocks?state=lost",
        "/api/v1/accounts/%ff",
        "/api/v1/pool/history?range=century",
    ] {
        check("GET", path, 400);
    }
    let long = format!("/api/v1/accounts?search={}", "x".repeat(129));
    check("GET", &long, 400);
    check("GET", "/api/v1/nothing", 404);
    check("GET", "/nothing", 404);
    check("POST", "/api/v1/pool", 405);
    check("DELETE", "/", 405);
}

#[test]
fn foreign_host_and_origin_are_refused() {
    let (_running, browser) = serve(&[
        ("public-host", "pool.example.com"),
        ("http-host-names", "hstratum, hstratum.pool.svc"),
    ]);
    let port = browser.port;
    let check = |headers: &[(&str, &str)], status: u16| {
        let answer = browser.ask("GET", "/api/v1/round", headers);
        assert_eq!(answer.status, status, "{headers:?}");
        let policy = answer.header("content-security-policy");
        assert!(policy.is_some_and(|policy| policy.contains("script-src 'self'")));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    };
    let own = format!("127.0.0.1:{port}");
    check(&[("Host", &own)], 200);
    check(&[("Host", &format!("localhost:{port}"))], 200);
    check(&[("Host", "pool.example.com")], 200);
    check(&[("Host", &format!("hstratum.pool.svc:{port}"))], 200);
    check(&[("Host", "pool.svc")], 421);
    check(&[("Host", "evil.example.com")], 421);
    check(&[("Host", "169.254.169.254")], 421);
    check(&[], 421);
    check(&[("Host", &own), ("Host", "evil.example.com")], 421);
    let origin = format!("http://{own}");
    check(&[("Host", &own), ("Origin", &origin)], 200);
    check(
        &[("Host", &own), ("Origin", "https://pool.example.com")],
        200,
    );
    for foreign in ["https://evil.example.com", "null", "file://localhost"] {
        check(&[("Host", &own), ("Origin", foreign)], 403);
    }
}

/// A page that any browser of this machine shows may ask by a name of its own (DNS rebinding).
#[test]
fn what_this_machine_asks_is_never_a_proxys() {
    let everybody = "0.0.0.0/0, ::/0";
    let (_running, browser) = serve(&[("http-proxies", everybody), ("http-host", "127.0.0.1")]);
    let ask = |headers: &[(&str, &str)]| browser.ask("GET", "/api/v1/round", headers).status;
    assert_eq!(ask(&[("Host", "evil.example.com")]), 421);
    assert_eq!(ask(&[("Host", "localhost")]), 200);
}

#[test]
fn port_that_was_asked_for_and_is_taken_stops_the_start() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let options = [("http-port", port.as_str())];
    let node = Arc::new(TestNode::default());
    let Err(error) = Server::start(settings(&options, None), node) else {
        panic!("started on a port that is taken");
    };
    let text = format!("{error:#}");
    assert!(text.starts_with(&format!("failed to listen on 127.0.0.1:{port}")));
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn without_a_ledger_there_is_no_history_and_all_else() {
    let port = free_port();
    let text = port.to_string();
    let node = Arc::new(TestNode::default());
    let options = [("http-port", text.as_str()), ("difficulty", EVERY_HASH)];
    let server = Server::start(settings(&options, None), node.clone()).expect("started");
    let browser = Browser::new(port);
    assert_eq!(browser.json("/api/v1/pool")["has_ledger"], false);
    for path in [
        "/api/v1/pool/history",
        "/api/v1/round",
        "/api/v1/blocks",
        "/api/v1/records",
        "/api/v1/workers",
        "/api/v1/accounts",
        "/api/v1/payouts",
    ] {
        browser.json(path);
    }
    assert_eq!(browser.json("/api/v1/pool")["owed"], Value::Null);
    assert_eq!(browser.get("/api/v1/accounts/alice/credits").status, 404);
    assert!(browser.get("/metrics").body.contains("hstratum_blocks{"));
    assert!(server.close().wait());
    node.wait_for_log("stopped");
}

#[test]
fn page_and_its_files_are_served_and_known_again() {
    let (running, browser) = serve(&[]);
    let page = browser.get("/");
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let tag = page.header("etag").expect("a tag").to_owned();
    let own = format!("localhost:{}", browser.port);
    let again = browser.ask("GET", "/", &[("Host", &own), ("If-None-Match", &tag)]);
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(browser.get("/account/a%2Fb").body, page.body);
    assert!(browser.get("/stratum.svg").body.starts_with("<svg "));
    let links = ["src=\"", "href=\""].map(|begin| page.body.split(begin).skip(1));
    let paths: Vec<&str> = links
        .into_iter()
        .flatten()
        .map(|rest| rest.split('"').next().expect("a path"))
        .filter(|path| path.starts_with('/'))
        .collect();
    assert!(paths.contains(&"/app.js"), "{paths:?}");
    for path in paths {
        assert_eq!(browser.get(path).status, 200, "{path}");
    }
    let document = browser.json("/api/v1/openapi.json");
    assert!(document["paths"]["/api/v1/accounts/{name}"]["get"].is_object());
    let dashboard = running.node.wait_for_log("dashboard on http://127.0.0.1:");
    assert_eq!(dashboard.0, Level::Info);
}

#[test]
fn many_requests_fit_on_one_connection() {
    let (_running, browser) = serve(&[]);
    let mut stream = browser.connect();
    let request = format!(
        "GET /api/v1/round HTTP/1.1\r\nHost: localhost:{}\r\n\r\n",
        browser.port
    );
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).expect("sent");
        let mut reader = std::io::BufReader::new(&stream);
        let (status, headers) = head(&mut reader);
        assert_eq!(status, 200);
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.expect("a length").1.parse().expect("a number");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
    }
}

/// Collects every `$ref` of a document.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get("$ref") {
                found.push(target.clone());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn document_names_nothing_that_it_does_not_have() {
    let (_running, browser) = serve(&[]);
    let document = browser.json("/api/v1/openapi.json");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 10);
    for target in found {
        let path = target.strip_prefix('#').expect("a path in the document");
        assert!(document.pointer(path).is_some(), "{target}");
    }
}

/// Each path may answer so, whatever it is for.
#[test]
fn document_says_of_each_path_what_any_may_answer() {
    let (_running, browser) = serve(&[("http-token", TOKEN)]);
    let document = browser.json("/api/v1/openapi.json");
    let paths = document["paths"].as_object().expect("paths");
    let methods = paths.values().filter_map(Value::as_object).flatten();
    let mut count = 0;
    for (method, operation) in methods {
        count += 1;
        for status in ["400", "401", "403", "421", "503"] {
            let answer = &operation["responses"][status];
            assert!(answer.is_object(), "{status} of {method} {operation}");
        }
    }
    assert!(count > 50, "{count}");
    let host = format!("127.0.0.1:{}", browser.port);
    let bearer = format!("Bearer hsk_{}", "0".repeat(64));
    let with = [("Host", host.as_str()), ("Authorization", bearer.as_str())];
    let status = |path: &str| browser.ask("GET", path, &with).status;
    wait_until("keys are read", || status("/api/v1/pool") != 503);
    for path in paths.keys().filter(|path| !path.contains("/admin/")) {
        assert_eq!(status(path), 401, "{path}");
    }
}

const TOKEN: &str = "0123456789abcdef";

#[test]
fn without_a_token_there_are_no_admin_calls() {
    let (_running, browser) = serve(&[]);
    let user = json!({"name": "bob", "password": "x"});
    let answer = browser.call("POST", "/api/v1/admin/users", Some(TOKEN), &user);
    assert_eq!(answer.status, 404);
    let document = browser.get("/api/v1/openapi.json").body;
    assert!(!document.contains("/admin/"));
}

#[test]
fn admin_calls_need_the_token() {
    let (_running, browser) = serve(&[("http-token", TOKEN)]);
    let document = browser.json("/api/v1/openapi.json");
    let paths = document["paths"].as_object().expect("paths");
    let admin = paths.iter().filter(|(path, _)| path.contains("/admin/"));
    let mut calls = 0;
    for (path, methods) in admin {
        for method in methods.as_object().expect("methods").keys() {
            calls += 1;
            for token in [None, Some(""), Some("0123456789abcdeg")] {
                let path = path
                    .replace("{name}", "bob")
                    .replace("{address}", "192.0.2.1");
                let answer = browser.call(&method.to_uppercase(), &path, token, &json!({}));
                assert_eq!(answer.status, 401, "{method} {path} with {token:?}");
            }
        }
    }
    assert_eq!(calls, 23);
}

#[test]
fn operator_sets_an_accounts_threshold() {
    let (_running, browser) = serve(&[("http-token", TOKEN)]);
    let call = |body: &Value, status: u16| {
        let path = "/api/v1/admin/users/bob/threshold";
        let answer = browser.call("PUT", path, Some(TOKEN), body);
        assert_eq!(answer.status, status, "{}", answer.body);
    };
    let threshold = |value: Value| json!({"threshold": value});
    for right in [json!(2_000_000), Value::Null] {
        call(&threshold(right), 204);
    }
    let too_great = threshold(json!(i64::MAX.unsigned_abs() + 1));
    for wrong in [
        threshold(json!(999_999)),
        threshold(json!("1")),
        too_great,
        json!({}),
        json!([2_000_000]),
    ] {
        call(&wrong, 400);
    }
}

#[test]
fn operator_pauses_payouts() {
    let (running, browser) = serve(&[("http-token", TOKEN)]);
    let call = |method: &str, path: &str| {
        let path = format!("/api/v1/admin/payout{path}");
        let answer = browser.call(method, &path, Some(TOKEN), &json!({}));
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
        serde_json::from_str::<Value>(&answer.body).expect("JSON")
    };
    let seen = call("GET", "");
    assert_eq!(seen["state"], "off");
    assert_eq!(seen["last_run_at"], Value::Null, "there was none");
    let paused = call("PUT", "/pause");
    assert_eq!(paused["state"], "paused");
    assert!(paused["paused_at"].is_u64(), "{paused}");
    assert_eq!(call("PUT", "/pause"), paused, "the first one stays");
    let report = running.server.payouts().report().expect("read");
    assert_eq!(report.state, "paused");
    assert_eq!(call("DELETE", "/pause")["paused_at"], Value::Null);
    assert_eq!(call("GET", "")["state"], "off");
}

#[test]
fn orders_are_objects_and_concern_what_is_there() {
    let (_running, browser) = serve(&[("http-token", TOKEN)]);
    let eve = json!(["eve", "three", null]);
    let other = json!({"server": "other"});
    let none = json!({});
    for (method, path, body, status) in [
        ("POST", "/users", &eve, 400),
        ("PUT", "/drain", &json!([null, null]), 400),
        // It is alone.
        ("PUT", "/drain", &other, 409),
        ("DELETE", "/drain?server=other", &none, 409),
    ] {
        let path = format!("/api/v1/admin{path}");
        let answer = browser.call(method, &path, Some(TOKEN), body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
    }
}

#[test]
fn operator_rules_users_bans_and_drains() {
    let options = [
        ("http-token", TOKEN),
        ("auth", "users"),
        ("password", "boss"),
    ];
    let (running, browser) = serve(&options);
    running.server.template(Chain::hard().empty_at(0));
    let call = |method: &str, path: &str, body: &Value, status: u16| {
        let path = format!("/api/v1/admin{path}");
        let answer = browser.call(method, &path, Some(TOKEN), body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        answer
    };
    let logs_in = |password: &str| {
        let mut miner = Miner::connect(running.server.address());
        miner.send(7, "mining.authorize", &json!(["bob", password]));
        loop {
            let line = miner.json();
            if line["id"] == 7 {
                return line["result"] == true;
            }
        }
    };
    let none = json!({});

    let bob = json!({"name": "bob", "password": "one"});
    call("POST", "/users", &bob, 204);
    assert!(logs_in("one"));
    let again = call("POST", "/users", &bob, 409);
    assert_eq!(again.json()["error"], "the user already exists");
    call(
        "PUT",
        "/users/bob/password",
        &json!({"password": "two"}),
        204,
    );
    assert!(!logs_in("one") && logs_in("two"));
    call("PUT", "/users/bob/disabled", &none, 204);
    assert!(!logs_in("two"));
    call("DELETE", "/users/bob/disabled", &none, 204);
    assert!(logs_in("two"));
    let nowhere = json!({"address": "nowhere"});
    call("PUT", "/users/bob/address", &nowhere, 400);
    for wrong in [json!({"name": "eve"}), json!([]), json!({"nam": "eve"})] {
        call("POST", "/users", &wrong, 400);
    }

    let ban = json!({"address": "192.0.2.7", "seconds": 60, "reason": "floods"});
    call("POST", "/bans", &ban, 204);
    let bans = call("GET", "/bans", &none, 200).json();
    assert_eq!(bans[0]["address"], "192.0.2.7");
    assert_eq!(
        (&bans[0]["by"], &bans[0]["reason"]),
        (&json!("operator"), &json!("floods"))
    );
    call("DELETE", "/bans/192.0.2.7", &none, 204);
    call("DELETE", "/bans/192.0.2.7", &none, 409);
    call("DELETE", "/bans/everybody", &none, 400);

    call("PUT", "/drain", &json!({"seconds": 4000}), 400);
    call("PUT", "/drain", &json!({"seconds": 0}), 204);
    let is_refused = || TcpStream::connect(running.server.address()).is_err();
    wait_until("nobody is let in", is_refused);
    call("DELETE", "/drain", &none, 204);
    wait_until("everybody is let in", || !is_refused());
}
