//! Copies a ledger while it is written to.
//!
//! The copy is one state of the ledger, read in one transaction that blocks no writer, and a single file: it
//! needs no `-wal` beside it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::durable_fs;
use crate::sql;
use crate::sql::sqlite_schema;

/// Copies the ledger to a file that does not exist yet: whole, durable and checked, or not at all.
///
/// # Errors
/// When the ledger cannot be read, the file exists or cannot be written, or the copy is damaged.
pub fn backup(ledger: &Path, to: &Path) -> anyhow::Result<()> {
    let from = sqlite_schema::open_beside(ledger)?;
    ensure!(
        to.symlink_metadata().is_err(),
        "{} exists and is not overwritten",
        to.display()
    );
    let mut name = OsString::from(to);
    name.push(".tmp");
    let temporary = Path::new(&name);
    let copied = copy(&from, temporary)
        .and_then(|()| {
            ensure!(to.symlink_metadata().is_err(), "it exists meanwhile");
            fs::rename(temporary, to).context("failed to rename it")
        })
        .with_context(|| format!("failed to write {}", to.display()));
    if copied.is_err() {
        // A partial copy is useless.
        let _ = fs::remove_file(temporary);
    }
    copied?;
    durable_fs::parent(to).map_or(Ok(()), durable_fs::sync_dir)
}

fn copy(from: &Connection, to: &Path) -> anyhow::Result<()> {
    // Left by an earlier attempt.
    if to.exists() {
        fs::remove_file(to)?;
    }
    // SQLite would not report the reason of a failure.
    File::create(to)?;
    let mut conn = Connection::open(to)?;
    let step = Backup::new(from, &mut conn)?.step(-1);
    let step = step.map_err(|error| sql::named(from, error))?;
    match step {
        StepResult::Done => {}
        _ => bail!("the ledger is busy"),
    }
    conn.pragma_update(None, "journal_mode", "DELETE")?;
    let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    ensure!(verdict == "ok", "the copy is damaged: {verdict}");
    conn.close().map_err(|(_, error)| error)?;
    File::open(to)?.sync_all()?;
    Ok(())
}
