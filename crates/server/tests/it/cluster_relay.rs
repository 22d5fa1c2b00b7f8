//! Relay of found blocks to the other servers of one pool, with a real PostgreSQL.

use std::fs;
use std::time::{Instant, SystemTime};

use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::units::{Hash, hex};

use crate::harness::miner::Want;
use crate::harness::{Chain, Running, restart, start};
use crate::postgres::Server as Database;

fn server(database: &Database, label: &str) -> Running {
    let running = start(&[("database", &database.url()), ("server-id", label)]);
    // A block that a look finds on the chain leaves the spool.
    running.node.be_blind();
    // Its blocks are dated today.
    let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut parts = Chain::easy().empty_at(0);
    parts.time = today.expect("after 1970").as_secs();
    parts.time_max = parts.time + 7200;
    running.move_on(parts);
    running
}

/// Finds a block there; returns its hash and its bytes.
fn find(running: &Running) -> (Hash, Vec<u8>) {
    let hash = running.mine_as("alice").mine(Want::Block);
    let raw = running.wait_for_file(&format!("spool/{hash}.block"));
    (hash, raw)
}

#[test]
fn found_block_comes_whole_to_the_other_servers_node_and_is_no_find_of_it() {
    let database = Database::start();
    let (first, second) = (server(&database, "first"), server(&database, "second"));
    let (hash, raw) = find(&first);
    let from = Instant::now();
    assert_eq!(second.node.relayed_number(0), (hash, raw));
    eprintln!(
        "relayed {} ms after it was in the spool",
        from.elapsed().as_millis()
    );

    // A verdict that nobody waits for changes nothing.
    second
        .server
        .block_result(hash, Verdict::Refused("no".to_owned()));
    let (later, _) = find(&second);
    assert_eq!(first.node.relayed_number(0).0, later);
    assert_eq!((first.node.relayed(), second.node.relayed()), (1, 1));
    assert_eq!((first.node.offers(), second.node.offers()), (1, 1));
    assert_eq!(second.files("spool"), [format!("{later}.block")]);
    let refused = second.node.log_texts();
    assert!(refused.iter().all(|text| !text.contains("block refused")));
}

#[test]
fn block_found_while_the_database_was_away_travels_when_it_is_back() {
    let mut database = Database::start();
    let (first, second) = (server(&database, "first"), server(&database, "second"));
    database.kill();
    let (hash, raw) = find(&first);
    first.node.wait_for_log("do not travel");
    second.node.wait_for_log("do not travel");
    database.resume();
    assert_eq!(second.node.relayed_number(0), (hash, raw.clone()));

    // And a block left unanswered by a run that could not relay it.
    database.kill();
    let url = database.url();
    let first = restart(first, &[("database", &url), ("server-id", "first")]);
    database.resume();
    database.sql("DELETE FROM raw_blocks");
    let second = restart(second, &[("database", &url), ("server-id", "second")]);
    first.node.wait_for_log("is on its way");
    let put = "SELECT encode(raw, 'hex') FROM raw_blocks";
    crate::harness::wait_until("it is there again", || database.sql(put) == hex(&raw));
    assert_eq!(second.node.relayed_number(0), (hash, raw));
}

#[test]
fn what_is_no_block_is_not_offered_and_old_ones_go() {
    let database = Database::start();
    let (first, second) = (server(&database, "first"), server(&database, "second"));
    let (hash, raw) = find(&first);
    second.node.relayed_number(0);

    // Of another server: too large, under another name, without work, old, and very old.
    let mut idle = raw.clone();
    let other = loop {
        idle[0] = idle[0].wrapping_add(1);
        let header = hstratum_core::chain::header::decode_header(&idle[..236]).expect("a header");
        let other = hstratum_core::chain::header::header_hash(&header.0, &header.1, &header.2);
        if other.0[0] > 0x7f {
            break other;
        }
    };
    database.sql(&format!(
        "INSERT INTO origins (origin, label, sequence, seen_at_ms) VALUES ('\\x00', 'x', 0, 0);
         INSERT INTO raw_blocks (hash, origin, found_at, raw)
         SELECT kind.hash, origins.id, extract(epoch FROM now())::BIGINT - kind.age, kind.raw
         FROM origins, (VALUES
           (repeat('1', 64), 0, decode(repeat('00', 9000000), 'hex')),
           (repeat('2', 64), 0, decode('{raw}', 'hex')),
           ('{other}', 0, decode('{idle}', 'hex')),
           ('no hash', 0, decode('{raw}', 'hex')),
           (repeat('3', 64), 7200, decode('{raw}', 'hex')),
           (repeat('4', 64), 172800, decode('{raw}', 'hex'))
         ) AS kind (hash, age, raw) WHERE origins.label = 'x'",
        raw = hex(&raw),
        idle = hex(&idle),
    ));
    let told = second.node.wait_for_logs("is not a block", 3);
    assert_eq!(told.len(), 3, "{told:?}");
    let (later, _) = find(&first);
    assert_eq!(second.node.relayed_number(1).0, later);
    assert_eq!(second.node.relayed(), 2);
    let old = "SELECT count(*) FROM raw_blocks WHERE hash = repeat('4', 64)";
    crate::harness::wait_until("the oldest is gone", || database.sql(old) == "0");
    let kept = format!("SELECT count(*) FROM raw_blocks WHERE hash = '{hash}'");
    assert_eq!(database.sql(&kept), "1");
    assert!(fs::metadata(second.dir.join("spool")).is_ok());
}
