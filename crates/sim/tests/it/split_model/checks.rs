//! The invariants of the model. They read the chain and the jobs of found blocks, which the ledger does not see, and
//! compare the ledger with them.

use std::collections::BTreeMap;

use hstratum_core::accounting::ledger::Sighting;
use hstratum_core::units::Hash;

use super::ledger::{NETWORK_FEE, PaymentState, Record};
use super::pool::{Job, Line, OUTPUT_MIN, OUTPUTS_MAX};
use super::world::World;
use super::{ACCOUNTS, Account};

/// A reason for which an account may have got more than it has earned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// Two servers each found a block with the same balance, the second before the ledger knew the first.
    TwoBlocks,
    /// A block that was lost for good came back, after its promise was paid otherwise.
    BlockReturned,
    /// A payment that was abandoned came back with the coins that it spends.
    PaymentReturned,
    /// A settled block was lost for good after it was paid.
    Reversed,
}

fn line_of(job: &Job, account: Account) -> Line {
    let frozen = job.frozen.as_ref();
    frozen
        .and_then(|frozen| frozen.lines.get(&account))
        .copied()
        .unwrap_or_default()
}

impl World {
    /// Remembers what explains a debt later.
    pub(super) fn remember(&mut self) {
        for (hash, job) in &self.jobs {
            if self.chain.has(*hash) && self.chain.sighting(*hash, job.height) == Sighting::Gone {
                self.gone.insert(*hash);
            }
        }
        let settled = self.ledger.blocks.iter().filter(|block| block.is_settled);
        self.settled.extend(settled.map(|block| block.hash));
        for (at, payment) in self.ledger.payments.iter().enumerate() {
            if payment.state == PaymentState::Abandoned {
                self.abandoned.insert(at);
            }
        }
    }

    /// Checks all that holds at any time.
    pub(super) fn check(&mut self) -> Result<(), String> {
        self.check_blocks()?;
        self.check_records()?;
        self.check_cash()?;
        self.check_decisions()?;
        self.check_promises()?;
        self.check_debts()
    }

    /// Outputs and the operator's output are the reward, and so are parts, fee and remainder.
    fn check_blocks(&self) -> Result<(), String> {
        for (hash, _, coinbase) in self.chain.coinbases() {
            let paid: u64 = coinbase.outputs.values().sum();
            if paid + coinbase.operator != coinbase.reward {
                return Err(format!("the outputs of {hash} are not its reward"));
            }
            let is_output = |amount: &u64| *amount >= OUTPUT_MIN;
            if coinbase.outputs.len() > OUTPUTS_MAX || !coinbase.outputs.values().all(is_output) {
                return Err(format!("{hash} has too many outputs or too small ones"));
            }
            let Some(frozen) = &self.jobs[&hash].frozen else {
                continue;
            };
            let parts: u64 = frozen.lines.values().map(|line| line.part).sum();
            if parts + frozen.fee + frozen.remainder != frozen.reward {
                return Err(format!("the parts of {hash} are not its reward"));
            }
        }
        Ok(())
    }

    /// Each block is recorded once, with the lines of its job.
    fn check_records(&self) -> Result<(), String> {
        let mut counts: BTreeMap<Hash, u32> = BTreeMap::new();
        for record in &self.ledger.blocks {
            let count = counts.entry(record.hash).or_default();
            *count += 1;
            if *count > 1 {
                return Err(format!("{} is in the ledger twice", record.hash));
            }
            let frozen = self.jobs[&record.hash].frozen.as_ref();
            if frozen.is_some_and(|frozen| frozen.lines != record.lines) {
                return Err(format!("{} has other lines than its job", record.hash));
            }
        }
        Ok(())
    }

    /// The operator's outputs of settled blocks, as the chain has them, less payments and what they cost, are the
    /// balances and the pool's own entries.
    fn check_cash(&self) -> Result<(), String> {
        let settled = self.ledger.blocks.iter().filter(|block| block.is_settled);
        let coinbases = settled.filter_map(|block| self.chain.block(block.hash).coinbase.as_ref());
        let earned: i128 = coinbases
            .map(|coinbase| i128::from(coinbase.operator))
            .sum();
        let amounts = self
            .ledger
            .payments
            .iter()
            .filter(|payment| payment.state != PaymentState::Abandoned);
        let amounts = amounts.flat_map(|payment| payment.amounts.values());
        let paid: i128 = amounts.map(|(_, amount)| i128::from(*amount)).sum();
        let network = self.ledger.live_transactions().count() as i128 * i128::from(NETWORK_FEE);
        let cash = earned - paid - network;
        let balances: i128 = (0..ACCOUNTS)
            .map(|account| self.ledger.balance(account))
            .sum();
        let owned = balances + self.ledger.pool_entries();
        if cash != owned {
            return Err(format!(
                "the operator's cash is {cash}, balances and entries are {owned}"
            ));
        }
        Ok(())
    }

