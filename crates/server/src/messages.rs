//! Messages of other threads to the driver. Those of the node are processed first.

use hstratum_core::chain::block::Solution;
use hstratum_core::chain::template::{RawTransactions, TemplateParts};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use hstratum_core::accounting::ledger::{ChainView, Knowledge, Verdict};
use hstratum_core::accounts::PayoutAddresses;
use hstratum_core::accounts::ban::Ban;
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::chain::coinbase_split::CoinbaseSplit;
use hstratum_core::event::{LedgerState, Password, Ticket};
use hstratum_core::operator_order::{
    NotWritten, Order, OrderId, OrderOutcome, OrderRefusal, UserChange,
};
use hstratum_core::units::{Difficulty, Hash, Height, Seq};
use rustls::ServerConfig;

use crate::account_keys::{self, NewKey};
use crate::audit_trail::{AuditRecord, Change};
use crate::clock::unix_s;
use crate::contacts::event::{AccountChange, AlertEvent};
use crate::contacts::table::note;
use crate::node::Look;
use crate::sql::{Sql, SqlError, Value, signed};
use crate::values;

/// Messages of the node.
pub enum NodeEvent {
    /// The chain's new tip.
    Tip(Hash, Height),
    /// A template on the tip.
    Template(Box<TemplateParts>),
    /// The transactions of a template.
    Transactions(u64, Arc<[u8]>),
    /// Reason why there is no template.
    NoTemplate(String),
    /// The node's reason to refuse the block of its template; none once templates are valid again.
    TemplateInvalid(Option<String>),
    /// The outcome of a drill that the node was given.
    Drilled(Drilled),
    /// Verdict on a block that was offered.
    BlockResult(Hash, Verdict),
    /// The node's view of the chain, and which of the blocks asked about are on its main chain.
    Located(Look),
    /// Read the certificate again.
    ReloadCertificates,
    /// Set what an account has of its own.
    SetAccount(SetAccountCommand),
    /// Order, and what takes its answer.
    Order(Order, TakeAnswer),
    /// Make another server drain, or end its drain.
    DrainServer(DrainCommand),
    /// The node stops soon: notify here when proxies have moved their miners, or their time is over.
    Leave(Sender<()>),
    /// The node stops: notify here when everything is flushed.
    Close(Sender<()>),
}

/// Outcome of a drill.
#[derive(Debug, PartialEq, Eq)]
pub enum Drilled {
    /// A found block would be accepted.
    Works,
    /// A found block would be lost, for this reason.
    Broken(String),
    /// No verdict: there was a new tip, or the node did not answer.
    Interrupted,
}

/// Answer to an order.
pub type OrderAnswer = Result<OrderOutcome, OrderRefusal>;

/// Takes the answer to an order, on the driver's thread. It is dropped if there will be none.
pub type TakeAnswer = Box<dyn FnOnce(OrderAnswer) + Send>;

/// A setting of an account, and the requester waiting for it to be durable.
pub struct SetAccountCommand {
    /// Name of the account.
    pub account: String,
    /// Its new value.
    pub setting: AccountSetting,
    /// Whose change it is; `None` if it follows from another one.
    pub record: Option<AuditRecord>,
    /// Sender to the requester.
    pub answer: Sender<anyhow::Result<()>>,
}

impl SetAccountCommand {
    /// The command, and where its answer comes.
    pub fn new(
        account: String,
        setting: AccountSetting,
        record: Option<AuditRecord>,
    ) -> (Self, Receiver<anyhow::Result<()>>) {
        let (answer, answered) = channel();
        let command = Self {
            account,
            setting,
            record,
            answer,
        };
        (command, answered)
    }

    /// Sets it, and writes whose change that is.
    pub(crate) fn write(&self, sql: &mut dyn Sql) -> Result<(), SqlError> {
        let changed = self.setting.write(sql, &self.account)?;
        match &self.record {
            Some(record) => record.write_if(sql, changed > 0),
            None => Ok(()),
        }
    }

    /// Text about what the account's owner asks for.
    pub(crate) fn asked(&self) -> Option<String> {
        let account = &self.account;
        match &self.setting {
            AccountSetting::NextAddress { address, delay_s } => Some(format!(
                "{account:?} asks to be paid at {address}, from {delay_s} s from now on"
            )),
            AccountSetting::KeepAddress => Some(format!(
                "{account:?} asks to be paid at no other address later"
            )),
            AccountSetting::Address(_)
            | AccountSetting::NewPassword
            | AccountSetting::Threshold(_)
            | AccountSetting::AddKey(_)
            | AccountSetting::RevokeKey(_)
            | AccountSetting::RevokeKeys => None,
        }
    }
}

