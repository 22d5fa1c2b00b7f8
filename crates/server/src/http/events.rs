//! Stream of events for open dashboard pages: blocks and their states, missing jobs, trouble with the ledger,
//! other alarms, and each second the state of the pool.
//!
//! Each message is made once for all listeners. A page that does not read is disconnected, and reconnects.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hstratum_core::alarm::AlarmKind;
use hstratum_core::event::LedgerState;
use hyper::body::Frame;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::Site;
use super::answer::{ApiError, Problem};
use super::ledger_reader::LedgerReader;
use super::pool::ApiPool;
use super::round::{ApiBlock, BlocksShown, read_blocks};
use crate::alerts::Notice;
use crate::sql::signed;
use crate::clock::unix_s;
use crate::limits::{HTTP_EVENTS_MAX, HTTP_LISTENERS_MAX, HTTP_MESSAGES_WAITING_MAX};
use crate::telemetry::live::{Silent, Snapshot};

/// Interval of the pool's state.
const BEAT: Duration = Duration::from_secs(1);

/// What has happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Happening)]
pub(crate) struct ApiEvent {
    /// Counts up from the server's start.
    id: u64,
    /// Unix seconds.
    time: i64,
    /// `block` (its state has changed), `no_job`, `job` (there is one again), `ledger_failing`,
    /// `ledger_open` (it takes shares again), `silent` (the pool does not answer), `alarm`.
    kind: &'static str,
    /// Of an alarm: its name and how much it matters, `info`, `warning` or `error`. Its text is the
    /// reason.
    alarm: Option<&'static str>,
    severity: Option<&'static str>,
    /// Of a block: its state.
    state: Option<String>,
    height: Option<u32>,
    hash: Option<String>,
    /// Untrusted text.
    account: Option<String>,
    link: Option<String>,
    /// Why, where that is known.
    reason: Option<String>,
}

impl ApiEvent {
    fn new(kind: &'static str, reason: Option<String>) -> Self {
        Self {
            id: 0,
            time: signed(unix_s()),
            kind,
            alarm: None,
            severity: None,
            state: None,
            height: None,
            hash: None,
            account: None,
            link: None,
            reason,
        }
    }

    /// Event of an alarm, unless another event here reports the same.
    fn of_alarm(notice: Notice) -> Option<Self> {
        let is_new = match notice.kind {
            AlarmKind::BlockFound
            | AlarmKind::BlockAccepted
            | AlarmKind::BlockConfirmed
            | AlarmKind::BlockOrphaned
            | AlarmKind::BlockRefused
            | AlarmKind::NoJob
            | AlarmKind::NoPeers
            | AlarmKind::JobAgain
            | AlarmKind::LedgerFailing
            | AlarmKind::Stopping => false,
            AlarmKind::LedgerStalled
            | AlarmKind::NodeBehind
            | AlarmKind::NodeCaughtUp
            | AlarmKind::LedgerHealed
            | AlarmKind::LedgerLogLarge
            | AlarmKind::LedgerLogSmall
            | AlarmKind::NodeOverdue
            | AlarmKind::NodeBack
            | AlarmKind::HashrateDrop
            | AlarmKind::HashrateBack
            | AlarmKind::WorkersGone
            | AlarmKind::WorkersBack
            | AlarmKind::SharedLedgerAway
            | AlarmKind::SharedLedgerBack
            | AlarmKind::ServerIdTwice
            | AlarmKind::DutyLate
            | AlarmKind::DutyDone
            | AlarmKind::ConnectionsRefused
            | AlarmKind::ConnectionsTaken
            | AlarmKind::PoolFailed => true,
        };
        is_new.then(|| Self {
            alarm: Some(notice.kind.name()),
            severity: Some(notice.kind.severity().name()),
            ..Self::new("alarm", Some(notice.text))
        })
    }

