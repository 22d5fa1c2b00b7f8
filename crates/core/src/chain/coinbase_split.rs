//! Splits: a coinbase that pays the accounts of a PPLNS window directly.
//!
//! A [`CoinbaseSplit`] is all that the amounts depend on but the reward and whether balances ride along; it is
//! computed beside the pool, from the ledger. [`CoinbaseSplit::freeze`] gives the amounts of a job. What a
//! coinbase says counts; [`FrozenSplit::record`] is what the ledger keeps of it.
//!
//! Words: an account's *part* is what it has earned of the block, its *output* what the coinbase pays it. Output
//! above part pays balance, part above output becomes balance. Invariants: parts + fee + remainder = reward, and
//! outputs + the operator's output = reward.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::accounting::reward_split::{FeePpm, SHARE_BITS, WorkShare};
use crate::accounting::terms::{PayoutTerms, Scheme};
use crate::chain::address::Address;
use crate::chain::transaction::Transaction;
use crate::units::{Hash, Height};

/// Heights for which a split is used while no newer one can be computed.
pub const SPLIT_AGE_MAX: u32 = 3;

/// An account with work in the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitAccount {
    /// Its name.
    pub name: Arc<str>,
    /// Its share of the window's work.
    pub share: WorkShare,
}

/// An account that the coinbase may pay. The part of any other becomes balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitPayee {
    /// Its place in [`CoinbaseSplit::accounts`].
    pub at: usize,
    /// Where it is paid.
    pub address: Address,
    /// Balance that may ride along, in base units.
    pub spare: u64,
    /// Debt that is withheld from its output, in base units.
    pub debt: u64,
}

/// All that the amounts of a job depend on but its reward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoinbaseSplit {
    /// Hash of the tip that it was computed on.
    pub tip: Hash,
    /// Height of the block above that tip.
    pub height: Height,
    /// The first height at which other terms are in force, if it is known.
    pub until: Option<Height>,
    /// The terms at `height`.
    pub terms: PayoutTerms,
    /// First height with work in the window.
    pub from_height: u32,
    /// Number of shares in the window.
    pub shares: u64,
    /// True if spare balances and debts are those on the tip: all blocks that the server found are in the ledger.
    pub knows_balances: bool,
    /// Smallest output, in base units.
    pub output_min: u64,
    /// Most outputs beside those of the node's coinbase.
    pub outputs_max: usize,
    /// Accounts with work in the window, by name.
    pub accounts: Vec<SplitAccount>,
    /// Those of them that the coinbase may pay, by name.
    pub payees: Vec<SplitPayee>,
}

/// The amounts of a block, in base units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitAmounts {
    /// The pool's fee.
    pub fee: u64,
    /// What nobody has earned.
    pub remainder: u64,
    /// What each account has earned.
    pub parts: Vec<u64>,
    /// What the coinbase pays each payee.
    pub outputs: Vec<u64>,
}

/// An output of a split coinbase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitOutput {
    /// The account that it pays.
    pub account: Arc<str>,
    /// Its address.
    pub address: Address,
    /// Its amount, in base units.
    pub value: u64,
}

/// A split frozen into a template: the outputs of its coinbase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenSplit {
    split: Arc<CoinbaseSplit>,
    reward: u64,
    rides: bool,
    /// The outputs after those of the node's coinbase, in the coinbase's order.
    pub outputs: Vec<SplitOutput>,
}

/// What the ledger and the spool keep of the split of a found block. Credits + fee + remainder = reward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitRecord {
    /// The scheme by which it is divided.
    pub scheme: Scheme,
    /// The pool's part of it.
    pub fee_part: FeePpm,
    /// First height with work in its window.
    pub from_height: u32,
    /// Number of shares in it.
    pub shares: u64,
    /// The divided reward, in base units.
    pub reward: u64,
    /// The pool's fee, in base units.
    pub fee: u64,
    /// What nobody had earned, in base units.
    pub remainder: u64,
    /// The accounts, by name.
    pub lines: Vec<SplitLine>,
}

