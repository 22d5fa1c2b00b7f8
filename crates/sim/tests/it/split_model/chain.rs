//! The chain of the model: blocks of the pool and of others, forks of any depth, and what each address has
//! received on the main chain. It knows neither ledger nor accounts, so that checks can compare them with it.
//!
//! Every block has the same work: the longest chain is the main chain, of equals the one that was first.
//! Transactions of payments are public once they are sent, and get into every block on whose branch their
//! coins can be spent.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hstratum_core::accounting::ledger::Sighting;
use hstratum_core::units::{Hash, Height};

/// Depth at which a coinbase can be spent in the next block, as on simnet.
pub(super) const MATURITY: u32 = 6;

/// The operator's own money, in base units, which bears what accounts owe until they have earned it.
pub(super) const CAPITAL: u64 = 1_000_000_000_000_000;

/// An address, which belongs to one account for ever; an account may have several, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Address(pub(super) u32);

/// The number of a server, whose operator's address tells its blocks from others.
pub(super) type ServerId = usize;

/// The split of a job, as the coinbase names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The number of the stored split.
    pub(super) split: usize,
    /// The part of it that was used.
    pub(super) balances: Balances,
}

/// The part that balances have in a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Balances {
    /// They are added to outputs, and debts are withheld.
    Ride,
    /// Each account gets its part of this block.
    Stay,
}

/// A coinbase of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coinbase {
    pub(super) server: ServerId,
    pub(super) reward: u64,
    pub(super) operator: u64,
    pub(super) outputs: BTreeMap<Address, u64>,
    /// Present if the job was made of a split.
    pub(super) mark: Option<Mark>,
}

#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) parent: Hash,
    pub(super) height: Height,
    /// `None` in blocks of others.
    pub(super) coinbase: Option<Coinbase>,
    /// Numbers of payments.
    pub(super) payments: Vec<usize>,
}

/// A coin of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Coin {
    Capital,
    /// The operator's output of a block.
    Block(Hash),
    /// The change of a payment.
    Change(usize),
}

/// The transaction of a payment.
#[derive(Debug, Clone)]
pub(super) struct Transaction {
    pub(super) inputs: Vec<Coin>,
    pub(super) outputs: BTreeMap<Address, u64>,
    pub(super) change: u64,
}

/// Coins and payments on a branch.
pub(super) struct BranchState {
    /// Coins that the next block may spend.
    pub(super) coins: BTreeMap<Coin, u64>,
    /// Heights of payments.
    pub(super) payments: BTreeMap<usize, Height>,
}

pub(super) struct Chain {
    blocks: HashMap<Hash, Block>,
    /// Hashes of the main chain, by height.
    main: Vec<Hash>,
    /// Tips of other branches, and some blocks below them.
    pub(super) side_tips: Vec<Hash>,
    transactions: BTreeMap<usize, Transaction>,
}

impl Chain {
    pub(super) fn new() -> Self {
        let genesis = Block {
            parent: Hash::ZERO,
            height: Height(0),
            coinbase: None,
            payments: Vec::new(),
        };
        Self {
            blocks: HashMap::from([(Hash::ZERO, genesis)]),
            main: vec![Hash::ZERO],
            side_tips: Vec::new(),
            transactions: BTreeMap::new(),
        }
    }

    pub(super) fn tip(&self) -> Hash {
        *self.main.last().expect("the first block")
    }

    pub(super) fn height(&self) -> Height {
        self.block(self.tip()).height
    }

    pub(super) fn block(&self, hash: Hash) -> &Block {
        &self.blocks[&hash]
    }

    pub(super) fn has(&self, hash: Hash) -> bool {
        self.blocks.contains_key(&hash)
    }

    /// The block of the main chain at a height.
    pub(super) fn at(&self, height: Height) -> Option<Hash> {
        self.main.get(height.0 as usize).copied()
    }

    pub(super) fn is_main(&self, hash: Hash) -> bool {
        self.blocks
            .get(&hash)
            .is_some_and(|block| self.at(block.height) == Some(hash))
    }

    /// The answer of a node that knows the main chain.
    pub(super) fn sighting(&self, hash: Hash, height: Height) -> Sighting {
        Sighting::of(
            (&hash, height),
            self.at(height).as_ref(),
            self.height(),
            MATURITY,
        )
    }

