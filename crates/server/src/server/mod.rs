//! The server as the node's side sees it: it is started, given events, and stopped. Only
//! [`Server::start`] and the methods named `wait` block.

mod startup;
mod threads;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::chain::template::TemplateParts;
use hstratum_core::event::Level;
use hstratum_core::operator_order::Order;
use hstratum_core::units::{Hash, Height};

use self::threads::{RunningThreads, ThreadDeps, spawn};
use crate::audit_trail::Actor;
use crate::cluster;
use crate::cluster::cluster_status::ClusterReading;
use crate::cluster::threads::Threads;
use crate::config::options_in_force::OptionsInForce;
use crate::config::settings::Settings;
use crate::driver::Driver;
use crate::driver::io::SystemIo;
use crate::files::ServerFiles;
use crate::http;
pub use crate::ledger_tools::round_reader::{RoundKnown, RoundReader};
use crate::limits::CLOSE_MS;
use crate::log_lines::LoggedNode;
use crate::messages::{Drilled, DriverHandle, NodeEvent};
use crate::node::{Look, Node};
use crate::operator::Orders;
pub use crate::operator::{AccountStored, Ordered, PlannedChange, ServerDrained};
use crate::payer::PayoutControl;
use crate::signature_checks::SignatureChecks;
use crate::statuses::Statuses;
use crate::store::Store;
use crate::store::ledger_status::LedgerReading;
use crate::telemetry::block_races::BlockRaces;
pub use crate::telemetry::chain_sync::SyncReport;
use crate::telemetry::job_trace::NewTip;
use crate::telemetry::live;
pub use crate::telemetry::node_lag::{BlockPath, Lag};
pub use crate::telemetry::node_reports::{DeploymentStatus, ExtraNodeStatus};

/// A running server.
pub struct Server {
    to_driver: DriverHandle,
    orders: Orders,
    addresses: Vec<SocketAddr>,
    statuses: Statuses,
    round: RoundReader,
    in_force: OptionsInForce,
    races: Arc<BlockRaces>,
    new_tip: Arc<NewTip>,
    payouts: PayoutControl,
    signature_checks: Arc<SignatureChecks>,
    /// Its log, while the server's threads have it.
    node: Weak<dyn Node>,
}

