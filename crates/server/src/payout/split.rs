//! Computes the split of the block that is being mined: what its coinbase pays to whom.
//!
//! Reads credit as a settlement of that block would, and the balances that may ride along: those that no undecided
//! block promises. A balance is in a split only once the offer of it is in the ledger, so that `payout send`
//! leaves it alone. Work is divided by `hstratum_core::chain::coinbase_split`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::Context;
use hstratum_core::accounting::reward_split::{Weight, WorkShare};
use hstratum_core::accounting::terms::Scheme;
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::coinbase_split::{CoinbaseSplit, SplitAccount, SplitPayee};
use hstratum_core::units::{Hash, Height};

use super::account::{self, LedgerAccount, LedgerAccounts};
use super::credit_sums::CreditSums;
use super::due::{self, Due};
use super::lock::{LockHeld, PayoutLock};
use super::promises;
use super::terms::TermsHistory;
use crate::limits::ESTIMATE_HEIGHTS_READ;
use crate::messages::MinedBlock;
use crate::sql::location::LedgerLocation;
use crate::sql::{Db, Sql, SqlError};
use crate::values;

/// The ledger, whose it is, and the limits of outputs.
pub struct SplitTerms {
    /// The ledger of the whole pool.
    pub location: LedgerLocation,
    /// Its network.
    pub network: Network,
    /// Name of this server.
    pub server: String,
    /// Smallest output, in base units.
    pub output_min: u64,
    /// Most outputs.
    pub outputs_max: usize,
}

/// Computes splits, and keeps what it has read for the next.
#[derive(Default)]
pub struct Splitter {
    credit: CreditSums,
    names: HashMap<i64, Arc<str>>,
    balances: Option<KnownBalances>,
}

/// Balances by account, as long as [`MoneyState`] stays the same.
struct KnownBalances {
    state: MoneyState,
    balances: HashMap<i64, i64>,
}

/// Changes whenever a balance does: number and sum of the row ids of the settlements in force, and of the payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MoneyState([i64; 4]);

/// What accounts have beside their work, in base units by row id.
#[derive(Default)]
struct Means {
    /// Balances that may ride along.
    spare: HashMap<i64, u64>,
    debts: HashMap<i64, u64>,
}

/// What one state of the ledger says.
struct Reading {
    split: CoinbaseSplit,
    /// Row id of each payee.
    ids: Vec<i64>,
    state: MoneyState,
    /// What nobody but coinbases pays of balances, by row id.
    offered: HashMap<i64, u64>,
}

impl Splitter {
    /// Computes the split of a block; `None` if the block is to be divided when its reward can be spent: by its
    /// terms, because nobody has work, or because credit of its window is gone.
    ///
    /// # Errors
    /// When the ledger cannot be read or written.
    pub fn compute(
        &mut self,
        db: &mut Db,
        terms: &SplitTerms,
        block: &MinedBlock,
    ) -> anyhow::Result<Option<CoinbaseSplit>> {
        let Some(mut reading) = db.read(|sql| self.read(sql, terms, block))? else {
            return Ok(None);
        };
        reading.keep_what_stays(block.reward);
        if !reading.riders().is_empty() {
            offer(db, terms, block, &mut reading).context("failed to offer balances")?;
        }
        Ok(Some(reading.split))
    }

