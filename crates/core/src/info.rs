//! How the pool does, for an operator who asks: numbers and names, and nothing is decided by them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::Now;
use crate::ledger::Tally;
use crate::limits::WORKERS_LISTED_MAX;
use crate::pool::Pool;
use crate::units::{Difficulty, Hash, Height};
use crate::view::workers_of;

/// The pool at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// Connections that have spoken.
    pub connections: usize,
    /// Those of them that have work.
    pub mining: usize,
    /// Workers on them.
    pub workers: usize,
    /// What miners work on.
    pub job: Option<JobInfo>,
    /// Why there is none, where the node has said so.
    pub no_job: Option<String>,
    /// Hashes a second, of late.
    pub hashrate: f64,
    /// What miners have sent since the start, by outcome; up to ten seconds old.
    pub sent: Tally,
    /// Addresses that are refused.
    pub bans: usize,
    /// No connections are taken, as ordered.
    pub is_draining: bool,
    /// The last block that was offered to the node since the start.
    pub last_block: Option<(Height, Hash)>,
}

/// The newest job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JobInfo {
    /// The height that it mines.
    pub height: Height,
    /// What a block takes.
    pub difficulty: Difficulty,
    /// How long ago its template came, in seconds.
    pub age_s: u64,
}

/// A worker that is connected.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerInfo {
    /// Who is paid. Untrusted text.
    pub account: Arc<str>,
    /// Which machine; empty where the name says none. Untrusted text.
    pub worker: Box<str>,
    /// How many connections have it.
    pub connections: usize,
    /// The greatest difficulty that one of them was told; none before its first job.
    pub difficulty: Option<Difficulty>,
    /// Hashes a second, of late.
    pub hashrate: f64,
    /// For how long the oldest of them has been there, in seconds.
    pub connected_s: u64,
}

impl Pool {
    pub(crate) fn info(&mut self, now: Now) -> Info {
        let workers = self.worker_infos(now, None).len();
        let sessions = self.sessions.iter();
        let (connections, mining) = sessions.fold((0, 0), |(all, mining), session| {
            (all + 1, mining + usize::from(session.has_job()))
        });
        let is_live = self.shared.has_live_job() && self.no_template.is_none();
        let newest = self.shared.jobs.newest().filter(|_| is_live);
        Info {
            connections,
            mining,
            workers,
            job: newest.map(|job| JobInfo {
                height: job.template.height,
                difficulty: job.network_difficulty,
                age_s: (now.ms - self.job_at_ms) / 1000,
            }),
            no_job: self.no_template.clone(),
            hashrate: self.shared.rate.hashes_per_s(now.ms),
            sent: self.tallies.sent(),
            bans: self.bans.list(now).len(),
            is_draining: self.is_draining(),
            last_block: self.shared.last_block,
        }
    }

    /// So many workers from that one on, by name, and how many there are.
    pub(crate) fn list_workers(
        &self,
        now: Now,
        account: Option<&str>,
        count: usize,
        from: usize,
    ) -> (Vec<WorkerInfo>, usize) {
        let all = self.worker_infos(now, account);
        let total = all.len();
        let count = count.min(WORKERS_LISTED_MAX);
        (all.into_values().skip(from).take(count).collect(), total)
    }

    /// Every worker that is connected, of one account or of all.
    fn worker_infos(
        &self,
        now: Now,
        account: Option<&str>,
    ) -> BTreeMap<(Arc<str>, Box<str>), WorkerInfo> {
        let mut workers = BTreeMap::new();
        let sessions = self.sessions.iter();
        let views = sessions.flat_map(|session| workers_of(session, now));
        for view in views.filter(|view| account.is_none_or(|name| *view.account == *name)) {
            let key = (view.account.clone(), view.worker.clone());
            let info = workers.entry(key).or_insert_with(|| WorkerInfo {
                account: view.account,
                worker: view.worker,
                connections: 0,
                difficulty: None,
                hashrate: 0.0,
                connected_s: 0,
            });
            info.connections += 1;
            info.hashrate += view.hashrate;
            info.connected_s = info.connected_s.max(view.connected_ms / 1000);
            if info.difficulty < view.difficulty {
                info.difficulty = view.difficulty;
            }
        }
        workers
    }
}
