//! A job as a miner reads it from `mining.notify`, and the shares it finds for it.

use hstratum_core::units::{Difficulty, Hash, Height, Target};
use hstratum_harness::job::ReceivedJob;
use serde_json::Value;

/// A job as received.
#[derive(Debug, Clone)]
pub(crate) struct MinerJob {
    pub(crate) read: ReceivedJob,
    /// Height of the block; known to the simulator only.
    pub(crate) height: Height,
    pub(crate) received_ms: u64,
}

impl MinerJob {
    /// Reads the parameters of a notify; `None` if they are malformed.
    pub(crate) fn parse(
        params: &Value,
        difficulty: Difficulty,
        received_ms: u64,
        height_of: impl Fn(&Hash) -> Option<Height>,
    ) -> Option<Self> {
        let read = ReceivedJob::parse(params, difficulty)?;
        Some(Self {
            height: Height(height_of(&read.prev_block)?.0 + 1),
            read,
            received_ms,
        })
    }

    /// True if the hash earns credit.
    pub(crate) fn is_share(&self, hash: &Hash) -> bool {
        self.is_share_of(&self.read.share, hash)
    }

    /// True if the hash meets this target, or the network's.
    pub(crate) fn is_share_of(&self, target: &Target, hash: &Hash) -> bool {
        target.is_met_by(hash) || self.read.network.is_met_by(hash)
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
