//! Work and money: what a ledger keeps, how a reward is divided, what a dump says.

pub mod ledger;
pub mod payout;
pub mod share_dump;
