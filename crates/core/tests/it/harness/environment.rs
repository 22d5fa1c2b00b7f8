//! Changes of the clock, the ledger, the node and other servers that a test asks for.

use std::sync::Arc;

use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::accounts::ban::Ban;
use hstratum_core::chain::address::Address;
use hstratum_core::chain::block::FoundBlock;
use hstratum_core::event::{Event, LedgerState};
use hstratum_core::operator_order::UserChange;
use hstratum_core::units::{Hash, Seq};

use super::{PoolHarness, START_S, TICK_MS};

impl PoolHarness {
    /// Lets time pass, in ticks.
    pub(crate) fn advance(&mut self, ms: u64) {
        for _ in 0..ms / TICK_MS {
            self.now.ms += TICK_MS;
            let on_time = START_S + (self.now.ms - 1_000) / 1_000;
            self.now.unix_s = on_time - self.clock_behind_s;
            self.handle(Event::Tick);
            self.advance_test_proxy(TICK_MS);
        }
    }

    /// Releases everything that was held back.
    pub(crate) fn release(&mut self) {
        self.ledger_held = false;
        self.passwords_held = false;
        self.settle();
    }

    /// Makes the held ledger durable up to `seq` and no further.
    pub(crate) fn durable(&mut self, seq: u64) {
        self.settled = Seq(seq);
        self.handle(Event::Durable(Seq(seq)));
    }

    /// Makes the disk refuse writes: recorded shares are given up.
    pub(crate) fn break_ledger(&mut self) {
        self.ledger_broken = true;
        self.handle(Event::Ledger(LedgerState::Failing));
    }

    /// Makes the disk accept writes again.
    pub(crate) fn mend_ledger(&mut self) {
        self.ledger_broken = false;
        self.handle(Event::Ledger(LedgerState::Open));
    }

    /// Stops the server.
    pub(crate) fn stop(&mut self) {
        self.handle(Event::Stop);
    }

    /// Sends the node's verdict on the last block offered.
    pub(crate) fn answer_block(&mut self, verdict: Verdict) {
        let hash = self.solutions.last().expect("a block was offered").hash;
        self.answer(hash, verdict);
    }

    /// Sends the node's verdict on a block.
    pub(crate) fn answer(&mut self, hash: Hash, verdict: Verdict) {
        self.handle(Event::BlockResult(hash, verdict));
    }

    /// Tells the pool all payout addresses of accounts.
    pub(crate) fn know_addresses<'a>(
        &mut self,
        addresses: impl IntoIterator<Item = (&'a str, Address)>,
    ) {
        let addresses = addresses.into_iter();
        let addresses = addresses.map(|(name, address)| (name.into(), address));
        self.handle(Event::PayoutAddresses(Arc::new(addresses.collect())));
    }

    /// Sends the jobs of solo listeners that were held.
    pub(crate) fn send_solo_jobs(&mut self) {
        self.solo_jobs_held = false;
        self.handle(Event::SoloJobs);
    }

    /// Offers a block that an earlier run left in the spool.
    pub(crate) fn spooled(&mut self, block: FoundBlock) {
        self.handle(Event::Spooled(Box::new(block)));
    }

    /// Applies a user change made on another server.
    pub(crate) fn change_user(&mut self, change: UserChange) {
        self.handle(Event::Users(vec![change]));
    }

    /// Applies a change of the bans made on another server; `bans` are all of them.
    pub(crate) fn change_bans(&mut self, bans: Vec<Ban>) {
        self.handle(Event::Bans(bans));
    }
}
