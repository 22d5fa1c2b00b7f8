//! Status of the pool for metrics, the API, alarms and the operator: numbers and names.
//!
//! Read-only: no decision depends on it. Rates are estimates from accepted shares; money is in the
//! ledger.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::accounting::ledger::{BestShare, Tally};
use crate::accounts::User;
use crate::accounts::refused_logins::{RefusalReason, RefusedAddress};
use crate::chain::address::Address;
use crate::event::LedgerState;
use crate::job::JobNumber;
use crate::job::kept_jobs::KeptJobs;
use crate::limits::WORKERS_LISTED_MAX;
use crate::occupancy::Occupancy;
use crate::operator_order::{Info, JobInfo, WorkerInfo};
pub use crate::pool::counts::PoolCounts;
use crate::pool::state::Pool;
use crate::session::Session;
use crate::units::{Difficulty, Height, Now};

/// The current job.
#[derive(Debug, Clone, Copy)]
pub struct JobStatus {
    /// The height it mines.
    pub height: Height,
    /// Difficulty of a block.
    pub network_difficulty: Difficulty,
    /// Count of its transactions, without the coinbase.
    pub transactions: usize,
    /// Amount of its coinbase, in base units.
    pub reward: u64,
}

/// The status of a pool at one moment.
#[derive(Debug, Clone)]
pub struct PoolStatus {
    /// The newest job, even if it is stale.
    pub job: Option<JobStatus>,
    /// The address that its coinbase pays.
    pub payee: Option<Address>,
    /// True if its parent is the tip, so that miners may work on it.
    pub is_job_live: bool,
    /// The node's reason for having no template, if it gave one.
    pub no_template: Option<String>,
    /// True if the ports take connections.
    pub is_listening: bool,
    /// State of the ledger.
    pub ledger: LedgerState,
    /// The counters.
    pub counts: PoolCounts,
    /// Estimated hashes per second.
    pub hashrate: f64,
    /// Count of addresses banned by the pool.
    pub banned: usize,
    /// Refused logins, in the order of [`RefusalReason::ALL`].
    pub refused_logins: [u64; RefusalReason::ALL.len()],
    /// The latest refused logins by address, the last one first.
    pub refused: Vec<RefusedAddress>,
}

/// The status of one user on one connection.
#[derive(Debug, Clone)]
pub struct WorkerStatus {
    /// The account. Untrusted text.
    pub account: Arc<str>,
    /// The worker; empty if the name has no worker part. Untrusted text.
    pub worker: Box<str>,
    /// Difficulty of the connection's last job; `None` before the first one.
    pub difficulty: Option<Difficulty>,
    /// True if the miner sends blocks only, each credited with the work it took.
    pub sends_blocks: bool,
    /// Estimated hashes per second.
    pub hashrate: f64,
    /// Its best share on this connection.
    pub best_share: Option<BestShare>,
    /// Time since the last accepted share on this connection, in milliseconds.
    pub last_share_ms: Option<u64>,
    /// Time since the connection was opened, in milliseconds.
    pub connected_ms: u64,
}

impl Pool {
    /// Numbers of the first job of the newest template and of the newest job; zero before the first.
    pub fn job_numbers(&self) -> (JobNumber, JobNumber) {
        self.shared.jobs.numbers()
    }

    /// The jobs of the templates still in use.
    pub fn kept_jobs(&self) -> KeptJobs {
        self.shared.jobs.kept()
    }

    /// The status of the pool. Takes the same time for any number of miners.
    pub fn status(&self, now: Now) -> PoolStatus {
        let shared = &self.shared;
        PoolStatus {
            job: shared.jobs.newest().map(|job| JobStatus {
                height: job.template.height,
                network_difficulty: job.network_difficulty,
                transactions: job.template.txids.len(),
                reward: job.template.node_coinbase.value(),
            }),
            payee: shared
                .jobs
                .newest()
                .map(|job| job.template.coinbase.address().clone()),
            is_job_live: shared.has_live_job() && self.no_template.is_none(),
            no_template: self.no_template.clone(),
            is_listening: shared.is_listening,
            ledger: shared.ledger.state(),
            counts: shared.counts,
            hashrate: shared.rate.hashes_per_s(now.ms),
            banned: self.bans.banned(now.ms),
            refused_logins: shared.conns.refusals.counts(),
            refused: shared.conns.refusals.list(),
        }
    }

    /// Appends the users of ready connections, slot by slot: about `count` of them, starting at 0 or at
    /// the slot that the call before returned. `None` after the last one.
    pub fn workers(
        &self,
        now: Now,
        from: usize,
        count: usize,
        into: &mut Vec<WorkerStatus>,
    ) -> Option<usize> {
        let enough = into.len() + count;
        for (place, session) in self.sessions.iter_from(from) {
            if into.len() >= enough {
                return Some(place);
            }
            if session.is_ready() {
                into.extend(self.workers_of(session, now));
            }
        }
        None
    }
}

impl Pool {
    /// The status of each user of a connection.
    fn workers_of(&self, session: &Session, now: Now) -> impl Iterator<Item = WorkerStatus> {
        session.users.iter().map(move |one| WorkerStatus {
            account: one.user.account.clone(),
            worker: one.user.worker.clone().unwrap_or_default(),
            difficulty: session.announced(),
            sends_blocks: session.difficulty_policy.sends_blocks(),
            hashrate: one.rate.hashes_per_s(now.ms),
            best_share: one.tally.best.or(one.told.best),
            last_share_ms: one.last_share_ms.map(|at_ms| now.ms - at_ms),
            connected_ms: now.ms - session.conn.connected_at_ms,
        })
    }

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
            sent: self.tallies.sent(&self.sessions),
            door: Occupancy::default(),
            refused_banned: self.shared.counts.refused_banned,
            bans: self.bans.list(now).len(),
            refused_logins: self.shared.conns.refusals.counts(),
            refused: self.shared.conns.refusals.list(),
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
                let connected_ms = now.ms - session.conn.connected_at_ms;
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
