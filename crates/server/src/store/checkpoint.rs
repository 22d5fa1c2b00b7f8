//! The thread that copies the ledger's log into its file, off the way of the shares. It waits for
//! nobody and holds nobody up; what it leaves, the next turn takes.

use std::path::Path;
use std::sync::mpsc::Receiver;

use hstratum_core::event::Level;

use super::schema::open_to_read_write;
use super::sqlite::checkpoint;
use crate::node::Node;

/// Copies each time it is told to. Ends when nobody can tell it any more.
pub(super) fn run(ledger: &Path, wanted: &Receiver<()>, node: &dyn Node) {
    let mut last_error = None;
    while let Ok(()) = wanted.recv() {
        // Opened anew: the file may be another after a disk was mended.
        let done = open_to_read_write(ledger).and_then(|conn| checkpoint(&conn));
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
