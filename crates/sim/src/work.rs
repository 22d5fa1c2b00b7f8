//! A job as a miner reads it from `mining.notify`, and the shares it finds for it.

use hstratum_core::chain::header::{HeaderFields, HeaderHasher, Proof, extra_nonce, mask_hash};
use hstratum_core::units::{Difficulty, Hash, Height, Target, parse_hex_u32};
use serde_json::Value;

/// Hashes tried for one share before the targets are taken to be wrong for a simulation.
const TRIES_MAX: u32 = 1 << 24;

/// A job as received.
#[derive(Debug, Clone)]
pub(crate) struct MinerJob {
    pub(crate) id: String,
    pub(crate) prev: Hash,
    /// Height of the block; known to the simulator only.
    pub(crate) height: Height,
    pub(crate) time: u32,
    pub(crate) network: Target,
    /// The difficulty announced before it.
    pub(crate) difficulty: Difficulty,
    pub(crate) share: Target,
    pub(crate) received_ms: u64,
    hasher: HeaderHasher,
}

/// The values of a share that a miner varies.
#[derive(Debug, Clone)]
pub(crate) struct FoundHash {
    pub(crate) n2: u32,
    pub(crate) time: u32,
    pub(crate) nonce: u32,
}

impl MinerJob {
    /// Reads the parameters of a notify; `None` if they are malformed.
    pub(crate) fn parse(
        params: &Value,
        difficulty: Difficulty,
        received_ms: u64,
        height_of: impl Fn(&Hash) -> Option<Height>,
    ) -> Option<Self> {
        let text = |at: usize| params.get(at)?.as_str();
        let hash = |at: usize| Hash::from_hex(text(at)?);
        let word = |at: usize| parse_hex_u32(text(at)?);
        let prev = hash(1)?;
        let fields = HeaderFields {
            prev_block: prev,
            merkle_root: hash(2)?,
            witness_root: hash(3)?,
            tree_root: hash(4)?,
            reserved_root: hash(5)?,
            version: word(6)?,
            bits: word(7)?,
            mask_hash: mask_hash(&prev, &Hash::ZERO),
        };
        Some(Self {
            id: text(0)?.to_owned(),
            prev,
            height: Height(height_of(&prev)?.0 + 1),
            time: word(8)?,
            network: Target::from_compact(fields.bits)?,
            share: Target::of_difficulty(difficulty),
            difficulty,
            received_ms,
            hasher: HeaderHasher::new(&fields),
        })
    }

    /// True if the hash earns credit.
    pub(crate) fn is_share(&self, hash: &Hash) -> bool {
        self.share.is_met_by(hash) || self.network.is_met_by(hash)
    }

    /// The first share at or after a nonce.
    pub(crate) fn find(
        &self,
        n1: u32,
        n2: u32,
        time: u32,
        nonce: u32,
        target: &Target,
    ) -> FoundHash {
        for tries in 0..TRIES_MAX {
            let nonce = nonce.wrapping_add(tries);
            let hash = self.hash(n1, n2, time, nonce);
            if target.is_met_by(&hash) || self.network.is_met_by(&hash) {
                return FoundHash { n2, time, nonce };
            }
        }
        panic!("no share in {TRIES_MAX} hashes: the targets do not fit a simulation");
    }

    /// The share hash of one attempt.
    pub(crate) fn hash(&self, n1: u32, n2: u32, time: u32, nonce: u32) -> Hash {
        self.hasher.share_hash(&Proof {
            nonce,
            time: time.into(),
            extra_nonce: extra_nonce(n1, n2),
        })
    }
}

/// Hashes that a share of this target takes on average.
pub(crate) fn hashes_of(target: &Target) -> f64 {
    let difficulty = target.difficulty().get();
    (difficulty * 4_294_967_296.0).max(1.0)
}

/// The compact form of a target that about one in `hashes` hashes meets.
pub(crate) fn bits_of(hashes: f64) -> u32 {
    let mut mantissa = 16_777_216.0 / hashes;
    let mut size = 32;
    // The mantissa's top bit is a sign bit; the value needs enough digits to be precise.
    while mantissa < 32_768.0 {
        mantissa *= 256.0;
        size -= 1;
    }
    while mantissa >= 8_388_608.0 {
        mantissa /= 256.0;
        size += 1;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let mantissa = mantissa as u32;
    size << 24 | mantissa
}
