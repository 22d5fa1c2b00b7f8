//! Refused logins are reported: in the log, in the metrics, in the API.

use serde_json::json;

use crate::browser::serve;
use crate::harness::{Chain, wait_until};

#[test]
fn a_refused_login_is_in_the_log_the_metrics_and_the_lists() {
    let token = "0123456789abcdef0123456789abcdef";
    let (running, browser) = serve(&[("auth", "users"), ("http-token", token)]);
    running.server.template(Chain::hard().empty_at(0));
    let mut miner = running.connect();
    for n in 0..5 {
        let params = json!([format!("bob.rig{n}"), "x"]);
        miner.send(n, "mining.authorize", &params);
        assert_eq!(miner.reply()["error"][1], "unauthorized user");
    }
    miner.send(99, "mining.authorize", &json!([7]));
    assert_eq!(miner.reply()["error"][1], "invalid params");
    let lines: Vec<String> = running.node.log_texts();
    let lines = lines.iter().filter(|line| line.contains("refused, from"));
    let lines: Vec<_> = lines.collect();
    assert_eq!(
        lines,
        [r#"login of "bob.rig0" refused, from 127.0.0.1: no such user"#],
        "one a minute, at once"
    );
    wait_until("they are counted", || {
        let metrics = browser.get("/metrics").body;
        let line = "hstratum_logins_refused_total{reason=\"unknown_user\"} 5";
        metrics.lines().any(|one| one == line)
    });
    let all = browser.json("/api/v1/refusals");
    assert_eq!((&all["logins"], &all["total"]), (&json!(6), &json!(1)));
    let one = &all["refusals"][0];
    assert_eq!(one["count"], 6);
    assert_eq!(one["reason"], "malformed");
    assert_eq!(one["reasons"], json!({"unknown_user": 5, "malformed": 1}));
    assert_eq!(one.get("address"), None, "it is the operator's");
    assert_eq!(browser.json("/api/v1/pool")["places"]["refused_logins"], 6);
    // The last name from there had no name.
    assert_eq!(browser.json("/api/v1/refusals?account=bob")["total"], 0);
    miner.send(100, "mining.authorize", &json!(["bob.rig7", "x"]));
    wait_until("it is told of that account", || {
        browser.json("/api/v1/refusals?account=bob")["total"] == 1
    });
    let own = browser.json("/api/v1/refusals?account=bob")["refusals"][0].clone();
    assert_eq!(
        (&own["account"], &own["name"]),
        (&json!("bob"), &json!("bob.rig7"))
    );
    assert_eq!(browser.json("/api/v1/refusals?account=bo")["total"], 0);
    let asked = browser.call("GET", "/api/v1/admin/refusals", Some(token), &json!(null));
    assert_eq!(asked.json()["refusals"][0]["address"], "127.0.0.1");
}

#[test]
fn a_refused_admin_is_a_refused_login() {
    for (options, reason) in [
        (&[("password", "secret")][..], "admin_password"),
        (&[], "no_admin"),
    ] {
        let (running, browser) = serve(options);
        let mut miner = running.connect();
        miner.send(1, "mining.authorize_admin", &json!(["x"]));
        assert_eq!(miner.reply()["error"][1], "invalid password");
        miner.send(2, "mining.authorize_admin", &json!([7]));
        assert_eq!(miner.reply()["error"][1], "invalid params");
        wait_until("they are counted", || {
            let metrics = browser.get("/metrics").body;
            let line = format!("hstratum_logins_refused_total{{reason=\"{reason}\"}} 1");
            metrics.lines().any(|one| one == line)
        });
        let all = browser.json("/api/v1/refusals");
        let one = &all["refusals"][0];
        assert_eq!(one["reasons"], json!({reason: 1, "malformed": 1}));
        let lines = running.node.log_texts();
        let line = r#"login of "admin" refused, from 127.0.0.1: "#;
        assert!(lines.iter().any(|one| one.starts_with(line)), "{lines:?}");
    }
}
