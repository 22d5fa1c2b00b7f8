//! Starts the worker threads.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use hstratum_core::alarm::AlarmInput;
use hstratum_core::event::Level;
use parking_lot::Mutex;

use crate::alerts::webhook::{self, AlarmQueue, Source};
use crate::alerts::{self, AlarmFeed, AlarmSources};
use crate::cluster::context::ClusterContext;
use crate::cluster::first_users::FirstUsers;
use crate::cluster::notifications::{self, News};
use crate::cluster::relay::{Relay, RelayCommand};
use crate::cluster::threads::Threads;
use crate::config::settings::Settings;
use crate::driver::Senders;
use crate::duty::{Duties, keep};
use crate::files::UsersFiles;
use crate::files::spool::Spool;
use crate::limits::{PASSWORD_THREADS_MAX, WORKERS_STOP};
use crate::messages::DriverHandle;
use crate::node::Node;
use crate::store::{Store, StoreOutputs};
use crate::workers::{self, UsersCommand};

/// Interval at which a stop checks whether a thread has ended.
const JOIN_POLL: Duration = Duration::from_millis(5);

/// Dependencies of the worker threads.
pub(crate) struct ThreadDeps<'a> {
    pub settings: &'a Settings,
    pub to_driver: &'a DriverHandle,
    pub node: &'a Arc<dyn Node>,
    /// Feed that alarms are published to.
    pub alarm_feed: &'a Arc<AlarmFeed>,
    /// State that alarms are derived from, besides the inputs sent to them.
    pub alarm_sources: &'a AlarmSources,
    /// Threads that wait for the shared ledger.
    pub threads: &'a Threads,
    /// Monitored duties of all threads.
    pub duties: &'a Duties,
}

/// Starts the worker threads. Each ends when its channel closes.
pub(crate) fn start(
    deps: &ThreadDeps<'_>,
    store: Store,
    users_files: UsersFiles,
    spool: Option<Spool>,
    first_users: Option<FirstUsers>,
) -> anyhow::Result<(Senders, Vec<JoinHandle<()>>)> {
    let ThreadDeps {
        settings,
        to_driver,
        node,
        threads,
        duties,
        ..
    } = *deps;
    let (store_sender, store_commands) = channel();
    let (users_sender, users_commands) = channel();
    let mut join_handles = Vec::new();

    let spool = match spool {
        None => None,
        Some(spool) => {
            let (spool_sender, spool_commands) = channel();
            let spool_node = node.clone();
            let duty = duties.add("spooled blocks");
            join_handles.push(spawn_kept("hstratum-spool", node, move || {
                workers::run_spool(&spool, &spool_commands, &duty, &*spool_node);
            })?);
            Some(spool_sender)
        }
    };
    let (alarms_sender, signs) = channel();
    join_handles.extend(start_alarms(deps, signs)?);
    let outputs = StoreOutputs {
        alarms: alarms_sender.clone(),
        to_driver: to_driver.clone(),
        node: node.clone(),
        spool: spool.clone(),
        sender: store_sender.clone(),
        duties: duties.clone(),
    };
    join_handles.push(spawn("hstratum-ledger", move || {
        store.run(&store_commands, outputs);
    })?);
    let (passwords_sender, passwords_commands) = channel();
    let passwords_commands = Arc::new(Mutex::new(passwords_commands));
    for _ in 0..password_threads() {
        let (passwords_commands, passwords_to_driver) =
            (passwords_commands.clone(), to_driver.clone());
        join_handles.push(spawn_kept("hstratum-login", node, move || {
            workers::run_passwords(&passwords_commands, &passwords_to_driver);
        })?);
    }
    let (users_to_driver, users_node) = (to_driver.clone(), node.clone());
    let mut relay = None;
    if let Some(FirstUsers {
        context,
        users_and_bans,
        users_sync,
    }) = first_users
    {
        let duty = duties.add("users");
        threads.spawn("hstratum-users", move |_| {
            if let Ok(mut users_sync) = users_sync.recv() {
                keep("hstratum-users", &*users_node, || {
                    users_sync.run(&users_and_bans, &users_commands, &duty, &users_to_driver);
                });
            }
        })?;
        relay = Some(start_relay(context, deps, &users_sender)?);
    } else {
        let users_ledger = store_sender.clone();
        let users_place = settings.ledger();
        let mut users_files = users_files;
        join_handles.push(spawn_kept("hstratum-users", node, move || {
            workers::run_users(
                &mut users_files,
                &users_commands,
                (&users_ledger, users_place.as_ref()),
                &users_to_driver,
                &*users_node,
            );
        })?);
    }
    let certificates = match &settings.config.tls {
        None => None,
        Some(files) => {
            let (sender, commands) = channel();
            let (files, to_driver, told) = (files.clone(), to_driver.clone(), node.clone());
            join_handles.push(spawn_kept("hstratum-tls", node, move || {
                workers::run_certificates(&files, &commands, &to_driver, &*told);
            })?);
            Some(sender)
        }
    };
    let senders = Senders {
        store: store_sender,
        passwords: passwords_sender,
        users: users_sender,
        spool,
        relay,
        alarms: alarms_sender,
        certificates,
    };
    Ok((senders, join_handles))
}

