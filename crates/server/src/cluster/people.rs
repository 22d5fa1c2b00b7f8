//! Users, the operator's bans and drains of one pool on several servers. A change goes into the shared ledger
//! first, and every server reads changes from there each second, and at once when it is notified.
//!
//! While the shared ledger is away nothing is changed except bans, which hold here at once and are owed to
//! the others; known users go on mining. The same thread writes users where nothing is shared: the driver has
//! one channel for both.

mod kept;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use hstratum_core::accounts::ban::{Ban, BanChange};
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::event::Level;
use hstratum_core::limits::OPERATOR_BANS_MAX;
use hstratum_core::order::{OrderOutcome, NewUser, NotWritten, Order, Owner, OrderRefusal, UserChange};

use super::copy::{Copy, People};
use super::intake;
use super::listen::{self, News};
use super::place::Place;
use super::roll::{self, Page, Written};
use super::standing::Link;
use super::{origin, schema};
use crate::clock::unix_s;
use crate::limits::{SHARED_AWAY, SHARED_LOOK};
use crate::messages::{DrainMail, Post, Stopped, WorkMail};
use crate::node::Node;
use crate::sql::{Db, SqlError};
use crate::store::schema::FileId;
use crate::workers::duty::Duty;
use crate::workers::{UsersMail, owned, password_hash};

/// State of the thread.
pub(crate) struct Registry {
    place: Place,
    open: Option<Open>,
    people: People,
    copy: Option<Copy>,
    /// Changes still to be written to the shared ledger.
    owed: Owed,
    /// The shared ledger's last order: this server is to drain.
    is_draining: bool,
    next_look: Instant,
    is_away: bool,
    /// Time when the shared ledger was last found to be away during a write.
    away_at: Option<Instant>,
    node: Arc<dyn Node>,
}

/// A connection.
struct Open {
    db: Db,
    /// The last change read on it, and the generation of the shipper's comparison at that time: the ledger
    /// may have been restored to an earlier state while another connection was open, and while this one was.
    seen: Option<(i64, u64)>,
}

#[derive(Default)]
struct Owed {
    draining: Option<bool>,
    /// Oldest first.
    bans: Vec<BanChange>,
}

/// Changes that the pool has not been told of.
#[derive(Default)]
struct Difference {
    users: Vec<UserChange>,
    bans: Option<Vec<Ban>>,
    drain: Option<Order>,
}

