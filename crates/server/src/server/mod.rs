//! The server as the node's side sees it: it is started, given events, and stopped. Only
//! [`Server::start`] and the methods named `wait` block.

mod threads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hstratum_core::chain::block::Verdict;
use hstratum_core::chain::template::TemplateParts;
use hstratum_core::event::Level;
use hstratum_core::order::Order;
use hstratum_core::units::{Hash, Height};

use crate::alerts::{AlarmFeed, AlarmSources};
use crate::cluster::cluster_status::{self, ClusterStatus};
use crate::cluster::context::ClusterContext;
use crate::cluster::first_users::{self, FirstUsers};
use crate::cluster::relay::RelayCommand;
use crate::cluster::threads::Threads;
use crate::cluster::{self, ShipperDeps};
use crate::config;
use crate::config::in_force::InForce;
use crate::config::settings::{Settings, who_may_mine};
use crate::driver::Driver;
use crate::driver::io::SystemIo;
use crate::duty::Duties;
use crate::files::ServerFiles;
use crate::files::recovered::{Recovered, Unanswered};
use crate::http::{self, Site, Sources};
use crate::limits::{CLOSE_MS, DESCRIPTORS_KEPT};
use crate::messages::{DriverHandle, NodeEvent};
use crate::net::listener::Encryption;
use crate::net::{Net, NetConfig, fd_limit, tls};
use crate::node::{Look, Node};
use crate::operator::Orders;
pub use crate::operator::{AddressStored, Ordered, ServerDrained};
use crate::server::threads::{ThreadDeps, spawn};
use crate::store::ledger_status::{LedgerReading, LedgerStatus};
use crate::store::{Store, StoreCommand};
use crate::telemetry::live;
pub use crate::telemetry::node_lag::Lag;
use crate::telemetry::node_lag::NodeLag;
pub use crate::telemetry::open_round::{RoundKnown, RoundReader};
use crate::workers::UsersCommand;

/// A running server.
pub struct Server {
    to_driver: DriverHandle,
    orders: Orders,
    addresses: Vec<SocketAddr>,
    status: Arc<LedgerStatus>,
    cluster_status: Option<Arc<ClusterStatus>>,
    node_lag: Arc<NodeLag>,
    round: RoundReader,
    in_force: InForce,
}

