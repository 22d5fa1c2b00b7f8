//! Delivers alarms to a webhook: a signed POST with JSON for each, in order, retried until accepted.
//!
//! No thread waits for it. The queue is bounded; dropped alarms are counted, and the next delivery says how
//! many. The URL may contain a token, so it is never logged.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Context;
use hstratum_core::alarm::{Alarm, Detail};
use hstratum_core::chain::address::Network;
use hstratum_core::event::Level;
use hstratum_core::units::hex;
use parking_lot::{Condvar, Mutex};
use ring::hmac;
use serde_json::{Value, json};
use ureq::Agent;

use crate::chat_text::without_links;
use crate::clock::unix_s;
use crate::config::webhook::Webhook;
use crate::limits::{
    ALARM_CHARS_MAX, ALARMS_WAITING_MAX, WEBHOOK_CALL_MS, WEBHOOK_REFUSALS_MAX, WEBHOOK_RETRY_MS,
    WEBHOOK_RETRY_MS_MAX, WEBHOOK_STOP_MS,
};
use crate::node::Node;

/// Queue of alarms to deliver.
#[derive(Default)]
pub(crate) struct AlarmQueue {
    waiting: Mutex<WaitingAlarms>,
    changed: Condvar,
}

#[derive(Default)]
struct WaitingAlarms {
    alarms: VecDeque<(Alarm, u64)>,
    /// Number dropped since the last delivery.
    dropped: u64,
    /// Time at which the last one was pushed.
    closed: Option<Instant>,
}

impl AlarmQueue {
    /// Queues an alarm of this time, Unix seconds; drops the oldest if the queue is full.
    pub(crate) fn push(&self, alarm: Alarm, time_s: u64) {
        let mut waiting = self.waiting.lock();
        if waiting.alarms.len() == ALARMS_WAITING_MAX {
            waiting.alarms.pop_front();
            waiting.dropped += 1;
        }
        waiting.alarms.push_back((alarm, time_s));
        self.changed.notify_all();
    }

    /// Declares that no more alarms will come.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = Some(Instant::now());
        self.changed.notify_all();
    }

    /// Waits for the next alarm; returns it with its time and the number dropped before it. `None` after the
    /// last.
    fn next(&self) -> Option<(Alarm, u64, u64)> {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some((alarm, time_s)) = waiting.alarms.pop_front() {
                return Some((alarm, time_s, std::mem::take(&mut waiting.dropped)));
            }
            if waiting.closed.is_some() {
                return None;
            }
            self.changed.wait(&mut waiting);
        }
    }

    fn drop_more(&self, count: u64) {
        self.waiting.lock().dropped += count;
    }

    /// Time left for deliveries during a stop; `None` while there is no stop.
    fn left(&self) -> Option<Duration> {
        let stop = self.waiting.lock().closed? + Duration::from_millis(WEBHOOK_STOP_MS);
        Some(stop.saturating_duration_since(Instant::now()))
    }

    /// Waits before another attempt; a stop ends the wait.
    fn pause(&self, wait: Duration) {
        let mut waiting = self.waiting.lock();
        let is_open = |waiting: &mut WaitingAlarms| waiting.closed.is_none();
        self.changed.wait_while_for(&mut waiting, is_open, wait);
    }

    /// Drops all that is left, and returns the number.
    fn abandon(&self) -> usize {
        std::mem::take(&mut self.waiting.lock().alarms).len()
    }
}

