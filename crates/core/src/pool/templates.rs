//! Tips and templates of the node, and the jobs that miners get of them.
//!
//! A template becomes one job, whose `mining.notify` is encoded once for everybody. Without a template on the
//! tip there is no job; how long the port waits for one is decided at the tick.

use std::sync::Arc;

use crate::chain::template::Template;
use crate::event::{Action, Actions, Level};
use crate::pool::clock_skew::{CLOCK_BEHIND, is_ahead_of_clock};
use crate::pool::state::{Pool, PoolShared};
use crate::units::{Hash, Now};

impl Pool {
    pub(crate) fn handle_tip(&mut self, now: Now, hash: Hash) {
        self.shared.tip = Some(hash);
        if !self.shared.has_live_job() {
            self.shared.jobless_since_ms.get_or_insert(now.ms);
        } else if self.no_template.is_none() {
            // A reorganization has come back to the block that the job builds on.
            self.shared.jobless_since_ms = None;
        }
    }

    pub(crate) fn handle_template(&mut self, now: Now, template: Template, out: &mut Actions) {
        if self
            .shared
            .tip
            .is_some_and(|tip| tip != template.prev_block)
        {
            return;
        }
        self.shared.tip = Some(template.prev_block);
        if is_ahead_of_clock(&template, now) {
            return self.handle_no_template(now, CLOCK_BEHIND.to_owned(), out);
        }
        self.shared.jobless_since_ms = None;
        if self.no_template.take().is_some() {
            out.log(Level::Info, "there is a job for miners again".to_owned());
        }
        if !self.shared.is_listening {
            self.shared.is_listening = true;
            self.keep_port(out);
        }
        self.job_at_ms = now.ms;
        self.shared.jobs.push(template);
        self.broadcast_newest_job(now, out);
    }

    pub(crate) fn handle_full_job(&mut self, now: Now, out: &mut Actions) {
        let jobs = &mut self.shared.jobs;
        if !jobs.wants_fresh() || jobs.push_fresh().is_none() {
            return;
        }
        if let Some(closed_below) = jobs.begin_generation() {
            for session in self.sessions.iter_mut() {
                session.close_own_jobs(closed_below);
            }
        }
        self.broadcast_newest_job(now, out);
    }

    /// Sends the same bytes of `mining.notify` to everybody, each after a new difficulty if it has
    /// changed.
    pub(crate) fn broadcast_newest_job(&mut self, now: Now, out: &mut Actions) {
        let jobs = &self.shared.jobs;
        let Some(job) = jobs.newest() else { return };
        let mut line = Vec::new();
        jobs.write_notify(&mut line, job, now.unix_s);
        let line: Arc<[u8]> = line.into();
        let oldest = jobs.oldest_template();
        for session in self
            .sessions
            .iter_mut()
            .filter(|session| session.is_ready())
        {
            session.forget_jobs(oldest);
            session.assign(job, now, out);
            out.push(Action::SendShared(session.conn.id, line.clone()));
        }
    }

    pub(crate) fn handle_no_template(&mut self, now: Now, reason: String, out: &mut Actions) {
        self.shared.jobless_since_ms.get_or_insert(now.ms);
        if self.no_template.as_ref() != Some(&reason) {
            out.log(Level::Warning, format!("no job for miners: {reason}"));
            self.no_template = Some(reason);
        }
    }
}

impl PoolShared {
    /// True if there is a job and its parent is the tip.
    pub(crate) fn has_live_job(&self) -> bool {
        let newest = self.jobs.newest();
        self.tip.is_some() && newest.map(|job| job.template.prev_block) == self.tip
    }
}
