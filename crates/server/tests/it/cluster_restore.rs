//! A shared ledger that fails briefly, is restored from a copy while servers are connected, or is shipped to
//! by a copy of a server's file: whose work it was, and which blocks, stays right.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hstratum::sql::Postgres as Connection;
use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::units::Hash;
use tempfile::TempDir;

use crate::harness::miner::Want;
use crate::harness::template::FIRST_HEIGHT;
use crate::harness::{Chain, EVERY_HASH, Miner, Running, start_in, wait_until};
use crate::postgres::Server;

fn directory() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().expect("a directory"))
}

fn serve_in(root: Arc<TempDir>, database: &Server, label: &str) -> Running {
    let url = database.url();
    let options = [
        ("difficulty", EVERY_HASH),
        ("database", &*url),
        ("server-id", label),
    ];
    start_in(root, &options)
}

fn serve(database: &Server, label: &str) -> Running {
    serve_in(directory(), database, label)
}

/// Lets a server mine at this many blocks above the first height.
fn work_at(running: &Running, above: u32) {
    running.move_on(Chain::easy().empty_at(above));
}

fn mine(miner: &mut Miner, shares: u64) {
    for _ in 0..shares {
        miner.mine(Want::Share);
    }
}

fn find(running: &Running, account: &str) -> Hash {
    let hash = running.mine_as(account).mine(Want::Block);
    running.server.block_result(hash, Verdict::Accepted);
    hash
}

fn wait_for(database: &Server, sql: &str, expected: &str) {
    wait_until(&format!("{sql} is {expected}"), || {
        database.sql(sql) == expected
    });
}

fn state(hash: &Hash) -> String {
    format!("SELECT state FROM blocks WHERE hash = '{hash}'")
}

const CREDIT: &str = "SELECT string_agg(name || sum, ' ' ORDER BY name) FROM (
    SELECT name, sum(count) FROM credit JOIN accounts ON id = account GROUP BY name) AS sums";

/// Cuts all connections of servers.
const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND application_name = 'hstratum'";

#[test]
fn blocks_are_brought_whenever_connections_hiccup() {
    let database = Server::start();
    let one = serve(&database, "one");
    for round in 0..4 {
        work_at(&one, round);
        let hash = find(&one, "alice");
        wait_for(&database, &state(&hash), "accepted");
        database.sql(CUT);
        let times = round as usize + 1;
        one.node.wait_for_logs("the shared ledger is back", times);
    }
}

#[test]
fn blocks_are_brought_after_an_insert_that_failed() {
    let database = Server::start();
    let one = serve(&database, "one");
    work_at(&one, 0);
    database.sql(
        "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN
           RAISE EXCEPTION 'not now' USING ERRCODE = '23514'; END $$ LANGUAGE plpgsql;
         CREATE TRIGGER refused BEFORE INSERT ON batches FOR EACH ROW EXECUTE FUNCTION refuse();
         CREATE TRIGGER refused BEFORE INSERT ON blocks FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let hash = find(&one, "alice");
    one.node.wait_for_log("does not take our shares");
    database.sql("DROP TRIGGER refused ON batches; DROP TRIGGER refused ON blocks");
    wait_for(&database, &state(&hash), "accepted");
    wait_for(&database, CREDIT, "alice1");
}

#[test]
fn database_that_is_put_back_in_place_gets_everything_again_and_mixes_nobody_up() {
    let database = Server::start();
    let [one, two] = ["one", "two"].map(|name| serve(&database, name));
    for running in [&one, &two] {
        work_at(running, 0);
    }
    let mut alice = one.mine_as("alice.rig");
    mine(&mut alice, 3);
    wait_for(&database, CREDIT, "alice3");
    let dump = database.dump();
    // Everything from here on is missing in the copy.
    let mut carol = one.mine_as("carol.rig");
    mine(&mut carol, 5);
    let hash = find(&one, "alice");
    wait_for(&database, CREDIT, "alice4 carol5");
    wait_for(&database, &state(&hash), "accepted");

    one.node.wait_for_logs("share dump written", 1);
    database.restore_in_place(&dump);
    // Another account gets the row id that carol had.
    let mut mallory = two.mine_as("mallory.rig");
    mine(&mut mallory, 2);
    mine(&mut carol, 4);
    wait_for(&database, CREDIT, "alice4 carol9 mallory2");
    wait_for(&database, &state(&hash), "accepted");
    let workers = "SELECT string_agg(accounts.name || sum, ' ' ORDER BY accounts.name) FROM (
        SELECT account, sum(accepted) FROM statistics JOIN workers ON workers.id = worker
        GROUP BY account) AS sums JOIN accounts ON accounts.id = account";
    wait_for(&database, workers, "alice4 carol9 mallory2");
    let labels = "SELECT string_agg(label, ' ' ORDER BY label) FROM origins";
    wait_for(&database, labels, "one two");
    let owed = "SELECT count(*) FROM blocks WHERE dumped_at IS NULL";
    wait_for(&database, owed, "0");
    let put_back = "the shared ledger is not as this server left it";
    for running in [&one, &two] {
        running.node.wait_for_log(put_back);
    }
    assert!(
        running_says(&one, put_back).contains("batches of shares that it had are shipped again")
    );
    // The file was there.
    assert_eq!(one.node.wait_for_logs("share dump written", 1).len(), 1);
    assert_eq!(one.node.wait_for_logs(put_back, 1).len(), 1);
}

