//! The shared ledger, with real PostgreSQL servers.

use std::thread;
use std::time::{Duration, Instant};

use hstratum::sql::postgres_schema;
use hstratum::sql::url::PostgresUrl;
use hstratum::sql::{Db, Postgres, Retry, Sql, SqlError, Sqlite, Value};
use hstratum::values;
use hstratum_core::chain::address::Network;

use crate::postgres::Server;

fn open(server: &Server) -> Db {
    let address = server.address();
    let opened = postgres_schema::open(&address, Network::Regtest, 7).expect("opened");
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
    assert_eq!(
        server.sql("SELECT count(*), max(network) FROM meta"),
        "1|regtest"
    );

    let error = postgres_schema::open(&server.address(), Network::Main, 7)
        .err()
        .expect("of another network");
    assert!(format!("{error:#}").contains("of the network"), "{error:#}");
    server.sql("UPDATE meta SET version = 99");
    for error in [
        postgres_schema::open(&server.address(), Network::Regtest, 7).err(),
        postgres_schema::open_existing(&server.address()).err(),
    ] {
        let text = format!("{:#}", error.expect("newer"));
        assert!(
            text.contains("version 99") && text.contains("restore a dump"),
            "{text}"
        );
    }
}

/// As made by the first version that had a shared ledger.
#[test]
fn version_1_keeps_its_rows() {
    let server = Server::start();
    server.sql(include_str!("../../src/sql/postgres_schema.sql"));
    let hash = "ab".repeat(32);
    server.sql(&format!(
        "INSERT INTO meta VALUES (1, 1, 'regtest', 7);
         INSERT INTO origins (id, origin, label, sequence, seen_at_ms) VALUES (1, '\\x01', 'a', 9, 0);
         INSERT INTO accounts (id, name, password) VALUES (1, 'alice', 'x');
         INSERT INTO workers (id, account, name) VALUES (1, 1, 'rig');
         INSERT INTO heights VALUES (3, 1.0), (4, 1.0), (5, 1.0), (6, 1.0), (7, 1.0);
         INSERT INTO credit VALUES (5, 1, 0.5, 0, 3), (6, 1, 0.5, 1, 4);
         INSERT INTO batches VALUES (1, 9, '\\x02', '\\x03', 5);
         INSERT INTO blocks VALUES ('{hash}', 4, 1, 1, 1, '', '', 10, 1.0, 'confirmed', '', 1, 1, 0, 1.0, 1, 1);
         INSERT INTO settlements (id, block, state, scheme, fee_ppm, from_height, shares, reward, fee,
                                  remainder, settled_at)
           VALUES (1, '{hash}', 'settled', 'prop', 0, 0, 2, 10, 0, 0, 1);
         INSERT INTO settlement_credits VALUES (1, 1, 10)"
    ));
    for _ in 0..2 {
        drop(open(&server));
        assert_eq!(
            server.sql("SELECT version, network, pruned_to FROM meta"),
            "13|regtest|4"
        );
    }
    for (rows, are) in [
        (
            "SELECT string_agg(height || 'x' || count, ' ') FROM credit",
            "5x3 6x4",
        ),
        ("SELECT name, balance FROM balances", "alice|10"),
        ("SELECT name, address IS NULL FROM payees", "alice|t"),
        ("SELECT sequence, successor IS NULL FROM origins", "9|t"),
        ("SELECT state, final_at IS NULL FROM blocks", "confirmed|t"),
        // The merged heights are derived from the missing rows.
        (
            "SELECT string_agg(first || '-' || last, ' ') FROM spans",
            "3-5",
        ),
    ] {
        assert_eq!(server.sql(rows), are, "{rows}");
    }
}

#[test]
fn old_ledger_is_upgraded_by_one_of_those_that_start_at_once() {
    let server = Server::start();
    drop(open(&server));
    for _ in 0..5 {
        // As it was before version 13.
        server.sql("DROP TABLE best_shares; UPDATE meta SET version = 12");
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| drop(open(&server)));
            }
        });
        assert_eq!(server.sql("SELECT count(*) FROM best_shares"), "0");
    }
}

#[test]
fn values_come_back_as_they_went_from_either_engine() {
    let server = Server::start();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("ledger.db");
    let mut told = Vec::new();
    drop(hstratum::sql::sqlite_schema::open_own(&file, "regtest", 7, &mut told).expect("made"));
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
        // SQLite's strict tables have no such types: it reports just that.
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
    // Its statement may outlive it for a moment.
    let error = loop {
        if let Err(error) = read(&mut db) {
            break error;
        }
    };
    assert!(matches!(error, SqlError::Lost(_)), "{error:?}");
    assert!(!error.is_conflict());
    server.resume();
    assert_eq!(read(&mut db), Ok(0));
    // The connection's end may come after the server's last message.
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
    // Like a server that was cut off, or stopped, before its commit.
    let mut hung = Postgres::connect(&server.address()).expect("connected");
    let client = hung.client().expect("connected");
    client
        .batch_execute("BEGIN; UPDATE leases SET until_ms = 1")
        .expect("begun");
    let write = |sql: &mut dyn Sql| sql.execute("UPDATE leases SET until_ms = 2", &[]);
    assert_eq!(db.write(write), Ok(2));
}

#[test]
fn database_is_spoken_to_by_tls_where_the_url_says_so() {
    let server = Server::start();
    let port = server.port();
    let url = |roots: &str| -> PostgresUrl {
        let url =
            format!("postgres://pool@pool.test:{port}/pool?hostaddr=127.0.0.1&sslrootcert={roots}");
        url.parse().expect("an address")
    };
    let tls = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");
    let none = Postgres::connect(&url(&format!("{tls}/first.crt"))).err();
    let text = none.expect("it does not speak TLS").to_string();
    assert!(text.contains("does not speak TLS"), "{text}");

    let certificate = server.encrypt();
    let address = url(&certificate.display().to_string());
    let until = Instant::now() + Duration::from_secs(20);
    // The server rereads its settings with a delay.
    let mut db = loop {
        match Postgres::connect(&address) {
            Ok(db) => break db,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    };
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let client = db.client().expect("connected");
    assert!(
        client
            .query_one(encrypted, &[])
            .expect("read")
            .get::<_, bool>(0)
    );
    let other = Postgres::connect(&url(&format!("{tls}/second.crt"))).err();
    assert!(other.is_some(), "another's certificate");
}
