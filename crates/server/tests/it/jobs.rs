//! Jobs by their ids over HTTP: those of one connection and those of all, of the operator and of solo listeners;
//! and `hstratum verify`, which checks them.

use std::thread;
use std::time::Duration;

use hstratum::verify::{JobReport, PayeeAddress, Setup};
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::coinbase::Payout;
use serde_json::{Value, json};

use crate::browser::{Browser, serve};
use crate::harness::miner::Want;
use crate::harness::{Chain, Running, wait_until};

/// Templates that are kept.
const KEPT: usize = hstratum_core::limits::TEMPLATES_MAX;

fn payee(number: u8) -> String {
    let address = Address::new(0, vec![number; 20]).expect("an address");
    address.encode(Network::Regtest)
}

fn path(id: &str) -> String {
    format!("/api/v1/jobs/{id}")
}

fn setup(running: &Running, browser: &Browser, listener: usize, user: &str) -> Setup {
    let server = running.server.addresses()[listener];
    Setup {
        server: format!("stratum+tcp://{server}").parse().expect("a URL"),
        api: format!("http://127.0.0.1:{}", browser.port)
            .parse()
            .expect("a URL"),
        user: user.to_owned(),
        password: "x".to_owned(),
        payee: None,
        address: None,
    }
}

/// The first job's report.
fn verify(setup: Setup) -> anyhow::Result<JobReport> {
    let mut reports = hstratum::verify::verify(setup, Duration::ZERO).expect("started");
    let first = reports.next().expect("a report");
    assert!(reports.next().is_none());
    first
}

fn faults(report: &JobReport) -> Vec<String> {
    report.faults.iter().map(ToString::to_string).collect()
}

#[test]
fn jobs_of_one_connection_and_of_all_are_shown_while_their_templates_are_kept() {
    let (running, browser) = serve(&[]);
    assert_eq!(browser.get(&path("1")).status, 404);
    let mut chain = Chain::easy();
    running.move_on(chain.empty_at(0));
    let mut miner = running.mine_as("alice");
    let own = miner.wait_for_work();
    let shown = browser.json(&path(&own.job));
    assert_eq!(shown["id"], own.job.as_str());
    assert_eq!(shown["height"], crate::harness::template::FIRST_HEIGHT);
    assert_eq!(shown["payout"], "operator");
    assert_eq!(shown["outputs"].as_array().map(Vec::len), Some(1));
    assert_eq!(shown["outputs"][0].get("account"), None);
    assert_eq!(shown["merkle_branch"], json!([]));

    // One of another connection differs by its witness nonce alone.
    let other = browser.json(&path(&running.mine_as("bob").wait_for_work().job));
    assert_ne!(other["id"], shown["id"]);
    assert_ne!(other["coinbase"], shown["coinbase"]);
    assert_eq!(other["outputs"], shown["outputs"]);

    // A job that nobody has, and ids that are none.
    let (head, last) = own.job.split_at(own.job.len() - 1);
    let last = u32::from_str_radix(last, 16).expect("a digit");
    for id in [
        format!("{head}{:x}", last + 9),
        format!("{head}0{last}"),
        own.job.to_uppercase() + "z",
        "nothing".to_owned(),
        "0".repeat(300),
    ] {
        let answer = browser.get(&path(&id));
        assert_eq!(
            (answer.status, &*answer.json()["error"].to_string()),
            (404, "\"no such job, or it is too old\""),
            "{id}"
        );
    }

    // With the next templates the job of all is another; the old ones are still shown.
    for above in 1..KEPT {
        running.move_on(chain.empty_at(u32::try_from(above).expect("few")));
    }
    let height = u32::try_from(KEPT).expect("few") + crate::harness::template::FIRST_HEIGHT - 1;
    let newest = || browser.json("/api/v1/pool")["height"].clone();
    wait_until("the last template is there", || newest() == height);
    assert_eq!(browser.json(&path(&own.job)), shown);
    let job = running.mine_as("carol").wait_for_work().job.clone();
    assert_eq!(browser.json(&path(&job))["height"], height);
    // One more, and the first is too old.
    running.move_on(chain.empty_at(u32::try_from(KEPT).expect("few")));
    wait_until("the template is there", || newest() == height + 1);
    assert_eq!(browser.get(&path(&own.job)).status, 404);
}

#[test]
fn payee_is_asked_for_where_a_job_depends_on_it() {
    let check = |browser: &Browser, path: &str, error: &str| {
        let answer = browser.get(path);
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (400, &error.into()),
            "{path}"
        );
    };
    let (running, browser) = serve(&[]);
    running.move_on(Chain::easy().empty_at(0));
    let id = running.mine_as("alice").wait_for_work().job.clone();
    let asked = format!("{}?payee={}", path(&id), payee(1));
    check(
        &browser,
        &asked,
        "payee: no listener of this server pays the finders of blocks",
    );
    assert_eq!(browser.get(&format!("{}?pay=1", path(&id))).status, 400);

    let (running, browser) = serve(&[("payout", "solo"), ("fee", "2.5")]);
    running.move_on(Chain::easy().empty_at(0));
    let id = running.mine_as(&payee(1)).wait_for_work().job.clone();
    let text =
        "payee: blocks pay their finder here, so a job is known by its id and the finder's address";
    check(&browser, &path(&id), text);
    let asked = format!("{}?payee=alice", path(&id));
    check(
        &browser,
        &asked,
        "payee: not a payable regtest address: \"alice\"",
    );
    let main = Address::new(0, vec![1; 20])
        .expect("an address")
        .encode(Network::Main);
    let asked = format!("{}?payee={main}", path(&id));
    let text = format!("payee: not a payable regtest address: {main:?} (it is one of main)");
    check(&browser, &asked, &text);

    let shown = browser.json(&format!("{}?payee={}", path(&id), payee(1)));
    assert_eq!(shown["payout"], "solo");
    assert_eq!(shown["outputs"][0]["address"], payee(1));
    let value = |at: usize| shown["outputs"][at]["value"].as_u64().expect("an amount");
    assert_eq!(value(1), (value(0) + value(1)) * 25 / 1000);
    assert_eq!(shown["outputs"][2], Value::Null);
}

