//! Drill of the path of a found block: a made-up solution of the newest job, checked as a miner's is except
//! for the network's target. The pool keeps nothing of it and gives no action.

use std::sync::Arc;

use crate::chain::block::{Reach, Solution};
use crate::chain::header::{Proof, extra_nonce};
use crate::chain::template::RawTransactions;
use crate::job::share::{self, Parent};
use crate::pool::Pool;
use crate::units::{Now, Target};

/// A made-up solution and the transactions of its template.
pub struct Drill {
    /// Not a block, since its hash does not meet the network's target.
    pub solution: Solution,
    /// The raw transactions, of which the spool's file is made.
    pub transactions: Arc<RawTransactions>,
}

impl Pool {
    /// Makes a drill of the newest job; `None` while there is no job on the tip or its transactions have
    /// not come.
    ///
    /// # Errors
    /// The part for which a miner's solution would not be offered.
    pub fn drill(&self, now: Now) -> Option<Result<Drill, &'static str>> {
        let shared = &self.shared;
        let job = shared.jobs.newest().filter(|_| shared.has_live_job())?;
        let template = &job.template;
        let transactions = shared.jobs.transactions(template.id)?;
        let proof = Proof {
            nonce: 0,
            time: template.time,
            extra_nonce: extra_nonce(0, 0),
        };
        let checked = share::check(
            job,
            &job.hasher,
            Parent::Tip,
            &proof,
            &Target::MAX,
            now.unix_s,
        );
        if let Err(reject) = checked.verdict {
            return Some(Err(reject.text()));
        }
        let solution = Solution {
            hash: job.hasher.share_hash(&proof).xor(&job.mask),
            template: template.clone(),
            fields: job.header_fields(),
            proof,
            mask: job.mask,
            coinbase: job.coinbase(),
            payee: None,
            reach: Reach::Chain,
            account: Arc::from(""),
            difficulty: job.network_difficulty,
        };
        Some(solution.verify_parts().map(|()| Drill {
            solution,
            transactions,
        }))
    }
}
