//! The steps of a server's start that are more than a call.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use anyhow::Context;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::event::Level;
use hstratum_core::units::Hash;
use postgres::Client;

use super::threads::ThreadDeps;
use crate::clock::unix_s;
use crate::cluster::blocks::relay::RelayCommand;
use crate::cluster::cluster_status::ClusterStatus;
use crate::cluster::context::ClusterContext;
use crate::cluster::users::first_users::{self, FirstUsers};
use crate::cluster::{self, ShipperDeps};
use crate::config::Config;
use crate::config::options_in_force::OptionsInForce;
use crate::config::settings::{Settings, who_may_mine};
use crate::driver::io::SystemIo;
use crate::driver::{Driver, Senders};
use crate::files::block_spool::Spool;
use crate::files::recovered_state::{RecoveredState, Unanswered};
use crate::files::{ServerFiles, UsersFiles};
use crate::limits::DESCRIPTORS_KEPT;
use crate::messages::DriverInbox;
use crate::net::listener::Encryption;
use crate::net::{Net, NetConfig, fd_limit, tls};
use crate::node::Node;
use crate::payout::{self, TermsHistory};
use crate::statuses::Statuses;
use crate::store::Store;
use crate::store::shipper_exchange::ShipperExchange;
use crate::telemetry::live::{TelemetryReader, TelemetryWriter};

/// The statuses of a server with this ledger.
pub(super) fn statuses_of(store: &Store) -> Statuses {
    let is_shared = store.shipper_exchange.is_some();
    Statuses {
        ledger: store.status.clone(),
        cluster: is_shared.then(Arc::<ClusterStatus>::default),
        ..Statuses::default()
    }
}

/// Writes the terms of the options into a ledger that is the server's own; of a shared one the coordinator
/// does.
pub(super) fn put_terms(
    store: &mut Store,
    settings: &Settings,
    node: &dyn Node,
) -> anyhow::Result<()> {
    if settings.config.database.is_some() {
        return Ok(());
    }
    let Config {
        terms, server_id, ..
    } = &settings.config;
    // Another process may hold a write transaction: nothing waits for it when there is nothing to write.
    let history = store.ledger.read(TermsHistory::read);
    let history = history.context("failed to read the pool's terms")?;
    if history.is_some_and(|history| history.newest() == terms) {
        return Ok(());
    }
    let change = store
        .ledger
        .write_at_start(|sql| payout::put_terms(sql, terms, unix_s(), server_id))
        .context("failed to write the pool's terms")?;
    if let Some(change) = change {
        node.log(Level::Info, &change.line(terms));
    }
    Ok(())
}

/// Users and bans of a pool on several servers, where this is one of them.
pub(super) fn first_users(
    settings: &Settings,
    store: &Store,
    statuses: &Statuses,
    node: &Arc<dyn Node>,
) -> anyhow::Result<Option<FirstUsers>> {
    let (Some(address), Some(cluster_status)) = (&settings.config.database, &statuses.cluster)
    else {
        return Ok(None);
    };
    let context = ClusterContext {
        address: address.clone(),
        network: settings.network,
        origin: store.origin(),
        cluster_status: cluster_status.clone(),
        label: settings.config.server_id.clone(),
        dir: settings.dir.clone(),
    };
    first_users::open(context, node).map(Some)
}

/// The state that the first pool takes over, and the files that its threads write. Users and bans of a
/// pool on several servers are those of all.
pub(super) fn recovered(
    files: ServerFiles,
    store: &Store,
    first_users: Option<&FirstUsers>,
) -> (RecoveredState, (UsersFiles, Option<Spool>)) {
    let shared = first_users.map(|first| &first.users_and_bans);
    let recovered = RecoveredState {
        users: shared.map_or(files.users, |shared| shared.users.clone()),
        bans: shared.map_or(files.bans, |shared| shared.bans.values().cloned().collect()),
        unanswered: files.unanswered,
        durable: store.durable,
        highest: store.highest,
    };
    (recovered, (files.users_files, files.spool))
}

