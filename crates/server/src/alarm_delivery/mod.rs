//! The thread that raises alarms: takes inputs and the clock, and sends alarms to the log, the webhook and
//! the open dashboard pages.

pub(crate) mod webhook;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hstratum_core::alarm::{
    Alarm, AlarmInput, AlarmKind, AlarmMonitor, Severity, SharedLedgerInput,
};
use hstratum_core::event::Level;
use hstratum_core::units::Now;
use parking_lot::Mutex;

use crate::alarm_delivery::webhook::AlarmQueue;
use crate::clock::unix_s;
use crate::cluster::cluster_status::ClusterLink;
use crate::limits::{HTTP_EVENTS_MAX, RECENT_ALARMS_MAX};
use crate::node::Node;
use crate::statuses::Statuses;

/// Interval at which the monitor is told the time.
const TICK: Duration = Duration::from_secs(1);

/// Feed of alarms to open dashboard pages, and the last ones for the operator's console.
#[derive(Default)]
pub(crate) struct AlarmFeed(Mutex<Notices>);

#[derive(Default)]
struct Notices {
    waiting: VecDeque<Notice>,
    recent: VecDeque<Notice>,
}

/// An alarm as the dashboard shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Unix seconds.
    pub at: u64,
    pub kind: AlarmKind,
    pub text: String,
}

impl AlarmFeed {
    /// Appends an alarm; drops the oldest if nobody takes them.
    fn put(&self, alarm: &Alarm) {
        let notice = Notice {
            at: unix_s(),
            kind: alarm.kind,
            text: alarm.text.clone(),
        };
        let mut notices = self.0.lock();
        push(&mut notices.recent, RECENT_ALARMS_MAX, notice.clone());
        push(&mut notices.waiting, HTTP_EVENTS_MAX, notice);
    }

    /// Takes the alarms since the last call.
    pub(crate) fn take(&self) -> VecDeque<Notice> {
        std::mem::take(&mut self.0.lock().waiting)
    }

    /// The last alarms, newest first.
    pub(crate) fn recent(&self) -> Vec<Notice> {
        self.0.lock().recent.iter().rev().cloned().collect()
    }
}

fn push(notices: &mut VecDeque<Notice>, most: usize, notice: Notice) {
    if notices.len() == most {
        notices.pop_front();
    }
    notices.push_back(notice);
}

/// The alarm inputs that follow from the statuses, beside those that other threads send.
fn inputs_of(statuses: &Statuses) -> impl Iterator<Item = AlarmInput> {
    let cluster = statuses.cluster.as_ref().map(|cluster| cluster.look());
    let cluster = cluster.into_iter().flat_map(|reading| {
        let link = match reading.link {
            ClusterLink::Starting | ClusterLink::Up => SharedLedgerInput::Up,
            ClusterLink::Away(reason) | ClusterLink::Refused(reason) => {
                SharedLedgerInput::Down(reason)
            }
        };
        [AlarmInput::Twin(reading.is_twin), AlarmInput::Link(link)]
    });
    let own = [
        AlarmInput::Overdue(statuses.node_lag.overdue()),
        AlarmInput::Log(statuses.ledger.read().wal_bytes),
        AlarmInput::Duties(statuses.duties.late()),
        AlarmInput::Tick,
    ];
    cluster.chain(own)
}

/// Runs until all senders of inputs are gone.
pub(crate) fn run(
    drop_percent: u8,
    inputs: &Receiver<AlarmInput>,
    outbox: Option<&AlarmQueue>,
    statuses: &Statuses,
    alarm_feed: &AlarmFeed,
    node: &dyn Node,
) {
    let started = Instant::now();
    let now = || Now {
        ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        unix_s: unix_s(),
    };
    let mut watch = AlarmMonitor::new(drop_percent, now());
    let mut next_tick = started + TICK;
    let mut alarms = Vec::new();
    loop {
        let wait = next_tick.saturating_duration_since(Instant::now());
        match inputs.recv_timeout(wait) {
            Ok(input) => watch.handle(now(), input, &mut alarms),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if Instant::now() >= next_tick {
            next_tick = Instant::now() + TICK;
            for input in inputs_of(statuses) {
                watch.handle(now(), input, &mut alarms);
            }
        }
        for alarm in alarms.drain(..) {
            if !alarm.kind.is_logged_elsewhere() {
                node.log(level_of(alarm.kind), &alarm.text);
            }
            alarm_feed.put(&alarm);
            if let Some(outbox) = outbox {
                outbox.push(alarm, unix_s());
            }
        }
    }
    if let Some(outbox) = outbox {
        outbox.close();
    }
}

fn level_of(kind: AlarmKind) -> Level {
    match kind.severity() {
        Severity::Info => Level::Info,
        Severity::Warning => Level::Warning,
        Severity::Error => Level::Error,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::node::Offer;

    struct Deaf;

    impl Node for Deaf {
        fn offer(&self, _: Offer) {}
        fn locate(&self, _: Vec<crate::node::BlockQuery>) {}
        fn log(&self, _: Level, _: &str) {}
    }

    #[test]
    fn alarms_wait_for_the_pages_and_the_oldest_goes() {
        let (sender, inputs) = channel();
        let alarm_feed = AlarmFeed::default();
        for _ in 0..HTTP_EVENTS_MAX + 5 {
            sender
                .send(AlarmInput::PoolFailed)
                .expect("it is read below");
        }
        drop(sender);
        run(50, &inputs, None, &Statuses::default(), &alarm_feed, &Deaf);
        let notices = alarm_feed.take();
        assert_eq!(notices.len(), HTTP_EVENTS_MAX);
        assert_eq!(notices[0].kind, AlarmKind::PoolFailed);
        assert!(alarm_feed.take().is_empty());
        assert_eq!(alarm_feed.recent().len(), RECENT_ALARMS_MAX);
    }
}
