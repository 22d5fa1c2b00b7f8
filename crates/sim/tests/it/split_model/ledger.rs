//! The ledger of the model: credit, terms, found blocks with their lines, payments, and what is out in jobs. Each
//! function that writes is one transaction.
//!
//! Balances are sums of rows, never rows themselves: a block that is settled, reversed and settled again, or recorded
//! twice, counts once. The states of blocks are the ledger's own (`BlockState`). How far a node's word is to be
//! trusted is not in the model.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use hstratum_core::accounting::ledger::{BlockState, Sighting};
use hstratum_core::accounting::reward_split::{self, Decimal, FeePpm, PplnsWindow, Weight};
use hstratum_core::units::{Difficulty, Hash, Height};

use super::chain::{Address, Chain, MATURITY, ServerId, Transaction};
use super::pool::{Frozen, Line, Means, Split};
use super::{Account, BrokenRule};

/// The network's difficulty, at every height.
const NETWORK_DIFFICULTY: f64 = 1_000.0;

/// Base units that the network takes for a payment.
pub(super) const NETWORK_FEE: u64 = 1_000;

/// Most accounts in a payment.
const PAYMENT_OUTPUTS_MAX: usize = 4;

/// The way in which accounts get their parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PayoutKind {
    /// By the coinbase.
    Split,
    /// By payments, once the block is divided.
    Later,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) kind: PayoutKind,
    /// Window of PPLNS.
    pub(super) window: Decimal,
    pub(super) fee: FeePpm,
}

/// Terms by the height from which they hold, the newest last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TermsRows(pub(super) Vec<(Height, Terms)>);

impl TermsRows {
    pub(super) fn at(&self, height: Height) -> &Terms {
        let rows = self.0.iter().filter(|(from, _)| *from <= height);
        let (_, terms) = rows.max_by_key(|(from, _)| *from).expect("a row from 0 on");
        terms
    }
}

/// A row of `blocks` with its lines.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) hash: Hash,
    pub(super) height: Height,
    pub(super) reward: u64,
    /// False if the coinbase pays the operator alone: lines come with the settlement.
    pub(super) is_split: bool,
    pub(super) fee: u64,
    pub(super) remainder: u64,
    pub(super) lines: BTreeMap<Account, Line>,
    pub(super) state: BlockState,
    /// Lost for good.
    pub(super) is_final: bool,
    /// True while its lines count in the balances.
    pub(super) is_settled: bool,
}

