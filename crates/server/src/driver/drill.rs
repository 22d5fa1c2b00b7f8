//! Drills of the path of a found block: at the start, and after each hour without a block, a made-up
//! solution goes to the node, which builds and verifies its block and gives it to nobody. Chain, peers,
//! ledger and spool are not touched.

use std::time::Instant;

use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::alarm::AlarmInput;
use hstratum_core::event::Level;
use hstratum_core::pool::Pool;
use hstratum_core::units::Now;

use super::Driver;
use crate::driver::io::DriverIo;
use crate::limits::{DRILL_AGAIN_MS, DRILL_BROKEN_MS, DRILL_MS};
use crate::messages::Drilled;
use crate::node::Drill;
use crate::telemetry::live::TelemetryWriter;
use crate::telemetry::node_lag::BlockPath;

impl<S: DriverIo> Driver<S> {
    /// Begins a drill if one is due and there is a job.
    pub(super) fn begin_drill(&mut self, pool: &Pool, now: Now) {
        if now.ms < self.next_drill_ms {
            return;
        }
        // Set before, so that a failure of the pool in here is not repeated at once.
        self.next_drill_ms = now.ms + DRILL_MS;
        let begun = self.instant();
        match pool.drill(now) {
            None => self.next_drill_ms = now.ms,
            Some(Err(part)) => {
                let reason = format!("{part} of a made-up solution is wrong");
                self.end_drill(now, Drilled::Broken(reason));
            }
            Some(Ok(drill)) => {
                let checked = self.instant();
                let raw = drill.solution.encode(&drill.transactions);
                self.node.drill(Drill {
                    check_ms: millis(begun, checked),
                    encode_ms: millis(checked, self.instant()),
                    solution: drill.solution,
                    raw,
                });
            }
        }
    }

    /// Puts the next drill off, since a block that the node has taken has tried the path itself. The first
    /// one is not: what is wrong is told at the start. After one that failed the next comes at once.
    pub(super) fn put_off_drill(&mut self, now: Now, verdict: &Verdict) {
        if matches!(verdict, Verdict::Accepted | Verdict::Side) {
            match self.node_lag.block_path() {
                BlockPath::Untried => {}
                BlockPath::Works => self.next_drill_ms = now.ms + DRILL_MS,
                BlockPath::Broken(_) => self.next_drill_ms = now.ms,
            }
        }
    }

    /// Reports the outcome of a drill.
    pub(super) fn end_drill(&mut self, now: Now, outcome: Drilled) {
        let broken = match outcome {
            Drilled::Works => None,
            Drilled::Broken(reason) => Some(reason),
            Drilled::Interrupted => {
                self.next_drill_ms = now.ms + DRILL_AGAIN_MS;
                return;
            }
        };
        let path = match &broken {
            Some(reason) => BlockPath::Broken(reason.clone()),
            None => BlockPath::Works,
        };
        if let Some(reason) = &broken {
            self.next_drill_ms = now.ms + DRILL_BROKEN_MS;
            if self.node_lag.block_path() != path {
                let text = format!("block path broken: a found block would be lost: {reason}");
                self.node.log(Level::Error, &text);
            }
        }
        self.node_lag.set_block_path(path);
        self.tell_alarms(AlarmInput::BlockPath(broken));
    }

    /// The time for a measurement; none in the simulator.
    fn instant(&self) -> Option<Instant> {
        self.telemetry.as_ref().map(TelemetryWriter::clock)
    }
}

fn millis(since: Option<Instant>, until: Option<Instant>) -> f64 {
    let took = since.zip(until).map(|(since, until)| until - since);
    took.unwrap_or_default().as_secs_f64() * 1000.0
}
