//! What accounts can expect and what they were credited, over HTTP, with a ledger of either kind.

use hstratum::ledger_tools::set_threshold;
use hstratum::payout::{AwaitedServers, PayoutTerms, Scheme, TermsHistory, put_terms, settle};
use hstratum::sql::{Db, Sql, Sqlite};
use hstratum::values;
use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::accounting::reward_split::FeePpm;
use hstratum_core::chain::address::Network;
use serde_json::{Value, json};

use crate::browser::{Browser, serve};
use crate::harness::miner::Want;
use crate::harness::{Chain, Running, wait_until};
use crate::ledgers::Ledger;

/// An account whose name a spreadsheet would take for a formula.
const ACCOUNT: &str = "/api/v1/accounts/%3Dcmd";

fn settle_all(db: &mut Db) -> usize {
    let awaited = AwaitedServers::of(db, &[]).expect("known");
    let terms = db.read(|sql| TermsHistory::read(sql)).expect("read");
    let terms = terms.expect("they are there");
    let settled = settle(db, Network::Regtest, &terms, &awaited, 1_700_000_000);
    settled.expect("settled").len()
}

fn credit(browser: &Browser) -> Value {
    let credits = browser.json(&format!("{ACCOUNT}/credits"));
    assert_eq!(credits["total"], 1, "{credits}");
    credits["credits"][0].clone()
}

/// Runs through the states of a credit on a server with the option `scheme: prop`.
fn money_is_shown(running: &Running, browser: &Browser, db: &mut Db) {
    let (hash, reward) = pending_is_shown(running, browser, db);
    settled_is_shown(running, browser, db, &reward);
    paid_is_shown(browser, db, &reward);
    table_is_given(browser, &hash, &reward);
}

/// Mines a block; returns its hash and reward.
fn pending_is_shown(running: &Running, browser: &Browser, db: &mut Db) -> (String, Value) {
    let terms = PayoutTerms {
        scheme: Scheme::Prop,
        fee: FeePpm::default(),
        threshold: 10_000_000,
        threshold_min: 1_000_000,
    };
    db.write(|sql: &mut dyn Sql| put_terms(sql, &terms, 1, "test"))
        .expect("written");
    let pool = browser.json("/api/v1/pool");
    assert_eq!(
        (&pool["owed"], &pool["last_payment_at"]),
        (&json!(0), &Value::Null)
    );
    assert!(pool["terms"]["fee"].is_number(), "{pool}");
    assert_eq!(browser.get(&format!("{ACCOUNT}/credits")).status, 404);

    running.node.answer_with(Verdict::Accepted);
    running.move_on(Chain::easy().empty_at(1));
    let hash = running.mine_as("=cmd.rig").mine(Want::Block).to_string();
    wait_until("the block is pending", || {
        browser.get(ACCOUNT).status == 200 && browser.json(ACCOUNT)["pending"].as_u64() > Some(0)
    });
    let account = browser.json(ACCOUNT);
    wait_until("the block is listed", || {
        browser.json("/api/v1/blocks")["blocks"][0]["reward"].is_u64()
    });
    let reward = browser.json("/api/v1/blocks")["blocks"][0]["reward"].clone();
    assert_eq!(account["pending"], reward, "nobody else has worked");
    assert_eq!(account["balance"], 0);
    // Each answer has an age of its own.
    wait_until("the pool owes it", || {
        browser.json("/api/v1/pool")["owed"] == reward
    });
    wait_until("the credit is pending", || {
        browser.json(&format!("{ACCOUNT}/credits"))["total"] == 1
            && credit(browser)["state"] == "pending"
    });
    let pending = credit(browser);
    assert_eq!(pending["amount"], reward);
    assert_eq!(
        (&pending["block"], &pending["paid_at"]),
        (&json!(hash), &Value::Null)
    );

    (hash, reward)
}