    fn read(
        &mut self,
        sql: &mut dyn Sql,
        terms: &SplitTerms,
        block: &MinedBlock,
    ) -> anyhow::Result<Option<Reading>> {
        let height = block.height.0;
        let Some(history) = TermsHistory::read(sql)? else {
            return Ok(None);
        };
        let in_force = *history.at(height);
        if !matches!(in_force.scheme, Scheme::Pplns { .. }) {
            return Ok(None);
        }
        let accounts = LedgerAccounts::read(sql).context("failed to read the accounts")?;
        self.credit
            .begin(i64::from(height) - ESTIMATE_HEIGHTS_READ, true);
        let mined = Due::not_found_yet(height, 0, block.difficulty);
        let work = due::mined_work(sql, &accounts, &in_force, &mined, &mut self.credit)?;
        let Some(work) = work else {
            return Ok(None);
        };
        let knows_balances = has_block(sql, block.last_found)?;
        let total: Weight = work.weights.values().sum();
        let split_accounts = work.weights.iter().map(|(rank, weight)| SplitAccount {
            name: self.name_of(accounts.get(*rank)),
            share: WorkShare::new(weight, &total),
        });
        let mut split = CoinbaseSplit {
            tip: block.tip,
            height: block.height,
            until: history.next_change(height).map(Height),
            terms: in_force,
            from_height: work.from_height,
            shares: work.shares,
            knows_balances,
            output_min: terms.output_min,
            outputs_max: terms.outputs_max,
            accounts: split_accounts.collect(),
            payees: Vec::new(),
        };
        let state = MoneyState::read(sql)?;
        let mined: Vec<&LedgerAccount> = work
            .weights
            .keys()
            .map(|rank| accounts.get(*rank))
            .collect();
        let means = match knows_balances {
            true => self.means(sql, &mined, state)?,
            false => Means::default(),
        };
        let places = payable(&split, terms, &mined, &means.spare);
        let ids = places.keys().map(|at| mined[*at].id).collect();
        let of = |amounts: &HashMap<i64, u64>, at: usize| {
            amounts.get(&mined[at].id).copied().unwrap_or(0)
        };
        let payees = places.into_iter().map(|(at, address)| SplitPayee {
            at,
            address,
            spare: of(&means.spare, at),
            debt: of(&means.debts, at),
        });
        split.payees = payees.collect();
        Ok(Some(Reading {
            split,
            ids,
            state,
            offered: promises::offered(sql, terms.network)?,
        }))
    }

    /// What accounts have beside their work.
    fn means(
        &mut self,
        sql: &mut dyn Sql,
        mined: &[&LedgerAccount],
        state: MoneyState,
    ) -> anyhow::Result<Means> {
        let promised = promises::promised(sql)?;
        let balances = self.balances(sql, state)?;
        let mut means = Means::default();
        for account in mined {
            let id = account.id;
            let balance = balances.get(&id).copied().unwrap_or(0);
            let promised = promised.get(&id).copied().unwrap_or(0);
            match u64::try_from(balance) {
                Ok(balance) => means.spare.insert(id, balance.saturating_sub(promised)),
                Err(_) => {
                    let withheld = promises::withheld(sql, id)?;
                    let debt = balance.unsigned_abs().saturating_sub(withheld);
                    means.debts.insert(id, debt)
                }
            };
        }
        Ok(means)
    }

    /// The account's name, shared by all splits.
    fn name_of(&mut self, account: &LedgerAccount) -> Arc<str> {
        let name = self.names.entry(account.id);
        name.or_insert_with(|| account.name.as_str().into()).clone()
    }

    /// Balances by row id, where they are not 0.
    fn balances(
        &mut self,
        sql: &mut dyn Sql,
        state: MoneyState,
    ) -> Result<&HashMap<i64, i64>, SqlError> {
        let known = self.balances.take().filter(|known| known.state == state);
        let known = match known {
            Some(known) => known,
            None => KnownBalances {
                state,
                balances: account::balances(sql)?,
            },
        };
        Ok(&self.balances.insert(known).balances)
    }
}

impl MoneyState {
    fn read(sql: &mut dyn Sql) -> Result<Self, SqlError> {
        let row = sql.query_one(
            "SELECT s.count, s.sum, p.count, p.sum FROM
               (SELECT count(*) AS count, CAST(coalesce(sum(id), 0) AS BIGINT) AS sum
                  FROM settlements WHERE state = 'settled') AS s,
               (SELECT count(*) AS count, CAST(coalesce(sum(id), 0) AS BIGINT) AS sum
                  FROM payments WHERE state NOT IN ('preparing', 'abandoned')) AS p",
            &[],
        )?;
        Ok(Self([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))
    }
}

impl Reading {
    /// Leaves in the split what a block with this reward pays of balances: what it does not bear may be paid
    /// otherwise.
    fn keep_what_stays(&mut self, reward: u64) {
        let amounts = self.split.amounts(reward, true);
        for (payee, output) in self.split.payees.iter_mut().zip(amounts.outputs) {
            payee.spare = output.saturating_sub(amounts.parts[payee.at]);
        }
    }

