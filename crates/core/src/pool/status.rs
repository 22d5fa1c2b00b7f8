//! Status of the pool for metrics, the API and alarms: numbers and names.
//!
//! Read-only: no decision depends on it. Rates are estimates from accepted shares; money is in the
//! ledger.

use std::sync::Arc;

use crate::accounting::ledger::ShareTotals;
use crate::accounts::refused_logins::{RefusalReason, RefusedAddress};
use crate::chain::address::Address;
use crate::event::LedgerState;
use crate::pool::Pool;
use crate::session::Session;
use crate::units::{Difficulty, Height, Now};
use crate::wire::message::Reject;

/// Counters since this pool was started.
#[derive(Debug, Clone, Copy, Default)]
pub struct PoolCounts {
    /// Accepted shares and their difficulty.
    pub accepted: ShareTotals,
    /// Rejected submits, in the order of [`Reject::ALL`].
    pub rejected: [u64; Reject::ALL.len()],
    /// Connections that have sent their first bytes.
    pub opened: u64,
    /// Those of them that have ended.
    pub closed: u64,
    /// Open connections over which proxies ask for the server's status.
    pub probes: u64,
    /// Connections refused because their address is banned.
    pub refused_banned: u64,
    /// Blocks offered to the node.
    pub blocks: u64,
}

impl PoolCounts {
    /// Count of open connections of miners that have sent something.
    pub fn connections(&self) -> u64 {
        self.opened - self.closed - self.probes
    }

    pub(crate) fn count(&mut self, verdict: Result<Difficulty, Reject>) {
        match verdict {
            Ok(difficulty) => self.accepted.add_share(difficulty),
            Err(reject) => self.rejected[reject as usize] += 1,
        }
    }
}

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
    /// Time since the last accepted share on this connection, in milliseconds.
    pub last_share_ms: Option<u64>,
    /// Time since the connection was opened, in milliseconds.
    pub connected_ms: u64,
}

impl Pool {
    /// The status of the pool. Takes the same time for any number of miners.
    pub fn status(&self, now: Now) -> PoolStatus {
        let shared = &self.shared;
        PoolStatus {
            job: shared.jobs.newest().map(|job| JobStatus {
                height: job.template.height,
                network_difficulty: job.network_difficulty,
                transactions: job.template.txids.len(),
                reward: job.template.coinbase.value(),
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
            refused_logins: shared.refusals.counts(),
            refused: shared.refusals.list(),
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
                into.extend(workers_of(session, now));
            }
        }
        None
    }
}

/// The status of each user of a connection.
pub(crate) fn workers_of(session: &Session, now: Now) -> impl Iterator<Item = WorkerStatus> {
    session.users.iter().map(move |one| WorkerStatus {
        account: one.user.account.clone(),
        worker: one.user.worker.clone().unwrap_or_default(),
        difficulty: session.announced(),
        sends_blocks: session.difficulty_policy.sends_blocks(),
        hashrate: one.rate.hashes_per_s(now.ms),
        last_share_ms: one.last_share_ms.map(|at_ms| now.ms - at_ms),
        connected_ms: now.ms - session.connected_at_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reject_has_its_counter() {
        let mut counts = PoolCounts::default();
        for (place, reject) in Reject::ALL.into_iter().enumerate() {
            counts.count(Err(reject));
            assert_eq!(counts.rejected[place], 1, "{}", reject.text());
        }
    }
}
