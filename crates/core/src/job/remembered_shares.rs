//! Bounds the count of shares remembered over all jobs together.
//!
//! When half of the allowed count has come, everybody gets a fresh job, which begins a new generation of
//! jobs. Jobs from before the previous generation then take no more shares and forget theirs; by then
//! their miners have had a newer job for half of the allowed count. So the remembered shares are of the
//! last two generations only, and never more than the allowed count. Blocks of a closed job are still
//! offered to the node.

use crate::job::JobNumber;

/// The shares counted in the current generation of jobs.
pub(crate) struct ShareMemory {
    shares_max: usize,
    /// Shares counted in this generation.
    shares: usize,
    /// First job of this generation.
    first: JobNumber,
}

impl ShareMemory {
    /// Starts with nothing counted.
    pub(crate) fn new(shares_max: usize) -> Self {
        Self {
            shares_max,
            shares: 0,
            first: 0,
        }
    }

    /// Counts a share that some job has remembered.
    pub(crate) fn count(&mut self) {
        self.shares += 1;
    }

    /// True if a new generation has to begin.
    pub(crate) fn is_full(&self) -> bool {
        self.shares >= self.shares_max / 2
    }

    /// Begins a new generation with the job `first`; returns the number below which jobs take no more
    /// shares.
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
        let mut generations = ShareMemory::new(10);
        // Number and remembered shares of each job that still takes shares.
        let mut jobs: Vec<(JobNumber, usize)> = vec![(1, 0)];
        for share in 0..200_usize {
            // Old jobs get shares too, until they are closed.
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