/// Binds the ports of miners, if what their blocks pay is valid.
pub(super) fn bind(settings: &Settings, node: &dyn Node) -> anyhow::Result<(Net, mio::Waker)> {
    settings.operator_fee()?;
    let config = &settings.config;
    let (conns_max, lowered) =
        fd_limit::conns_max(config.max_inbound as usize, DESCRIPTORS_KEPT, 1);
    if let Some(text) = lowered {
        node.log(Level::Warning, &text);
    }
    let certificate = (config.tls.as_ref()).map(|files| tls::load(&files.cert, &files.key));
    Net::bind(NetConfig {
        first_option: "host, port",
        listeners: config.listeners(),
        inherited: Vec::new(),
        proxies: config.proxy_protocol.clone(),
        conns_max,
        per_address_max: config.max_per_address,
        certificate: certificate.transpose()?,
    })
}

/// A line for each listener.
pub(super) fn log_listeners(net: &Net, config: &Config, node: &dyn Node) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for (spec, own) in net.listeners() {
        let text = match spec.encryption {
            Encryption::Never => format!("listening on {}", spec.address),
            _ => format!("listening on {spec}"),
        };
        let suffix = if own < config.difficulty_min {
            let least = config.difficulty_min;
            format!(", difficulty {least}: difficulty-min is above the {own} that is set")
        } else if own == config.difficulty {
            String::new()
        } else {
            format!(", difficulty {own}")
        };
        let payee = match spec.payout {
            Some(Payout::Solo) => ", each block pays its finder",
            Some(Payout::Split) => ", each block pays the accounts",
            _ => "",
        };
        node.log(Level::Info, &(text + &suffix + payee));
        addresses.push(spec.address);
    }
    addresses
}

/// A line of who may mine, of so many users.
pub(super) fn log_who_may_mine(settings: &Settings, users: usize, node: &dyn Node) {
    let who = who_may_mine(settings.config.auth, settings.network, users);
    node.log(Level::Info, &format!("who may mine: {who}"));
}

/// The options that the server runs with, as they are shown.
pub(super) fn in_force(config: &Config, net: &Net, http: Option<&TcpListener>) -> OptionsInForce {
    let dashboard = http.and_then(|http| http.local_addr().ok());
    let listeners: Vec<_> = net.listeners().map(|(spec, _)| spec).collect();
    OptionsInForce::of(config, &listeners, dashboard)
}

/// Found blocks that an earlier run has left go to the other servers once more.
pub(super) fn relay_again(
    relay: Option<&Sender<RelayCommand>>,
    unanswered: &BTreeMap<Hash, Unanswered>,
) {
    let Some(relay) = relay else { return };
    for (hash, raw) in unanswered.values().filter_map(Unanswered::recent) {
        let _ = relay.send(RelayCommand::Spooled(hash, raw));
    }
}

/// Starts to ship to the shared ledger, where there is one.
pub(super) fn ship(
    deps: &ThreadDeps<'_>,
    shipper_exchange: Option<Arc<ShipperExchange>>,
    live: TelemetryReader,
    connected: Option<Client>,
) -> anyhow::Result<()> {
    let (Some(shipper_exchange), Some(cluster_status)) = (shipper_exchange, &deps.statuses.cluster)
    else {
        return Ok(());
    };
    let shipper = ShipperDeps {
        shipper_exchange,
        cluster_status: cluster_status.clone(),
        live,
        status: deps.statuses.ledger.clone(),
        duties: deps.statuses.duties.clone(),
        to_driver: deps.to_driver.clone(),
    };
    cluster::start(
        deps.settings,
        shipper,
        connected,
        deps.cluster_threads,
        deps.node,
    )
}

/// The driver: its sockets, whom it tells, and what its first pool begins with.
pub(super) fn driver(
    deps: &ThreadDeps<'_>,
    (net, inbox): (Net, DriverInbox),
    senders: Senders,
    recovered: RecoveredState,
    telemetry: TelemetryWriter,
) -> Driver<SystemIo> {
    let settings = deps.settings.clone();
    let config = move |unix_s| {
        let config = settings.pool_config(unix_s);
        config.expect("the options were checked, and the system gave random bytes, at the start")
    };
    let mut driver = Driver::new(
        SystemIo::new(net),
        inbox,
        deps.node.clone(),
        senders,
        Box::new(config),
        recovered,
    );
    driver.telemetry = Some(telemetry);
    // Without a ledger no account has an address of its own.
    driver.payout_addresses = deps.settings.ledger().is_none().then(Arc::default);
    driver.node_lag = deps.statuses.node_lag.clone();
    driver.sessions = deps.sessions.clone();
    driver.known_keys = deps.known_keys.clone();
    driver
}
