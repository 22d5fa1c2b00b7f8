//! Reading in the background: one reading at a time, and a rest after each. Those who ask wait for it where
//! it is soon done.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::limits::HTTP_SOON;

/// The state of a reading that is repeated.
#[derive(Default)]
pub(super) struct Background {
    state: Mutex<BackgroundState>,
    ended: Notify,
}

#[derive(Default)]
struct BackgroundState {
    is_running: bool,
    /// When the last one that succeeded ended, and how long it took.
    last: Option<(Instant, Duration)>,
    has_failed: bool,
}

impl Background {
    /// True if one is to begin: none runs, and the last has rested for as long as `rest` makes of the time
    /// that it took. After a failure there is no rest.
    pub(super) fn begin(&self, rest: impl FnOnce(Duration) -> Duration) -> bool {
        let mut state = self.state.lock();
        let last = state.last.filter(|_| !state.has_failed);
        let rests = last.is_some_and(|(at, took)| at.elapsed() < rest(took));
        let begins = !state.is_running && !rests;
        state.is_running |= begins;
        begins
    }

    /// The one that began then has ended.
    pub(super) fn end(&self, begun: Instant, has_failed: bool) {
        let mut state = self.state.lock();
        state.is_running = false;
        state.has_failed = has_failed;
        if !has_failed {
            state.last = Some((Instant::now(), begun.elapsed()));
        }
        drop(state);
        self.ended.notify_waiters();
    }

    pub(super) fn is_running(&self) -> bool {
        self.state.lock().is_running
    }

    /// True if it is likely to be done soon, by the time of the last one.
    pub(super) fn is_short(&self) -> bool {
        let last = self.state.lock().last;
        last.is_none_or(|(_, took)| took < HTTP_SOON / 2)
    }

    /// Time since the last one that succeeded.
    pub(super) fn age(&self) -> Duration {
        let last = self.state.lock().last;
        last.map_or(Duration::ZERO, |(at, _)| at.elapsed())
    }

    /// The end of the one that runs. To be taken before it is begun.
    pub(super) fn ended(&self) -> Notified<'_> {
        self.ended.notified()
    }
}
