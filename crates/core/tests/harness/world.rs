//! What a table's clock, ledger and clerk do when the test says so.

use hstratum_core::event::{Event, LedgerState};
use hstratum_core::units::Seq;

use super::{START_S, TICK_MS, Table};

impl Table {
    /// Time passes, in ticks.
    pub(crate) fn advance(&mut self, ms: u64) {
        for _ in 0..ms / TICK_MS {
            self.now.ms += TICK_MS;
            let on_time = START_S + (self.now.ms - 1_000) / 1_000;
            self.now.unix_s = on_time - self.clock_behind_s;
            self.handle(Event::Tick);
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
}