impl Server {
    /// Reads the files, binds the ports and starts the threads. Blocks that an earlier run left unanswered
    /// are offered to the node at once.
    ///
    /// # Errors
    /// One line that names the file or the address that is wrong.
    pub fn start(settings: Settings, node: Arc<dyn Node>) -> anyhow::Result<Self> {
        let mut files = ServerFiles::open(&settings, &*node)?;
        let threads = Threads::none();
        let connected = cluster::try_connect(&settings, &threads)?;
        let store = Store::open(&settings, &*node)?;
        let cluster_status = store
            .shipping_queue
            .is_some()
            .then(Arc::<ClusterStatus>::default);
        let first_users = open_shared(&settings, &store, cluster_status.as_ref(), &node)?;
        if let Some(first_users) = &first_users {
            files.users.clone_from(&first_users.users_and_bans.users);
            files.bans = first_users.users_and_bans.bans.values().cloned().collect();
        }
        let shipping_queue = store.shipping_queue.clone();
        let duties = Duties::default();
        let (durable, highest, status) = (store.durable, store.highest, store.status.clone());
        let config = &settings.config;
        let certificate = (config.tls.as_ref()).map(|files| tls::load(&files.cert, &files.key));
        let (net, waker) = Net::bind(NetConfig {
            first_option: "host, port",
            listeners: settings.listeners(),
            inherited: Vec::new(),
            proxies: config.proxy_protocol.clone(),
            conns_max: conns_max(config, &*node),
            per_address_max: config.max_per_address,
            certificate: certificate.transpose()?,
        })?;
        let addresses = log_listeners(&net, config, &*node);
        let who = who_may_mine(config.auth, settings.network, files.users.len());
        node.log(Level::Info, &format!("who may mine: {who}"));
        let http = http::bind(config, &*node)?;
        let dashboard = http.as_ref().and_then(|http| http.local_addr().ok());
        let in_force = InForce::of(config, net.listeners().map(|(spec, _)| spec), dashboard);
        let (to_driver, inbox) = DriverHandle::new(waker);
        let alarm_feed = Arc::new(AlarmFeed::default());
        let node_lag = Arc::new(NodeLag::default());
        let alarm_sources = AlarmSources {
            shared: cluster_status.clone(),
            node_lag: node_lag.clone(),
            ledger: status.clone(),
            duties: duties.clone(),
        };
        let deps = ThreadDeps {
            settings: &settings,
            to_driver: &to_driver,
            node: &node,
            alarm_feed: &alarm_feed,
            alarm_sources: &alarm_sources,
            threads: &threads,
            duties: &duties,
        };
        let (senders, mut join_handles) =
            threads::start(&deps, store, files.users_files, files.spool, first_users)?;
        let (store_sender, users_sender) = (senders.store.clone(), senders.users.clone());
        let relay_sender = senders.relay.clone();
        if let Some(relay) = &senders.relay {
            for (hash, raw) in files.unanswered.values().filter_map(Unanswered::recent) {
                let _ = relay.send(RelayCommand::Spooled(hash, raw));
            }
        }
        let orders = Orders::new(to_driver.clone(), &settings);
        let round = RoundReader::new(settings.ledger());
        let settings = settings.with_port(addresses[0].port());
        let (telemetry, live) = live::channel();
        if let (Some(shipping_queue), Some(cluster_status)) = (shipping_queue, &cluster_status) {
            let deps = ShipperDeps {
                shipping_queue,
                cluster_status: cluster_status.clone(),
                live: live.clone(),
                status: status.clone(),
                duties: duties.clone(),
                to_driver: to_driver.clone(),
            };
            cluster::start(&settings, deps, connected, &threads, &node)?;
        }
        if let Some(listener) = http {
            let sources = Sources {
                live,
                status: status.clone(),
                node_lag: node_lag.clone(),
                shared: cluster_status.clone(),
                alarm_feed,
                duties,
            };
            let (site, http_node) = (Site::new(&settings, sources, &orders), node.clone());
            join_handles.push(spawn("hstratum-http", move || {
                http::run(listener, site, &*http_node);
            })?);
        }
        let mut driver = Driver::new(
            SystemIo::new(net),
            inbox,
            node.clone(),
            senders,
            Box::new(move |unix_s| {
                let config = settings.pool_config(unix_s);
                config.expect("a system that gave random bytes at the start goes on giving them")
            }),
            Recovered {
                users: files.users,
                bans: files.bans,
                unanswered: files.unanswered,
                durable,
                highest,
            },
        );
        driver.telemetry = Some(telemetry);
        driver.node_lag = node_lag.clone();
        spawn("hstratum", move || {
            let done = driver.run();
            // The channels close with the driver, and each worker ends when its work is done.
            drop(driver);
            let _ = store_sender.send(StoreCommand::Stop);
            let _ = users_sender.send(UsersCommand::Stop);
            let _ = relay_sender.map(|relay| relay.send(RelayCommand::Stop));
            drop((store_sender, users_sender));
            threads::join(join_handles, &*node);
            // The ledger's last batches are sealed by now.
            threads.stop();
            node.log(Level::Info, "stopped");
            let _ = done.send(());
        })?;
        Ok(Self {
            to_driver,
            orders,
            addresses,
            status,
            cluster_status,
            node_lag,
            round,
            in_force,
        })
    }

    /// Address that miners connect to: `host` and `port`.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// All addresses that miners connect to: [`Self::address`], then those of `listen`.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The options in force.
    pub fn in_force(&self) -> &InForce {
        &self.in_force
    }

    /// Reads the certificate and its key again, for new connections. If that fails, the reason is logged and
    /// the old ones stay.
    pub fn reload_certificates(&self) {
        self.to_driver.node(NodeEvent::ReloadCertificates);
    }

    /// Status of the ledger.
    pub fn ledger_status(&self) -> LedgerReading {
        self.status.read()
    }

    /// Status of the shared ledger; `None` without one.
    pub fn cluster_status(&self) -> Option<cluster_status::ClusterReading> {
        self.cluster_status
            .as_ref()
            .map(|cluster_status| cluster_status.look())
    }

    /// Reader of the open round (the shares since the pool's last block).
    pub fn round(&self) -> RoundReader {
        self.round.clone()
    }

    /// Records the delay of the node's event loop.
    pub fn node_lag(&self, lag: Lag) {
        self.node_lag.tell(lag);
    }

