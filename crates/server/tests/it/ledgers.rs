//! Ledgers of either engine, with the blocks and credit that a test wants.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hstratum::ledger_tools::LedgerLocation;
use hstratum::sql::{Db, FromValue, Row, Sql, SqlError, Sqlite, Value};
use hstratum::sql::{postgres_schema, sqlite_schema};
use hstratum::values;
use hstratum_core::chain::address::Network;
use tempfile::TempDir;

use crate::postgres::Server;

/// Network difficulty of all blocks.
pub(crate) const NETWORK_DIFFICULTY: f64 = 100.0;

pub(crate) struct Ledger {
    home: Home,
    db: RefCell<Db>,
}

enum Home {
    File(TempDir),
    Postgres(String, Arc<Server>),
}

/// Runs a test on a new ledger of each engine.
pub(crate) fn on_each(test: impl Fn(&Ledger)) {
    test(&Ledger::in_file());
    test(&Ledger::in_postgres());
}

impl Ledger {
    /// A new one for regtest, in a file.
    pub(crate) fn in_file() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        drop(sqlite_schema::open_own(&path, "regtest", 1_000, &mut Vec::new()).expect("created"));
        let db = Db::Sqlite(Sqlite::open_beside(&path).expect("opened"));
        Self {
            home: Home::File(dir),
            db: RefCell::new(db),
        }
    }

    /// A new one for regtest, in PostgreSQL.
    pub(crate) fn in_postgres() -> Self {
        Self::on(Server::shared())
    }

    /// The same, on a server that can be stopped.
    pub(crate) fn in_postgres_of_its_own() -> Self {
        Self::on(Arc::new(Server::start()))
    }

    fn on(server: Arc<Server>) -> Self {
        let url = server.database();
        let address = url.parse().expect("an address");
        let opened = postgres_schema::open(&address, Network::Regtest, 1_000).expect("created");
        Self {
            home: Home::Postgres(url, server),
            db: RefCell::new(Db::Postgres(Box::new(opened))),
        }
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self.home, Home::File(_))
    }

    /// Path of a ledger in a file.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir().join("ledger.db")
    }

    /// Directory of a ledger in a file.
    pub(crate) fn dir(&self) -> &Path {
        match &self.home {
            Home::File(dir) => dir.path(),
            Home::Postgres(..) => panic!("it is in no file"),
        }
    }

    pub(crate) fn place(&self) -> LedgerLocation {
        self.argument().parse().expect("a ledger")
    }

    /// Argument for `--ledger`.
    pub(crate) fn argument(&self) -> String {
        match &self.home {
            Home::File(_) => self.path().display().to_string(),
            Home::Postgres(url, _) => url.clone(),
        }
    }

    /// Another connection, as of another process.
    pub(crate) fn open(&self) -> Db {
        match &self.home {
            Home::File(_) => Db::Sqlite(Sqlite::open_beside(&self.path()).expect("opened")),
            Home::Postgres(url, _) => {
                let address = url.parse().expect("an address");
                postgres_schema::open_existing(&address).expect("opened")
            }
        }
    }

    /// Kills its server.
    pub(crate) fn stop(&mut self) {
        self.server().kill();
    }

    /// Starts its server again.
    pub(crate) fn resume(&mut self) {
        self.server().resume();
    }

    fn server(&mut self) -> &mut Server {
        match &mut self.home {
            Home::Postgres(_, server) => Arc::get_mut(server).expect("of its own"),
            Home::File(_) => panic!("it is in a file"),
        }
    }

    /// Makes the server ask this role for its password from now on.
    pub(crate) fn require_password(&self, role: &str) {
        if let Home::Postgres(_, server) = &self.home {
            server.require_password(role);
        }
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&mut dyn Sql) -> Result<T, SqlError>) -> T {
        self.db.borrow_mut().read(read).expect("read")
    }

    pub(crate) fn write<T>(&self, write: impl FnMut(&mut dyn Sql) -> Result<T, SqlError>) -> T {
        self.db.borrow_mut().write(write).expect("written")
    }

    pub(crate) fn account(&self, name: &str) -> i64 {
        let insert = "INSERT INTO accounts (name) VALUES (?1) ON CONFLICT (name) DO NOTHING";
        self.execute(insert, &values![name]);
        self.value("SELECT id FROM accounts WHERE name = ?1", &values![name])
    }

    pub(crate) fn credit(&self, height: u32, account: &str, difficulty: f64, count: u32) {
        self.credit_of(0, height, account, difficulty, count);
    }

    pub(crate) fn credit_of(
        &self,
        origin: i64,
        height: u32,
        account: &str,
        difficulty: f64,
        count: u32,
    ) {
        let account = self.account(account);
        self.execute(
            "INSERT INTO credit (height, account, difficulty, origin, count)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (height, account, difficulty, origin) DO UPDATE SET
               count = credit.count + excluded.count",
            &values![height, account, difficulty, origin, count],
        );
        self.execute(
            "INSERT INTO heights (height, difficulty) VALUES (?1, ?2)
             ON CONFLICT (height) DO NOTHING",
            &values![height, NETWORK_DIFFICULTY],
        );
        self.show(height);
    }

    /// Shows it a chain of at least this height, with as much work as blocks.
    pub(crate) fn show(&self, height: u32) {
        self.execute(
            "INSERT INTO highest_tip (id, height, hash, work, seen_at) VALUES (1, ?1, ?2, ?2, 900)
             ON CONFLICT (id) DO UPDATE SET height = excluded.height, hash = excluded.hash,
               work = excluded.work WHERE highest_tip.height < excluded.height",
            &values![height, format!("{height:064x}")],
        );
    }

    /// Inserts a block of 2000 HNS whose dump is written; its hash is the height twice.
    pub(crate) fn block(&self, height: u32, state: &str) -> String {
        self.named_block(&format!("{height:032}{height:032}"), height, state)
    }

    pub(crate) fn named_block(&self, hash: &str, height: u32, state: &str) -> String {
        self.execute(
            "INSERT INTO blocks (hash, height, time, found_at, txid, address, reward, difficulty,
                                 state, changed_at, closed_at, round_from, dumped_at, origin)
             VALUES (?1, ?2, 900, 900, ?1, 'rs1q', 2000000000, ?3, ?4, 900, 900, 0, 900, 0)",
            &values![hash, height, NETWORK_DIFFICULTY, state],
        );
        self.show(height);
        self.set_state(hash, state);
        hash.to_owned()
    }

    /// Sets a block's state; a lost one is lost for good.
    pub(crate) fn set_state(&self, hash: &str, state: &str) {
        self.execute(
            "UPDATE blocks SET state = ?2, final_at = CASE WHEN CAST(?2 AS TEXT)
               IN ('orphaned', 'refused') THEN 900 END WHERE hash = ?1",
            &values![hash, state],
        );
    }

    pub(crate) fn balance(&self, account: &str) -> i64 {
        let balance = "SELECT balance FROM balances WHERE account = ?1";
        self.value(balance, &values![self.account(account)])
    }

    /// Reads one integer.
    pub(crate) fn get(&self, sql: &str) -> i64 {
        self.value(sql, &[])
    }

    /// Reads one value.
    pub(crate) fn value<T: FromValue>(&self, sql: &str, params: &[Value]) -> T {
        let row = self.read(|db: &mut dyn Sql| db.query_one(sql, params));
        row.get(0).expect(sql)
    }

    pub(crate) fn rows(&self, sql: &str) -> Vec<Row> {
        self.read(|db: &mut dyn Sql| db.query(sql, &[]))
    }

    pub(crate) fn execute(&self, sql: &str, params: &[Value]) {
        self.write(|db: &mut dyn Sql| db.execute(sql, params));
    }
}
