//! Computes what settling and paying would do now, without doing it.

use std::collections::BTreeMap;

use hstratum_core::accounting::ledger::Tip;
use hstratum_core::chain::address::Network;

use super::TermsHistory;
use super::account::{LedgerAccounts, Rank};
use super::awaited_servers::{AwaitedServer, AwaitedServers};
use super::due::{self, Division, Due, Unsettled, divide};
use super::payee::{Wait, judge};
use super::promises;
use super::settle::{Settled, check_network, reversible};
use crate::sql::{Db, Sql};
use crate::store::best_tip;
use crate::values;

/// Effects of settling and paying now. All amounts in base units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutPlan {
    /// Blocks that would be settled, by height.
    pub blocks: Vec<BlockPlan>,
    /// The highest tip that the ledger was shown; states of blocks are as of that tip.
    pub tip: Option<Tip>,
    /// Settlements that would be reversed because their block is lost.
    pub reversals: Vec<Settled>,
    /// Blocks that wait, by height.
    pub held: Vec<HeldBlock>,
    /// The servers that share the ledger, by name; none if it is a file.
    pub servers: Vec<AwaitedServer>,
    /// Every account that is credited or has a balance before or after, by name.
    pub accounts: Vec<AccountPlan>,
}

/// A block that would be settled. Credited + fee + remainder = reward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPlan {
    /// 64 hex digits.
    pub hash: String,
    /// Its height.
    pub height: u32,
    /// The first height with work in it.
    pub from_height: u32,
    /// Number of shares in it.
    pub shares: u64,
    /// Its reward.
    pub reward: u64,
    /// The pool's fee.
    pub fee: u64,
    /// Part of the reward that nobody has earned.
    pub remainder: u64,
    /// Sum of the credits.
    pub credited: u64,
    /// Credit by account name.
    pub credits: BTreeMap<String, u64>,
}

/// A block that is not settled yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBlock {
    /// 64 hex digits.
    pub hash: String,
    /// Its height.
    pub height: u32,
    /// Its reward.
    pub reward: u64,
    /// Reason why it waits.
    pub reason: HeldReason,
}

/// Reason why a block is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldReason {
    /// The node has given no verdict on it.
    Unanswered,
    /// Its reward cannot be spent yet.
    Immature,
    /// A block at this lower height is not final.
    Behind(u32),
    /// A server has not shipped all of its round.
    Unshipped,
    /// It is off the main chain, and may come back.
    Lost,
    /// Credit that belongs to it is gone: it can never be divided exactly.
    Incomplete,
    /// It, or the block below it, became known after credit had been merged across its height, so its work
    /// can no longer be told from that of others.
    Inexact,
}

impl HeldReason {
    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unanswered => "unanswered",
            Self::Immature => "immature",
            Self::Behind(_) => "behind",
            Self::Unshipped => "unshipped",
            Self::Lost => "lost",
            Self::Incomplete => "incomplete",
            Self::Inexact => "inexact",
        }
    }

    /// The reason in words.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Unanswered => "the node has not answered".into(),
            Self::Immature => "its reward cannot be spent yet".into(),
            Self::Behind(height) => format!("the block at {height} comes first"),
            Self::Unshipped => "a server has not shipped all work up to it".into(),
            Self::Lost => "off the main chain, not yet for good".into(),
            Self::Incomplete => "credit of it is deleted: it is never divided".into(),
            Self::Inexact => {
                "it or the block below came too late to tell its work: settle it by hand".into()
            }
        }
    }
}

/// An account after the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountPlan {
    /// Its row in `accounts`.
    pub account_id: i64,
    /// Its name: untrusted text.
    pub name: String,
    /// Its balance now.
    pub carried: i64,
    /// Credits of the plan's blocks, less those taken back by its reversals.
    pub credited: i64,
    /// Its balance after the plan: the sum of the two.
    pub balance: i64,
    /// Decision on that balance.
    pub outcome: BalanceOutcome,
}

/// Decision on a balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BalanceOutcome {
    /// It is due at this address.
    Pays {
        /// An address of the ledger's network.
        address: String,
        /// The balance, less what coinbases pay of it.
        amount: u64,
    },
    /// Nothing is paid.
    Waits(Wait),
}

/// The sums of a plan, in base units.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "each is the sum of what has its name")]
pub struct PlanTotals {
    pub reward: i128,
    pub fee: i128,
    pub remainder: i128,
    pub credited: i128,
    pub carried: i128,
    /// Credits of accounts, less what is taken back.
    pub changes: i128,
    pub balance: i128,
    /// What is due now.
    pub pays: i128,
    /// Accounts that are due.
    pub payees: usize,
}

impl PlanTotals {
    /// Adds everything up.
    #[must_use]
    pub fn of(plan: &PayoutPlan) -> Self {
        let mut totals = Self::default();
        for block in &plan.blocks {
            totals.reward += i128::from(block.reward);
            totals.fee += i128::from(block.fee);
            totals.remainder += i128::from(block.remainder);
            totals.credited += i128::from(block.credited);
        }
        for account in &plan.accounts {
            totals.carried += i128::from(account.carried);
            totals.changes += i128::from(account.credited);
            totals.balance += i128::from(account.balance);
            if let BalanceOutcome::Pays { amount, .. } = account.outcome {
                totals.pays += i128::from(amount);
                totals.payees += 1;
            }
        }
        totals
    }
}

