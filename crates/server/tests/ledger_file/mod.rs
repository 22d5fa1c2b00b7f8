//! A ledger in a file of its own, with blocks and credit as a test wants them.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use hstratum::store::schema;
use rusqlite::{Connection, params};
use tempfile::TempDir;

/// A block costs this much on the ledger's network.
pub(crate) const NETWORK_DIFFICULTY: f64 = 100.0;

pub(crate) struct LedgerFile {
    dir: TempDir,
    pub(crate) conn: Connection,
}

impl LedgerFile {
    /// A new one, of regtest.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let conn = Connection::open(dir.path().join("ledger.db")).expect("opened");
        conn.busy_timeout(Duration::from_secs(10)).expect("set");
        schema::create(&conn, "regtest", [7; 16], 1_000).expect("created");
        Self { dir, conn }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("ledger.db")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Beside the first connection, as another process has it.
    pub(crate) fn open(&self) -> Connection {
        schema::open_beside(&self.path()).expect("opened")
    }

    pub(crate) fn account(&self, name: &str) -> i64 {
        self.execute(
            "INSERT OR IGNORE INTO accounts (name) VALUES (?1)",
            params![name],
        );
        self.get(&format!(
            "SELECT id FROM accounts WHERE name = CAST(x'{}' AS TEXT)",
            hex(name.as_bytes())
        ))
    }

    pub(crate) fn credit(&self, height: u32, account: &str, difficulty: f64, count: u32) {
        let account = self.account(account);
        self.execute(
            "INSERT INTO credit VALUES (?1, ?2, ?3, 0, ?4)
             ON CONFLICT DO UPDATE SET count = count + excluded.count",
            params![height, account, difficulty, count],
        );
        self.execute(
            "INSERT OR IGNORE INTO heights VALUES (?1, ?2)",
            params![height, NETWORK_DIFFICULTY],
        );
    }

    /// A block of 2000 HNS with its dump written; its hash is the height twice.
    pub(crate) fn block(&self, height: u32, state: &str) -> String {
        self.named_block(&format!("{height:032}{height:032}"), height, state)
    }

    pub(crate) fn named_block(&self, hash: &str, height: u32, state: &str) -> String {
        self.execute(
            "INSERT INTO blocks (hash, height, time, found_at, txid, address, reward, difficulty,
                                 state, changed_at, closed_at, round_from, dumped_at)
             VALUES (?1, ?2, 900, 900, ?1, 'rs1q', 2000000000, ?3, ?4, 900, 900, 0, 900)",
            params![hash, height, NETWORK_DIFFICULTY, state],
        );
        hash.to_owned()
    }

    pub(crate) fn set_state(&self, hash: &str, state: &str) {
        self.execute(
            "UPDATE blocks SET state = ?2 WHERE hash = ?1",
            params![hash, state],
        );
    }

    pub(crate) fn balance(&self, account: &str) -> i64 {
        let id = self.account(account);
        self.get(&format!(
            "SELECT balance FROM balances WHERE account = {id}"
        ))
    }

    /// One integer.
    pub(crate) fn get(&self, sql: &str) -> i64 {
        self.conn.query_row(sql, [], |row| row.get(0)).expect(sql)
    }

    pub(crate) fn execute(&self, sql: &str, params: impl rusqlite::Params) {
        self.conn.execute(sql, params).expect(sql);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
