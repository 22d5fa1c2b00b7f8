//! Lock that allows one payout process at a time for a ledger.
//!
//! For a file it is a lock of the operating system, which releases it when the process ends, however it ends.
//! The lock file stays: removing it would let two processes hold locks on two files of one name. In
//! PostgreSQL it is a row lock, in a transaction that lasts until the end.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use anyhow::{Context, bail};
use postgres::Client;
use postgres::error::SqlState;

use crate::sql::SqlError;
use crate::sql::location::LedgerLocation;
use crate::sql::url::PostgresUrl;

/// Application name of such a session, for the server's list of sessions.
const SESSION: &str = "hstratum payout";

/// Error: another process holds the lock.
#[derive(Debug)]
pub struct LockHeld(String);

impl fmt::Display for LockHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LockHeld {}

/// The lock, held until dropped.
pub struct PayoutLock(HeldLock);

enum HeldLock {
    File(#[expect(dead_code, reason = "the lock lives as long as the open file")] File),
    Row(Box<Client>),
}

impl PayoutLock {
    /// Takes the lock of a ledger. Two paths of one ledger have the same lock.
    ///
    /// # Errors
    /// [`LockHeld`] when another process holds it, which is named; or that it cannot be taken.
    pub fn take(location: &LedgerLocation) -> anyhow::Result<Self> {
        Ok(Self(match location {
            LedgerLocation::File(path) => HeldLock::File(lock_file(path)?),
            LedgerLocation::Shared(address) => HeldLock::Row(Box::new(lock_row(address)?)),
        }))
    }

    /// Checks that it is still held: the connection to a server may have been lost.
    ///
    /// # Errors
    /// When it is no longer held.
    pub fn check(&mut self) -> anyhow::Result<()> {
        if let HeldLock::Row(client) = &mut self.0 {
            client
                .query_one("SELECT 1", &[])
                .map_err(SqlError::from)
                .context("the lock of this payout is lost: run it again")?;
        }
        Ok(())
    }
}

/// Locks `<path>.payout-lock`.
fn lock_file(path: &Path) -> anyhow::Result<File> {
    let ledger = path
        .canonicalize()
        .with_context(|| format!("failed to open the ledger {}", path.display()))?;
    let mut name = OsString::from(ledger);
    name.push(".payout-lock");
    let lock = Path::new(&name).display();
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&name)
        .with_context(|| format!("failed to open {lock}"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!(LockHeld(format!(
                "another payout is at work on this ledger: it holds {lock}"
            )))
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("failed to lock {lock}"))
        }
    }
}

fn lock_row(address: &PostgresUrl) -> anyhow::Result<Client> {
    let mut client = address.connect()?;
    let failed = || format!("failed to lock the shared ledger {address}");
    let pid = std::process::id();
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    // The session is idle as long as the payout lasts, and must end only with its process or machine. The
    // application name is cut at 63 bytes.
    let name = format!("{SESSION}, process {pid} on {host:.24}").replace('\'', "");
    client
        .batch_execute(&format!(
            "SET application_name = '{name}';
             SET idle_in_transaction_session_timeout = 0;
             SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
             BEGIN ISOLATION LEVEL READ COMMITTED"
        ))
        .map_err(SqlError::from)
        .with_context(failed)?;
    let lock = "SELECT name FROM leases WHERE name = 'payout' FOR UPDATE NOWAIT";
    match client.query_one(lock, &[]) {
        Ok(_) => Ok(client),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            drop(client);
            bail!(LockHeld(format!(
                "another payout is at work on the shared ledger {address}: {}",
                holders(address).unwrap_or_else(|_| "it holds the lock".to_owned())
            )))
        }
        Err(error) => Err(SqlError::from(error)).with_context(failed),
    }
}

/// The payout sessions that the server knows.
fn holders(address: &PostgresUrl) -> Result<String, SqlError> {
    let rows = address.connect()?.query(
        "SELECT application_name, CAST(extract(epoch FROM now() - xact_start) AS BIGINT)
         FROM pg_stat_activity WHERE application_name LIKE $1 AND xact_start IS NOT NULL",
        &[&format!("{SESSION}, %")],
    )?;
    let mut held = Vec::new();
    for row in rows {
        let (name, seconds): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        held.push(format!("{name:?} since {seconds} s"));
    }
    Ok(held.join(", "))
}
