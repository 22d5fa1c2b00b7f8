//! Effects of a wrong or changed clock on jobs. A share's time must not be more than [`TIME_AHEAD_MAX_S`]
//! ahead of the clock; if a job's earliest time is, no miner can be given it.

use crate::chain::template::Template;
use crate::event::{Actions, Level};
use crate::limits::{CLOCK_BACK_S, TIME_AHEAD_MAX_S};
use crate::pool::state::Pool;
use crate::units::Now;

/// The reason for having no job while every share would be `time too new`, and every block refused.
pub(crate) const CLOCK_BEHIND: &str = "the clock of this machine is hours behind the chain";

pub(crate) fn is_ahead_of_clock(template: &Template, now: Now) -> bool {
    template.time_min > now.unix_s.saturating_add(TIME_AHEAD_MAX_S)
}

impl Pool {
    /// Checks the clock against the jobs. If it went back, the times of jobs already sent may be too far
    /// ahead of it: everybody gets a fresh job.
    pub(crate) fn check_clock(&mut self, now: Now, out: &mut Actions) {
        let back_s = self.clock_s.saturating_sub(now.unix_s);
        self.clock_s = now.unix_s;
        let newest = self.shared.jobs.newest();
        if newest.is_some_and(|job| is_ahead_of_clock(&job.template, now)) {
            return self.handle_no_template(now, CLOCK_BEHIND.to_owned(), out);
        }
        if back_s < CLOCK_BACK_S {
            return;
        }
        let text = format!("the clock went back by {back_s} s: jobs are sent anew");
        out.log(Level::Warning, text);
        if self.shared.has_live_job() && self.shared.jobs.push_fresh().is_some() {
            self.broadcast_newest_job(now, out);
        }
    }
}
