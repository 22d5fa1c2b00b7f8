//! Log lines caused by strangers, at a limited rate.

use crate::accounts::refused_logins::RefusalReason;
use crate::event::{Actions, Level};
use crate::pool::dispatch::RequestContext;
use crate::pool::state::PoolShared;
use crate::session::Session;
use crate::units::Now;

impl PoolShared {
    /// Logs how many lines were left out, when that is due.
    pub(crate) fn tell_what_was_left_out(&mut self, now: Now, out: &mut Actions) {
        for text in self.refusals.tick(now.ms) {
            self.log_limit.tell(now, Level::Info, || text, out);
        }
        for (level, text) in self.log_limit.tick(now.ms) {
            out.log(level, text);
        }
    }
}

impl RequestContext<'_> {
    /// Counts a refused login, and logs it if a line is due.
    pub(crate) fn note_refused(&mut self, session: &Session, name: &str, why: RefusalReason) {
        let refusals = &mut self.shared.refusals;
        if let Some(line) = refusals.note(self.now, session.address, name, why) {
            self.shared
                .log_limit
                .tell(self.now, Level::Info, || line, self.out);
        }
    }
}
