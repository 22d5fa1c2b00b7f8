//! The dashboard's API on a ledger that several servers share.

use std::time::{Duration, Instant};

use hstratum::ledger_tools::LedgerLocation;
use hstratum::sql::Postgres as Connection;
use hstratum::values;
use serde_json::{Value, json};

use crate::browser::{Browser, wait_for_line};
use crate::harness::miner::Want;
use crate::harness::{Chain, Running, wait_until};
use crate::ledgers::Ledger;

fn serve(ledger: &Ledger) -> (Running, Browser) {
    let url = ledger.argument();
    crate::browser::serve(&[("database", url.as_str()), ("server-id", "here")])
}

fn now_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_secs()).expect("before the end of time")
}

/// Inserts a server with its report, last seen at that time; returns its number.
fn told(ledger: &Ledger, name: &str, seen_at_ms: i64, report: &Value) -> i64 {
    ledger.execute(
        "INSERT INTO origins (origin, label, sequence, seen_at_ms, tip, shipped_tip, report)
         VALUES (?1, ?2, 3, ?3, 8, 7, ?4)",
        &values![name.as_bytes(), name, seen_at_ms, report.to_string()],
    );
    ledger.value("SELECT max(id) FROM origins", &[])
}

/// Inserts what a worker sent to a server within the last minutes.
fn mined(ledger: &Ledger, origin: i64, account: &str, worker: &str) {
    let id = ledger.account(account);
    ledger.execute(
        "INSERT INTO workers (account, name) VALUES (?1, ?2)",
        &values![id, worker],
    );
    ledger.execute(
        "INSERT INTO statistics SELECT 600, ?1, max(id), ?2, 8, 8.0, 1, 1.0, 0, 0.0, 1, 1.0, 0, 0
         FROM workers",
        &values![now_s() / 600 * 600, origin],
    );
}

/// Each answer has an age of its own.
fn is_listed(browser: &Browser, name: &str) -> bool {
    let servers = browser.json("/api/v1/servers")["servers"].clone();
    let mut rows = servers.as_array().into_iter().flatten();
    rows.any(|server| server["name"] == name)
}

#[test]
fn pool_is_that_of_all_servers() {
    let ledger = Ledger::in_postgres();
    let report = json!({
        "hashrate": 1e15, "connections": 5, "workers": 4, "accounts": 3, "has_job": true,
        "behind": 2, "version": "9", "more": [],
    });
    // It counts as seen for the whole test.
    let soon_ms = (now_s() + 3_600) * 1_000;
    let there = told(&ledger, "<b>there</b>", soon_ms, &report);
    told(&ledger, "nonsense", soon_ms - 3_660_000, &json!("nonsense"));
    told(&ledger, "long gone", 0, &json!({}));
    mined(&ledger, there, "alice", "far");
    ledger.credit_of(there, 5, "alice", 1.0, 3);
    let hash = ledger.block(4, "confirmed");
    ledger.execute(
        "UPDATE blocks SET origin = ?1 WHERE hash = ?2",
        &values![there, &hash],
    );
    let (running, browser) = serve(&ledger);
    running.move_on(Chain::hard().empty_at(1));
    let mut miner = running.mine_as("alice.near");
    miner.mine(Want::Share);

    wait_until("both servers are seen", || {
        browser.json("/api/v1/pool")["servers"] == 2 && is_listed(&browser, "nonsense")
    });
    let servers = browser.json("/api/v1/servers")["servers"].clone();
    let servers = servers.as_array().expect("rows");
    let named = |name: &str| servers.iter().find(|server| server["name"] == name);
    let other = named("<b>there</b>").expect("it is there");
    assert_eq!(
        (&other["name"], &other["is_alive"], &other["is_this"]),
        (&json!("<b>there</b>"), &json!(true), &json!(false))
    );
    assert_eq!((&other["behind"], &other["tip"]), (&json!(2), &json!(8)));
    let silent = named("nonsense").expect("it was seen today");
    assert_eq!(
        (&silent["is_alive"], &silent["hashrate"]),
        (&json!(false), &json!(0.0))
    );
    assert!(named("long gone").is_none());
    wait_until("each worker counts once, as in the list", || {
        let pool = browser.json("/api/v1/pool");
        pool["workers"] == 2 && pool["accounts"] == 1 && pool["connections"] == 6
    });
    assert!(browser.json("/api/v1/pool")["hashrate"].as_f64() >= Some(1e15));

    wait_until("both workers are online", || {
        let online = browser.json("/api/v1/workers?online=true&sort=name&order=asc");
        let servers = |row: usize| online["workers"][row]["servers"].clone();
        servers(0) == json!(["<b>there</b>"]) && servers(1) == json!(["here"])
    });
    let far = browser.json("/api/v1/workers?search=far")["workers"][0].clone();
    assert!(far["hashrate"].as_f64() > Some(0.0), "{far}");
    assert_eq!(
        (&far["connections"], &far["shares"]["stale"]),
        (&json!(0), &json!(1))
    );
    let block = browser.json("/api/v1/blocks")["blocks"][0].clone();
    assert_eq!(block["server"], "<b>there</b>");
    for path in [
        "/api/v1/round",
        "/api/v1/records",
        "/api/v1/payouts",
        "/api/v1/payouts?account=alice",
        "/api/v1/accounts",
        "/api/v1/accounts/alice",
        "/api/v1/pool/history?range=year",
        "/api/v1/accounts/alice/history?range=week&worker=far",
        "/api/v1/blocks?state=confirmed&account=alice",
    ] {
        browser.json(path);
    }
    // Shares mined here are shipped after a while.
    let work = &browser.json("/api/v1/round")["accounts"][0]["work"];
    assert!((3.0..3.1).contains(&work.as_f64().expect("work")), "{work}");
    let history = browser.json("/api/v1/accounts/alice/history");
    let accepted = &history["points"][0]["accepted"];
    assert!(*accepted == 8 || *accepted == 9, "{accepted}");
}

