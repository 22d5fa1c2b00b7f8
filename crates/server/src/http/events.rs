//! Stream of events for open dashboard pages: blocks and their states, missing jobs, trouble with the ledger,
//! other alarms, and each second the state of the pool.
//!
//! Each message is made once for all listeners. A page that does not read is disconnected, and reconnects.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hstratum_core::alarm::AlarmKind;
use hyper::body::Frame;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::answer::ApiError;
use super::ledger_queries::ApiBlock;
use crate::alarm_delivery::Notice;
use crate::clock::unix_s;
use crate::limits::{HTTP_EVENTS_MAX, HTTP_LISTENERS_MAX, HTTP_MESSAGES_WAITING_MAX};
use crate::sql::signed;

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
    pub(super) fn new(kind: &'static str, reason: Option<String>) -> Self {
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
    pub(super) fn of_alarm(notice: Notice) -> Option<Self> {
        let is_new = match notice.kind {
            AlarmKind::BlockFound
            | AlarmKind::BlockAccepted
            | AlarmKind::BlockConfirmed
            | AlarmKind::BlockOrphaned
            | AlarmKind::BlockRefused
            | AlarmKind::BlockUnjudged
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
            | AlarmKind::TemplateInvalid
            | AlarmKind::TemplateValid
            | AlarmKind::BlockPathBroken
            | AlarmKind::BlockPathWorks
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

    pub(super) fn of_block(block: &ApiBlock) -> Self {
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

    /// Tells one, which gets its number here.
    pub(super) fn tell(&self, event: ApiEvent) {
        self.happened(|id| ApiEvent { id, ..event });
    }

    /// Tells how the pool is, which is told once and not kept for later listeners.
    pub(super) fn tell_pool(&self, pool: &impl Serialize) {
        self.0.lock().tell(&message("pool", pool));
    }

    /// The endless answer to whoever wants to know.
    pub(crate) fn answer(&self) -> Result<Response, ApiError> {
        let messages = self.listen();
        let messages =
            messages.ok_or_else(|| ApiError::busy("too many listeners, try again later"))?;
        let kind = [(CONTENT_TYPE, "text/event-stream")];
        Ok((kind, Body::new(messages)).into_response())
    }

    /// True if anybody listens.
    pub(super) fn is_heard(&self) -> bool {
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
        assert_eq!(AlarmKind::ALL.iter().filter(is_told).count(), 24);
        assert!(of(AlarmKind::BlockFound).is_none(), "its state is told");
    }
}
