//! Rate limit of log lines that strangers can cause: a number of lines a second for each level, and then
//! one line that counts those left out.
//!
//! Each line crosses into the node's own log. Every line that a connection without work can cause must be
//! allowed here first; lines about blocks, the ledger and the operator's orders are never limited.

use crate::event::{Actions, AnyAction, Level};
use crate::limits::{LOG_LIMIT_MS, STRANGER_LINES_MAX};
use crate::plural::counted;
use crate::units::Now;

/// The levels that are limited.
const LEVELS: [Level; 3] = [Level::Warning, Level::Info, Level::Debug];

/// The lines logged and left out in the current second.
#[derive(Default)]
pub struct LogLimit {
    since_ms: u64,
    said: [u32; LEVELS.len()],
    left_out: [u64; LEVELS.len()],
}

impl LogLimit {
    /// True if a line may be logged; if not, it is counted.
    pub fn allows(&mut self, now_ms: u64, level: Level) -> bool {
        let Some(place) = LEVELS.iter().position(|known| *known == level) else {
            return true;
        };
        // Counts of the second before are kept until the next tick logs them.
        if now_ms - self.since_ms >= LOG_LIMIT_MS && self.left_out == [0; LEVELS.len()] {
            self.since_ms = now_ms;
            self.said = [0; LEVELS.len()];
        }
        let allows = self.said[place] < STRANGER_LINES_MAX;
        match allows {
            true => self.said[place] += 1,
            false => self.left_out[place] += 1,
        }
        allows
    }

    /// Logs a line caused by a stranger, unless the limit is reached.
    pub(crate) fn tell<A: AnyAction>(
        &mut self,
        now: Now,
        level: Level,
        text: impl FnOnce() -> String,
        out: &mut Actions<A>,
    ) {
        if self.allows(now.ms, level) {
            out.log(level, text());
        }
    }

    /// The lines that count those left out, once the second is over.
    pub fn tick(&mut self, now_ms: u64) -> Vec<(Level, String)> {
        if now_ms - self.since_ms < LOG_LIMIT_MS {
            return Vec::new();
        }
        let left_out = std::mem::take(&mut self.left_out);
        let lines = LEVELS.into_iter().zip(left_out).filter(|(_, n)| *n > 0);
        let lines: Vec<_> = lines
            .map(|(level, n)| {
                (
                    level,
                    format!("{} about connections left out", counted(n, "more line")),
                )
            })
            .collect();
        self.since_ms = now_ms;
        self.said = [0; LEVELS.len()];
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_a_second_and_then_a_count() {
        let mut limit = LogLimit::default();
        let mut said = 0;
        for ms in 0..3_000_u64 {
            said += (0..30).filter(|_| limit.allows(ms, Level::Debug)).count();
            assert!(limit.allows(ms, Level::Error), "blocks are never left out");
            if ms % 250 == 0 {
                said += limit.tick(ms).len();
            }
        }
        assert_eq!(said, 3 * STRANGER_LINES_MAX as usize + 2);
        // A flood of one level does not limit the others.
        assert!(limit.allows(3_000, Level::Warning));
        let told = limit.tick(4_000);
        assert_eq!(told.len(), 1);
        assert!(told[0].1.starts_with("29950 more lines"), "{told:?}");
        assert!(limit.tick(5_000).is_empty());
    }
}
