//! Finding shares: the time and the hash of a miner's next share, and the line that submits it.

use hstratum_core::units::Hash;

use crate::miner::job::{MinerJob, hashes_of};
use crate::miner::{Pending, SentRequest, SimMiner, Submitted};
use crate::world::oracle::CreditKey;
use crate::world::plan::{MinerKind, wait};

/// Extranonce2, time and nonce.
pub(crate) type ShareNonces = (u32, u32, u32);

/// Marks a share as new or as sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    First,
    Again,
}

impl SimMiner {
    /// Milliseconds until it finds its next share; `None` while it does not mine.
    pub(crate) fn draw_share_ms(&mut self) -> Option<u64> {
        let target = self.target()?;
        let mines = self.plan.hashrate > 0.0 && self.kind() != MinerKind::Hostile;
        let mean_ms = 1000.0 * hashes_of(&target) / self.plan.hashrate;
        mines.then(|| wait(&mut self.rng, mean_ms))
    }

    /// Finds a share for the current job.
    pub(crate) fn find(&mut self, now_ms: u64) -> Option<(MinerJob, ShareNonces)> {
        let (job, target, n1) = (self.job()?, self.target()?, self.extra_nonce1?);
        let waited_s = u32::try_from((now_ms - job.received_ms) / 1000).unwrap_or(32);
        let time = job.read.time + self.rng.clone().u32(0..=waited_s.min(32));
        let is_share = |hash: &Hash| job.is_share_of(&target, hash);
        let nonce = job.read.find((n1, self.n2), time, self.nonce, is_share);
        let job = job.clone();
        self.rng.u64(..);
        self.nonce = nonce.wrapping_add(1);
        Some((job, (self.n2, time, nonce)))
    }

    /// Builds the parameters of a submit, and records everything known about the share.
    pub(crate) fn claim(
        &self,
        job: &MinerJob,
        proof: ShareNonces,
        repeat: Repeat,
    ) -> Option<PreparedShare> {
        let (n2, time, nonce) = proof;
        let hash = job.read.hash((self.extra_nonce1?, n2), time, nonce);
        let key: CreditKey = (
            job.height,
            self.plan.account.as_str().into(),
            job.read.difficulty.get().to_bits(),
        );
        let name = serde_json::to_string(&self.plan.name).expect("a string");
        let mask = match self.kind() {
            MinerKind::Goldshell | MinerKind::Handy => format!(",\"{}\"", "0".repeat(64)),
            _ => String::new(),
        };
        let params = format!(
            "[{name},\"{}\",\"{n2:08x}\",\"{time:08x}\",\"{nonce:08x}\"{mask}]",
            job.read.id
        );
        let submitted = Submitted {
            hash,
            key,
            prev: job.read.prev_block,
            job_ms: job.received_ms,
            is_valid: job.is_share(&hash),
            is_again: repeat == Repeat::Again,
            is_late: self.difficulty_ms >= job.received_ms
                && self.difficulty != Some(job.read.difficulty),
        };
        Some(PreparedShare { params, submitted })
    }

    /// The line that submits it; its answer is awaited from now on.
    pub(crate) fn submit(&mut self, now_ms: u64, claim: PreparedShare) -> String {
        let PreparedShare { params, submitted } = claim;
        let id = self.id();
        let line = format!("{{\"id\":{id},\"method\":\"mining.submit\",\"params\":{params}}}\n");
        self.pending.push_back(Pending {
            id,
            sent_ms: now_ms,
            asked: SentRequest::Submit(submitted.clone()),
        });
        if self.kind() == MinerKind::Doubler && !submitted.is_again {
            self.remember(params, submitted);
        }
        line
    }

    /// Index of a share to send again, which a doubler does in three of ten cases.
    pub(crate) fn draw_repeat(&mut self) -> Option<usize> {
        let repeats = self.kind() == MinerKind::Doubler && self.rng.u8(..10) < 3;
        repeats.then(|| self.rng.usize(..self.sent.len()))
    }

    /// The claim of a share sent before.
    pub(crate) fn claim_again(&self, place: usize) -> PreparedShare {
        let (params, submitted) = self.sent[place].clone();
        let submitted = Submitted {
            is_again: true,
            ..submitted
        };
        PreparedShare { params, submitted }
    }

    /// Index of a share among those sent before.
    pub(crate) fn place_of(&self, hash: &Hash) -> Option<usize> {
        let mut sent = self.sent.iter();
        sent.position(|(_, submitted)| submitted.hash == *hash)
    }
}

/// A share, ready to be sent.
pub(crate) struct PreparedShare {
    pub(crate) params: String,
    pub(crate) submitted: Submitted,
}
