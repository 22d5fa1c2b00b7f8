//! Recipients of a block that pays its finder.

use std::sync::Arc;

use crate::accounting::reward_split::FeePpm;
use crate::chain::address::Address;
use crate::chain::coinbase::Coinbase;
use crate::units::Hash;

/// The operator's part of a block that pays its finder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorFee {
    /// Part of the reward. Where it rounds to nothing, no output pays it.
    pub part: FeePpm,
    /// Its address; `None`: that of the node's coinbase.
    pub address: Option<Address>,
}

/// Recipients of a block that pays its finder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectPayout {
    /// Address of the finder.
    pub payee: Address,
    /// The operator's part.
    pub fee: Arc<OperatorFee>,
}

impl DirectPayout {
    /// The node's coinbase, paying them.
    #[must_use]
    pub fn coinbase(&self, node: &Coinbase, witness_nonce: [u8; 8]) -> Coinbase {
        node.paying(&self.payee, self.fee_of(node).into_iter(), witness_nonce)
    }

    /// The id of that coinbase.
    #[must_use]
    pub fn txid(&self, node: &Coinbase) -> Hash {
        node.txid_paying(&self.payee, self.fee_of(node).into_iter())
    }

    /// Amount and address of the operator's part, if there is one.
    fn fee_of<'a>(&'a self, node: &'a Coinbase) -> Option<(u64, &'a Address)> {
        let value = self.fee.part.of(node.value());
        let address = self.fee.address.as_ref().unwrap_or(node.address());
        (value > 0).then_some((value, address))
    }
}
