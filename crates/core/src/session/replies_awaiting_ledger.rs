//! Replies of one connection that wait for the ledger, in the order of their requests.
//!
//! The reply to an accepted share is written when the ledger has settled the share: until then only the
//! request's id is kept. Replies behind it are kept as finished lines. Limits: [`PENDING_REPLIES_MAX`],
//! [`PENDING_REPLY_BYTES_MAX`]; at one of them the connection is no longer read.

use std::collections::VecDeque;

use crate::limits::{PENDING_REPLIES_MAX, PENDING_REPLY_BYTES_MAX};
use crate::units::Seq;
use crate::wire::message::{Reject, write_reject, write_true};

/// The ledger's outcome for a recorded share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Stored; the share survives a crash.
    Durable,
    /// Not stored and not counted.
    GivenUp,
}

/// A queue of replies; its text is one buffer.
#[derive(Default)]
pub(crate) struct RepliesAwaitingLedger {
    /// For each reply the share it answers, if it is that of an accepted share, and its bytes in `text`.
    waiting: VecDeque<(Option<Seq>, usize)>,
    /// Whole lines, or for shares the ids.
    text: Vec<u8>,
}

impl RepliesAwaitingLedger {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn are_full(&self) -> bool {
        self.waiting.len() >= PENDING_REPLIES_MAX || self.text.len() >= PENDING_REPLY_BYTES_MAX
    }

    /// Counts of waiting replies and of their bytes.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.waiting.len(), self.text.len())
    }

    /// Appends a finished line behind the waiting ones.
    pub(crate) fn push_line(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        write(&mut self.text);
        self.waiting.push_back((None, self.text.len() - start));
    }

    /// Appends the reply to an accepted share. Without an id no line will be sent; it is queued all the
    /// same, so that the shares of a connection on their way to the ledger are limited.
    pub(crate) fn push_share(&mut self, seq: Seq, id: Option<&str>) {
        let id = id.unwrap_or_default();
        self.text.extend_from_slice(id.as_bytes());
        self.waiting.push_back((Some(seq), id.len()));
    }

    /// Appends to `out` all replies that wait no longer, once the shares up to `settled` have this
    /// outcome; shares settled before have left the queue already.
    pub(crate) fn release(&mut self, settled: Seq, fate: Durability, out: &mut Vec<u8>) {
        let mut start = 0;
        while let Some(&(share, len)) = self.waiting.front()
            && share.is_none_or(|seq| seq <= settled)
        {
            let text = &self.text[start..start + len];
            match share {
                None => out.extend_from_slice(text),
                Some(_) if text.is_empty() => {}
                Some(_) => {
                    let id = str::from_utf8(text).expect("an id was text when it came");
                    match fate {
                        Durability::Durable => write_true(out, id),
                        Durability::GivenUp => write_reject(out, id, Reject::LedgerFailing),
                    }
                }
            }
            start += len;
            self.waiting.pop_front();
        }
        self.text.drain(..start);
    }
}
