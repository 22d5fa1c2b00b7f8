//! Password checks and user writes that are not answered yet, by ticket.
//!
//! Invariant: equal checks are open once, however many connections wait for them.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::accounts::User;
use crate::accounts::ban::network_of;
use crate::accounts::password::StoredPassword;
use crate::event::Ticket;
use crate::operator_order::{OrderId, UserEdit};
use crate::units::ConnId;

/// A connection that waits for a check or a write, and the id of its request.
pub(crate) struct Asker {
    pub conn: ConnId,
    pub id: Option<String>,
}

/// A request to the password hasher or the user file, and the connections that wait for its answer.
pub(crate) enum PasswordTask {
    /// Checks a login's password.
    Login {
        account: Arc<str>,
        password: String,
        /// The stored password that it is compared with.
        stored: StoredPassword,
        waiting: Vec<(Asker, User)>,
    },
    /// Checks the password of somebody who signs in to the dashboard.
    SignIn(SignIn),
    /// Writes a user; `password` is the new password in the clear, if it has a new one.
    Write {
        name: String,
        password: Option<String>,
        writer: Writer,
    },
}

/// Somebody who signs in to the dashboard.
pub(crate) struct SignIn {
    /// Gets the answer.
    pub order: OrderId,
    /// The client's.
    pub address: IpAddr,
    /// As given.
    pub name: Box<str>,
    /// The account; `None` if nobody may sign in by the name, whatever the password.
    pub account: Option<Arc<str>>,
    /// The stored password that the given one is compared with.
    pub stored: StoredPassword,
}

/// The party that a write is reported to.
pub(crate) enum Writer {
    /// Nobody: a password in the old form is rewritten in the new one.
    Nobody,
    /// An admin on the wire.
    Miner(Asker),
    /// The operator, for an order.
    Operator(OrderId, UserEdit),
}

/// The checks and writes that are not answered yet. Each connection waits for one at most.
pub(crate) struct PasswordTasks {
    open: HashMap<Ticket, PasswordTask>,
    /// Tickets of the open checks, by account and password.
    logins: HashMap<(Arc<str>, String), Ticket>,
    /// Networks of those who sign in.
    sign_ins: HashMap<Ticket, IpAddr>,
    /// Names of users that are being written.
    writing: HashSet<String>,
    last: Ticket,
}

impl PasswordTasks {
    /// Starts without questions. Tickets count up from the random `seed`, so that an answer meant for an
    /// earlier pool matches no question here.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            open: HashMap::new(),
            logins: HashMap::new(),
            sign_ins: HashMap::new(),
            writing: HashSet::new(),
            last: seed >> 1,
        }
    }

    /// Removes the question that an answer belongs to.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<PasswordTask> {
        let task = self.open.remove(&ticket)?;
        match &task {
            PasswordTask::Login {
                account, password, ..
            } => {
                self.logins.remove(&(account.clone(), password.clone()));
            }
            PasswordTask::Write { name, .. } => {
                self.writing.remove(name);
            }
            PasswordTask::SignIn(_) => {
                self.sign_ins.remove(&ticket);
            }
        }
        Some(task)
    }

    /// Opens a password check, or joins one that is open for the same password. `None` if it joined.
    pub(crate) fn ask_login(
        &mut self,
        asker: Asker,
        user: User,
        password: &str,
        stored: &StoredPassword,
    ) -> Option<Ticket> {
        let key = (user.account.clone(), password.to_owned());
        if let Some(ticket) = self.logins.get(&key)
            && let Some(PasswordTask::Login {
                waiting,
                stored: old,
                ..
            }) = self.open.get_mut(ticket)
            && old == stored
        {
            waiting.push((asker, user));
            return None;
        }
        self.last += 1;
        let task = PasswordTask::Login {
            account: user.account.clone(),
            password: password.to_owned(),
            stored: stored.clone(),
            waiting: vec![(asker, user)],
        };
        self.open.insert(self.last, task);
        self.logins.insert(key, self.last);
        Some(self.last)
    }

    /// The ticket of the open check of this account and password.
    pub(crate) fn login_of(&self, account: &Arc<str>, password: &str) -> Option<Ticket> {
        let key = (account.clone(), password.to_owned());
        self.logins.get(&key).copied()
    }

    /// Removes a connection from those that wait; true if none is left.
    pub(crate) fn leave(&mut self, ticket: Ticket, conn: ConnId) -> bool {
        let Some(PasswordTask::Login { waiting, .. }) = self.open.get_mut(&ticket) else {
            return false;
        };
        waiting.retain(|(asker, _)| asker.conn != conn);
        waiting.is_empty()
    }

    /// Count of open questions.
    pub(crate) fn count(&self) -> usize {
        self.open.len().max(self.logins.len())
    }

    /// Count of connections that wait for a password check.
    pub(crate) fn askers(&self) -> usize {
        let of = |task: &PasswordTask| match task {
            PasswordTask::Login { waiting, .. } => waiting.len(),
            PasswordTask::Write { .. } | PasswordTask::SignIn(_) => 0,
        };
        self.open.values().map(of).sum()
    }

    /// Opens a check for somebody who signs in.
    pub(crate) fn ask_sign_in(&mut self, sign_in: SignIn) -> Ticket {
        self.last += 1;
        self.sign_ins.insert(self.last, network_of(sign_in.address));
        self.open.insert(self.last, PasswordTask::SignIn(sign_in));
        self.last
    }

    /// Count of open sign-ins, of this network or of all.
    pub(crate) fn sign_ins(&self, network: Option<IpAddr>) -> usize {
        let networks = self.sign_ins.values();
        let counted = networks.filter(|one| network.is_none_or(|network| network == **one));
        counted.count()
    }

    /// Opens a write of a user.
    pub(crate) fn ask_write(
        &mut self,
        name: String,
        password: Option<String>,
        writer: Writer,
    ) -> Ticket {
        self.last += 1;
        self.writing.insert(name.clone());
        let task = PasswordTask::Write {
            name,
            password,
            writer,
        };
        self.open.insert(self.last, task);
        self.last
    }

    /// True if a user of that name is being written.
    pub(crate) fn is_writing(&self, name: &str) -> bool {
        self.writing.contains(name)
    }
}