    /// Row ids of the accounts whose balance rides along, and how much of it.
    fn riders(&self) -> Vec<(i64, u64)> {
        let payees = self.split.payees.iter().zip(&self.ids);
        let riders = payees.filter(|(payee, _)| payee.spare > 0);
        riders.map(|(payee, id)| (*id, payee.spare)).collect()
    }

    fn is_offered(&self, (id, amount): (i64, u64)) -> bool {
        self.offered
            .get(&id)
            .is_some_and(|offered| *offered >= amount)
    }

    /// Leaves the balances of which less was offered where they are.
    fn keep_offered(&mut self) {
        for at in 0..self.ids.len() {
            if !self.is_offered((self.ids[at], self.split.payees[at].spare)) {
                self.split.payees[at].spare = 0;
            }
        }
    }
}

/// Offers the balances that may ride along. Those that had no offer may be in a payment meanwhile: they ride only if
/// no payment is being made and nothing has changed.
fn offer(
    db: &mut Db,
    terms: &SplitTerms,
    block: &MinedBlock,
    reading: &mut Reading,
) -> anyhow::Result<()> {
    let mut riders = reading.riders().into_iter();
    let has_news = riders.any(|rider| !reading.is_offered(rider));
    let lock = match has_news.then(|| PayoutLock::take(&terms.location)) {
        None => None,
        Some(Ok(lock)) => Some(lock),
        Some(Err(error)) if error.is::<LockHeld>() => {
            reading.keep_offered();
            None
        }
        Some(Err(error)) => return Err(error),
    };
    let is_offered = db.write(|sql: &mut dyn Sql| {
        if lock.is_some() && MoneyState::read(sql)? != reading.state {
            return Ok(false);
        }
        let (server, height) = (&terms.server, block.height.0);
        promises::offer(sql, terms.network, server, height, &reading.riders())?;
        Ok::<_, SqlError>(true)
    })?;
    if !is_offered {
        reading.split.knows_balances = false;
    }
    Ok(())
}

/// True if the ledger has a block, if there is one.
fn has_block(sql: &mut dyn Sql, hash: Option<Hash>) -> Result<bool, SqlError> {
    let Some(hash) = hash else {
        return Ok(true);
    };
    let known = "SELECT 1 FROM blocks WHERE hash = ?1";
    Ok(sql.query_opt(known, &values![hash.to_string()])?.is_some())
}

/// The accounts that may have an output, by their places: those with the most work, and those with the largest
/// balances, as many of each as there may be outputs.
fn payable(
    split: &CoinbaseSplit,
    terms: &SplitTerms,
    mined: &[&LedgerAccount],
    spare: &HashMap<i64, u64>,
) -> BTreeMap<usize, Address> {
    let mut found = BTreeMap::new();
    let mut take = |order: Vec<usize>| {
        let mut left = terms.outputs_max;
        for at in order {
            if left == 0 {
                break;
            }
            let text = mined[at].payout_address();
            if let Some(address) = Address::parse_payable(text, terms.network) {
                found.insert(at, address);
                left -= 1;
            }
        }
    };
    let mut by_work: Vec<usize> = (0..mined.len()).collect();
    by_work.sort_by_key(|&at| Reverse(split.accounts[at].share));
    take(by_work);
    let spare_of = |at: usize| spare.get(&mined[at].id).copied().unwrap_or(0);
    let mut by_balance: Vec<usize> = (0..mined.len()).filter(|&at| spare_of(at) > 0).collect();
    by_balance.sort_by_key(|&at| Reverse(spare_of(at)));
    take(by_balance);
    found
}
