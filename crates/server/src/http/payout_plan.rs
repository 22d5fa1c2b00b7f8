//! What a payout would do now, as far as a page shows it.

use std::cmp::Reverse;

use hstratum_core::chain::address::Network;
use serde::Serialize;
use utoipa::ToSchema;

use super::estimates::sql_error;
use crate::limits::PLAN_ROWS;
use crate::payout::{
    AwaitedServer, AwaitedServers, BalanceOutcome, HeldBlock, PayoutPlan, PayoutRecord, PlanTotals,
    TermsHistory, Wait, check_agreement_of, plan_of,
};
use crate::sql::{Sql, SqlError};

/// What a payout would do now, and what waits. Amounts in base units; each list has 50 rows at most.
#[derive(Clone, Default, Serialize, ToSchema)]
#[schema(as = PayoutPlan)]
pub(crate) struct ApiPlan {
    /// Why nobody is paid now, whoever is due; none where nothing is in the way.
    pub refusal: Option<String>,
    /// The height up to which the ledger was shown the chain; none before the first time.
    tip: Option<u32>,
    /// What is due now.
    due: u64,
    /// Accounts that it is due to.
    due_accounts: usize,
    /// Balances after this payout.
    later: i64,
    /// The largest amounts that are due.
    payees: Vec<ApiPayee>,
    /// Balances that wait, by the reason.
    waiting: Vec<ApiWaiting>,
    /// Blocks that would be divided, lowest first.
    blocks: Vec<PlannedBlock>,
    blocks_total: usize,
    /// Blocks that wait, lowest first.
    held: Vec<ApiHeldBlock>,
    held_total: usize,
    /// Divisions that would be taken back, since their block is lost.
    reversals: usize,
    /// Servers that share the ledger; blocks above `shipped_tip` of one that is awaited wait for it.
    servers: Vec<ApiAwaitedServer>,
}

/// An account that is due.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Payee)]
struct ApiPayee {
    /// Untrusted text.
    account: String,
    address: String,
    amount: u64,
}

/// Balances that wait for one reason.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Waiting)]
struct ApiWaiting {
    /// `owes`, `below_threshold`, `in_coinbase` or `no_address`.
    reason: &'static str,
    accounts: usize,
    /// Their balances, below 0 where they owe.
    amount: i64,
}

/// A block that would be divided.
#[derive(Clone, Serialize, ToSchema)]
struct PlannedBlock {
    height: u32,
    hash: String,
    reward: u64,
    fee: u64,
    /// What accounts would be credited.
    credited: u64,
    accounts: usize,
}

/// A block that waits.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = HeldBlock)]
struct ApiHeldBlock {
    height: u32,
    hash: String,
    reward: u64,
    /// `unanswered`, `immature`, `behind`, `unshipped`, `lost`, `incomplete` or `inexact`.
    reason: &'static str,
    /// The reason in words.
    text: String,
}

/// A server that blocks may wait for.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = AwaitedServer)]
struct ApiAwaitedServer {
    /// Untrusted text.
    name: String,
    seen_s_ago: u64,
    /// Up to this height all its shares are in the ledger.
    shipped_tip: Option<u32>,
    is_awaited: bool,
}

/// Reads the plan of a ledger that is shared or a file.
pub(crate) fn read(
    sql: &mut dyn Sql,
    network: Network,
    is_shared: bool,
) -> Result<ApiPlan, SqlError> {
    let Some(terms) = TermsHistory::read(sql)? else {
        let text =
            "the ledger has no terms yet: its servers write them once they all have the same";
        return Ok(ApiPlan {
            refusal: Some(text.to_owned()),
            ..ApiPlan::default()
        });
    };
    let paused = PayoutRecord::read(sql)?.paused;
    let paused = paused.map(|pause| format!("payouts are paused by {}", pause.by));
    let refusal = match (paused, is_shared) {
        (None, true) => disagreement(sql)?,
        (paused, _) => paused,
    };
    let plan = plan_of(sql, network, &terms, &AwaitedServers::all(is_shared));
    match plan.map_err(sql_error) {
        Ok(plan) => Ok(ApiPlan {
            refusal,
            ..shown(&plan)
        }),
        // As a failure it would be tried again at once, and a ledger so large be read all the time.
        Err(SqlError::Interrupted) => Ok(ApiPlan {
            refusal: Some(
                "it takes too long to be shown here: see hstratum payout plan".to_owned(),
            ),
            ..ApiPlan::default()
        }),
        Err(error) => Err(error),
    }
}

