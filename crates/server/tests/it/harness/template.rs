//! Templates: hsd's own from the core's vectors, with easy bits and at any height.

use std::sync::Arc;

use hstratum_core::chain::coinbase::Coinbase;
use hstratum_core::chain::merkle::Branch;
use hstratum_core::chain::template::TemplateParts;
use hstratum_core::units::{Hash, Height, unhex};
use serde_json::Value;

/// Target at which every second hash is a block.
pub const EASY_BITS: u32 = 0x207f_ffff;
/// Target that no hash meets.
pub const HARD_BITS: u32 = 0x1900_ffff;

/// Height of the first template, as in its coinbase.
pub const FIRST_HEIGHT: u32 = 100_000;

/// Maker of successive templates.
pub struct Chain {
    vectors: Vec<Value>,
    bits: u32,
    next_id: u64,
}

impl Chain {
    pub fn easy() -> Self {
        Self::with_bits(EASY_BITS)
    }

    pub fn hard() -> Self {
        Self::with_bits(HARD_BITS)
    }

    fn with_bits(bits: u32) -> Self {
        let text = include_str!("../../../../core/tests/vectors/templates.json");
        Self {
            vectors: serde_json::from_str(text).expect("the core's vectors"),
            bits,
            next_id: 1,
        }
    }

    /// A template without transactions, this many blocks above the first height.
    pub fn empty_at(&mut self, above: u32) -> TemplateParts {
        let mut parts = self.parts_of(0);
        let height = FIRST_HEIGHT + above;
        parts.height = Height(height);
        parts.prev_block = Hash::blake2b(&[b"parent", &height.to_le_bytes()]);
        replace(
            &mut parts.coinbase,
            &FIRST_HEIGHT.to_le_bytes(),
            &height.to_le_bytes(),
        );
        let coinbase = Coinbase::parse(&parts.coinbase).expect("another height is no harm");
        let alone = Branch::of_first([]);
        parts.merkle_root = alone.root(&coinbase.txid());
        parts.witness_root = alone.root(&coinbase.witness_hash());
        parts
    }

    /// A template with three transactions, and their bytes.
    pub fn with_transactions(&mut self) -> (TemplateParts, Arc<[u8]>) {
        let parts = self.parts_of(3);
        let block = bytes(&self.vectors[3]["solved"], "block");
        let before = 236 + 1 + parts.coinbase.len();
        (parts, block[before..].into())
    }

    fn parts_of(&mut self, number: usize) -> TemplateParts {
        let vector = &self.vectors[number];
        let pairs = hashes(vector, "txids")
            .into_iter()
            .zip(hashes(vector, "witness_hashes"));
        let id = self.next_id;
        self.next_id += 1;
        TemplateParts {
            id,
            height: Height(small(vector, "height")),
            version: small(vector, "version"),
            bits: self.bits,
            time: small(vector, "time").into(),
            mtp: small(vector, "mtp").into(),
            time_min: u64::from(small(vector, "mtp")) + 1,
            time_max: u64::from(small(vector, "time")) + 7200,
            prev_block: hash(&vector["prev_block"]),
            tree_root: hash(&vector["tree_root"]),
            reserved_root: hash(&vector["reserved_root"]),
            merkle_root: hash(&vector["merkle_root"]),
            witness_root: hash(&vector["witness_root"]),
            coinbase: bytes(vector, "coinbase"),
            leaves: pairs.flat_map(|(a, b)| [a.0, b.0].concat()).collect(),
        }
    }
}

fn replace(bytes: &mut [u8], old: &[u8; 4], new: &[u8; 4]) {
    let places: Vec<usize> = (0..bytes.len() - 3)
        .filter(|&at| bytes[at..at + 4] == *old)
        .collect();
    let [at] = places[..] else {
        panic!("the height is in the coinbase once, not at {places:?}");
    };
    bytes[at..at + 4].copy_from_slice(new);
}

fn hash(value: &Value) -> Hash {
    Hash::from_hex(value.as_str().expect("a text")).expect("64 digits")
}

fn hashes(vector: &Value, key: &str) -> Vec<Hash> {
    let list = vector[key].as_array().expect("a list");
    list.iter().map(hash).collect()
}

fn small(vector: &Value, key: &str) -> u32 {
    let number = vector[key].as_u64().expect("a number");
    u32::try_from(number).expect("32 bits")
}

fn bytes(vector: &Value, key: &str) -> Vec<u8> {
    unhex(vector[key].as_str().expect("a text")).expect("hex digits")
}