impl Open {
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

impl Registry {
    /// A registry that knows the copy's content and has not read the shared ledger yet.
    pub(crate) fn new(
        place: Place,
        copy: Option<Copy>,
        people: People,
        node: Arc<dyn Node>,
    ) -> Self {
        Self {
            place,
            open: None,
            people,
            copy,
            owed: Owed {
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
    pub(crate) fn begin(&mut self) -> anyhow::Result<People> {
        self.look()?;
        Ok(self.people.clone())
    }

    /// Runs until the driver is gone; its pool was started with the users and bans in `told`.
    pub(crate) fn run(
        &mut self,
        told: &People,
        mail: &Receiver<UsersMail>,
        duty: &Duty,
        post: &Post,
    ) {
        duty.again();
        if self.catch_up(told, post).is_err() {
            return;
        }
        loop {
            // The shipper logs that the shared ledger is away.
            if !self.is_away || self.place.standing.read().link != Link::Up {
                duty.again();
            }
            let wait = self.next_look.saturating_duration_since(Instant::now());
            let told = match mail.recv_timeout(wait) {
                Ok(UsersMail::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(UsersMail::Look) | Err(RecvTimeoutError::Timeout) => self.look_and_tell(post),
                Ok(mail) => self.take(mail, post),
            };
            let told = told.and_then(|()| match Instant::now() >= self.next_look {
                true => self.look_and_tell(post),
                false => Ok(()),
            });
            if told.is_err() {
                return;
            }
        }
    }

    /// Tells the pool the changes since `told`, since a start may have gone on before they were read.
    fn catch_up(&self, told: &People, post: &Post) -> Result<(), Stopped> {
        let users = &self.people.users;
        let new = users
            .iter()
            .filter(|(name, password)| told.users.get(*name) != Some(password))
            .map(|(name, password)| (name.clone(), Some(password.clone())));
        let gone = told.users.keys().filter(|name| !users.contains_key(*name));
        let changed: Vec<UserChange> = new.chain(gone.map(|name| (name.clone(), None))).collect();
        if !changed.is_empty() {
            post.work(WorkMail::Users(changed))?;
        }
        if self.people.bans != told.bans {
            let bans = self.people.bans.values().cloned().collect();
            post.work(WorkMail::Bans(bans))?;
        }
        Ok(())
    }

    fn take(&mut self, mail: UsersMail, post: &Post) -> Result<(), Stopped> {
        match mail {
            UsersMail::Add(ticket, user, old) => {
                let name = user.name.clone();
                let added = self.add_user(&user, old.as_ref());
                post.work(WorkMail::UserAdded(ticket, name, added))
            }
            UsersMail::Keep(ticket, name, new) => {
                let old = match new.is_locked() {
                    true => new.clone().unlocked(),
                    false => new.clone().locked(),
                };
                let kept = self.write_user(&name, Some(&old), new, None, Owner::Overruled);
                post.work(WorkMail::UserAdded(ticket, name, kept))
            }
            UsersMail::Bans(order, change, _) => {
                let kept = self.change_ban(change);
                // The pool may have been told the state before this change.
                let bans = self.people.bans.values().cloned().collect();
                post.work(WorkMail::Bans(bans))?;
                post.work(WorkMail::Answer(order, kept.map(|()| OrderOutcome::Done)))
            }
            UsersMail::SetAddress(mail) => {
                let (name, address) = (&mail.account, &mail.address);
                let stored = self.write(|open| roll::write_address(&mut open.db, name, address));
                let _ = mail.answer.send(stored.map_err(anyhow::Error::from));
                Ok(())
            }
            // The state that the shared ledger ordered; it may have changed again since.
            UsersMail::Draining(is_draining)
                if self.owed.draining.is_none() && is_draining == self.is_draining =>
            {
                Ok(())
            }
            UsersMail::Draining(is_draining) => {
                self.owed.draining = Some(is_draining);
                self.look_and_tell(post)
            }
            UsersMail::DrainServer(mail) => {
                self.order_drain(mail);
                self.look_and_tell(post)
            }
            UsersMail::Look | UsersMail::Stop => Ok(()),
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
        self.write_user(&user.name, old, new, user.address.as_ref(), user.owner)
    }

    fn write_user(
        &mut self,
        name: &str,
        old: Option<&StoredPassword>,
        new: StoredPassword,
        address: Option<&String>,
        owner: Owner,
    ) -> Result<StoredPassword, NotWritten> {
        let write =
            |open: &mut Open| roll::write_user(&mut open.db, name, old, &new, address, owner);
        match self.write(write) {
            Ok(written @ (Written::Yes | Written::TakenOver)) => {
                if written == Written::TakenOver {
                    self.node
                        .log(Level::Warning, &owned(name, Owner::Overruled));
                }
                self.keep_user(name, &new);
                Ok(new)
            }
            Ok(Written::Owned) => {
                self.node.log(Level::Warning, &owned(name, owner));
                Err(NotWritten::Owned)
            }
            Ok(Written::Changed) => Err(NotWritten::Changed),
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
        self.people.apply_ban(change.clone());
        self.keep_bans();
        match self.write(|open| roll::write_ban(&mut open.db, &change, unix_s())) {
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

    fn order_drain(&mut self, mail: DrainMail) {
        let DrainMail {
            server,
            over_s,
            answer,
        } = mail;
        let ordered = self.write(|open| roll::order_drain(&mut open.db, &server, over_s));
        let ordered = match ordered {
            Ok(true) => Ok(()),
            Ok(false) => Err(anyhow::anyhow!("no server has the name {server:?}")),
            Err(error) => Err(anyhow::Error::from(error)),
        };
        let _ = answer.send(ordered);
    }

    /// Writes to the shared ledger, unless it was just found to be away: waiting for it each time would delay
    /// the requests behind this one.
    fn write<T>(
        &mut self,
        write: impl Fn(&mut Open) -> Result<T, SqlError>,
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
        write: impl Fn(&mut Open) -> Result<T, SqlError>,
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
            listen::tell(client, News::People);
        }
        written
    }

    fn look_and_tell(&mut self, post: &Post) -> Result<(), Stopped> {
        self.next_look = Instant::now() + SHARED_LOOK;
        match self.look() {
            Ok(news) => {
                self.away_at = None;
                if std::mem::take(&mut self.is_away) {
                    let text = "users and bans can be changed again";
                    self.node.log(Level::Info, text);
                }
                if !news.users.is_empty() {
                    post.work(WorkMail::Users(news.users))?;
                }
                if let Some(bans) = news.bans {
                    post.work(WorkMail::Bans(bans))?;
                }
                news.drain
                    .map_or(Ok(()), |order| post.work(WorkMail::Order(order)))
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
    fn look(&mut self) -> anyhow::Result<Difference> {
        self.open.take_if(|open| open.is_lost());
        let was_open = self.open.is_some();
        match self.look_once() {
            Err(_) if was_open => self.look_once(),
            looked => looked,
        }
    }

    fn look_once(&mut self) -> anyhow::Result<Difference> {
        if self.open.is_none() {
            self.connect()?;
        }
        let (own, generation) = self.place.standing.own();
        let origin = own.map_or(self.place.origin, |own| own.origin);
        let read = self.settle(&origin).and_then(|()| {
            let open = self.open.as_mut().expect("just connected");
            let seen = open.seen.filter(|(_, then)| *then == generation);
            let me = self.place.me(&origin);
            let page = roll::read(&mut open.db, seen.map(|(seen, _)| seen), me, unix_s())?;
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
        let place = &self.place;
        let mut postgres = schema::open(&place.address, place.network, unix_s())?;
        let client = postgres.client()?;
        let origin = origin::find(client, &place.origin, &place.label)?;
        if let Some(taken) = intake::take_in(client, origin, place.dir.as_deref())? {
            for (level, text) in taken.lines() {
                self.node.log(level, &text);
            }
        }
        self.open = Some(Open {
            db: Db::Postgres(Box::new(postgres)),
            seen: None,
        });
        Ok(())
    }

    /// Writes what is owed.
    fn settle(&mut self, origin: &FileId) -> Result<(), SqlError> {
        let open = self.open.as_mut().expect("just connected");
        let me = self.place.me(origin);
        if let Some(is_draining) = self.owed.draining
            && roll::write_draining(&mut open.db, me, is_draining)?
        {
            self.owed.draining = None;
            self.is_draining = is_draining;
        }
        while let Some(change) = self.owed.bans.first() {
            roll::write_ban(&mut open.db, change, unix_s())?;
            self.owed.bans.remove(0);
        }
        Ok(())
    }

    /// Applies a page, and returns the part that the pool does not know yet.
    fn learn(&mut self, page: Page) -> Difference {
        let mut news = Difference::default();
        let mut users = page.users;
        if page.is_whole {
            let there: HashSet<&String> = users.iter().map(|(name, _)| name).collect();
            let known = self.people.users.keys();
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
        users.retain(|(name, password)| self.people.users.get(name) != password.as_ref());
        for (name, password) in &users {
            match password {
                Some(password) => self.people.users.insert(name.clone(), password.clone()),
                None => self.people.users.remove(name),
            };
        }
        let old = self.people.bans.clone();
        if page.is_whole {
            self.people.bans.clear();
        }
        for change in page.bans {
            self.people.apply_ban(change);
        }
        if page.is_whole || !users.is_empty() {
            self.keep_users(&users);
        }
        news.users = users;
        if self.people.bans != old {
            news.bans = Some(self.people.bans.values().cloned().collect());
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
