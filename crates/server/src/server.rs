//! The server as the node's side sees it: started, told things, stopped. Nothing here waits.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use hstratum_core::admin::Order;
use hstratum_core::alarm::Sign;
use hstratum_core::ban::Ban;
use hstratum_core::event::{FoundBlock, Level, Verdict};
use hstratum_core::template::TemplateParts;
use hstratum_core::units::{Difficulty, Hash, Height};

use crate::alarms::{self, Bulletin};
use crate::bans::BansFile;
use crate::clerk::{self, UsersFiles};
use crate::descriptors;
use crate::driver::{Desks, Driver};
use crate::http::{self, Site, Sources};
use crate::legacy::{Legacy, Unanswered};
use crate::limits::{CLOSE_MS, DESCRIPTORS_KEPT, PASSWORD_THREADS_MAX};
use crate::listener::Encryption;
use crate::live;
use crate::mail::{NodeMail, Post};
use crate::net::{Net, NetConfig};
use crate::node::Node;
pub use crate::node_lag::Lag;
use crate::node_lag::NodeLag;
use crate::orders::Orders;
pub use crate::orders::{AddressStored, Ordered, RoundReader};
use crate::settings::Settings;
use crate::spool::Spool;
use crate::store::status::{Reading, Status};
use crate::store::{Parties, Store, StoreMail, unix_s};
use crate::surroundings::Machine;
use crate::tls;
use crate::users::{Repair, UsersFile};
use crate::webhook::{self, Outbox};

/// A running server.
pub struct Server {
    post: Post,
    orders: Orders,
    addresses: Vec<SocketAddr>,
    status: Arc<Status>,
    node_lag: Arc<NodeLag>,
    round: RoundReader,
}

/// What the files of an earlier run hold.
#[derive(Default)]
struct Files {
    users_files: UsersFiles,
    users: HashMap<String, hstratum_core::password::StoredPassword>,
    bans: Vec<Ban>,
    spool: Option<Spool>,
    unanswered: BTreeMap<Hash, Unanswered>,
}

impl Server {
    /// Reads the files, binds the ports and starts the threads. Blocks that an earlier run left
    /// unanswered are offered to the node at once.
    ///
    /// # Errors
    /// One line that names the file or the address that is wrong.
    pub fn start(settings: Settings, node: Arc<dyn Node>) -> anyhow::Result<Self> {
        let files = Files::open(&settings, &*node)?;
        let store = Store::open(&settings, &*node)?;
        let (durable, status) = (store.durable, store.status.clone());
        let config = &settings.config;
        let conns_max = raise_descriptors(config.max_inbound as usize, &*node);
        let tls = config.tls.as_ref();
        let certificate = tls.map(|files| tls::load(&files.cert, &files.key));
        let (net, waker) = Net::bind(NetConfig {
            listeners: settings.listeners(),
            inherited: Vec::new(),
            proxies: config.proxy_protocol.clone(),
            conns_max,
            per_address_max: config.max_per_address,
            certificate: certificate.transpose()?,
        })?;
        let addresses = log_listeners(&net, config.difficulty, &*node);
        let http = http::bind(config, &*node)?;
        let (post, mailbox) = Post::new(waker);
        let bulletin = Arc::new(Bulletin::default());
        let (desks, mut clerks) = start_clerks(
            &settings,
            store,
            files.users_files,
            files.spool,
            &post,
            bulletin.clone(),
            &node,
        )?;
        let store_desk = desks.store.clone();
        let orders = Orders::new(post.clone(), settings.network);
        let round = RoundReader::new(settings.dir.as_deref());
        let settings = settings.with_port(addresses[0].port());
        let (pulse, live) = live::channel();
        let node_lag = Arc::new(NodeLag::default());
        if let Some(listener) = http {
            let sources = Sources {
                live,
                status: status.clone(),
                node_lag: node_lag.clone(),
                bulletin,
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
            },
        );
        driver.pulse = Some(pulse);
        spawn("hstratum", move || {
            let done = driver.run();
            // The desks close with the driver: each clerk ends when its work is done.
            drop(driver);
            let _ = store_desk.send(StoreMail::Stop);
            drop(store_desk);
            for clerk in clerks {
                let _ = clerk.join();
            }
            node.log(Level::Info, "stopped");
            let _ = done.send(());
        })?;
        Ok(Self {
            post,
            orders,
            addresses,
            status,
            node_lag,
            round,
        })
    }

    /// Where miners connect: `host` and `port`.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// All addresses where miners connect: [`Self::address`], then those of `listen`.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Reads the certificate and its key anew, for new connections. When that fails the log says
    /// why, and the old ones stay.
    pub fn reload_certificates(&self) {
        self.post.node(NodeMail::ReloadCertificates);
    }

