//! Status of the pool and its workers for the operator's orders. Read-only: no decision depends on it.

use crate::order::{Info, JobInfo, WorkerInfo};
use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::accounting::ledger::Tally;
use crate::accounts::User;
use crate::limits::WORKERS_LISTED_MAX;
use crate::occupancy::Occupancy;
use crate::pool::Pool;
use crate::units::Now;

impl Pool {
    pub(crate) fn info(&mut self, now: Now) -> Info {
        let workers = self.worker_names(None).count();
        let sessions = self.sessions.iter();
        let sessions = sessions.filter(|session| session.proxied.is_none());
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
            sent: self.sent(),
            door: Occupancy::default(),
            refused_banned: self.shared.counts.refused_banned,
            bans: self.bans.list(now).len(),
            refused_logins: self.shared.refusals.counts(),
            refused: self.shared.refusals.list(),
            is_draining: self.is_draining(),
            last_block: self.shared.last_block,
        }
    }

    /// Up to `count` workers from the index `from` on, ordered by name, and the count of all.
    pub(crate) fn list_workers(
        &self,
        now: Now,
        account: Option<&str>,
        count: usize,
        from: usize,
    ) -> (Vec<WorkerInfo>, usize) {
        let mut all: Vec<_> = self.worker_names(account).collect();
        all.sort_unstable();
        let total = all.len();
        let count = count.min(WORKERS_LISTED_MAX);
        let listed: BTreeSet<_> = all.into_iter().skip(from).take(count).collect();
        (self.worker_infos(now, &listed), total)
    }

    /// The name of every connected worker, of one account or of all, each once. Names are borrowed,
    /// because there may be many.
    fn worker_names<'a>(&'a self, account: Option<&str>) -> impl Iterator<Item = WorkerName<'a>> {
        let users = self.sessions.iter().flat_map(|session| &session.users);
        let names = users.map(|one| name_of(&one.user));
        let names: HashSet<_> = names
            .filter(|(of, _)| account.is_none_or(|name| name == *of))
            .collect();
        names.into_iter()
    }

    /// The status of these workers.
    fn worker_infos(&self, now: Now, listed: &BTreeSet<WorkerName<'_>>) -> Vec<WorkerInfo> {
        let mut workers = BTreeMap::new();
        for session in self.sessions.iter() {
            for one in &session.users {
                let name = name_of(&one.user);
                if !listed.contains(&name) {
                    continue;
                }
                let info = workers.entry(name).or_insert_with(|| WorkerInfo {
                    account: one.user.account.clone(),
                    worker: one.user.worker.clone().unwrap_or_default(),
                    connections: 0,
                    difficulty: None,
                    hashrate: 0.0,
                    sent: Tally::default(),
                    connected_s: 0,
                });
                info.connections += 1;
                info.hashrate += one.rate.hashes_per_s(now.ms);
                info.sent.add(&one.told);
                info.sent.add(&one.tally);
                let connected_ms = now.ms - session.connected_at_ms;
                info.connected_s = info.connected_s.max(connected_ms / 1000);
                if info.difficulty < session.announced() {
                    info.difficulty = session.announced();
                }
            }
        }
        workers.into_values().collect()
    }
}

/// Account and worker.
type WorkerName<'a> = (&'a str, &'a str);

fn name_of(user: &User) -> WorkerName<'_> {
    (&user.account, user.worker.as_deref().unwrap_or_default())
}