/// Starts the relay of found blocks, and the thread that listens for notifications of other servers.
fn start_relay(
    context: ClusterContext,
    deps: &ThreadDeps<'_>,
    users: &Sender<UsersCommand>,
) -> anyhow::Result<Sender<RelayCommand>> {
    let (sender, commands) = channel();
    let (threads, duties, node) = (deps.threads, deps.duties, deps.node);
    let duty = duties.add("relayed blocks");
    let address = context.address.clone();
    let mut relay = Relay::new(context, duty, node.clone());
    let told = node.clone();
    threads.spawn("hstratum-relay", move |_| {
        keep("hstratum-relay", &*told, || relay.run(&commands));
    })?;
    let (users, blocks, told) = (users.clone(), sender.clone(), node.clone());
    threads.spawn("hstratum-listen", move |is_stopping| {
        keep("hstratum-listen", &*told, || {
            notifications::run(&address, is_stopping, |news| match news {
                News::People => drop(users.send(UsersCommand::Look)),
                News::Block => drop(blocks.send(RelayCommand::Look)),
            });
        });
    })?;
    Ok(sender)
}

/// Starts the thread that raises alarms, and with a webhook the one that delivers them.
fn start_alarms(
    deps: &ThreadDeps<'_>,
    signs: Receiver<AlarmInput>,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let (settings, node) = (deps.settings, deps.node);
    let (alarm_sources, alarm_feed) = (deps.alarm_sources, deps.alarm_feed.clone());
    let mut join_handles = Vec::new();
    let alarm_sources = AlarmSources {
        shared: alarm_sources.shared.clone(),
        node_lag: alarm_sources.node_lag.clone(),
        ledger: alarm_sources.ledger.clone(),
        duties: alarm_sources.duties.clone(),
    };
    let mut outbox = None;
    if let Some(webhook) = &settings.config.webhook {
        let (posted, webhook) = (Arc::new(AlarmQueue::default()), webhook.clone());
        outbox = Some(posted.clone());
        let webhook_node = node.clone();
        let source = Source {
            network: settings.network,
            server: settings.config.server_id.clone(),
        };
        join_handles.push(spawn_kept("hstratum-webhook", node, move || {
            let ended = webhook::run(&webhook, &source, &posted, &*webhook_node);
            if let Err(error) = ended {
                webhook_node.log(Level::Error, &format!("webhook: {error:#}"));
            }
        })?);
    }
    let (drop_percent, told) = (settings.config.hashrate_alarm, node.clone());
    join_handles.push(spawn_kept("hstratum-alarms", node, move || {
        let outbox = outbox.as_deref();
        alerts::run(
            drop_percent,
            &signs,
            outbox,
            &alarm_sources,
            &alarm_feed,
            &*told,
        );
    })?);
    Ok(join_handles)
}

/// Number of threads that check passwords; half the cores at most, since the node needs cores too.
fn password_threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, PASSWORD_THREADS_MAX)
}

/// Starts a thread whose work is begun again when it panics.
fn spawn_kept(
    name: &'static str,
    node: &Arc<dyn Node>,
    mut work: impl FnMut() + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    let node = node.clone();
    spawn(name, move || keep(name, &*node, &mut work))
}

pub(crate) fn spawn(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .with_context(|| format!("failed to start the thread {name}"))
}

/// Waits up to [`WORKERS_STOP`] for threads to end: the disk they write to may hang.
pub(crate) fn join(join_handles: Vec<JoinHandle<()>>, node: &dyn Node) {
    let by = Instant::now() + WORKERS_STOP;
    for handle in join_handles {
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
