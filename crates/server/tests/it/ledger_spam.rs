//! Effects that a client without hash power can have on the ledger and the log.

use std::time::Instant;

use rusqlite::Connection;
use serde_json::json;

use crate::harness::miner::Want;
use crate::harness::{Chain, EVERY_HASH, Miner, Running, start, wait_until};

fn count(running: &Running, sql: &str) -> i64 {
    let ledger = Connection::open(running.dir.join("ledger.db")).expect("opened");
    ledger
        .query_row(sql, [], |row| row.get(0))
        .expect("a number")
}

/// On a network where a block takes work, a client without hash power earns nothing, whatever it asks for.
#[test]
fn without_work_there_is_no_row() {
    let running = start(&[("difficulty-min", "1")]);
    running.server.template(Chain::hard().empty_at(0));
    let mut stranger = Miner::connect(running.server.address());
    stranger.log_in("mallory", "x,fd=5e-324");
    let work = stranger.wait_for_work();
    let begun = Instant::now();
    const SUBMITS: u64 = 900;
    for n in 0..SUBMITS {
        let nonce = format!("{n:08x}");
        let submit = json!([
            "mallory",
            work.job,
            "00000000",
            format!("{:08x}", work.time),
            nonce
        ]);
        stranger.send(n, "mining.submit", &submit);
        let reply = stranger.reply();
        assert_eq!(reply["error"][1], "high-hash", "{reply}");
    }
    println!("{SUBMITS} submits refused in {:?}", begun.elapsed());
    assert_eq!(count(&running, "SELECT count(*) FROM credit"), 0);
    assert_eq!(count(&running, "SELECT count(*) FROM accounts"), 0);
}

/// Each connection asks for a difficulty of its own; the rows are those of the fixed grid.
#[test]
fn every_difficulty_makes_few_rows() {
    let running = start(&[("difficulty", EVERY_HASH)]);
    running.server.template(Chain::hard().empty_at(0));
    let begun = Instant::now();
    const CONNECTIONS: u32 = 400;
    for n in 0..CONNECTIONS {
        let wish = 1e-11 * (1.0 + f64::from(n) / f64::from(CONNECTIONS));
        let mut stranger = Miner::connect(running.server.address());
        stranger.log_in("mallory", &format!("x,fd={wish:e}"));
        stranger.wait_for_work();
        stranger.mine(Want::Share);
    }
    let rows = count(&running, "SELECT count(*) FROM credit");
    let shares = count(&running, "SELECT sum(count) FROM credit");
    println!("{shares} shares, {rows} rows, {:?}", begun.elapsed());
    assert_eq!(shares, i64::from(CONNECTIONS));
    assert!(rows <= 17, "{rows} rows of one doubling");
}

/// At the node's default level each login is a log line; a flood of them is limited.
#[test]
fn a_flood_of_logins_leaves_the_log_alone() {
    let running = start(&[]);
    running.server.template(Chain::hard().empty_at(0));
    let begun = Instant::now();
    let mut lines = 0;
    for n in 0..50 {
        let mut stranger = Miner::connect(running.server.address());
        let login = |m| {
            let name = format!("mallory{n}.{m}");
            format!(
                "{}\n",
                json!({"id": m, "method": "mining.authorize", "params": [name, "x"]})
            )
        };
        let flood: String = (0..1_000).map(login).collect();
        stranger.send_raw(flood.as_bytes());
        for _ in 0..1_000 {
            stranger.reply();
            lines += 1;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    wait_until("the count is told", || {
        let told = |line: &String| line.ends_with("more lines about connections left out");
        running.node.log_texts().iter().any(told)
    });
    let logged = running.node.log_texts().len();
    println!("{lines} logins in {seconds:.2} s, {logged} lines");
    assert!(
        (logged as f64) < 60.0 + 25.0 * begun.elapsed().as_secs_f64(),
        "{logged} lines"
    );
}
