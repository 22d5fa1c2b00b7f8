//! The servers that share a ledger, from the reports that each writes there every second; and whether the
//! shared ledger can be read at all.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Site;
use super::answer::{ApiResult, QueryParams, Problem, page_of};
use super::ledger_reader::LedgerReader;
use super::pool::ApiPool;
use crate::limits::{HTTP_SERVERS_MAX, SERVER_LIVE_MS};
use crate::sql::{NOW_MS, Sql, SqlError};
use crate::store::unproven_workers::RefusedSubmits;
use crate::values;

/// Milliseconds of silence after which a server is no longer shown.
const SHOWN_MS: u64 = 86_400_000;

/// A server of the pool.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Server)]
pub(crate) struct ApiServer {
    /// Its name. Untrusted text.
    pub name: String,
    /// Whether it is the one that answers.
    pub is_this: bool,
    /// Whether it was seen within ten seconds.
    pub is_alive: bool,
    /// Seconds since it was seen.
    pub seen_s_ago: f64,
    /// Whether miners are to leave it.
    pub is_draining: bool,
    /// Whether its miners have a job that is worth their work.
    pub has_job: bool,
    /// Its node's height.
    pub tip: Option<u32>,
    /// Up to this height all its shares are in the shared ledger.
    pub shipped_tip: Option<u32>,
    /// Batches of shares that are not in the shared ledger yet.
    pub behind: u64,
    /// Hashes a second, estimated from the shares of the last minutes.
    pub hashrate: f64,
    /// Connections of miners.
    pub connections: u64,
    /// Workers that may have work.
    pub workers: u64,
    /// Their accounts.
    pub accounts: u64,
    /// Its program's version.
    pub version: String,
    #[serde(skip)]
    pub origin: i64,
    /// What came of its workers that never had a share accepted.
    #[serde(skip)]
    pub refused: Vec<RefusedSubmits>,
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
#[schema(as = Servers)]
pub(crate) struct ApiServers {
    /// Rows of the whole list.
    total: usize,
    /// By name.
    servers: Vec<ApiServer>,
}

/// Which servers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ServersAsked {
    /// Rows of the answer, at most.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// Rows left out before them.
    #[param(minimum = 0, maximum = 4_294_967_295_u32, default = 0)]
    offset: Option<u32>,
}

/// Report of a server about itself. Another version's may have more fields, or fewer.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ReadReport {
    version: String,
    hashrate: f64,
    connections: u64,
    workers: u64,
    accounts: u64,
    behind: u64,
    has_job: bool,
    refused: Vec<RefusedSubmits>,
}

/// Cache of the servers.
#[derive(Default)]
pub(crate) struct ServerList(Mutex<ServersRead>);

/// The servers as last read.
#[derive(Clone, Default)]
pub(crate) struct ServersRead {
    pub servers: Arc<Vec<ApiServer>>,
    /// Reason why the last reading failed, if it did.
    pub away: Option<String>,
}

impl ServerList {
    /// The servers as of a second ago; none if the ledger is not shared.
    pub(crate) fn known(&self) -> ServersRead {
        self.0.lock().clone()
    }

    /// Reads them again.
    pub(crate) async fn refresh(&self, reader: &LedgerReader, own: Option<i64>) {
        let read = reader.read(move |sql| read(sql, own)).await;
        let mut known = self.0.lock();
        match read {
            Ok(servers) => {
                known.servers = Arc::new(servers);
                known.away = None;
            }
            Err(failure) => known.away = Some(failure.1),
        }
    }
}

impl ServersRead {
    /// All live servers but this one.
    pub(crate) fn others(&self) -> impl Iterator<Item = &ApiServer> {
        let servers = self.servers.iter();
        servers.filter(|server| server.is_alive && !server.is_this)
    }

    /// Servers by their numbers in the ledger.
    pub(crate) fn by_origin(&self) -> HashMap<i64, &ApiServer> {
        let servers = self.servers.iter();
        servers.map(|server| (server.origin, server)).collect()
    }
}

/// Reads the servers. `own` is this server's number, since another one may have its name. A file that its
/// server has replaced by a later one is left out.
fn read(sql: &mut dyn Sql, own: Option<i64>) -> Result<Vec<ApiServer>, SqlError> {
    let rows = sql.query(
        &format!(
            "SELECT id, label, {NOW_MS} - seen_at_ms, tip, shipped_tip, is_draining, report
             FROM origins
             WHERE seen_at_ms > {NOW_MS} - ?1 AND successor IS NULL
             ORDER BY seen_at_ms DESC LIMIT ?2"
        ),
        &values![SHOWN_MS, HTTP_SERVERS_MAX],
    )?;
    let servers = rows.iter().map(|row| {
        let (name, silent_ms): (String, i64) = (row.get(1)?, row.get(2)?);
        let report: ReadReport = serde_json::from_str(&row.get::<String>(6)?).unwrap_or_default();
        let silent_ms = silent_ms.max(0).unsigned_abs();
        Ok(ApiServer {
            is_this: own.is_some() && own == row.get(0)?,
            name,
            is_alive: silent_ms < SERVER_LIVE_MS,
            seen_s_ago: silent_ms as f64 / 1000.0,
            is_draining: row.get::<i64>(5)? != 0,
            has_job: report.has_job,
            tip: row.get(3)?,
            shipped_tip: row.get(4)?,
            behind: report.behind,
            hashrate: report.hashrate,
            connections: report.connections,
            workers: report.workers,
            accounts: report.accounts,
            version: report.version,
            origin: row.get(0)?,
            refused: report.refused,
        })
    });
    let mut servers = servers.collect::<Result<Vec<_>, SqlError>>()?;
    servers.sort_by(|a, b| (&a.name, a.origin).cmp(&(&b.name, b.origin)));
    Ok(servers)
}

/// The servers of the pool that were seen within a day; only this one where it shares no ledger.
#[utoipa::path(get, path = "/api/v1/servers", tag = "pool", params(ServersAsked), responses(
    (status = 200, body = ApiServers), (status = 400, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn servers(
    State(site): State<Arc<Site>>,
    QueryParams(asked): QueryParams<ServersAsked>,
) -> ApiResult<ApiServers> {
    let (limit, offset) = page_of(asked.limit, asked.offset)?;
    let all = match site.reader.as_ref().filter(|reader| reader.is_shared()) {
        Some(reader) => {
            let own = site.sources.own_number();
            reader.read(move |sql| read(sql, own)).await?
        }
        None => {
            let (now, workers) = site.sources.live.look_at_workers().await?;
            let pool = ApiPool::of(&site, &now, &workers, None, None);
            vec![pool.as_server(site.server_id.clone())]
        }
    };
    let page = all.iter().skip(offset as usize).take(limit as usize);
    Ok(Json(ApiServers {
        total: all.len(),
        servers: page.cloned().collect(),
    }))
}

#[cfg(test)]
impl ApiServer {
    pub(crate) fn named(origin: i64) -> Self {
        Self {
            name: format!("server-{origin}"),
            is_this: false,
            is_alive: true,
            seen_s_ago: 0.0,
            is_draining: false,
            has_job: true,
            tip: None,
            shipped_tip: None,
            behind: 0,
            hashrate: 0.0,
            connections: 0,
            workers: 0,
            accounts: 0,
            version: String::new(),
            origin,
            refused: Vec::new(),
        }
    }
}
