//! What other threads tell the driver. What the node says goes first.

use hstratum_core::chain::block::{Solution, Verdict};
use hstratum_core::chain::template::{RawTransactions, TemplateParts};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use hstratum_core::accounting::ledger::{Knowledge, View};
use hstratum_core::accounts::ban::Ban;
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::event::{LedgerState, Password, Ticket};
use hstratum_core::order::{Answer, NotWritten, Order, OrderId, Refusal, UserChange};
use hstratum_core::units::{Hash, Height, Seq};
use rustls::ServerConfig;

use crate::node::Look;

/// From the node.
pub enum NodeMail {
    /// The chain's new tip.
    Tip(Hash, Height),
    /// A template on the tip.
    Template(Box<TemplateParts>),
    /// The transactions of a template.
    Transactions(u64, Arc<[u8]>),
    /// Why there is no template.
    NoTemplate(String),
    /// What became of a block that was offered.
    BlockResult(Hash, Verdict),
    /// The node's height, and which of the blocks asked about are on its main chain.
    Located(Look),
    /// Read the certificate anew.
    ReloadCertificates,
    /// Pay an account there from now on.
    SetAddress(AddressMail),
    /// The operator wants something.
    Order(Order, Sender<OrderAnswer>),
    /// Have another server drain, or end that.
    DrainServer(DrainMail),
    /// The node stops soon: say so here when proxies have taken their miners elsewhere, or have
    /// had their time.
    Leave(Sender<()>),
    /// Stop, and say so here when all is flushed.
    Close(Sender<()>),
}

/// What came of an order.
pub(crate) type OrderAnswer = Result<Answer, Refusal>;

/// Where an account is to be paid, and who waits for that to be durable.
pub struct AddressMail {
    /// Whose.
    pub account: String,
    /// Of this network, in its one spelling.
    pub address: String,
    /// Whoever waits.
    pub answer: Sender<anyhow::Result<()>>,
}

/// Which server is to send its miners away, and who waits for it to be told.
pub struct DrainMail {
    /// Its name in the shared ledger.
    pub server: String,
    /// Over how many seconds; none: it is to take miners again.
    pub over_s: Option<u64>,
    /// Whoever waits.
    pub answer: Sender<anyhow::Result<()>>,
}

/// From the threads that work for the driver.
pub enum WorkMail {
    /// Shares up to here are.
    Durable(Seq),
    /// Shares up to here that are not durable were given up.
    NotDurable(Seq),
    /// Whether the ledger takes shares.
    Ledger(LedgerState),
    /// How the node's chain compares with what a ledger was shown.
    Evidence(Shown, View, Knowledge),
    /// It is known what became of this block.
    BlockAnswered(Hash),
    /// What a password was found to be.
    PasswordChecked(Ticket, Password),
    /// The name, and the password as it was written, if it could be.
    UserAdded(Ticket, String, Result<StoredPassword, NotWritten>),
    /// Users that another server has changed.
    Users(Vec<UserChange>),
    /// The operator's bans, as they now are.
    Bans(Vec<Ban>),
    /// What was ordered on another server.
    Order(Order),
    /// An order is carried out, or not.
    Answer(OrderId, OrderAnswer),
    /// The certificate as its files now are.
    Certificate(Arc<ServerConfig>),
}

/// Where others post. Cheap to clone; posting never waits.
#[derive(Clone)]
pub(crate) struct Post {
    node: Sender<NodeMail>,
    work: Sender<WorkMail>,
    waker: Arc<mio::Waker>,
}

/// The driver has stopped.
pub(crate) struct Stopped;

/// Where the driver reads.
pub struct Mailbox {
    /// From the node.
    pub node: Receiver<NodeMail>,
    /// From the threads that work for it.
    pub work: Receiver<WorkMail>,
}

impl Post {
    /// A mailbox whose mail wakes `waker`'s poll.
    pub(crate) fn new(waker: mio::Waker) -> (Self, Mailbox) {
        let (node, node_mail) = channel();
        let (work, work_mail) = channel();
        let post = Self {
            node,
            work,
            waker: Arc::new(waker),
        };
        let mailbox = Mailbox {
            node: node_mail,
            work: work_mail,
        };
        (post, mailbox)
    }

    /// From the node. Mail to a driver that has stopped is dropped.
    pub(crate) fn node(&self, mail: NodeMail) {
        if self.node.send(mail).is_ok() {
            let _ = self.waker.wake();
        }
    }

    /// From a thread that works for the driver.
    ///
    /// # Errors
    /// When the driver has stopped: nobody waits for what is left to do.
    pub(crate) fn work(&self, mail: WorkMail) -> Result<(), Stopped> {
        self.work.send(mail).map_err(|_| Stopped)?;
        let _ = self.waker.wake();
        Ok(())
    }
}

/// Which ledger the node's chain was compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The server's own file, which only its node was ever asked for.
    File,
    /// The one that several servers share.
    Shared,
}

/// Changes of the spool.
pub enum SpoolMail {
    /// Keep this block, with these transactions.
    Put(Arc<Solution>, Arc<RawTransactions>),
    /// The node has answered this one.
    Remove(Hash),
}
