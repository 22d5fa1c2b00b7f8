//! A server of the model: splits, jobs made of them, found blocks on their way, and crashes between.
//!
//! A split is computed from the ledger and stored in the server's own file before a job is made of it. A job has
//! the split's amounts for its own reward, by the same function whoever computes them: so a block that the server
//! has forgotten can be told from the coinbase alone. Orders of events are not decided here, but in `world`.

use std::collections::BTreeMap;

use hstratum_core::accounting::reward_split::{Weight, WorkShare};
use hstratum_core::accounting::terms::{PayoutTerms, Scheme};
use hstratum_core::chain::coinbase_split::{CoinbaseSplit, SplitAccount, SplitPayee};
use hstratum_core::units::{Hash, Height};

use super::chain::{Address, Balances, Chain, Coinbase, Mark, ServerId};
use super::ledger::{Ledger, PayoutKind, Terms, TermsRows};
use super::{Account, BrokenRule};

/// The smallest output, in base units.
pub(super) const OUTPUT_MIN: u64 = 1_000_000;

/// Most outputs of a job; few, so that the tail is cut often.
pub(super) const OUTPUTS_MAX: usize = 7;

/// Heights for which a split is used while no newer one can be computed.
const AGE_MAX: u32 = 3;

/// Means of an account beside its part of the block, as the ledger knew them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Means {
    pub(super) address: Option<Address>,
    /// Balance that may ride along.
    pub(super) spare: u64,
    /// Debt that is to be withheld.
    pub(super) debt: u64,
}

/// A split: all that amounts depend on but the reward.
#[derive(Debug, Clone)]
pub(super) struct Split {
    /// The height that was being mined.
    pub(super) height: Height,
    pub(super) weights: BTreeMap<Account, Weight>,
    pub(super) means: BTreeMap<Account, Means>,
    /// The terms that the ledger had.
    pub(super) terms: TermsRows,
    /// Number of blocks that the ledger had.
    pub(super) blocks_known: usize,
}

/// An account's line in a job: its part of this block and its output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) part: u64,
    pub(super) output: u64,
    pub(super) address: Option<Address>,
}

impl Line {
    /// Balance that the output pays.
    pub(super) fn promised(&self) -> u64 {
        self.output.saturating_sub(self.part)
    }

    /// Part that stays with the operator.
    pub(super) fn kept(&self) -> u64 {
        self.part.saturating_sub(self.output)
    }
}

/// Amounts frozen into a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frozen {
    pub(super) reward: u64,
    pub(super) fee: u64,
    pub(super) remainder: u64,
    pub(super) lines: BTreeMap<Account, Line>,
}

impl Frozen {
    pub(super) fn operator(&self) -> u64 {
        self.reward - self.lines.values().map(|line| line.output).sum::<u64>()
    }

    pub(super) fn outputs(&self) -> BTreeMap<Address, u64> {
        let paid = self.lines.values().filter(|line| line.output > 0);
        paid.map(|line| (line.address.expect("only payable accounts"), line.output))
            .collect()
    }
}

/// Computes the amounts of a job, with at most `room` outputs, as the pool does.
pub(super) fn freeze(
    split: &Split,
    terms: &Terms,
    reward: u64,
    balances: Balances,
    room: usize,
) -> Frozen {
    let total: Weight = split.weights.values().sum();
    let numbered = split.weights.keys().enumerate();
    let payees = numbered.filter_map(|(at, account)| {
        let Means {
            address,
            spare,
            debt,
        } = split.means[account];
        Some(SplitPayee {
            at,
            address: chain_address(address?),
            spare,
            debt,
        })
    });
    let accounts = split.weights.iter().map(|(account, weight)| SplitAccount {
        name: format!("{account:03}").into(),
        share: WorkShare::new(weight, &total),
    });
    let amounts = CoinbaseSplit {
        tip: Hash::ZERO,
        height: split.height,
        until: None,
        terms: PayoutTerms {
            scheme: Scheme::Pplns {
                window: terms.window,
            },
            fee: terms.fee,
            threshold: 0,
            threshold_min: 0,
        },
        from_height: 0,
        shares: 0,
        knows_balances: true,
        output_min: OUTPUT_MIN,
        outputs_max: room.min(OUTPUTS_MAX),
        accounts: accounts.collect(),
        payees: payees.collect(),
    }
    .amounts(reward, balances == Balances::Ride);
    let mut outputs = amounts.outputs.into_iter();
    let lines = split.weights.keys().zip(amounts.parts);
    let lines = lines.map(|(account, part)| {
        let address = split.means[account].address;
        let output = address.and_then(|_| outputs.next()).unwrap_or(0);
        let line = Line {
            part,
            output,
            address,
        };
        (*account, line)
    });
    Frozen {
        reward,
        fee: amounts.fee,
        remainder: amounts.remainder,
        lines: lines.filter(|(_, line)| line.part > 0).collect(),
    }
}

/// An address of the chain for one of the model's.
fn chain_address(address: Address) -> hstratum_core::chain::address::Address {
    let mut hash = vec![1; 20];
    hash[..4].copy_from_slice(&address.0.to_le_bytes());
    hstratum_core::chain::address::Address::new(0, hash).expect("20 bytes are a hash of version 0")
}

