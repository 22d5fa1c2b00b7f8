//! Orders of the operator, from the node's RPC and the admin part of the HTTP API, to the driver.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use hstratum_core::accounting::terms::PayoutTerms;
use hstratum_core::accounts::clean_name;
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::limits::DRAIN_S_MAX;
use hstratum_core::operator_order::{Order, OrderRefusal};
use tokio::sync::oneshot;

use crate::account_keys::NewKey;
use crate::audit_trail::{Actor, AuditRecord, AuditTrail, Change, Outcome};
use crate::config::settings::Settings;
use crate::limits::ORDER_MS;
use crate::messages::{
    AccountSetting, DrainCommand, DriverHandle, NodeEvent, OrderAnswer, SetAccountCommand,
};
use crate::node::Node;
use crate::task_threads;

/// Sender of orders to the driver.
#[derive(Clone)]
pub(crate) struct Orders {
    to_driver: DriverHandle,
    network: Network,
    /// The terms of the ledger in the file. Those of a shared ledger are compared where it is written.
    terms: Option<PayoutTerms>,
    /// Users, bans and addresses are written to a ledger that several servers share.
    is_shared: bool,
    /// The delay of an address that its account sets.
    address_delay_s: u64,
    trail: AuditTrail,
}

impl Orders {
    pub(crate) fn new(to_driver: DriverHandle, settings: &Settings, node: &Arc<dyn Node>) -> Self {
        let is_shared = settings.config.database.is_some();
        Self {
            to_driver,
            network: settings.network,
            terms: (!is_shared).then_some(settings.config.terms),
            is_shared,
            address_delay_s: settings.config.address_delay.as_secs(),
            trail: AuditTrail::new(settings, node),
        }
    }

    /// See [`crate::server::Server::set_address`].
    pub(crate) fn set_address(
        &self,
        by: &Actor,
        account: &str,
        address: &str,
    ) -> anyhow::Result<AccountStored> {
        check_name(account)?;
        let address = self.payable(address)?;
        Ok(self.set_account(by, account, AccountSetting::Address(Some(address))))
    }

    /// Sets the payout address that an account wants to have: it holds from `address-delay` after it is stored on.
    pub(crate) fn set_next_address(
        &self,
        by: &Actor,
        account: &str,
        address: &str,
    ) -> anyhow::Result<AccountStored> {
        let setting = AccountSetting::NextAddress {
            address: self.payable(address)?,
            delay_s: self.address_delay_s,
        };
        Ok(self.set_account(by, account, setting))
    }

    /// Cancels that while it does not hold.
    pub(crate) fn keep_address(&self, by: &Actor, account: &str) -> AccountStored {
        self.set_account(by, account, AccountSetting::KeepAddress)
    }

    /// The record of a change that is made elsewhere.
    pub(crate) fn record(&self, by: &Actor, change: Change) -> AuditRecord {
        self.trail.of(by, change)
    }

    /// Stores a key or link of an account.
    pub(crate) fn add_key(&self, by: &Actor, account: &str, key: NewKey) -> AccountStored {
        self.set_account(by, account, AccountSetting::AddKey(key))
    }

    /// Revokes the one with this id.
    pub(crate) fn revoke_key(&self, by: &Actor, account: &str, id: &str) -> AccountStored {
        self.set_account(by, account, AccountSetting::RevokeKey(id.to_owned()))
    }

    fn payable(&self, address: &str) -> anyhow::Result<String> {
        let payable = Address::payable(address, self.network).map_err(|why| anyhow!(why))?;
        Ok(payable.encode(self.network))
    }

    /// See [`crate::server::Server::set_threshold`].
    pub(crate) fn set_threshold(
        &self,
        by: &Actor,
        account: &str,
        threshold: Option<u64>,
    ) -> anyhow::Result<AccountStored> {
        check_name(account)?;
        if let Some((threshold, terms)) = threshold.zip(self.terms) {
            let allowed = terms.check_threshold(threshold);
            allowed.map_err(|error| anyhow!(error))?;
        }
        Ok(self.set_account(by, account, AccountSetting::Threshold(threshold)))
    }

    fn set_account(&self, by: &Actor, account: &str, setting: AccountSetting) -> AccountStored {
        let what = setting.name();
        let record = self.trail.of(by, setting.recorded(account));
        let account = account.to_owned();
        let (command, answered) = SetAccountCommand::new(account, setting, Some(record));
        self.to_driver.node(NodeEvent::SetAccount(command));
        AccountStored {
            answered,
            what,
            ledger: match self.is_shared {
                true => SHARED_LEDGER,
                false => "the ledger",
            },
        }
    }

    /// See [`crate::server::Server::drain_server`].
    pub(crate) fn drain_server(
        &self,
        by: &Actor,
        server: &str,
        over_s: Option<u64>,
    ) -> anyhow::Result<ServerDrained> {
        if over_s.is_some_and(|over_s| over_s > DRAIN_S_MAX) {
            bail!(OrderRefusal::DrainTooLong.text());
        }
        let (answer, answered) = channel();
        self.to_driver.node(NodeEvent::DrainServer(DrainCommand {
            server: server.to_owned(),
            over_s,
            record: self.trail.of(by, Change::of_drain(server, over_s)),
            answer,
        }));
        Ok(ServerDrained(answered))
    }

