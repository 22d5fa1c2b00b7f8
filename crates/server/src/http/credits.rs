//! What each block brought to an account, and when that was paid; also as CSV.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use hstratum_core::accounting::reward_split::Hns;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{ApiError, PathName, Problem, QueryParams, page_of};
use super::csv;
use super::estimates::LedgerEstimates;
use super::site::Site;
use crate::sql::{Sql, SqlError};
use crate::values;

/// What a block brought to an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Credit)]
pub(crate) struct ApiCredit {
    /// The block's height.
    height: u32,
    /// Its hash.
    block: String,
    /// When it was found, Unix seconds.
    found_at: i64,
    /// `pending`: the block is not divided yet. `owed`: it is, and was not paid. `paying`: a payment is on its
    /// way. `paid`. `reversed`: the block was lost after it had been divided.
    state: &'static str,
    /// In base units.
    amount: i64,
    /// When the block was divided, Unix seconds.
    settled_at: Option<i64>,
    /// When the payment was made, Unix seconds.
    paid_at: Option<i64>,
    /// The transaction that pays it.
    txid: Option<String>,
}

/// A page of a list.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Credits)]
pub(crate) struct ApiCredits {
    /// Rows of the whole list.
    total: i64,
    credits: Vec<ApiCredit>,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ListFormat {
    #[default]
    Json,
    Csv,
}

/// Which credits.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CreditsAsked {
    /// JSON, or a table for spreadsheets with amounts in HNS.
    format: Option<ListFormat>,
    /// Rows of the answer, at most.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// Rows left out before them.
    #[param(minimum = 0, maximum = 4_294_967_295_u32, default = 0, format = Int64)]
    offset: Option<u32>,
}

/// What each block brought to an account, the latest first.
#[utoipa::path(get, path = "/api/v1/accounts/{name}/credits", tag = "miners",
    params(("name" = String, Path, description = "The account's name."), CreditsAsked), responses(
    (status = 200, content((ApiCredits = "application/json"), (String = "text/csv"))),
    (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn credits(
    State(site): State<Arc<Site>>,
    PathName(name): PathName,
    QueryParams(asked): QueryParams<CreditsAsked>,
) -> Result<Response, ApiError> {
    let (limit, offset) = page_of(asked.limit, asked.offset)?;
    let missing = || ApiError::missing("no such account");
    let reader = site.reader.as_ref().ok_or_else(missing)?;
    let (known, _) = site.estimates().await?;
    let account = name.clone();
    let page = reader.read(move |sql| read(sql, &account, &known, limit, offset));
    let page = match page.await? {
        Some(page) => page,
        // The ledger does not know whoever has no accepted share.
        None => {
            let workers = site.workers().await?;
            let is_mining = workers.accounts.contains_key(&*name);
            is_mining.then(ApiCredits::default).ok_or_else(missing)?
        }
    };
    Ok(match asked.format.unwrap_or_default() {
        ListFormat::Json => Json(page).into_response(),
        ListFormat::Csv => {
            let headers = [
                (CONTENT_TYPE, "text/csv; charset=utf-8"),
                (CONTENT_DISPOSITION, "attachment; filename=\"credits.csv\""),
            ];
            (headers, table(&name, &page.credits)).into_response()
        }
    })
}

fn read(
    sql: &mut dyn Sql,
    name: &str,
    known: &LedgerEstimates,
    limit: u32,
    offset: u32,
) -> Result<Option<ApiCredits>, SqlError> {
    let id = "SELECT id FROM accounts WHERE name = ?1";
    let Some(row) = sql.query_opt(id, &values![name])? else {
        return Ok(None);
    };
    let id = row.get(0)?;
    let pending = read_pending(sql, id, known)?;
    let count = sql.query_one(&format!("SELECT count(*) {SETTLED_CREDITS}"), &values![id])?;
    let total = count.get::<i64>(0)? + pending.len() as i64;
    let before = (offset as usize).min(pending.len());
    let mut credits: Vec<ApiCredit> = pending
        .into_iter()
        .skip(before)
        .take(limit as usize)
        .collect();
    let limit = limit - credits.len() as u32;
    let offset = offset - before as u32;
    credits.extend(read_settled(sql, id, limit, offset)?);
    Ok(Some(ApiCredits { total, credits }))
}

/// Credits that are still to come, the highest block first. A block that was divided since the estimates is not
/// among them.
fn read_pending(
    sql: &mut dyn Sql,
    account: i64,
    known: &LedgerEstimates,
) -> Result<Vec<ApiCredit>, SqlError> {
    let rows = sql.query(
        "SELECT hash, found_at FROM blocks
          WHERE state IN ('accepted', 'confirmed')
            AND NOT EXISTS (SELECT 1 FROM settlements WHERE block = hash AND state = 'settled')",
        &[],
    )?;
    let found_at = rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?)));
    let found_at = found_at.collect::<Result<HashMap<String, i64>, SqlError>>()?;
    let blocks = known.estimates.iter();
    let blocks = blocks.flat_map(|estimates| estimates.blocks.iter().rev());
    let pending = blocks.filter_map(|block| {
        let found_at = *found_at.get(&block.hash)?;
        let amount = i64::try_from(block.part(account)).ok()?;
        (amount > 0).then(|| ApiCredit {
            height: block.height,
            block: block.hash.clone(),
            found_at,
            state: "pending",
            amount,
            settled_at: None,
            paid_at: None,
            txid: None,
        })
    });
    Ok(pending.collect())
}

