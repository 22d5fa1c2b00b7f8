//! Starts the threads that wait for something, so that the driver does not.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use hstratum_core::alarm::AlarmInput;
use hstratum_core::event::Level;

use crate::alerts::webhook::{self, Outbox, Source};
use crate::alerts::{self, Bulletin, Looks};
use crate::cluster::listen::{self, News};
use crate::cluster::place::Place;
use crate::cluster::relay::{Relay, RelayMail};
use crate::cluster::start::Opened;
use crate::cluster::threads::Threads;
use crate::config::settings::Settings;
use crate::driver::Desks;
use crate::files::spool::Spool;
use crate::limits::{CLERKS_STOP, PASSWORD_THREADS_MAX};
use crate::messages::Post;
use crate::node::Node;
use crate::store::{Parties, Store};
use crate::workers::duty::{Duties, keep};
use crate::workers::{self, UsersFiles, UsersMail};

/// How often a stop looks whether a thread has ended.
const JOIN_POLL: Duration = Duration::from_millis(5);

/// Whom all of them work for.
pub(crate) struct Office<'a> {
    pub settings: &'a Settings,
    pub post: &'a Post,
    pub node: &'a Arc<dyn Node>,
    /// Where alarms are put up.
    pub bulletin: &'a Arc<Bulletin>,
    /// What alarms are raised for beside what is told.
    pub looks: &'a Looks,
    /// Those that wait for that ledger.
    pub threads: &'a Threads,
    /// What they are there to do.
    pub duties: &'a Duties,
}

/// Starts the threads that wait for the disk. They end when their desk closes.
pub(crate) fn start(
    office: &Office<'_>,
    store: Store,
    users_files: UsersFiles,
    spool: Option<Spool>,
    opened: Option<Opened>,
) -> anyhow::Result<(Desks, Vec<JoinHandle<()>>)> {
    let Office {
        settings,
        post,
        node,
        threads,
        duties,
        ..
    } = *office;
    let (store_desk, store_mail) = channel();
    let (users_desk, users_mail) = channel();
    let mut clerks = Vec::new();

    let spool = match spool {
        None => None,
        Some(spool) => {
            let (spool_desk, spool_mail) = channel();
            let spool_node = node.clone();
            let duty = duties.add("spooled blocks");
            clerks.push(spawn_kept("hstratum-spool", node, move || {
                workers::run_spool(&spool, &spool_mail, &duty, &*spool_node);
            })?);
            Some(spool_desk)
        }
    };
    let (alarms_desk, signs) = channel();
    clerks.extend(start_alarms(office, signs)?);
    let parties = Parties {
        alarms: alarms_desk.clone(),
        post: post.clone(),
        node: node.clone(),
        spool: spool.clone(),
        desk: store_desk.clone(),
        duties: duties.clone(),
    };
    clerks.push(spawn("hstratum-ledger", move || {
        store.run(&store_mail, parties);
    })?);
    let (passwords_desk, passwords_mail) = channel();
    let passwords_mail = Arc::new(Mutex::new(passwords_mail));
    for _ in 0..password_threads() {
        let (passwords_mail, passwords_post) = (passwords_mail.clone(), post.clone());
        clerks.push(spawn_kept("hstratum-login", node, move || {
            workers::run_passwords(&passwords_mail, &passwords_post);
        })?);
    }
    let (users_post, users_node) = (post.clone(), node.clone());
    let mut relay = None;
    if let Some(Opened {
        place,
        people,
        registry,
    }) = opened
    {
        let duty = duties.add("users");
        threads.spawn("hstratum-users", move |_| {
            if let Ok(mut registry) = registry.recv() {
                keep("hstratum-users", &*users_node, || {
                    registry.run(&people, &users_mail, &duty, &users_post);
                });
            }
        })?;
        relay = Some(start_relay(place, office, &users_desk)?);
    } else {
        let users_ledger = store_desk.clone();
        let users_place = settings.ledger();
        let mut users_files = users_files;
        clerks.push(spawn_kept("hstratum-users", node, move || {
            workers::run_users(
                &mut users_files,
                &users_mail,
                (&users_ledger, users_place.as_ref()),
                &users_post,
                &*users_node,
            );
        })?);
    }
    let certificates = match &settings.config.tls {
        None => None,
        Some(files) => {
            let (desk, mail) = channel();
            let (files, post, told) = (files.clone(), post.clone(), node.clone());
            clerks.push(spawn_kept("hstratum-tls", node, move || {
                workers::run_certificates(&files, &mail, &post, &*told);
            })?);
            Some(desk)
        }
    };
    let desks = Desks {
        store: store_desk,
        passwords: passwords_desk,
        users: users_desk,
        spool,
        relay,
        alarms: alarms_desk,
        certificates,
    };
    Ok((desks, clerks))
}

