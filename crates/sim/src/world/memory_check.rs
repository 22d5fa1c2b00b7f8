//! Checks memory use: what the pool keeps never exceeds its limits, and is freed when all miners have
//! left.

use crate::world::{World, note};

/// Bytes that the server reads at a time.
pub(crate) const READ_BYTES: usize = 16 * 1024;
/// Steps between two checks.
const EVERY: u64 = 64;

/// The things a pool without miners may still keep, because blocks come late, offenders return, and the
/// next miner needs a job.
const STAYS: [&str; 6] = [
    "hints",
    "found blocks",
    "offered blocks",
    "offenders",
    "templates",
    "jobs",
];

impl World {
    /// Checks all counts every [`EVERY`] steps.
    pub(crate) fn count_sizes(&mut self) {
        if !self.step.is_multiple_of(EVERY) {
            return;
        }
        let Some(process) = &self.process else { return };
        let Some(pool) = &process.pool else { return };
        for size in pool.sizes(READ_BYTES, READ_BYTES) {
            assert!(size.count <= size.limit, "the pool grows: {size:?}");
            let most = self.largest.entry(size.what).or_default();
            *most = size.count.max(*most);
        }
    }

    /// Makes every miner disconnect; an honest one must have no open requests.
    pub(crate) fn leave(&mut self) {
        note!(self, "leave     everybody hangs up");
        for at in 0..self.miners.len() {
            let miner = &mut self.miners[at];
            let left = miner.pending.len();
            assert!(
                left == 0 || !miner.is_honest(),
                "{left} requests of {at} unanswered"
            );
            miner.retires = true;
            self.hang_up(at);
        }
    }

    /// Checks that nothing is kept of miners after all have left and everything is reported.
    pub(crate) fn check_floor(&self) {
        let process = self.process.as_ref().expect("the process runs");
        let pool = process.pool.as_ref().expect("the pool runs");
        for size in pool.sizes(READ_BYTES, READ_BYTES) {
            let is_free = size.count == 0 || STAYS.contains(&size.what);
            assert!(is_free, "kept after everybody has left: {size:?}");
        }
        assert_eq!(process.driver.unanswered(), 0, "blocks that wait");
        assert!(process.driver.is_settled(), "shares that wait");
        assert_eq!(process.store.left(), (0, 0), "shares and blocks that wait");
    }
}
