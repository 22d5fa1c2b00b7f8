//! Duties of threads, and monitoring whether they are done.
//!
//! A thread with a duty ends only with the server: one that ends by a panic or returns early is started
//! again. A duty that is not done for [`DUTY_PATIENCE`] raises an alarm, whatever the reason: an error,
//! something that hangs, a thread that is gone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hstratum_core::event::Level;
use parking_lot::Mutex;

use crate::limits::{DUTY_AGAIN, DUTY_PATIENCE};
use crate::node::Node;

/// Interval at which a stop is noticed.
const STOP_LOOK: Duration = Duration::from_millis(50);

/// Waits until then; a stop ends the wait.
pub(crate) fn wait_until(due: Instant, is_stopping: &AtomicBool) {
    while Instant::now() < due && !is_stopping.load(Ordering::Relaxed) {
        thread::sleep(STOP_LOOK);
    }
}

/// All duties of a server.
#[derive(Clone, Default)]
pub(crate) struct Duties(Arc<Mutex<Vec<Arc<Duty>>>>);

/// One duty.
pub(crate) struct Duty {
    name: &'static str,
    /// Time since which there is something to do; `None` while there is nothing.
    since: Mutex<Option<Instant>>,
}

impl Duties {
    /// Adds a duty, with its name in metrics and alarms.
    pub(crate) fn add(&self, name: &'static str) -> Arc<Duty> {
        let new = Arc::new(Duty {
            name,
            since: Mutex::new(None),
        });
        self.0.lock().push(new.clone());
        new
    }

    /// Each duty, and how long it has been pending.
    pub(crate) fn ages(&self) -> Vec<(&'static str, Duration)> {
        let all = self.0.lock();
        let ages = all.iter().map(|duty| (duty.name, duty.age()));
        ages.collect()
    }

    /// Duties that have been pending for too long.
    pub(crate) fn late(&self) -> Vec<&'static str> {
        let late = |(name, age)| (age >= DUTY_PATIENCE).then_some(name);
        self.ages().into_iter().filter_map(late).collect()
    }
}

impl Duty {
    /// Records that there is something to do.
    pub(crate) fn owe(&self) {
        self.since.lock().get_or_insert_with(Instant::now);
    }

    /// Records that everything is done.
    pub(crate) fn done(&self) {
        *self.since.lock() = None;
    }

    /// Records that everything is done, in a duty that is always pending again.
    pub(crate) fn again(&self) {
        *self.since.lock() = Some(Instant::now());
    }

    /// Makes the duty late.
    #[cfg(test)]
    pub(crate) fn owe_since_long(&self) {
        *self.since.lock() = Instant::now().checked_sub(DUTY_PATIENCE);
    }

    fn age(&self) -> Duration {
        self.since
            .lock()
            .map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// Carries out what a thread is there for. It comes back when that is over; a panic is a bug, which ends
/// what was being done and nothing else.
pub(crate) fn keep(name: &str, node: &dyn Node, mut work: impl FnMut()) {
    while catch_unwind(AssertUnwindSafe(&mut work)).is_err() {
        let text = format!("a bug in the thread {name}, please report it: it is restarted");
        node.log(Level::Error, &text);
        thread::sleep(DUTY_AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use hstratum_core::units::{Hash, Height};

    use super::*;
    use crate::node::Offer;

    struct Deaf;

    impl Node for Deaf {
        fn offer(&self, _: Offer) {}
        fn locate(&self, _: Vec<(Hash, Height)>) {}
        fn log(&self, _: Level, _: &str) {}
    }

    #[test]
    fn work_that_panics_is_begun_anew() {
        let mut times = 0;
        keep("hstratum-test", &Deaf, || {
            times += 1;
            assert!(times > 1, "as a bug");
        });
        assert_eq!(times, 2);
    }

    #[test]
    fn what_is_owed_for_long_is_late_until_it_is_done() {
        let duties = Duties::default();
        let duty = duties.add("something");
        duty.owe_since_long();
        duty.owe();
        assert_eq!(duties.late(), ["something"]);
        duty.again();
        assert_eq!(duties.late(), [""; 0]);
        duty.done();
        assert_eq!(duties.ages(), [("something", Duration::ZERO)]);
    }
}
