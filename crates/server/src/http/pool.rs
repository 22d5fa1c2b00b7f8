//! Current state of the pool, and its health.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hstratum_core::event::LedgerState;
use hstratum_core::pool::status::{PoolCounts, WorkerStatus};
use hstratum_core::units::{BLOCK_S, HASHES_PER_DIFFICULTY};
use hstratum_core::wire::message::Reject;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{ApiResult, NoParams, Problem};
use super::estimates::PoolMoney;
use super::listeners::host_of;
use super::payer::PoolPayouts;
use super::server_list::ApiServer;
use super::site::Site;
use crate::cluster::cluster_status::ClusterLink;
use crate::supervision::Duties;
use crate::telemetry::chain_sync::SyncStatus;
use crate::telemetry::live::{Online, Silent, Snapshot};
use crate::telemetry::node_lag::NodeLag;
use crate::telemetry::node_reports::{DeploymentStatus, ExtraNodeStatus};

/// The pool as it is now.
#[derive(Serialize, ToSchema)]
#[schema(as = Pool)]
pub(crate) struct ApiPool {
    /// This program's version.
    version: &'static str,
    /// `main`, `testnet`, `regtest` or `simnet`.
    network: &'static str,
    /// Seconds since the server started.
    uptime_s: u64,
    /// Who may mine: `users`, `open` or `address`.
    auth: &'static str,
    /// What is shown to whoever is not the operator: `public`, `names-hidden` or `private`.
    dashboard: &'static str,
    /// Whether somebody may sign in.
    can_sign_in: bool,
    /// The address that a block found now pays; none before the first job.
    pays: Option<String>,
    /// How blocks of this server's listeners pay: `operator`, `solo`, `split`.
    block_payouts: BTreeSet<String>,
    /// In what other servers of the pool differ from this one, a line each. Untrusted text.
    pub(super) differences: Vec<String>,
    /// Whether a ledger is kept; without one there is no history and no money.
    has_ledger: bool,
    /// What a miner is to be pointed at: the first of `/api/v1/listeners`, by this server's own address where a
    /// proxy before it is not known.
    stratum_url: String,
    /// Hashes a second of all servers, estimated from the shares of the last minutes.
    hashrate: f64,
    /// The same of the whole network, from its difficulty; none before the first job.
    network_hashrate: Option<f64>,
    /// What a block takes; none before the first job.
    network_difficulty: Option<f64>,
    /// The height that miners work on; none before the first job.
    height: Option<u32>,
    /// Transactions in the job.
    transactions: Option<usize>,
    /// What a block pays, in base units.
    reward: Option<u64>,
    /// Seconds since the newest template came.
    template_age_s: Option<f64>,
    /// Whether miners have a job that is worth their work.
    pub(super) has_job: bool,
    /// Why they have none, where that is known.
    pub(super) no_job_reason: Option<String>,
    /// The node's download of the chain; none while the node is synchronized.
    sync: Option<SyncStatus>,
    /// What the node was asked and has not answered for too long; none where there is nothing.
    pub(super) node_overdue: Option<String>,
    /// The node's reason to refuse the block of its own template, of which miners get what is valid; none
    /// while templates are valid.
    pub(super) template_invalid: Option<String>,
    /// Reason why a found block would be lost, by the last drill; none if that worked.
    pub(super) block_path_broken: Option<String>,
    /// That the node knows less of the chain than the ledger was shown; none while it knows enough.
    pub(super) node_behind: Option<String>,
    /// The network's deployments, and which of them the pool's blocks signal for; empty before the first
    /// template.
    deployments: Vec<DeploymentStatus>,
    /// The nodes of option `extra-nodes`.
    pub(super) extra_nodes: Vec<ExtraNodeStatus>,
    /// What the server's threads have left undone for over a minute, by the names that
    /// `hstratum_duty_age_seconds` gives them.
    pub(super) undone: Vec<&'static str>,
    /// Why shares are refused; none while the ledger takes them.
    pub(super) ledger_failing: Option<String>,
    /// Whether another process holds the ledger, and shares wait for it.
    pub(super) ledger_stalled: bool,
    /// Servers of the pool that run.
    servers: usize,
    /// Why the ledger that they share cannot be read; none while it can, or where there is none.
    pub(super) shared_ledger_away: Option<String>,
    /// Connections of miners, to all servers.
    connections: u64,
    /// Workers that are online: those of one name count once, on whatever servers. While the shared ledger
    /// is away, once on each server.
    workers: u64,
    /// Their accounts.
    accounts: u64,
    /// How full the sockets of this server are.
    pub(super) places: Places,
    /// Addresses that are refused.
    banned: usize,
    /// Submits to this server since it started.
    shares: ApiShares,
    #[serde(flatten)]
    money: PoolMoney,
    #[serde(flatten)]
    pub(super) payouts: PoolPayouts,
}

