//! Replies of one connection that wait for the ledger, in the order of their requests.
//!
//! An accepted share's reply is written when the ledger has spoken: until then only its id is kept.
//! What waits behind it is kept as it will leave. How much may wait is in `limits`.

use std::collections::VecDeque;

use crate::limits::{PENDING_REPLIES_MAX, PENDING_REPLY_BYTES_MAX};
use crate::units::Seq;
use crate::wire::message::{Reject, write_reject, write_true};

/// What the ledger says of a recorded share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It survives a crash.
    Durable,
    /// It was not counted.
    GivenUp,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Replies {
    /// Of each: the share it answers, if it is an accepted one's, and its bytes in `text`.
    waiting: VecDeque<(Option<Seq>, usize)>,
    /// Whole lines, and of shares the ids.
    text: Vec<u8>,
}

impl Replies {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn are_full(&self) -> bool {
        self.waiting.len() >= PENDING_REPLIES_MAX || self.text.len() >= PENDING_REPLY_BYTES_MAX
    }

    /// Replies that wait, and their bytes.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.waiting.len(), self.text.len())
    }

    /// A line that waits behind others.
    pub(crate) fn push_line(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        write(&mut self.text);
        self.waiting.push_back((None, self.text.len() - start));
    }

    /// The reply to an accepted share. Without an id nothing will leave; it waits all the same, so
    /// that a connection has only so many shares on their way to the ledger.
    pub(crate) fn push_share(&mut self, seq: Seq, id: Option<&str>) {
        let id = id.unwrap_or_default();
        self.text.extend_from_slice(id.as_bytes());
        self.waiting.push_back((Some(seq), id.len()));
    }

    /// Appends to `out` what no longer waits once the shares up to `settled` have met their fate;
    /// those of an earlier one have left before.
    pub(crate) fn release(&mut self, settled: Seq, fate: Fate, out: &mut Vec<u8>) {
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
                        Fate::Durable => write_true(out, id),
                        Fate::GivenUp => write_reject(out, id, Reject::LedgerFailing),
                    }
                }
            }
            start += len;
            self.waiting.pop_front();
        }
        self.text.drain(..start);
    }
}
