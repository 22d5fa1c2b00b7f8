//! Servers that ship to a shared ledger, over all kinds of failures on either side: every share acknowledged
//! to a miner is counted there once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use hstratum_core::event::Level;
use rusqlite::Connection;

use crate::harness::{Chain, EVERY_HASH, TestNode, settings, start_in, wait_until};
use crate::postgres::Server;
use crate::postgres::wire::{Lost, Wire};
use crate::shipping::{count, directory, mine, open, serve, wait_for_count, wait_for_statistics};

#[test]
fn database_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let mut database = Server::start();
    let (url, stop) = (database.url(), AtomicBool::new(false));
    let running = serve(&directory(), &url, "one");
    let mined = thread::scope(|scope| {
        let mining = scope.spawn(|| {
            let mut miner = running.mine_as("alice.rig");
            let mut mined = 0;
            while !stop.load(Ordering::Relaxed) {
                mine(&mut miner, 1);
                mined += 1;
            }
            mined
        });
        for round in 0..6_u64 {
            let before = count(&database);
            wait_until("batches are shipped", || count(&database) > before);
            thread::sleep(Duration::from_millis(round * 37));
            database.kill();
            database.resume();
        }
        stop.store(true, Ordering::Relaxed);
        mining.join().expect("mined")
    });
    wait_for_count(&database, mined);
    wait_for_statistics(&database, mined);
    let away = running.node.wait_for_logs("the shared ledger is away", 1);
    assert!(away.len() <= 6, "{away:?}");
    running.node.wait_for_log("the shared ledger is back after");
}

#[test]
fn connection_that_is_cut_in_a_commit_loses_and_doubles_nothing() {
    let database = Server::start();
    let wire = Wire::to(database.port());
    let running = serve(&directory(), &wire.url(), "one");
    let mut miner = running.mine_as("alice");
    let mut mined = 1;
    // Only a connection that has shipped before recognizes the fault.
    mine(&mut miner, 1);
    wait_for_count(&database, mined);
    for lost in [Lost::Order, Lost::Answer, Lost::Order, Lost::Answer] {
        wire.lose(lost);
        mine(&mut miner, 3);
        mined += 3;
        wait_until(&format!("a commit has lost its {lost:?}"), || {
            wire.has_lost()
        });
        mine(&mut miner, 2);
        mined += 2;
        wait_for_count(&database, mined);
    }
    wait_for_statistics(&database, mined);
    assert_eq!(
        database.sql("SELECT count(*) FROM origins"),
        "1",
        "the file has not been parted from"
    );
}

#[test]
fn batch_whose_mark_was_lost_is_not_shipped_again() {
    let database = Server::start();
    let root = directory();
    let running = serve(&root, &database.url(), "one");
    let mut miner = running.mine_as("alice");
    mine(&mut miner, 5);
    wait_for_count(&database, 5);
    drop(running);
    // As left by a crash between the commit there and the one here.
    open(root.path())
        .execute_batch(
            "UPDATE outbox SET shipped_at = NULL; UPDATE outbox_origins SET shipped = 0;",
        )
        .expect("forgotten");
    let running = serve(&root, &database.url(), "one");
    let mut miner = running.mine_as("alice");
    mine(&mut miner, 1);
    wait_for_count(&database, 6);
    assert_eq!(database.sql("SELECT count(*) FROM origins"), "1");
}

#[test]
fn database_that_falls_back_gets_everything_again() {
    let mut database = Server::start();
    let running = serve(&directory(), &database.url(), "one");
    let mut miner = running.mine_as("alice");
    let empty = database.save();
    mine(&mut miner, 4);
    wait_for_count(&database, 4);
    let four = database.save();
    mine(&mut miner, 4);
    wait_for_count(&database, 8);
    database.restore(&four);
    wait_for_count(&database, 8);
    database.restore(&empty);
    mine(&mut miner, 1);
    wait_for_count(&database, 9);
}

/// A miner chooses the difficulty of its shares; for refused ones it counts as no work.
#[test]
fn batch_with_work_beyond_all_measure_is_shipped() {
    let database = Server::start();
    let root = directory();
    let running = serve(&root, &database.url(), "one");
    mine(&mut running.mine_as("alice.rig"), 1);
    wait_for_count(&database, 1);
    wait_for_statistics(&database, 1);
    drop(running);
    for shares in 2..4 {
        open(root.path())
            .execute(
                "INSERT INTO pending_statistics
                 SELECT 600, unixepoch() / 3600 * 3600, 1, 1, 1.0, 1, ?1, 1, ?1, 1, ?1, 0, 0, 0, 0",
                [f64::MAX],
            )
            .expect("written");
        let _running = serve(&root, &database.url(), "one");
        wait_for_statistics(&database, shares);
    }
}