    /// See [`crate::server::Server::change`].
    pub(crate) fn change(&self, by: &Actor, order: Order) -> PlannedChange {
        PlannedChange {
            orders: self.clone(),
            by: by.clone(),
            order,
        }
    }

    /// See [`crate::server::Server::order`].
    pub(crate) fn give(&self, order: Order) -> Ordered {
        let (answer, answered) = channel();
        let waits_for = self.waits_for(&order);
        // The sender may wait no longer.
        let take = move |told| drop(answer.send(told));
        self.to_driver.node(NodeEvent::Order(order, Box::new(take)));
        Ordered {
            answered,
            waits_for,
        }
    }

    /// The same for a task, which waits at most ten seconds. Errors are those of [`Ordered::wait`].
    pub(crate) async fn ask(&self, order: Order) -> anyhow::Result<OrderAnswer> {
        let (answer, answered) = oneshot::channel();
        let waits_for = self.waits_for(&order);
        // The task may be gone.
        let take = move |told| drop(answer.send(told));
        self.to_driver.node(NodeEvent::Order(order, Box::new(take)));
        match tokio::time::timeout(Duration::from_millis(ORDER_MS), answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => bail!(POOL_STOPPED),
            Err(_) => bail!("{waits_for} does not answer in time"),
        }
    }

    /// Who answers an order, for messages.
    fn waits_for(&self, order: &Order) -> &'static str {
        match order {
            Order::Info
            | Order::ListBans
            | Order::ListUsers { .. }
            | Order::FindUser(_)
            | Order::ListWorkers { .. }
            | Order::SignIn { .. }
            | Order::Drain { .. }
            | Order::Undrain => "the pool",
            Order::AddUser(_)
            | Order::SetPassword { .. }
            | Order::DisableUser(_)
            | Order::EnableUser(_)
            | Order::Ban { .. }
            | Order::Unban(_) => match self.is_shared {
                true => SHARED_LEDGER,
                false => "the disk",
            },
        }
    }
}

fn check_name(account: &str) -> anyhow::Result<()> {
    if clean_name(account).as_deref() != Some(account) {
        bail!("not an account name: {account:?}");
    }
    Ok(())
}

/// A setting of an account on its way to the ledger.
pub struct AccountStored {
    answered: Receiver<anyhow::Result<()>>,
    what: &'static str,
    ledger: &'static str,
}

impl AccountStored {
    /// Waits until it is durable, at most five seconds.
    ///
    /// # Errors
    /// When it cannot be stored, or the server has stopped. After a timeout it may be stored all the same.
    pub fn wait(&self) -> anyhow::Result<()> {
        task_threads::wait_for_account(&self.answered, self.ledger)
            .with_context(|| format!("failed to store the {}", self.what))
    }
}

/// A drain order on its way to the shared ledger.
pub struct ServerDrained(Receiver<anyhow::Result<()>>);

impl ServerDrained {
    /// Waits until the shared ledger has it, at most ten seconds; the server reads it within a second.
    ///
    /// # Errors
    /// When there is no such server, or the shared ledger is away.
    pub fn wait(&self) -> anyhow::Result<()> {
        let told = self.0.recv_timeout(Duration::from_millis(ORDER_MS));
        told.context("the shared ledger does not answer")?
    }
}

/// An order that changes something, and is not yet given.
pub struct PlannedChange {
    orders: Orders,
    by: Actor,
    order: Order,
}

impl PlannedChange {
    /// Gives it between its record in the audit trail and that of its outcome, and waits for the answer: at most
    /// twenty seconds.
    ///
    /// # Errors
    /// Those of [`Ordered::wait`]. What cannot be recorded is refused, except bans and drains.
    pub fn make(self) -> anyhow::Result<OrderAnswer> {
        let Self { orders, by, order } = self;
        let Some(change) = Change::of_order(&order) else {
            return orders.give(order).wait();
        };
        let record = orders.trail.of(&by, change);
        let Ok(open) = orders.trail.begin(&record, order.is_protective()) else {
            return Ok(Err(match orders.is_shared {
                true => OrderRefusal::LedgerAway,
                false => OrderRefusal::UserNotStored,
            }));
        };
        let answered = orders.give(order).wait();
        let outcome = match &answered {
            Ok(Ok(_)) => Outcome::Done,
            Ok(Err(refusal)) => Outcome::Refused(refusal.text().to_owned()),
            Err(error) => Outcome::Unknown(format!("{error:#}")),
        };
        orders.trail.end(open, &outcome);
        answered
    }
}

/// What answers changes of users, bans and addresses where servers share it.
const SHARED_LEDGER: &str = "the shared ledger";

const POOL_STOPPED: &str = "the pool has stopped before it answered";

/// An order that was given.
pub struct Ordered {
    answered: Receiver<OrderAnswer>,
    waits_for: &'static str,
}

impl Ordered {
    /// Waits for the answer, at most ten seconds.
    ///
    /// # Errors
    /// When there is none: the server has stopped, or the pool has failed meanwhile. The order may have been
    /// carried out all the same.
    pub fn wait(&self) -> anyhow::Result<OrderAnswer> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        match self.answered.recv_timeout(Duration::from_millis(ORDER_MS)) {
            Ok(answer) => Ok(answer),
            Err(Timeout) => bail!("{} does not answer in time", self.waits_for),
            Err(Disconnected) => bail!(POOL_STOPPED),
        }
    }
}
