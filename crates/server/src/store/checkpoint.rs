//! Copying the ledger's log into its file: when, and by whom.
//!
//! A thread does it off the way of the shares. It waits for nobody and holds nobody up; what it
//! leaves, the next turn takes. A log can only begin anew when all of it is copied, so the ledger's
//! thread copies the rest itself between two commits when the log has grown long.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use hstratum_core::event::Level;
use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::schema::open_to_read_write;
use crate::duty::Duty;
use crate::limits::WAL_BYTES;
use crate::node::Node;

/// Bytes of a page in the log, with its header (<https://www.sqlite.org/fileformat2.html>, 4.1).
const LOG_PAGE_BYTES: u64 = 4096 + 24;

/// Copies each time it is told to. Ends when nobody can tell it any more.
pub(super) fn run(ledger: &Path, wanted: &Receiver<()>, duty: &Duty, node: &dyn Node) {
    let mut last_error = None;
    while let Ok(()) = wanted.recv() {
        duty.owe();
        // Opened anew: the file may be another after a disk was mended.
        let done = open_to_read_write(ledger).and_then(|conn| Ok(checkpoint(&conn)?));
        if done.is_ok() {
            duty.done();
        }
        let error = done.err().map(|error| error.to_string());
        if error != last_error
            && let Some(error) = &error
        {
            let text = format!("failed to copy the ledger's log into its file: {error}");
            node.log(Level::Warning, &text);
        }
        last_error = error;
    }
}

/// Copies what it can of the log into the file, and waits for nobody.
pub(super) fn checkpoint(conn: &Connection) -> rusqlite::Result<()> {
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// How far the log has grown since it last began anew. Its file keeps its size over that.
#[derive(Clone, Default)]
pub(super) struct Log {
    pages: Arc<AtomicU64>,
}

impl Log {
    /// Has the connection keep count.
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

/// Says when the log has grown by [`WAL_BYTES`] since it was last said, above a size.
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
            // It has begun anew.
            self.said_at = 0;
        }
        let is_due = log_bytes >= self.above.max(self.said_at + WAL_BYTES);
        if is_due {
            self.said_at = log_bytes;
        }
        is_due
    }
}
