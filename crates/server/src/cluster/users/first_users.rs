//! Users and bans at the start of one of several servers: from the shared ledger, or from the last local copy
//! while that is away, so that no miner waits for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use anyhow::{Context, bail};
use hstratum_core::event::Level;

use crate::clock::unix_s;
use crate::cluster::context::ClusterContext;
use crate::cluster::shipping::shipper::is_away;
use crate::cluster::users::cache::{UsersAndBans, UsersCache};
use crate::cluster::users::sync::UsersSync;
use crate::limits::{SHARED_FIRST_START, SHARED_START};
use crate::node::Node;

/// Users and bans at the start, and the [`UsersSync`], which arrives once its first read has ended.
pub(crate) struct FirstUsers {
    pub context: ClusterContext,
    pub users_and_bans: UsersAndBans,
    pub users_sync: Receiver<UsersSync>,
}

/// Reads users and bans from the shared ledger, or from the copy while it is away.
///
/// # Errors
/// When the shared ledger refuses this server, or is away and there is no copy yet.
pub(crate) fn open(context: ClusterContext, node: &Arc<dyn Node>) -> anyhow::Result<FirstUsers> {
    let (copy, known) = match &context.dir {
        None => (None, None),
        Some(dir) => {
            let (copy, known) = UsersCache::open(dir, unix_s())?;
            (Some(copy), known)
        }
    };
    let mut users_sync = UsersSync::new(
        context.clone(),
        copy,
        known.clone().unwrap_or_default(),
        node.clone(),
    );
    let (first_sender, first) = channel();
    let (sender, users_sync_inbox) = channel();
    let looking = thread::Builder::new().name("hstratum-users".to_owned());
    looking
        .spawn(move || {
            let _ = first_sender.send(users_sync.begin());
            let _ = sender.send(users_sync);
        })
        .context("failed to start the thread hstratum-users")?;
    let patience = match &known {
        Some(_) => SHARED_START,
        None => SHARED_FIRST_START,
    };
    let looked = first.recv_timeout(patience).ok();
    let users_and_bans = match (looked, known) {
        (Some(Ok(users_and_bans)), _) => users_and_bans,
        (Some(Err(error)), Some(known)) if is_away(&error) => {
            node.log(
                Level::Warning,
                &format!("{error:#}; users and bans are those known last"),
            );
            known
        }
        (None, Some(known)) => {
            let text = "the shared ledger does not answer; users and bans are those known last";
            node.log(Level::Warning, text);
            known
        }
        (Some(Err(error)), known) => {
            let context = match known {
                Some(_) => "failed to read users from the shared ledger",
                None => {
                    "failed to read users from the shared ledger, of which there is no copy yet"
                }
            };
            return Err(error.context(context));
        }
        (None, None) => bail!(
            "failed to read users from the shared ledger, of which there is no copy yet: {} does not \
             answer",
            context.address
        ),
    };
    Ok(FirstUsers {
        context,
        users_and_bans,
        users_sync: users_sync_inbox,
    })
}
