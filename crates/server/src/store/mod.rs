//! The ledger's thread: takes what was recorded, group by group, makes it durable and says so.
//!
//! A group is everything that arrived while the last one was worked on. The ledger is held in
//! memory: it does not survive the process, and the log says so at the start.

pub mod schema;

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender};
use std::time::SystemTime;

use hstratum_core::address::Network;
use hstratum_core::event::{FoundBlock, Verdict};
use hstratum_core::ledger::{Credit, Rounds, Tallied};
use hstratum_core::summary::Dump;
use hstratum_core::units::Hash;

use crate::clerk::SpoolMail;
use crate::mail::{AddressMail, Post, WorkMail};

/// What the ledger is asked. The order is the order of the asking.
pub(crate) enum StoreMail {
    /// Shares to be made durable.
    Credits(Vec<Credit>),
    /// What miners have sent.
    Tally(Vec<Tallied>),
    /// A block was offered to the node.
    BlockFound(Box<FoundBlock>),
    /// The node has answered: the spool may forget the block once this is durable.
    BlockAnswered(Hash, Verdict),
    /// Where an account is to be paid, an address of this network; the answer follows once that is
    /// durable, or cannot be.
    SetAddress(AddressMail),
}

/// Runs until the driver is gone and all is done.
pub(crate) fn run(
    network: Network,
    mail: &Receiver<StoreMail>,
    post: &Post,
    dumps: &Sender<Dump>,
    spool: Option<&Sender<SpoolMail>>,
) {
    let mut rounds = Rounds::default();
    let mut found = HashMap::new();
    while let Ok(first) = mail.recv() {
        let mut durable = None;
        for item in std::iter::once(first).chain(mail.try_iter()) {
            match item {
                StoreMail::Credits(credits) => {
                    for credit in &credits {
                        rounds.add(credit);
                    }
                    durable = credits.last().map(|credit| credit.seq).max(durable);
                }
                StoreMail::Tally(_) => {}
                StoreMail::BlockFound(block) => {
                    found.insert(block.hash, block);
                }
                StoreMail::SetAddress(mail) => {
                    // Whoever asked may have stopped waiting.
                    let _ = mail.answer.send(Err(anyhow::anyhow!("not supported yet")));
                }
                StoreMail::BlockAnswered(hash, verdict) => {
                    if verdict == Verdict::Accepted
                        && let Some(block) = found.remove(&hash)
                    {
                        // The thread that writes dumps outlives this one.
                        let _ = dumps.send(close_round(network, &mut rounds, &block));
                    }
                    if let Some(spool) = spool {
                        let _ = spool.send(SpoolMail::Remove(hash));
                    }
                }
            }
        }
        if let Some(seq) = durable {
            // Rounds are closed to the end, also when nobody waits for shares any more.
            let _ = post.work(WorkMail::Durable(seq));
        }
    }
}

fn close_round(network: Network, rounds: &mut Rounds, block: &FoundBlock) -> Dump {
    let shares = rounds.close(block.height);
    let coinbase = &block.coinbase;
    Dump {
        network: network.name().to_owned(),
        height: block.height.0,
        block: block.hash,
        ts: block.time,
        time: unix_s(),
        txid: coinbase.txid(),
        address: coinbase.address().encode(network),
        reward: coinbase.value(),
        total: shares.values().sum(),
        shares: shares
            .into_iter()
            .map(|(account, difficulty)| (account.to_string(), difficulty))
            .collect(),
    }
}

/// The clock, in Unix seconds; 0 before 1970.
pub(crate) fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
