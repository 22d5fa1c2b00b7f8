//! One connection as its miner sees it: the bytes sent, and the replies that must come, in order.

use std::collections::{BTreeMap, VecDeque};

use hstratum_core::chain::coinbase::Payout;
use hstratum_core::limits::{LINE_BYTES_MAX, PENDING_REPLIES_MAX, PENDING_REPLY_BYTES_MAX};
use hstratum_core::units::ConnId;
use hstratum_core::wire::http_redirect::is_request_line;
use hstratum_core::wire::message::Request;
use serde_json::value::RawValue;

/// A reply that must come.
struct Expected {
    id: String,
    is_submit: bool,
}

#[derive(Default, PartialEq, Eq)]
enum Speech {
    #[default]
    Nothing,
    Stratum,
    Http,
    /// A line was too long.
    Over,
}

pub(super) struct Seat {
    pub(super) conn: ConnId,
    /// Recipient of the blocks of its listener.
    pub(super) payout: Payout,
    pub(super) is_paused: bool,
    /// True once the pool has logged that it drops a connection, which may be this one: replies may be
    /// missing.
    pub(super) is_suspect: bool,
    /// Bytes that wait while the pool does not read.
    pub(super) unread: Vec<u8>,
    /// The reply to subscribe, which has the extra nonce.
    pub(super) session: Option<String>,
    unfinished: Vec<u8>,
    speech: Speech,
    expected: VecDeque<Expected>,
    has_http_reply: bool,
}

impl Seat {
    pub(super) fn new(conn: ConnId, payout: Payout) -> Self {
        Self {
            conn,
            payout,
            is_paused: false,
            is_suspect: false,
            unread: Vec::new(),
            session: None,
            unfinished: Vec::new(),
            speech: Speech::default(),
            expected: VecDeque::new(),
            has_http_reply: false,
        }
    }

    /// Notes the replies that must follow from bytes that the pool is about to read.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.unfinished.extend_from_slice(bytes);
        let text = std::mem::take(&mut self.unfinished);
        let mut rest = &text[..];
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            if end > LINE_BYTES_MAX {
                return self.end();
            }
            let line = &rest[..end];
            self.send_line(line.strip_suffix(b"\r").unwrap_or(line));
            rest = &rest[end + 1..];
        }
        if rest.len() > LINE_BYTES_MAX {
            return self.end();
        }
        self.unfinished = rest.to_vec();
    }

    fn end(&mut self) {
        if matches!(self.speech, Speech::Nothing | Speech::Stratum) {
            self.expect("null", false);
            self.speech = Speech::Over;
        }
    }

    fn send_line(&mut self, line: &[u8]) {
        match self.speech {
            Speech::Http | Speech::Over => return,
            Speech::Nothing if is_request_line(line) => {
                self.speech = Speech::Http;
                return;
            }
            Speech::Nothing | Speech::Stratum => self.speech = Speech::Stratum,
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let clean = line.iter().copied().filter(|b| !b.is_ascii_control());
        let clean: Vec<u8> = clean.collect();
        let Some(request) = std::str::from_utf8(&clean).ok().and_then(Request::parse) else {
            return self.expect("null", false);
        };
        let method = request.method();
        let is_submit = method.as_deref() == Some("mining.submit");
        match (request.id(), method) {
            (Some(id), _) => self.expect(id, is_submit),
            (None, None) => self.expect("null", false),
            (None, Some(_)) => {}
        }
    }

    fn expect(&mut self, id: &str, is_submit: bool) {
        self.expected.push_back(Expected {
            id: id.to_owned(),
            is_submit,
        });
    }

    /// Takes bytes from the pool; gives the count of shares they acknowledge.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> u64 {
        assert!(!bytes.is_empty(), "nothing was sent");
        if self.speech == Speech::Http {
            assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"));
            assert!(!self.has_http_reply, "a second response");
            self.has_http_reply = true;
            return 0;
        }
        let text = std::str::from_utf8(bytes).expect("UTF-8 is sent");
        assert!(text.ends_with('\n'), "whole lines are sent");
        text.lines()
            .map(|line| u64::from(self.receive_line(line)))
            .sum()
    }

    /// Takes a line; true if it acknowledges a share.
    fn receive_line(&mut self, line: &str) -> bool {
        let fields: BTreeMap<String, &RawValue> =
            serde_json::from_str(line).expect("a JSON object is sent");
        if let Some(method) = fields.get("method") {
            let known = [r#""mining.notify""#, r#""mining.set_difficulty""#];
            assert!(known.contains(&method.get()), "{line}");
            return false;
        }
        let expected = self.expected.pop_front();
        let expected = expected.unwrap_or_else(|| panic!("nobody asked for {line}"));
        assert_eq!(fields["id"].get(), expected.id, "replies are in order");
        let result = fields["result"].get();
        if result.starts_with("[[[\"mining.notify\"") {
            let before = self.session.replace(result.to_owned());
            assert!(before.is_none_or(|before| before == result));
        }
        expected.is_submit && result == "true"
    }

    /// True if a reply must come for everything that was sent.
    pub(super) fn is_owed_all(&self) -> bool {
        !self.is_suspect && matches!(self.speech, Speech::Nothing | Speech::Stratum)
    }

    /// Checks that the pool stops reading when too many replies wait.
    pub(super) fn check_backlog(&self) {
        let replies = self.expected.len();
        let bytes: usize = self.expected.iter().map(|e| e.id.len()).sum();
        let is_full = replies > PENDING_REPLIES_MAX || bytes > PENDING_REPLY_BYTES_MAX;
        assert!(
            !is_full || self.is_paused || !self.is_owed_all(),
            "{replies} replies wait, over {bytes} bytes, and the pool reads on"
        );
    }

    pub(super) fn check_answered(&self) {
        if self.is_owed_all() {
            assert!(!self.is_paused && self.unread.is_empty());
            let missing: Vec<&str> = self.expected.iter().map(|e| &*e.id).collect();
            assert!(missing.is_empty(), "no reply to {missing:?}");
        } else if self.speech == Speech::Over && !self.is_suspect {
            assert!(self.expected.is_empty(), "the last reply names the limit");
        }
    }

    /// True if the pool must have closed this connection by now.
    pub(super) fn is_over(&self) -> bool {
        self.speech == Speech::Over
    }
}