    /// How the ledger does.
    pub fn ledger_status(&self) -> Reading {
        self.status.read()
    }

    /// The round that no block has closed.
    pub fn round(&self) -> RoundReader {
        self.round.clone()
    }

    /// How late the node's event loop is.
    pub fn node_lag(&self, lag: Lag) {
        self.node_lag.tell(lag);
    }

    /// The chain has a new tip, of this height.
    pub fn tip(&self, hash: Hash, height: Height) {
        self.post.node(NodeMail::Tip(hash, height));
    }

    /// The node's answer to [`Node::locate`]: its height, and of each block whether it is on the
    /// main chain.
    pub fn located(&self, tip: Height, places: Vec<(Hash, bool)>) {
        self.post.node(NodeMail::Located(tip, places));
    }

    /// The node offers a template on its tip.
    pub fn template(&self, parts: TemplateParts) {
        self.post.node(NodeMail::Template(Box::new(parts)));
    }

    /// The raw transactions of a template, one after the other, without the coinbase.
    pub fn transactions(&self, template: u64, bytes: Arc<[u8]>) {
        self.post.node(NodeMail::Transactions(template, bytes));
    }

    /// Why there can be no job now.
    pub fn no_template(&self, reason: String) {
        self.post.node(NodeMail::NoTemplate(reason));
    }

    /// The node's answer to a block.
    pub fn block_result(&self, hash: Hash, verdict: Verdict) {
        self.post.node(NodeMail::BlockResult(hash, verdict));
    }

    /// Has an account paid at an address from now on; neither has to be known before. What comes out
    /// says when that is durable.
    ///
    /// # Errors
    /// When the name is none, or the address none of this network that can be paid.
    pub fn set_address(&self, account: &str, address: &str) -> anyhow::Result<AddressStored> {
        self.orders.set_address(account, address)
    }

    /// Gives the pool an order. What comes out has the answer, which comes when what the order
    /// changes is durable.
    pub fn order(&self, order: Order) -> Ordered {
        self.orders.give(order)
    }

    /// The node stops soon: proxies take their miners elsewhere. What comes out says when that is
    /// done; at once where no proxy has any.
    pub fn leave(&self) -> Closing {
        let (done, left) = channel();
        self.post.node(NodeMail::Leave(done));
        Closing(left)
    }

    /// Begins to stop. What comes out says when all is flushed; a second call, or one after a
    /// failure, is answered at once.
    pub fn close(&self) -> Closing {
        let (done, closed) = channel();
        self.post.node(NodeMail::Close(done));
        Closing(closed)
    }
}

/// A part of a stop under way.
pub struct Closing(Receiver<()>);

impl Closing {
    /// Waits until it is done, at most ten seconds; false when it took longer.
    pub fn wait(&self) -> bool {
        use std::sync::mpsc::RecvTimeoutError::Timeout;
        let answer = self.0.recv_timeout(Duration::from_millis(CLOSE_MS));
        !matches!(answer, Err(Timeout))
    }
}

impl Files {
    fn open(settings: &Settings, node: &dyn Node) -> anyhow::Result<Self> {
        let Some(dir) = &settings.dir else {
            node.log(
                Level::Warning,
                "the node runs in memory: the ledger, users and found blocks are not kept",
            );
            return Ok(Self::default());
        };
        let (users_file, records, repair) = UsersFile::open(dir.join("users.json"), unix_s())?;
        match repair {
            None => {}
            Some(Repair::Completed) => {
                node.log(
                    Level::Warning,
                    "the last line of users.json had no end: mended",
                );
            }
            Some(Repair::Cut(path)) => {
                let path = path.display();
                node.log(
                    Level::Warning,
                    &format!("the torn end of users.json was moved to {path}"),
                );
            }
        }
        let (spool, spooled, problems) = Spool::open(dir.join("spool"))?;
        for problem in problems {
            node.log(Level::Error, &problem);
        }
        let mut unanswered = BTreeMap::new();
        for block in spooled {
            if let Some(found) = FoundBlock::parse(&block.raw) {
                unanswered.insert(block.hash, Unanswered::Spooled(Box::new(found), block.raw));
            } else {
                let text = format!(
                    "block {} in the spool cannot be read: it stays there",
                    block.hash
                );
                node.log(Level::Error, &text);
            }
        }
        let (bans_file, bans) = BansFile::open(dir)?;
        Ok(Self {
            users_files: UsersFiles {
                users: Some(users_file),
                bans: Some(bans_file),
            },
            bans,
            users: records
                .into_iter()
                .map(|user| (user.name, user.password))
                .collect(),
            spool: Some(spool),
            unanswered,
        })
    }
}

