//! The end of a run: everything comes to rest and is paid, so that what accounts have received can be compared with
//! what they have earned.

use hstratum_core::units::{Difficulty, Hash, Height};

use super::ACCOUNTS;
use super::chain::{Address, MATURITY};
use super::ledger::{PayoutKind, Terms};
use super::pool::OUTPUTS_MAX;
use super::world::{Step, World, random_terms};

/// Steady blocks after which nobody may owe any more.
const STEADY_BLOCKS: u32 = 80;

impl World {
    /// Lets everything come to rest, mines until nobody owes, pays all balances, and compares.
    pub(super) fn end(&mut self) -> Result<(), String> {
        for (account, address) in &mut self.ledger.addresses {
            address.get_or_insert(Address((*account).into()));
        }
        self.deliver();
        self.set_kind(PayoutKind::Split);
        self.bury()?;
        while self.report.steady < STEADY_BLOCKS && self.does_anybody_owe() {
            self.report.steady += 1;
            self.mine_steadily()?;
        }
        if self.does_anybody_owe() {
            return Err("somebody owes for ever".to_owned());
        }
        // From here on no job offers a balance.
        self.set_kind(PayoutKind::Later);
        self.bury()?;
        self.deliver();
        self.bury()?;
        for _ in 0..ACCOUNTS {
            self.ledger.open_payment(self.chain.height());
            self.ledger.send_payment(&mut self.chain);
            self.bury()?;
        }
        let main: Vec<_> = self.chain.coinbases().map(|(hash, ..)| hash).collect();
        self.report.on_main = main.len() as u64;
        let has_balances = |hash: &&Hash| {
            let frozen = self.jobs[*hash].frozen.as_ref();
            frozen.is_some_and(|frozen| frozen.lines.values().any(|line| line.promised() > 0))
        };
        self.report.with_balances = main.iter().filter(has_balances).count() as u64;
        for cause in self.owing.values() {
            *self.report.owing.entry(*cause).or_default() += 1;
        }
        self.check_end()
    }

    fn does_anybody_owe(&self) -> bool {
        (0..ACCOUNTS).any(|account| self.ledger.balance(account) < 0)
    }

    /// Brings every found block to the network and into the ledger, and has every server store a split.
    fn deliver(&mut self) {
        for server in 0..self.servers.len() {
            self.servers[server].has_ledger = true;
            while !self.servers[server].found.is_empty() {
                for step in [Step::Announce, Step::Spool, Step::Record, Step::Answer] {
                    self.advance_block(server, 0, step);
                }
            }
        }
        for server in 0..self.servers.len() {
            self.hear(server);
            assert!(self.refresh(server, OUTPUTS_MAX), "nothing is on its way");
        }
    }

    fn set_kind(&mut self, kind: PayoutKind) {
        let terms = Terms {
            kind,
            ..random_terms(&mut self.rng)
        };
        self.ledger
            .terms
            .0
            .push((Height(self.chain.height().0 + 2), terms));
    }

    /// Mines blocks of others until everything below is decided.
    fn bury(&mut self) -> Result<(), String> {
        self.note("blocks of others".to_owned());
        for _ in 0..=MATURITY {
            self.mine_other(self.chain.tip());
        }
        self.look();
        self.check()
    }

    fn mine_steadily(&mut self) -> Result<(), String> {
        let height = Height(self.chain.height().0 + 1);
        for account in 0..ACCOUNTS {
            let difficulty = Difficulty::new(100.0).expect("a difficulty");
            self.ledger.add_credit(height, account, difficulty);
        }
        self.deliver();
        self.find(0);
        self.deliver();
        self.bury()
    }
}