/// Computes what settling and paying would do now. Reads only, from one state of the ledger.
///
/// # Errors
/// When the ledger cannot be read or is of another network.
pub fn plan(
    db: &mut Db,
    network: Network,
    terms: &TermsHistory,
    awaited_servers: &AwaitedServers,
) -> anyhow::Result<PayoutPlan> {
    db.read(|sql| plan_of(sql, network, terms, awaited_servers))
}

/// [`plan`] in a reading that has begun.
pub(crate) fn plan_of(
    sql: &mut dyn Sql,
    network: Network,
    terms: &TermsHistory,
    awaited_servers: &AwaitedServers,
) -> anyhow::Result<PayoutPlan> {
    check_network(sql, network)?;
    let accounts = LedgerAccounts::read(sql)?;
    let reversals = reversible(sql)?;
    let Unsettled {
        due,
        behind,
        unshipped,
        inexact,
    } = due::unsettled(sql, awaited_servers)?;
    let mut changes: BTreeMap<Rank, i64> = BTreeMap::new();
    for reversal in &reversals {
        take_back(sql, &accounts, reversal, &mut changes)?;
    }
    let mut blocks = Vec::with_capacity(due.len());
    let mut incomplete = Vec::new();
    for block in due {
        let division = divide(sql, &accounts, terms.at(block.height), block)?;
        if !division.is_whole {
            incomplete.push(division.block);
            continue;
        }
        for (rank, amount) in &division.split.amounts {
            *changes.entry(*rank).or_default() += signed(*amount);
        }
        blocks.push(block_plan(division, &accounts));
    }
    let carried = accounts.balances(sql)?;
    let held_balances = promises::held(sql, network, awaited_servers)?;
    let ranks: std::collections::BTreeSet<Rank> =
        carried.keys().chain(changes.keys()).copied().collect();
    let of = |amounts: &BTreeMap<Rank, i64>, rank| amounts.get(rank).copied().unwrap_or(0);
    let accounts = ranks.iter().map(|rank| {
        let account = accounts.get(*rank);
        let (carried, credited) = (of(&carried, rank), of(&changes, rank));
        let balance = carried + credited;
        let held = held_balances.get(&account.id).copied().unwrap_or(0);
        let outcome = outcome(judge(account, balance, held, network, terms.newest()));
        AccountPlan {
            account_id: account.id,
            name: account.name.clone(),
            carried,
            credited,
            balance,
            outcome,
        }
    });
    Ok(PayoutPlan {
        accounts: accounts.collect(),
        blocks,
        tip: best_tip::highest(sql)?,
        held: held(sql, behind, unshipped, incomplete, inexact)?,
        servers: awaited_servers.servers(sql)?,
        reversals,
    })
}

fn outcome(judged: Result<(&str, u64), Wait>) -> BalanceOutcome {
    match judged {
        Ok((address, amount)) => BalanceOutcome::Pays {
            address: address.to_owned(),
            amount,
        },
        Err(wait) => BalanceOutcome::Waits(wait),
    }
}

fn take_back(
    sql: &mut dyn Sql,
    accounts: &LedgerAccounts,
    reversal: &Settled,
    changes: &mut BTreeMap<Rank, i64>,
) -> anyhow::Result<()> {
    let credits = "SELECT account, amount FROM settlement_credits WHERE settlement = ?1";
    for row in sql.query(credits, &values![reversal.id])? {
        *changes.entry(accounts.rank(row.get(0)?)?).or_default() -= row.get::<i64>(1)?;
    }
    Ok(())
}

fn block_plan(division: Division, accounts: &LedgerAccounts) -> BlockPlan {
    let Division {
        block,
        from_height,
        shares,
        split,
        ..
    } = division;
    let credits = split.amounts.iter();
    let credits = credits.map(|(rank, amount)| (accounts.get(*rank).name.clone(), *amount));
    BlockPlan {
        height: block.height,
        from_height,
        shares,
        reward: block.reward,
        fee: split.fee,
        remainder: split.remainder,
        credited: split.amounts.values().sum(),
        credits: credits.collect(),
        hash: block.hash,
    }
}

fn held(
    sql: &mut dyn Sql,
    behind: Vec<Due>,
    unshipped: Vec<Due>,
    incomplete: Vec<Due>,
    inexact: Vec<Due>,
) -> anyhow::Result<Vec<HeldBlock>> {
    let unsure = due::unsure(sql)?;
    let first = unsure.first().map_or(0, |block| block.height);
    let unsure = unsure.into_iter().map(|block| HeldBlock {
        reason: match &*block.state {
            "found" => HeldReason::Unanswered,
            "accepted" => HeldReason::Immature,
            _ => HeldReason::Lost,
        },
        hash: block.hash,
        height: block.height,
        reward: block.reward,
    });
    let others = |blocks: Vec<Due>, reason| {
        blocks.into_iter().map(move |block| HeldBlock {
            hash: block.hash,
            height: block.height,
            reward: block.reward,
            reason,
        })
    };
    let mut held: Vec<HeldBlock> = unsure
        .chain(others(behind, HeldReason::Behind(first)))
        .chain(others(unshipped, HeldReason::Unshipped))
        .chain(others(incomplete, HeldReason::Incomplete))
        .chain(others(inexact, HeldReason::Inexact))
        .collect();
    held.sort_by_key(|block| block.height);
    Ok(held)
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).expect("what came from the ledger fits")
}