/// A line for each listener.
fn log_listeners(net: &Net, difficulty: Difficulty, node: &dyn Node) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for (spec, own) in net.listeners() {
        let text = match spec.encryption {
            Encryption::Never => format!("listening on {}", spec.address),
            _ => format!("listening on {spec}"),
        };
        let suffix = if own == difficulty {
            String::new()
        } else {
            format!(", difficulty {own}")
        };
        node.log(Level::Info, &(text + &suffix));
        addresses.push(spec.address);
    }
    addresses
}

/// Starts the threads that wait for the disk. They end when their desk closes.
fn start_clerks(
    settings: &Settings,
    store: Store,
    users_files: UsersFiles,
    spool: Option<Spool>,
    post: &Post,
    bulletin: Arc<Bulletin>,
    node: &Arc<dyn Node>,
) -> anyhow::Result<(Desks, Vec<JoinHandle<()>>)> {
    let (store_desk, store_mail) = channel();
    let (users_desk, users_mail) = channel();
    let mut clerks = Vec::new();

    let spool = match spool {
        None => None,
        Some(spool) => {
            let (spool_desk, spool_mail) = channel();
            let spool_node = node.clone();
            clerks.push(spawn("hstratum-spool", move || {
                clerk::run_spool(&spool, &spool_mail, &*spool_node);
            })?);
            Some(spool_desk)
        }
    };
    let (alarms_desk, signs) = channel();
    clerks.extend(start_alarms(settings, signs, bulletin, node)?);
    let parties = Parties {
        alarms: alarms_desk.clone(),
        post: post.clone(),
        node: node.clone(),
        spool: spool.clone(),
        desk: store_desk.clone(),
    };
    clerks.push(spawn("hstratum-ledger", move || {
        store.run(&store_mail, parties);
    })?);
    let (passwords_desk, passwords_mail) = channel();
    let passwords_mail = Arc::new(Mutex::new(passwords_mail));
    for _ in 0..password_threads() {
        let (passwords_mail, passwords_post) = (passwords_mail.clone(), post.clone());
        clerks.push(spawn("hstratum-login", move || {
            clerk::run_passwords(&passwords_mail, &passwords_post);
        })?);
    }
    let (users_post, users_node) = (post.clone(), node.clone());
    let users_ledger = store_desk.clone();
    clerks.push(spawn("hstratum-users", move || {
        clerk::run_users(
            users_files,
            &users_mail,
            &users_ledger,
            &users_post,
            &*users_node,
        );
    })?);
    let certificates = match &settings.config.tls {
        None => None,
        Some(files) => {
            let (desk, mail) = channel();
            let (files, post, node) = (files.clone(), post.clone(), node.clone());
            clerks.push(spawn("hstratum-tls", move || {
                clerk::run_certificates(&files, &mail, &post, &*node);
            })?);
            Some(desk)
        }
    };
    let desks = Desks {
        store: store_desk,
        passwords: passwords_desk,
        users: users_desk,
        spool,
        alarms: alarms_desk,
        certificates,
    };
    Ok((desks, clerks))
}

/// Who raises alarms, and where there is a webhook who delivers them.
fn start_alarms(
    settings: &Settings,
    signs: Receiver<Sign>,
    bulletin: Arc<Bulletin>,
    node: &Arc<dyn Node>,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let mut clerks = Vec::new();
    let mut outbox = None;
    if let Some(webhook) = &settings.config.webhook {
        let (posted, webhook) = (Arc::new(Outbox::default()), webhook.clone());
        outbox = Some(posted.clone());
        let (courier_node, network) = (node.clone(), settings.network);
        clerks.push(spawn("hstratum-webhook", move || {
            webhook::run(&webhook, network, &posted, &*courier_node);
        })?);
    }
    let (drop_percent, node) = (settings.config.hashrate_alarm, node.clone());
    clerks.push(spawn("hstratum-alarms", move || {
        alarms::run(drop_percent, &signs, outbox.as_deref(), &bulletin, &*node);
    })?);
    Ok(clerks)
}

/// The node needs its cores too.
fn password_threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, PASSWORD_THREADS_MAX)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .with_context(|| format!("failed to start the thread {name}"))
}

/// Raises the limit of open descriptors as far as it goes, and says how many connections fit.
fn raise_descriptors(wanted: usize, node: &dyn Node) -> usize {
    let fitting = descriptors::raise().saturating_sub(DESCRIPTORS_KEPT).max(1);
    if fitting < wanted {
        let text = format!(
            "max-inbound is lowered from {wanted} to {fitting}: the process may open no more files"
        );
        node.log(Level::Warning, &text);
    }
    fitting.min(wanted)
}