/// SQL of an account's credits by settlements.
const SETTLED_CREDITS: &str = "\
    FROM settlement_credits AS c JOIN settlements AS s ON s.id = c.settlement
    JOIN blocks AS b ON b.hash = s.block
    WHERE c.account = ?1 AND c.amount > 0 AND s.state IN ('settled', 'reversed')";

/// A payment to an account, and the sum of all up to it.
struct PaymentSoFar {
    upto: i64,
    state: String,
    txid: Option<String>,
    at: i64,
}

/// Credits of settlements, the latest first. Payments pay the oldest credits first, those in force.
fn read_settled(
    sql: &mut dyn Sql,
    account: i64,
    limit: u32,
    offset: u32,
) -> Result<Vec<ApiCredit>, SqlError> {
    let payments = read_payments(sql, account)?;
    let rows = sql.query(
        &format!(
            "SELECT b.height, b.hash, b.found_at, c.amount, s.settled_at, s.state,
                    CAST(sum(CASE WHEN s.state = 'settled' THEN c.amount ELSE 0 END)
                      OVER (ORDER BY s.id) AS BIGINT)
             {SETTLED_CREDITS} ORDER BY s.id DESC LIMIT ?2 OFFSET ?3"
        ),
        &values![account, limit, offset],
    )?;
    let credits = rows.iter().map(|row| {
        let (state, upto): (String, i64) = (row.get(5)?, row.get(6)?);
        let is_reversed = state == "reversed";
        let payment = payments.partition_point(|payment| payment.upto < upto);
        let payment = payments.get(payment).filter(|_| !is_reversed);
        Ok(ApiCredit {
            height: row.get(0)?,
            block: row.get(1)?,
            found_at: row.get(2)?,
            state: match payment {
                _ if is_reversed => "reversed",
                None => "owed",
                Some(payment) if payment.state == "confirmed" => "paid",
                Some(_) => "paying",
            },
            amount: row.get(3)?,
            settled_at: row.get(4)?,
            paid_at: payment.map(|payment| payment.at),
            txid: payment.and_then(|payment| payment.txid.clone()),
        })
    });
    credits.collect()
}

fn read_payments(sql: &mut dyn Sql, account: i64) -> Result<Vec<PaymentSoFar>, SqlError> {
    let rows = sql.query(
        "SELECT o.amount, p.state, p.txid, p.created_at
           FROM payment_outputs AS o JOIN payments AS p ON p.id = o.payment
          WHERE o.account = ?1 AND p.state NOT IN ('preparing', 'abandoned') ORDER BY p.id",
        &values![account],
    )?;
    let mut upto = 0;
    let payments = rows.iter().map(|row| {
        upto += row.get::<i64>(0)?;
        Ok(PaymentSoFar {
            upto,
            state: row.get(1)?,
            txid: row.get(2)?,
            at: row.get(3)?,
        })
    });
    payments.collect()
}

fn table(account: &str, credits: &[ApiCredit]) -> String {
    let mut table =
        "account,height,block,found_at,state,amount_hns,settled_at,paid_at,txid\r\n".to_owned();
    let time = |time: Option<i64>| time.map(|time| time.to_string()).unwrap_or_default();
    for credit in credits {
        let row = [
            csv::text(account),
            credit.height.to_string(),
            csv::text(&credit.block),
            credit.found_at.to_string(),
            csv::text(credit.state),
            Hns(credit.amount.into()).to_string(),
            time(credit.settled_at),
            time(credit.paid_at),
            csv::text(credit.txid.as_deref().unwrap_or_default()),
        ];
        table += &row.join(",");
        table += "\r\n";
    }
    table
}
