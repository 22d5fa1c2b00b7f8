//! The server as the node's side sees it: it is started, given events, and stopped. No method but the `wait`s
//! blocks.

pub(crate) mod operator;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hstratum_core::chain::block::Verdict;
use hstratum_core::chain::template::TemplateParts;
use hstratum_core::event::Level;
use hstratum_core::order::Order;
use hstratum_core::units::{Hash, Height};

use crate::alerts::{Bulletin, Looks};
use crate::cluster::place::Place;
use crate::cluster::relay::RelayMail;
use crate::cluster::standing::{self, Standing};
use crate::cluster::start::{self, Opened};
use crate::cluster::threads::Threads;
use crate::cluster::{self, Ends};
use crate::config;
use crate::config::in_force::InForce;
use crate::config::settings::{Settings, who_may_mine};
use crate::driver::Driver;
use crate::driver::io::Machine;
use crate::files::Files;
use crate::files::recovered::{Legacy, Unanswered};
use crate::http::{self, Site, Sources};
use crate::limits::{CLOSE_MS, DESCRIPTORS_KEPT};
use crate::messages::{NodeMail, Post};
use crate::net::listener::Encryption;
use crate::net::{Net, NetConfig, fd_limit, tls};
use crate::node::{Look, Node};
use crate::server::operator::Orders;
pub use crate::server::operator::{AddressStored, Ordered, ServerDrained};
use crate::store::status::{Reading, Status};
use crate::store::{Store, StoreMail};
use crate::telemetry::live;
pub use crate::telemetry::node_lag::Lag;
use crate::telemetry::node_lag::NodeLag;
pub use crate::telemetry::open_round::{RoundKnown, RoundReader};
use crate::workers::UsersMail;
use crate::workers::duty::Duties;
use crate::workers::threads::{self, Office, spawn};

