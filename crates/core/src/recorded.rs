//! Shares between their record and the ledger's word on them, and what follows from that word.
//!
//! A reply leaves when its share is durable, or with an error when the ledger has given it up. A
//! share that was given up stays known to its job: it may be in the ledger all the same, and sent
//! again it would count twice. While the ledger fails new shares are refused at once, and forgotten.

use std::collections::VecDeque;

use crate::event::{Actions, LedgerState, Now};
use crate::pool::Pool;
use crate::reply::Fate;
use crate::request::Desk;
use crate::units::{ConnId, Seq};

/// A share that the ledger has not spoken of. A connection has at most
/// [`PENDING_REPLIES_MAX`](crate::limits::PENDING_REPLIES_MAX) of them.
pub(crate) struct Recorded {
    pub seq: Seq,
    pub conn: ConnId,
}

/// Recorded shares in their order, and whether the ledger takes more.
pub(crate) struct Ledger {
    pub state: LedgerState,
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
        }
    }
}
