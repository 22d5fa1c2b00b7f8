//! The operator's console over HTTP: conditions, alarms, log, findings and the plan of payouts.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use hstratum::payout::{AwaitedServers, TermsHistory, plan, settle};
use hstratum::server::Server;
use hstratum::sql::{Db, Sqlite};
use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::chain::address::Network;
use serde_json::{Value, json};

use crate::browser::{Browser, free_port, serve};
use crate::harness::miner::Want;
use crate::harness::{Chain, Running, TestNode, payee, settings, wait_until};
use crate::ledgers::Ledger;
use crate::miner_sign_in::{TOKEN, pool, sign_in};

const PATHS: [&str; 4] = ["alarms", "log", "doctor", "payout/plan"];

fn ask(browser: &Browser, path: &str) -> Value {
    let path = format!("/api/v1/admin/{path}");
    let answer = browser.call("GET", &path, Some(TOKEN), &json!(null));
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

fn condition(browser: &Browser, kind: &str) -> Option<Value> {
    let told = ask(browser, "alarms");
    let conditions = told["conditions"].as_array().expect("a list");
    conditions.iter().find(|one| one["kind"] == kind).cloned()
}

#[test]
fn a_miner_and_a_stranger_see_nothing_of_the_console() {
    let pool = pool(&[]);
    let alice = sign_in(&pool.browser, "alice", "alices password");
    for path in PATHS {
        let path = format!("/api/v1/admin/{path}");
        assert_eq!(alice.get(&path).status, 401, "{path}");
        assert_eq!(pool.browser.get(&path).status, 401, "{path}");
    }
}

#[test]
fn what_is_wrong_is_told_with_advice_until_it_ends() {
    let (running, browser) = serve(&[("http-token", TOKEN)]);
    running.node.answer_with(Verdict::Accepted);
    wait_until("there is no job", || {
        condition(&browser, "no_job").is_some()
    });
    running
        .server
        .node_overdue(Some("a template since 20 s".to_owned()));
    let overdue = condition(&browser, "node_overdue").expect("it holds");
    assert_eq!(overdue["severity"], "warning");
    assert_eq!(overdue["reason"], "a template since 20 s");
    assert!(
        overdue["advice"]
            .as_str()
            .expect("text")
            .contains("start the node again")
    );
    let told = ask(&browser, "alarms");
    assert_eq!(told["conditions"][0]["kind"], "no_job", "errors come first");

    wait_until("the alarm is raised", || {
        ask(&browser, "alarms")["alarms"][0]["kind"] == "node_overdue"
    });
    running.server.node_overdue(None);
    running.move_on(Chain::hard().empty_at(1));
    wait_until("all is well", || {
        ask(&browser, "alarms")["conditions"] == json!([])
    });
    wait_until("the end is told", || {
        ask(&browser, "alarms")["alarms"][0]["kind"] == "node_back"
    });
    let last = &ask(&browser, "alarms")["alarms"][0];
    assert!(last["time"].as_u64() > Some(1_700_000_000), "{last}");

    let pause = browser.call("PUT", "/api/v1/admin/payout/pause", Some(TOKEN), &json!({}));
    assert_eq!(pause.status, 200);
    let plan = ask(&browser, "payout/plan");
    let refusal = plan["refusal"].as_str().expect("text");
    assert!(refusal.starts_with("payouts are paused by "), "{refusal}");
}

#[test]
fn the_last_lines_of_the_log_are_shown() {
    let (running, browser) = serve(&[("http-token", TOKEN)]);
    running.move_on(Chain::hard().empty_at(1));
    let lines = ask(&browser, "log?count=500")["lines"].clone();
    let lines = lines.as_array().expect("a list");
    let texts: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["text"].as_str())
        .collect();
    assert!(
        texts.iter().any(|text| text.starts_with("listening on ")),
        "{texts:?}"
    );
    for text in &texts {
        assert!(
            running
                .node
                .log_texts()
                .iter()
                .any(|logged| logged.starts_with(text)),
            "{text}"
        );
    }
    let last = ask(&browser, "log?count=1")["lines"].clone();
    assert_eq!(last.as_array().map(Vec::len), Some(1));
    assert_eq!(ask(&browser, "log?level=error")["lines"], json!([]));
    for asked in ["count=0", "count=501", "count=-1", "count=x", "level=debug"] {
        let path = format!("/api/v1/admin/log?{asked}");
        let answer = browser.call("GET", &path, Some(TOKEN), &json!(null));
        assert_eq!(answer.status, 400, "{asked}: {}", answer.body);
    }
}

#[test]
fn a_server_examines_itself_and_claims_nothing_of_its_ledgers_file() {
    let (running, browser) = serve(&[("http-token", TOKEN), ("auth", "open")]);
    running.move_on(Chain::hard().empty_at(1));
    let told = ask(&browser, "doctor");
    let findings = told["findings"].as_array().expect("a list");
    let find = |part: &str, text: &str| {
        findings.iter().find(|one| {
            one["part"] == part && one["text"].as_str().is_some_and(|told| told.contains(text))
        })
    };
    let port = running.server.address().port().to_string();
    assert!(find("configuration", &port).is_some(), "{told}");
    assert!(find("dashboard", "answers").is_some(), "{told}");
    assert!(
        find("miners", "Goldshell").is_some_and(|one| one["severity"] == "ok"),
        "{told}"
    );
    assert!(find("files", "ledger.db").is_none(), "{told}");
    // The test's node has no HTTP; that it does not run is not claimed.
    let node = find("node", "cannot be asked").expect("a warning");
    assert_eq!(node["severity"], "warning");
    assert!(!told.to_string().contains("no node runs"), "{told}");
    let age = |told: &Value| told["age_s"].as_f64().expect("a number");
    let again = ask(&browser, "doctor");
    assert!(age(&again) >= age(&told), "it is kept");
    assert_eq!(again["findings"], told["findings"]);
}

