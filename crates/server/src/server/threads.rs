//! Starts the worker threads.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use hstratum_core::alarm::AlarmInput;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::event::Level;
use parking_lot::Mutex;

use crate::alarm_delivery::webhook::{self, AlarmQueue, Source};
use crate::alarm_delivery::{self, AlarmFeed};
use crate::alerts::Alerts;
use crate::audit_trail::AuditTrail;
use crate::cluster::blocks::relay::{Relay, RelayCommand};
use crate::cluster::context::ClusterContext;
use crate::cluster::notifications::{self, News};
use crate::cluster::threads::Threads;
use crate::cluster::users::first_users::FirstUsers;
use crate::config::options_in_force::OptionsInForce;
use crate::config::settings::Settings;
use crate::doctor::Setup;
use crate::driver::Senders;
use crate::files::UsersFiles;
use crate::files::block_spool::Spool;
use crate::http::challenges::Challenges;
use crate::http::known_keys::KnownKeys;
use crate::http::sessions::Sessions;
use crate::http::{self, Console, SignInParts, Site};
use crate::limits::{PASSWORD_THREADS_MAX, WORKERS_STOP};
use crate::log_lines::LogLines;
use crate::messages::{DriverHandle, MinedBlock, SpoolCommand};
use crate::node::Node;
use crate::operator::Orders;
use crate::payer::{Payer, PayerCommand, PayoutControl};
use crate::signature_checks::SignatureChecks;
use crate::splitter::SplitThread;
use crate::statuses::Statuses;
use crate::store::payout_addresses;
use crate::store::{Store, StoreCommand, StoreOutputs};
use crate::supervision::keep;
use crate::task_threads::{self, PasswordCommand, UsersCommand};
use crate::telemetry::live::TelemetryReader;

/// Interval at which a stop checks whether a thread has ended.
const JOIN_POLL: Duration = Duration::from_millis(5);

/// Dependencies of the worker threads.
pub(super) struct ThreadDeps<'a> {
    pub settings: &'a Settings,
    pub to_driver: &'a DriverHandle,
    pub node: &'a Arc<dyn Node>,
    /// Feed that alarms are published to.
    pub alarm_feed: Arc<AlarmFeed>,
    pub log_lines: Arc<LogLines>,
    pub statuses: &'a Statuses,
    /// Those that wait for the shared ledger.
    pub cluster_threads: &'a Threads,
    /// Sessions of the dashboard.
    pub sessions: Arc<Sessions>,
    pub known_keys: Arc<KnownKeys>,
    pub signature_checks: &'a Arc<SignatureChecks>,
}

/// The threads that run, and the senders of those that have to be told of the stop.
pub(super) struct RunningThreads {
    handles: Vec<JoinHandle<()>>,
    store: Sender<StoreCommand>,
    users: Sender<UsersCommand>,
    relay: Option<Sender<RelayCommand>>,
    payer: Option<Sender<PayerCommand>>,
}

/// Starts the threads that wait for the disk, for hashes and for the shared ledger. Each ends when its
/// sender is dropped.
pub(super) fn start(
    deps: &ThreadDeps<'_>,
    store: Store,
    (users_files, spool): (UsersFiles, Option<Spool>),
    first_users: Option<FirstUsers>,
) -> anyhow::Result<(Senders, RunningThreads)> {
    let (store_sender, store_commands) = channel();
    let (users_sender, users_commands) = channel();
    let (alarms, alarm_inputs) = channel();
    let mut running = RunningThreads {
        handles: Vec::new(),
        store: store_sender.clone(),
        users: users_sender.clone(),
        relay: None,
        payer: None,
    };
    let spool = spool.map(|spool| running.start_spool(deps, spool));
    let spool = spool.transpose()?;
    running.start_alarms(deps, alarm_inputs)?;
    let outputs = StoreOutputs {
        alarms: alarms.clone(),
        to_driver: deps.to_driver.clone(),
        node: deps.node.clone(),
        spool: spool.clone(),
        sender: store_sender.clone(),
        duties: deps.statuses.duties.clone(),
    };
    running.start_plain("hstratum-ledger", move || {
        store.run(&store_commands, outputs);
    })?;
    let passwords = running.start_passwords(deps)?;
    match first_users {
        Some(first) => {
            let context = first.context.clone();
            start_shared_users(deps, first, users_commands)?;
            running.relay = Some(start_relay(deps, context, &users_sender)?);
        }
        None => running.start_users(deps, users_files, users_commands)?,
    }
    start_payout_addresses(deps)?;
    let splits = running.start_splits(deps)?;
    let senders = Senders {
        splits,
        store: store_sender,
        passwords,
        users: users_sender,
        spool,
        relay: running.relay.clone(),
        alarms,
        certificates: running.start_certificates(deps)?,
    };
    Ok((senders, running))
}

