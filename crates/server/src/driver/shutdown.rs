//! Shutdown of the driver: the last replies are sent, then all connections are closed.

use std::time::{Duration, Instant};

use hstratum_core::alarm::AlarmInput;
use hstratum_core::event::Event;
use hstratum_core::pool::Pool;

use super::Driver;
use crate::driver::io::DriverIo;
use crate::limits::FINISH_MS;
use crate::messages::WorkerEvent;

impl<S: DriverIo> Driver<S> {
    /// Sends the last replies once their shares are durable or given up, then closes all connections.
    pub(super) fn finish(&mut self, pool: &mut Pool) {
        self.begin_end();
        let deadline = Instant::now() + Duration::from_millis(FINISH_MS);
        while !self.is_settled() {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(message) = self.inbox.work.recv_timeout(left) else {
                break;
            };
            self.finish_with(pool, message);
        }
        self.end(pool);
    }

    /// Begins the shutdown: nothing more is read.
    pub fn begin_end(&mut self) {
        self.commit();
        self.tell_alarms(AlarmInput::Stop);
    }

    /// True once the ledger has reported on all shares.
    pub fn is_settled(&self) -> bool {
        self.settled >= self.last
    }

    /// Processes a message of a thread during the shutdown.
    pub fn finish_with(&mut self, pool: &mut Pool, message: WorkerEvent) {
        let now = self.net.now();
        self.handle_work(pool, now, message);
        // A reply that leaves may let the pool process lines that waited behind it.
        self.commit();
    }

    /// Closes all connections; each is first told what has become of its shares.
    pub fn end(&mut self, pool: &mut Pool) {
        let now = self.net.now();
        self.handle(pool, now, Event::Stop);
        self.net.flush();
        self.net.reset_all();
    }
}
