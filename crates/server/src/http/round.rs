//! The open round, and the blocks that closed the others.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{ApiError, ApiResult, NoParams, Problem, QueryParams, page_of};
use super::ledger_queries::{ApiBlock, ApiRound, Records, open_round, read_blocks, records};
use super::site::Site;
use crate::limits::HTTP_KEPT;
use crate::sql::{Sql, SqlError};
use crate::values;

/// Effort of the latest blocks.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct Luck {
    /// Blocks that count: on the main chain, with an effort that is known.
    blocks: i64,
    /// Expected blocks over found ones: below 1 the pool was lucky.
    effort: Option<f64>,
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
#[schema(as = Blocks)]
pub(crate) struct ApiBlocks {
    /// Rows of the whole list.
    total: i64,
    /// Of the last hundred blocks on the main chain.
    luck: Luck,
    /// Kinds of payout of this server's listeners and of the pool's blocks: `operator`, `solo`, `split`.
    payouts: BTreeSet<String>,
    blocks: Vec<ApiBlock>,
}

/// A state of blocks.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BlockStateAsked {
    Found,
    Accepted,
    Confirmed,
    Orphaned,
    Refused,
}

/// Which blocks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BlocksAsked {
    /// In this state only.
    state: Option<BlockStateAsked>,
    /// By a share of this account only.
    account: Option<String>,
    /// Rows of the answer, at most.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// Rows left out before them.
    #[param(minimum = 0, maximum = 4_294_967_295_u32, default = 0, format = Int64)]
    offset: Option<u32>,
}

/// The open round.
#[utoipa::path(get, path = "/api/v1/round", tag = "pool", responses(
    (status = 200, body = ApiRound), (status = 503, body = Problem)))]
pub(crate) async fn round(State(site): State<Arc<Site>>, _: NoParams) -> ApiResult<ApiRound> {
    Ok(Json(match &site.reader {
        None => ApiRound::default(),
        Some(_) => read_round(&site).await?.as_ref().clone(),
    }))
}

/// The open round as cached. Must be called only if there is a ledger.
pub(crate) async fn read_round(site: &Site) -> Result<Arc<ApiRound>, ApiError> {
    site.round
        .get(site.background(), HTTP_KEPT, open_round)
        .await
}

/// The pool's blocks, from above.
#[utoipa::path(get, path = "/api/v1/blocks", tag = "pool", params(BlocksAsked), responses(
    (status = 200, body = ApiBlocks), (status = 400, body = Problem), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn blocks(
    State(site): State<Arc<Site>>,
    QueryParams(asked): QueryParams<BlocksAsked>,
) -> ApiResult<ApiBlocks> {
    let (limit, offset) = page_of(asked.limit, asked.offset)?;
    let Some(reader) = &site.reader else {
        return Ok(Json(ApiBlocks {
            total: 0,
            luck: Luck::default(),
            payouts: site.payouts.clone(),
            blocks: Vec::new(),
        }));
    };
    let shown = site.blocks_shown(reader);
    let mut payouts = site.payouts.clone();
    let page = reader.read(move |sql| {
        let state = asked.state.map(BlockStateAsked::name);
        let account = asked.account.as_deref();
        let row = sql.query_one(
            &format!(
                "SELECT count(*) FROM blocks AS b LEFT JOIN accounts AS a ON a.id = b.account {OF}"
            ),
            &values![state, account],
        )?;
        let order = format!("{OF} ORDER BY height DESC, hash LIMIT ?3 OFFSET ?4");
        let params = values![state, account, limit, offset];
        let blocks = read_blocks(sql, &order, &params, &shown)?;
        for row in sql.query("SELECT DISTINCT payout FROM blocks", &[])? {
            payouts.insert(row.get(0)?);
        }
        Ok(ApiBlocks {
            total: row.get(0)?,
            luck: luck(sql)?,
            payouts,
            blocks,
        })
    });
    Ok(Json(page.await?))
}

/// The blocks that took the pool the least and the most work, of what was expected. Up to half a minute old.
#[utoipa::path(get, path = "/api/v1/records", tag = "pool", responses(
    (status = 200, body = Records), (status = 503, body = Problem)))]
pub(crate) async fn of_all_time(State(site): State<Arc<Site>>, _: NoParams) -> ApiResult<Records> {
    let Some(reader) = &site.reader else {
        return Ok(Json(Records::default()));
    };
    let shown = site.blocks_shown(reader);
    let found = site.records.get(site.background(), HTTP_KEPT, move |sql| {
        records(sql, &shown)
    });
    Ok(Json(found.await?.as_ref().clone()))
}

/// Condition for the blocks asked for.
const OF: &str = "WHERE (CAST(?1 AS TEXT) IS NULL OR state = ?1)
                    AND (CAST(?2 AS TEXT) IS NULL OR a.name = ?2)";

impl BlockStateAsked {
    fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Accepted => "accepted",
            Self::Confirmed => "confirmed",
            Self::Orphaned => "orphaned",
            Self::Refused => "refused",
        }
    }
}

fn luck(sql: &mut dyn Sql) -> Result<Luck, SqlError> {
    let row = sql.query_one(
        "SELECT count(*), avg(effort) FROM (SELECT effort FROM blocks
          WHERE state IN ('accepted', 'confirmed') AND effort IS NOT NULL
          ORDER BY height DESC LIMIT 100) AS latest",
        &[],
    )?;
    Ok(Luck {
        blocks: row.get(0)?,
        effort: row.get(1)?,
    })
}
