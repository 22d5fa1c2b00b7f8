//! Several servers of one pool: the ledger that they share, in PostgreSQL.
//!
//! A share is acknowledged once it is in a server's own file; from there it is shipped to the shared ledger,
//! once.

pub mod blocks;
pub mod cluster_status;
pub(crate) mod context;
mod heartbeat;
pub(crate) mod notifications;
pub(crate) mod origin;
mod restore_detection;
pub(crate) mod settings_comparison;
mod shipping;
mod status_log;
mod storable_names;
pub(crate) mod threads;
pub(crate) mod users;

use crate::sql::postgres_schema;
use crate::sql::sqlite_schema::FILE_NAME;
use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use hstratum_core::chain::address::Network;
use hstratum_core::units::Difficulty;
use postgres::Client;

use self::cluster_status::{ClusterStatus, ServerReport};
use self::settings_comparison::ServerSettings;
use self::threads::Threads;
use crate::clock::unix_s;
use crate::cluster::blocks::coordinator::Coordinator;
use crate::cluster::shipping::shipper::{Shipper, is_away};
use crate::config::Config;
use crate::config::settings::Settings;
use crate::limits::{REFUSED_TOLD_MAX, SHARED_START};
use crate::messages::DriverHandle;
use crate::net::listener::ListenSpec;
use crate::node::Node;
use crate::payout::agreement::PublishedTerms;
use crate::store::ledger_status::LedgerStatus;
use crate::store::shipper_exchange::ShipperExchange;
use crate::store::unproven_workers::RefusedSubmits;
use crate::supervision::{Duties, keep};
use crate::telemetry::live::{Online, TelemetryReader};

/// Name of the shipper's thread.
const SHIPPER: &str = "hstratum-shared";

/// Name of the thread that looks after blocks.
const COORDINATOR: &str = "hstratum-judge";

/// Tries to connect to the shared ledger, if one is configured; `None` if there is none or it does not answer
/// in [`SHARED_START`].
///
/// # Errors
/// When it answers that it does not accept this server.
pub(crate) fn try_connect(
    settings: &Settings,
    threads: &Threads,
) -> anyhow::Result<Option<Client>> {
    let Some(address) = settings.config.database.clone() else {
        return Ok(None);
    };
    let network = settings.network;
    let (told, answer) = sync_channel(1);
    threads.spawn(SHIPPER, move |_| {
        // The caller may have given up waiting.
        let _ = told.send(postgres_schema::connect(&address, network, unix_s()));
    })?;
    match answer.recv_timeout(SHARED_START) {
        Ok(Ok(client)) => Ok(Some(client)),
        Ok(Err(error)) if !is_away(&error) => Err(error),
        Ok(Err(_)) | Err(_) => Ok(None),
    }
}

/// Channels and shared state of the two threads.
pub(crate) struct ShipperDeps {
    pub shipper_exchange: Arc<ShipperExchange>,
    pub cluster_status: Arc<ClusterStatus>,
    pub live: TelemetryReader,
    pub status: Arc<LedgerStatus>,
    pub duties: Duties,
    pub to_driver: DriverHandle,
}

/// Starts shipping, and looking after blocks.
///
/// # Errors
/// When a thread cannot be started.
pub(crate) fn start(
    settings: &Settings,
    deps: ShipperDeps,
    connected: Option<Client>,
    threads: &Threads,
    node: &Arc<dyn Node>,
) -> anyhow::Result<()> {
    let (Some(address), Some(dir)) = (&settings.config.database, &settings.dir) else {
        return Ok(());
    };
    let (live, status) = (deps.live, deps.status);
    let compared = (compared(&settings.config), settings.network);
    let shipper = Shipper {
        address: address.clone(),
        network: settings.network,
        label: settings.config.server_id.clone(),
        ledger: dir.join(FILE_NAME),
        shipper_exchange: deps.shipper_exchange,
        cluster_status: deps.cluster_status,
        report: Box::new(move || report(&live, &status, &compared)),
        duty: deps.duties.add("shipping"),
    };
    let coordinator = Coordinator {
        address: address.clone(),
        network: settings.network,
        ledger: shipper.ledger.clone(),
        shares: dir.join("shares"),
        terms: settings.config.terms,
        label: shipper.label.clone(),
        shipper_exchange: shipper.shipper_exchange.clone(),
        cluster_status: shipper.cluster_status.clone(),
        duty: deps.duties.add("blocks of the shared ledger"),
        to_driver: deps.to_driver,
    };
    let (coordinator_node, node) = (node.clone(), node.clone());
    let mut connected = connected;
    // Both end when the dock is closed.
    threads.spawn(SHIPPER, move |_| {
        keep(SHIPPER, &*node, || shipper.run(connected.take(), &*node));
    })?;
    threads.spawn(COORDINATOR, move |_| {
        keep(COORDINATOR, &*coordinator_node, || {
            coordinator.run(&*coordinator_node);
        });
    })
}

/// The settings to be compared with other servers.
fn compared(config: &Config) -> ServerSettings {
    ServerSettings {
        pays: None,
        auth: config.auth.name().to_owned(),
        has_password: config.password.is_some(),
        has_proxy_secret: config.proxy_secret.is_some(),
        difficulty_min: config.difficulty_min.to_string(),
        payouts: config.listeners().into_iter().map(payout_on).collect(),
        fee_address: config.fee_address.clone(),
        terms: Some(PublishedTerms::from(&config.terms)),
    }
}

/// Port and kind of payout of a listener.
fn payout_on((spec, _): (ListenSpec, Difficulty)) -> (u16, String) {
    let payout = spec.payout.unwrap_or_default();
    (spec.address.port(), payout.name().to_owned())
}

/// The report of this server for the others.
fn report(
    live: &TelemetryReader,
    status: &LedgerStatus,
    (settings, network): &(ServerSettings, Network),
) -> ServerReport {
    let mut report = ServerReport {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        settings: settings.clone(),
        ..ServerReport::default()
    };
    if let Some(now) = live.latest() {
        report.hashrate = now.view.hashrate;
        let payee = now.view.payee.as_ref();
        report.settings.pays = payee.map(|payee| payee.encode(*network));
        report.connections = now.connections();
        let workers = now.workers.iter().flat_map(|workers| workers.iter());
        let names: HashSet<_> = workers.map(|one| (&*one.account, &*one.worker)).collect();
        let online = Online::count(names.iter().copied());
        (report.workers, report.accounts) = (online.workers, online.accounts);
        report.height = now.view.job.map(|job| job.height.0);
        report.has_job = now.is_healthy();
        report.accepted = now.view.counts.accepted.count;
        report.refused = refused(status, &names);
    }
    report
}

/// Workers without an accepted share: the latest ten minutes first, then those with the most submits.
fn refused(status: &LedgerStatus, connected: &HashSet<(&str, &str)>) -> Vec<RefusedSubmits> {
    let mut rows: Vec<RefusedSubmits> = status
        .unproven(unix_s())
        .into_iter()
        .map(RefusedSubmits::from)
        .collect();
    rows.sort_by_key(|row| Reverse((row.start, row.all())));
    rows.truncate(REFUSED_TOLD_MAX);
    for row in &mut rows {
        row.is_connected = connected.contains(&(&*row.account, &*row.worker));
    }
    rows
}
