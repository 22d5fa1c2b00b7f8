//! Servers that ship to a database of a test's own, and checks of its content.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::harness::miner::Want;
use crate::harness::{Chain, EVERY_HASH, Miner, Running, start_in, wait_until};
use crate::postgres::Server;

/// A server named `label` on the database, in a directory that may hold an earlier one's files.
pub(crate) fn serve(root: &Arc<TempDir>, database: &str, label: &str) -> Running {
    let options = [
        ("difficulty", EVERY_HASH),
        ("database", database),
        ("server-id", label),
    ];
    let running = start_in(root.clone(), &options);
    running.server.template(Chain::hard().empty_at(0));
    running
}

pub(crate) fn directory() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().expect("a directory"))
}

pub(crate) fn mine(miner: &mut Miner, shares: u64) {
    for _ in 0..shares {
        miner.mine(Want::Share);
    }
}

pub(crate) fn count(database: &Server) -> u64 {
    let text = database.sql("SELECT coalesce(sum(count), 0) FROM credit");
    text.parse().expect("a number")
}

pub(crate) fn wait_for_count(database: &Server, shares: u64) {
    wait_until(&format!("{shares} shares in the shared ledger"), || {
        count(database) >= shares
    });
    assert_eq!(count(database), shares);
}

/// Waits for statistics, which follow shares by some seconds.
pub(crate) fn wait_for_statistics(database: &Server, shares: u64) {
    let accepted = "SELECT coalesce(sum(accepted), 0) FROM statistics";
    let count = || -> u64 { database.sql(accepted).parse().expect("a number") };
    wait_until("statistics are there", || count() >= shares);
    assert_eq!(count(), shares);
}

/// Copies the ledger's file as a crash at this moment would leave it.
pub(crate) fn copy_file(running: &Running) -> Arc<TempDir> {
    let root = directory();
    let dir = root.path().join("stratum");
    fs::create_dir(&dir).expect("made");
    // Users and bans, needed for a start without the database.
    let names = ["shared/users.json", "shared/bans.json"];
    fs::create_dir(dir.join("shared")).expect("made");
    for name in ["ledger.db", "ledger.db-wal"].iter().chain(&names) {
        let from = running.dir.join(name);
        if from.exists() {
            fs::copy(from, dir.join(name)).expect("copied");
        }
    }
    root
}

pub(crate) fn open(root: &Path) -> Connection {
    Connection::open(root.join("stratum/ledger.db")).expect("opened")
}

/// A copy of the file with pending shares; counts the shares that it took to get one.
pub(crate) fn copy_with_pending(
    running: &Running,
    miner: &mut Miner,
    mined: &mut u64,
) -> Arc<TempDir> {
    loop {
        mine(miner, 1);
        *mined += 1;
        let root = copy_file(running);
        let pending: i64 = open(root.path())
            .query_row("SELECT count(*) FROM pending_credit", [], |row| row.get(0))
            .expect("read");
        if pending > 0 {
            return root;
        }
    }
}
