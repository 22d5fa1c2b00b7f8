//! Starts the threads that wait for something, so that the driver does not.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use anyhow::Context;
use hstratum_core::alarm::Sign;

use crate::alarms::{self, Bulletin};
use crate::clerk::{self, UsersFiles, UsersMail};
use crate::driver::Desks;
use crate::limits::PASSWORD_THREADS_MAX;
use crate::mail::Post;
use crate::node::Node;
use crate::settings::Settings;
use crate::shared::listen::{self, News};
use crate::shared::people::Place;
use crate::shared::relay::{Relay, RelayMail};
use crate::shared::standing::Standing;
use crate::shared::start::Opened;
use crate::shared::threads::Threads;
use crate::spool::Spool;
use crate::store::{Parties, Store};
use crate::webhook::{self, Outbox, Source};

/// Whom all of them work for.
pub(crate) struct Office<'a> {
    pub settings: &'a Settings,
    pub post: &'a Post,
    pub node: &'a Arc<dyn Node>,
    /// Where alarms are put up.
    pub bulletin: &'a Arc<Bulletin>,
    /// How the ledger does that several servers share; none where there is none.
    pub standing: Option<&'a Arc<Standing>>,
    /// Those that wait for that ledger.
    pub threads: &'a Threads,
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
            clerks.push(spawn("hstratum-spool", move || {
                clerk::run_spool(&spool, &spool_mail, &*spool_node);
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
    let mut relay = None;
    if let Some(Opened {
        place,
        people,
        registry,
    }) = opened
    {
        threads.spawn("hstratum-users", move |_| {
            if let Ok(registry) = registry.recv() {
                registry.run(&people, &users_mail, &users_post);
            }
        })?;
        relay = Some(start_relay(place, threads, &users_desk, node)?);
    } else {
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
    }
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
        relay,
        alarms: alarms_desk,
        certificates,
    };
    Ok((desks, clerks))
}

/// Who brings found blocks to other servers, and who hears what those do.
fn start_relay(
    place: Place,
    threads: &Threads,
    users: &Sender<UsersMail>,
    node: &Arc<dyn Node>,
) -> anyhow::Result<Sender<RelayMail>> {
    let (desk, mail) = channel();
    let (address, relay) = (place.address.clone(), Relay::new(place, node.clone()));
    threads.spawn("hstratum-relay", move |_| relay.run(&mail))?;
    let (users, blocks) = (users.clone(), desk.clone());
    threads.spawn("hstratum-listen", move |is_stopping| {
        listen::run(&address, is_stopping, |news| match news {
            News::People => drop(users.send(UsersMail::Look)),
            News::Block => drop(blocks.send(RelayMail::Look)),
        });
    })?;
    Ok(desk)
}

/// Who raises alarms, and where there is a webhook who delivers them.
fn start_alarms(office: &Office<'_>, signs: Receiver<Sign>) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let (settings, node) = (office.settings, office.node);
    let (standing, bulletin) = (office.standing.cloned(), office.bulletin.clone());
    let mut clerks = Vec::new();
    let mut outbox = None;
    if let Some(webhook) = &settings.config.webhook {
        let (posted, webhook) = (Arc::new(Outbox::default()), webhook.clone());
        outbox = Some(posted.clone());
        let courier_node = node.clone();
        let source = Source {
            network: settings.network,
            server: settings.config.server_id.clone(),
        };
        clerks.push(spawn("hstratum-webhook", move || {
            let ended = webhook::run(&webhook, &source, &posted, &*courier_node);
            if let Err(error) = ended {
                courier_node.log(
                    hstratum_core::event::Level::Error,
                    &format!("webhook: {error:#}"),
                );
            }
        })?);
    }
    let (drop_percent, node) = (settings.config.hashrate_alarm, node.clone());
    clerks.push(spawn("hstratum-alarms", move || {
        let (outbox, shared) = (outbox.as_deref(), standing.as_deref());
        alarms::run(drop_percent, &signs, outbox, shared, &bulletin, &*node);
    })?);
    Ok(clerks)
}

/// The node needs its cores too.
fn password_threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, PASSWORD_THREADS_MAX)
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
