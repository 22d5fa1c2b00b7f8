//! State of the pool: what each session and all sessions together have. Handling is not in here: each file
//! beside it adds the handlers of its subject.

use std::sync::Arc;

use crate::accounts::ban::{Bans, Guesses};
use crate::accounts::password::{StoredPassword, hash256};
use crate::accounts::{ADMIN, Accounts, PayoutAddresses};
use crate::chain::coinbase_split::CoinbaseSplit;
use crate::conn::Connections;
use crate::event::Listening;
use crate::job::Jobs;
use crate::limits::SWEEP_MS;
use crate::operator_order::NewUser;
use crate::pool::config::PoolConfig;
use crate::pool::counts::PoolCounts;
use crate::pool::job_order::JobOrder;
use crate::pool::offered_blocks::OfferedBlocks;
use crate::pool::password_queue::PasswordQueue;
use crate::pool::password_tasks::{Asker, PasswordTasks};
use crate::pool::shares_awaiting_ledger::SharesAwaitingLedger;
use crate::pool::worker_stats::Tallies;
use crate::session::Sessions;
use crate::session::extra_nonce::ExtraNonces;
use crate::session::rate::Rate;
use crate::units::{Hash, Height, Now, Seq};

/// The state that all sessions share.
pub(crate) struct PoolShared {
    pub config: PoolConfig,
    pub accounts: Accounts,
    /// Payout addresses of accounts, once they are known.
    pub payout_addresses: Option<Arc<PayoutAddresses>>,
    pub jobs: Jobs,
    pub extra_nonces: ExtraNonces,
    /// The chain's tip, which must be the parent of a job.
    pub tip: Option<Hash>,
    pub is_listening: bool,
    /// True once proxies should move their miners to other servers.
    pub is_leaving: bool,
    /// True if the current job remembers so many shares that everybody needs a fresh one.
    pub wants_fresh_job: bool,
    pub ledger: SharesAwaitingLedger,
    pub conns: Connections,
    /// Time since which there is no job; `None` while there is one.
    pub jobless_since_ms: Option<u64>,
    /// Count of names without an accepted share, beyond those that every connection may have.
    pub names_unproven: usize,
    pub password_tasks: PasswordTasks,
    pub password_queue: PasswordQueue,
    pub admin_guesses: Guesses,
    pub sign_in_guesses: Guesses,
    /// Users that an admin on the wire has asked to add in this event.
    pub wanted_users: Vec<(Asker, NewUser)>,
    /// Counters for status reports, see `status`.
    pub counts: PoolCounts,
    pub rate: Rate,
    pub found: OfferedBlocks,
    pub last_block: Option<(Height, Hash)>,
}

/// The mining pool of one server.
pub struct Pool {
    pub(crate) shared: PoolShared,
    pub(crate) sessions: Sessions,
    pub(crate) job_order: JobOrder,
    pub(crate) tallies: Tallies,
    pub(crate) bans: Bans,
    pub(crate) drain: Option<Drain>,
    /// The state of the port that was last ordered.
    pub(crate) port: Listening,
    pub(crate) no_template: Option<String>,
    /// The split of jobs from now on.
    pub(crate) split: Option<Arc<CoinbaseSplit>>,
    /// Time at which the newest template came.
    pub(crate) job_at_ms: u64,
    pub(crate) next_sweep_ms: u64,
    /// Unix time of the last tick, in seconds.
    pub(crate) clock_s: u64,
}

/// A drain in progress or completed.
pub(crate) struct Drain {
    /// Time at which the last connection is closed.
    pub until_ms: u64,
    /// Time up to which the due connections have been closed.
    pub done_ms: u64,
    pub is_over: bool,
}

impl Pool {
    /// A pool without miners and without a job, which knows `users`. It assumes that the port listens and
    /// that the ledger takes shares. Its first share is numbered after `recorded`.
    pub fn new(
        config: PoolConfig,
        users: impl IntoIterator<Item = (String, StoredPassword)>,
        recorded: Seq,
        now: Now,
    ) -> Self {
        let mut accounts = Accounts::new(config.auth, config.network, config.boot.secret);
        for (name, password) in users {
            accounts.insert(&name, password);
        }
        if let Some(password) = &config.admin_password {
            let password = StoredPassword::Hash256(hash256(password.as_bytes()));
            accounts.insert(ADMIN, password);
        }
        Self {
            shared: PoolShared {
                accounts,
                payout_addresses: None,
                jobs: Jobs::new(config.boot, config.shares_remembered_max),
                extra_nonces: ExtraNonces::new(config.boot.nonce, config.hints_max),
                tip: None,
                is_listening: true,
                is_leaving: false,
                wants_fresh_job: false,
                ledger: SharesAwaitingLedger::new(recorded),
                conns: Connections::new(config.public_host.clone(), config.public_port),
                jobless_since_ms: Some(now.ms),
                names_unproven: 0,
                password_tasks: PasswordTasks::new(config.boot.nonce),
                password_queue: PasswordQueue::default(),
                admin_guesses: Guesses::default(),
                sign_in_guesses: Guesses::default(),
                wanted_users: Vec::new(),
                counts: PoolCounts::default(),
                rate: Rate::new(now.ms),
                found: OfferedBlocks::default(),
                last_block: None,
                config,
            },
            sessions: Sessions::default(),
            job_order: JobOrder::default(),
            tallies: Tallies::new(now.ms),
            bans: Bans::default(),
            drain: None,
            port: Listening::On,
            no_template: None,
            split: None,
            job_at_ms: now.ms,
            next_sweep_ms: now.ms + SWEEP_MS,
            clock_s: now.unix_s,
        }
    }
}