#[test]
fn several_servers_ship_at_the_same_time() {
    let database = Server::start();
    let names = ["one", "two", "three"];
    let servers = names.map(|name| serve(&directory(), &database.url(), name));
    thread::scope(|scope| {
        for running in &servers {
            scope.spawn(|| {
                let mut miners = ["alice", "bob"].map(|name| running.mine_as(name));
                for miner in &mut miners {
                    mine(miner, 20);
                }
            });
        }
    });
    wait_for_count(&database, 3 * 2 * 20);
    let accounts = database.sql(
        "SELECT string_agg(name || sum, ' ' ORDER BY name) FROM (SELECT name, sum(count)
         FROM credit JOIN accounts ON id = account GROUP BY name) AS sums",
    );
    assert_eq!(accounts, "alice60 bob60");
    let members = || servers[0].server.cluster_status().expect("shared").servers;
    wait_until("each server knows all", || {
        let labels: Vec<String> = members().into_iter().map(|member| member.label).collect();
        labels == ["one", "three", "two"]
    });
    assert!(
        database
            .sql("SELECT report FROM origins")
            .contains("hashrate")
    );
}

#[test]
fn server_id_given_twice_is_told_on_both() {
    let database = Server::start();
    let servers = [(), ()].map(|()| serve(&directory(), &database.url(), "one"));
    for running in &servers {
        let (level, _) = running
            .node
            .wait_for_log("another server with the server-id \"one\" is alive");
        assert_eq!(level, Level::Warning);
    }
}

#[test]
fn database_that_takes_nothing_is_told_once_and_gets_all_when_it_does() {
    let mut database = Server::start();
    let running = serve(&directory(), &database.url(), "one");
    let mut miner = running.mine_as("alice");
    mine(&mut miner, 1);
    wait_for_count(&database, 1);

    // Read-only, as a standby is.
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE pid <> pg_backend_pid() AND application_name = 'hstratum'";
    database.set_read_only("on");
    database.sql(cut);
    mine(&mut miner, 1);
    running.node.wait_for_logs("the shared ledger is away", 1);
    database.set_read_only("off");
    wait_for_count(&database, 2);
    running.node.wait_for_logs("the shared ledger is back", 1);

    // Full, as SQLSTATE 53100 says.
    database.sql(
        "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN
           RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; END $$ LANGUAGE plpgsql;
         CREATE TRIGGER full_disk BEFORE INSERT ON batches FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    mine(&mut miner, 1);
    let lines = running.node.wait_for_logs("the shared ledger is away", 2);
    assert!(lines[1].1.contains("no room (SQLSTATE 53100)"), "{lines:?}");
    wait_until("it is seen that it is away", || {
        let cluster_status = running.server.cluster_status().expect("shared");
        cluster_status.link.name() == "away" && cluster_status.behind > 0
    });
    database.sql("DROP TRIGGER full_disk ON batches");
    wait_for_count(&database, 3);

    // Its tables are gone, which an operator has to fix.
    let saved = database.save();
    database.sql("DROP TABLE credit");
    mine(&mut miner, 1);
    let (level, _) = running.node.wait_for_log("does not take our shares");
    assert_eq!(level, Level::Error);
    database.restore(&saved);
    wait_for_count(&database, 4);
    assert_eq!(
        running.server.cluster_status().expect("shared").link.name(),
        "up"
    );
}

#[test]
fn start_needs_no_database_and_stops_at_one_that_is_not_ours() {
    let mut database = Server::start();
    let root = directory();
    drop(serve(&root, &database.url(), "one"));
    database.kill();
    let running = serve(&root, &database.url(), "one");
    mine(&mut running.mine_as("alice"), 3);
    assert!(running.server.close().wait(), "stopped in time");
    running.node.wait_for_log("sent after the next start");
    drop(running);
    database.resume();
    let running = serve(&root, &database.url(), "one");
    wait_for_count(&database, 3);
    drop(running);

    let refused = |change: &str| {
        database.sql(change);
        let options = [("database", &*database.url()), ("server-id", "one")];
        let settings = settings(&options, Some(&root.path().join("stratum")));
        let started = hstratum::server::Server::start(settings, Arc::new(TestNode::default()));
        let error = started.err().expect("refused");
        format!("{error:#}")
    };
    let version = database.sql("SELECT version FROM meta");
    let text = refused("UPDATE meta SET network = 'main'");
    assert!(text.contains("of the network \"main\""), "{text}");
    let text = refused("UPDATE meta SET network = 'regtest', version = 99");
    assert!(text.contains("newer hstratum"), "{text}");
    database.sql(&format!("UPDATE meta SET version = {version}"));
    database.lock();
    let text = refused("SELECT 1");
    assert!(text.contains("password"), "{text}");
}

#[test]
fn password_that_is_right_no_longer_is_told_and_mining_goes_on() {
    let database = Server::start();
    let running = serve(&directory(), &database.url(), "one");
    let mut miner = running.mine_as("alice");
    mine(&mut miner, 2);
    wait_for_count(&database, 2);
    database.lock();
    database.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = 'pool' AND pid <> pg_backend_pid()",
    );
    running.node.wait_for_log("password");
    mine(&mut miner, 3);
    assert_eq!(count(&database), 2);
}

