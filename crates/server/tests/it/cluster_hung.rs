//! A database host that accepts connections and says nothing: other hosts are tried, and nothing waits for it
//! for long.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hstratum::sql::url::PostgresUrl;
use hstratum::sql::{Postgres as Connection, SqlError};
use tempfile::TempDir;

use crate::harness::miner::Want;
use crate::harness::{Chain, EVERY_HASH, Running, TestNode, settings, start_in, wait_until};
use crate::postgres::Server;

/// Takes connections and keeps them; its thread ends with the program.
fn hang() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        let mut kept: Vec<TcpStream> = Vec::new();
        kept.extend(listener.incoming().map_while(Result::ok));
    });
    port
}

fn both(hung: u16, good: &Server) -> String {
    let good = good.port();
    format!("postgres://pool@127.0.0.1:{hung},127.0.0.1:{good}/pool")
}

fn serve(root: &Arc<TempDir>, url: &str) -> Running {
    let options = [
        ("difficulty", EVERY_HASH),
        ("database", url),
        ("server-id", "one"),
    ];
    let running = start_in(root.clone(), &options);
    running.server.template(Chain::hard().empty_at(0));
    running
}

fn ship(running: &Running, database: &Server, shares: &str) {
    running.mine_as("alice").mine(Want::Share);
    wait_until("the share is in the shared ledger", || {
        database.sql("SELECT coalesce(sum(count), 0) FROM credit") == shares
    });
}

#[test]
fn first_start_and_later_ones_pass_over_a_host_that_hangs() {
    let database = Server::start();
    let root = Arc::new(tempfile::tempdir().expect("a directory"));
    let url = both(hang(), &database);
    let begun = Instant::now();
    let running = serve(&root, &url);
    assert!(begun.elapsed() < Duration::from_secs(8), "listens soon");
    ship(&running, &database, "1");
    drop(running);
    let begun = Instant::now();
    let running = serve(&root, &url);
    assert!(begun.elapsed() < Duration::from_secs(6), "listens soon");
    ship(&running, &database, "2");
}

#[test]
fn command_passes_over_a_host_that_hangs() {
    let database = Server::start();
    let address: PostgresUrl = both(hang(), &database).parse().expect("an address");
    let begun = Instant::now();
    Connection::connect(&address).expect("connected");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn database_that_hangs_in_a_statement_is_lost() {
    let database = Server::start();
    let address = database.address().with_statement_ms(100);
    let mut connection = Connection::connect(&address).expect("connected");
    let client = connection.client().expect("connected");
    client.query_one("SELECT 1", &[]).expect("answered");
    let stopped = database.freeze();
    let begun = Instant::now();
    let asked = client.query_one("SELECT 1", &[]).map_err(SqlError::from);
    assert!(matches!(asked, Err(SqlError::Lost(_))), "{asked:?}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    // A new connection is not waited for either.
    let asked = Connection::connect(&address).err();
    assert!(matches!(asked, Some(SqlError::Lost(_))), "{asked:?}");
    drop(stopped);
    Connection::connect(&address).expect("connected again");
}

/// The node's start waits as well, since it is not known yet who may mine.
#[test]
fn first_start_at_a_host_that_hangs_fails_soon() {
    let root = tempfile::tempdir().expect("a directory");
    let url = format!("postgres://pool@127.0.0.1:{}/pool", hang());
    let settings = settings(&[("database", &*url)], Some(&root.path().join("stratum")));
    let begun = Instant::now();
    let started = hstratum::server::Server::start(settings, Arc::new(TestNode::default()));
    let text = format!("{:#}", started.err().expect("refused"));
    assert!(begun.elapsed() < Duration::from_secs(12), "{text}");
    assert!(text.contains("does not answer"), "{text}");
}