    /// Hashes of a branch, from its tip down.
    pub(super) fn branch(&self, tip: Hash) -> impl Iterator<Item = Hash> + '_ {
        std::iter::successors(Some(tip), |hash| {
            (*hash != Hash::ZERO).then(|| self.block(*hash).parent)
        })
    }

    /// Blocks of the pool on the main chain, lowest first.
    pub(super) fn coinbases(&self) -> impl Iterator<Item = (Hash, Height, &Coinbase)> {
        self.main.iter().filter_map(|hash| {
            let block = self.block(*hash);
            Some((*hash, block.height, block.coinbase.as_ref()?))
        })
    }

    /// Makes a transaction public.
    pub(super) fn publish(&mut self, payment: usize, transaction: Transaction) {
        self.transactions.insert(payment, transaction);
    }

    /// Adds a block on any known one, with all payments that can be in it; a block that is known changes nothing.
    pub(super) fn add(&mut self, hash: Hash, parent: Hash, coinbase: Option<Coinbase>) {
        if self.has(hash) {
            return;
        }
        let height = Height(self.block(parent).height.0 + 1);
        let payments = self.minable(parent);
        self.blocks.insert(
            hash,
            Block {
                parent,
                height,
                coinbase,
                payments,
            },
        );
        if height > self.height() {
            self.adopt(hash);
        } else {
            self.side_tips.push(hash);
        }
    }

    fn adopt(&mut self, tip: Hash) {
        let before = self.tip();
        if self.block(tip).parent != before {
            self.side_tips.push(before);
        }
        let new: Vec<Hash> = self
            .branch(tip)
            .take_while(|hash| !self.is_main(*hash))
            .collect();
        let lowest = new.last().expect("the tip is new");
        self.main.truncate(self.block(*lowest).height.0 as usize);
        self.main.extend(new.into_iter().rev());
    }

    /// Number of main blocks that leave the main chain when a branch takes its place.
    pub(super) fn reorg_depth(&self, tip: Hash) -> u32 {
        let mut branch = self.branch(tip);
        let fork = branch
            .find(|hash| self.is_main(*hash))
            .expect("the first block is common");
        self.height().0 - self.block(fork).height.0
    }

    /// Coins and payments on the branch up to a block.
    pub(super) fn state(&self, tip: Hash) -> BranchState {
        let next = self.block(tip).height.0 + 1;
        let mut coins = BTreeMap::from([(Coin::Capital, CAPITAL)]);
        let mut payments = BTreeMap::new();
        let mut spent = BTreeSet::new();
        for hash in self.branch(tip) {
            let block = self.block(hash);
            let is_mature = next - block.height.0 >= MATURITY;
            if let Some(coinbase) = block.coinbase.as_ref().filter(|_| is_mature) {
                coins.insert(Coin::Block(hash), coinbase.operator);
            }
            for payment in &block.payments {
                let transaction = &self.transactions[payment];
                payments.insert(*payment, block.height);
                coins.insert(Coin::Change(*payment), transaction.change);
                spent.extend(transaction.inputs.iter().copied());
            }
        }
        coins.retain(|coin, _| !spent.contains(coin));
        BranchState { coins, payments }
    }

    /// Public payments that a block after `tip` can have.
    fn minable(&self, tip: Hash) -> Vec<usize> {
        if self.transactions.is_empty() {
            return Vec::new();
        }
        let mut state = self.state(tip);
        let mut minable = Vec::new();
        for (payment, transaction) in &self.transactions {
            let has = |coin: &Coin| state.coins.contains_key(coin);
            if !state.payments.contains_key(payment) && transaction.inputs.iter().all(has) {
                for coin in &transaction.inputs {
                    state.coins.remove(coin);
                }
                state
                    .coins
                    .insert(Coin::Change(*payment), transaction.change);
                minable.push(*payment);
            }
        }
        minable
    }

    /// True if the payment can never be mined: it spends the output of a block that is lost for good.
    pub(super) fn is_dead(&self, payment: usize) -> bool {
        self.transactions[&payment]
            .inputs
            .iter()
            .any(|coin| match coin {
                Coin::Capital => false,
                Coin::Block(hash) => {
                    self.sighting(*hash, self.block(*hash).height) == Sighting::Gone
                }
                Coin::Change(earlier) => self.is_dead(*earlier),
            })
    }

    /// Sums what each address has received on the main chain, in blocks and by payments.
    pub(super) fn received(&self) -> BTreeMap<Address, u64> {
        let mut received = BTreeMap::new();
        for hash in &self.main {
            let block = self.block(*hash);
            let coinbase = block.coinbase.iter().map(|coinbase| &coinbase.outputs);
            let payments = block
                .payments
                .iter()
                .map(|at| &self.transactions[at].outputs);
            for (address, amount) in coinbase.chain(payments).flatten() {
                *received.entry(*address).or_default() += amount;
            }
        }
        received
    }
}