#[test]
fn honest_servers_jobs_are_verified_on_both_kinds_of_listeners() {
    let (running, browser) = serve(&[("listen", "tcp://127.0.0.1:0?payout=solo"), ("fee", "1")]);
    let (parts, transactions) = Chain::easy().with_transactions();
    let id = parts.id;
    running.move_on(parts);
    running.server.transactions(id, transactions);
    running.mine_as("alice").mine(Want::Share);

    let pool = verify(setup(&running, &browser, 0, "alice")).expect("checked");
    assert_eq!(faults(&pool), Vec::<String>::new());
    assert!(pool.payout == Some(Payout::Operator) && pool.own_part() == 0);
    let operator = PayeeAddress::parse(&pool.outputs[0].address);
    let mut as_operator = setup(&running, &browser, 0, "alice");
    as_operator.address = operator;
    let pool = verify(as_operator).expect("checked");
    assert_eq!(pool.own_part(), pool.outputs[0].value);

    // An address as name: on the operator's listener its job is the operator's all the same.
    let pool = verify(setup(&running, &browser, 0, &payee(1))).expect("checked");
    assert_eq!((pool.faults.len(), pool.own_part()), (0, 0));
    let solo = verify(setup(&running, &browser, 1, &format!("{}.rig", payee(1)))).expect("checked");
    assert_eq!(faults(&solo), Vec::<String>::new());
    assert_eq!(
        (solo.outputs.len(), &solo.outputs[0].address),
        (2, &payee(1))
    );
    assert_eq!(solo.own_part(), solo.outputs[0].value);
    assert_eq!(solo.payout, Some(Payout::Solo));

    // Somebody else's solo job is not this one.
    let mut other = setup(&running, &browser, 1, &payee(1));
    other.payee = PayeeAddress::parse(&payee(2));
    let other = verify(other).expect("checked");
    assert!(
        faults(&other)[0].starts_with("merkle root: "),
        "{:?}",
        faults(&other)
    );
}

#[test]
fn later_jobs_of_the_connection_are_checked_as_well() {
    let (running, browser) = serve(&[]);
    let mut chain = Chain::easy();
    running.move_on(chain.empty_at(0));
    running.mine_as("alice").mine(Want::Share);
    let watch = Duration::from_secs(60);
    let setup = setup(&running, &browser, 0, "alice");
    let mut reports = hstratum::verify::verify(setup, watch).expect("started");
    let first = reports.next().expect("one").expect("checked");
    for above in 1..4 {
        running.move_on(chain.empty_at(above));
        let next = reports.next().expect("another").expect("checked");
        assert_eq!(faults(&next), Vec::<String>::new());
        assert_eq!(next.height, first.height.map(|height| height + above));
    }
}

#[test]
fn job_is_taken_over_tls_as_well() {
    let data = |name: &str| format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let (cert, key) = (data("first.crt"), data("first.key"));
    let listen = ("listen", "tls://127.0.0.1:0");
    let (running, browser) = serve(&[listen, ("tls-cert", &cert), ("tls-key", &key)]);
    running.move_on(Chain::easy().empty_at(0));
    let with_tls = |listener: usize| {
        let server = running.server.addresses()[listener];
        let mut setup = setup(&running, &browser, listener, "alice");
        setup.server = format!("stratum+tls://{server}").parse().expect("a URL");
        setup
    };
    let report = verify(with_tls(1)).expect("checked");
    assert_eq!((report.faults.len(), report.outputs.len()), (0, 1));
    let error = format!("{:#}", verify(with_tls(0)).expect_err("no TLS"));
    assert!(
        error.starts_with("failed to speak TLS with 127.0.0.1:"),
        "{error}"
    );
    let plain = setup(&running, &browser, 1, "alice");
    let error = format!("{:#}", verify(plain).expect_err("TLS"));
    assert!(error.ends_with(" speaks TLS"), "{error}");
}

#[test]
fn what_cannot_be_checked_is_an_error() {
    let (running, browser) = serve(&[("payout", "solo")]);
    running.move_on(Chain::easy().empty_at(0));
    let said = |setup: Setup| format!("{:#}", verify(setup).expect_err("not checked"));
    wait_until("the payout addresses are read", || {
        thread::sleep(Duration::from_millis(20));
        let text = said(setup(&running, &browser, 0, "alice"));
        assert!(text.contains("failed to authorize: 24 "), "{text}");
        text.contains("no address to be paid at")
    });
    let mut nowhere = setup(&running, &browser, 0, &payee(1));
    nowhere.api = "http://127.0.0.1:1".parse().expect("a URL");
    let text = said(nowhere);
    assert!(
        text.starts_with("failed to get http://127.0.0.1:1/api/v1/jobs/"),
        "{text}"
    );
    // Another server knows no such job.
    let (_other, elsewhere) = serve(&[("payout", "solo")]);
    let report = verify(setup(&running, &elsewhere, 0, &payee(1))).expect("checked");
    let text = "the API does not know the job: \"no such job, or it is too old\"";
    assert_eq!(faults(&report), [text]);
}