/// A job; without a split its coinbase pays the operator alone, and its block is divided when it is mature.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) parent: Hash,
    pub(super) height: Height,
    pub(super) coinbase: Coinbase,
    pub(super) frozen: Option<Frozen>,
}

/// A found block on its way.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) hash: Hash,
    pub(super) job: Job,
    pub(super) is_announced: bool,
    pub(super) is_spooled: bool,
}

pub(super) struct Server {
    pub(super) id: ServerId,
    /// False while the ledger does not answer.
    pub(super) has_ledger: bool,
    /// The tip of its node, as far as it has heard.
    pub(super) tip: Hash,
    pub(super) job: Option<Job>,
    /// Found blocks that the ledger has not confirmed to have.
    pub(super) found: Vec<Found>,
    /// Splits, in the server's own file.
    pub(super) splits: Vec<Split>,
    pub(super) broken: Option<BrokenRule>,
}

impl Server {
    pub(super) fn new(id: ServerId, broken: Option<BrokenRule>) -> Self {
        Self {
            id,
            has_ledger: true,
            tip: Hash::ZERO,
            job: None,
            found: Vec::new(),
            splits: Vec::new(),
            broken,
        }
    }

    /// Makes the first job on a new tip, of the newest split at hand and without balances.
    pub(super) fn hear(&mut self, chain: &Chain, reward: u64) {
        self.tip = chain.tip();
        let is_broken = self.broken == Some(BrokenRule::FirstJobWithBalances);
        let balances = if is_broken {
            Balances::Ride
        } else {
            Balances::Stay
        };
        self.make_job(chain, reward, balances, OUTPUTS_MAX);
    }

    /// Computes and stores a split, and makes a job of it. Beforehand all blocks of this server must be in the ledger:
    /// those that it knows and those that it has forgotten. Returns false if they are not.
    pub(super) fn refresh(
        &mut self,
        chain: &Chain,
        ledger: &mut Ledger,
        reward: u64,
        room: usize,
    ) -> bool {
        if !self.has_ledger {
            return false;
        }
        self.adopt_forgotten(chain, ledger);
        let are_recorded = self.found.iter().all(|found| ledger.has_block(found.hash));
        if !are_recorded && self.broken != Some(BrokenRule::SplitBeforeRecord) {
            return false;
        }
        let height = Height(chain.block(self.tip).height.0 + 1);
        let split = ledger.store_split(self.id, height);
        self.splits.push(split);
        self.make_job(chain, reward, Balances::Ride, room);
        true
    }

    fn make_job(&mut self, chain: &Chain, reward: u64, balances: Balances, room: usize) {
        let height = Height(chain.block(self.tip).height.0 + 1);
        let usable = self.splits.last().filter(|split| {
            let ages = split.height.0..=split.height.0 + AGE_MAX;
            let terms = split.terms.at(height);
            ages.contains(&height.0)
                && terms.kind == PayoutKind::Split
                && terms.window == split.terms.at(split.height).window
        });
        let mark = usable.map(|_| Mark {
            split: self.splits.len() - 1,
            balances,
        });
        let frozen = mark.map(|mark| self.amounts(mark, height, reward, room));
        let coinbase = Coinbase {
            server: self.id,
            reward,
            operator: frozen.as_ref().map_or(reward, Frozen::operator),
            outputs: frozen.as_ref().map(Frozen::outputs).unwrap_or_default(),
            mark,
        };
        self.job = Some(Job {
            parent: self.tip,
            height,
            coinbase,
            frozen,
        });
    }

    fn amounts(&self, mark: Mark, height: Height, reward: u64, room: usize) -> Frozen {
        let split = &self.splits[mark.split];
        freeze(split, split.terms.at(height), reward, mark.balances, room)
    }

    /// Records blocks on the node's chain that pay this server's operator and that nobody has: found by a process that
    /// died before the spool's write. The coinbase names the split, and its number of outputs the room.
    fn adopt_forgotten(&self, chain: &Chain, ledger: &mut Ledger) {
        if self.broken == Some(BrokenRule::ForgottenBlocks) {
            return;
        }
        for hash in chain.branch(self.tip) {
            let height = chain.block(hash).height;
            let own = chain.block(hash).coinbase.as_ref();
            let is_known =
                || ledger.has_block(hash) || self.found.iter().any(|found| found.hash == hash);
            let Some(coinbase) = own.filter(|coinbase| coinbase.server == self.id && !is_known())
            else {
                continue;
            };
            let room = coinbase.outputs.len();
            let frozen = coinbase
                .mark
                .map(|mark| self.amounts(mark, height, coinbase.reward, room));
            let outputs = frozen.as_ref().map(Frozen::outputs).unwrap_or_default();
            assert_eq!(
                outputs, coinbase.outputs,
                "a forgotten block is computed as its job was"
            );
            ledger.record(hash, height, coinbase.reward, frozen);
        }
    }

    /// Loses everything but the disk; blocks in the spool are offered to the node again.
    pub(super) fn crash(&mut self) {
        self.job = None;
        self.found.retain(|found| found.is_spooled);
        for found in &mut self.found {
            found.is_announced = false;
        }
    }
}