/// Statistics that a server ships hours late are in every chart and every sum.
#[test]
fn late_statistics_are_in_the_pools_chart_as_in_an_accounts() {
    let ledger = Ledger::in_postgres();
    let then = (now_s() - 5 * 3_600) / 3_600 * 3_600;
    mined(&ledger, 77, "alice", "rig");
    ledger.execute(
        "UPDATE statistics SET start = ?1, accepted = 1000, accepted_work = 1000.0",
        &values![then],
    );
    let (running, browser) = serve(&ledger);
    running.move_on(Chain::hard().empty_at(1));
    let shown = || {
        let of = |path| {
            let history: Value = browser.json(path);
            let points = history["points"].as_array().expect("points").clone();
            let point = points.iter().find(|point| point["time"] == then);
            point.map_or(0, |point| point["accepted"].as_i64().expect("a count"))
        };
        let day = browser.json("/api/v1/workers?search=rig");
        (
            of("/api/v1/pool/history"),
            of("/api/v1/accounts/alice/history"),
            day["workers"][0]["hashrate_24h"].as_f64().unwrap_or(0.0),
        )
    };
    wait_until("what came in time is shown", || {
        let (pool, account, day) = shown();
        (pool, account) == (1000, 1000) && day > 0.0
    });
    let (_, _, before) = shown();

    let root = crate::shipping::directory();
    let url = ledger.argument();
    let late = crate::shipping::serve(&root, &url, "late");
    crate::shipping::mine(&mut late.mine_as("alice.rig"), 1);
    drop(late);
    crate::shipping::open(root.path())
        .execute(
            "INSERT INTO pending_statistics
             SELECT 600, ?1, max(id), 5000, 5000.0, 0, 0.0, 0, 0.0, 0, 0.0, ?1, ?1, 0, 0 FROM workers",
            [then],
        )
        .expect("written");
    let _late = crate::shipping::serve(&root, &url, "late");
    wait_until("what came late is shown everywhere", || {
        let (pool, account, day) = shown();
        (pool, account) == (6000, 6000) && day > 5.0 * before
    });
}

