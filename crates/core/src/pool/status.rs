//! What a pool is doing, for whoever looks at it from outside: numbers and names, no state.
//!
//! Nothing in here decides anything. Rates are estimates from accepted shares; money is the
//! ledger's.

use std::sync::Arc;

use crate::accounting::ledger::Work;
use crate::accounts::refused_logins::{Reason, Refused};
use crate::chain::address::Address;
use crate::event::LedgerState;
use crate::pool::Pool;
use crate::session::Session;
use crate::units::{Difficulty, Height, Now};
use crate::wire::message::Reject;

/// What has happened since this pool began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Accepted shares and their difficulty.
    pub accepted: Work,
    /// Refused submits, in the order of [`Reject::ALL`].
    pub rejected: [u64; Reject::ALL.len()],
    /// Connections that spoke.
    pub opened: u64,
    /// Those of them that have ended.
    pub closed: u64,
    /// Connections that are there by which proxies ask how the server is.
    pub probes: u64,
    /// Connections refused because their address is banned.
    pub refused_banned: u64,
    /// Blocks offered to the node.
    pub blocks: u64,
}

impl Counts {
    /// Connections of miners that have spoken and not ended.
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

/// The job that miners have.
#[derive(Debug, Clone, Copy)]
pub struct JobView {
    /// The height it mines.
    pub height: Height,
    /// What a block takes.
    pub network_difficulty: Difficulty,
    /// Transactions in it, the coinbase excluded.
    pub transactions: usize,
    /// What its coinbase pays, base units.
    pub reward: u64,
}

/// A pool at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// The newest job; stale ones too.
    pub job: Option<JobView>,
    /// Whom that pays.
    pub payee: Option<Address>,
    /// Whether its parent is the tip, and miners may work on it.
    pub is_job_live: bool,
    /// Why there is no job, where the node has said so.
    pub no_template: Option<String>,
    /// Whether the ports take connections.
    pub is_listening: bool,
    /// Whether the ledger takes shares.
    pub ledger: LedgerState,
    /// See [`Counts`].
    pub counts: Counts,
    /// Hashes a second.
    pub hashrate: f64,
    /// Addresses that are refused.
    pub banned: usize,
    /// Logins that were refused, in the order of [`Reason::ALL`].
    pub refused_logins: [u64; Reason::ALL.len()],
    /// The latest of them by address, the last one first.
    pub refused: Vec<Refused>,
}

/// A user of a connection.
#[derive(Debug, Clone)]
pub struct WorkerView {
    /// Who is paid. Untrusted text.
    pub account: Arc<str>,
    /// Which machine; empty where the miner names none. Untrusted text.
    pub worker: Box<str>,
    /// What the connection was told last; none before its first job.
    pub difficulty: Option<Difficulty>,
    /// Whether it sends blocks only, and each counts for what it took.
    pub sends_blocks: bool,
    /// Hashes a second.
    pub hashrate: f64,
    /// How long ago a share was last accepted on this connection, in milliseconds.
    pub last_share_ms: Option<u64>,
    /// Since when, in milliseconds.
    pub connected_ms: u64,
}

impl Pool {
    /// How the pool does. Costs the same however many miners there are.
    pub fn view(&self, now: Now) -> View {
        let shared = &self.shared;
        View {
            job: shared.jobs.newest().map(|job| JobView {
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

    /// Everybody who may have work, connection by connection: about `count` of them, from the place on
    /// that the call before returned, or 0. None: those were all.
    pub fn workers(
        &self,
        now: Now,
        from: usize,
        count: usize,
        into: &mut Vec<WorkerView>,
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

/// The users of a connection.
pub(crate) fn workers_of(session: &Session, now: Now) -> impl Iterator<Item = WorkerView> {
    session.users.iter().map(move |one| WorkerView {
        account: one.user.account.clone(),
        worker: one.user.worker.clone().unwrap_or_default(),
        difficulty: session.announced(),
        sends_blocks: session.pace.sends_blocks(),
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
        let mut counts = Counts::default();
        for (place, reject) in Reject::ALL.into_iter().enumerate() {
            counts.count(Err(reject));
            assert_eq!(counts.rejected[place], 1, "{}", reject.text());
        }
    }
}
