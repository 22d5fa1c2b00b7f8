//! Drills of the path of a found block: answers of the node, and the check that one comes at the start and
//! after each hour without a block, and no more often.

use hstratum::messages::Drilled;
use hstratum::node::Drill;
use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::chain::block::FoundBlock;
use hstratum_core::chain::coinbase::Payout;

use crate::world::node::short;
use crate::world::{SimNodeMail, World, note};

/// The same values as in the server.
const DRILL_MS: u64 = 3_600_000;
const DRILL_AGAIN_MS: u64 = 10_000;
const DRILL_BROKEN_MS: u64 = 60_000;

/// Time by which a drill may be late, since it needs a job and the transactions of its template.
const LATE_MS: u64 = 60_000;

/// Drills of a run.
#[derive(Default)]
pub(crate) struct DrillCheck {
    /// Time of the next one.
    due_ms: u64,
    /// The last one that has ended since the start of the process works; `None` before the first.
    works: Option<bool>,
    /// Times of those that came.
    at_ms: Vec<u64>,
}

impl World {
    /// Expects a drill from a process that has just started.
    pub(crate) fn expect_drill(&mut self) {
        self.drills.due_ms = self.now_ms;
        self.drills.works = None;
    }

    /// Expects none for an hour where the node has taken a block, but the first one all the same, and one at
    /// once after one that failed.
    pub(crate) fn put_off_drill(&mut self, verdict: &Verdict) {
        if matches!(verdict, Verdict::Accepted | Verdict::Side) {
            match self.drills.works {
                None => {}
                Some(true) => self.drills.due_ms = self.now_ms + DRILL_MS,
                Some(false) => self.drills.due_ms = self.now_ms,
            }
        }
    }

    /// Notes that the process has the outcome of a drill.
    pub(crate) fn end_drill(&mut self, outcome: &Drilled) {
        if *outcome != Drilled::Interrupted {
            self.drills.works = Some(*outcome == Drilled::Works);
        }
    }

    /// Checks a drill, and answers it: every other one works, and the others are interrupted and fail in
    /// turns.
    pub(crate) fn take_drill(&mut self, drill: &Drill) {
        let solution = &drill.solution;
        note!(self, "drill     {}", short(&solution.hash));
        assert!(self.now_ms >= self.drills.due_ms, "a drill comes too early");
        let block =
            FoundBlock::parse(&drill.raw, Payout::Operator).expect("the block of a drill is whole");
        assert_eq!(block.hash, solution.hash, "the block of a drill is its own");
        assert_eq!(solution.verify_parts(), Ok(()));
        assert!(!self.oracle.blocks.contains_key(&solution.hash));
        let (outcome, next_ms) = match self.drills.at_ms.len() % 4 {
            1 => (Drilled::Interrupted, DRILL_AGAIN_MS),
            3 => (Drilled::Broken("simulated".to_owned()), DRILL_BROKEN_MS),
            _ => (Drilled::Works, DRILL_MS),
        };
        self.drills.due_ms = self.now_ms + next_ms;
        self.drills.at_ms.push(self.now_ms);
        // The driver's next turn reads it.
        if let Some(process) = &mut self.process {
            process.node_mail.push_back(SimNodeMail::Drilled(outcome));
        }
    }

    /// Checks that no drill is missing while there are jobs.
    pub(crate) fn check_drill(&self) {
        let since_ms = (self.drills.due_ms)
            .max(self.trouble_ms)
            .max(self.thawed_ms);
        assert!(self.now_ms <= since_ms + LATE_MS, "a drill is missing");
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::world::plan::{Faults, RunPlan};

    const HOURS: u64 = 4;

    #[test]
    fn drills_come_at_the_start_and_after_each_hour_without_a_block() {
        let plan = RunPlan {
            faulty_ms: HOURS * DRILL_MS,
            // Nobody finds one.
            hashes_per_block: 1e18,
            faults: Faults::default(),
            ..RunPlan::draw(&mut Rng::with_seed(1), 1.0)
        };
        let mut world = World::new(1, plan, None, false);
        world.run(u64::MAX);
        assert!(world.oracle.blocks.is_empty());
        // After the faults the process starts again.
        let at_ms = &mut world.drills.at_ms;
        at_ms.retain(|at_ms| *at_ms < HOURS * DRILL_MS);
        assert!(at_ms[0] < LATE_MS, "{at_ms:?}");
        // One was interrupted and one failed, and a third and fourth followed soon.
        assert_eq!(at_ms.len() as u64, HOURS + 3, "{at_ms:?}");
        for (n, pair) in at_ms.windows(2).enumerate() {
            let least_ms = match n % 4 {
                1 => DRILL_AGAIN_MS,
                3 => DRILL_BROKEN_MS,
                _ => DRILL_MS,
            };
            let gap_ms = pair[1] - pair[0];
            assert!(
                (least_ms..least_ms + LATE_MS).contains(&gap_ms),
                "{at_ms:?}"
            );
        }
    }
}
