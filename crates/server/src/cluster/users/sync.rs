//! Users, the operator's bans and drains of one pool on several servers. A change goes into the shared ledger
//! first, and every server reads changes from there each second, and at once when it is notified.
//!
//! While the shared ledger is away nothing is changed except bans, which hold here at once and are owed to
//! the others; known users go on mining. The same thread writes users where nothing is shared: the driver has
//! one channel for both.

mod cache_writes;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use hstratum_core::accounts::ban::{Ban, BanChange};
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::event::Level;
use hstratum_core::limits::OPERATOR_BANS_MAX;
use hstratum_core::operator_order::{
    NewUser, NotWritten, Order, OrderOutcome, OrderRefusal, Owner, UserChange,
};

use crate::account_keys::KeysOfUser;
use crate::audit_trail::AuditRecord;
use crate::clock::unix_s;
use crate::cluster::context::ClusterContext;
use crate::cluster::notifications::{self, News};
use crate::cluster::users::cache::{UsersAndBans, UsersCache};
use crate::cluster::users::local_import;
use crate::cluster::users::table::{self, ChangeOutcome, ChangePage, UserWrite};
use crate::limits::{SHARED_AWAY, SHARED_LOOK};
use crate::messages::{DrainCommand, DriverHandle, SettingRefused, Stopped, WorkerEvent};
use crate::node::Node;
use crate::sql::sqlite_schema::FileId;
use crate::sql::{Db, SqlError};
use crate::supervision::Duty;
use crate::task_threads::{UsersCommand, keys_of, owned, password_hash};

/// State of the thread.
pub(crate) struct UsersSync {
    context: ClusterContext,
    open: Option<UsersConnection>,
    users_and_bans: UsersAndBans,
    copy: Option<UsersCache>,
    /// Changes still to be written to the shared ledger.
    owed: OwedChanges,
    /// The shared ledger's last order: this server is to drain.
    is_draining: bool,
    next_look: Instant,
    is_away: bool,
    /// Time when the shared ledger was last found to be away during a write.
    away_at: Option<Instant>,
    node: Arc<dyn Node>,
}

/// A connection.
struct UsersConnection {
    db: Db,
    /// The last change read on it, and the generation of the shipper's comparison at that time: the ledger
    /// may have been restored to an earlier state while another connection was open, and while this one was.
    seen: Option<(i64, u64)>,
}

#[derive(Default)]
struct OwedChanges {
    draining: Option<bool>,
    /// Oldest first.
    bans: Vec<BanChange>,
}

/// Changes that the pool has not been told of.
#[derive(Default)]
struct UnreportedChanges {
    users: Vec<UserChange>,
    bans: Option<Vec<Ban>>,
    drain: Option<Order>,
}

impl UsersConnection {
    fn client(&mut self) -> Result<&mut postgres::Client, SqlError> {
        match &mut self.db {
            Db::Postgres(postgres) => postgres.client(),
            Db::Sqlite(_) => unreachable!("opened as PostgreSQL"),
        }
    }

    fn is_lost(&self) -> bool {
        matches!(&self.db, Db::Postgres(postgres) if postgres.is_lost())
    }
}

impl UsersSync {
    /// A registry that knows the copy's content and has not read the shared ledger yet.
    pub(crate) fn new(
        context: ClusterContext,
        copy: Option<UsersCache>,
        users_and_bans: UsersAndBans,
        node: Arc<dyn Node>,
    ) -> Self {
        Self {
            context,
            open: None,
            users_and_bans,
            copy,
            owed: OwedChanges {
                // A drain ends with a restart.
                draining: Some(false),
                bans: Vec::new(),
            },
            is_draining: false,
            next_look: Instant::now(),
            is_away: false,
            away_at: None,
            node,
        }
    }

    /// Reads users and bans before there is a pool to be told.
    ///
    /// # Errors
    /// When the shared ledger is away, or refuses this server.
    pub(crate) fn begin(&mut self) -> anyhow::Result<UsersAndBans> {
        self.look()?;
        Ok(self.users_and_bans.clone())
    }