/// A running server.
pub struct Server {
    post: Post,
    orders: Orders,
    addresses: Vec<SocketAddr>,
    status: Arc<Status>,
    standing: Option<Arc<Standing>>,
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
        let mut files = Files::open(&settings, &*node)?;
        let threads = Threads::none();
        let connected = cluster::knock(&settings, &threads)?;
        let store = Store::open(&settings, &*node)?;
        let standing = store.dock.is_some().then(Arc::<Standing>::default);
        let opened = open_shared(&settings, &store, standing.as_ref(), &node)?;
        if let Some(opened) = &opened {
            files.users.clone_from(&opened.people.users);
            files.bans = opened.people.bans.values().cloned().collect();
        }
        let dock = store.dock.clone();
        let duties = Duties::default();
        let (durable, highest, status) = (store.durable, store.highest, store.status.clone());
        let config = &settings.config;
        let certificate = (config.tls.as_ref()).map(|files| tls::load(&files.cert, &files.key));
        let (net, waker) = Net::bind(NetConfig {
            first_option: "host, port",
            listeners: settings.listeners(),
            inherited: Vec::new(),
            proxies: config.proxy_protocol.clone(),
            conns_max: raise_descriptors(config.max_inbound as usize, &*node),
            per_address_max: config.max_per_address,
            certificate: certificate.transpose()?,
        })?;
        let addresses = log_listeners(&net, config, &*node);
        let who = who_may_mine(config.auth, settings.network, files.users.len());
        node.log(Level::Info, &format!("who may mine: {who}"));
        let http = http::bind(config, &*node)?;
        let dashboard = http.as_ref().and_then(|http| http.local_addr().ok());
        let in_force = InForce::of(config, net.listeners().map(|(spec, _)| spec), dashboard);
        let (post, mailbox) = Post::new(waker);
        let bulletin = Arc::new(Bulletin::default());
        let node_lag = Arc::new(NodeLag::default());
        let looks = Looks {
            shared: standing.clone(),
            node_lag: node_lag.clone(),
            ledger: status.clone(),
            duties: duties.clone(),
        };
        let office = Office {
            settings: &settings,
            post: &post,
            node: &node,
            bulletin: &bulletin,
            looks: &looks,
            threads: &threads,
            duties: &duties,
        };
        let (desks, mut clerks) =
            threads::start(&office, store, files.users_files, files.spool, opened)?;
        let (store_desk, users_desk) = (desks.store.clone(), desks.users.clone());
        let relay_desk = desks.relay.clone();
        if let Some(relay) = &desks.relay {
            for (hash, raw) in files.unanswered.values().filter_map(Unanswered::recent) {
                let _ = relay.send(RelayMail::Spooled(hash, raw));
            }
        }
        let orders = Orders::new(post.clone(), &settings);
        let round = RoundReader::new(settings.ledger());
        let settings = settings.with_port(addresses[0].port());
        let (pulse, live) = live::channel();
        if let (Some(dock), Some(standing)) = (dock, &standing) {
            let ends = Ends {
                dock,
                standing: standing.clone(),
                live: live.clone(),
                status: status.clone(),
                duties: duties.clone(),
                post: post.clone(),
            };
            cluster::start(&settings, ends, connected, &threads, &node)?;
        }
        if let Some(listener) = http {
            let sources = Sources {
                live,
                status: status.clone(),
                node_lag: node_lag.clone(),
                shared: standing.clone(),
                bulletin,
                duties,
            };
            let (site, http_node) = (Site::new(&settings, sources, &orders), node.clone());
            clerks.push(spawn("hstratum-http", move || {
                http::run(listener, site, &*http_node);
            })?);
        }
        let mut driver = Driver::new(
            Machine::new(net),
            mailbox,
            node.clone(),
            desks,
            Box::new(move |unix_s| {
                let config = settings.pool_config(unix_s);
                config.expect("a system that gave random bytes at the start goes on giving them")
            }),
            Legacy {
                users: files.users,
                bans: files.bans,
                unanswered: files.unanswered,
                durable,
                highest,
            },
        );
        driver.pulse = Some(pulse);
        driver.node_lag = node_lag.clone();
        spawn("hstratum", move || {
            let done = driver.run();
            // The channels close with the driver, and each worker ends when its work is done.
            drop(driver);
            let _ = store_desk.send(StoreMail::Stop);
            let _ = users_desk.send(UsersMail::Stop);
            let _ = relay_desk.map(|relay| relay.send(RelayMail::Stop));
            drop((store_desk, users_desk));
            threads::join(clerks, &*node);
            // The ledger's last batches are sealed by now.
            threads.stop();
            node.log(Level::Info, "stopped");
            let _ = done.send(());
        })?;
        Ok(Self {
            post,
            orders,
            addresses,
            status,
            standing,
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
        self.post.node(NodeMail::ReloadCertificates);
    }

    /// Status of the ledger.
    pub fn ledger_status(&self) -> Reading {
        self.status.read()
    }

    /// Status of the shared ledger; `None` without one.
    pub fn shared_standing(&self) -> Option<standing::Reading> {
        self.standing.as_ref().map(|standing| standing.look())
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
        self.post.node(NodeMail::Tip(hash, height));
    }

    /// Takes the node's answer to [`Node::locate`].
    pub fn located(&self, look: Look) {
        self.post.node(NodeMail::Located(look));
    }

    /// Takes a template on the node's tip.
    pub fn template(&self, parts: TemplateParts) {
        self.post.node(NodeMail::Template(Box::new(parts)));
    }

    /// Takes a template's raw transactions, concatenated, without the coinbase.
    pub fn transactions(&self, template: u64, bytes: Arc<[u8]>) {
        self.post.node(NodeMail::Transactions(template, bytes));
    }

    /// Takes the reason why there can be no job now.
    pub fn no_template(&self, reason: String) {
        self.post.node(NodeMail::NoTemplate(reason));
    }

    /// Takes the node's answer to a block.
    pub fn block_result(&self, hash: Hash, verdict: Verdict) {
        self.post.node(NodeMail::BlockResult(hash, verdict));
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
        self.post.node(NodeMail::Leave(done));
        Closing(left)
    }

    /// Begins to stop. The returned value waits until everything is flushed; a second call, or one after a
    /// failure, completes at once.
    pub fn close(&self) -> Closing {
        let (done, closed) = channel();
        self.post.node(NodeMail::Close(done));
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
    standing: Option<&Arc<Standing>>,
    node: &Arc<dyn Node>,
) -> anyhow::Result<Option<Opened>> {
    let (Some(address), Some(standing)) = (&settings.config.database, standing) else {
        return Ok(None);
    };
    let place = Place {
        address: address.clone(),
        network: settings.network,
        origin: store.origin(),
        standing: standing.clone(),
        label: settings.config.server_id.clone(),
        dir: settings.dir.clone(),
    };
    start::open(place, node).map(Some)
}

/// Raises the limit of file descriptors as far as possible, and returns the number of connections that fit.
fn raise_descriptors(wanted: usize, node: &dyn Node) -> usize {
    let allowed = fd_limit::raise();
    let fitting = allowed.saturating_sub(DESCRIPTORS_KEPT).max(1);
    if fitting < wanted {
        let text = format!(
            "max-inbound is lowered from {wanted} to {fitting}: only {allowed} file descriptors are \
             allowed; raise LimitNOFILE (systemd) or ulimit -n"
        );
        node.log(Level::Warning, &text);
    }
    fitting.min(wanted)
}
