//! Back-off for the log line of a persisting problem: logged at once, then less and less often.

use std::time::{Duration, Instant};

use hstratum_core::event::Level;

use crate::limits::{COMPLAIN_AGAIN, COMPLAIN_AGAIN_MAX};
use crate::node::Node;

/// A line that is said at once, and again only when its text is another.
#[derive(Debug, Default)]
pub(crate) struct LogOnce(Option<String>);

impl LogOnce {
    /// True if this text is to be said.
    pub(crate) fn is_new(&mut self, text: &str) -> bool {
        let is_new = self.0.as_deref() != Some(text);
        if is_new {
            self.0 = Some(text.to_owned());
        }
        is_new
    }

    /// Says it, if it is new.
    pub(crate) fn say(&mut self, node: &dyn Node, level: Level, text: &str) {
        if self.is_new(text) {
            node.log(level, text);
        }
    }

    /// It is well again: whether anything was said.
    pub(crate) fn end(&mut self) -> bool {
        self.0.take().is_some()
    }
}

/// A line that is said at once, and then less and less often.
#[derive(Debug, Default)]
pub(crate) struct LogBackoff {
    /// Time of the next line, and the wait after that.
    next: Option<(Instant, Duration)>,
}

impl LogBackoff {
    /// Records that the problem persists; returns true if it is to be logged now.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let wait = match self.next {
            Some((at, _)) if now < at => return false,
            Some((_, wait)) => (wait * 2).min(COMPLAIN_AGAIN_MAX),
            None => COMPLAIN_AGAIN,
        };
        self.next = Some((now + wait, wait));
        true
    }

    /// Records that the problem is over; returns true if it was logged.
    pub(crate) fn end(&mut self) -> bool {
        self.next.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_wrong_is_said_less_and_less_often_and_at_once_after_it_was_well() {
        let (begun, mut complaint) = (Instant::now(), LogBackoff::default());
        let day = (0..24 * 3600).step_by(2);
        let said = day.filter(|s| complaint.is_due(begun + Duration::from_secs(*s)));
        // At once, after one minute, two, four, ... 32, and then each hour.
        assert_eq!(said.count(), 7 + 22);
        assert!(complaint.end() && !complaint.end());
        assert!(complaint.is_due(begun));
    }
}
