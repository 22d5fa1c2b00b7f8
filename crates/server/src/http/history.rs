//! Hashrates over time, from the ledger's statistics.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use hstratum_core::units::{BLOCK_S, HASHES_PER_DIFFICULTY};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{ApiError, ApiResult, PathName, Problem, QueryParams};
use super::pool::network_hashrate;
use super::site::Site;
use super::workers::{SentShares, unproven};
use crate::clock::unix_s;
use crate::sql::{Row, Sql, SqlError, signed};
use crate::store::unproven_workers::RefusedSubmits;
use crate::values;

/// Spans of statistics, and the minimum time for which the ledger keeps each, in seconds.
const SPANS_S: [(i64, i64); 3] = [
    (600, 86_400 + 3_600),
    (3_600, 9 * 86_400),
    (86_400, 401 * 86_400),
];

/// Seconds of a step that must have passed before a rate is computed from it.
const MEANT_FROM_S: i64 = 120;

/// How far a history goes back.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Range {
    /// A day, in steps of ten minutes.
    #[default]
    Day,
    /// A week, in steps of an hour.
    Week,
    /// A year, in steps of a day.
    Year,
}

impl Range {
    /// Length and step, in seconds.
    fn seconds(self) -> (i64, i64) {
        match self {
            Self::Day => (86_400, 600),
            Self::Week => (7 * 86_400, 3_600),
            Self::Year => (365 * 86_400, 86_400),
        }
    }
}

/// Which history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryAsked {
    range: Option<Range>,
}

/// Which history of an account.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AccountHistoryAsked {
    range: Option<Range>,
    /// Of this machine only; empty is the one without a name.
    worker: Option<String>,
}

/// A hashrate over time.
#[derive(Serialize, ToSchema)]
pub(crate) struct History {
    range: Range,
    /// Seconds from one point to the next.
    step_s: i64,
    /// In the order of time. A step without a share accepted or refused has no point.
    points: Vec<Point>,
}

/// A step of time.
#[derive(Serialize, ToSchema)]
pub(crate) struct Point {
    /// Its begin, Unix seconds.
    time: i64,
    /// Hashes a second over it, over what has passed of it where it is the newest. None in its first two
    /// minutes: what miners sent is counted some seconds later, so that the part before it began, divided
    /// by those few seconds, would be many times too high.
    hashrate: Option<f64>,
    /// The same of the network: from the difficulty at the height that the chain had about then.
    network_hashrate: Option<f64>,
    accepted: i64,
    stale: i64,
    low: i64,
    duplicate: i64,
}

/// The pool's hashrate over time.
#[utoipa::path(get, path = "/api/v1/pool/history", tag = "pool", params(HistoryAsked), responses(
    (status = 200, body = History), (status = 400, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn of_pool(
    State(site): State<Arc<Site>>,
    QueryParams(asked): QueryParams<HistoryAsked>,
) -> ApiResult<History> {
    let range = asked.range.unwrap_or_default();
    let Some(reader) = &site.reader else {
        return Ok(Json(History::of(range, BTreeMap::new(), &[], 0)));
    };
    let now = signed(unix_s());
    let pool_sums = site.work_history.clone();
    let unproven = unproven(&site.statuses.ledger, &site.pool_servers.known());
    let history = reader.read(move |sql| {
        let (length, step) = range.seconds();
        let from = now - now % step - length;
        let mut sums = pool_sums.read(sql, (step, from), now)?;
        add_unproven(&mut sums, step, unproven.iter().map(|(row, _)| row));
        let network = network(sql, range, now)?;
        Ok(History::of(range, sums, &network, now))
    });
    Ok(Json(history.await?))
}

/// An account's hashrate over time, or a worker's.
#[utoipa::path(get, path = "/api/v1/accounts/{name}/history", tag = "miners",
    params(("name" = String, Path, description = "The account's name."), AccountHistoryAsked),
    responses((status = 200, body = History), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn of_account(
    State(site): State<Arc<Site>>,
    PathName(name): PathName,
    QueryParams(asked): QueryParams<AccountHistoryAsked>,
) -> ApiResult<History> {
    let range = asked.range.unwrap_or_default();
    let Some(reader) = &site.reader else {
        return Ok(Json(History::of(range, BTreeMap::new(), &[], 0)));
    };
    let now = signed(unix_s());
    let query = if reader.is_shared() {
        BY_WORKER
    } else {
        BY_TIME
    };
    let mut unproven = unproven(&site.statuses.ledger, &site.pool_servers.known());
    unproven.retain(|(row, _)| row.account == name);
    let history = reader.read(move |sql| {
        let find = "SELECT id FROM accounts WHERE name = ?1";
        let worker = asked.worker.as_deref();
        let mut sums = match sql.query_opt(find, &values![&name])? {
            Some(account) => sums_of_account(sql, range, now, (account.get(0)?, worker), query)?,
            None if unproven.is_empty() => return Ok(None),
            None => SentByStep::new(),
        };
        let (_, step) = range.seconds();
        let own = unproven.iter().map(|(row, _)| row);
        let own = own.filter(|row| worker.is_none_or(|worker| worker == row.worker));
        add_unproven(&mut sums, step, own);
        Ok(Some(History::of(range, sums, &[], now)))
    });
    let history = history.await?;
    history
        .map(Json)
        .ok_or_else(|| ApiError::missing("no such account"))
}

/// Statistics by the start of each step.
type SentByStep = BTreeMap<i64, SentShares>;

const SENT: &str = "CAST(sum(s.accepted) AS BIGINT), CAST(sum(s.stale) AS BIGINT), \
                    CAST(sum(s.low) AS BIGINT), CAST(sum(s.duplicate) AS BIGINT), \
                    sum(s.accepted_work)";

fn add(sums: &mut SentByStep, row: &Row) -> Result<(), SqlError> {
    let sent = SentShares {
        accepted: row.get(1)?,
        stale: row.get(2)?,
        low: row.get(3)?,
        duplicate: row.get(4)?,
        work: row.get(5)?,
    };
    sums.entry(row.get(0)?).or_default().add(&sent);
    Ok(())
}

/// Adds workers that never had a share accepted: those of the last hour, which are in no ledger.
fn add_unproven<'a>(
    sums: &mut SentByStep,
    step: i64,
    unproven: impl Iterator<Item = &'a RefusedSubmits>,
) {
    for row in unproven {
        let sum = sums.entry(row.start - row.start.rem_euclid(step));
        sum.or_default().add(&row.into());
    }
}

/// The spans that a step can be made of, and the start of the first row to read of each.
fn spans(range: Range, now: i64) -> impl Iterator<Item = (i64, i64)> {
    let (length, step) = range.seconds();
    let whole = now - now % step;
    SPANS_S
        .into_iter()
        .filter(move |(span, _)| *span <= step)
        .map(move |(span, kept)| (span, (whole - length).max(now - now % span - kept)))
}

/// For a file: looks up each span of each worker, since statistics are ordered by time.
const BY_TIME: &str = "\
    WITH RECURSIVE starts (start) AS (
      SELECT CAST(?1 AS BIGINT) UNION ALL
      SELECT start + CAST(?2 AS BIGINT) FROM starts WHERE start + CAST(?2 AS BIGINT) <= ?3)
    SELECT s.start - s.start % ?4, {SENT}
      FROM workers AS w CROSS JOIN starts CROSS JOIN statistics AS s
     WHERE s.span = ?2 AND s.start = starts.start AND s.worker = w.id
       AND w.account = ?5 AND (?6 IS NULL OR w.name = ?6) GROUP BY 1";

