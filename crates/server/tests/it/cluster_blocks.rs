//! Blocks of several servers in one ledger: rounds are closed once for all of them, one server decides the
//! states of blocks, and the finder writes the dump.

use std::sync::Arc;

use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::units::Hash;
use serde_json::{Value, json};

use crate::harness::miner::Want;
use crate::harness::template::FIRST_HEIGHT;
use crate::harness::{Chain, EVERY_HASH, Running, start_in, wait_until};
use crate::postgres::Server;

fn serve(database: &Server, label: &str) -> Running {
    let root = Arc::new(tempfile::tempdir().expect("a directory"));
    let url = database.url();
    let options = [
        ("difficulty", EVERY_HASH),
        ("database", &*url),
        ("server-id", label),
    ];
    start_in(root, &options)
}

/// Lets a server mine at this many blocks above the first height.
fn work_at(running: &Running, above: u32) {
    running.move_on(Chain::easy().empty_at(above));
}

fn find(running: &Running, account: &str, verdict: Verdict) -> Hash {
    let mut miner = running.mine_as(account);
    let hash = miner.mine(Want::Block);
    running.server.block_result(hash, verdict);
    hash
}

fn wait_for(database: &Server, sql: &str, expected: &str) {
    wait_until(&format!("{sql} is {expected}"), || {
        database.sql(sql) == expected
    });
}

/// Whether the server "one" has its row in the database and was heard of: the row is written some time
/// before the first heartbeat, and nobody waits for a server that was never heard of.
const REGISTERED: &str = "SELECT count(*) FROM origins WHERE label = 'one' AND seen_at_ms > 0";

fn state(hash: &Hash) -> String {
    format!("SELECT state || ' ' || coalesce(round_from, -1) FROM blocks WHERE hash = '{hash}'")
}

#[test]
fn block_closes_the_round_of_all_servers_and_its_finder_writes_the_dump() {
    let database = Server::start();
    let [one, two] = ["one", "two"].map(|name| serve(&database, name));
    for running in [&one, &two] {
        work_at(running, 0);
    }
    for (running, account) in [(&one, "alice"), (&two, "bob")] {
        running.mine_as(account).mine(Want::Share);
    }
    let first = find(&one, "carol", Verdict::Accepted);
    for running in [&one, &two] {
        work_at(running, 1);
    }
    wait_for(&database, &state(&first), "accepted 0");
    let name = format!("shares/{FIRST_HEIGHT}-{first}.json");
    let dump: Value = serde_json::from_slice(&one.wait_for_file(&name)).expect("JSON");
    let shares = json!({ "alice": 7.275957614183426e-12, "bob": 7.275957614183426e-12, "carol": 7.275957614183426e-12 });
    assert_eq!(dump["shares"], shares);

    two.mine_as("bob").mine(Want::Share);
    let second = find(&two, "dave", Verdict::Accepted);
    for running in [&one, &two] {
        work_at(running, 2);
    }
    let from = FIRST_HEIGHT + 1;
    wait_for(&database, &state(&second), &format!("accepted {from}"));
    let name = format!("shares/{from}-{second}.json");
    let dump: Value = serde_json::from_slice(&two.wait_for_file(&name)).expect("JSON");
    assert_eq!(
        dump["shares"],
        json!({ "bob": 7.275957614183426e-12, "dave": 7.275957614183426e-12 })
    );
    assert_eq!(one.files("shares").len(), 1);
    assert_eq!(two.files("shares").len(), 1);
    wait_for(
        &database,
        "SELECT count(*) FROM blocks WHERE dumped_at IS NOT NULL AND effort > 0",
        "2",
    );
}

#[test]
fn block_that_pays_its_finder_is_so_for_all_servers() {
    let database = Server::start();
    let root = Arc::new(tempfile::tempdir().expect("a directory"));
    let url = database.url();
    let solo = start_in(
        root,
        &[
            ("difficulty", EVERY_HASH),
            ("database", &*url),
            ("server-id", "solo"),
            ("payout", "solo"),
        ],
    );
    let other = serve(&database, "other");
    for running in [&solo, &other] {
        work_at(running, 0);
    }
    other.mine_as("alice").mine(Want::Share);
    let payee = "rs1qhmgjemz69l0hnkv8st2ahkrld9w45xrjztms54";
    let first = find(&solo, payee, Verdict::Accepted);
    for running in [&solo, &other] {
        work_at(running, 1);
    }
    wait_for(&database, &state(&first), "accepted -1");
    let payout = format!("SELECT payout || ' ' || address FROM blocks WHERE hash = '{first}'");
    wait_for(&database, &payout, &format!("solo {payee}"));
    let second = find(&other, "bob", Verdict::Accepted);
    for running in [&solo, &other] {
        work_at(running, 3);
    }
    wait_for(&database, &state(&second), "confirmed 0");
    wait_for(&database, &state(&first), "confirmed -1");
    assert!(solo.files("shares").is_empty());
    let accounts = "SELECT count(DISTINCT account) FROM credit";
    assert_eq!(database.sql(accounts), "2");
}

