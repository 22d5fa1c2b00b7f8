//! Tips and templates of the node, and the jobs that miners get of them.
//!
//! A template becomes one job, whose `mining.notify` is encoded once for everybody. Without a template on the
//! tip there is no job; how long the port waits for one is decided at the tick.
//!
//! Solo listeners get a job with the next event, [`Event::SoloJobs`](crate::event::Event::SoloJobs), since each
//! of their payees needs roots of its own: nobody else waits for that.

use std::collections::HashMap;
use std::sync::Arc;

use crate::chain::address::Address;
use crate::chain::coinbase_split::CoinbaseSplit;
use crate::chain::template::Template;
use crate::event::{Action, Actions, Level};
use crate::job::put_roots;
use crate::pool::clock_skew::{CLOCK_BEHIND, is_ahead_of_clock};
use crate::pool::state::{Pool, PoolShared};
use crate::units::{Hash, Now};

/// Room for a `mining.notify` line.
const NOTIFY_BYTES: usize = 512;
/// Payees whose lines are written before they are sent: few enough that the processor's cache has them still.
const PAYEES_AT_ONCE: usize = 256;

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

    pub(crate) fn handle_template(&mut self, now: Now, mut template: Template, out: &mut Actions) {
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
        let reward = template.node_coinbase.value();
        if let Some(split) = &self.split
            && split.serves(template.height, reward)
        {
            template.pay(split);
        }
        self.shared.jobs.push(template);
        self.broadcast_newest_job(now, out);
    }

    /// Takes the split of later jobs. Where the newest job pays the operator alone, or the split has balances
    /// that it lacks, everybody gets a job at once.
    pub(crate) fn handle_split(&mut self, now: Now, split: Arc<CoinbaseSplit>, out: &mut Actions) {
        self.split = Some(split.clone());
        let Some(newest) = self.shared.jobs.newest() else {
            return;
        };
        let template = &newest.template;
        let has_less = match &template.split {
            None => true,
            Some(_) if split.tip != template.prev_block => false,
            Some(frozen) => split.has_balances() && frozen.split().tip != split.tip,
        };
        if has_less
            && self.shared.has_live_job()
            && split.serves(template.height, template.node_coinbase.value())
        {
            self.shared.jobs.pay_newest(&split);
            self.broadcast_newest_job(now, out);
        }
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

    /// Sends the same bytes of `mining.notify` to everybody, those with the most hashrate first, each after a new
    /// difficulty if it has changed. Sessions of solo listeners are owed theirs.
    pub(crate) fn broadcast_newest_job(&mut self, now: Now, out: &mut Actions) {
        let jobs = &self.shared.jobs;
        let Some(job) = jobs.newest() else { return };
        let mut line = Vec::new();
        jobs.write_notify(&mut line, job, None, now.unix_s);
        let line: Arc<[u8]> = line.into();
        let oldest = jobs.oldest_template();
        let mut owes_solo_jobs = false;
        for (_, conn) in self.job_order.iter_from(0) {
            let session = self.sessions.get_mut(conn);
            let Some(session) = session.filter(|session| session.is_ready()) else {
                continue;
            };
            if session.direct.is_some() {
                owes_solo_jobs = true;
                continue;
            }
            session.forget_jobs(oldest);
            session.assign(job, now, out);
            out.push(Action::SendShared(session.conn.id, line.clone()));
        }
        if owes_solo_jobs {
            self.job_order.owe_solo_jobs(0);
        }
    }

    /// True if sessions of solo listeners are owed a job.
    pub fn owes_solo_jobs(&self) -> bool {
        self.job_order.owes_solo_jobs()
    }

    /// Sends the newest job to sessions of solo listeners, until it has lines for [`PAYEES_AT_ONCE`]; those of one
    /// payee get the same bytes. A session that had another job of the same template meanwhile keeps that.
    pub(crate) fn send_solo_jobs(&mut self, now: Now, out: &mut Actions) {
        let Some(from) = self.job_order.take_solo_jobs() else {
            return;
        };
        let jobs = &self.shared.jobs;
        let Some(job) = jobs.newest() else { return };
        let oldest = jobs.oldest_template();
        let mut lines: HashMap<Address, Arc<[u8]>> = HashMap::with_capacity(PAYEES_AT_ONCE);
        // The line for everybody, whose roots are replaced by each payee's.
        let mut written = Vec::with_capacity(NOTIFY_BYTES);
        let roots_at = jobs.write_notify(&mut written, job, None, now.unix_s);
        let mut rest_from = None;
        for (place, conn) in self.job_order.iter_from(from) {
            let session = self.sessions.get_mut(conn);
            let Some(session) =
                session.filter(|one| one.is_ready() && !one.has_job_from(job.number))
            else {
                continue;
            };
            let Some(direct) = session.direct.clone() else {
                continue;
            };
            let line = match lines.get(&direct.payee) {
                Some(line) => line.clone(),
                None if lines.len() == PAYEES_AT_ONCE => {
                    rest_from = Some(place);
                    break;
                }
                None => {
                    put_roots(&mut written, roots_at, &job.direct_roots(&direct));
                    let line: Arc<[u8]> = Arc::from(&*written);
                    lines.insert(direct.payee.clone(), line.clone());
                    line
                }
            };
            session.forget_jobs(oldest);
            session.assign(job, now, out);
            out.push(Action::SendShared(session.conn.id, line));
        }
        if let Some(place) = rest_from {
            self.job_order.owe_solo_jobs(place);
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
