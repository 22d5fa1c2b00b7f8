//! What a table's clock, ledger, clerk, node and other servers do when the test says so.

use hstratum_core::accounts::ban::Ban;
use hstratum_core::chain::block::{FoundBlock, Verdict};
use hstratum_core::event::{Event, LedgerState};
use hstratum_core::order::UserChange;
use hstratum_core::units::{Hash, Seq};

use super::{START_S, TICK_MS, Table};

impl Table {
    /// Time passes, in ticks.
    pub(crate) fn advance(&mut self, ms: u64) {
        for _ in 0..ms / TICK_MS {
            self.now.ms += TICK_MS;
            let on_time = START_S + (self.now.ms - 1_000) / 1_000;
            self.now.unix_s = on_time - self.clock_behind_s;
            self.handle(Event::Tick);
            self.advance_front(TICK_MS);
        }
    }

    /// Does everything that was held back.
    pub(crate) fn release(&mut self) {
        self.ledger_held = false;
        self.clerk_held = false;
        self.settle();
    }

    /// The ledger, which is held, is durable up to `seq` and no further.
    pub(crate) fn durable(&mut self, seq: u64) {
        self.settled = Seq(seq);
        self.handle(Event::Durable(Seq(seq)));
    }

    /// The disk refuses: what is recorded is given up.
    pub(crate) fn break_ledger(&mut self) {
        self.ledger_broken = true;
        self.handle(Event::Ledger(LedgerState::Failing));
    }

    /// The disk takes shares again.
    pub(crate) fn mend_ledger(&mut self) {
        self.ledger_broken = false;
        self.handle(Event::Ledger(LedgerState::Open));
    }

    /// The server stops.
    pub(crate) fn stop(&mut self) {
        self.handle(Event::Stop);
    }

    /// The node answers the last block that was offered.
    pub(crate) fn answer_block(&mut self, verdict: Verdict) {
        let hash = self.solutions.last().expect("a block was offered").hash;
        self.answer(hash, verdict);
    }

    /// The node answers a block.
    pub(crate) fn answer(&mut self, hash: Hash, verdict: Verdict) {
        self.handle(Event::BlockResult(hash, verdict));
    }

    /// The node is offered a block that an earlier run left in the spool.
    pub(crate) fn spooled(&mut self, block: FoundBlock) {
        self.handle(Event::Spooled(Box::new(block)));
    }

    /// Another server has changed a user.
    pub(crate) fn change_user(&mut self, change: UserChange) {
        self.handle(Event::Users(vec![change]));
    }

    /// Another server has changed the bans: these there are.
    pub(crate) fn change_bans(&mut self, bans: Vec<Ban>) {
        self.handle(Event::Bans(bans));
    }
}
