//! Counts of what the pool under test and its surroundings keep.

use hstratum_core::event::Event;

use super::{PendingWork, PoolHarness};

/// More than a line.
const READ_BYTES: usize = 16 * 1024;

impl PoolHarness {
    /// Count of miners' connections, as in the pool's status.
    pub(crate) fn connections(&self) -> u64 {
        self.pool.status(self.now).counts.connections()
    }

    /// The status of every worker.
    pub(crate) fn workers(&self) -> Vec<hstratum_core::pool::status::WorkerStatus> {
        let mut workers = Vec::new();
        self.pool.workers(self.now, 0, usize::MAX / 2, &mut workers);
        workers
    }

    /// Count of the things that the pool keeps under this name.
    pub(crate) fn size(&self, what: &str) -> usize {
        let sizes = self.pool.sizes(READ_BYTES, READ_BYTES);
        let size = sizes.iter().find(|size| size.what == what);
        size.expect("something that is counted").count
    }

    /// Count of password checks and user writes that are not done.
    pub(crate) fn passwords_owed(&self) -> usize {
        self.questions.len()
    }

    /// Answers one password check, even while they are held back.
    pub(crate) fn check_password(&mut self) {
        if let Some(PendingWork::Checked(ticket, is)) = self.questions.pop_front() {
            self.handle(Event::PasswordChecked(ticket, is));
        }
    }
}
