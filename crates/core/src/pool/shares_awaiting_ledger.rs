//! Accepted shares that the ledger has not settled yet. The replies to them are released in
//! `ledger_results`.
//!
//! The reply to a share is sent when the share is durable, or as an error when the ledger has given it
//! up. A share that was given up stays remembered by its job: it may be in the ledger all the same, and
//! sent again it would be counted twice. While the ledger fails, new shares are refused at once and not
//! remembered.

use std::collections::VecDeque;

use crate::event::LedgerState;
use crate::limits::SHARES_WAITING_MAX;
use crate::units::{ConnId, Seq};

/// A share that the ledger has not settled. A connection has at most
/// [`PENDING_REPLIES_MAX`](crate::limits::PENDING_REPLIES_MAX) of them.
pub(crate) struct PendingShare {
    pub seq: Seq,
    pub conn: ConnId,
}

/// The shares that wait for the ledger, in order, and the ledger's state.
pub(crate) struct SharesAwaitingLedger {
    state: LedgerState,
    last: Seq,
    waiting: VecDeque<PendingShare>,
}

impl SharesAwaitingLedger {
    /// Starts with none waiting; shares up to `last` have been recorded before.
    pub(crate) fn new(last: Seq) -> Self {
        Self {
            state: LedgerState::Open,
            last,
            waiting: VecDeque::new(),
        }
    }

    /// Sets the state of the ledger.
    pub(crate) fn set_state(&mut self, state: LedgerState) {
        self.state = state;
    }

    /// The state of the ledger; [`LedgerState::Failing`] also while [`SHARES_WAITING_MAX`] shares wait.
    pub(crate) fn state(&self) -> LedgerState {
        if self.waiting.len() < SHARES_WAITING_MAX {
            self.state
        } else {
            LedgerState::Failing
        }
    }

    /// Count of waiting shares.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Adds a share and returns its sequence number.
    pub(crate) fn record(&mut self, conn: ConnId) -> Seq {
        self.last = Seq(self.last.0 + 1);
        let seq = self.last;
        self.waiting.push_back(PendingShare { seq, conn });
        seq
    }

    /// Removes the oldest waiting share if it is settled.
    pub(crate) fn pop(&mut self, settled: Seq) -> Option<PendingShare> {
        let share = self.waiting.front()?;
        (share.seq <= settled).then(|| self.waiting.pop_front())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_shares_wait_and_no_more() {
        let mut ledger = SharesAwaitingLedger::new(Seq(0));
        for _ in 0..SHARES_WAITING_MAX {
            assert_eq!(ledger.state(), LedgerState::Open);
            ledger.record(ConnId(1));
        }
        assert_eq!(ledger.state(), LedgerState::Failing);
        assert!(ledger.pop(Seq(1)).is_some());
        assert_eq!(ledger.state(), LedgerState::Open);
    }
}
