//! Is a submit a share, and is the share a block?
//!
//! The share is judged by the share hash, the block by the share hash xor mask. Every block is a
//! share, whatever its difficulty.

use crate::chain::header::{Proof, extra_nonce};
use crate::job::Job;
use crate::limits::TIME_AHEAD_MAX_S;
use crate::units::{Hash, Target};
use crate::wire::message::{Reject, Submit};

/// Whether a job's parent is the chain's tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// It is.
    Tip,
    /// It was.
    Stale,
}

/// What a submit is worth.
#[derive(Debug, PartialEq, Eq)]
pub struct Checked {
    /// The block's hash, when the share meets the network's target; also of a stale job, since
    /// its block may still win.
    pub block: Option<Hash>,
    /// Whether it earns credit, as far as it is not a duplicate.
    pub verdict: Result<(), Reject>,
}

/// The proof that a submit claims.
pub fn proof(extra_nonce1: u32, submit: &Submit<'_>) -> Proof {
    Proof {
        nonce: submit.nonce,
        time: u64::from(submit.time),
        extra_nonce: extra_nonce(extra_nonce1, submit.extra_nonce2),
    }
}

/// Judges a submit for `job` by the target that the job was sent under, in the order of checks
/// that the field knows: stale, time, block, share.
pub fn check(
    job: &Job,
    parent: Parent,
    proof: &Proof,
    share_target: &Target,
    now_unix_s: u64,
) -> Checked {
    let on_time = check_time(job, proof.time, now_unix_s);
    if let Err(reject) = on_time {
        let reject = if parent == Parent::Stale {
            Reject::StalePrevblk
        } else {
            reject
        };
        return Checked {
            block: None,
            verdict: Err(reject),
        };
    }
    let share_hash = job.hasher.share_hash(proof);
    let block_hash = share_hash.xor(&job.mask);
    let is_block = job.template.target.is_met_by(&block_hash);
    let verdict = if parent == Parent::Stale {
        Err(Reject::StalePrevblk)
    } else if is_block || share_target.is_met_by(&share_hash) {
        Ok(())
    } else {
        Err(Reject::HighHash)
    };
    Checked {
        block: is_block.then_some(block_hash),
        verdict,
    }
}

fn check_time(job: &Job, time: u64, now_unix_s: u64) -> Result<(), Reject> {
    if time < job.template.time_min {
        Err(Reject::TimeTooOld)
    } else if time > job.template.time_max.min(now_unix_s + TIME_AHEAD_MAX_S) {
        Err(Reject::TimeTooNew)
    } else {
        Ok(())
    }
}