    fn of_block(block: &ApiBlock) -> Self {
        Self {
            time: block.changed_at,
            state: Some(block.state.clone()),
            height: Some(block.height),
            hash: Some(block.hash.clone()),
            account: block.account.clone(),
            link: block.link.clone(),
            ..Self::new(
                "block",
                Some(block.reason.clone()).filter(|reason| !reason.is_empty()),
            )
        }
    }
}

/// True for an answer that streams events until its connection ends.
pub(crate) fn is_stream(answer: &Response) -> bool {
    let kind = answer.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// Listeners, and recent events for new ones.
#[derive(Default)]
pub(crate) struct Events(Mutex<EventListeners>);

#[derive(Default)]
struct EventListeners {
    listeners: Vec<mpsc::Sender<Bytes>>,
    recent: VecDeque<Bytes>,
    next_id: u64,
}

impl Events {

    /// Adds a listener, which first receives the recent events; `None` at the limit.
    fn listen(&self) -> Option<EventStream> {
        let mut told = self.0.lock();
        told.listeners.retain(|listener| !listener.is_closed());
        if told.listeners.len() >= HTTP_LISTENERS_MAX {
            return None;
        }
        let (sender, messages) = mpsc::channel(HTTP_MESSAGES_WAITING_MAX);
        let _ = sender.try_send(Bytes::from_static(b"retry: 2000\n\n"));
        for event in &told.recent {
            let _ = sender.try_send(event.clone());
        }
        told.listeners.push(sender);
        Some(EventStream(messages))
    }

    /// Sends an event to all listeners; `event` makes it from its number.
    pub(crate) fn happened<H: Serialize>(&self, event: impl FnOnce(u64) -> H) {
        let mut told = self.0.lock();
        told.next_id += 1;
        if told.recent.len() == HTTP_EVENTS_MAX {
            told.recent.pop_front();
        }
        let message = message("happening", &event(told.next_id));
        told.tell(&message);
        told.recent.push_back(message);
    }

    /// Answer to a new listener: an endless stream.
    pub(crate) fn answer(&self) -> Result<Response, ApiError> {
        let messages = self.listen();
        let messages =
            messages.ok_or_else(|| ApiError::busy("too many listeners, try again later"))?;
        let kind = [(CONTENT_TYPE, "text/event-stream")];
        Ok((kind, Body::new(messages)).into_response())
    }

    fn is_heard(&self) -> bool {
        let mut told = self.0.lock();
        told.listeners.retain(|listener| !listener.is_closed());
        !told.listeners.is_empty()
    }
}

impl EventListeners {
    /// Sends a message to all listeners, and drops those whose queue is full: they do not read.
    fn tell(&mut self, message: &Bytes) {
        self.listeners
            .retain(|listener| listener.try_send(message.clone()).is_ok());
    }
}

fn message(kind: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).expect("plain data is JSON");
    format!("event: {kind}\ndata: {data}\n\n").into()
}

/// Body of an endless answer.
struct EventStream(mpsc::Receiver<Bytes>);

impl hyper::body::Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.poll_recv(context);
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Server-sent events: `event` for each of what happened lately and happens from now on, `pool`
/// each second with what `/api/v1/pool` gives.
#[utoipa::path(get, path = "/api/v1/events", tag = "pool", responses(
    (status = 200, content_type = "text/event-stream", body = ApiEvent),
    (status = 503, body = Problem)))]
pub(crate) async fn events(State(site): State<Arc<Site>>) -> Result<Response, ApiError> {
    site.events.answer()
}

/// Watches the pool and sends events, as long as the server runs.
pub(crate) async fn run(site: Arc<Site>) {
    let mut watch = StateWatch::default();
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let now = site.sources.live.look().await;
        for event in watch.compare(now.as_deref()) {
            site.events.happened(|id| ApiEvent { id, ..event });
        }
        let notices = site.sources.alarm_feed.take().into_iter();
        for event in notices.filter_map(ApiEvent::of_alarm) {
            site.events.happened(|id| ApiEvent { id, ..event });
        }
        if site.events.is_heard()
            && let Ok((now, workers)) = site.sources.live.look_at_workers().await
        {
            let online = site.worker_list.online(&site).await;
            let pool = ApiPool::of(&site, &now, &workers, online, None);
            site.events.0.lock().tell(&message("pool", &pool));
        }
    }
}