/// Delivers until the queue is closed and empty, or a stop's time is over.
pub(crate) fn run(
    webhook: &Webhook,
    source: &Source,
    outbox: &AlarmQueue,
    node: &dyn Node,
) -> anyhow::Result<()> {
    let mut webhook_sender = WebhookSender::new(webhook, node);
    let mut ids = DeliveryIds::new(&source.server)?;
    while let Some((alarm, time_s, dropped)) = outbox.next() {
        let id = ids.next();
        let body = body(&alarm, &id, time_s, source, dropped).to_string();
        match webhook_sender.deliver(&id, &body, outbox) {
            Delivery::Taken => {}
            Delivery::Refused => outbox.drop_more(dropped + 1),
            Delivery::Stopped => {
                let left = outbox.abandon() + 1;
                let text = format!("webhook: alarms not delivered at the stop: {left}");
                node.log(Level::Warning, &text);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Sender named in the deliveries.
pub(crate) struct Source {
    pub network: Network,
    /// The server's name.
    pub server: String,
}

/// Generator of delivery ids, unique among servers and runs, whatever their clocks say and even if two
/// servers have one name, since a receiver drops deliveries with a known id.
struct DeliveryIds {
    start: String,
    number: u64,
}

impl DeliveryIds {
    fn new(server: &str) -> anyhow::Result<Self> {
        let mut run = [0; 8];
        getrandom::fill(&mut run).context("failed to get random bytes")?;
        Ok(Self {
            start: format!("{server}-{}", hex(&run)),
            number: 0,
        })
    }

    fn next(&mut self) -> String {
        self.number += 1;
        format!("{}-{}", self.start, self.number)
    }
}

enum Delivery {
    Taken,
    /// The receiver refuses this alarm.
    Refused,
    /// The server stops.
    Stopped,
}

/// Reason why an attempt has failed.
enum DeliveryError {
    /// The receiver has refused it: the cause may be this alarm itself.
    Refused(u16),
    /// It may work at another time.
    Other(String),
}

struct WebhookSender<'a> {
    agent: Agent,
    url: &'a str,
    key: Option<hmac::Key>,
    node: &'a dyn Node,
    /// The log says that deliveries fail.
    is_failing: bool,
}

impl<'a> WebhookSender<'a> {
    fn new(webhook: &'a Webhook, node: &'a dyn Node) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("hstratum/", env!("CARGO_PKG_VERSION")))
            .build();
        let secret = webhook.secret.as_ref();
        Self {
            agent: Agent::new_with_config(config),
            url: &webhook.url.0,
            key: secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.0.as_bytes())),
            node,
            is_failing: false,
        }
    }

    /// Tries until it is accepted or refused for good, or a stop's time is over.
    fn deliver(&mut self, id: &str, body: &str, outbox: &AlarmQueue) -> Delivery {
        let mut wait_ms = WEBHOOK_RETRY_MS;
        let mut refusals = 0;
        loop {
            let call = Duration::from_millis(WEBHOOK_CALL_MS);
            let time = outbox.left().map_or(call, |left| left.min(call));
            if time.is_zero() {
                return Delivery::Stopped;
            }
            let failure = match self.attempt(id, body, time) {
                Ok(()) => {
                    self.say_it_works();
                    return Delivery::Taken;
                }
                Err(failure) => failure,
            };
            refusals += u32::from(matches!(failure, DeliveryError::Refused(_)));
            self.say_it_fails(&failure);
            if refusals == WEBHOOK_REFUSALS_MAX {
                let text = "webhook: an alarm is given up, since it is refused each time";
                self.node.log(Level::Error, text);
                return Delivery::Refused;
            }
            // A stop allows a few more attempts without pauses.
            match outbox.left() {
                None => outbox.pause(Duration::from_millis(wait_ms)),
                Some(left) => std::thread::sleep(left.min(Duration::from_millis(200))),
            }
            wait_ms = (wait_ms * 2).min(WEBHOOK_RETRY_MS_MAX);
        }
    }

    fn attempt(&self, id: &str, body: &str, time: Duration) -> Result<(), DeliveryError> {
        let mut request = (self.agent.post(self.url))
            .config()
            .timeout_global(Some(time))
            .build()
            .header("Content-Type", "application/json")
            .header("Hstratum-Id", id);
        if let Some(key) = &self.key {
            let timestamp = unix_s().to_string();
            let signature = sign(key, &timestamp, body);
            request = request
                .header("Hstratum-Timestamp", &timestamp)
                .header("Hstratum-Signature", &signature);
        }
        let answered = request.send(body);
        let status = answered.map_err(|error| DeliveryError::Other(error.to_string()))?;
        match status.status().as_u16() {
            200..300 => Ok(()),
            // Too early, too many, too slow: all of these are temporary.
            code @ (408 | 425 | 429) => Err(DeliveryError::Other(format!("HTTP {code}"))),
            code @ 400..500 => Err(DeliveryError::Refused(code)),
            code => Err(DeliveryError::Other(format!("HTTP {code}"))),
        }
    }

    fn say_it_fails(&mut self, failure: &DeliveryError) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let reason = match failure {
                DeliveryError::Refused(code) => format!("HTTP {code}"),
                DeliveryError::Other(reason) => reason.clone(),
            };
            let text = format!("webhook: an alarm is not delivered: {reason}; it is tried again");
            self.node.log(Level::Warning, &text);
        }
    }

    fn say_it_works(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            let text = "webhook: alarms are delivered again";
            self.node.log(Level::Info, text);
        }
    }
}

/// `sha256=` and HMAC-SHA256 of the timestamp, a full stop and the body, in hex.
fn sign(key: &hmac::Key, timestamp: &str, body: &str) -> String {
    let tag = hmac::sign(key, format!("{timestamp}.{body}").as_bytes());
    format!("sha256={}", hex(tag.as_ref()))
}

/// JSON of a delivery. Besides our own fields it has those that Discord (`content`) and Telegram (`text`)
/// show.
fn body(alarm: &Alarm, id: &str, time_s: u64, source: &Source, dropped: u64) -> Value {
    let text = cut(&without_links(&alarm.text));
    let (network, server) = (source.network.name(), &source.server);
    let mut body = json!({
        "id": id,
        "time": time_s,
        "event": alarm.kind.name(),
        "severity": alarm.kind.severity().name(),
        "network": network,
        "server": server,
        "title": format!("hstratum {server} on {network}"),
        "text": text,
        "content": text,
        // Names are chosen by miners, so Discord must not turn them into mentions.
        "allowed_mentions": {"parse": []},
        "dropped": dropped,
    });
    match &alarm.detail {
        Detail::None => {}
        Detail::Reason(reason) => body["reason"] = json!(reason),
        Detail::Block {
            hash,
            height,
            account,
            reason,
        } => {
            body["block"] = json!({
                "hash": hash.to_string(),
                "height": height.map(|height| height.0),
                "account": account.as_deref(),
                "reason": reason,
            });
        }
        Detail::Hashrate { now, before } => {
            body["hashrate"] = json!({"now": now, "before": before});
        }
        Detail::Workers { count, names } => {
            body["workers"] = json!({"count": count, "names": names});
        }
    }
    body
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(ALARM_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
