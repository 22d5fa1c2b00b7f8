//! Delivers alarms: a POST with JSON for each, in their order, signed, tried again until it is taken.
//!
//! Nobody waits for it. What waits to be delivered is bounded; what is dropped is counted, and the
//! next delivery says how many. The URL may hold a token: it is in no log line.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::Context;
use hstratum_core::alarm::{Alarm, Detail};
use hstratum_core::chain::address::Network;
use hstratum_core::event::Level;
use hstratum_core::units::hex;
use ring::hmac;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Uri;

use crate::clock::unix_s;
use crate::limits::{
    ALARM_CHARS_MAX, ALARMS_WAITING_MAX, WEBHOOK_CALL_MS, WEBHOOK_REFUSALS_MAX, WEBHOOK_RETRY_MS,
    WEBHOOK_RETRY_MS_MAX, WEBHOOK_STOP_MS,
};
use crate::node::Node;
use crate::secret::Secret;

const URL_BYTES_MAX: usize = 2048;

/// Where alarms are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Of http or https; it may hold a token.
    pub url: Secret,
    /// What signs a delivery.
    pub secret: Option<Secret>,
}

/// The two options together.
///
/// # Errors
/// When a secret has nothing to sign.
pub(crate) fn config(
    url: Option<Secret>,
    secret: Option<Secret>,
) -> Result<Option<Webhook>, String> {
    match (url, secret) {
        (Some(url), secret) => Ok(Some(Webhook { url, secret })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err("webhook-secret is not used, since there is no webhook".to_owned()),
    }
}

/// A URL of http or https with a host.
pub(crate) fn parse_url(text: &str) -> Option<Secret> {
    let uri: Uri = (text.len() <= URL_BYTES_MAX).then(|| text.parse().ok())??;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    (is_web && has_host).then(|| Secret(text.to_owned()))
}

/// Alarms on their way.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    alarms: VecDeque<(Alarm, u64)>,
    /// Dropped since the last delivery.
    dropped: u64,
    /// When the last one was pushed.
    closed: Option<Instant>,
}

impl Outbox {
    /// Takes an alarm of this time, Unix seconds; the oldest makes room for it.
    pub(crate) fn push(&self, alarm: Alarm, time_s: u64) {
        let mut waiting = self.lock();
        if waiting.alarms.len() == ALARMS_WAITING_MAX {
            waiting.alarms.pop_front();
            waiting.dropped += 1;
        }
        waiting.alarms.push_back((alarm, time_s));
        self.changed.notify_all();
    }

    /// There will be no more.
    pub(crate) fn close(&self) {
        self.lock().closed = Some(Instant::now());
        self.changed.notify_all();
    }

    /// The next alarm, and how many were dropped before it; waits for it. None after the last.
    fn next(&self) -> Option<(Alarm, u64, u64)> {
        let mut waiting = self.lock();
        loop {
            if let Some((alarm, time_s)) = waiting.alarms.pop_front() {
                return Some((alarm, time_s, std::mem::take(&mut waiting.dropped)));
            }
            if waiting.closed.is_some() {
                return None;
            }
            waiting = (self.changed.wait(waiting)).expect("nothing panics while it is held");
        }
    }

    fn drop_more(&self, count: u64) {
        self.lock().dropped += count;
    }

    /// How long a delivery may go on; none while there is no stop.
    fn left(&self) -> Option<Duration> {
        let stop = self.lock().closed? + Duration::from_millis(WEBHOOK_STOP_MS);
        Some(stop.saturating_duration_since(Instant::now()))
    }

    /// Waits before another attempt; a stop cuts it short.
    fn pause(&self, wait: Duration) {
        let waiting = self.lock();
        let is_open = |waiting: &mut Waiting| waiting.closed.is_none();
        drop(self.changed.wait_timeout_while(waiting, wait, is_open));
    }

