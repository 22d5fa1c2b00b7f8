//! What makes a file a ledger: its tables, its version, and how it is opened.
//!
//! A file that is not one, or that is damaged, is never written to.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rusqlite::{Connection, OpenFlags};

/// The tables of version 1.
const SCHEMA: &str = include_str!("schema.sql");

/// Marks the file as a ledger: "HNSL" (<https://www.sqlite.org/fileformat.html>, offset 68).
const APPLICATION_ID: i32 = 0x484e_534c;

/// The version that this program writes.
const VERSION: i32 = 1;

/// How long a statement waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(10);

/// Opens a ledger that exists, beside the server that may be writing to it.
///
/// # Errors
/// When there is none, it is no ledger, or its version is not this program's.
pub fn open_beside(path: &Path) -> anyhow::Result<Connection> {
    let name = path.display();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)
        .with_context(|| format!("failed to open the ledger {name}"))?;
    conn.busy_timeout(BUSY)?;
    let read = |pragma: &str| conn.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    if read("application_id").with_context(|| format!("failed to read the ledger {name}"))?
        != APPLICATION_ID
    {
        bail!("{name} is no ledger of hstratum");
    }
    let version = read("user_version")?;
    if version != VERSION {
        bail!("the ledger {name} has version {version}, this program knows {VERSION}");
    }
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    Ok(conn)
}

/// Makes an empty file, or memory, a ledger.
///
/// # Errors
/// What SQLite says.
pub fn create(
    conn: &Connection,
    network: &str,
    origin: [u8; 16],
    unix_s: u64,
) -> rusqlite::Result<()> {
    conn.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
         BEGIN IMMEDIATE; {SCHEMA}
         PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
    ))?;
    let unix_s = i64::try_from(unix_s).expect("a clock before the end of time");
    conn.execute(
        "INSERT INTO meta VALUES (1, ?1, ?2, 0, ?3)",
        (network, origin, unix_s),
    )?;
    conn.execute_batch("COMMIT")
}
