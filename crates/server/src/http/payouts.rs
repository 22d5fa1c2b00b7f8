//! Payments: transactions that pay accounts, and their states.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{ApiResult, NoParams, Problem, QueryParams, page_of};
use super::payer::PoolPayouts;
use super::payout_plan::{self, ApiPlan};
use super::site::Site;
use crate::limits::PLAN_KEPT;
use crate::sql::{Sql, SqlError};
use crate::values;

/// A transaction that pays accounts. Amounts in base units.
#[derive(Serialize, ToSchema)]
pub(crate) struct Payment {
    id: i64,
    /// `open`, `signed`, `sent`, `confirmed` or `abandoned`.
    state: String,
    /// Once it is signed.
    txid: Option<String>,
    /// The block whose coinbase it is; none where the wallet has sent it.
    block: Option<String>,
    /// What the network took, once that is known.
    network_fee: Option<i64>,
    /// Unix seconds.
    created_at: i64,
    /// When its state last changed, Unix seconds.
    changed_at: i64,
    /// Accounts that it pays.
    accounts: i64,
    /// What it pays to all, or to the account that was asked about.
    amount: i64,
}

/// A page of a list.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct Payouts {
    /// Rows of the whole list.
    total: i64,
    payouts: Vec<Payment>,
}

/// Which payments.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PayoutsAsked {
    /// Those that pay this account, with what they pay to it.
    account: Option<String>,
    /// Rows of the answer, at most.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// Rows left out before them.
    #[param(minimum = 0, maximum = 4_294_967_295_u32, default = 0, format = Int64)]
    offset: Option<u32>,
}

/// Payments, the latest first.
#[utoipa::path(get, path = "/api/v1/payouts", tag = "miners", params(PayoutsAsked), responses(
    (status = 200, body = Payouts), (status = 400, body = Problem), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn payouts(
    State(site): State<Arc<Site>>,
    QueryParams(asked): QueryParams<PayoutsAsked>,
) -> ApiResult<Payouts> {
    let (limit, offset) = page_of(asked.limit, asked.offset)?;
    let Some(reader) = &site.reader else {
        return Ok(Json(Payouts::default()));
    };
    let page = reader.read(move |sql| read(sql, asked.account.as_deref(), limit, offset));
    Ok(Json(page.await?))
}

fn read(
    sql: &mut dyn Sql,
    account: Option<&str>,
    limit: u32,
    offset: u32,
) -> Result<Payouts, SqlError> {
    const OF: &str = "FROM payments AS p WHERE p.state <> 'preparing' AND (CAST(?1 AS TEXT) IS NULL
        OR EXISTS (SELECT 1 FROM payment_outputs AS o JOIN accounts AS a ON a.id = o.account
                    WHERE o.payment = p.id AND a.name = ?1))";
    let count = sql.query_one(&format!("SELECT count(*) {OF}"), &values![account])?;
    let rows = sql.query(
        &format!(
            "SELECT p.id, p.state, p.txid, p.network_fee, p.created_at, p.changed_at,
                    p.block, (SELECT count(*) FROM payment_outputs AS o WHERE o.payment = p.id),
                    (SELECT CAST(coalesce(sum(o.amount), 0) AS BIGINT) FROM payment_outputs AS o
                       JOIN accounts AS a ON a.id = o.account
                      WHERE o.payment = p.id AND (CAST(?1 AS TEXT) IS NULL OR a.name = ?1))
             {OF} ORDER BY p.id DESC LIMIT ?2 OFFSET ?3"
        ),
        &values![account, limit, offset],
    )?;
    let payments = rows.iter().map(|row| {
        Ok(Payment {
            id: row.get(0)?,
            state: row.get(1)?,
            txid: row.get(2)?,
            network_fee: row.get(3)?,
            created_at: row.get(4)?,
            changed_at: row.get(5)?,
            block: row.get(6)?,
            accounts: row.get(7)?,
            amount: row.get(8)?,
        })
    });
    Ok(Payouts {
        total: count.get(0)?,
        payouts: payments.collect::<Result<_, SqlError>>()?,
    })
}

/// A plan of payouts, and the state of the server's own.
#[derive(Serialize, ToSchema)]
#[schema(as = PlannedPayouts)]
pub(super) struct ApiPlannedPayouts {
    #[serde(flatten)]
    plan: ApiPlan,
    #[serde(flatten)]
    payouts: PoolPayouts,
    /// Seconds since the plan was read.
    age_s: f64,
}

/// What `hstratum payout plan` says now: what is due to whom, and what waits for which reason.
#[utoipa::path(get, path = "/api/v1/admin/payout/plan", tag = "admin", responses(
    (status = 200, body = ApiPlannedPayouts), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn plan(
    State(site): State<Arc<Site>>,
    _: NoParams,
) -> ApiResult<ApiPlannedPayouts> {
    site.ledger()?;
    let (reader, network) = (site.background(), site.network);
    let is_shared = reader.is_shared();
    let read = move |sql: &mut dyn Sql| payout_plan::read(sql, network, is_shared);
    let plan = &site.console().plan;
    let (plan, age) = plan.get_with_age(reader, PLAN_KEPT, read).await?;
    let mut plan = ApiPlan::clone(&plan);
    let behind = || site.statuses.node_lag.behind();
    let behind = || behind().map(|what| format!("the node: {what}"));
    plan.refusal = plan.refusal.or_else(behind);
    Ok(Json(ApiPlannedPayouts {
        plan,
        payouts: site.own_payouts(&site.money().await),
        age_s: age.as_secs_f64(),
    }))
}
