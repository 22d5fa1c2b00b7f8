//! Estimates of what accounts will be credited: their parts of the blocks that are not settled yet, and of a
//! block found now. Reads only.
//!
//! All accounts are computed in one pass, with the function that divides rewards for settlements. Invariant:
//! while no block changes its state and no late share arrives, the pending part of a block is what its
//! settlement credits, to the base unit. Divisions are kept between readings, and so is the work of a block found
//! now but for its newest heights, since a window may be millions of rows; both are compared with the ledger after a
//! while, for shares that came late.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use hstratum_core::accounting::reward_split::FeePpm;
use hstratum_core::accounting::terms::{PayoutTerms, Scheme};
use hstratum_core::units::{Difficulty, HASHES_PER_DIFFICULTY};

use super::account::LedgerAccounts;
use super::credit_sums::CreditSums;
use super::due::{self, Cuts, Due, divide_credit};
use super::promises;
use super::terms::TermsHistory;
use crate::limits::{ESTIMATE_AGAIN, ESTIMATE_HEIGHTS_READ, ESTIMATE_KEPT};
use crate::sql::Sql;

const DAY_S: f64 = 86_400.0;

/// A block as it would be found now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NextBlock {
    /// Its height.
    pub height: u32,
    /// In base units.
    pub reward: u64,
    /// The network's.
    pub difficulty: Difficulty,
}

/// Estimates of an account. Amounts in base units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountEstimate {
    /// Its part of the blocks that are on the main chain and not settled.
    pub pending: u64,
    /// Its part of a block found now; 0 if nothing is known of that block.
    pub if_found_now: u64,
}

/// A block on the main chain that is not settled.
#[derive(Debug, Clone)]
pub struct PendingBlock {
    /// 64 hex digits.
    pub hash: String,
    /// Its height.
    pub height: u32,
    /// Row id and part of each account, by row id. Empty if the block will never be divided, since credit
    /// that belongs to it is gone or cannot be told from other credit.
    parts: Arc<[(i64, u64)]>,
}

impl PendingBlock {
    /// Part of the account with that row id, in base units.
    #[must_use]
    pub fn part(&self, account_id: i64) -> u64 {
        let found = self.parts.binary_search_by_key(&account_id, |(id, _)| *id);
        found.map_or(0, |at| self.parts[at].1)
    }
}

/// Estimates of all accounts, from one state of the ledger.
#[derive(Debug, Clone, Default)]
pub struct Estimates {
    accounts: HashMap<String, AccountEstimate>,
    /// By height.
    pub blocks: Vec<PendingBlock>,
    /// Whether `if_found_now` is known.
    pub has_next: bool,
    /// Balances of all accounts and what is pending, in base units, less what coinbases pay of that themselves.
    /// What an account owes is subtracted.
    pub owed: i64,
}

impl Estimates {
    /// Estimates of the account with that name.
    #[must_use]
    pub fn of(&self, account: &str) -> AccountEstimate {
        self.accounts.get(account).copied().unwrap_or_default()
    }
}

/// Computes [`Estimates`], and keeps the divisions of blocks.
#[derive(Debug, Default)]
pub struct Estimator {
    /// By hash.
    known: HashMap<String, KnownDivision>,
    /// Parts of blocks whose coinbase pays accounts, by hash.
    frozen: HashMap<String, Arc<[(i64, u64)]>>,
    /// Credit that a block found now would be divided over.
    next_credit: CreditSums,
}

#[derive(Debug)]
struct KnownDivision {
    basis: Basis,
    read_at: Instant,
    parts: Arc<[(i64, u64)]>,
}

/// All that a division depends on, except credit.
#[derive(Debug, PartialEq)]
struct Basis {
    block: Due,
    cut: Option<u32>,
    scheme: Scheme,
    fee: FeePpm,
}

