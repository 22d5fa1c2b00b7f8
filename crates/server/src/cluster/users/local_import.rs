//! Imports a server's own files into the shared ledger once: `users.json`, `bans.json`, and the payout
//! addresses of its own ledger. Existing entries of the shared ledger are kept.

use std::path::Path;
use std::{fs, io};

use anyhow::{Context, anyhow};
use hstratum_core::accounts::ban::Ban;
use hstratum_core::accounts::clean_name;
use hstratum_core::event::Level;
use postgres::{Client, Transaction};

use crate::files::bans::BansFile;
use crate::files::users::{self, UserRecord};
use crate::limits::SQL_TRIES_MAX;
use crate::sql::sqlite_schema::FILE_NAME;
use crate::sql::{Db, FromValue, NOW_MS, Sql, SqlError, Sqlite, signed};

/// Content of the files.
#[derive(Default)]
struct LocalFiles {
    users: Vec<UserRecord>,
    bans: Vec<Ban>,
    /// Accounts and their payout addresses.
    addresses: Vec<(String, String)>,
    /// Accounts and their own thresholds, in base units.
    thresholds: Vec<(String, i64)>,
}

/// Result of the import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LocalImport {
    pub users: u64,
    /// Users that the shared ledger has with another password.
    pub others: i64,
    /// Users whose name no miner can send.
    pub nameless: usize,
    pub bans: u64,
    pub addresses: u64,
}

impl LocalImport {
    /// Log lines.
    pub(crate) fn lines(&self) -> Vec<(Level, String)> {
        let Self {
            users,
            others,
            nameless,
            bans,
            addresses,
        } = self;
        if *self == Self::default() {
            return Vec::new();
        }
        let mut told = vec![(
            Level::Info,
            format!(
                "taken into the shared ledger, which this server's users.json and bans.json do not \
             change any more: users {users}, addresses {addresses}, bans {bans}"
            ),
        )];
        if *others > 0 {
            let text = format!(
                "users whose password in the shared ledger is another than in users.json, and stays: \
             {others}"
            );
            told.push((Level::Warning, text));
        }
        if *nameless > 0 {
            let text = format!("users whose name no miner can send, left out: {nameless}");
            told.push((Level::Warning, text));
        }
        told
    }
}

/// Imports a server's files unless that was done before; returns `None` then.
///
/// # Errors
/// When a file cannot be read, or the shared ledger cannot be written.
pub(crate) fn take_in(
    client: &mut Client,
    origin: i64,
    dir: Option<&Path>,
) -> anyhow::Result<Option<LocalImport>> {
    let was_taken = "SELECT users_at IS NOT NULL FROM origins WHERE id = $1";
    let row = client.query_one(was_taken, &[&origin]);
    if row.map_err(SqlError::from)?.get(0) {
        return Ok(None);
    }
    let files = dir.map_or_else(|| Ok(LocalFiles::default()), LocalFiles::read)?;
    let mut tries = 0;
    loop {
        let taken = take(client, origin, &files).map_err(SqlError::from);
        tries += 1;
        match taken {
            Err(SqlError::Conflict) if tries < SQL_TRIES_MAX => {}
            taken => return Ok(taken?),
        }
    }
}

impl LocalFiles {
    fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("users.json");
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.with_context(|| format!("failed to read {}", path.display()))?,
        };
        let users = users::parse(&bytes);
        let (users, _) =
            users.map_err(|error| anyhow!("failed to read {}: {error}", path.display()))?;
        let (_, bans) = BansFile::open(dir)?;
        Ok(Self {
            users,
            bans,
            addresses: settings(&dir.join(FILE_NAME), "address")?,
            thresholds: settings(&dir.join(FILE_NAME), "threshold")?,
        })
    }
}

/// Accounts that have a setting of their own, and its value.
fn settings<T: FromValue>(ledger: &Path, column: &str) -> anyhow::Result<Vec<(String, T)>> {
    let mut db = Db::Sqlite(Sqlite::open_to_read(ledger)?);
    let query =
        format!("SELECT name, {column} FROM accounts WHERE {column} IS NOT NULL ORDER BY name");
    let rows = db.read(|sql: &mut dyn Sql| sql.query(&query, &[]));
    let rows = rows.context("failed to read how accounts are paid")?;
    let pairs = rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?)));
    Ok(pairs.collect::<Result<_, SqlError>>()?)
}

