//! The thread that sends what waits in the ledger, by one way. A contact that takes nothing is tried again less and less
//! often; a receiver that does not answer is left alone for a while, so that contacts of others do not wait for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hstratum_core::event::Level;

use super::now_s;
use super::sender::{NotTaken, Sender};
use super::texts::{self, Message};
use super::turns::{self, Turns};
use crate::cluster::threads::Threads;
use crate::contacts::table::{DueContact, due, failed, told};
use crate::contacts::way::Way;
use crate::limits::{ALERT_LOOK, RECEIVER_REST};
use crate::node::Node;
use crate::repeated_log::LogBackoff;
use crate::sql::{Db, Sql};

pub(super) struct Messenger {
    turns: Turns,
    way: Way,
    /// The pool's name.
    pool: String,
    sender: Arc<Sender>,
    not_taken: LogBackoff,
    /// Receivers that have not answered, and when.
    silent: HashMap<String, Instant>,
}

impl Messenger {
    pub(super) fn new(turns: Turns, way: Way, pool: String, sender: Arc<Sender>) -> Self {
        Self {
            turns,
            way,
            pool,
            sender,
            not_taken: LogBackoff::default(),
            silent: HashMap::new(),
        }
    }

    pub(super) fn start(mut self, threads: &Threads) -> anyhow::Result<()> {
        let (name, node) = (self.way.thread(), self.turns.node.clone());
        turns::start(threads, name, ALERT_LOOK, node, move |is_stopping| {
            self.turn(is_stopping);
        })
    }

    fn turn(&mut self, is_stopping: &AtomicBool) {
        let Self {
            turns,
            way,
            pool,
            sender,
            not_taken,
            silent,
        } = self;
        let way = *way;
        silent.retain(|_, since| since.elapsed() < RECEIVER_REST);
        turns.turn(|turns, db| {
            let now = now_s();
            for contact in db.read(|sql| due(sql, way, now))? {
                // The lease is extended before each call.
                if is_stopping.load(Ordering::Relaxed) || !turns.is_ours(db)? {
                    break;
                }
                let receiver = receiver_of(way, &contact.target);
                if silent.contains_key(receiver) {
                    let resting = NotTaken::silence("no answer", "as to another contact");
                    write_down(db, &contact, Err(resting))?;
                    continue;
                }
                let sent = sender.send(way, &contact.target, &message_to(&contact, pool));
                if let Err(error) = &sent {
                    complain(way, error, not_taken, &*turns.node);
                    if error.is_silence {
                        silent.insert(receiver.to_owned(), Instant::now());
                    }
                }
                write_down(db, &contact, sent)?;
            }
            Ok(())
        });
    }
}

fn message_to(contact: &DueContact, pool: &str) -> Message {
    let DueContact {
        language, account, ..
    } = contact;
    match contact.is_ended {
        true => texts::message_to_ended(*language, pool, account),
        false => texts::message(*language, pool, account, &contact.events),
    }
}

/// Who takes messages to a contact: of ntfy its host, else the one that the way has.
fn receiver_of(way: Way, target: &str) -> &str {
    match way {
        Way::Ntfy => target.rsplit_once('/').map_or(target, |(host, _)| host),
        Way::Mail | Way::Telegram => "",
    }
}

fn write_down(db: &mut Db, contact: &DueContact, sent: Result<(), NotTaken>) -> anyhow::Result<()> {
    let now = now_s();
    db.write(|sql: &mut dyn Sql| match &sent {
        Ok(()) => told(sql, contact, now),
        Err(not_taken) => failed(sql, contact, &not_taken.for_miner, now),
    })?;
    Ok(())
}

/// A line for the operator, less and less often.
fn complain(way: Way, error: &NotTaken, not_taken: &mut LogBackoff, node: &dyn Node) {
    if not_taken.is_due(Instant::now()) {
        let text = format!(
            "{}: a message was not taken: {}; it is tried again for a day",
            way.duty(),
            error.for_operator
        );
        node.log(Level::Warning, &text);
    }
}
