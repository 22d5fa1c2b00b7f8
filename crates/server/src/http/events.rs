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
use serde_json::Value;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::answer::ApiError;
use super::ledger_queries::ApiBlock;
use super::viewer::Viewer;
use crate::alarm_delivery::Notice;
use crate::clock::unix_s;
use crate::limits::{
    HTTP_EVENTS_MAX, HTTP_LISTENERS_MAX, HTTP_LISTENERS_RESERVED, HTTP_MESSAGES_WAITING_MAX,
};
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
    /// The reason for whoever may not see names, if that is another.
    #[serde(skip)]
    text_without_names: Option<&'static str>,
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
            text_without_names: None,
        }
    }

    /// Event of an alarm, unless another event here reports the same.
    pub(super) fn of_alarm(notice: Notice) -> Option<Self> {
        // Texts with names of workers or accounts, or with addresses, are others for whoever may not see them.
        let text_without_names = match notice.kind {
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
            | AlarmKind::Stopping => return None,
            AlarmKind::WorkersGone => Some("workers have gone"),
            AlarmKind::WorkersBack => Some("workers are back"),
            AlarmKind::ConnectionsRefused => Some("the pool is full"),
            AlarmKind::PayoutFailed => Some("a payout has failed"),
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
            | AlarmKind::SharedLedgerAway
            | AlarmKind::SharedLedgerBack
            | AlarmKind::ServerIdTwice
            | AlarmKind::DutyLate
            | AlarmKind::DutyDone
            | AlarmKind::ConnectionsTaken
            | AlarmKind::PayoutSent
            | AlarmKind::PoolFailed => None,
        };
        Some(Self {
            alarm: Some(notice.kind.name()),
            severity: Some(notice.kind.severity().name()),
            text_without_names,
            ..Self::new("alarm", Some(notice.text))
        })
    }

    /// The same for whoever may not see names.
    fn without_names(self) -> Self {
        let reason = match self.text_without_names {
            Some(text) => Some(text.to_owned()),
            None => self.reason,
        };
        Self {
            account: None,
            reason,
            ..self
        }
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
    listeners: Vec<Listener>,
    recent: VecDeque<Message>,
    next_id: u64,
}

/// Whoever listens.
struct Listener {
    sender: mpsc::Sender<Bytes>,
    /// It may not see names.
    is_cut: bool,
    /// It has signed in.
    is_of_session: bool,
}

/// A message for all, and the one for whoever may not see names.
struct Message {
    whole: Bytes,
    cut: Bytes,
}

impl Message {
    fn same_for_all(whole: Bytes) -> Self {
        Self {
            cut: whole.clone(),
            whole,
        }
    }

    fn of(&self, is_cut: bool) -> Bytes {
        match is_cut {
            true => self.cut.clone(),
            false => self.whole.clone(),
        }
    }
}

impl Events {
    /// Adds a listener, which first receives the recent events; `None` at the limit.
    fn listen(&self, viewer: &Viewer, is_cut: bool) -> Option<EventStream> {
        let mut told = self.0.lock();
        told.listeners
            .retain(|listener| !listener.sender.is_closed());
        let reserved = if viewer.is_operator() {
            HTTP_LISTENERS_RESERVED
        } else {
            0
        };
        if told.listeners.len() >= HTTP_LISTENERS_MAX + reserved {
            return None;
        }
        let (sender, messages) = mpsc::channel(HTTP_MESSAGES_WAITING_MAX);
        let _ = sender.try_send(Bytes::from_static(b"retry: 2000\n\n"));
        for event in &told.recent {
            let _ = sender.try_send(event.of(is_cut));
        }
        told.listeners.push(Listener {
            sender,
            is_cut,
            is_of_session: matches!(viewer, Viewer::Session(_)),
        });
        Some(EventStream(messages))
    }

    /// Sends an event without names to all listeners; `event` makes it from its number.
    pub(crate) fn happened<H: Serialize>(&self, event: impl FnOnce(u64) -> H) {
        self.send(|id| Message::same_for_all(message("happening", &event(id))));
    }

    /// Tells one, which gets its number here.
    pub(super) fn tell(&self, event: ApiEvent) {
        self.send(|id| {
            let event = ApiEvent { id, ..event };
            Message {
                whole: message("happening", &event),
                cut: message("happening", &event.without_names()),
            }
        });
    }

    fn send(&self, make: impl FnOnce(u64) -> Message) {
        let mut told = self.0.lock();
        told.next_id += 1;
        if told.recent.len() == HTTP_EVENTS_MAX {
            told.recent.pop_front();
        }
        let message = make(told.next_id);
        told.tell(&message);
        told.recent.push_back(message);
    }

    /// Tells how the pool is, which is told once and not kept for later listeners.
    pub(super) fn tell_pool(&self, whole: &impl Serialize, cut: Option<&Value>) {
        let mut told = Message::same_for_all(message("pool", whole));
        if let Some(cut) = cut {
            told.cut = message("pool", cut);
        }
        self.0.lock().tell(&told);
    }

    /// The endless answer to whoever wants to know.
    pub(crate) fn answer(&self, viewer: &Viewer, is_cut: bool) -> Result<Response, ApiError> {
        let messages = self.listen(viewer, is_cut);
        let messages =
            messages.ok_or_else(|| ApiError::busy("too many listeners, try again later"))?;
        let kind = [(CONTENT_TYPE, "text/event-stream")];
        Ok((kind, Body::new(messages)).into_response())
    }

    /// Ends the streams of whoever has signed in, after a session has ended: those whose session is open come back.
    pub(super) fn end_sessions(&self) {
        let mut told = self.0.lock();
        told.listeners.retain(|listener| !listener.is_of_session);
    }

    /// True if anybody listens.
    pub(super) fn is_heard(&self) -> bool {
        let mut told = self.0.lock();
        told.listeners
            .retain(|listener| !listener.sender.is_closed());
        !told.listeners.is_empty()
    }
}

impl EventListeners {
    /// Sends a message to all listeners, and drops those whose queue is full: they do not read.
    fn tell(&mut self, message: &Message) {
        self.listeners.retain(|listener| {
            let message = message.of(listener.is_cut);
            listener.sender.try_send(message).is_ok()
        });
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
                at: 0,
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
        assert_eq!(AlarmKind::ALL.iter().filter(is_told).count(), 26);
        assert!(of(AlarmKind::BlockFound).is_none(), "its state is told");
    }
}
