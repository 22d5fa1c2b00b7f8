//! Money: what accounts have earned, and how they are paid.
//!
//! A block whose reward can be spent is settled: its reward is divided among accounts once, by `settle`.
//! Credits less payments of an account are its balance; `payees` lists the balances that are due, with their
//! addresses. `plan` computes both without writing, and an `Estimator` what accounts will be credited. The arithmetic is in `hstratum_core::accounting::reward_split`.
//! A `Sender` pays: it has hsd's wallet make a transaction and hsd's node send it.
//!
//! Invariants: a block has one settlement at a time; credits + fee + remainder = reward; half-written rows
//! are 'preparing' and count for nothing. One process at a time does any of this: it holds [`PayoutLock`].
//! Its write transactions are far shorter than 10 ms, since those of the server wait for them.

mod account;
mod awaited_servers;
mod check;
mod due;
mod estimate;
pub mod hsd;
mod lock;
mod node_knowledge;
mod payee;
mod payment;
mod plan;
mod prune;
mod send;
mod settle;
pub mod terms;
mod transaction_fate;

use hstratum_core::accounting::reward_split::{Decimal, FeePpm};

pub(crate) use awaited_servers::shipped_by_all;
pub use awaited_servers::{AwaitedServer, AwaitedServers};
pub(crate) use due::{Cuts, divided_over_its_round, is_whole, pruned_to};
pub use estimate::{Estimates, Estimator, NextBlock, PendingBlock, per_day};
pub use lock::PayoutLock;
pub use node_knowledge::{check_blocks, check_node};
pub use payee::{Payee, Wait, payees};
pub use payment::PaymentState;
pub use plan::{AccountPlan, BalanceOutcome, BlockPlan, HeldBlock, HeldReason, PayoutPlan, plan};
pub use prune::prune;
pub use send::{PayoutStep, Sender};
pub use settle::{Settled, SettlementChange, incomplete, settle};

/// Method of dividing a reward.
#[derive(Debug, Clone, Copy)]
pub enum Scheme {
    /// Over the work of the block's round: the heights above the pool's previous block.
    Prop,
    /// Over the last work before the block, whichever round it was in.
    Pplns {
        /// Amount of that work, in network difficulties of the block.
        window: Decimal,
    },
}

impl Scheme {
    /// Its name in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prop => "prop",
            Self::Pplns { .. } => "pplns",
        }
    }

    /// The window as stored in the ledger: a decimal number, or empty.
    #[must_use]
    pub fn window(self) -> String {
        match self {
            Self::Prop => String::new(),
            Self::Pplns { window } => window.to_string(),
        }
    }
}

/// Terms between the pool and its miners.
#[derive(Debug, Clone, Copy)]
pub struct PayoutTerms {
    /// Method of dividing a reward.
    pub scheme: Scheme,
    /// The pool's share of it.
    pub fee: FeePpm,
    /// The balance from which an account is paid, in base units.
    pub threshold: u64,
}
