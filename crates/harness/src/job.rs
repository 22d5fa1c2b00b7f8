//! A job as a miner reads it from `mining.notify`.

use hstratum_core::chain::header::{HeaderFields, HeaderHasher, Proof, extra_nonce, mask_hash};
use hstratum_core::units::{Difficulty, Hash, Target, parse_hex_u32};
use serde_json::Value;

/// Hashes tried before the targets are taken to be wrong for a test.
const TRIES_MAX: u32 = 1 << 24;

/// A job, under the difficulty announced before it.
#[derive(Debug, Clone)]
pub struct ReceivedJob {
    pub id: String,
    pub prev_block: Hash,
    pub witness_root: Hash,
    pub time: u32,
    pub network: Target,
    pub difficulty: Difficulty,
    /// The target of that difficulty.
    pub share: Target,
    hasher: HeaderHasher,
}

impl ReceivedJob {
    /// Reads the parameters of a notify without a mask; `None` if they are malformed.
    pub fn parse(params: &Value, difficulty: Difficulty) -> Option<Self> {
        let params = params.as_array().filter(|params| params.len() == 9)?;
        let text = |at: usize| params[at].as_str();
        let hash = |at: usize| Hash::from_hex(text(at)?);
        let word = |at: usize| parse_hex_u32(text(at)?);
        let prev_block = hash(1)?;
        let fields = HeaderFields {
            prev_block,
            merkle_root: hash(2)?,
            witness_root: hash(3)?,
            tree_root: hash(4)?,
            reserved_root: hash(5)?,
            version: word(6)?,
            bits: word(7)?,
            mask_hash: mask_hash(&prev_block, &Hash::ZERO),
        };
        Some(Self {
            id: text(0)?.to_owned(),
            prev_block,
            witness_root: fields.witness_root,
            time: word(8)?,
            network: Target::from_compact(fields.bits)?,
            difficulty,
            share: Target::of_difficulty(difficulty),
            hasher: HeaderHasher::new(&fields),
        })
    }

    /// The share hash of one attempt with these halves of the extra nonce.
    pub fn hash(&self, (n1, n2): (u32, u32), time: u32, nonce: u32) -> Hash {
        self.hasher.share_hash(&Proof {
            nonce,
            time: time.into(),
            extra_nonce: extra_nonce(n1, n2),
        })
    }

    /// The first nonce from this one on with a hash that is wanted.
    pub fn find(
        &self,
        extra_nonce: (u32, u32),
        time: u32,
        from: u32,
        is_wanted: impl Fn(&Hash) -> bool,
    ) -> u32 {
        let mut nonces = (0..TRIES_MAX).map(|tries| from.wrapping_add(tries));
        let found = nonces.find(|nonce| is_wanted(&self.hash(extra_nonce, time, *nonce)));
        found.expect("targets that fit a test")
    }
}