/// Who brings found blocks to other servers, and who hears what those do.
fn start_relay(
    place: Place,
    office: &Office<'_>,
    users: &Sender<UsersMail>,
) -> anyhow::Result<Sender<RelayMail>> {
    let (desk, mail) = channel();
    let (threads, duties, node) = (office.threads, office.duties, office.node);
    let duty = duties.add("relayed blocks");
    let address = place.address.clone();
    let mut relay = Relay::new(place, duty, node.clone());
    let told = node.clone();
    threads.spawn("hstratum-relay", move |_| {
        keep("hstratum-relay", &*told, || relay.run(&mail));
    })?;
    let (users, blocks, told) = (users.clone(), desk.clone(), node.clone());
    threads.spawn("hstratum-listen", move |is_stopping| {
        keep("hstratum-listen", &*told, || {
            listen::run(&address, is_stopping, |news| match news {
                News::People => drop(users.send(UsersMail::Look)),
                News::Block => drop(blocks.send(RelayMail::Look)),
            });
        });
    })?;
    Ok(desk)
}

/// Who raises alarms, and where there is a webhook who delivers them.
fn start_alarms(
    office: &Office<'_>,
    signs: Receiver<AlarmInput>,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let (settings, node) = (office.settings, office.node);
    let (looks, bulletin) = (office.looks, office.bulletin.clone());
    let mut clerks = Vec::new();
    let looks = Looks {
        shared: looks.shared.clone(),
        node_lag: looks.node_lag.clone(),
        ledger: looks.ledger.clone(),
        duties: looks.duties.clone(),
    };
    let mut outbox = None;
    if let Some(webhook) = &settings.config.webhook {
        let (posted, webhook) = (Arc::new(Outbox::default()), webhook.clone());
        outbox = Some(posted.clone());
        let courier_node = node.clone();
        let source = Source {
            network: settings.network,
            server: settings.config.server_id.clone(),
        };
        clerks.push(spawn_kept("hstratum-webhook", node, move || {
            let ended = webhook::run(&webhook, &source, &posted, &*courier_node);
            if let Err(error) = ended {
                courier_node.log(Level::Error, &format!("webhook: {error:#}"));
            }
        })?);
    }
    let (drop_percent, told) = (settings.config.hashrate_alarm, node.clone());
    clerks.push(spawn_kept("hstratum-alarms", node, move || {
        let outbox = outbox.as_deref();
        alerts::run(drop_percent, &signs, outbox, &looks, &bulletin, &*told);
    })?);
    Ok(clerks)
}

/// The node needs its cores too.
fn password_threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, PASSWORD_THREADS_MAX)
}

/// One whose work is begun anew when it ends by a bug.
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

/// Waits for threads to end, but not for long: what they wait for may hang.
pub(crate) fn join(clerks: Vec<JoinHandle<()>>, node: &dyn Node) {
    let by = Instant::now() + CLERKS_STOP;
    for clerk in clerks {
        while !clerk.is_finished() && Instant::now() < by {
            thread::sleep(JOIN_POLL);
        }
        if clerk.is_finished() {
            let _ = clerk.join();
        } else {
            let name = clerk.thread().name().unwrap_or_default();
            let text = format!("the thread {name} is left behind: what it waits for hangs");
            node.log(Level::Warning, &text);
        }
    }
}