fn running_says(running: &Running, part: &str) -> String {
    running.node.wait_for_log(part).1
}

#[test]
fn database_that_is_put_back_again_and_again_under_load_loses_and_doubles_nothing() {
    let database = Server::start();
    let [one, two] = ["one", "two"].map(|name| serve(&database, name));
    for running in [&one, &two] {
        work_at(running, 0);
    }
    let mut miners = Vec::new();
    let mut mined = std::collections::BTreeMap::new();
    let mut shares =
        |running: &Running, round: u32, miners: &mut Vec<(String, Miner)>, of: &str| {
            // A new account on each server in each round.
            let name = format!(
                "{of}{}",
                char::from(b'a' + u8::try_from(round).expect("few"))
            );
            miners.push((name.clone(), running.mine_as(&name)));
            for (name, miner) in miners.iter_mut() {
                mine(miner, 2);
                *mined.entry(name.clone()).or_insert(0) += 2;
            }
        };
    let mut dump = database.dump();
    for round in 0..5 {
        shares(&one, round, &mut miners, "x");
        if round % 2 == 0 {
            dump = database.dump();
        }
        shares(&two, round, &mut miners, "y");
        database.restore_in_place(&dump);
    }
    shares(&one, 5, &mut miners, "x");
    let expected: Vec<String> = mined
        .iter()
        .map(|(name, shares)| format!("{name}{shares}"))
        .collect();
    wait_for(&database, CREDIT, &expected.join(" "));
    assert_eq!(database.sql("SELECT count(*) FROM origins"), "2");
}

/// Payouts rely on the height that a server reports: both its shares and its blocks must be there before.
#[test]
fn what_is_told_as_shipped_waits_for_the_blocks() {
    let database = Server::start();
    let one = serve(&database, "one");
    work_at(&one, 0);
    mine(&mut one.mine_as("alice"), 1);
    let told = "SELECT coalesce(shipped_tip, 0) FROM origins";
    let told = || -> u32 { database.sql(told).parse().expect("a number") };
    wait_until("the first height is told", || told() + 1 >= FIRST_HEIGHT);

    let mut other = Connection::connect(&database.address()).expect("connected");
    let client = other.client().expect("connected");
    let lock = "BEGIN; LOCK TABLE blocks IN EXCLUSIVE MODE";
    client.batch_execute(lock).expect("locked");
    let hash = find(&one, "alice");
    work_at(&one, 1);
    wait_for(&database, "SELECT sum(count) FROM credit", "2");
    wait_for(
        &database,
        "SELECT tip FROM origins",
        &FIRST_HEIGHT.to_string(),
    );
    // Several heartbeats long.
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert!(told() < FIRST_HEIGHT, "the block is not there yet");
    }
    client.batch_execute("ROLLBACK").expect("unlocked");
    wait_until("the block's height is told", || told() >= FIRST_HEIGHT);
    assert_eq!(database.sql(&state(&hash)), "accepted");
}

#[test]
fn copy_of_a_file_on_another_machine_is_another_server() {
    let database = Server::start();
    let one = serve(&database, "one");
    work_at(&one, 0);
    let mut alice = one.mine_as("alice");
    mine(&mut alice, 2);
    wait_for(&database, CREDIT, "alice2");
    let copy = directory();
    fs::create_dir_all(copy.path().join("stratum/shared")).expect("made");
    for name in [
        "ledger.db",
        "ledger.db-wal",
        "shared/users.json",
        "shared/bans.json",
    ] {
        let from = one.dir.join(name);
        if from.exists() {
            fs::copy(from, copy.path().join("stratum").join(name)).expect("copied");
        }
    }
    mine(&mut alice, 3);
    wait_for(&database, CREDIT, "alice5");

    let two = serve_in(copy.clone(), &database, "two");
    work_at(&two, 0);
    two.node.wait_for_log("is an older copy of a file");
    mine(&mut two.mine_as("bob"), 1);
    mine(&mut alice, 1);
    wait_for(&database, CREDIT, "alice6 bob1");
    let labels = "SELECT string_agg(label, ' ' ORDER BY id) FROM origins";
    assert_eq!(database.sql(labels), "one two");
    let numbers = [&one, &two].map(|running| {
        let own = running.server.cluster_status().expect("shared").own;
        own.expect("known").number
    });
    assert_ne!(numbers[0], numbers[1]);
    drop(two);
    // Nor at the next start.
    let two = serve_in(copy, &database, "two");
    work_at(&two, 0);
    mine(&mut two.mine_as("bob"), 1);
    wait_for(&database, CREDIT, "alice6 bob2");
    assert_eq!(database.sql(labels), "one two");
    let replaced = "SELECT count(*) FROM origins WHERE successor IS NOT NULL";
    assert_eq!(database.sql(replaced), "0");
}
