//! Drills of a found block's way: at the start, and after each hour without a block, a made-up solution
//! goes to the node, which builds and verifies its block and tells nobody. Chain, peers, ledger and
//! spool are not touched.

use hstratum_core::alarm::AlarmInput;
use hstratum_core::event::Level;
use hstratum_core::pool::Pool;
use hstratum_core::units::Now;

use super::Driver;
use crate::driver::io::DriverIo;
use crate::limits::{DRILL_AGAIN_MS, DRILL_MS};
use crate::messages::Drilled;
use crate::node::Drill;
use crate::telemetry::live::TelemetryWriter;

impl<S: DriverIo> Driver<S> {
    /// Begins a drill if it is time for one and there is a job.
    pub(super) fn begin_drill(&mut self, pool: &Pool, now: Now) {
        let clock = || self.telemetry.as_ref().map(TelemetryWriter::clock);
        if now.ms < self.next_drill_ms {
            return;
        }
        let begun = clock();
        let Some(made) = pool.drill(now) else { return };
        self.next_drill_ms = now.ms + DRILL_MS;
        match made {
            Ok(drill) => {
                let checked = clock();
                let raw = drill.solution.encode(&drill.transactions);
                let ms = |since, until| match (since, until) {
                    (Some(since), Some(until)) => millis(since, until),
                    _ => 0.0,
                };
                self.node.drill(Drill {
                    check_ms: ms(begun, checked),
                    encode_ms: ms(checked, clock()),
                    solution: drill.solution,
                    raw,
                });
            }
            Err(wrong) => self.end_drill(now, Drilled::Broken(wrong.to_owned())),
        }
    }

    /// A drill has come to its end.
    pub(super) fn end_drill(&mut self, now: Now, outcome: Drilled) {
        let broken = match outcome {
            Drilled::Works => None,
            Drilled::Broken(reason) => Some(reason),
            Drilled::Interrupted => {
                self.next_drill_ms = now.ms + DRILL_AGAIN_MS;
                return;
            }
        };
        if let Some(reason) = &broken {
            let text = format!("block path broken: a found block would be lost: {reason}");
            self.node.log(Level::Error, &text);
        }
        self.node_lag.set_block_path(broken.clone());
        self.tell_alarms(AlarmInput::BlockPath(broken));
    }
}

fn millis(since: std::time::Instant, until: std::time::Instant) -> f64 {
    until.duration_since(since).as_secs_f64() * 1000.0
}
