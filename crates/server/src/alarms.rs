//! The thread that raises alarms: signs and the clock go in, alarms go to the log and the webhook.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hstratum_core::alarm::{Kind, LinkSign, Severity, Sign, Watch};
use hstratum_core::event::{Level, Now};

use crate::node::Node;
use crate::shared::standing::{Link, Standing};
use crate::store::unix_s;
use crate::webhook::Outbox;

/// How often the watch is told that time has passed.
const TICK: Duration = Duration::from_secs(1);

/// Runs until nobody can send more signs.
pub(crate) fn run(
    drop_percent: u8,
    signs: &Receiver<Sign>,
    outbox: Option<&Outbox>,
    shared: Option<&Standing>,
    node: &dyn Node,
) {
    let started = Instant::now();
    let now = || Now {
        ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        unix_s: unix_s(),
    };
    let mut watch = Watch::new(drop_percent, now());
    let mut next_tick = started + TICK;
    let mut alarms = Vec::new();
    loop {
        let wait = next_tick.saturating_duration_since(Instant::now());
        match signs.recv_timeout(wait) {
            Ok(sign) => watch.handle(now(), sign, &mut alarms),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if Instant::now() >= next_tick {
            next_tick = Instant::now() + TICK;
            if let Some(shared) = shared {
                let sign = match shared.read().link {
                    Link::Starting | Link::Up => LinkSign::Up,
                    Link::Away(reason) | Link::Refused(reason) => LinkSign::Down(reason),
                };
                watch.handle(now(), Sign::Link(sign), &mut alarms);
            }
            watch.handle(now(), Sign::Tick, &mut alarms);
        }
        for alarm in alarms.drain(..) {
            if !alarm.kind.is_logged_elsewhere() {
                node.log(level_of(alarm.kind), &alarm.text);
            }
            if let Some(outbox) = outbox {
                outbox.push(alarm, unix_s());
            }
        }
    }
    if let Some(outbox) = outbox {
        outbox.close();
    }
}

fn level_of(kind: Kind) -> Level {
    match kind.severity() {
        Severity::Info => Level::Info,
        Severity::Warning => Level::Warning,
        Severity::Error => Level::Error,
    }
}