impl Server {
    /// Reads the files, binds the ports and starts the threads. Blocks that an earlier run left unanswered
    /// are offered to the node at once.
    ///
    /// # Errors
    /// One line that names the file or the address that is wrong.
    pub fn start(settings: Settings, node: Arc<dyn Node>) -> anyhow::Result<Self> {
        settings.check()?;
        let (node, log_lines) = LoggedNode::wrap(node);
        // What an earlier run has left on the disk, and what the shared ledger knows.
        let files = ServerFiles::open(&settings, &*node)?;
        let cluster_threads = Threads::none();
        let connected = cluster::try_connect(&settings, &cluster_threads)?;
        let mut store = Store::open(&settings, &*node)?;
        startup::put_terms(&mut store, &settings, &*node)?;
        let statuses = startup::statuses_of(&store);
        let first_users = startup::first_users(&settings, &store, &statuses, &node)?;
        let (recovered, writers) = startup::recovered(files, &store, first_users.as_ref());
        let shipper_exchange = store.shipper_exchange.clone();

        // Where miners connect, and where pages are asked for.
        let (net, waker) = startup::bind(&settings, &*node)?;
        let addresses = startup::log_listeners(&net, &settings.config, &*node);
        startup::log_who_may_mine(&settings, recovered.users.len(), &*node);
        let http = http::bind(&settings.config, &*node)?;
        let in_force = startup::in_force(&settings.config, &net, http.as_ref());
        let settings = settings.with_port(addresses[0].port());

        // Who talks to whom: every thread tells the driver, and the driver has a sender to each.
        let (to_driver, inbox) = DriverHandle::new(waker);
        let (telemetry, live) = live::channel();
        let (races, new_tip) = (live.races().clone(), live.new_tip().clone());
        let orders = Orders::new(to_driver.clone(), &settings, &node);
        let signature_checks = Arc::new(SignatureChecks::new(&node));
        let deps = ThreadDeps {
            settings: &settings,
            to_driver: &to_driver,
            node: &node,
            alarm_feed: Arc::default(),
            log_lines,
            statuses: &statuses,
            cluster_threads: &cluster_threads,
            sessions: Arc::default(),
            known_keys: Arc::default(),
            signature_checks: &signature_checks,
        };
        let (senders, mut running) = threads::start(&deps, store, writers, first_users)?;
        startup::relay_again(senders.relay.as_ref(), &recovered.unanswered);
        startup::ship(&deps, shipper_exchange, live.clone(), connected)?;
        let payouts = running.start_payer(&deps, live.clone(), senders.alarms.clone())?;
        running.start_http(&deps, http, live, (&orders, &payouts), in_force.clone())?;
        let driver = startup::driver(&deps, (net, inbox), senders, recovered, telemetry);
        let log = Arc::downgrade(&node);
        spawn("hstratum", move || {
            run(driver, running, cluster_threads, &*node);
        })?;
        Ok(Self {
            to_driver,
            orders,
            addresses,
            statuses,
            round: RoundReader::new(settings.ledger()),
            in_force,
            races,
            new_tip,
            payouts,
            signature_checks,
            node: log,
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
    pub fn in_force(&self) -> &OptionsInForce {
        &self.in_force
    }

    /// Reads the certificate and its key again, for new connections. If that fails, the reason is logged and
    /// the old ones stay.
    pub fn reload_certificates(&self) {
        self.to_driver.node(NodeEvent::ReloadCertificates);
    }

    /// Status of the ledger.
    pub fn ledger_status(&self) -> LedgerReading {
        self.statuses.ledger.read()
    }

    /// How the shared ledger does; none without one.
    pub fn cluster_status(&self) -> Option<ClusterReading> {
        self.statuses.cluster.as_ref().map(|cluster| cluster.look())
    }

    /// Reader of the open round (the shares since the pool's last block).
    pub fn round(&self) -> RoundReader {
        self.round.clone()
    }

    /// Records the delay of the node's event loop.
    pub fn node_lag(&self, lag: Lag) {
        self.statuses.node_lag.tell(lag);
    }

    /// Records a request that the node has not answered for too long, with its age; `None` when there is
    /// none.
    pub fn node_overdue(&self, what: Option<String>) {
        self.statuses.node_lag.set_overdue(what);
    }

    /// Message that the node knows less chain work than the ledger was shown; `None` if it does not.
    pub fn node_behind(&self) -> Option<String> {
        self.statuses.node_lag.behind()
    }

    /// Records the network's deployments.
    pub fn deployments(&self, deployments: Vec<DeploymentStatus>) {
        self.statuses.node_reports.set_deployments(deployments);
    }

    /// Records which extra nodes are connected.
    pub fn extra_nodes(&self, nodes: Vec<ExtraNodeStatus>) {
        self.statuses.node_reports.set_extra_nodes(nodes);
    }

    /// Records how far the node's download of the chain is; none once the node is synchronized.
    pub fn chain_sync(&self, report: Option<SyncReport>) {
        let sync = &self.statuses.node_reports.sync;
        sync.tell(Instant::now(), report);
    }

    /// Records that a found block was announced now, to this many peers, and that the node's thread had taken
    /// it this long ago.
    pub fn block_announced(&self, hash: &Hash, peers: u32, ago: Duration) {
        self.races.announced(hash, peers, ago);
    }

    /// Records that a first peer asks for a found block now.
    pub fn block_asked(&self, hash: &Hash) {
        self.races.asked(hash);
    }

    /// Records how many peers had asked for a found block a second after its announcement, or that it is
    /// not announced, and logs its race.
    pub fn block_spread(&self, hash: &Hash, peers: u32) {
        self.log_race(self.races.spread(hash, peers));
    }

    /// Records that the node has another block of this height beside its main chain.
    pub fn competitor(&self, hash: Hash, height: Height) {
        self.log_race(self.races.seen(hash, height));
    }

    fn log_race(&self, line: Option<String>) {
        if let (Some(line), Some(node)) = (line, self.node.upgrade()) {
            node.log(Level::Info, &line);
        }
    }

    /// Tells the pool that the chain has a new tip of this height.
    pub fn tip(&self, hash: Hash, height: Height) {
        self.new_tip.tip(hash);
        self.to_driver.node(NodeEvent::Tip(hash, height));
        self.log_race(self.races.seen(hash, height));
    }

    /// Takes the node's answer to [`Node::locate`].
    pub fn located(&self, look: Look) {
        self.to_driver.node(NodeEvent::Located(look));
    }

    /// Takes the node's answer to [`Node::verify_message`].
    pub fn message_verified(&self, id: u64, is_valid: bool) {
        self.signature_checks.answered(id, is_valid);
    }

    /// Takes a template on the node's tip, made just now.
    pub fn template(&self, parts: TemplateParts) {
        self.template_made(parts, Duration::ZERO);
    }

    /// Takes a template on the node's tip, made this long ago.
    pub fn template_made(&self, parts: TemplateParts, ago: Duration) {
        self.new_tip.template(parts.id, parts.prev_block, ago);
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

    /// Takes the node's reason to refuse the block of its template; none once templates are valid again.
    pub fn template_invalid(&self, reason: Option<String>) {
        self.to_driver.node(NodeEvent::TemplateInvalid(reason));
    }

    /// Takes the node's answer to [`Node::drill`].
    pub fn drilled(&self, outcome: Drilled) {
        self.to_driver.node(NodeEvent::Drilled(outcome));
    }

    /// Outcome of the last drill.
    pub fn block_path(&self) -> BlockPath {
        self.statuses.node_lag.block_path()
    }

    /// The node's reason to refuse the block of its own template; none while it is valid.
    pub fn template_refused(&self) -> Option<String> {
        self.statuses.node_lag.invalid()
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
    pub fn set_address(
        &self,
        by: &Actor,
        account: &str,
        address: &str,
    ) -> anyhow::Result<AccountStored> {
        self.orders.set_address(by, account, address)
    }

    /// Sets the balance from which an account is paid, in base units; `None`: the pool's. The returned value
    /// waits until it is durable.
    ///
    /// # Errors
    /// When the name is invalid, or the threshold is below the smallest one.
    pub fn set_threshold(
        &self,
        by: &Actor,
        account: &str,
        threshold: Option<u64>,
    ) -> anyhow::Result<AccountStored> {
        self.orders.set_threshold(by, account, threshold)
    }

    /// Payouts as an operator controls them.
    pub fn payouts(&self) -> PayoutControl {
        self.payouts.clone()
    }

    /// Orders servers of that name to drain over this many seconds, or to accept miners again. The returned
    /// value waits until the order is in the shared ledger.
    ///
    /// # Errors
    /// When the drain would take too long.
    pub fn drain_server(
        &self,
        by: &Actor,
        server: &str,
        over_s: Option<u64>,
    ) -> anyhow::Result<ServerDrained> {
        self.orders.drain_server(by, server, over_s)
    }

    /// Prepares an order that changes something. The returned value gives it, with a record in the audit trail, and waits
    /// until the change is durable.
    pub fn change(&self, by: &Actor, order: Order) -> PlannedChange {
        self.orders.change(by, order)
    }

    /// Gives the pool an order that only asks. The returned value waits for the answer.
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

/// Runs the driver until it stops, and then ends everything else in this order.
fn run(mut driver: Driver<SystemIo>, running: RunningThreads, shared: Threads, node: &dyn Node) {
    let stopped = driver.run();
    // The channels close with the driver, and each worker ends when its work is done.
    drop(driver);
    running.stop(node);
    // The ledger's last batches are sealed now.
    shared.stop();
    node.log(Level::Info, "stopped");
    let _ = stopped.send(());
}