#[test]
fn another_host_of_the_url_takes_over_and_gets_what_it_lacks() {
    let mut first = Server::start();
    let running_root = directory();
    let mut second = Server::start();
    let both = format!(
        "postgres://pool@127.0.0.1:{},127.0.0.1:{}/pool",
        first.port(),
        second.port()
    );
    let running = serve(&running_root, &both, "one");
    let mut miner = running.mine_as("alice");
    mine(&mut miner, 3);
    wait_for_count(&first, 3);
    // The second holds what the first held then, like a standby that lags behind.
    let behind = first.save();
    second.restore(&behind);
    second.set_read_only("on");
    mine(&mut miner, 3);
    wait_for_count(&first, 6);
    first.kill();
    mine(&mut miner, 2);
    running.node.wait_for_log("the shared ledger is away");
    second.set_read_only("off");
    wait_for_count(&second, 8);
}

#[test]
fn credit_from_before_is_taken_in_unless_somebody_was_paid() {
    let database = Server::start();
    let root = directory();
    let alone = start_in(root.clone(), &[("difficulty", EVERY_HASH)]);
    alone.server.template(Chain::hard().empty_at(0));
    mine(&mut alone.mine_as("alice.rig"), 7);
    drop(alone);
    let copy = directory();
    fs::create_dir(copy.path().join("stratum")).expect("made");
    fs::copy(
        root.path().join("stratum/ledger.db"),
        copy.path().join("stratum/ledger.db"),
    )
    .expect("copied");

    let running = serve(&root, &database.url(), "one");
    mine(&mut running.mine_as("alice.rig"), 1);
    wait_for_count(&database, 8);
    wait_for_statistics(&database, 8);
    drop(running);
    // A backup from before does not ship it again.
    let running = serve(&copy, &database.url(), "one");
    mine(&mut running.mine_as("alice"), 1);
    wait_for_count(&database, 9);
    drop(running);

    let paid = directory();
    drop(start_in(paid.clone(), &[]));
    let hash = "00".repeat(32);
    open(paid.path())
        .execute_batch(&format!(
            "INSERT INTO blocks VALUES ('{hash}', 1, 1, 1, NULL, '{hash}', 'a', 1, 1.0, 'confirmed', '', 1, 1, 0, 1.0, 1, 0, NULL, 'operator');
             INSERT INTO settlements VALUES (1, '{hash}', 'settled', 'prop', '', 0, 0, 0, 1, 1, 0, 1, 0)"
        ))
        .expect("settled");
    let options = [("database", &*database.url())];
    let settings = settings(&options, Some(&paid.path().join("stratum")));
    let started = hstratum::server::Server::start(settings, Arc::new(TestNode::default()));
    let text = format!("{:#}", started.err().expect("refused"));
    assert!(text.contains("has settlements of its own"), "{text}");
}

/// A file that was imported or repaired may have names that no database can store.
#[test]
fn a_name_that_the_database_cannot_hold_stops_nothing() {
    let database = Server::start();
    let root = directory();
    let alone = start_in(root.clone(), &[("difficulty", EVERY_HASH)]);
    alone.server.template(Chain::hard().empty_at(0));
    mine(&mut alone.mine_as("alice.rig"), 3);
    mine(&mut alone.mine_as("bob.rig"), 2);
    assert!(alone.server.close().wait());
    let file = Connection::open(alone.dir.join("ledger.db")).expect("opened");
    file.execute_batch(
        "UPDATE accounts SET name = 'al' || char(0) || 'ice' WHERE name = 'alice';
         UPDATE workers SET name = hex(randomblob(3000)) WHERE account = 1;
         UPDATE workers SET name = CAST(x'61eda080' AS TEXT) WHERE account = 2;",
    )
    .expect("renamed");
    drop(file);
    drop(alone);
    let running = serve(&root, &database.url(), "one");
    wait_for_count(&database, 5);
    wait_for_statistics(&database, 5);
    mine(&mut running.mine_as("carol"), 1);
    wait_for_count(&database, 6);
    let names = database.sql("SELECT string_agg(name, ' ' ORDER BY name) FROM accounts");
    assert!(
        names.contains("bob carol") && names.contains("ice#"),
        "{names}"
    );
}