fn take(
    client: &mut Client,
    origin: i64,
    files: &LocalFiles,
) -> Result<Option<LocalImport>, postgres::Error> {
    let mut tx = client.transaction()?;
    let lock = "SELECT users_at IS NOT NULL FROM origins WHERE id = $1 FOR UPDATE";
    if tx.query_one(lock, &[&origin])?.get(0) {
        return Ok(None);
    }
    let mut taken = LocalImport::default();
    take_users(&mut tx, &files.users, &mut taken)?;
    for ban in &files.bans {
        let insert = "INSERT INTO bans (address, since, until, reason, lifted, change)
                      SELECT $1, $2, $3, $4, 0, number FROM changes WHERE id = 1
                      ON CONFLICT (address) DO NOTHING";
        let address = ban.address.to_string();
        let since = signed(ban.since_s);
        let until = ban.until_s.map(signed);
        taken.bans += tx.execute(insert, &[&address, &since, &until, &ban.reason])?;
    }
    let is_name = |name: &str| clean_name(name).as_deref() == Some(name);
    let payable = files.addresses.iter().filter(|(name, _)| is_name(name));
    let (names, addresses): (Vec<&str>, Vec<&str>) = payable
        .map(|(name, address)| (name.as_str(), address.as_str()))
        .unzip();
    let insert = "INSERT INTO accounts (name, address)
                  SELECT name, address FROM unnest($1::TEXT[], $2::TEXT[]) AS new (name, address)
                  ORDER BY name
                  ON CONFLICT (name) DO UPDATE SET address = excluded.address
                  WHERE accounts.address IS NULL";
    taken.addresses = tx.execute(insert, &[&names, &addresses])?;
    let own = files.thresholds.iter().filter(|(name, _)| is_name(name));
    let (names, thresholds): (Vec<&str>, Vec<i64>) = own
        .map(|(name, threshold)| (name.as_str(), *threshold))
        .unzip();
    let insert = "INSERT INTO accounts (name, threshold)
                  SELECT name, threshold FROM unnest($1::TEXT[], $2::BIGINT[]) AS new (name, threshold)
                  ORDER BY name
                  ON CONFLICT (name) DO UPDATE SET threshold = excluded.threshold
                  WHERE accounts.threshold IS NULL";
    tx.execute(insert, &[&names, &thresholds])?;
    let done = format!("UPDATE origins SET users_at = {NOW_MS} / 1000 WHERE id = $1");
    tx.execute(&done, &[&origin])?;
    tx.commit()?;
    Ok(Some(taken))
}

fn take_users(
    tx: &mut Transaction<'_>,
    users: &[UserRecord],
    taken: &mut LocalImport,
) -> Result<(), postgres::Error> {
    let number: i64 = tx
        .query_one(
            "UPDATE changes SET number = number + 1 WHERE id = 1 RETURNING number",
            &[],
        )?
        .get(0);
    let named = users
        .iter()
        .filter(|user| clean_name(&user.name).as_ref() == Some(&user.name));
    let named: Vec<&UserRecord> = named.collect();
    taken.nameless = users.len() - named.len();
    let names: Vec<&str> = named.iter().map(|user| user.name.as_str()).collect();
    let passwords: Vec<String> = named.iter().map(|user| user.password.to_text()).collect();
    let disabled: Vec<i64> = named
        .iter()
        .map(|user| i64::from(user.password.is_locked()))
        .collect();
    let others = "SELECT count(*) FROM accounts JOIN unnest($1::TEXT[], $2::TEXT[], $3::BIGINT[])
                    AS new (name, password, is_disabled) ON new.name = accounts.name
                  WHERE accounts.password IS NOT NULL AND (accounts.password <> new.password
                    OR accounts.is_disabled <> new.is_disabled)";
    let row = tx.query_one(others, &[&names, &passwords, &disabled])?;
    taken.others = row.get(0);
    let insert = "INSERT INTO accounts (name, password, is_disabled, change)
                  SELECT name, password, is_disabled, $4
                  FROM unnest($1::TEXT[], $2::TEXT[], $3::BIGINT[])
                    AS new (name, password, is_disabled)
                  ORDER BY name
                  ON CONFLICT (name) DO UPDATE SET password = excluded.password,
                    is_disabled = excluded.is_disabled, change = excluded.change
                  WHERE accounts.password IS NULL";
    taken.users = tx.execute(insert, &[&names, &passwords, &disabled, &number])?;
    Ok(())
}
