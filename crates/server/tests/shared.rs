//! The shared ledger, with real PostgreSQL servers.

mod postgres;

use std::thread;

use hstratum::shared::schema;
use hstratum::sql::{Db, Postgres, Retry, Sql, SqlError, Sqlite, Value};
use hstratum::values;
use hstratum_core::address::Network;
use postgres::Server;

fn open(server: &Server) -> Db {
    let address = server.address();
    let opened = schema::open(&address, Network::Regtest, 7).expect("opened");
    Db::Postgres(Box::new(opened))
}

#[test]
fn several_servers_make_the_tables_at_the_same_time() {
    let server = Server::start();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| drop(open(&server)));
        }
    });
    assert_eq!(server.sql("SELECT version, network FROM meta"), "2|regtest");

    let error = schema::open(&server.address(), Network::Main, 7)
        .err()
        .expect("of another network");
    assert!(format!("{error:#}").contains("of the network"), "{error:#}");
    server.sql("UPDATE meta SET version = 99");
    for error in [
        schema::open(&server.address(), Network::Regtest, 7).err(),
        schema::open_existing(&server.address()).err(),
    ] {
        let text = format!("{:#}", error.expect("newer"));
        assert!(text.contains("version 99"), "{text}");
    }
}

#[test]
fn values_come_back_as_they_went_from_either_engine() {
    let server = Server::start();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("ledger.db");
    let mut told = Vec::new();
    drop(hstratum::store::schema::open_own(&file, "regtest", 7, &mut told).expect("made"));
    let sqlite = Db::Sqlite(Sqlite::open_beside(&file).expect("opened"));
    for mut db in [sqlite, open(&server)] {
        let values = values!["a\u{202e}\"'?", i64::MAX, 0.1_f64, None::<&str>];
        let read = db.write(|sql: &mut dyn Sql| {
            sql.execute(
                "CREATE TABLE kinds (a TEXT, b BIGINT, c DOUBLE PRECISION, d TEXT)",
                &[],
            )?;
            sql.execute("INSERT INTO kinds VALUES (?1, ?2, ?3, ?4)", &values)?;
            sql.query_one(
                "SELECT a, b, c, d FROM kinds WHERE b = ?1",
                &values![i64::MAX],
            )
        });
        // SQLite's file is strict and has no such kinds: it says so, and nothing else.
        let row = read.expect("written and read");
        let back: Vec<Value> = vec![
            row.get::<String>(0).expect("text").into(),
            row.get::<i64>(1).expect("an integer").into(),
            row.get::<f64>(2).expect("a double").into(),
            row.get::<Option<String>>(3).expect("nothing").into(),
        ];
        assert_eq!(back, values);
        assert!(row.get::<f64>(1).is_err());
        assert!(row.get::<i64>(4).is_err());
    }
}

#[test]
fn transactions_that_meet_are_begun_anew_and_lose_nothing() {
    const EACH: i64 = 25;
    let server = Server::start();
    drop(open(&server));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut db = open(&server);
                for _ in 0..EACH {
                    db.write(|sql: &mut dyn Sql| -> Result<(), SqlError> {
                        let row = sql.query_one("SELECT number FROM changes", &[])?;
                        let number: i64 = row.get(0)?;
                        sql.execute("UPDATE changes SET number = ?1", &values![number + 1])?;
                        Ok(())
                    })
                    .expect("written in the end");
                }
            });
        }
    });
    assert_eq!(
        server.sql("SELECT number FROM changes"),
        (3 * EACH).to_string()
    );
}

#[test]
fn lost_connection_is_told_from_what_is_wrong_and_made_anew() {
    let mut server = Server::start();
    let mut db = open(&server);
    let read = |db: &mut Db| -> Result<i64, SqlError> {
        db.read(|sql: &mut dyn Sql| sql.query_one("SELECT number FROM changes", &[])?.get(0))
    };
    assert_eq!(read(&mut db), Ok(0));
    server.kill();
    let error = read(&mut db).expect_err("it is gone");
    assert!(matches!(error, SqlError::Lost(_)), "{error:?}");
    assert!(!error.is_conflict());
    server.resume();
    assert_eq!(read(&mut db), Ok(0));
    // The end of a connection may come after the server's last word on it.
    for _ in 0..20 {
        server.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = 'pool' AND pid <> pg_backend_pid()",
        );
        let _ = read(&mut db);
        assert_eq!(read(&mut db), Ok(0));
    }

    let wrong = db.read(|sql: &mut dyn Sql| sql.query("SELECT nothing FROM changes", &[]));
    assert!(matches!(wrong, Err(SqlError::Failed(_))), "{wrong:?}");
}

#[test]
fn session_that_hangs_in_a_transaction_holds_nobody_up_for_long() {
    let server = Server::start();
    let mut db = open(&server);
    // As of a server that was cut off, or stopped, before its commit.
    let mut hung = Postgres::connect(&server.address()).expect("connected");
    let client = hung.client().expect("connected");
    client
        .batch_execute("BEGIN; UPDATE leases SET until_ms = 1")
        .expect("begun");
    let write = |sql: &mut dyn Sql| sql.execute("UPDATE leases SET until_ms = 2", &[]);
    assert_eq!(db.write(write), Ok(2));
}
