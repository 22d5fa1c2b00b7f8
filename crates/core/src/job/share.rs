//! Judges a submit: share or not, block or not.
//!
//! The share hash is compared with the share target, and the share hash xor mask with the network's
//! target. Every block is a share, whatever its difficulty. Duplicates are found elsewhere.

use crate::chain::header::{HeaderHasher, Proof, extra_nonce};
use crate::job::Job;
use crate::limits::TIME_AHEAD_MAX_S;
use crate::units::{Hash, Target};
use crate::wire::message::{Reject, Submit};

/// The relation of a job's parent to the chain's tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// The parent is the tip.
    Tip,
    /// The parent was the tip earlier.
    Stale,
}

/// The result of [`check`].
#[derive(Debug, PartialEq, Eq)]
pub struct Checked {
    /// The block's hash, if it meets the network's target. Set for a stale job too, because its block may
    /// still win.
    pub block: Option<Hash>,
    /// The share's hash, if its time is right.
    pub hash: Option<Hash>,
    /// `Ok` if the share earns credit, unless it turns out to be a duplicate.
    pub verdict: Result<(), Reject>,
}

/// The header fields that a submit claims.
pub fn proof(extra_nonce1: u32, submit: &Submit<'_>) -> Proof {
    Proof {
        nonce: submit.nonce,
        time: u64::from(submit.time),
        extra_nonce: extra_nonce(extra_nonce1, submit.extra_nonce2),
    }
}

/// Judges a submit for `job` by the target that the job was sent under, in the order of checks usual in
/// the field: stale, time, block, share. `hasher` is the job's, or that of its blocks for one payee.
pub fn check(
    job: &Job,
    hasher: &HeaderHasher,
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
            hash: None,
            verdict: Err(reject),
        };
    }
    let share_hash = hasher.share_hash(proof);
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
        hash: Some(share_hash),
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