impl Record {
    /// True until the block is settled or lost for good: so long its promises hold.
    pub(super) fn is_undecided(&self) -> bool {
        !self.is_settled && !self.is_final
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PaymentState {
    /// Deducted from the balances; nobody has a transaction.
    Open,
    /// Public.
    Sent,
    Confirmed,
    /// Can never be mined, or was given up before it had a transaction.
    Abandoned,
}

#[derive(Debug, Clone)]
pub(super) struct Payment {
    pub(super) amounts: BTreeMap<Account, (Address, u64)>,
    pub(super) state: PaymentState,
    pub(super) has_transaction: bool,
}

impl Payment {
    fn is_unfinished(&self) -> bool {
        matches!(self.state, PaymentState::Open | PaymentState::Sent)
    }

    fn total(&self) -> u64 {
        self.amounts.values().map(|(_, amount)| amount).sum()
    }
}

pub(super) struct Ledger {
    pub(super) credit: BTreeMap<Height, BTreeMap<Account, Weight>>,
    pub(super) addresses: BTreeMap<Account, Option<Address>>,
    pub(super) terms: TermsRows,
    /// In the order in which they were recorded.
    pub(super) blocks: Vec<Record>,
    pub(super) payments: Vec<Payment>,
    /// Last height for which a server's stored split has an account's balance in it.
    offers: BTreeMap<(ServerId, Account), Height>,
    /// Height of the last split that a server has stored.
    last_splits: BTreeMap<ServerId, Height>,
    broken: Option<BrokenRule>,
}

impl Ledger {
    pub(super) fn new(terms: Terms, broken: Option<BrokenRule>) -> Self {
        Self {
            credit: BTreeMap::new(),
            addresses: BTreeMap::new(),
            terms: TermsRows(vec![(Height(0), terms)]),
            blocks: Vec::new(),
            payments: Vec::new(),
            offers: BTreeMap::new(),
            last_splits: BTreeMap::new(),
            broken,
        }
    }

    fn has_broken(&self, rule: BrokenRule) -> bool {
        self.broken == Some(rule)
    }

    pub(super) fn add_credit(&mut self, height: Height, account: Account, difficulty: Difficulty) {
        let weights = self.credit.entry(height).or_default();
        *weights.entry(account).or_default() += &Weight::of(difficulty, 1);
    }

    /// Work of each account in the window that ends at a height.
    fn weights(&self, height: Height, window: Decimal) -> BTreeMap<Account, Weight> {
        let network = Difficulty::new(NETWORK_DIFFICULTY).expect("a difficulty");
        let mut pplns = PplnsWindow::new(window, network);
        for (_, weights) in self.credit.range(..=height).rev() {
            if pplns.is_full() {
                break;
            }
            pplns.push(weights.clone());
        }
        pplns.into_weights()
    }

    /// What settled blocks brought an account, less what blocks and payments have paid. Below 0 it owes.
    pub(super) fn balance(&self, account: Account) -> i128 {
        let of_blocks = self.blocks.iter().map(|block| {
            let Some(line) = block.lines.get(&account) else {
                return 0;
            };
            let is_early = self.has_broken(BrokenRule::PaidAtFind) && block.is_split;
            let part = if block.is_settled { line.part } else { 0 };
            let paid = match (block.is_settled, is_early) {
                (true, _) => line.output,
                (false, true) => line.promised(),
                (false, false) => 0,
            };
            i128::from(part) - i128::from(paid)
        });
        let live = self
            .payments
            .iter()
            .filter(|payment| payment.state != PaymentState::Abandoned);
        let paid = live.filter_map(|payment| payment.amounts.get(&account));
        let paid: i128 = paid.map(|(_, amount)| i128::from(*amount)).sum();
        of_blocks.sum::<i128>() - paid
    }

    /// Sum over the lines of an account in undecided blocks.
    fn undecided(&self, account: Account, amount: fn(&Line) -> u64) -> u64 {
        let keeps_all = self.has_broken(BrokenRule::PromiseKeptByOrphan);
        let blocks = self.blocks.iter();
        let blocks = blocks.filter(|block| block.is_undecided() || keeps_all && !block.is_settled);
        blocks
            .filter_map(|block| block.lines.get(&account))
            .map(amount)
            .sum()
    }

    /// Balance that undecided blocks pay.
    pub(super) fn promised(&self, account: Account) -> u64 {
        self.undecided(account, Line::promised)
    }

    /// Balance that may be paid: settled, and not promised to a block.
    fn spare(&self, account: Account) -> u64 {
        let free = self.balance(account) - i128::from(self.promised(account));
        u64::try_from(free).unwrap_or(0)
    }

    /// Debt that no undecided block withholds yet.
    fn debt(&self, account: Account) -> u64 {
        let debt = u64::try_from(-self.balance(account)).unwrap_or(0);
        debt.saturating_sub(self.undecided(account, Line::kept))
    }

    /// Fees and remainders of settled blocks, less what the network took.
    pub(super) fn pool_entries(&self) -> i128 {
        let settled = self.blocks.iter().filter(|block| block.is_settled);
        let own: i128 = settled
            .map(|block| i128::from(block.fee + block.remainder))
            .sum();
        own - i128::from(NETWORK_FEE) * self.live_transactions().count() as i128
    }

    /// Payments whose transaction is out or in the chain.
    pub(super) fn live_transactions(&self) -> impl Iterator<Item = (usize, &Payment)> {
        let payments = self.payments.iter().enumerate();
        payments.filter(|(_, payment)| {
            payment.has_transaction && payment.state != PaymentState::Abandoned
        })
    }

    pub(super) fn has_block(&self, hash: Hash) -> bool {
        self.blocks.iter().any(|block| block.hash == hash)
    }

    /// Computes a split for a height from one state of the ledger, and notes the balances that its jobs offer.
    pub(super) fn store_split(&mut self, server: ServerId, height: Height) -> Split {
        let terms = *self.terms.at(height);
        let weights = self.weights(height, terms.window);
        let ignores = self.has_broken(BrokenRule::PromisedAgain);
        let keeps_debt = self.has_broken(BrokenRule::DebtNotWithheld);
        let means = |account: &Account| Means {
            address: self.addresses.get(account).copied().flatten(),
            spare: match ignores {
                true => u64::try_from(self.balance(*account)).unwrap_or(0),
                false => self.spare(*account),
            },
            debt: if keeps_debt { 0 } else { self.debt(*account) },
        };
        let means: BTreeMap<_, _> = weights
            .keys()
            .map(|account| (*account, means(account)))
            .collect();
        self.last_splits.insert(server, height);
        if terms.kind == PayoutKind::Split {
            for (account, _) in means.iter().filter(|(_, means)| means.spare > 0) {
                self.offers.insert((server, *account), height);
            }
        }
        Split {
            height,
            weights,
            means,
            terms: self.terms.clone(),
            blocks_known: self.blocks.len(),
        }
    }

    /// True if a job may still become a block that pays the account's balance: its height is not as deep as a coinbase
    /// must be, or its server has stored no later split since.
    fn is_offered(&self, account: Account, tip: Height) -> bool {
        self.offers.iter().any(|((server, of), height)| {
            let is_deep = tip.0 + 1 >= height.0 + MATURITY;
            *of == account && !(is_deep && self.last_splits[server] > *height)
        })
    }

    /// Writes a found block with its lines, once.
    pub(super) fn record(
        &mut self,
        hash: Hash,
        height: Height,
        reward: u64,
        frozen: Option<Frozen>,
    ) {
        if self.has_block(hash) && !self.has_broken(BrokenRule::RecordedTwice) {
            return;
        }
        let is_split = frozen.is_some();
        let frozen = frozen.unwrap_or(Frozen {
            reward,
            fee: 0,
            remainder: 0,
            lines: BTreeMap::new(),
        });
        self.blocks.push(Record {
            hash,
            height,
            reward,
            is_split,
            fee: frozen.fee,
            remainder: frozen.remainder,
            lines: frozen.lines,
            state: BlockState::Found,
            is_final: false,
            is_settled: false,
        });
    }

    /// Takes a node's answer about all blocks and payments: states, settlements and reversals in one transaction.
    pub(super) fn look(&mut self, chain: &Chain) {
        for at in 0..self.blocks.len() {
            let block = &self.blocks[at];
            if block.is_final && self.has_broken(BrokenRule::ReturnIgnored) {
                continue;
            }
            let sighting = chain.sighting(block.hash, block.height);
            let state = block.state.after_sighting(sighting);
            let is_due = state == BlockState::Confirmed && !block.is_settled;
            if is_due && (!block.is_split || self.has_broken(BrokenRule::DividedAnew)) {
                self.divide(at);
            }
            let never_reverses = self.has_broken(BrokenRule::NeverReversed);
            let block = &mut self.blocks[at];
            block.state = state;
            block.is_final = state == BlockState::Orphaned && sighting == Sighting::Gone;
            block.is_settled |= is_due;
            block.is_settled &= !block.is_final || never_reverses;
        }
        self.look_for_payments(chain);
    }

    /// Divides a block's reward by the credit that the ledger has, as every block was divided before there were splits.
    fn divide(&mut self, at: usize) {
        let (height, reward) = (self.blocks[at].height, self.blocks[at].reward);
        let terms = *self.terms.at(height);
        let divided = reward_split::split(reward, terms.fee, &self.weights(height, terms.window));
        let block = &mut self.blocks[at];
        block.fee = divided.fee;
        block.remainder = divided.remainder;
        let outputs = std::mem::take(&mut block.lines);
        block.lines = divided
            .amounts
            .into_iter()
            .map(|(account, part)| {
                let line = outputs.get(&account).copied().unwrap_or_default();
                (account, Line { part, ..line })
            })
            .collect();
    }

    fn look_for_payments(&mut self, chain: &Chain) {
        let on_main = chain.state(chain.tip()).payments;
        let tip = chain.height();
        for (at, payment) in self.payments.iter_mut().enumerate() {
            let depth = on_main.get(&at).map(|height| tip.0 + 1 - height.0);
            payment.state = match (payment.state, depth) {
                (PaymentState::Open, _) => PaymentState::Open,
                (_, Some(depth)) if depth >= MATURITY => PaymentState::Confirmed,
                (PaymentState::Abandoned, Some(_)) => PaymentState::Sent,
                (state, Some(_)) => state,
                (_, None) if !payment.has_transaction || chain.is_dead(at) => {
                    PaymentState::Abandoned
                }
                (state, None) => state,
            };
        }
    }

    /// Begins a payment to the accounts that are due, unless one is on its way.
    pub(super) fn open_payment(&mut self, tip: Height) {
        if self.payments.iter().any(Payment::is_unfinished) {
            return;
        }
        let amount = |account: Account| match self.has_broken(BrokenRule::PaidThoughPromised) {
            true => u64::try_from(self.balance(account)).unwrap_or(0),
            false => self.spare(account),
        };
        let ignores_offers = self.has_broken(BrokenRule::PaidThoughOffered);
        let payable = self.addresses.iter().filter_map(|(account, address)| {
            let is_due = ignores_offers || !self.is_offered(*account, tip);
            Some((*account, ((*address)?, amount(*account))))
                .filter(|(_, (_, due))| is_due && *due > 0)
        });
        let mut payable: Vec<_> = payable.collect();
        payable.sort_by_key(|(_, (_, amount))| Reverse(*amount));
        payable.truncate(PAYMENT_OUTPUTS_MAX);
        if !payable.is_empty() {
            self.payments.push(Payment {
                amounts: payable.into_iter().collect(),
                state: PaymentState::Open,
                has_transaction: false,
            });
        }
    }

    /// Stores the open payment's transaction, which spends the smallest coins, and makes it public.
    pub(super) fn send_payment(&mut self, chain: &mut Chain) {
        let is_open = |payment: &Payment| payment.state == PaymentState::Open;
        let Some(at) = self.payments.iter().position(is_open) else {
            return;
        };
        let payment = &mut self.payments[at];
        let wanted = payment.total() + NETWORK_FEE;
        let mut coins: Vec<_> = chain.state(chain.tip()).coins.into_iter().collect();
        coins.sort_by_key(|(_, amount)| *amount);
        let (mut inputs, mut sum) = (Vec::new(), 0);
        for (coin, amount) in coins {
            if sum >= wanted {
                break;
            }
            inputs.push(coin);
            sum += amount;
        }
        assert!(sum >= wanted, "the operator's coins bear what is due");
        payment.state = PaymentState::Sent;
        payment.has_transaction = true;
        let transaction = Transaction {
            inputs,
            outputs: payment.amounts.values().copied().collect(),
            change: sum - wanted,
        };
        chain.publish(at, transaction);
    }

    /// Gives up an open payment: nobody has its transaction.
    pub(super) fn discard_payment(&mut self) {
        for payment in &mut self.payments {
            if payment.state == PaymentState::Open {
                payment.state = PaymentState::Abandoned;
            }
        }
    }
}
