//! Who is paid what by a block: by one found now, and by each that was divided.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use hstratum_core::chain::address::Network;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::chain::coinbase_split::SplitRecord;
use hstratum_core::units::Hash;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{ApiError, ApiResult, PathName, Problem, QueryParams, page_of};
use super::ledger_queries::{ApiBlock, BlocksShown, read_blocks};
use super::site::Site;
use crate::sql::{Row, Sql, SqlError};
use crate::values;

/// How the reward of a block is divided. Amounts in base units; parts + fee + remainder = reward.
#[derive(Serialize, ToSchema)]
#[schema(as = Split)]
pub(crate) struct ApiSplit {
    /// Height of the block.
    height: u32,
    /// What is divided.
    reward: i64,
    /// The pool's part of it.
    fee: i64,
    /// What nobody has earned.
    remainder: i64,
    /// Sum of the outputs that pay accounts.
    paid: i64,
    /// Rows of the whole list.
    total: i64,
    lines: Vec<ApiSplitLine>,
}

/// An account's amounts of a block, in base units.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = SplitLine)]
pub(crate) struct ApiSplitLine {
    /// Untrusted text.
    account: String,
    /// What it has earned of the block.
    part: i64,
    /// What the coinbase pays it: above its part, balance is paid too; below, the rest becomes balance.
    paid: i64,
    /// Where the coinbase pays it; none where it does not.
    address: Option<String>,
}

/// A block that was divided, and how.
#[derive(Serialize, ToSchema)]
#[schema(as = DividedBlock)]
pub(crate) struct ApiDividedBlock {
    block: ApiBlock,
    /// None while it is not divided.
    split: Option<ApiSplit>,
}

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LinesAsked {
    /// Rows of the answer, at most.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// Rows left out before them.
    #[param(minimum = 0, maximum = 4_294_967_295_u32, default = 0, format = Int64)]
    offset: Option<u32>,
}

/// What a block found now would pay to whom, if it pays the accounts.
#[utoipa::path(get, path = "/api/v1/split", tag = "pool", params(LinesAsked), responses(
    (status = 200, body = ApiSplit), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn newest(
    State(site): State<Arc<Site>>,
    QueryParams(asked): QueryParams<LinesAsked>,
) -> ApiResult<ApiSplit> {
    let (limit, offset) = page_of(asked.limit, asked.offset)?;
    let template = site.live.jobs().newest_template();
    let template = template.ok_or_else(|| ApiError::missing("there is no job"))?;
    let split = template.split.as_ref().ok_or_else(|| {
        ApiError::missing(match site.payouts.contains(Payout::Split.name()) {
            true => "the newest job pays the operator: no split is known for it yet",
            false => "no block of this server pays accounts",
        })
    })?;
    let record = site.newest_split.record(split);
    Ok(Json(of_record(
        &record,
        template.height.0,
        (limit, offset),
        site.network,
    )))
}

fn of_record(
    record: &SplitRecord,
    height: u32,
    (limit, offset): (u32, u32),
    network: Network,
) -> ApiSplit {
    // Amounts are below the sum of all coins.
    let shown = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    let page = record
        .lines
        .iter()
        .skip(offset as usize)
        .take(limit as usize);
    let lines = page.map(|line| {
        let output = line.output.as_ref();
        ApiSplitLine {
            account: line.account.to_string(),
            part: shown(line.part),
            paid: shown(output.map_or(0, |(_, value)| *value)),
            address: output.map(|(address, _)| address.encode(network)),
        }
    });
    let paid = record.lines.iter().filter_map(|line| line.output.as_ref());
    ApiSplit {
        height,
        reward: shown(record.reward),
        fee: shown(record.fee),
        remainder: shown(record.remainder),
        paid: shown(paid.map(|(_, value)| *value).sum()),
        total: record.lines.len() as i64,
        lines: lines.collect(),
    }
}

/// A block of the pool, and what it brought to each account. A block that does not pay the accounts itself is
/// divided when its reward can be spent.
#[utoipa::path(get, path = "/api/v1/blocks/{hash}", tag = "pool",
    params(("hash" = String, Path, description = "The block's hash in hex."), LinesAsked),
    responses((status = 200, body = ApiDividedBlock), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn of_block(
    State(site): State<Arc<Site>>,
    PathName(hash): PathName,
    QueryParams(asked): QueryParams<LinesAsked>,
) -> ApiResult<ApiDividedBlock> {
    let (limit, offset) = page_of(asked.limit, asked.offset)?;
    let missing = || ApiError::missing("no block of this pool has that hash");
    let hash = Hash::from_hex(&hash).ok_or_else(missing)?.to_string();
    let reader = site.reader.as_ref().ok_or_else(missing)?;
    let shown = site.blocks_shown(reader);
    let read = reader.read(move |sql| read(sql, &hash, (limit, offset), &shown));
    Ok(Json(read.await?.ok_or_else(missing)?))
}

fn read(
    sql: &mut dyn Sql,
    hash: &str,
    (limit, offset): (u32, u32),
    shown: &BlocksShown,
) -> Result<Option<ApiDividedBlock>, SqlError> {
    let found = read_blocks(sql, "WHERE hash = ?1", &values![hash], shown)?;
    let Some(block) = found.into_iter().next() else {
        return Ok(None);
    };
    // A split that its coinbase pays is known from the beginning.
    let settlement = sql.query_opt(
        "SELECT s.id, s.reward, s.fee, s.remainder,
                (SELECT count(*) FROM settlement_credits AS c WHERE c.settlement = s.id),
                (SELECT CAST(coalesce(sum(o.amount), 0) AS BIGINT)
                   FROM payments AS p JOIN payment_outputs AS o ON o.payment = p.id
                  WHERE p.block = s.block)
           FROM settlements AS s
          WHERE s.block = ?1 AND (s.state = 'settled' OR s.is_frozen = 1)",
        &values![hash],
    )?;
    let Some(row) = settlement else {
        return Ok(Some(ApiDividedBlock { block, split: None }));
    };
    let lines = sql.query(
        "SELECT a.name, c.amount, coalesce(o.amount, 0), o.address
           FROM settlement_credits AS c JOIN accounts AS a ON a.id = c.account
           LEFT JOIN payments AS p ON p.block = ?2
           LEFT JOIN payment_outputs AS o ON o.payment = p.id AND o.account = c.account
          WHERE c.settlement = ?1 ORDER BY c.amount DESC, a.name LIMIT ?3 OFFSET ?4",
        &values![row.get::<i64>(0)?, hash, limit, offset],
    )?;
    let line = |row: &Row| {
        Ok(ApiSplitLine {
            account: row.get(0)?,
            part: row.get(1)?,
            paid: row.get(2)?,
            address: row.get(3)?,
        })
    };
    let split = ApiSplit {
        height: block.height,
        reward: row.get(1)?,
        fee: row.get(2)?,
        remainder: row.get(3)?,
        total: row.get(4)?,
        paid: row.get(5)?,
        lines: lines.iter().map(line).collect::<Result<_, SqlError>>()?,
    };
    Ok(Some(ApiDividedBlock {
        block,
        split: Some(split),
    }))
}
