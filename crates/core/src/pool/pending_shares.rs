//! Shares between their record and the ledger's word on them, and what follows from that word.
//!
//! A reply leaves when its share is durable, or with an error when the ledger has given it up. A
//! share that was given up stays known to its job: it may be in the ledger all the same, and sent
//! again it would count twice. While the ledger fails new shares are refused at once, and forgotten.

use std::collections::VecDeque;

use crate::event::{Actions, CloseHow, LedgerState};
use crate::limits::SHARES_WAITING_MAX;
use crate::pool::Pool;
use crate::pool::dispatch::Desk;
use crate::session::Session;
use crate::session::pending_replies::Fate;
use crate::units::{ConnId, Now, Seq};

/// A share that the ledger has not spoken of. A connection has at most
/// [`PENDING_REPLIES_MAX`](crate::limits::PENDING_REPLIES_MAX) of them.
pub(crate) struct Recorded {
    pub seq: Seq,
    pub conn: ConnId,
}

/// Recorded shares in their order, and whether the ledger takes more.
pub(crate) struct Ledger {
    state: LedgerState,
    last: Seq,
    waiting: VecDeque<Recorded>,
}

impl Ledger {
    /// Nothing waits, and shares up to `last` have been recorded.
    pub(crate) fn new(last: Seq) -> Self {
        Self {
            state: LedgerState::Open,
            last,
            waiting: VecDeque::new(),
        }
    }

    /// The ledger is so from now on.
    pub(crate) fn become_so(&mut self, state: LedgerState) {
        self.state = state;
    }

    /// Whether another share may be recorded.
    pub(crate) fn state(&self) -> LedgerState {
        if self.waiting.len() < SHARES_WAITING_MAX {
            self.state
        } else {
            LedgerState::Failing
        }
    }

    /// Shares that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The place of the next share in the order of acceptance.
    pub(crate) fn record(&mut self, conn: ConnId) -> Seq {
        self.last = Seq(self.last.0 + 1);
        let seq = self.last;
        self.waiting.push_back(Recorded { seq, conn });
        seq
    }

    /// The oldest share that waits, if it is settled.
    fn pop(&mut self, settled: Seq) -> Option<Recorded> {
        let share = self.waiting.front()?;
        (share.seq <= settled).then(|| self.waiting.pop_front())?
    }
}

impl Pool {
    /// The shares up to `settled` that have waited so far have met their fate.
    pub(crate) fn handle_settled(&mut self, now: Now, settled: Seq, fate: Fate, out: &mut Actions) {
        while let Some(share) = self.shared.ledger.pop(settled) {
            let Some(session) = self.sessions.get_mut(share.conn) else {
                continue;
            };
            let mut desk = Desk {
                shared: &mut self.shared,
                now,
                out,
            };
            session.release(settled, fate, now, desk.out);
            if session.is_paused {
                desk.receive(session, &[]);
            }
            desk.end_if_finished(session);
        }
    }

    /// The peer sends no more. What it is owed is said first: a share's reply, for one.
    pub(crate) fn handle_finished(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        session.is_finished = true;
        if session.waits_for_nothing() {
            self.shared.closing.push((conn, CloseHow::Flushed));
        }
    }
}

impl Desk<'_> {
    /// Ends a connection whose peer sends no more and is owed nothing.
    pub(crate) fn end_if_finished(&mut self, session: &Session) {
        if session.is_finished && session.waits_for_nothing() {
            self.shared.closing.push((session.conn, CloseHow::Flushed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_shares_wait_and_no_more() {
        let mut ledger = Ledger::new(Seq(0));
        for _ in 0..SHARES_WAITING_MAX {
            assert_eq!(ledger.state(), LedgerState::Open);
            ledger.record(ConnId(1));
        }
        assert_eq!(ledger.state(), LedgerState::Failing);
        assert!(ledger.pop(Seq(1)).is_some());
        assert_eq!(ledger.state(), LedgerState::Open);
    }
}
