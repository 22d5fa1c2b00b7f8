//! Connections that are reset after a delay, because some miners would reconnect at once.

use std::collections::VecDeque;

use crate::limits::{CLOSE_DELAY_MS, CLOSING_LATER_MAX};
use crate::units::ConnId;

/// The connections to reset, with the time of each, in order.
#[derive(Default)]
pub(crate) struct DelayedCloses {
    waiting: VecDeque<(u64, ConnId)>,
}

impl DelayedCloses {
    /// Adds a connection. Beyond [`CLOSING_LATER_MAX`] returns the oldest one, which is to be reset at
    /// once.
    pub(crate) fn add(&mut self, conn: ConnId, now_ms: u64) -> Option<ConnId> {
        self.waiting.push_back((now_ms + CLOSE_DELAY_MS, conn));
        if self.waiting.len() <= CLOSING_LATER_MAX {
            return None;
        }
        self.waiting.pop_front().map(|(_, conn)| conn)
    }

    /// The next connection whose time has come.
    pub(crate) fn next(&mut self, now_ms: u64) -> Option<ConnId> {
        let (at_ms, conn) = *self.waiting.front()?;
        (at_ms <= now_ms).then(|| self.waiting.pop_front())?;
        Some(conn)
    }

    /// Count of waiting connections.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let mut delayed_closes = DelayedCloses::default();
        let many = CLOSING_LATER_MAX as u64;
        for conn in 0..many {
            assert_eq!(delayed_closes.add(ConnId(conn), conn), None);
        }
        assert_eq!(delayed_closes.add(ConnId(many), many), Some(ConnId(0)));
        assert_eq!(delayed_closes.len(), CLOSING_LATER_MAX);
        assert_eq!(delayed_closes.next(CLOSE_DELAY_MS), None);
        assert_eq!(delayed_closes.next(CLOSE_DELAY_MS + 1), Some(ConnId(1)));
        assert_eq!(delayed_closes.next(CLOSE_DELAY_MS + 1), None);
    }
}