/// An account's amounts of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitLine {
    /// The account.
    pub account: Arc<str>,
    /// What it has earned of the block, in base units.
    pub part: u64,
    /// Its output in the coinbase, if it has one: the address, and base units.
    pub output: Option<(Address, u64)>,
}

impl CoinbaseSplit {
    /// True if a job of this height and reward may be split by it: it is not too old, and the terms have not
    /// changed.
    #[must_use]
    pub fn serves(&self, height: Height, reward: u64) -> bool {
        let is_pplns = matches!(self.terms.scheme, Scheme::Pplns { .. });
        let ages = self.height.0..=self.height.0.saturating_add(SPLIT_AGE_MAX);
        let is_in_force = self.until.is_none_or(|until| height < until);
        is_pplns
            && is_in_force
            && ages.contains(&height.0)
            && !self.accounts.is_empty()
            && reward < SPLIT_REWARD_MAX
    }

    /// True if balances ride along or debts are withheld on its tip.
    #[must_use]
    pub fn has_balances(&self) -> bool {
        let mut payees = self.payees.iter();
        self.knows_balances && payees.any(|payee| payee.spare > 0 || payee.debt > 0)
    }

    /// Freezes it into a job with this parent and reward. Balances ride along only on the tip that they were
    /// read on.
    #[must_use]
    pub fn freeze(self: &Arc<Self>, parent: Hash, reward: u64) -> FrozenSplit {
        let rides = self.knows_balances && parent == self.tip;
        let paid = self.payees.iter().zip(self.amounts(reward, rides).outputs);
        let outputs = paid.filter(|(_, value)| *value > 0);
        let outputs = outputs.map(|(payee, value)| SplitOutput {
            account: self.accounts[payee.at].name.clone(),
            address: payee.address.clone(),
            value,
        });
        FrozenSplit {
            outputs: outputs.collect(),
            split: self.clone(),
            reward,
            rides,
        }
    }

    /// The amounts of a job with this reward. Each payee gets its part, less its debt, if that is an output;
    /// then balances ride along, the largest first, as far as the operator's output bears it; then the smallest
    /// outputs beyond the most are dropped.
    #[must_use]
    pub fn amounts(&self, reward: u64, rides: bool) -> SplitAmounts {
        let fee = self.terms.fee.of(reward);
        let (parts, remainder) = self.parts(reward - fee);
        let due = |payee: &SplitPayee| {
            let debt = if rides { payee.debt } else { 0 };
            let due = parts[payee.at].saturating_sub(debt);
            if due >= self.output_min { due } else { 0 }
        };
        let mut outputs: Vec<u64> = self.payees.iter().map(due).collect();
        if rides {
            self.add_balances(&parts, &mut outputs, reward);
        }
        self.cut_tail(&mut outputs);
        SplitAmounts {
            fee,
            remainder,
            parts,
            outputs,
        }
    }

    /// Divides what the fee leaves, as [`split`](crate::accounting::reward_split::split) does: each account gets
    /// its part rounded down, and the base units left over go one each to those that lost most, of equals to the
    /// first by name. Also gives what nobody has earned.
    fn parts(&self, rest: u64) -> (Vec<u64>, u64) {
        let mut parts = Vec::with_capacity(self.accounts.len());
        let mut losses = Vec::with_capacity(self.accounts.len());
        for (account, at) in self.accounts.iter().zip(0_usize..) {
            let (whole, lost) = account.share.of(rest);
            parts.push(whole);
            losses.push((Reverse(lost), at));
        }
        let left = rest - parts.iter().sum::<u64>();
        let more = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(losses.len());
        if more > 0 && more < losses.len() {
            losses.select_nth_unstable(more);
        }
        for (_, at) in &losses[..more] {
            parts[*at] += 1;
        }
        (parts, left - more as u64)
    }