fn settled_is_shown(running: &Running, browser: &Browser, db: &mut Db, reward: &Value) {
    // Deep enough for its reward to be spent.
    running.move_on(Chain::hard().empty_at(4));
    running.mine_as("bob.rig").mine(Want::Share);
    wait_until("a block found now brings bob a part", || {
        let bob = browser.get("/api/v1/accounts/bob");
        bob.status == 200 && bob.json()["if_found_now"].as_u64() > Some(0)
    });
    let bob = browser.json("/api/v1/accounts/bob");
    assert!(bob["per_day"].is_u64(), "{bob}");
    assert_eq!(bob["threshold"], 10_000_000, "the pool's");
    set_threshold(db, "bob", Some(2_500_000)).expect("set");
    wait_until("bob has one of his own", || {
        browser.json("/api/v1/accounts/bob")["threshold"] == 2_500_000
    });
    wait_until("it is settled", || settle_all(db) == 1);
    wait_until("nothing is pending", || {
        browser.json(ACCOUNT)["pending"] == 0
    });
    wait_until("the balance has it", || {
        browser.json(ACCOUNT)["balance"] == *reward
    });
    wait_until("the credit is owed", || credit(browser)["state"] == "owed");
    assert_eq!(credit(browser)["settled_at"], 1_700_000_000);
}

fn paid_is_shown(browser: &Browser, db: &mut Db, reward: &Value) {
    pay(db, "sent", reward);
    wait_until("it is on its way", || credit(browser)["state"] == "paying");
    pay(db, "confirmed", reward);
    wait_until("it is paid", || credit(browser)["state"] == "paid");
    assert_eq!(credit(browser)["paid_at"], 1_700_000_001);
    wait_until("the pool owes nothing", || {
        let pool = browser.json("/api/v1/pool");
        pool["owed"] == 0 && pool["last_payment_at"] == 1_700_000_001
    });
}

fn table_is_given(browser: &Browser, hash: &str, reward: &Value) {
    let table = browser.get(&format!("{ACCOUNT}/credits?format=csv"));
    assert_eq!(
        table.header("content-type"),
        Some("text/csv; charset=utf-8")
    );
    let rows: Vec<&str> = table.body.split("\r\n").collect();
    let units = reward.as_u64().expect("an amount");
    let amount = format!("{}.{:06}", units / 1_000_000, units % 1_000_000);
    assert!(
        rows[1].starts_with(&format!("'=cmd,100001,{hash},")),
        "{rows:?}"
    );
    assert!(
        rows[1].ends_with(&format!(",paid,{amount},1700000000,1700000001,'=tx")),
        "{rows:?}"
    );
    assert_eq!(rows[2..], [""]);
    let page = browser.json(&format!("{ACCOUNT}/credits?offset=1"));
    assert_eq!((&page["total"], &page["credits"]), (&json!(1), &json!([])));
    let wrong = browser.get(&format!("{ACCOUNT}/credits?format=xml"));
    assert_eq!(wrong.status, 400, "{}", wrong.body);
}

/// Pays the account all that it was credited.
fn pay(db: &mut Db, state: &str, reward: &Value) {
    let amount = reward.as_u64().expect("an amount");
    db.write(|sql: &mut dyn Sql| {
        sql.execute("DELETE FROM payment_outputs", &[])?;
        sql.execute("DELETE FROM payments", &[])?;
        sql.execute(
            "INSERT INTO payments VALUES (1, 'w', ?1, '=tx', 'raw', 1, 1700000001, 1700000002, NULL)",
            &values![state],
        )?;
        sql.execute(
            "INSERT INTO payment_outputs
             SELECT 1, id, 'rs1q', ?1 FROM accounts WHERE name = '=cmd'",
            &values![amount],
        )
    })
    .expect("written");
}

#[test]
fn money_is_shown_of_a_file() {
    let (running, browser) = serve(&[("scheme", "prop")]);
    let file = Sqlite::open_beside(&running.dir.join("ledger.db")).expect("opened");
    money_is_shown(&running, &browser, &mut Db::Sqlite(file));
}

#[test]
fn money_is_shown_of_a_shared_ledger() {
    let ledger = Ledger::in_postgres();
    let url = ledger.argument();
    let (running, browser) = serve(&[("database", url.as_str()), ("scheme", "prop")]);
    money_is_shown(&running, &browser, &mut ledger.open());
}
