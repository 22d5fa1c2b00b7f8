//! Checks solo miners: their shares are no credit and wait for no ledger, and each of their blocks pays its
//! finder, less the operator's fee, and ends nobody's round.

use std::collections::{BTreeMap, BTreeSet};

use hstratum_core::chain::address::Address;
use hstratum_core::chain::block::Solution;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::units::Hash;

use crate::world::World;

/// Offset of the outputs in a coinbase of one input: after version, the inputs' count, and an outpoint with its
/// sequence.
const OUTPUTS_AT: usize = 4 + 1 + 40;

/// The records of solo miners, apart from those of credit.
#[derive(Default)]
pub(crate) struct SoloCheck {
    /// Valid shares that were sent, with the address of the miner.
    sent: BTreeMap<Hash, Address>,
    acknowledged: BTreeSet<Hash>,
    blocks: u64,
}

impl SoloCheck {
    /// Records a valid share.
    pub(crate) fn send(&mut self, hash: Hash, payee: Address) {
        self.sent.insert(hash, payee);
    }

    /// Checks a share that was acknowledged to its miner.
    pub(crate) fn acknowledge(&mut self, hash: Hash) {
        assert!(
            self.sent.contains_key(&hash),
            "a solo share that is none was accepted: {hash}"
        );
        assert!(
            self.acknowledged.insert(hash),
            "one share was accepted twice: {hash}, of a solo miner"
        );
    }

    /// Recipient that a block must have.
    pub(crate) fn payout(&self, hash: &Hash) -> Payout {
        match self.sent.contains_key(hash) {
            true => Payout::Solo,
            false => Payout::Operator,
        }
    }

    /// Counts of acknowledged shares and of blocks.
    pub(crate) fn sums(&self) -> (u64, u64) {
        (self.acknowledged.len() as u64, self.blocks)
    }
}

impl World {
    /// Checks the outputs of a found block, read from its bytes.
    pub(crate) fn check_payee(&mut self, solution: &Solution) {
        let finder = self.solo.sent.get(&solution.hash);
        assert_eq!(
            solution.payee.as_ref(),
            finder,
            "a block pays another than its finder: {}",
            solution.hash
        );
        let node = outputs(solution.template.node_coinbase.as_bytes());
        let [(reward, operator)] = node.as_slice() else {
            panic!("templates here have one output: {node:?}");
        };
        let mut ought = node.clone();
        if let Some(finder) = finder {
            let terms = &self.plan.operator_fee;
            let fee = reward * u64::from(terms.part.get()) / 1_000_000;
            let operator = terms.address.as_ref().unwrap_or(operator);
            ought = vec![(reward - fee, finder.clone())];
            ought.extend((fee > 0).then(|| (fee, operator.clone())));
            self.solo.blocks += 1;
        }
        let is = outputs(solution.coinbase.as_bytes());
        assert_eq!(is, ought, "outputs of {}", solution.hash);
    }
}

/// Amounts and addresses of a coinbase that has no claims, with few outputs and without covenants.
fn outputs(raw: &[u8]) -> Vec<(u64, Address)> {
    let (count, mut rest) = raw[OUTPUTS_AT..].split_first().expect("a count");
    let mut outputs = Vec::new();
    for _ in 0..*count {
        let amount = u64::from_le_bytes(rest[..8].try_into().expect("eight bytes"));
        let (version, end) = (rest[8], 10 + usize::from(rest[9]));
        let address = Address::new(version, rest[10..end].to_vec());
        assert_eq!(rest[end..][..2], [0, 0], "a covenant");
        outputs.push((amount, address.expect("an address")));
        rest = &rest[end + 2..];
    }
    outputs
}
