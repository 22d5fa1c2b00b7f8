//! The node of the harness: a chain of tips that only need to differ, and templates on them with hsd's
//! own coinbases and transactions.

use hstratum_core::chain::merkle::Branch;
use hstratum_core::chain::template::{Coinbase, Template, TemplateParts};
use hstratum_core::units::{Hash, Height, unhex};
use serde_json::Value;

/// One hash in 256 is a block, so that a share can be a block or not.
const BITS_EASY: u32 = 0x2000_ffff;
/// Offset of the locktime, which is the height, in hsd's coinbases without claims.
const LOCKTIME_AT: usize = 78;

/// A chain of which only the tip's hash and height are kept.
pub(crate) struct TestChain {
    /// The network's target in compact form for the next templates.
    pub(crate) bits: u32,
    /// Count of transactions in the next templates: 0, 1, 2, 3, 7, 64 or 333, as in the vectors.
    pub(crate) transactions: usize,
    /// The last template's number.
    pub(crate) template: u64,
    height: u32,
    tip: Hash,
    vectors: Vec<Value>,
}

impl TestChain {
    pub(crate) fn new() -> Self {
        let vectors = include_str!("../../vectors/templates.json");
        Self {
            bits: BITS_EASY,
            transactions: 0,
            template: 0,
            height: 100,
            tip: Hash::blake2b(&[b"the first tip"]),
            vectors: serde_json::from_str(vectors).expect("a vector file is a JSON array"),
        }
    }

    /// Adds a block to the chain.
    pub(crate) fn grow(&mut self) -> Hash {
        self.height += 1;
        self.tip = Hash::blake2b(&[&self.tip.0]);
        self.tip
    }

    /// A template on the tip.
    pub(crate) fn template(&mut self, unix_s: u64) -> Template {
        self.template += 1;
        Template::new(self.parts(unix_s)).expect("the parts belong together")
    }

    fn parts(&self, unix_s: u64) -> TemplateParts {
        let hashes = |vector: &Value, key: &str| -> Vec<Hash> {
            let texts = vector[key].as_array().expect("a list").iter();
            texts.map(|text| hash(text).expect("a hash")).collect()
        };
        let vector = self
            .vectors
            .iter()
            .find(|vector| vector["txids"].as_array().expect("a list").len() == self.transactions);
        let vector = vector.expect("a vector with as many transactions");
        let raw = vector["coinbase"].as_str().expect("hex digits");
        let mut raw = unhex(raw).expect("hex digits");
        raw[LOCKTIME_AT..][..4].copy_from_slice(&self.height.to_le_bytes());
        let coinbase = Coinbase::parse(&raw).expect("a coinbase");
        let txids = hashes(vector, "txids");
        let witness_hashes = hashes(vector, "witness_hashes");
        let leaves = txids.iter().zip(&witness_hashes);
        TemplateParts {
            id: self.template,
            height: Height(self.height),
            version: 0,
            bits: self.bits,
            time: unix_s,
            mtp: unix_s - 601,
            time_min: unix_s - 600,
            time_max: unix_s + 7200,
            prev_block: self.tip,
            tree_root: hash(&vector["tree_root"]).expect("a hash"),
            reserved_root: Hash::ZERO,
            leaves: leaves.flat_map(|(a, b)| [a.0, b.0].concat()).collect(),
            merkle_root: Branch::of_first(txids).root(&coinbase.txid()),
            witness_root: Branch::of_first(witness_hashes).root(&coinbase.witness_hash()),
            coinbase: raw,
        }
    }
}

fn hash(text: &Value) -> Option<Hash> {
    Hash::from_hex(text.as_str()?)
}
