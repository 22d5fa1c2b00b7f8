//! This server's local copy of the shared users and bans: `shared/users.json` and `shared/bans.json` in its
//! own directory, in the format of the files of a server that shares nothing.
//!
//! It is written after a change is in the shared ledger, and read only at a start. It is not in `ledger.db`,
//! so that no share waits for it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use hstratum_core::accounts::ban::{Ban, BanChange};
use hstratum_core::accounts::password::StoredPassword;

use crate::durable_fs;
use crate::files::bans::BansFile;
use crate::files::users::{self, UsersFile};

const DIR: &str = "shared";
const USERS: &str = "users.json";

/// Users, and the operator's bans.
#[derive(Debug, Clone, Default)]
pub(crate) struct UsersAndBans {
    pub users: HashMap<String, StoredPassword>,
    pub bans: BTreeMap<IpAddr, Ban>,
}

impl UsersAndBans {
    pub(crate) fn apply_ban(&mut self, change: BanChange) {
        match change {
            BanChange::Banned(ban) => drop(self.bans.insert(ban.address, ban)),
            BanChange::Lifted(address) => drop(self.bans.remove(&address)),
        }
    }
}

/// The two files of the copy.
pub(crate) struct UsersCache {
    dir: PathBuf,
    users: UsersFile,
    bans: BansFile,
}

impl UsersCache {
    /// Opens the copy in a server's directory, and returns its content if it was ever written.
    ///
    /// # Errors
    /// When a file exists and cannot be read.
    pub(crate) fn open(dir: &Path, unix_s: u64) -> anyhow::Result<(Self, Option<UsersAndBans>)> {
        let dir = dir.join(DIR);
        let is_there = dir.join(USERS).exists();
        let (users_file, users, _) = UsersFile::open(dir.join(USERS), unix_s)?;
        let (bans_file, bans) = BansFile::open(&dir)?;
        let copy = Self {
            dir,
            users: users_file,
            bans: bans_file,
        };
        let users_and_bans = UsersAndBans {
            users: (users.into_iter())
                .map(|user| (user.name, user.password))
                .collect(),
            bans: bans.into_iter().map(|ban| (ban.address, ban)).collect(),
        };
        Ok((copy, is_there.then_some(users_and_bans)))
    }

    /// Replaces all users.
    pub(crate) fn write_users(
        &mut self,
        all: &HashMap<String, StoredPassword>,
    ) -> anyhow::Result<()> {
        let mut names: Vec<&String> = all.keys().collect();
        names.sort();
        let lines = names
            .into_iter()
            .map(|name| users::encode(name, &all[name]));
        let text: String = lines.collect();
        durable_fs::write_secret(&self.dir, USERS, text.as_bytes())?;
        self.users.holds(all);
        Ok(())
    }

    /// Adds a user or changes a password.
    pub(crate) fn add_user(&mut self, name: &str, password: &StoredPassword) -> anyhow::Result<()> {
        self.users.append(name, password).map(|_| ())
    }

    /// Replaces all bans.
    pub(crate) fn write_bans(&self, bans: &BTreeMap<IpAddr, Ban>) -> anyhow::Result<()> {
        let bans: Vec<Ban> = bans.values().cloned().collect();
        self.bans.write(&bans)
    }
}
