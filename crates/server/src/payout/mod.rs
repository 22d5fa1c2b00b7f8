//! Money: what accounts have earned, and how they are paid.
//!
//! A block whose reward can be spent is settled: its reward is divided among accounts once, by `settle`.
//! Credits less payments of an account are its balance; `payees` lists the balances that are due, with their
//! addresses. `plan` computes both without writing, an `Estimator` what accounts will be credited. The arithmetic
//! is in `hstratum_core::accounting::reward_split`, the terms are those in force at the block's height: `terms`.
//! A `Sender` pays: it has hsd's wallet make a transaction and hsd's node send it.
//!
//! Invariants: a block has one settlement at a time; credits + fee + remainder = reward; half-written rows
//! are 'preparing' and count for nothing. One process at a time does any of this: it holds [`PayoutLock`].
//! Its write transactions are far shorter than 10 ms, since those of the server wait for them.

mod account;
pub(crate) mod agreement;
mod awaited_servers;
mod check;
mod credit_sums;
mod due;
mod estimate;
pub mod hsd;
mod lock;
mod node_knowledge;
mod payee;
mod payment;
mod plan;
mod promises;
mod prune;
mod record;
mod run;
mod send;
mod settle;
pub mod split;
mod step;
mod terms;
mod transaction_fate;

pub use hstratum_core::accounting::terms::{PayoutTerms, Scheme};

pub use agreement::check_agreement;
pub(crate) use agreement::check_agreement_of;
pub(crate) use agreement::put_agreed_terms;
pub(crate) use awaited_servers::shipped_by_all;
pub use awaited_servers::{AwaitedServer, AwaitedServers};
pub(crate) use due::{Cuts, divided_over_its_round, is_whole, pruned_to};
pub use estimate::{Estimates, Estimator, NextBlock, PendingBlock, per_day};
pub use lock::{LockHeld, PayoutLock};
pub use node_knowledge::{check_blocks, check_node};
pub use payee::{Payee, Wait, payees};
pub use payment::{PaymentState, payment_under_way};
pub(crate) use plan::plan_of;
pub use plan::{
    AccountPlan, BalanceOutcome, BlockPlan, HeldBlock, HeldReason, PayoutPlan, PlanTotals, plan,
};
pub use prune::prune;
pub use record::{LastRun, Pause, PayoutRecord, pause, resume};
pub use run::{PayoutRun, RunTotals};
pub use send::{Sender, payment_depth};
pub use settle::{Settled, SettlementChange, incomplete, settle};
pub use step::PayoutStep;
pub use terms::{TermsChange, TermsHistory, put_terms};
