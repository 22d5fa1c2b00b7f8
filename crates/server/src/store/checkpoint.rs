//! Checkpoints of the ledger's write-ahead log: copying it into the database file.
//!
//! A thread of its own does it, apart from the shares. It takes no locks that others wait for; pages that a
//! reader keeps from being copied are left to the next run. SQLite resets the log only when all of it is
//! copied, so once it has grown long, the ledger's thread copies the rest itself between two commits.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use hstratum_core::event::Level;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, Row};

use super::ledger_status::LedgerStatus;
use crate::limits::WAL_BYTES;
use crate::node::Node;
use crate::repeated_log::LogOnce;
use crate::sql::sqlite_schema::{beside, open_to_read_write};
use crate::supervision::Duty;

/// Bytes of a page in the log, including its header (<https://www.sqlite.org/fileformat2.html>, 4.1).
const LOG_PAGE_BYTES: u64 = 4096 + 24;

/// Copies the log whenever told to, and truncates a long log that was idle between two checks. Returns when
/// all senders of `wanted` are gone.
pub(super) fn run(
    ledger: &Path,
    wanted: &Receiver<()>,
    look_every: Duration,
    status: &LedgerStatus,
    duty: &Duty,
    node: &dyn Node,
) {
    let mut failing = LogOnce::default();
    let mut seen = None;
    loop {
        let done = match wanted.recv_timeout(look_every) {
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let before = std::mem::replace(&mut seen, long_log(ledger));
                if seen.is_none() || seen != before {
                    continue;
                }
                shorten(ledger, status)
            }
            Ok(()) => {
                duty.owe();
                // Reopened each time: the file may be a different one after the disk was repaired.
                let done = open_to_read_write(ledger).and_then(|conn| Ok(checkpoint(&conn)?));
                if done.is_ok() {
                    duty.done();
                }
                done
            }
        };
        match done {
            Ok(()) => drop(failing.end()),
            Err(error) => {
                let text = format!("failed to copy the ledger's log into its file: {error}");
                failing.say(node, Level::Warning, &text);
            }
        }
    }
}

/// Length and time of last write of the log's file, if it is long.
fn long_log(ledger: &Path) -> Option<(u64, SystemTime)> {
    let file = fs::metadata(beside(ledger, "-wal")).ok()?;
    let is_long = file.len() >= WAL_BYTES;
    is_long.then(|| Some((file.len(), file.modified().ok()?)))?
}

/// Copies a log that nobody writes to, and truncates its file. If another connection reads or writes
/// meanwhile, the next check tries again.
fn shorten(ledger: &Path, status: &LedgerStatus) -> anyhow::Result<()> {
    let conn = open_to_read_write(ledger)?;
    let get = |row: &Row<'_>| Ok((row.get(1)?, row.get(2)?));
    let copied: (i64, i64) = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], get)?;
    if copied.0 == copied.1 {
        // Everything is copied already, so the writers' lock is held only for a moment.
        conn.busy_timeout(Duration::ZERO)?;
        let is_busy: i64 =
            conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if is_busy == 0 {
            status.log_is_short();
        }
    }
    Ok(())
}

/// Copies as much of the log into the file as is possible without waiting.
pub(super) fn checkpoint(conn: &Connection) -> rusqlite::Result<()> {
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// Length of the log since it was last reset. Its file keeps its size beyond a reset.
#[derive(Clone, Default)]
pub(super) struct Log {
    pages: Arc<AtomicU64>,
}

impl Log {
    /// Makes the connection keep count.
    pub(super) fn watch(&self, conn: &mut Connection) -> rusqlite::Result<()> {
        let pages = self.pages.clone();
        conn.wal_hook(Some(move |_: &mut Wal, in_log: i32| {
            pages.store(u64::from(in_log.unsigned_abs()), Ordering::Relaxed);
            Ok(())
        }))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.pages.load(Ordering::Relaxed) * LOG_PAGE_BYTES
    }
}

/// Reports once for each growth of the log by [`WAL_BYTES`], above a minimum size.
pub(super) struct Growth {
    above: u64,
    said_at: u64,
}

impl Growth {
    pub(super) fn above(above: u64) -> Self {
        Self { above, said_at: 0 }
    }

    pub(super) fn is_due(&mut self, log_bytes: u64) -> bool {
        if log_bytes < self.said_at {
            // The log was reset.
            self.said_at = 0;
        }
        let is_due = log_bytes >= self.above.max(self.said_at + WAL_BYTES);
        if is_due {
            self.said_at = log_bytes;
        }
        is_due
    }
}