/// As after an outage of the database, when no server could send a heartbeat.
#[test]
fn dump_waits_for_a_server_that_was_not_heard_of_for_a_while() {
    let database = Server::start();
    let one = serve(&database, "one");
    work_at(&one, 0);
    wait_for(&database, REGISTERED, "1");
    database.sql(&format!(
        "INSERT INTO origins (origin, label, sequence, seen_at_ms, tip, shipped_tip)
         SELECT '\\x00', 'late', 1, seen_at_ms - 60000, {FIRST_HEIGHT}, {FIRST_HEIGHT} - 1
         FROM origins WHERE label = 'one'"
    ));
    // Its patience does not end.
    database.sql(
        "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN NEW.closed_at := NEW.closed_at + 86400; RETURN NEW; END $$;
         CREATE TRIGGER later BEFORE UPDATE OF closed_at ON blocks FOR EACH ROW EXECUTE FUNCTION later()",
    );
    let hash = find(&one, "alice", Verdict::Accepted);
    work_at(&one, 1);
    wait_for(&database, &state(&hash), "accepted 0");
    // It has copied its blocks meanwhile.
    let seen = "SELECT seen_at_ms FROM origins WHERE label = 'one'";
    let begun: i64 = database.sql(seen).parse().expect("a number");
    wait_until("two seconds of the server's life", || {
        database
            .sql(seen)
            .parse()
            .is_ok_and(|now: i64| now > begun + 2_000)
    });
    assert!(one.files("shares").is_empty());
    database.sql(&format!(
        "INSERT INTO credit SELECT {FIRST_HEIGHT}, account, difficulty, origins.id, 3
         FROM credit, origins WHERE label = 'late';
         UPDATE origins SET shipped_tip = {FIRST_HEIGHT} WHERE label = 'late'"
    ));
    let name = format!("shares/{FIRST_HEIGHT}-{hash}.json");
    let dump: Value = serde_json::from_slice(&one.wait_for_file(&name)).expect("JSON");
    assert_eq!(dump["shares"], json!({ "alice": 2.9103830456733704e-11 }));
}

#[test]
fn server_at_the_highest_tip_says_what_becomes_of_another_ones_block() {
    let database = Server::start();
    let [one, two] = ["one", "two"].map(|name| serve(&database, name));
    work_at(&one, 0);
    let hash = find(&one, "alice", Verdict::Accepted);
    wait_for(&database, &state(&hash), "accepted 0");
    let holder = "SELECT label FROM leases JOIN origins ON origins.id = holder
                  WHERE leases.name = 'judge'";
    // The second server's node is ahead.
    let look = |above: u32, on_main: bool, expected: &str| {
        match on_main {
            true => two.node.find_again(hash),
            false => two.node.lose(hash),
        }
        work_at(&two, above + 1);
        wait_for(&database, holder, "two");
        wait_for(&database, &state(&hash), expected);
    };
    look(10, true, "confirmed 0");
    look(11, false, "orphaned 0");
    look(12, true, "confirmed 0");
    // The dump is of the round as it was, and written by the finder.
    one.wait_for_file(&format!("shares/{FIRST_HEIGHT}-{hash}.json"));
    assert!(two.files("shares").is_empty());
    drop(two);
    work_at(&one, 14);
    wait_for(&database, holder, "one");
}

#[test]
fn blocks_from_before_are_brought_with_their_rounds() {
    let database = Server::start();
    let root = Arc::new(tempfile::tempdir().expect("a directory"));
    let alone = start_in(root.clone(), &[("difficulty", EVERY_HASH)]);
    work_at(&alone, 0);
    let old = find(&alone, "alice", Verdict::Accepted);
    alone.wait_for_file(&format!("shares/{FIRST_HEIGHT}-{old}.json"));
    drop(alone);
    let url = database.url();
    let options = [("difficulty", EVERY_HASH), ("database", &*url)];
    let shared = start_in(root, &options);
    work_at(&shared, 1);
    let new = find(&shared, "alice", Verdict::Accepted);
    wait_for(&database, &state(&old), "confirmed 0");
    let from = FIRST_HEIGHT + 1;
    wait_for(&database, &state(&new), &format!("accepted {from}"));
    shared.wait_for_file(&format!("shares/{from}-{new}.json"));
    wait_for(&database, "SELECT sum(count) FROM credit", "2");
    assert_eq!(
        database
            .sql("SELECT name FROM blocks JOIN accounts ON id = account ORDER BY height LIMIT 1"),
        "alice"
    );
}

/// Credit across the height of a block that another server may not have copied yet is not merged.
#[test]
fn credit_is_merged_only_up_to_where_every_server_has_shipped() {
    let database = Server::start();
    let one = serve(&database, "one");
    wait_for(&database, REGISTERED, "1");
    let (low, high) = (FIRST_HEIGHT + 10, FIRST_HEIGHT + 20);
    database.sql(&format!(
        "INSERT INTO accounts (name) VALUES ('alice');
         INSERT INTO credit SELECT height, id, 1.0, 7, 1
         FROM accounts, (VALUES ({low}), ({high})) AS heights (height);
         INSERT INTO heights VALUES ({low}, 1.0), ({high}, 1.0);
         INSERT INTO origins (origin, label, sequence, seen_at_ms, tip, shipped_tip)
         SELECT '\\x00', 'late', 1, seen_at_ms - 60000, {low}, {low} FROM origins"
    ));
    work_at(&one, 1_000);
    let told = format!("SELECT shipped_tip > {high} FROM origins WHERE label = 'one'");
    wait_for(&database, &told, "t");
    // It is the coordinator, and compacts at once.
    wait_for(
        &database,
        "SELECT count(*) FROM leases WHERE holder IS NOT NULL",
        "1",
    );
    find(&one, "alice", Verdict::Accepted);
    work_at(&one, 1_001);
    wait_for(&database, "SELECT count(*) FROM blocks", "1");
    assert_eq!(database.sql("SELECT count(*) FROM spans"), "0");
    // The late server has shipped at last; a new coordinator compacts at once.
    database.sql(&format!(
        "UPDATE origins SET shipped_tip = {FIRST_HEIGHT} + 1001 WHERE label = 'late'"
    ));
    database.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE pid <> pg_backend_pid() AND application_name = 'hstratum'",
    );
    let spans = "SELECT string_agg(first || '-' || (last % 144), ' ') FROM spans";
    wait_for(&database, spans, &format!("{low}-0"));
}
