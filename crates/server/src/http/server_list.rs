//! The servers that share a ledger, as they tell of themselves in it each second; and why it cannot be read.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use super::ledger_reader::LedgerReader;
use crate::cluster::cluster_status::ServerReport;
use crate::limits::{HTTP_SERVERS_MAX, SERVER_LIVE_MS};
use crate::sql::{NOW_MS, Sql, SqlError};
use crate::store::unproven_workers::RefusedSubmits;
use crate::values;

/// Servers that were not seen for longer are not shown.
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

/// See the module.
#[derive(Default)]
pub(crate) struct ServerList(Mutex<ServersRead>);

/// What was read last.
#[derive(Clone, Default)]
pub(crate) struct ServersRead {
    pub servers: Arc<Vec<ApiServer>>,
    /// Why that was not now.
    pub away: Option<String>,
}

impl ServerList {
    /// As they were a second ago. None where the ledger is not shared.
    pub(crate) fn known(&self) -> ServersRead {
        self.0.lock().clone()
    }

    /// Reads them anew.
    pub(crate) async fn refresh(&self, reader: &LedgerReader, own: Option<i64>) {
        let read = reader.read(move |sql| read_servers(sql, own)).await;
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
    /// All but the one that asks, as far as they are alive.
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

/// `own` is this server's number: another one may have its name. A file from which its server has gone on
/// to a later one is not shown.
pub(crate) fn read_servers(
    sql: &mut dyn Sql,
    own: Option<i64>,
) -> Result<Vec<ApiServer>, SqlError> {
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
        // Another program's may have more in it, or less.
        let report: ServerReport = serde_json::from_str(&row.get::<String>(6)?).unwrap_or_default();
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
            behind: report.behind.max(0).unsigned_abs(),
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