impl RunningThreads {
    /// The thread that serves pages, where there is a port for them.
    pub(super) fn start_http(
        &mut self,
        deps: &ThreadDeps<'_>,
        listener: Option<TcpListener>,
        live: TelemetryReader,
        (orders, payouts): (&Orders, &PayoutControl),
        in_force: OptionsInForce,
    ) -> anyhow::Result<()> {
        let Some(listener) = listener else {
            return Ok(());
        };
        let setup = Setup::of_running(deps.settings, in_force);
        let console = Console::new(deps.log_lines.clone(), setup);
        let alerts = Alerts::start(
            deps.settings,
            deps.statuses,
            &live,
            deps.cluster_threads,
            deps.node,
        )?;
        let site = Site::new(
            deps.settings,
            live,
            &deps.alarm_feed,
            deps.statuses,
            (orders, payouts, console),
            SignInParts {
                sessions: deps.sessions.clone(),
                known_keys: deps.known_keys.clone(),
                challenges: Challenges::new().context("failed to get random bytes")?,
                signature_checks: deps.signature_checks.clone(),
            },
            alerts,
        );
        let node = deps.node.clone();
        self.start_plain("hstratum-http", move || http::run(listener, site, &*node))
    }

    /// The thread that pays, or looks after the wallet that does; none without one.
    pub(super) fn start_payer(
        &mut self,
        deps: &ThreadDeps<'_>,
        live: TelemetryReader,
        alarms: Sender<AlarmInput>,
    ) -> anyhow::Result<PayoutControl> {
        let status = deps.statuses.payer.clone();
        let payer = Payer::of(
            deps.settings,
            live,
            status.clone(),
            alarms,
            deps.node.clone(),
        )?;
        if let Some(mut payer) = payer {
            let (sender, commands) = channel();
            self.start_kept("hstratum-payer", deps.node, move || payer.run(&commands))?;
            self.payer = Some(sender);
        }
        Ok(PayoutControl::new(
            deps.settings,
            self.payer.clone(),
            status,
            AuditTrail::new(deps.settings, deps.node),
        ))
    }