impl Estimator {
    /// Computes the estimates of all accounts. Must be called in a transaction that reads one state.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn estimate(
        &mut self,
        sql: &mut dyn Sql,
        terms: &TermsHistory,
        next: Option<NextBlock>,
    ) -> anyhow::Result<Estimates> {
        let begun = Instant::now();
        let accounts = LedgerAccounts::read(sql).context("failed to read the accounts")?;
        let mut blocks = self.pending(sql, &accounts, terms)?;
        blocks.extend(self.frozen(sql)?);
        blocks.sort_by_key(|block| block.height);
        let has_time = begun.elapsed() < ESTIMATE_AGAIN;
        let next = match next {
            None => None,
            Some(next) => self.parts_of_next(sql, &accounts, terms, next, has_time)?,
        };
        let mut by_id: BTreeMap<i64, AccountEstimate> = BTreeMap::new();
        let mut pending = 0;
        for (id, part) in blocks.iter().flat_map(|block| block.parts.iter()) {
            by_id.entry(*id).or_default().pending += part;
            pending += part;
        }
        for (id, part) in next.iter().flatten() {
            by_id.entry(*id).or_default().if_found_now = *part;
        }
        let named = by_id.into_iter().map(|(id, estimate)| {
            let account = accounts.get(accounts.rank(id)?);
            Ok((account.name.clone(), estimate))
        });
        Ok(Estimates {
            accounts: named.collect::<anyhow::Result<_>>()?,
            blocks,
            has_next: next.is_some(),
            owed: balances(sql)? + i64::try_from(pending)? - paid_by_coinbases(sql)?,
        })
    }

    /// The blocks that are not settled, with the parts of accounts.
    fn pending(
        &mut self,
        sql: &mut dyn Sql,
        accounts: &LedgerAccounts,
        terms: &TermsHistory,
    ) -> anyhow::Result<Vec<PendingBlock>> {
        let begun = Instant::now();
        let mut cuts = Cuts::read(sql)?;
        let blocks = due::on_main(sql)?;
        let hashes: HashSet<&str> = blocks.iter().map(|block| &*block.hash).collect();
        self.known.retain(|hash, _| hashes.contains(&**hash));
        let mut pending = Vec::with_capacity(blocks.len());
        for block in blocks {
            let terms = terms.at(block.height);
            let basis = Basis::of(block.clone(), &cuts, terms);
            let may_read_again = begun.elapsed() < ESTIMATE_AGAIN;
            let known = self.known.get(&block.hash).filter(|known| {
                let is_fresh = known.read_at.elapsed() < ESTIMATE_KEPT;
                known.basis == basis && (is_fresh || !may_read_again)
            });
            let (hash, height) = (block.hash.clone(), block.height);
            let parts = match known {
                Some(known) => known.parts.clone(),
                None => {
                    let mut credit = CreditSums::default();
                    let parts = parts_of(sql, accounts, &mut cuts, terms, block, &mut credit)?;
                    let parts: Arc<[_]> = parts.unwrap_or_default().into();
                    let known = KnownDivision {
                        basis,
                        read_at: Instant::now(),
                        parts: parts.clone(),
                    };
                    self.known.insert(hash.clone(), known);
                    parts
                }
            };
            pending.push(PendingBlock {
                hash,
                height,
                parts,
            });
        }
        Ok(pending)
    }

    /// The blocks whose coinbase pays accounts and whose reward cannot be spent yet, with the parts of accounts.
    fn frozen(&mut self, sql: &mut dyn Sql) -> anyhow::Result<Vec<PendingBlock>> {
        let mut known = std::mem::take(&mut self.frozen);
        let mut pending = Vec::new();
        for (hash, height) in promises::frozen_on_main(sql)? {
            let parts = match known.remove(&hash) {
                Some(parts) => parts,
                None => promises::frozen_parts(sql, &hash)?.into(),
            };
            self.frozen.insert(hash.clone(), parts.clone());
            pending.push(PendingBlock {
                hash,
                height,
                parts,
            });
        }
        Ok(pending)
    }

    fn parts_of_next(
        &mut self,
        sql: &mut dyn Sql,
        accounts: &LedgerAccounts,
        terms: &TermsHistory,
        next: NextBlock,
        has_time: bool,
    ) -> anyhow::Result<Option<Vec<(i64, u64)>>> {
        let credit = &mut self.next_credit;
        let keep_to = i64::from(next.height) - ESTIMATE_HEIGHTS_READ;
        credit.begin(keep_to, has_time);
        let mut cuts = Cuts::read(sql)?;
        let block = Due::not_found_yet(next.height, next.reward, next.difficulty);
        parts_of(
            sql,
            accounts,
            &mut cuts,
            terms.at(next.height),
            block,
            credit,
        )
    }
}

impl Basis {
    fn of(block: Due, cuts: &Cuts, terms: &PayoutTerms) -> Self {
        Self {
            cut: cuts.below(block.height),
            block,
            scheme: terms.scheme,
            fee: terms.fee,
        }
    }
}

/// Row id and part of each account, by row id; `None` if the block will never be divided.
fn parts_of(
    sql: &mut dyn Sql,
    accounts: &LedgerAccounts,
    cuts: &mut Cuts,
    terms: &PayoutTerms,
    block: Due,
    credit: &mut CreditSums,
) -> anyhow::Result<Option<Vec<(i64, u64)>>> {
    if cuts.is_inexact(sql, block.height)? {
        return Ok(None);
    }
    let division = divide_credit(sql, accounts, terms, block, credit)?;
    if !division.is_whole {
        return Ok(None);
    }
    let amounts = division.split.amounts.iter();
    let parts = amounts.map(|(rank, amount)| (accounts.get(*rank).id, *amount));
    let mut parts: Vec<(i64, u64)> = parts.collect();
    parts.sort_unstable();
    Ok(Some(parts))
}

/// Sum of the outputs of coinbases that pay accounts and cannot be spent yet.
fn paid_by_coinbases(sql: &mut dyn Sql) -> anyhow::Result<i64> {
    let row = sql
        .query_one(
            "SELECT CAST(coalesce(sum(o.amount), 0) AS BIGINT)
               FROM payments AS p JOIN blocks AS b ON b.hash = p.block
               JOIN payment_outputs AS o ON o.payment = p.id
              WHERE p.state = 'preparing' AND b.state IN ('accepted', 'confirmed')",
            &[],
        )
        .context("failed to read what coinbases pay")?;
    Ok(row.get(0)?)
}

/// Sum of all balances.
fn balances(sql: &mut dyn Sql) -> anyhow::Result<i64> {
    let row = sql
        .query_one(
            "SELECT (SELECT CAST(coalesce(sum(reward - fee - remainder), 0) AS BIGINT)
                       FROM settlements WHERE state = 'settled'),
                    (SELECT CAST(coalesce(sum(o.amount), 0) AS BIGINT)
                       FROM payments AS p JOIN payment_outputs AS o ON o.payment = p.id
                      WHERE p.state NOT IN ('preparing', 'abandoned'))",
            &[],
        )
        .context("failed to read the balances")?;
    let (credited, paid): (i64, i64) = (row.get(0)?, row.get(1)?);
    Ok(credited - paid)
}

/// Base units that a day of mining is expected to bring at this hashrate (hashes per second), less the pool's
/// fee.
#[must_use]
pub fn per_day(hashrate: f64, next: NextBlock, fee: FeePpm) -> u64 {
    let blocks = hashrate * DAY_S / (next.difficulty.get() * HASHES_PER_DIFFICULTY);
    // A conversion from a double saturates.
    (blocks * (next.reward - fee.of(next.reward)) as f64) as u64
}
