//! How a driver ends: the last replies leave, then everybody is sent away.

use std::time::{Duration, Instant};

use hstratum_core::alarm::Sign;
use hstratum_core::event::Event;
use hstratum_core::pool::Pool;

use super::Driver;
use crate::driver::io::Surroundings;
use crate::limits::FINISH_MS;
use crate::messages::WorkMail;

impl<S: Surroundings> Driver<S> {
    /// The last replies leave once their shares are durable or given up; then everybody is sent away.
    pub(super) fn finish(&mut self, pool: &mut Pool) {
        self.begin_end();
        let deadline = Instant::now() + Duration::from_millis(FINISH_MS);
        while !self.is_settled() {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(mail) = self.mailbox.work.recv_timeout(left) else {
                break;
            };
            self.finish_with(pool, mail);
        }
        self.end(pool);
    }

    /// The end begins: nothing more is read.
    pub fn begin_end(&mut self) {
        self.commit();
        self.sign(Sign::Stop);
    }

    /// Whether the ledger has spoken of all shares.
    pub fn is_settled(&self) -> bool {
        self.settled >= self.last
    }

    /// Somebody who was still at work is done.
    pub fn finish_with(&mut self, pool: &mut Pool, mail: WorkMail) {
        let now = self.net.now();
        self.handle_work(pool, now, mail);
        // A reply that leaves may let in lines that waited behind it.
        self.commit();
    }

    /// Everybody is sent away, with what has become of their shares.
    pub fn end(&mut self, pool: &mut Pool) {
        let now = self.net.now();
        self.handle(pool, now, Event::Stop);
        self.net.flush();
        self.net.reset_all();
    }
}
