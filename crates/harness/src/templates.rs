//! Templates on any tip, from coinbases and leaves that hsd has made.

use hstratum_core::chain::coinbase::Coinbase;
use hstratum_core::chain::merkle::Branch;
use hstratum_core::chain::template::TemplateParts;
use hstratum_core::units::{Hash, Height, unhex};
use serde_json::Value;

const VECTORS: &str = include_str!("../../core/tests/vectors/templates.json");
/// Offset of the locktime, which is the height, in hsd's coinbases without claims.
const LOCKTIME_AT: usize = 78;

/// The parts of a template that do not depend on the chain.
#[derive(Debug, Clone)]
pub struct TemplateStock {
    coinbase: Vec<u8>,
    tree_root: Hash,
    txids: Vec<Hash>,
    witness_hashes: Vec<Hash>,
}

impl TemplateStock {
    /// Those with 0, 1, 2, 3, 7, 64 and 333 transactions.
    pub fn all() -> Vec<Self> {
        let vectors: Vec<Value> = serde_json::from_str(VECTORS).expect("a JSON array");
        vectors.iter().map(Self::read).collect()
    }

    fn read(vector: &Value) -> Self {
        let hash = |value: &Value| Hash::from_hex(value.as_str()?);
        let hashes = |key: &str| -> Vec<Hash> {
            let list = vector[key].as_array().expect("a list").iter();
            list.map(|value| hash(value).expect("a hash")).collect()
        };
        Self {
            coinbase: unhex(vector["coinbase"].as_str().expect("hex")).expect("hex"),
            tree_root: hash(&vector["tree_root"]).expect("a hash"),
            txids: hashes("txids"),
            witness_hashes: hashes("witness_hashes"),
        }
    }

    /// Count of transactions, without the coinbase.
    pub fn transactions(&self) -> usize {
        self.txids.len()
    }

    /// A template ten minutes after its earliest time, in Unix seconds.
    pub fn parts(
        &self,
        id: u64,
        bits: u32,
        (tip, height): (Hash, Height),
        time_min: u64,
    ) -> TemplateParts {
        let mut raw = self.coinbase.clone();
        raw[LOCKTIME_AT..][..4].copy_from_slice(&height.0.to_le_bytes());
        let coinbase = Coinbase::parse(&raw).expect("a coinbase");
        let (txids, witness_hashes) = (self.txids.iter(), self.witness_hashes.iter());
        let leaves = txids.clone().zip(witness_hashes.clone());
        TemplateParts {
            id,
            height,
            version: 0,
            bits,
            time: time_min + 600,
            mtp: time_min - 1,
            time_min,
            time_max: time_min + 600 + 7200,
            prev_block: tip,
            tree_root: self.tree_root,
            reserved_root: Hash::ZERO,
            leaves: leaves.flat_map(|(a, b)| [a.0, b.0].concat()).collect(),
            merkle_root: Branch::of_first(txids.copied()).root(&coinbase.txid()),
            witness_root: Branch::of_first(witness_hashes.copied()).root(&coinbase.witness_hash()),
            coinbase: raw,
        }
    }
}