/// A lock in the database blocks shipping without any error: that is noticed within seconds, whichever table
/// it is on.
#[test]
fn lock_in_the_database_is_shown_as_a_ledger_that_is_away() {
    for table in ["credit", "origins"] {
        let ledger = Ledger::in_postgres();
        let (running, browser) = serve(&ledger);
        running.move_on(Chain::hard().empty_at(1));
        let metric = |name: &str| -> f64 {
            let page = browser.get("/metrics").body;
            let line = page.lines().find(|line| {
                let rest = line.strip_prefix(name);
                rest.is_some_and(|rest| rest.starts_with(' '))
            });
            let value = line.and_then(|line| line.rsplit(' ').next());
            value.expect("the metric").parse().expect("a number")
        };
        wait_until("it is up", || metric("hstratum_shared_up") == 1.0);
        let LedgerLocation::Shared(address) = ledger.place() else {
            panic!("it is in PostgreSQL");
        };
        let mut other = Connection::connect(&address).expect("connected");
        let client = other.client().expect("connected");
        client
            .batch_execute(&format!(
                "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
            ))
            .expect("locked");
        let begun = Instant::now();
        running.mine_as("alice").mine(Want::Share);
        wait_until("what waits is shown", || {
            metric("hstratum_shared_up") == 0.0
                && metric("hstratum_shared_behind_batches") >= 1.0
                && metric("hstratum_shared_behind_bytes") > 0.0
                && metric("hstratum_shared_lag_seconds") >= 5.0
        });
        assert!(begun.elapsed() < Duration::from_secs(12), "{table}");
        client.batch_execute("ROLLBACK").expect("unlocked");
        wait_until("it is shipped", || {
            metric("hstratum_shared_up") == 1.0 && metric("hstratum_shared_behind_batches") == 0.0
        });
    }
}

#[test]
fn live_parts_go_on_while_the_shared_ledger_is_away() {
    let mut ledger = Ledger::in_postgres_of_its_own();
    ledger.account("alice");
    let (running, browser) = serve(&ledger);
    running.move_on(Chain::hard().empty_at(1));
    wait_until("it is read", || {
        browser.json("/api/v1/pool")["shared_ledger_away"].is_null()
            && browser.get("/api/v1/accounts/alice").status == 200
    });
    ledger.stop();
    wait_until("it is away", || {
        browser.json("/api/v1/pool")["shared_ledger_away"].is_string()
    });
    let refused = browser.get("/api/v1/payouts");
    assert_eq!(refused.status, 503);
    assert!(
        refused.body.contains("the shared ledger is away"),
        "{}",
        refused.body
    );
    assert_eq!(browser.get("/healthz").status, 200);
    let mut events = browser.listen();
    for _ in 0..3 {
        wait_for_line(&mut events, "event: pool");
    }
    ledger.resume();
    wait_until("it is back", || {
        browser.json("/api/v1/pool")["shared_ledger_away"].is_null()
            && browser.get("/api/v1/payouts").status == 200
    });
}

/// Settings that servers of one pool should have in common are compared at each change.
#[test]
fn servers_that_differ_say_so() {
    let ledger = Ledger::in_postgres();
    let soon_ms = (now_s() + 3_600) * 1_000;
    let report = |terms: &Value| json!({"version": "9", "terms": terms});
    let terms = json!({"pays": "hs1qother", "auth": "users", "has_password": true,
        "has_proxy_secret": false, "difficulty_min": "1000"});
    let there = told(&ledger, "there", soon_ms, &report(&terms));
    // A server of an earlier version reports none of them.
    told(&ledger, "old", soon_ms, &json!({"version": "8"}));
    let (running, browser) = serve(&ledger);
    let differs = |what: &str| {
        let part = format!("servers of this pool differ: {what}: ");
        let (_, line) = running.node.wait_for_log(&part);
        line.strip_prefix(&part).expect("its beginning").to_owned()
    };
    assert_eq!(differs("auth"), "open here, users on \"there\"");
    assert_eq!(differs("password"), "not set here, set on \"there\"");
    let least = differs("difficulty-min");
    let (least, there_too) = least.split_once(" here, ").expect("both");
    assert_eq!(there_too, "1000 on \"there\"");
    // It has a payout address with its first job.
    running.move_on(Chain::hard().empty_at(1));
    let pays = differs("blocks pay");
    let (pays, there_too) = pays.split_once(" here, ").expect("both");
    assert_eq!(there_too, "hs1qother on \"there\"");
    let pool = || browser.json("/api/v1/pool");
    wait_until("the page has all four", || {
        let lines = pool()["differences"].clone();
        lines.as_array().is_some_and(|lines| lines.len() == 4)
    });
    assert_eq!(pool()["pays"], pays);

    let own = json!({"pays": pays, "auth": "open", "has_password": false,
        "has_proxy_secret": false, "difficulty_min": least});
    ledger.execute(
        "UPDATE origins SET report = ?1 WHERE id = ?2",
        &values![report(&own).to_string(), there],
    );
    running
        .node
        .wait_for_log("servers of this pool agree again");
    wait_until("the page has none", || pool()["differences"] == json!([]));
}
