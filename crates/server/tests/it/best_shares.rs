//! The best share of each worker and account, over restarts and servers.

use std::sync::Arc;

use hstratum_core::units::{Hash, Target};
use serde_json::Value;
use tempfile::TempDir;

use crate::browser::{Browser, free_port};
use crate::harness::miner::Want;
use crate::harness::{Chain, EVERY_HASH, Running, start_in, wait_until};
use crate::postgres::Server;

/// A server on this directory, perhaps with the shared ledger.
fn serve(root: &Arc<TempDir>, database: Option<&str>) -> (Running, Browser) {
    let port = free_port();
    let text = port.to_string();
    let mut options = vec![("http-port", text.as_str()), ("difficulty", EVERY_HASH)];
    if let Some(database) = database {
        options.extend([("database", database), ("server-id", "one")]);
    }
    let running = start_in(root.clone(), &options);
    running.move_on(Chain::hard().empty_at(1));
    (running, Browser::new(port))
}

/// Shares of a new connection; the difficulty that the best of them meets.
fn mine(running: &Running, name: &str, shares: usize) -> f64 {
    let mut miner = running.mine_as(name);
    let hashes = (0..shares).map(|_| miner.mine(Want::Share));
    let Hash(best) = hashes.min().expect("a share");
    Target(best).difficulty().get()
}

/// Waits until the pages show these of `alice.one` and `alice.two`, and returns when the better one was found.
fn wait_for(browser: &Browser, one: f64, two: f64) -> i64 {
    let workers = || {
        let found = browser.json("/api/v1/workers?account=alice&sort=best_share");
        let rows = found["workers"].as_array().expect("rows").clone();
        rows.into_iter()
            .map(|row| (row["worker"].clone(), row["best_share"].as_f64()))
            .collect::<Vec<_>>()
    };
    let mut expected = vec![
        (Value::from("one"), Some(one)),
        (Value::from("two"), Some(two)),
    ];
    expected.sort_by(|a, b| b.1.partial_cmp(&a.1).expect("numbers"));
    wait_until("each worker's is shown", || workers() == expected);
    let best = one.max(two);
    let at = || {
        let account = browser.json("/api/v1/accounts/alice");
        assert_eq!(account["best_share"], best);
        account["best_share_at"].as_i64()
    };
    wait_until("it is in the ledger", || at().is_some());
    let record = || browser.json("/api/v1/records")["best_share"].clone();
    wait_until("it is the pool's record", || record()["difficulty"] == best);
    let record = record();
    let holder = if one > two { "one" } else { "two" };
    assert_eq!(
        (&record["account"], &record["worker"]),
        (&"alice".into(), &holder.into())
    );
    assert_eq!(record["at"].as_i64(), at());
    at().expect("it is in the ledger")
}

#[test]
fn best_share_outlives_connections_restarts_and_the_move_to_a_shared_ledger() {
    let root = Arc::new(tempfile::tempdir().expect("a directory"));
    let (running, browser) = serve(&root, None);
    assert_eq!(browser.json("/api/v1/records")["best_share"], Value::Null);
    let one = mine(&running, "alice.one", 40);
    let two = mine(&running, "alice.two", 2);
    let at = wait_for(&browser, one, two);
    drop(running);

    // A worse one changes nothing.
    let (running, browser) = serve(&root, None);
    let later = mine(&running, "alice.two", 1);
    assert_eq!(wait_for(&browser, one, two.max(later)), at);
    drop(running);

    let database = Server::start();
    let (running, browser) = serve(&root, Some(&database.url()));
    let two = two.max(later).max(mine(&running, "alice.two", 1));
    wait_for(&browser, one, two);
}

/// A worker that changes servers has one best share, the best of both.
#[test]
fn best_share_is_the_best_of_all_servers() {
    let database = Server::start();
    let roots = [(); 2].map(|()| Arc::new(tempfile::tempdir().expect("a directory")));
    let mut best = [0.0_f64; 2];
    for root in &roots {
        let (running, browser) = serve(root, Some(&database.url()));
        best[0] = best[0].max(mine(&running, "alice.one", 20));
        best[1] = best[1].max(mine(&running, "alice.two", 20));
        wait_for(&browser, best[0], best[1]);
    }
    let rows = "SELECT count(*) FROM best_shares";
    assert_eq!(database.sql(rows), "4", "each server has its own");
}