    /// Records a request that the node has not answered for too long, with its age; `None` when there is
    /// none.
    pub fn node_overdue(&self, what: Option<String>) {
        self.node_lag.set_overdue(what);
    }

    /// Message that the node knows less chain work than the ledger was shown; `None` if it does not.
    pub fn node_behind(&self) -> Option<String> {
        self.node_lag.behind()
    }

    /// Tells the pool that the chain has a new tip of this height.
    pub fn tip(&self, hash: Hash, height: Height) {
        self.to_driver.node(NodeEvent::Tip(hash, height));
    }

    /// Takes the node's answer to [`Node::locate`].
    pub fn located(&self, look: Look) {
        self.to_driver.node(NodeEvent::Located(look));
    }

    /// Takes a template on the node's tip.
    pub fn template(&self, parts: TemplateParts) {
        self.to_driver.node(NodeEvent::Template(Box::new(parts)));
    }

    /// Takes a template's raw transactions, concatenated, without the coinbase.
    pub fn transactions(&self, template: u64, bytes: Arc<[u8]>) {
        self.to_driver
            .node(NodeEvent::Transactions(template, bytes));
    }

    /// Takes the reason why there can be no job now.
    pub fn no_template(&self, reason: String) {
        self.to_driver.node(NodeEvent::NoTemplate(reason));
    }

    /// Takes the node's answer to a block.
    pub fn block_result(&self, hash: Hash, verdict: Verdict) {
        self.to_driver.node(NodeEvent::BlockResult(hash, verdict));
    }

    /// Sets an account's payout address; neither has to be known before. The returned value waits until it is
    /// durable.
    ///
    /// # Errors
    /// When the name is invalid, or the address is none of this network that can be paid.
    pub fn set_address(&self, account: &str, address: &str) -> anyhow::Result<AddressStored> {
        self.orders.set_address(account, address)
    }

    /// Orders servers of that name to drain over this many seconds, or to accept miners again. The returned
    /// value waits until the order is in the shared ledger.
    ///
    /// # Errors
    /// When the drain would take too long.
    pub fn drain_server(&self, server: &str, over_s: Option<u64>) -> anyhow::Result<ServerDrained> {
        self.orders.drain_server(server, over_s)
    }

    /// Gives the pool an order. The returned value waits for the answer, which comes once the change is
    /// durable.
    pub fn order(&self, order: Order) -> Ordered {
        self.orders.give(order)
    }

    /// Announces a stop, so that proxies move their miners elsewhere. The returned value waits until that is
    /// done, which is at once if no proxy has any.
    pub fn leave(&self) -> Closing {
        let (done, left) = channel();
        self.to_driver.node(NodeEvent::Leave(done));
        Closing(left)
    }

    /// Begins to stop. The returned value waits until everything is flushed; a second call, or one after a
    /// failure, completes at once.
    pub fn close(&self) -> Closing {
        let (done, closed) = channel();
        self.to_driver.node(NodeEvent::Close(done));
        Closing(closed)
    }
}

/// A stage of a stop under way.
pub struct Closing(Receiver<()>);

impl Closing {
    /// Waits until it is done, at most ten seconds; returns false if it took longer.
    pub fn wait(&self) -> bool {
        use std::sync::mpsc::RecvTimeoutError::Timeout;
        let answer = self.0.recv_timeout(Duration::from_millis(CLOSE_MS));
        !matches!(answer, Err(Timeout))
    }
}

/// Logs a line for each listener, and returns their addresses.
fn log_listeners(net: &Net, config: &config::Config, node: &dyn Node) -> Vec<SocketAddr> {
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
        node.log(Level::Info, &(text + &suffix));
        addresses.push(spec.address);
    }
    addresses
}

/// Opens users and bans of a pool on several servers, if this is one of them.
fn open_shared(
    settings: &Settings,
    store: &Store,
    cluster_status: Option<&Arc<ClusterStatus>>,
    node: &Arc<dyn Node>,
) -> anyhow::Result<Option<FirstUsers>> {
    let (Some(address), Some(cluster_status)) = (&settings.config.database, cluster_status) else {
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

/// How many connections there may be.
fn conns_max(config: &config::Config, node: &dyn Node) -> usize {
    let wanted = config.max_inbound as usize;
    let (conns_max, lowered) = fd_limit::conns_max(wanted, DESCRIPTORS_KEPT, 1);
    if let Some(text) = lowered {
        node.log(Level::Warning, &text);
    }
    conns_max
}
