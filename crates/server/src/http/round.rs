//! The open round, and the blocks that closed the others.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Site;
use super::answer::{ApiResult, ApiError, NoParams, QueryParams, Problem, page_of};
use super::ledger_reader::LedgerReader;
use crate::ledger_tools;
use crate::limits::{HTTP_KEPT, HTTP_ROUND_ACCOUNTS};
use crate::sql::{Sql, SqlError, Value, WORK};
use crate::values;

/// The work since the pool's last block on the main chain.
#[derive(Clone, Default, Serialize, ToSchema)]
#[schema(as = Round)]
pub(crate) struct ApiRound {
    /// Its first height.
    pub(crate) from_height: u32,
    /// When the block before it was found, Unix seconds; none where there is none.
    since: Option<i64>,
    /// Number of shares.
    shares: i64,
    /// Their summed difficulty.
    pub(crate) work: f64,
    /// That work over the work expected for a block: at 1 a block is due.
    effort: f64,
    /// The accounts with the most work in it.
    accounts: Vec<RoundAccount>,
}

/// An account's part of a round.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct RoundAccount {
    /// Untrusted text.
    account: String,
    work: f64,
}

/// A block that the pool found.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Block)]
pub(crate) struct ApiBlock {
    pub(crate) hash: String,
    pub(crate) height: u32,
    /// `found`, `accepted`, `confirmed`, `orphaned` or `refused`.
    pub(crate) state: String,
    /// Why it was refused; empty else.
    pub(crate) reason: String,
    /// Unix seconds.
    pub(crate) found_at: i64,
    /// When its state last changed, Unix seconds.
    pub(crate) changed_at: i64,
    /// Whose share it was, where that is known. Untrusted text.
    pub(crate) account: Option<String>,
    /// In base units.
    reward: i64,
    /// The network's.
    difficulty: f64,
    /// Work of its round over the work expected; luck is its inverse.
    effort: Option<f64>,
    /// Whether its reward is divided, or was by other means.
    is_settled: bool,
    /// The server that found it, where several share the ledger. Untrusted text.
    server: Option<String>,
    /// Where to see it, if an explorer is set.
    pub(crate) link: Option<String>,
}

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
    #[param(minimum = 0, maximum = 4_294_967_295_u32, default = 0)]
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
    site.round.get(site, HTTP_KEPT, open_round).await
}

/// The pool's blocks, from above.
#[utoipa::path(get, path = "/api/v1/blocks", tag = "pool", params(BlocksAsked), responses(
    (status = 200, body = ApiBlocks), (status = 400, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn blocks(
    State(site): State<Arc<Site>>,
    QueryParams(asked): QueryParams<BlocksAsked>,
) -> ApiResult<ApiBlocks> {
    let (limit, offset) = page_of(asked.limit, asked.offset)?;
    let Some(reader) = &site.reader else {
        return Ok(Json(ApiBlocks {
            total: 0,
            luck: Luck::default(),
            blocks: Vec::new(),
        }));
    };
    let shown = BlocksShown::on(&site, reader);
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
        Ok(ApiBlocks {
            total: row.get(0)?,
            luck: luck(sql)?,
            blocks,
        })
    });
    Ok(Json(page.await?))
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

fn open_round(sql: &mut dyn Sql) -> Result<ApiRound, SqlError> {
    let open = ledger_tools::open_round(sql)?;
    let last = sql.query_opt(
        "SELECT found_at FROM blocks WHERE state IN ('accepted', 'confirmed')
          ORDER BY height DESC LIMIT 1",
        &[],
    )?;
    let rows = sql.query(
        &format!(
            "SELECT name, sum({WORK}) AS work FROM credit AS c
               JOIN accounts AS a ON a.id = c.account WHERE height >= ?1
              GROUP BY c.account, name ORDER BY work DESC, name LIMIT ?2"
        ),
        &values![open.from_height, HTTP_ROUND_ACCOUNTS],
    )?;
    let accounts = rows.iter().map(|row| {
        Ok(RoundAccount {
            account: row.get(0)?,
            work: row.get(1)?,
        })
    });
    Ok(ApiRound {
        from_height: open.from_height,
        since: last.map(|row| row.get(0)).transpose()?,
        shares: open.shares,
        work: open.work,
        effort: open.effort,
        accounts: accounts.collect::<Result<_, SqlError>>()?,
    })
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

/// Settings of how blocks are shown.
pub(crate) struct BlocksShown {
    explorer: Option<String>,
    is_shared: bool,
}

impl BlocksShown {
    pub(crate) fn on(site: &Site, reader: &LedgerReader) -> Self {
        Self {
            explorer: site.explorer.clone(),
            is_shared: reader.is_shared(),
        }
    }

    /// SQL expression for the name of the server that found it.
    fn finder(&self) -> &'static str {
        if self.is_shared {
            "(SELECT label FROM origins WHERE origins.id = b.origin)"
        } else {
            "CAST(NULL AS TEXT)"
        }
    }
}

/// Reads blocks; `rest` is the SQL after the tables.
pub(crate) fn read_blocks(
    sql: &mut dyn Sql,
    rest: &str,
    params: &[Value],
    shown: &BlocksShown,
) -> Result<Vec<ApiBlock>, SqlError> {
    let rows = sql.query(
        &format!(
            "SELECT hash, height, state, reason, found_at, changed_at, a.name, reward, difficulty,
                    effort, CASE WHEN EXISTS
                      (SELECT 1 FROM settlements WHERE block = hash AND state = 'settled')
                      THEN 1 ELSE 0 END,
                    {}
               FROM blocks AS b LEFT JOIN accounts AS a ON a.id = b.account {rest}",
            shown.finder()
        ),
        params,
    )?;
    let blocks = rows.iter().map(|row| {
        let (hash, height): (String, u32) = (row.get(0)?, row.get(1)?);
        let link = shown.explorer.as_deref().map(|explorer| {
            let link = explorer.replace("%h", &height.to_string());
            link.replace("%s", &hash)
        });
        Ok(ApiBlock {
            state: row.get(2)?,
            reason: row.get(3)?,
            found_at: row.get(4)?,
            changed_at: row.get(5)?,
            account: row.get(6)?,
            reward: row.get(7)?,
            difficulty: row.get(8)?,
            effort: row.get(9)?,
            is_settled: row.get::<i64>(10)? == 1,
            server: row.get(11)?,
            hash,
            height,
            link,
        })
    });
    blocks.collect()
}