/// How full the sockets are, and who was not let in since the start.
#[derive(Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Places {
    /// Connections that there may be.
    all: usize,
    /// Those that there are.
    taken: usize,
    /// Of them, those that have said nothing yet.
    silent: usize,
    /// Of them, those that have not logged in yet, the silent ones too: they give way when all places
    /// are taken.
    not_logged_in: usize,
    /// Of them, those that have logged in and have no accepted share yet. They give way too.
    unproven: usize,
    /// Descriptors that the process may still open, where the system says that.
    descriptors_left: Option<u64>,
    /// Connections refused because all places were taken.
    refused_full: u64,
    /// Connections refused because their address had enough.
    refused_per_address: u64,
    /// Times that none could be taken for want of descriptors.
    refused_descriptors: u64,
    /// Connections refused because their address is banned.
    refused_banned: u64,
    /// Connections that had not logged in and were closed for new ones.
    gave_way: u64,
    /// Connections that had logged in, without an accepted share, and were closed for new ones.
    gave_way_unproven: u64,
    /// Whether somebody found no place within the last minute.
    pub(super) is_crowded: bool,
    /// Logins that were refused since the start, see `/api/v1/refusals`.
    refused_logins: u64,
}

impl Places {
    fn of(now: &Snapshot) -> Self {
        let door = now.door;
        Self {
            all: door.places,
            taken: door.taken,
            silent: door.silent,
            not_logged_in: door.strangers,
            unproven: door.unproven,
            descriptors_left: door.descriptors_left,
            refused_full: door.refused_full,
            refused_per_address: door.refused_address,
            refused_descriptors: door.refused_descriptors,
            refused_banned: now.view.counts.refused_banned,
            gave_way: door.gave_way,
            gave_way_unproven: door.gave_way_unproven,
            is_crowded: now.is_crowded,
            refused_logins: now.view.refused_logins.iter().sum(),
        }
    }
}

/// Submits by what came of them.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[schema(as = Shares)]
pub(crate) struct ApiShares {
    accepted: u64,
    /// For a job that is no longer worth anything.
    stale: u64,
    /// Sent before.
    duplicate: u64,
    /// Above its target.
    low: u64,
    /// All others.
    other: u64,
}

impl ApiShares {
    fn of(counts: &PoolCounts) -> Self {
        let of = |reject: Reject| counts.rejected[reject as usize];
        let stale = of(Reject::JobNotFound) + of(Reject::StalePrevblk);
        let (duplicate, low) = (of(Reject::Duplicate), of(Reject::HighHash));
        Self {
            accepted: counts.accepted.count,
            stale,
            duplicate,
            low,
            other: counts.rejected.iter().sum::<u64>() - stale - duplicate - low,
        }
    }
}

/// Hashes a second of a network of this difficulty.
pub(crate) fn network_hashrate(difficulty: f64) -> f64 {
    difficulty * HASHES_PER_DIFFICULTY / BLOCK_S
}

impl ApiPool {
    pub(crate) fn of(
        site: &Site,
        now: &Snapshot,
        workers: &[WorkerStatus],
        online: Option<Online>,
        host: Option<&str>,
    ) -> Self {
        let (job, payee) = (now.view.job, now.view.payee.as_ref());
        let difficulty = job.map(|job| job.network_difficulty.get());
        let ledger = site.statuses.ledger.read();
        let known = site.pool_servers.known();
        let sum = |of: fn(&ApiServer) -> u64| known.others().map(of).sum::<u64>();
        let online = online.unwrap_or_else(|| {
            let here = Online::of(workers);
            Online {
                workers: here.workers + sum(|server| server.workers),
                accounts: here.accounts + sum(|server| server.accounts),
            }
        });
        let elsewhere: f64 = known.others().map(|server| server.hashrate).sum();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            network: site.network.name(),
            uptime_s: site.started.elapsed().as_secs(),
            auth: site.auth,
            dashboard: site.dashboard.name(),
            can_sign_in: site.has_login,
            block_payouts: site.payouts.clone(),
            pays: payee.map(|payee| payee.encode(site.network)),
            differences: differences(site),
            has_ledger: site.reader.is_some(),
            stratum_url: site.listeners.first_url(host),
            hashrate: now.view.hashrate + elsewhere,
            network_hashrate: difficulty.map(network_hashrate),
            network_difficulty: difficulty,
            height: job.map(|job| job.height.0),
            transactions: job.map(|job| job.transactions),
            reward: job.map(|job| job.reward),
            template_age_s: now.template_age().map(|age| age.as_secs_f64()),
            has_job: now.is_healthy(),
            no_job_reason: now.view.no_template.clone().filter(|_| !now.is_healthy()),
            sync: site.statuses.node_reports.sync.read(),
            node_overdue: site.statuses.node_lag.overdue(),
            template_invalid: site.statuses.node_lag.invalid(),
            block_path_broken: site.statuses.node_lag.block_path_broken(),
            node_behind: site.statuses.node_lag.behind(),
            deployments: site.statuses.node_reports.deployments(),
            extra_nodes: site.statuses.node_reports.extra_nodes(),
            undone: site.statuses.duties.late(),
            ledger_failing: (ledger.failing).filter(|_| now.view.ledger == LedgerState::Failing),
            ledger_stalled: ledger.is_stalled,
            servers: 1 + known.others().count(),
            connections: now.connections() + sum(|server| server.connections),
            workers: online.workers,
            accounts: online.accounts,
            shared_ledger_away: known.away,
            places: Places::of(now),
            banned: now.view.banned,
            shares: ApiShares::of(&now.view.counts),
            money: PoolMoney::default(),
            payouts: PoolPayouts::default(),
        }
    }

    pub(crate) fn with_money(self, site: &Site, money: PoolMoney) -> Self {
        let payouts = site.own_payouts(&money);
        Self {
            money,
            payouts,
            ..self
        }
    }
}

