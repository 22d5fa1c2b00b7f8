//! How much is remembered of shares over all jobs together.
//!
//! Whenever half of what may be remembered has come, everybody gets a fresh job, and with it a
//! generation of jobs begins; those from before the last generation take no more shares, and forget
//! theirs. Whoever mines was sent a newer one half a memory ago. So what is remembered came in the
//! last two generations, and that is never more than the whole. Blocks of such a job still count.

use crate::job::JobNumber;

/// See the module.
pub(crate) struct Generations {
    shares_max: usize,
    /// Shares that have come in this generation.
    shares: usize,
    /// Its first job.
    first: JobNumber,
}

impl Generations {
    /// Nothing is remembered yet.
    pub(crate) fn new(shares_max: usize) -> Self {
        Self {
            shares_max,
            shares: 0,
            first: 0,
        }
    }

    /// A share is remembered, of whichever job.
    pub(crate) fn count(&mut self) {
        self.shares += 1;
    }

    /// Whether another has to begin.
    pub(crate) fn is_full(&self) -> bool {
        self.shares >= self.shares_max / 2
    }

    /// Another begins with a job; those before the number that is returned take no more shares.
    pub(crate) fn begin(&mut self, first: JobNumber) -> JobNumber {
        self.shares = 0;
        std::mem::replace(&mut self.first, first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_of_two_generations_and_below_the_limit() {
        let mut generations = Generations::new(10);
        // Of each job that still takes shares: its number, and how many it remembers.
        let mut jobs: Vec<(JobNumber, usize)> = vec![(1, 0)];
        for share in 0..200_usize {
            // Old jobs get shares as well, as long as they take them.
            let at = share % jobs.len();
            jobs[at].1 += 1;
            generations.count();
            let all: usize = jobs.iter().map(|(_, shares)| shares).sum();
            assert!(all <= 10, "{all} after {share}");
            if generations.is_full() {
                let fresh = jobs.last().expect("there is one").0 + 1;
                let closed_below = generations.begin(fresh);
                jobs.retain(|(number, _)| *number >= closed_below);
                jobs.push((fresh, 0));
                assert!(jobs.len() >= 2, "the job before still takes shares");
            }
        }
    }
}
