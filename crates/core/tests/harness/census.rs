//! How much waits at the table.

use hstratum_core::event::Event;

use super::{Due, Table};

/// A line and more.
const READ_BYTES: usize = 16 * 1024;

impl Table {
    /// As others see it, and how many connections an operator is told of.
    pub(crate) fn connections(&self) -> u64 {
        self.pool.status(self.now).counts.connections()
    }

    /// Who may have work.
    pub(crate) fn workers(&self) -> Vec<hstratum_core::pool::status::WorkerStatus> {
        let mut workers = Vec::new();
        self.pool.workers(self.now, 0, usize::MAX / 2, &mut workers);
        workers
    }

    /// How much the pool keeps of something.
    pub(crate) fn size(&self, what: &str) -> usize {
        let sizes = self.pool.sizes(READ_BYTES, READ_BYTES);
        let size = sizes.iter().find(|size| size.what == what);
        size.expect("something that is counted").count
    }

    /// Passwords that the clerk has not checked and users it has not written.
    pub(crate) fn clerk_owes(&self) -> usize {
        self.questions.len()
    }

    /// The clerk answers one question, held or not.
    pub(crate) fn check_password(&mut self) {
        if let Some(Due::Checked(ticket, is)) = self.questions.pop_front() {
            self.handle(Event::PasswordChecked(ticket, is));
        }
    }
}