impl ApiPool {
    /// The pool as the only server of a list, if the ledger is not shared.
    pub(crate) fn as_server(&self, name: String) -> ApiServer {
        ApiServer {
            name,
            is_this: true,
            is_alive: true,
            seen_s_ago: 0.0,
            is_draining: false,
            has_job: self.has_job,
            tip: self.height.and_then(|height| height.checked_sub(1)),
            shipped_tip: None,
            behind: 0,
            hashrate: self.hashrate,
            connections: self.connections,
            workers: self.workers,
            accounts: self.accounts,
            version: self.version.to_owned(),
            origin: 0,
            refused: Vec::new(),
        }
    }
}

/// In what other servers of the pool differ, as far as that is known now.
fn differences(site: &Site) -> Vec<String> {
    let reading = site.statuses.cluster.as_ref().map(|shared| shared.look());
    let reading = reading.filter(|reading| matches!(reading.link, ClusterLink::Up));
    reading.map_or_else(Vec::new, |reading| reading.differences)
}

/// The pool as it is now.
#[utoipa::path(get, path = "/api/v1/pool", tag = "pool", responses(
    (status = 200, body = ApiPool), (status = 503, body = Problem)))]
pub(crate) async fn pool(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    _: NoParams,
) -> ApiResult<ApiPool> {
    let (now, workers) = site.live.look_at_workers().await?;
    let online = site.online().await;
    let pool = ApiPool::of(&site, &now, &workers, online, host_of(&headers));
    Ok(Json(pool.with_money(&site, site.money().await)))
}

/// Whether miners are served.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, or what is wrong.
    status: String,
    /// What is not as it should be while miners are served; left out where there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<String>,
}

/// Whether miners have a job that is worth their work and the ledger takes their shares.
#[utoipa::path(get, path = "/healthz", tag = "monitoring", responses(
    (status = 200, body = Health), (status = 503, body = Health)))]
pub(crate) async fn health(State(site): State<Arc<Site>>) -> Response {
    let wrong = match site.live.look().await {
        Err(Silent) => Some("the pool does not answer".to_owned()),
        Ok(now) if !now.is_healthy() => Some(match &now.view.no_template {
            Some(reason) => format!("no job for miners: {reason}"),
            None => "no job for miners: the node has not given one yet".to_owned(),
        }),
        Ok(now) if now.view.ledger == LedgerState::Failing => {
            Some("the ledger cannot be written and shares are refused".to_owned())
        }
        Ok(_) => site.statuses.ledger.read().trouble(),
    };
    let code = match wrong {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let status = wrong.unwrap_or_else(|| "ok".to_owned());
    let degraded = degraded(&site.statuses.node_lag, &site.statuses.duties);
    (code, Json(Health { status, degraded })).into_response()
}

/// Description of everything that is wrong while miners are still served, in one line.
fn degraded(node: &NodeLag, duties: &Duties) -> Option<String> {
    let overdue = node.overdue();
    let overdue = overdue.map(|what| format!("the node does not answer: {what}"));
    let behind = node.behind().map(|what| format!("the node: {what}"));
    let invalid = node.invalid();
    let invalid = invalid.map(|reason| format!("the node's template is invalid: {reason}"));
    let broken = node.block_path_broken();
    let broken = broken.map(|reason| format!("a found block would be lost: {reason}"));
    let undone = duties.late();
    let undone =
        (!undone.is_empty()).then(|| format!("not done for over a minute: {}", undone.join(", ")));
    let all: Vec<_> = [overdue, behind, invalid, broken, undone]
        .into_iter()
        .flatten()
        .collect();
    (!all.is_empty()).then(|| all.join("; "))
}

#[cfg(test)]
mod tests {
    use hstratum_core::units::Height;

    use super::*;

    #[test]
    fn all_that_is_not_as_it_should_be_is_told_in_one_line() {
        let (node, duties) = (NodeLag::default(), Duties::default());
        assert_eq!(degraded(&node, &duties), None);
        duties.add("spool").owe_since_long();
        duties.add("webhook").owe();
        node.set_behind(Some(Height(12)));
        let text = "the node: it knows less of the chain than the ledger was shown, up to height 12; \
                    not done for over a minute: spool";
        assert_eq!(degraded(&node, &duties).as_deref(), Some(text));
    }
}