    /// After a look each block is decided as the chain has it: settled where it is deep enough, lost for good where
    /// another is.
    fn check_decisions(&self) -> Result<(), String> {
        for record in self.ledger.blocks.iter().filter(|_| self.has_looked) {
            let is_right = match self.chain.sighting(record.hash, record.height) {
                Sighting::Mature => record.is_settled,
                Sighting::Gone => record.is_final && !record.is_settled,
                Sighting::OnMain | Sighting::Elsewhere | Sighting::Above => !record.is_final,
            };
            if !is_right {
                return Err(format!(
                    "{} is not decided as the chain has it",
                    record.hash
                ));
            }
        }
        Ok(())
    }

    /// The ledger's outstanding promises are those of recorded blocks that it has neither settled nor seen lost for
    /// good.
    fn check_promises(&self) -> Result<(), String> {
        for account in 0..ACCOUNTS {
            let undecided = self
                .ledger
                .blocks
                .iter()
                .filter(|block| block.is_undecided());
            let lines = undecided.map(|block| line_of(&self.jobs[&block.hash], account));
            let promised: u64 = lines.map(|line| line.promised()).sum();
            let told = self.ledger.promised(account);
            if told != promised {
                return Err(format!(
                    "account {account} has promises of {told}, {promised} are undecided"
                ));
            }
        }
        Ok(())
    }

    /// An account owes for a cause that is known, and no other.
    fn check_debts(&mut self) -> Result<(), String> {
        for account in 0..ACCOUNTS {
            let balance = self.ledger.balance(account);
            if balance >= 0 || self.owing.contains_key(&account) {
                continue;
            }
            let Some(cause) = self.cause(account) else {
                return Err(format!(
                    "account {account} owes {} without a cause",
                    -balance
                ));
            };
            self.owing.insert(account, cause);
        }
        Ok(())
    }

    fn cause(&self, account: Account) -> Option<Cause> {
        let promises = |hash: Hash| line_of(&self.jobs[&hash], account).promised() > 0;
        let main: Vec<Hash> = self.chain.coinbases().map(|(hash, ..)| hash).collect();
        if main
            .iter()
            .any(|hash| self.gone.contains(hash) && promises(*hash))
        {
            return Some(Cause::BlockReturned);
        }
        let has_returned = |at: &usize| {
            let payment = &self.ledger.payments[*at];
            payment.state != PaymentState::Abandoned && payment.amounts.contains_key(&account)
        };
        if self.abandoned.iter().any(has_returned) {
            return Some(Cause::PaymentReturned);
        }
        let is_reversed = |block: &&Record| {
            block.is_final
                && self.settled.contains(&block.hash)
                && block.lines.contains_key(&account)
        };
        if self.ledger.blocks.iter().any(|block| is_reversed(&block)) {
            return Some(Cause::Reversed);
        }
        let later = main.iter().enumerate().filter(|(_, hash)| promises(**hash));
        let mut pairs =
            later.flat_map(|(at, later)| main[..at].iter().map(move |first| (*first, *later)));
        let are_unknown =
            |(first, later): (Hash, Hash)| promises(first) && self.was_unknown(first, later);
        pairs.any(are_unknown).then_some(Cause::TwoBlocks)
    }

    /// True if the split of the later block was computed by another server before the ledger had the first.
    fn was_unknown(&self, first: Hash, later: Hash) -> bool {
        let (of_first, of_later) = (&self.jobs[&first].coinbase, &self.jobs[&later].coinbase);
        let mark = of_later.mark.expect("only splits promise");
        let split = &self.servers[of_later.server].splits[mark.split];
        let place = self
            .ledger
            .blocks
            .iter()
            .position(|block| block.hash == first);
        of_first.server != of_later.server && place.is_none_or(|place| place >= split.blocks_known)
    }

    /// Checks the end: every block is decided, and each account has received its parts of the main chain's blocks.
    pub(super) fn check_end(&self) -> Result<(), String> {
        for (hash, ..) in self.chain.coinbases() {
            let mut records = self.ledger.blocks.iter();
            let Some(record) = records.find(|block| block.hash == hash) else {
                return Err(format!("{hash} is on the chain and in no ledger"));
            };
            if !record.is_settled {
                return Err(format!("{hash} is on the chain and not settled"));
            }
        }
        for record in &self.ledger.blocks {
            if !self.chain.is_main(record.hash) && !record.is_final {
                return Err(format!("{} is lost and not decided", record.hash));
            }
        }
        let received = self.chain.received();
        for account in 0..ACCOUNTS {
            let own = received
                .iter()
                .filter(|(address, _)| address.0 % u32::from(ACCOUNTS) == u32::from(account));
            let received: u64 = own.map(|(_, amount)| amount).sum();
            let on_main = self
                .ledger
                .blocks
                .iter()
                .filter(|block| self.chain.is_main(block.hash));
            let lines = on_main.filter_map(|block| block.lines.get(&account));
            let earned: u64 = lines.map(|line| line.part).sum();
            if received != earned {
                return Err(format!(
                    "account {account} has received {received} and earned {earned}"
                ));
            }
        }
        Ok(())
    }
}