    /// Runs until the driver is gone; its pool was started with the users and bans in `told`.
    pub(crate) fn run(
        &mut self,
        told: &UsersAndBans,
        commands: &Receiver<UsersCommand>,
        duty: &Duty,
        to_driver: &DriverHandle,
    ) {
        duty.again();
        if self.catch_up(told, to_driver).is_err() {
            return;
        }
        loop {
            // While the shared ledger is away the duty is not late: that is reported separately.
            if !self.is_away || !self.context.is_up() {
                duty.again();
            }
            let wait = self.next_look.saturating_duration_since(Instant::now());
            let told = match commands.recv_timeout(wait) {
                Ok(UsersCommand::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(UsersCommand::Look) | Err(RecvTimeoutError::Timeout) => {
                    self.look_and_tell(to_driver)
                }
                Ok(command) => self.take(command, to_driver),
            };
            let told = told.and_then(|()| match Instant::now() >= self.next_look {
                true => self.look_and_tell(to_driver),
                false => Ok(()),
            });
            if told.is_err() {
                return;
            }
        }
    }

    /// Tells the pool the changes since `told`, since a start may have gone on before they were read.
    fn catch_up(&self, told: &UsersAndBans, to_driver: &DriverHandle) -> Result<(), Stopped> {
        let users = &self.users_and_bans.users;
        let new = users
            .iter()
            .filter(|(name, password)| told.users.get(*name) != Some(password))
            .map(|(name, password)| (name.clone(), Some(password.clone())));
        let gone = told.users.keys().filter(|name| !users.contains_key(*name));
        let changed: Vec<UserChange> = new.chain(gone.map(|name| (name.clone(), None))).collect();
        if !changed.is_empty() {
            to_driver.work(WorkerEvent::Users(changed))?;
        }
        if self.users_and_bans.bans != told.bans {
            let bans = self.users_and_bans.bans.values().cloned().collect();
            to_driver.work(WorkerEvent::Bans(bans))?;
        }
        Ok(())
    }

    fn take(&mut self, command: UsersCommand, to_driver: &DriverHandle) -> Result<(), Stopped> {
        match command {
            UsersCommand::Add(ticket, user, old) => {
                let name = user.name.clone();
                let added = self.add_user(&user, old.as_ref());
                to_driver.work(WorkerEvent::UserAdded(ticket, name, added))
            }
            UsersCommand::Keep(ticket, name, new) => {
                let old = match new.is_locked() {
                    true => new.clone().unlocked(),
                    false => new.clone().locked(),
                };
                let how = UserWrite {
                    owner: Owner::Overruled,
                    keys: KeysOfUser::Revoked,
                    record: None,
                };
                let kept = self.write_user(&name, Some(&old), new, None, &how);
                to_driver.work(WorkerEvent::UserAdded(ticket, name, kept))
            }
            UsersCommand::Bans(order, change, _) => {
                let kept = self.change_ban(change);
                // The pool may have been told the state before this change.
                let bans = self.users_and_bans.bans.values().cloned().collect();
                to_driver.work(WorkerEvent::Bans(bans))?;
                to_driver.work(WorkerEvent::Answer(
                    order,
                    kept.map(|()| OrderOutcome::Done),
                ))
            }
            UsersCommand::SetAccount(command) => {
                let known = self.users_and_bans.users.get(&command.account).cloned();
                let stored =
                    self.write(|open| table::write_setting(&mut open.db, &command, known.as_ref()));
                let answer = match stored {
                    Ok(allowed) => allowed.map_err(anyhow::Error::from),
                    Err(error) => Err(error.into()),
                };
                let _ = command.answer.send(answer);
                Ok(())
            }
            // Nothing to write: this state was ordered in the shared ledger, which may have another by now.
            UsersCommand::Draining(is_draining)
                if self.owed.draining.is_none() && is_draining == self.is_draining =>
            {
                Ok(())
            }
            UsersCommand::Draining(is_draining) => {
                self.owed.draining = Some(is_draining);
                self.look_and_tell(to_driver)
            }
            UsersCommand::DrainServer(command) => {
                self.order_drain(command);
                self.look_and_tell(to_driver)
            }
            UsersCommand::Look | UsersCommand::Stop => Ok(()),
        }
    }

    fn add_user(
        &mut self,
        user: &NewUser,
        old: Option<&StoredPassword>,
    ) -> Result<StoredPassword, NotWritten> {
        let hashed = password_hash::hash(&user.password).map_err(|error| {
            self.node.log(Level::Error, &format!("{error:#}"));
            NotWritten::Failed
        })?;
        let new = match user.is_locked {
            true => hashed.locked(),
            false => hashed,
        };
        let how = UserWrite {
            owner: user.owner(),
            keys: keys_of(user, old),
            record: AuditRecord::of_wire_admin(user, &self.context.label),
        };
        self.write_user(&user.name, old, new, user.address.as_ref(), &how)
    }

    fn write_user(
        &mut self,
        name: &str,
        old: Option<&StoredPassword>,
        new: StoredPassword,
        address: Option<&String>,
        how: &UserWrite,
    ) -> Result<StoredPassword, NotWritten> {
        let write = |open: &mut UsersConnection| {
            table::write_user(&mut open.db, name, old, &new, address, how)
        };
        match self.write(write) {
            Ok(written @ (ChangeOutcome::Yes | ChangeOutcome::TakenOver)) => {
                if written == ChangeOutcome::TakenOver {
                    self.node
                        .log(Level::Warning, &owned(name, Owner::Overruled));
                }
                self.keep_user(name, &new);
                Ok(new)
            }
            Ok(ChangeOutcome::Owned) => {
                self.node.log(Level::Warning, &owned(name, how.owner));
                Err(NotWritten::Owned)
            }
            Ok(ChangeOutcome::Changed) => Err(NotWritten::Changed),
            Err(SqlError::Failed(reason)) => {
                let text = format!("failed to write the user {name:?}: {reason}");
                self.node.log(Level::Error, &text);
                Err(NotWritten::Failed)
            }
            Err(_) => Err(NotWritten::Away),
        }
    }

    /// Applies a ban on this server, whether or not it can be written to the shared ledger.
    fn change_ban(&mut self, change: BanChange) -> Result<(), OrderRefusal> {
        self.users_and_bans.apply_ban(change.clone());
        self.keep_bans();
        match self.write(|open| table::write_ban(&mut open.db, &change, unix_s())) {
            Ok(()) => Ok(()),
            Err(SqlError::Failed(reason)) => {
                let text = format!("failed to write a ban: {reason}");
                self.node.log(Level::Error, &text);
                Err(OrderRefusal::BanNotStored)
            }
            Err(_) => {
                if self.owed.bans.len() < OPERATOR_BANS_MAX {
                    self.owed.bans.push(change);
                }
                Err(OrderRefusal::BanNotShared)
            }
        }
    }

    fn order_drain(&mut self, command: DrainCommand) {
        let DrainCommand {
            server,
            over_s,
            record,
            answer,
        } = command;
        let ordered = self.write(|open| {
            let db = &mut open.db;
            table::order_drain(db, &server, over_s, &record)
        });
        let ordered = match ordered {
            Ok(true) => Ok(()),
            Ok(false) => {
                let text = format!("no server has the name {server:?}");
                Err(SettingRefused(text).into())
            }
            Err(error) => Err(anyhow::Error::from(error)),
        };
        let _ = answer.send(ordered);
    }

    /// Writes to the shared ledger, unless it was just found to be away: waiting for it each time would delay
    /// the requests behind this one.
    fn write<T>(
        &mut self,
        write: impl Fn(&mut UsersConnection) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        if self.away_at.is_some_and(|at| at.elapsed() < SHARED_AWAY) {
            return Err(SqlError::Lost("the shared ledger is away".to_owned()));
        }
        let written = self.write_now(write);
        let is_away = matches!(written, Err(SqlError::Lost(_) | SqlError::Interrupted));
        self.away_at = is_away.then(Instant::now);
        written
    }

    /// Writes, and notifies the other servers. Tries once more on a new connection, since the shared ledger
    /// may have been restarted since the last use.
    fn write_now<T>(
        &mut self,
        write: impl Fn(&mut UsersConnection) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        if self.open.take_if(|open| open.is_lost()).is_some() {
            // If this fails, the next poll reports it.
            let _ = self.connect();
        }
        let mut written = match &mut self.open {
            Some(open) => write(open),
            None => return Err(SqlError::Lost("the shared ledger is away".to_owned())),
        };
        if matches!(written, Err(SqlError::Lost(_))) {
            self.open = None;
            if self.connect().is_ok()
                && let Some(open) = &mut self.open
            {
                written = write(open);
            }
        }
        if matches!(written, Err(SqlError::Lost(_))) {
            self.open = None;
        }
        if let (Ok(_), Some(open)) = (&written, &mut self.open)
            && let Ok(client) = open.client()
        {
            notifications::tell(client, News::People);
        }
        written
    }

    fn look_and_tell(&mut self, to_driver: &DriverHandle) -> Result<(), Stopped> {
        self.next_look = Instant::now() + SHARED_LOOK;
        match self.look() {
            Ok(news) => {
                self.away_at = None;
                if std::mem::take(&mut self.is_away) {
                    let text = "users and bans can be changed again";
                    self.node.log(Level::Info, text);
                }
                if !news.users.is_empty() {
                    to_driver.work(WorkerEvent::Users(news.users))?;
                }
                if let Some(bans) = news.bans {
                    to_driver.work(WorkerEvent::Bans(bans))?;
                }
                news.drain
                    .map_or(Ok(()), |order| to_driver.work(WorkerEvent::Order(order)))
            }
            Err(error) => {
                self.away_at = Some(Instant::now());
                if !std::mem::replace(&mut self.is_away, true) {
                    let text = format!("users and bans cannot be changed: {error:#}");
                    self.node.log(Level::Warning, &text);
                }
                Ok(())
            }
        }
    }

    /// Reads changes and writes what is owed, on a new connection if the old one was lost.
    fn look(&mut self) -> anyhow::Result<UnreportedChanges> {
        self.open.take_if(|open| open.is_lost());
        let was_open = self.open.is_some();
        match self.look_once() {
            Err(_) if was_open => self.look_once(),
            looked => looked,
        }
    }

    fn look_once(&mut self) -> anyhow::Result<UnreportedChanges> {
        if self.open.is_none() {
            self.connect()?;
        }
        let (origin, generation) = self.context.own_origin();
        let read = self.settle(&origin).and_then(|()| {
            let open = self.open.as_mut().expect("just connected");
            let seen = open.seen.filter(|(_, then)| *then == generation);
            let me = self.context.me(&origin);
            let page = table::read(&mut open.db, seen.map(|(seen, _)| seen), me, unix_s())?;
            open.seen = Some((page.number, generation));
            Ok(page)
        });
        match read {
            Ok(page) => Ok(self.learn(page)),
            Err(error) => {
                self.open = None;
                Err(error.into())
            }
        }
    }

    fn connect(&mut self) -> anyhow::Result<()> {
        let (mut postgres, number) = self.context.connect()?;
        let dir = self.context.dir.as_deref();
        if let Some(taken) = local_import::take_in(postgres.client()?, number, dir)? {
            for (level, text) in taken.lines() {
                self.node.log(level, &text);
            }
        }
        self.open = Some(UsersConnection {
            db: Db::Postgres(Box::new(postgres)),
            seen: None,
        });
        Ok(())
    }

    /// Writes what is owed.
    fn settle(&mut self, origin: &FileId) -> Result<(), SqlError> {
        let open = self.open.as_mut().expect("just connected");
        let me = self.context.me(origin);
        if let Some(is_draining) = self.owed.draining
            && table::write_draining(&mut open.db, me, is_draining)?
        {
            self.owed.draining = None;
            self.is_draining = is_draining;
        }
        while let Some(change) = self.owed.bans.first() {
            table::write_ban(&mut open.db, change, unix_s())?;
            self.owed.bans.remove(0);
        }
        Ok(())
    }

    /// Applies a page, and returns the part that the pool does not know yet.
    fn learn(&mut self, page: ChangePage) -> UnreportedChanges {
        let mut news = UnreportedChanges::default();
        let mut users = page.users;
        if page.is_whole {
            let there: HashSet<&String> = users.iter().map(|(name, _)| name).collect();
            let known = self.users_and_bans.users.keys();
            let gone: Vec<UserChange> = known
                .filter(|name| !there.contains(name))
                .map(|name| (name.clone(), None))
                .collect();
            if !gone.is_empty() {
                let text = format!("users that the shared ledger no longer has: {}", gone.len());
                self.node.log(Level::Warning, &text);
            }
            users.extend(gone);
        }
        users.retain(|(name, password)| self.users_and_bans.users.get(name) != password.as_ref());
        for (name, password) in &users {
            match password {
                Some(password) => self
                    .users_and_bans
                    .users
                    .insert(name.clone(), password.clone()),
                None => self.users_and_bans.users.remove(name),
            };
        }
        let old = self.users_and_bans.bans.clone();
        if page.is_whole {
            self.users_and_bans.bans.clear();
        }
        for change in page.bans {
            self.users_and_bans.apply_ban(change);
        }
        if page.is_whole || !users.is_empty() {
            self.keep_users(&users);
        }
        news.users = users;
        if self.users_and_bans.bans != old {
            news.bans = Some(self.users_and_bans.bans.values().cloned().collect());
            self.keep_bans();
        }
        if page.drain.is_some() != self.is_draining {
            self.is_draining = page.drain.is_some();
            news.drain = Some(match page.drain {
                Some(over_s) => Order::Drain { over_s },
                None => Order::Undrain,
            });
        }
        news
    }
}
