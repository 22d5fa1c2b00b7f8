//! Files and databases restored from copies: the shares of either are counted once.

use std::path::Path;

use crate::harness::{Chain, wait_until};
use crate::postgres::Server;
use crate::shipping::{
    copy_file, copy_with_pending, count, directory, mine, open, serve, wait_for_count,
    wait_for_statistics,
};

#[test]
fn file_from_a_backup_brings_only_what_is_new() {
    restore_a_file(|_, _| {});
}

#[test]
fn file_from_a_backup_of_long_ago_brings_only_what_is_new() {
    restore_a_file(|backup, database| {
        database.sql("DELETE FROM batches");
        open(backup)
            .execute_batch("UPDATE outbox SET sealed_at = sealed_at - 40 * 86400")
            .expect("older");
    });
}

/// Restores a file that is older than what was shipped from it; `meanwhile` runs in between.
fn restore_a_file(meanwhile: impl FnOnce(&Path, &Server)) {
    let mut database = Server::start();
    let running = serve(&directory(), &database.url(), "one");
    let mut miner = running.mine_as("alice");
    // The run that gathered the batch before identifies the one that gathered what is pending.
    mine(&mut miner, 1);
    wait_for_count(&database, 1);
    let mut mined = 1;
    let backup = copy_with_pending(&running, &mut miner, &mut mined);
    mine(&mut miner, 5);
    mined += 5;
    wait_for_count(&database, mined);
    drop(running);
    meanwhile(backup.path(), &database);

    // The database is away while the older file gathers, so that it cannot notice yet.
    database.kill();
    let running = serve(&backup, &database.url(), "one");
    let mut miner = running.mine_as("alice");
    mine(&mut miner, 3);
    mined += 3;
    database.resume();
    running.node.wait_for_log("is an older copy of a file");
    wait_for_count(&database, mined);
    mine(&mut miner, 2);
    mined += 2;
    wait_for_count(&database, mined);
    assert_eq!(
        database.sql("SELECT count(*) FROM origins WHERE label = 'one'"),
        "2"
    );
    wait_for_statistics(&database, mined);
    drop(running);
    let running = serve(&backup, &database.url(), "one");
    mine(&mut running.mine_as("alice"), 1);
    wait_for_count(&database, mined + 1);
}

/// The copy lacks the batches that were shipped after it was made, and has none from before.
#[test]
fn file_from_a_backup_before_its_first_batch_brings_what_was_pending_once() {
    let database = Server::start();
    let url = database.url();
    let running = serve(&directory(), &url, "one");
    let mut miner = running.mine_as("alice");
    mine(&mut miner, 1);
    wait_for_count(&database, 1);
    let backup = copy_file(&running);
    // Like a copy made within the first second.
    open(backup.path())
        .execute_batch(
            "DELETE FROM outbox_bodies; DELETE FROM outbox; DELETE FROM pending_credit;
             DELETE FROM pending_statistics;
             UPDATE outbox_origins SET sequence = 0, digest = zeroblob(32), shipped = 0;
             INSERT OR IGNORE INTO accounts (id, name) VALUES (1, 'alice');
             INSERT OR IGNORE INTO heights SELECT 100000, 1.0;
             INSERT INTO pending_credit SELECT 100000, 1, 1e-11, 1;",
        )
        .expect("changed");
    mine(&mut miner, 3);
    wait_for_count(&database, 4);
    drop(running);
    forget_batches(&database, &url);
    let running = serve(&backup, &url, "one");
    running.node.wait_for_log("is an older copy of a file");
    mine(&mut running.mine_as("bob"), 1);
    // It comes after all that was there before.
    let bob = "SELECT count(*) FROM credit JOIN accounts ON id = account WHERE name = 'bob'";
    wait_until("what is new is there", || database.sql(bob) == "1");
    assert_eq!(count(&database), 5);
}

#[test]
fn file_whose_old_batches_were_tidied_away_brings_what_was_pending_once() {
    restore_a_file(|backup, database| {
        let url = database.url();
        forget_batches(database, &url);
        open(backup)
            .execute_batch(
                "DELETE FROM outbox_bodies WHERE id IN (SELECT id FROM outbox WHERE shipped_at IS NOT NULL);
                 DELETE FROM outbox WHERE shipped_at IS NOT NULL",
            )
            .expect("tidied");
    });
}

/// Makes the shared ledger delete old records, as the coordinator does.
fn forget_batches(database: &Server, url: &str) {
    database.sql("UPDATE batches SET applied_at = applied_at - 40 * 86400");
    let judge = serve(&directory(), url, "judge");
    judge.move_on(Chain::hard().empty_at(1));
    wait_until("old batches are forgotten", || {
        let old = "SELECT count(*) FROM batches AS b WHERE sequence > (
                     SELECT min(sequence) FROM batches WHERE origin = b.origin AND life = b.life)";
        database.sql(old) == "0"
    });
}

#[test]
fn both_sides_from_backups_keep_what_either_has() {
    let mut database = Server::start();
    let running = serve(&directory(), &database.url(), "one");
    let mut miner = running.mine_as("alice");
    let mut mined = 3;
    mine(&mut miner, 3);
    wait_for_count(&database, 3);
    let early = database.save();
    mine(&mut miner, 3);
    mined += 3;
    let backup = copy_with_pending(&running, &mut miner, &mut mined);
    mine(&mut miner, 4);
    wait_for_count(&database, mined + 4);
    drop(running);

    // Only the file was restored: it begins a new origin, and what it ships is new.
    let running = serve(&backup, &database.url(), "one");
    mine(&mut running.mine_as("alice"), 2);
    wait_for_count(&database, mined + 4 + 2);
    // Then the database is restored: the first file's shares are in the second up to its backup.
    database.restore(&early);
    wait_for_count(&database, mined + 2);
    assert_eq!(database.sql("SELECT count(*) FROM origins"), "2");
}