/// In what servers differ from the ledger's terms, if they do.
fn disagreement(sql: &mut dyn Sql) -> Result<Option<String>, SqlError> {
    match check_agreement_of(sql) {
        Ok(()) => Ok(None),
        Err(error) if error.is::<SqlError>() => Err(sql_error(error)),
        Err(error) => Ok(Some(format!("{error:#}"))),
    }
}

fn shown(plan: &PayoutPlan) -> ApiPlan {
    let totals = PlanTotals::of(plan);
    let mut payees: Vec<ApiPayee> = plan
        .accounts
        .iter()
        .filter_map(|account| match &account.outcome {
            BalanceOutcome::Pays { address, amount } => Some(ApiPayee {
                account: account.name.clone(),
                address: address.clone(),
                amount: *amount,
            }),
            BalanceOutcome::Waits(_) => None,
        })
        .collect();
    payees.sort_by_key(|payee| Reverse(payee.amount));
    payees.truncate(PLAN_ROWS);
    let waiting = Wait::ALL.into_iter().map(|wait| waiting(plan, wait));
    ApiPlan {
        refusal: None,
        tip: plan.tip.as_ref().map(|tip| tip.height.0),
        due: u64::try_from(totals.pays).unwrap_or(u64::MAX),
        due_accounts: totals.payees,
        later: i64::try_from(totals.balance - totals.pays).unwrap_or(i64::MAX),
        payees,
        waiting: waiting.filter(|one| one.accounts > 0).collect(),
        blocks: plan
            .blocks
            .iter()
            .take(PLAN_ROWS)
            .map(|block| PlannedBlock {
                height: block.height,
                hash: block.hash.clone(),
                reward: block.reward,
                fee: block.fee,
                credited: block.credited,
                accounts: block.credits.len(),
            })
            .collect(),
        blocks_total: plan.blocks.len(),
        held: plan
            .held
            .iter()
            .take(PLAN_ROWS)
            .map(ApiHeldBlock::from)
            .collect(),
        held_total: plan.held.len(),
        reversals: plan.reversals.len(),
        servers: plan
            .servers
            .iter()
            .take(PLAN_ROWS)
            .map(ApiAwaitedServer::from)
            .collect(),
    }
}

fn waiting(plan: &PayoutPlan, reason: Wait) -> ApiWaiting {
    let accounts = plan.accounts.iter();
    let balances: Vec<i64> = accounts
        .filter(|account| account.outcome == BalanceOutcome::Waits(reason) && account.balance != 0)
        .map(|account| account.balance)
        .collect();
    ApiWaiting {
        reason: reason.name(),
        accounts: balances.len(),
        amount: balances.iter().sum(),
    }
}

impl From<&HeldBlock> for ApiHeldBlock {
    fn from(block: &HeldBlock) -> Self {
        Self {
            height: block.height,
            hash: block.hash.clone(),
            reward: block.reward,
            reason: block.reason.name(),
            text: block.reason.text(),
        }
    }
}

impl From<&AwaitedServer> for ApiAwaitedServer {
    fn from(server: &AwaitedServer) -> Self {
        Self {
            name: server.label.clone(),
            seen_s_ago: server.seen.as_secs(),
            shipped_tip: server.shipped_tip,
            is_awaited: server.is_awaited,
        }
    }
}