/// The reason why an account may not have a setting, or no server can be told to drain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SettingRefused(pub(crate) String);

/// What an account has of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountSetting {
    /// Payout address of this network in its canonical spelling, from now on; `None`: its name. One that was to hold
    /// later does not.
    Address(Option<String>),
    /// The same from a number of seconds after it is stored on.
    NextAddress {
        /// The address.
        address: String,
        /// The seconds.
        delay_s: u64,
    },
    /// No other address is to hold later.
    KeepAddress,
    /// The same, since the account has another password or was disabled.
    NewPassword,
    /// Balance from which it is paid, in base units; `None`: the pool's.
    Threshold(Option<u64>),
    /// A key or link more, unless its name is taken or there are as many as there may be.
    AddKey(NewKey),
    /// The key or link with this id no more.
    RevokeKey(String),
    /// No key and no link: whoever has made them may not be the owner.
    RevokeKeys,
}

impl AccountSetting {
    /// Its name in messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Address(_) | Self::NextAddress { .. } | Self::KeepAddress => "address",
            Self::NewPassword => "password",
            Self::Threshold(_) => "threshold",
            Self::AddKey(_) | Self::RevokeKey(_) | Self::RevokeKeys => "keys",
        }
    }

    /// What it is in the audit trail.
    pub(crate) fn recorded(&self, account: &str) -> Change {
        let (kind, detail) = match self {
            Self::Address(address) => ("set-address", address.clone().unwrap_or_default()),
            Self::NextAddress { address, delay_s } => {
                ("set-next-address", format!("{address} in {delay_s} s"))
            }
            Self::KeepAddress => ("cancel-address", String::new()),
            Self::NewPassword => ("set-password", String::new()),
            Self::Threshold(threshold) => (
                "set-threshold",
                threshold.map_or(String::new(), |threshold| threshold.to_string()),
            ),
            Self::AddKey(key) => ("add-key", format!("{} ({})", key.name, key.right.name())),
            Self::RevokeKey(id) => ("revoke-key", id.clone()),
            Self::RevokeKeys => ("revoke-keys", String::new()),
        };
        Change::new(kind, account, detail)
    }

    /// Sets it for the account of that name, and notes that its contacts are to be told; returns 0 if there is no such
    /// account, or nothing to set.
    pub(crate) fn write(&self, sql: &mut dyn Sql, account: &str) -> Result<u64, SqlError> {
        let changed = self.update(sql, account)?;
        let change = match changed > 0 || *self == Self::NewPassword {
            true => self.change(sql, account)?,
            false => None,
        };
        if let Some(change) = change {
            let event = AlertEvent::Change { change };
            note(sql, account, signed(unix_s()), &event)?;
        }
        Ok(changed)
    }

    /// What it is to whoever is told of it; none if that is told by something else.
    fn change(&self, sql: &mut dyn Sql, account: &str) -> Result<Option<AccountChange>, SqlError> {
        Ok(Some(match self {
            Self::Address(address) => AccountChange::Address {
                address: address.clone(),
            },
            Self::NextAddress { address, .. } => {
                let query = "SELECT next_address_at FROM accounts WHERE name = ?1";
                AccountChange::NextAddress {
                    address: address.clone(),
                    holds_at: sql.query_one(query, &values![account])?.get(0)?,
                }
            }
            Self::KeepAddress => AccountChange::KeepAddress,
            Self::NewPassword => AccountChange::Password,
            Self::Threshold(threshold) => AccountChange::Threshold {
                threshold: *threshold,
            },
            Self::AddKey(key) => AccountChange::Key {
                name: key.name.clone(),
                may: key.right.name().to_owned(),
            },
            Self::RevokeKey(_) => AccountChange::KeyRevoked,
            // Told as what it is done for.
            Self::RevokeKeys => return Ok(None),
        }))
    }

    /// Sets it; returns the number of rows that it changed.
    fn update(&self, sql: &mut dyn Sql, account: &str) -> Result<u64, SqlError> {
        let name = account;
        let account = Value::from(account);
        let (update, parameters) = match self {
            Self::Address(address) => (
                "UPDATE accounts SET address = ?2, next_address = NULL, next_address_at = NULL
                 WHERE name = ?1",
                vec![account, address.as_ref().into()],
            ),
            Self::NextAddress { address, delay_s } => (
                "UPDATE accounts
                    SET address = (SELECT p.address FROM payees AS p WHERE p.id = accounts.id),
                        next_address = ?2,
                        next_address_at = (SELECT unix_s FROM clock) + ?3
                  WHERE name = ?1",
                vec![account, address.into(), (*delay_s).into()],
            ),
            Self::KeepAddress | Self::NewPassword => (
                "UPDATE accounts SET next_address = NULL, next_address_at = NULL
                  WHERE name = ?1 AND next_address_at > (SELECT unix_s FROM clock)",
                vec![account],
            ),
            Self::Threshold(threshold) => (
                "UPDATE accounts SET threshold = ?2 WHERE name = ?1",
                vec![account, (*threshold).into()],
            ),
            Self::AddKey(key) => return account_keys::add(sql, name, key),
            Self::RevokeKey(id) => return account_keys::revoke(sql, name, id),
            Self::RevokeKeys => return account_keys::revoke_all(sql, name),
        };
        sql.execute(update, &parameters)
    }
}