/// Number of locks that processes have on a file.
fn locks(path: &Path) -> usize {
    let inode = fs::metadata(path).expect("it is there").ino();
    let all = fs::read_to_string("/proc/locks").expect("Linux");
    let of_file = format!(":{inode} ");
    all.lines().filter(|line| line.contains(&of_file)).count()
}

#[test]
fn an_examination_leaves_the_locks_of_the_ledger_alone() {
    let (running, browser) = serve(&[("http-token", TOKEN), ("auth", "open")]);
    running.move_on(Chain::hard().empty_at(1));
    running.mine_as("alice.rig").mine(Want::Share);
    let ledger = running.dir.join("ledger.db");
    assert!(
        locks(&ledger) > 0,
        "SQLite holds one on a ledger that is open"
    );
    ask(&browser, "doctor");
    assert!(
        locks(&ledger) > 0,
        "another process could remove the ledger's log now"
    );
}

/// A block waits, is due, and what is due is told to whom.
fn plan_is_shown(running: &Running, browser: &Browser, db: &mut Db) {
    running.node.answer_with(Verdict::Accepted);
    running.move_on(Chain::easy().empty_at(1));
    let owner = payee(7);
    let hash = running
        .mine_as(&format!("{owner}.rig"))
        .mine(Want::Block)
        .to_string();
    running.mine_as("nobody.rig").mine(Want::Share);
    let plan_now = || ask(browser, "payout/plan");
    wait_until("the block waits", || {
        plan_now()["held"][0]["hash"] == json!(hash)
    });
    let held = plan_now()["held"][0].clone();
    assert!(held["height"].is_u64() && held["reward"].is_u64(), "{held}");
    assert!(held["text"].is_string(), "{held}");

    // Deep enough for its reward to be spent.
    running.move_on(Chain::hard().empty_at(4));
    running.mine_as("bob.rig").mine(Want::Share);
    wait_until("the block is divided next", || {
        plan_now()["blocks"][0]["hash"] == json!(hash)
    });
    let told = plan_now();
    let awaited = AwaitedServers::of(db, &[]).expect("known");
    let terms = db
        .read(|sql| TermsHistory::read(sql))
        .expect("read")
        .expect("some");
    let expected = plan(db, Network::Regtest, &terms, &awaited).expect("planned");
    assert_eq!(
        told["blocks"][0]["credited"],
        json!(expected.blocks[0].credited)
    );
    assert_eq!(told["payees"][0]["account"], json!(owner));
    assert_eq!(told["payees"][0]["address"], json!(owner));
    assert_eq!(told["payees"][0]["amount"], told["due"]);
    assert_eq!(
        (&told["due_accounts"], &told["held_total"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(told["waiting"][0]["reason"], "no_address", "{told}");
    assert_eq!(told["refusal"], Value::Null);
    assert_eq!(told["payout_state"], "off");

    settle(db, Network::Regtest, &terms, &awaited, 1_700_000_000).expect("settled");
    wait_until("it is in the balance", || {
        let now = plan_now();
        now["blocks"] == json!([]) && now["due"] == told["due"]
    });
}

#[test]
fn the_plan_of_payouts_is_shown() {
    let (running, browser) = serve(&[("http-token", TOKEN), ("auth", "open"), ("scheme", "prop")]);
    let path = running.dir.join("ledger.db");
    let mut db = Db::Sqlite(Sqlite::open_beside(&path).expect("opened"));
    plan_is_shown(&running, &browser, &mut db);
}

#[test]
fn the_plan_of_payouts_of_a_shared_ledger_is_shown() {
    let ledger = Ledger::in_postgres();
    let url = ledger.argument();
    let options = [
        ("http-token", TOKEN),
        ("auth", "open"),
        ("scheme", "prop"),
        ("database", url.as_str()),
    ];
    let (running, browser) = serve(&options);
    plan_is_shown(&running, &browser, &mut ledger.open());
    let servers = ask(&browser, "payout/plan")["servers"].clone();
    assert_eq!(servers[0]["is_awaited"], true, "{servers}");
}

#[test]
fn a_node_in_memory_plans_no_payouts() {
    let port = free_port();
    let text = port.to_string();
    let options = [("http-port", text.as_str()), ("http-token", TOKEN)];
    let settings = settings(&options, None);
    let node = Arc::new(TestNode::default());
    let server = Server::start(settings, node).expect("started");
    let browser = Browser::new(port);
    let plan = browser.call(
        "GET",
        "/api/v1/admin/payout/plan",
        Some(TOKEN),
        &json!(null),
    );
    assert_eq!(plan.status, 503, "{}", plan.body);
    assert_eq!(plan.json()["error"], "there is no ledger");
    assert!(ask(&browser, "doctor")["findings"].is_array());
    assert!(server.close().wait());
}