    /// Forgets all that is left.
    fn abandon(&self) -> usize {
        std::mem::take(&mut self.lock().alarms).len()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        (self.waiting.lock()).expect("nothing panics while it is held")
    }
}

/// Delivers until the outbox is closed and empty, or the stop has taken long enough.
pub(crate) fn run(
    webhook: &Webhook,
    source: &Source,
    outbox: &Outbox,
    node: &dyn Node,
) -> anyhow::Result<()> {
    let mut courier = Courier::new(webhook, node);
    let mut ids = Ids::new(&source.server)?;
    while let Some((alarm, time_s, dropped)) = outbox.next() {
        let id = ids.next();
        let body = body(&alarm, &id, time_s, source, dropped).to_string();
        match courier.deliver(&id, &body, outbox) {
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

/// Who sends them.
pub(crate) struct Source {
    pub network: Network,
    /// The server's name.
    pub server: String,
}

/// Ids of deliveries: no other server and no other run has the same, whatever the clocks say and
/// even where two servers have one name, since a receiver drops what it knows by its id.
struct Ids {
    start: String,
    number: u64,
}

impl Ids {
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
    /// The receiver will not have it.
    Refused,
    /// The server stops.
    Stopped,
}

/// Why an attempt has failed.
enum Failure {
    /// The receiver has refused it: what is wrong may be the alarm itself.
    Refused(u16),
    /// Another time it may work.
    Other(String),
}

struct Courier<'a> {
    agent: Agent,
    url: &'a str,
    key: Option<hmac::Key>,
    node: &'a dyn Node,
    /// Whether the log says that it does not work.
    is_failing: bool,
}

impl<'a> Courier<'a> {
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

    /// Tries until it is taken, refused for good, or the stop has taken long enough.
    fn deliver(&mut self, id: &str, body: &str, outbox: &Outbox) -> Delivery {
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
            refusals += u32::from(matches!(failure, Failure::Refused(_)));
            self.say_it_fails(&failure);
            if refusals == WEBHOOK_REFUSALS_MAX {
                let text = "webhook: an alarm is given up, since it is refused each time";
                self.node.log(Level::Error, text);
                return Delivery::Refused;
            }
            // A stop tries a few times more, at once.
            match outbox.left() {
                None => outbox.pause(Duration::from_millis(wait_ms)),
                Some(left) => std::thread::sleep(left.min(Duration::from_millis(200))),
            }
            wait_ms = (wait_ms * 2).min(WEBHOOK_RETRY_MS_MAX);
        }
    }

    fn attempt(&self, id: &str, body: &str, time: Duration) -> Result<(), Failure> {
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
        let status = answered.map_err(|error| Failure::Other(error.to_string()))?;
        match status.status().as_u16() {
            200..300 => Ok(()),
            // Too early, too many, too slow: all of them for now.
            code @ (408 | 425 | 429) => Err(Failure::Other(format!("HTTP {code}"))),
            code @ 400..500 => Err(Failure::Refused(code)),
            code => Err(Failure::Other(format!("HTTP {code}"))),
        }
    }

    fn say_it_fails(&mut self, failure: &Failure) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let reason = match failure {
                Failure::Refused(code) => format!("HTTP {code}"),
                Failure::Other(reason) => reason.clone(),
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

/// What is delivered. Besides our own fields it has those that Discord (`content`) and Telegram
/// (`text`) show.
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
        // Names are the miners' choice: Discord is to call nobody.
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

/// Text as it is, but for what a chat would make a link or a call of: names are the miners' choice. A
/// space without width stands where such a thing begins. Fields of ours have names as they are.
fn without_links(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        let begins = matches!(
            before,
            '[' | ']' | '<' | '@' | '#' | '!' | '`' | '*' | '~' | '|'
        );
        if begins || (before == ':' && c == '/') || (before == '.' && c.is_alphanumeric()) {
            shown.push('\u{200b}');
        }
        shown.push(c);
        before = c;
    }
    shown
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