/// For a shared ledger, which has an index by worker.
const BY_WORKER: &str = "\
    SELECT s.start - s.start % ?4, {SENT}
      FROM workers AS w JOIN statistics AS s ON s.worker = w.id
     WHERE s.span = ?2 AND s.start >= ?1 AND s.start <= ?3
       AND w.account = ?5 AND (CAST(?6 AS TEXT) IS NULL OR w.name = ?6) GROUP BY 1";

/// Statistics of an account, or of one of its workers.
fn sums_of_account(
    sql: &mut dyn Sql,
    range: Range,
    now: i64,
    (account, worker): (i64, Option<&str>),
    query: &str,
) -> Result<SentByStep, SqlError> {
    let mut sums = SentByStep::new();
    let (_, step) = range.seconds();
    let query = query.replace("{SENT}", SENT);
    for (span, from) in spans(range, now) {
        for row in sql.query(&query, &values![from, span, now, step, account, worker])? {
            add(&mut sums, &row)?;
        }
    }
    Ok(sums)
}

/// Network difficulties of the heights in the range, and the approximate start of each.
fn network(sql: &mut dyn Sql, range: Range, now: i64) -> Result<Vec<(i64, f64)>, SqlError> {
    let (length, _) = range.seconds();
    let block_s = BLOCK_S as i64;
    let rows = sql.query(
        "SELECT (SELECT max(height) FROM heights) - height, difficulty FROM heights
          WHERE height >= (SELECT max(height) FROM heights) - ?1 ORDER BY height",
        &values![length / block_s + 1],
    )?;
    let heights = rows.iter().map(|row| {
        let above: i64 = row.get(0)?;
        Ok((now - above * block_s, row.get(1)?))
    });
    heights.collect()
}

impl History {
    fn of(range: Range, sums: SentByStep, network: &[(i64, f64)], now: i64) -> Self {
        let (_, step_s) = range.seconds();
        let points = sums.into_iter().map(|(time, sent)| {
            let seconds = (now - time).min(step_s);
            let known = network.partition_point(|(since, _)| *since <= time + step_s);
            let difficulty = network.get(known.saturating_sub(1));
            Point {
                time,
                hashrate: (seconds >= MEANT_FROM_S)
                    .then(|| sent.work * HASHES_PER_DIFFICULTY / seconds as f64),
                network_hashrate: difficulty.map(|(_, difficulty)| network_hashrate(*difficulty)),
                accepted: sent.accepted,
                stale: sent.stale,
                low: sent.low,
                duplicate: sent.duplicate,
            }
        });
        Self {
            range,
            step_s,
            points: points.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A steady miner whose shares are counted every ten seconds: at any time of the newest step its rate is
    /// right, or there is none.
    #[test]
    fn newest_point_is_right_or_not_there() {
        let (step, told_every) = (600, 10);
        for passed in 1..=step {
            let told = (passed + 9) / told_every;
            let sent = SentShares {
                accepted: told,
                work: (told * told_every) as f64,
                ..SentShares::default()
            };
            let sums = BTreeMap::from([(1_200, sent)]);
            let history = History::of(Range::Day, sums, &[], 1_200 + passed);
            let point = &history.points[0];
            assert_eq!(point.accepted, told, "counts are there at once");
            assert_eq!(point.hashrate.is_some(), passed >= 120, "{passed}");
            if let Some(hashrate) = point.hashrate {
                let error = hashrate / HASHES_PER_DIFFICULTY - 1.0;
                assert!(error.abs() < 0.1, "{passed}: {error}");
            }
        }
    }
}
