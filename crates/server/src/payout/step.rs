//! The things that a payout has done or found, one by one.

use std::fmt;

use hstratum_core::accounting::reward_split::Hns;
use hstratum_core::plural::counted;

use super::payee::Payee;

/// A thing that a run has done or found. Amounts in base units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayoutStep {
    /// A payment that an earlier run had begun, without a transaction, was deleted.
    Discarded {
        /// Row in `payments`.
        payment: i64,
    },
    /// A payment is deep in the chain.
    Confirmed {
        /// Row in `payments`.
        payment: i64,
        /// 64 hex digits.
        txid: String,
        /// Blocks; 1 for the tip's.
        depth: u32,
    },
    /// A payment can never confirm; its accounts are due again.
    Abandoned {
        /// Row in `payments`.
        payment: i64,
        /// 64 hex digits.
        txid: String,
        /// The transaction that has spent an input of it.
        by: String,
        /// Depth of that transaction's block.
        depth: u32,
    },
    /// A payment is under way, and no other begins before it is confirmed.
    Waiting {
        /// Row in `payments`.
        payment: i64,
        /// 64 hex digits.
        txid: String,
        /// 0 if it is in no block.
        depth: u32,
        /// Depth that it must reach.
        needed: u32,
    },
    /// A payment was made.
    Sent {
        /// Row in `payments`.
        payment: i64,
        /// 64 hex digits.
        txid: String,
        /// Fee to the network, paid from the pool's fees.
        network_fee: u64,
        /// The accounts paid.
        payees: Vec<Payee>,
    },
    /// Accounts that are due and left to a later payment.
    Left {
        /// Their number.
        accounts: u64,
        /// Sum of their amounts.
        amount: u64,
    },
    /// No account is due.
    NobodyDue,
}

/// In one line.
impl fmt::Display for PayoutStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discarded { payment } => {
                write!(
                    f,
                    "payment {payment} had no transaction yet: it is made again"
                )
            }
            Self::Confirmed {
                payment,
                txid,
                depth,
            } => {
                let deep = counted(*depth, "block");
                write!(f, "payment {payment} confirmed: {txid}, {deep} deep")
            }
            Self::Abandoned {
                payment,
                txid,
                by,
                depth,
            } => write!(
                f,
                "payment {payment} abandoned: {txid} can never confirm, since {by} has spent an \
                 input of it and is {} deep; its accounts are due again",
                counted(*depth, "block")
            ),
            Self::Waiting {
                payment,
                txid,
                depth,
                needed,
            } => write!(
                f,
                "payment {payment} waits: {txid} is {depth} of {needed} blocks deep"
            ),
            Self::Sent { payment, txid, .. } => write!(f, "payment {payment} sent: {txid}"),
            Self::Left { accounts, amount } => write!(
                f,
                "with the next payment: {} HNS to {}",
                Hns((*amount).into()),
                counted(*accounts, "more account")
            ),
            Self::NobodyDue => f.write_str("nobody is due"),
        }
    }
}
