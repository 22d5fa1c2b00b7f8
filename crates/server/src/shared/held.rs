//! What the thread of `people` holds: its connection, what it owes, what is news.

use hstratum_core::admin::Order;
use hstratum_core::ban::{Ban, BanChange};
use hstratum_core::event::UserChange;

use crate::sql::{Db, SqlError};

/// A connection.
pub(super) struct Open {
    pub(super) db: Db,
    pub(super) origin: i64,
    /// The last change that was read on it: a ledger may have gone back on another.
    pub(super) seen: Option<i64>,
}

#[derive(Default)]
pub(super) struct Owed {
    pub(super) draining: Option<bool>,
    /// Oldest first.
    pub(super) bans: Vec<BanChange>,
}

/// What the pool has not heard of.
#[derive(Default)]
pub(super) struct Difference {
    pub(super) users: Vec<UserChange>,
    pub(super) bans: Option<Vec<Ban>>,
    pub(super) drain: Option<Order>,
}

impl Open {
    pub(super) fn client(&mut self) -> Result<&mut postgres::Client, SqlError> {
        match &mut self.db {
            Db::Postgres(postgres) => postgres.client(),
            Db::Sqlite(_) => unreachable!("opened as PostgreSQL"),
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        matches!(&self.db, Db::Postgres(postgres) if postgres.is_lost())
    }
}
