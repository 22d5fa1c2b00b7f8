//! What a pool is doing, for whoever looks at it from outside: numbers and names, no state.
//!
//! Nothing in here decides anything. Rates are estimates from accepted shares; money is the
//! ledger's.

use std::sync::Arc;

use crate::accounting::ledger::Work;
use crate::accounts::refused_logins::{Reason, Refused};
use crate::event::{LedgerState, Now};
use crate::pool::Pool;
use crate::session::Session;
use crate::units::{Difficulty, HASHES_PER_DIFFICULTY, Height};
use crate::wire::message::Reject;

/// Over how long a rate looks back: shares count the less the older they are.
const RATE_MS: f64 = 300_000.0;

/// A rate is never taken over less than this, or the first share would promise too much.
const RATE_MS_MIN: f64 = 60_000.0;

/// Accepted work in a time that fades: each share counts by `e^(-age / RATE_MS)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    since_ms: u64,
    at_ms: u64,
    work: f64,
}

impl Rate {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            since_ms: now_ms,
            at_ms: now_ms,
            work: 0.0,
        }
    }

    pub(crate) fn add(&mut self, difficulty: Difficulty, now_ms: u64) {
        self.work = self.faded(now_ms) + difficulty.get();
        self.at_ms = now_ms;
    }

    fn faded(&self, now_ms: u64) -> f64 {
        self.work * (-((now_ms - self.at_ms) as f64) / RATE_MS).exp()
    }

    /// Hashes a second.
    pub(crate) fn hashes_per_s(&self, now_ms: u64) -> f64 {
        let age_ms = ((now_ms - self.since_ms) as f64).max(RATE_MS_MIN);
        // What a steady stream of 1 would have gathered in that time.
        let seen_ms = RATE_MS * (1.0 - (-age_ms / RATE_MS).exp());
        self.faded(now_ms) * HASHES_PER_DIFFICULTY * 1000.0 / seen_ms
    }
}

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
    fn a_steady_miner_has_its_rate_from_the_first_minute_on() {
        let mut rate = Rate::new(0);
        let difficulty = Difficulty::new(8.0).expect("above zero");
        let expected = 8.0 * HASHES_PER_DIFFICULTY / 5.0;
        for second in (5..3600).step_by(5) {
            rate.add(difficulty, second * 1000);
            if second >= 60 {
                let error = rate.hashes_per_s(second * 1000) / expected - 1.0;
                assert!(error.abs() < 0.1, "{second}: {error}");
            }
        }
        let later = rate.hashes_per_s(3600 * 1000 + 1_500_000);
        assert!(later < expected / 100.0, "a silent miner's rate fades");
    }

    #[test]
    fn every_reject_has_its_counter() {
        let mut counts = Counts::default();
        for (place, reject) in Reject::ALL.into_iter().enumerate() {
            counts.count(Err(reject));
            assert_eq!(counts.rejected[place], 1, "{}", reject.text());
        }
    }
}