    /// Starts one that ends when its work does.
    fn start_plain(
        &mut self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> anyhow::Result<()> {
        self.handles.push(spawn(name, work)?);
        Ok(())
    }

    /// Starts one whose work is begun anew when it ends by a bug.
    fn start_kept(
        &mut self,
        name: &'static str,
        node: &Arc<dyn Node>,
        mut work: impl FnMut() + Send + 'static,
    ) -> anyhow::Result<()> {
        let node = node.clone();
        self.start_plain(name, move || keep(name, &*node, &mut work))
    }

    /// The thread that keeps found blocks on the disk.
    fn start_spool(
        &mut self,
        deps: &ThreadDeps<'_>,
        spool: Spool,
    ) -> anyhow::Result<Sender<SpoolCommand>> {
        let (sender, commands) = channel();
        let (duty, node) = (
            deps.statuses.duties.add("spooled blocks"),
            deps.node.clone(),
        );
        let network = deps.settings.network;
        self.start_kept("hstratum-spool", deps.node, move || {
            task_threads::run_spool((&spool, network), &commands, &duty, &*node);
        })?;
        Ok(sender)
    }

    /// The thread that computes splits; none where blocks pay no accounts.
    fn start_splits(
        &mut self,
        deps: &ThreadDeps<'_>,
    ) -> anyhow::Result<Option<Sender<MinedBlock>>> {
        let settings = deps.settings;
        let Some(location) = settings.ledger().filter(|_| settings.splits()) else {
            return Ok(None);
        };
        let duty = deps.statuses.duties.add("splits of blocks");
        let (to_driver, node) = (deps.to_driver.clone(), deps.node.clone());
        let mut thread = SplitThread::new(location, settings, duty, to_driver, node);
        let (sender, blocks) = channel();
        self.start_kept("hstratum-splits", deps.node, move || thread.run(&blocks))?;
        Ok(Some(sender))
    }

    /// The thread that raises alarms, and where there is a webhook the one that delivers them.
    fn start_alarms(
        &mut self,
        deps: &ThreadDeps<'_>,
        inputs: Receiver<AlarmInput>,
    ) -> anyhow::Result<()> {
        let config = &deps.settings.config;
        let mut queue = None;
        if let Some(webhook) = config.webhook.clone() {
            let alarms = Arc::new(AlarmQueue::default());
            queue = Some(alarms.clone());
            let source = Source {
                network: deps.settings.network,
                server: config.server_id.clone(),
            };
            let node = deps.node.clone();
            self.start_kept("hstratum-webhook", deps.node, move || {
                if let Err(error) = webhook::run(&webhook, &source, &alarms, &*node) {
                    node.log(Level::Error, &format!("webhook: {error:#}"));
                }
            })?;
        }
        let (drop_percent, node) = (config.hashrate_alarm, deps.node.clone());
        let (statuses, feed) = (deps.statuses.clone(), deps.alarm_feed.clone());
        self.start_kept("hstratum-alarms", deps.node, move || {
            let queue = queue.as_deref();
            alarm_delivery::run(drop_percent, &inputs, queue, &statuses, &feed, &*node);
        })
    }

    /// The threads that check passwords.
    fn start_passwords(
        &mut self,
        deps: &ThreadDeps<'_>,
    ) -> anyhow::Result<Sender<PasswordCommand>> {
        let (sender, commands) = channel();
        let commands = Arc::new(Mutex::new(commands));
        for _ in 0..password_threads() {
            let (commands, to_driver) = (commands.clone(), deps.to_driver.clone());
            self.start_kept("hstratum-login", deps.node, move || {
                task_threads::run_passwords(&commands, &to_driver);
            })?;
        }
        Ok(sender)
    }

    /// The thread that writes the files of users and bans.
    fn start_users(
        &mut self,
        deps: &ThreadDeps<'_>,
        mut files: UsersFiles,
        commands: Receiver<UsersCommand>,
    ) -> anyhow::Result<()> {
        let (store, location) = (self.store.clone(), deps.settings.ledger());
        let (to_driver, node) = (deps.to_driver.clone(), deps.node.clone());
        let trail = AuditTrail::new(deps.settings, &node);
        self.start_kept("hstratum-users", deps.node, move || {
            let ledger = (&store, location.as_ref(), &trail);
            task_threads::run_users(&mut files, &commands, ledger, &to_driver, &*node);
        })
    }

    /// The thread that reads the certificate anew; none without TLS.
    fn start_certificates(&mut self, deps: &ThreadDeps<'_>) -> anyhow::Result<Option<Sender<()>>> {
        let Some(files) = deps.settings.config.tls.clone() else {
            return Ok(None);
        };
        let (sender, asked) = channel();
        let (to_driver, node) = (deps.to_driver.clone(), deps.node.clone());
        self.start_kept("hstratum-tls", deps.node, move || {
            task_threads::run_certificates(&files, &asked, &to_driver, &*node);
        })?;
        Ok(Some(sender))
    }

    /// Ends all, when the driver's senders are dropped: what was sent before is done first. Waits, but not
    /// for long: what a thread waits for may hang.
    pub(super) fn stop(self, node: &dyn Node) {
        let Self {
            handles,
            store,
            users,
            relay,
            payer,
        } = self;
        let _ = store.send(StoreCommand::Stop);
        let _ = users.send(UsersCommand::Stop);
        let _ = payer.map(|payer| payer.send(PayerCommand::Stop));
        let _ = relay.map(|relay| relay.send(RelayCommand::Stop));
        drop((store, users));
        let by = Instant::now() + WORKERS_STOP;
        for handle in handles {
            while !handle.is_finished() && Instant::now() < by {
                thread::sleep(JOIN_POLL);
            }
            if handle.is_finished() {
                let _ = handle.join();
            } else {
                let name = handle.thread().name().unwrap_or_default();
                let text = format!("the thread {name} is left behind: what it waits for hangs");
                node.log(Level::Warning, &text);
            }
        }
    }
}

/// The thread that writes users and bans into the shared ledger, and hears of those of other servers.
fn start_shared_users(
    deps: &ThreadDeps<'_>,
    first: FirstUsers,
    commands: Receiver<UsersCommand>,
) -> anyhow::Result<()> {
    let duty = deps.statuses.duties.add("users");
    let (to_driver, node) = (deps.to_driver.clone(), deps.node.clone());
    deps.cluster_threads.spawn("hstratum-users", move |_| {
        if let Ok(mut users_sync) = first.users_sync.recv() {
            keep("hstratum-users", &*node, || {
                users_sync.run(&first.users_and_bans, &commands, &duty, &to_driver);
            });
        }
    })
}

/// The thread that reads payout addresses of accounts; only where there is a solo listener.
fn start_payout_addresses(deps: &ThreadDeps<'_>) -> anyhow::Result<()> {
    let has_solo_listener = deps.settings.config.has_listener(Payout::Solo);
    let Some(location) = deps.settings.ledger().filter(|_| has_solo_listener) else {
        return Ok(());
    };
    let (network, to_driver) = (deps.settings.network, deps.to_driver.clone());
    let node = deps.node.clone();
    deps.cluster_threads
        .spawn("hstratum-payees", move |is_stopping| {
            keep("hstratum-payees", &*node, || {
                payout_addresses::run(&location, network, is_stopping, &to_driver, &*node);
            });
        })
}

/// The threads that bring found blocks to other servers, and that hear what those do.
fn start_relay(
    deps: &ThreadDeps<'_>,
    context: ClusterContext,
    users: &Sender<UsersCommand>,
) -> anyhow::Result<Sender<RelayCommand>> {
    let (sender, commands) = channel();
    let duty = deps.statuses.duties.add("relayed blocks");
    let address = context.address.clone();
    let mut relay = Relay::new(context, duty, deps.node.clone());
    let node = deps.node.clone();
    deps.cluster_threads.spawn("hstratum-relay", move |_| {
        keep("hstratum-relay", &*node, || relay.run(&commands));
    })?;
    let (users, blocks, node) = (users.clone(), sender.clone(), deps.node.clone());
    deps.cluster_threads
        .spawn("hstratum-listen", move |is_stopping| {
            keep("hstratum-listen", &*node, || {
                notifications::run(&address, is_stopping, |news| match news {
                    News::People => drop(users.send(UsersCommand::Look)),
                    News::Block => drop(blocks.send(RelayCommand::Look)),
                });
            });
        })?;
    Ok(sender)
}

/// The node needs its cores too.
fn password_threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, PASSWORD_THREADS_MAX)
}

pub(super) fn spawn(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .with_context(|| format!("failed to start the thread {name}"))
}