    fn add_balances(&self, parts: &[u64], outputs: &mut [u64], reward: u64) {
        let mut bearable = reward - outputs.iter().sum::<u64>();
        let mut riders: Vec<(usize, &SplitPayee)> = self.payees.iter().enumerate().collect();
        riders.retain(|(_, payee)| payee.spare > 0 && parts[payee.at] > 0);
        riders.sort_by_key(|(_, payee)| Reverse(payee.spare));
        for (place, payee) in riders {
            let (part, output) = (parts[payee.at], &mut outputs[place]);
            let kept = part.saturating_sub(*output);
            let ride = payee.spare.min(bearable.saturating_sub(kept));
            if ride > 0 && part + ride >= self.output_min {
                bearable -= part + ride - *output;
                *output = part + ride;
            }
        }
    }

    /// Drops the smallest outputs beyond the most; their amounts stay with the operator.
    fn cut_tail(&self, outputs: &mut [u64]) {
        let mut paid: Vec<usize> = (0..outputs.len()).filter(|&at| outputs[at] > 0).collect();
        paid.sort_by_key(|&at| Reverse(outputs[at]));
        for at in paid.into_iter().skip(self.outputs_max) {
            outputs[at] = 0;
        }
    }
}

impl SplitRecord {
    /// True if it may be of a block with this coinbase: its outputs are the coinbase's last, together with the first,
    /// the operator's, they are the reward, and so are parts, fee and remainder.
    #[must_use]
    pub fn is_of(&self, coinbase: &[u8]) -> bool {
        let parts = self
            .lines
            .iter()
            .try_fold(0_u64, |sum, line| sum.checked_add(line.part));
        let parts =
            parts.and_then(|parts| parts.checked_add(self.fee)?.checked_add(self.remainder));
        let outputs = self.lines.iter().filter_map(|line| line.output.as_ref());
        let Some(coinbase) = Transaction::parse(coinbase) else {
            return false;
        };
        let paid: Vec<_> = outputs.map(|(address, value)| (address, *value)).collect();
        let all = coinbase.outputs.iter();
        let all: Vec<_> = all.map(|output| (&output.address, output.value)).collect();
        let Some((operator, others)) = all.split_first() else {
            return false;
        };
        let reward = paid
            .iter()
            .try_fold(operator.1, |sum, (_, value)| sum.checked_add(*value));
        others.ends_with(&paid) && reward == Some(self.reward) && parts == reward
    }
}

impl FrozenSplit {
    /// The reward that it divides, in base units.
    #[must_use]
    pub fn reward(&self) -> u64 {
        self.reward
    }

    /// The split that it was made of.
    #[must_use]
    pub fn split(&self) -> &Arc<CoinbaseSplit> {
        &self.split
    }

    /// What the ledger keeps of a block with it. Computes the amounts anew, which may take some milliseconds:
    /// not for the pool's thread.
    #[must_use]
    pub fn record(&self) -> SplitRecord {
        let split = &self.split;
        let amounts = split.amounts(self.reward, self.rides);
        let mut paid = split.payees.iter().zip(amounts.outputs).peekable();
        let parts = split.accounts.iter().zip(amounts.parts).enumerate();
        let lines = parts.filter_map(|(at, (account, part))| {
            let paid = paid.next_if(|(payee, _)| payee.at == at);
            let output = paid.map(|(payee, value)| (payee.address.clone(), value));
            let output = output.filter(|(_, value)| *value > 0);
            (part > 0).then(|| SplitLine {
                account: account.name.clone(),
                part,
                output,
            })
        });
        SplitRecord {
            lines: lines.collect(),
            scheme: split.terms.scheme,
            fee_part: split.terms.fee,
            from_height: split.from_height,
            shares: split.shares,
            reward: self.reward,
            fee: amounts.fee,
            remainder: amounts.remainder,
        }
    }
}

/// Largest reward that a split divides: the sum of all coins (hsd lib/protocol/consensus.js, MAX_MONEY) is below it.
pub const SPLIT_REWARD_MAX: u64 = 1 << (127 - SHARE_BITS);

#[cfg(test)]
#[path = "coinbase_split_tests.rs"]
mod tests;
