//! Groups of shares for the ledger.

use hstratum_core::units::Now;

use super::Driver;
use crate::driver::io::DriverIo;
use crate::limits::{CREDITS_PER_GROUP, GROUP_MS};
use crate::store::StoreCommand;

impl<S: DriverIo> Driver<S> {
    /// Sends the recorded shares to the ledger when no connection waits to be read, when there are enough, or
    /// when the first one has waited long enough.
    pub(super) fn commit_in_time(&mut self, now: Now) {
        if self.credits.len() >= CREDITS_PER_GROUP
            || !self.net.has_readable()
            || now.ms >= self.commit_by_ms
        {
            self.commit();
        } else if !self.credits.is_empty() {
            self.commit_by_ms = self.commit_by_ms.min(now.ms + GROUP_MS);
        }
    }

    /// Sends the recorded shares to the ledger.
    pub(crate) fn commit(&mut self) {
        self.commit_by_ms = u64::MAX;
        if !self.credits.is_empty() {
            // The next group is about as large.
            let room = Vec::with_capacity(self.credits.len());
            let credits = std::mem::replace(&mut self.credits, room);
            if let Some(telemetry) = &mut self.telemetry {
                telemetry.recorded(self.last, credits.len());
            }
            self.senders.tell_store(StoreCommand::Credits(credits));
        }
    }
}
