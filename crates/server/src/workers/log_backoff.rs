//! A log line for what goes on being wrong: said at once, and then less and less often.

use std::time::{Duration, Instant};

use crate::limits::{COMPLAIN_AGAIN, COMPLAIN_AGAIN_MAX};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    /// When it is said next, and how long after that again.
    next: Option<(Instant, Duration)>,
}

impl Complaint {
    /// It is wrong: whether that is to be said.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let wait = match self.next {
            Some((at, _)) if now < at => return false,
            Some((_, wait)) => (wait * 2).min(COMPLAIN_AGAIN_MAX),
            None => COMPLAIN_AGAIN,
        };
        self.next = Some((now + wait, wait));
        true
    }

    /// It is well again: whether anything was said.
    pub(crate) fn end(&mut self) -> bool {
        self.next.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_wrong_is_said_less_and_less_often_and_at_once_after_it_was_well() {
        let (begun, mut complaint) = (Instant::now(), Complaint::default());
        let day = (0..24 * 3600).step_by(2);
        let said = day.filter(|s| complaint.is_due(begun + Duration::from_secs(*s)));
        // At once, after one minute, two, four, ... 32, and then each hour.
        assert_eq!(said.count(), 7 + 22);
        assert!(complaint.end() && !complaint.end());
        assert!(complaint.is_due(begun));
    }
}