/// Watches the ledger's blocks; a task of its own, since a shared ledger may not answer for a while.
pub(crate) async fn watch_ledger(site: Arc<Site>) {
    let Some(reader) = &site.reader else { return };
    let mut blocks = BlockStates::default();
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        blocks.compare(&site, reader).await;
        if reader.is_shared() {
            site.pool_servers.refresh(reader, site.sources.own_number()).await;
        }
    }
}

/// State seen last.
#[derive(Default)]
struct StateWatch {
    state: Option<PoolState>,
}

/// States of the latest blocks, by hash; `None` before the first look.
#[derive(Default)]
struct BlockStates(Option<HashMap<String, String>>);

#[derive(Clone, Copy, PartialEq, Eq)]
struct PoolState {
    answers: bool,
    has_job: bool,
    ledger: LedgerState,
}

impl StateWatch {
    fn compare(&mut self, now: Result<&Snapshot, &Silent>) -> Vec<ApiEvent> {
        let before = self.state;
        let seen = match now {
            Ok(now) => PoolState {
                answers: true,
                has_job: now.is_healthy(),
                ledger: now.view.ledger,
            },
            Err(Silent) => PoolState {
                answers: false,
                ..before.unwrap_or(PoolState {
                    answers: false,
                    has_job: false,
                    ledger: LedgerState::Open,
                })
            },
        };
        self.state = Some(seen);
        let Some(before) = before else {
            return Vec::new();
        };
        let mut happenings = Vec::new();
        if before.answers && !seen.answers {
            happenings.push(ApiEvent::new("silent", None));
        }
        if before.has_job != seen.has_job {
            let reason = now.ok().and_then(|now| now.view.no_template.clone());
            let kind = if seen.has_job { "job" } else { "no_job" };
            happenings.push(ApiEvent::new(kind, reason));
        }
        if before.ledger != seen.ledger {
            let kind = match seen.ledger {
                LedgerState::Open => "ledger_open",
                LedgerState::Failing => "ledger_failing",
            };
            happenings.push(ApiEvent::new(kind, None));
        }
        happenings
    }
}

impl BlockStates {
    /// Sends events for blocks whose state has changed; the first time for all of the latest ones.
    async fn compare(&mut self, site: &Site, reader: &LedgerReader) {
        let shown = BlocksShown::on(site, reader);
        let latest = reader.read(move |sql| {
            let order = "ORDER BY changed_at DESC, height DESC LIMIT 30";
            read_blocks(sql, order, &[], &shown)
        });
        // A failed reading is repeated with the next period.
        let Ok(latest) = latest.await else { return };
        let known = self.0.get_or_insert_default();
        for block in latest.iter().rev() {
            if known.get(&block.hash) != Some(&block.state) {
                let event = ApiEvent::of_block(block);
                site.events.happened(|id| ApiEvent { id, ..event });
            }
        }
        *known = latest
            .into_iter()
            .map(|block| (block.hash, block.state))
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_told_once_and_in_their_own_words() {
        let of = |kind| {
            ApiEvent::of_alarm(Notice {
                kind,
                text: "alice.rig1 is gone".to_owned(),
            })
        };
        let gone = of(AlarmKind::WorkersGone).expect("nothing else says it");
        let said = message("happening", &gone);
        let said = String::from_utf8_lossy(&said);
        for part in [
            r#""kind":"alarm""#,
            r#""alarm":"workers_gone""#,
            r#""severity":"warning""#,
            r#""reason":"alice.rig1 is gone""#,
        ] {
            assert!(said.contains(part), "{said}");
        }
        let is_told = |kind: &&AlarmKind| of(**kind).is_some();
        assert_eq!(AlarmKind::ALL.iter().filter(is_told).count(), 20);
        assert!(of(AlarmKind::BlockFound).is_none(), "its state is told");
    }
}