/// Drain order for a server, and the requester waiting for it to be delivered.
pub struct DrainCommand {
    /// The server's name in the shared ledger.
    pub server: String,
    /// Seconds over which it sends its miners away; `None`: it accepts miners again.
    pub over_s: Option<u64>,
    /// Whose order it is.
    pub record: AuditRecord,
    /// Sender to the requester.
    pub answer: Sender<anyhow::Result<()>>,
}

/// The block that a split is computed for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MinedBlock {
    /// Its parent.
    pub tip: Hash,
    /// Its height.
    pub height: Height,
    /// What the node's template pays, in base units.
    pub reward: u64,
    /// The network's.
    pub difficulty: Difficulty,
    /// The block that this server has found last.
    pub last_found: Option<Hash>,
}

/// Messages of the worker threads.
pub enum WorkerEvent {
    /// Shares up to this one are durable.
    Durable(Seq),
    /// Shares up to this one that are not durable were given up.
    NotDurable(Seq),
    /// State of the ledger: whether it accepts shares.
    Ledger(LedgerState),
    /// Comparison of the node's chain with the highest tip that a ledger was shown.
    Evidence(EvidenceSource, ChainView, Knowledge),
    /// The verdict on this block is durable.
    BlockAnswered(Hash),
    /// Result of checking a password.
    PasswordChecked(Ticket, Password),
    /// Name of an added user, and the stored password, if it could be written.
    UserAdded(Ticket, String, Result<StoredPassword, NotWritten>),
    /// Users that another server has changed.
    Users(Vec<UserChange>),
    /// All payout addresses of accounts, for solo listeners.
    PayoutAddresses(Arc<PayoutAddresses>),
    /// The split of blocks from now on.
    Split(Arc<CoinbaseSplit>),
    /// All of the operator's bans.
    Bans(Vec<Ban>),
    /// An order given on another server.
    Order(Order),
    /// Result of an order.
    Answer(OrderId, OrderAnswer),
    /// The certificate as read again.
    Certificate(Arc<ServerConfig>),
}

/// Sender of messages to the driver. Cheap to clone; sending never waits.
#[derive(Clone)]
pub(crate) struct DriverHandle {
    node: Sender<NodeEvent>,
    work: Sender<WorkerEvent>,
    waker: Arc<mio::Waker>,
}

/// Error: the driver has stopped.
pub(crate) struct Stopped;

/// The driver's receivers.
pub struct DriverInbox {
    /// From the node.
    pub node: Receiver<NodeEvent>,
    /// From the worker threads.
    pub work: Receiver<WorkerEvent>,
}

impl DriverHandle {
    /// Makes the two ends; a message wakes the poll of `waker`.
    pub(crate) fn new(waker: mio::Waker) -> (Self, DriverInbox) {
        let (node, node_mail) = channel();
        let (work, work_mail) = channel();
        let to_driver = Self {
            node,
            work,
            waker: Arc::new(waker),
        };
        let inbox = DriverInbox {
            node: node_mail,
            work: work_mail,
        };
        (to_driver, inbox)
    }

    /// Sends a message of the node. It is dropped if the driver has stopped.
    pub(crate) fn node(&self, message: NodeEvent) {
        if self.node.send(message).is_ok() {
            let _ = self.waker.wake();
        }
    }

    /// Sends a message of a worker thread.
    ///
    /// # Errors
    /// When the driver has stopped, so that the rest of the work is not needed.
    pub(crate) fn work(&self, message: WorkerEvent) -> Result<(), Stopped> {
        self.work.send(message).map_err(|_| Stopped)?;
        let _ = self.waker.wake();
        Ok(())
    }
}

/// Ledger that the node's chain was compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvidenceSource {
    /// The server's own file, which only its own node has shown a chain.
    File,
    /// The ledger shared by several servers.
    Shared,
}

/// Messages to the spool.
pub enum SpoolCommand {
    /// Keep this block, with these transactions.
    Put(Arc<Solution>, Arc<RawTransactions>),
    /// The node has answered this block.
    Remove(Hash),
}
