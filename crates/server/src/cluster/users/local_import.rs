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
use crate::sql::{Db, NOW_MS, Sql, SqlError, Sqlite, signed};

/// Content of the files.
#[derive(Default)]
struct LocalFiles {
    users: Vec<UserRecord>,
    bans: Vec<Ban>,
    accounts: Vec<LocalAccount>,
}

/// How an account of the server's own ledger is paid.
struct LocalAccount {
    name: String,
    address: Option<String>,
    /// Another address that holds later, and from when on.
    next_address: Option<String>,
    next_address_at: Option<i64>,
    /// In base units.
    threshold: Option<i64>,
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
            accounts: accounts(&dir.join(FILE_NAME))?,
        })
    }
}

/// The accounts of a ledger that are paid at an address of their own, or from a threshold of their own on.
fn accounts(ledger: &Path) -> anyhow::Result<Vec<LocalAccount>> {
    let mut db = Db::Sqlite(Sqlite::open_to_read(ledger)?);
    let query = "SELECT name, address, next_address, next_address_at, threshold FROM payees
                  WHERE coalesce(address, next_address) IS NOT NULL OR threshold IS NOT NULL
                  ORDER BY name";
    let rows = db.read(|sql: &mut dyn Sql| sql.query(query, &[]));
    let rows = rows.context("failed to read how accounts are paid")?;
    let accounts = rows.iter().map(|row| {
        Ok(LocalAccount {
            name: row.get(0)?,
            address: row.get(1)?,
            next_address: row.get(2)?,
            next_address_at: row.get(3)?,
            threshold: row.get(4)?,
        })
    });
    let accounts = accounts.collect::<Result<Vec<_>, SqlError>>()?;
    let named = accounts.into_iter();
    Ok(named
        .filter(|one| clean_name(&one.name).as_ref() == Some(&one.name))
        .collect())
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
    taken.addresses = take_addresses(&mut tx, &files.accounts)?;
    let own = files.accounts.iter();
    let own = own.filter_map(|one| Some((one.name.as_str(), one.threshold?)));
    let (names, thresholds): (Vec<&str>, Vec<i64>) = own.unzip();
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

/// Inserts addresses where the shared ledger has none; returns how many accounts got one.
fn take_addresses(
    tx: &mut Transaction<'_>,
    accounts: &[LocalAccount],
) -> Result<u64, postgres::Error> {
    let has_one = |one: &&LocalAccount| one.address.is_some() || one.next_address.is_some();
    let paid: Vec<&LocalAccount> = accounts.iter().filter(has_one).collect();
    let names: Vec<&str> = paid.iter().map(|one| one.name.as_str()).collect();
    let addresses: Vec<_> = paid.iter().map(|one| one.address.as_deref()).collect();
    let next: Vec<_> = paid.iter().map(|one| one.next_address.as_deref()).collect();
    let next_at: Vec<_> = paid.iter().map(|one| one.next_address_at).collect();
    let insert = "INSERT INTO accounts (name, address, next_address, next_address_at)
                  SELECT * FROM unnest($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::BIGINT[])
                    AS new (name, address, next_address, next_address_at)
                  ORDER BY name
                  ON CONFLICT (name) DO UPDATE SET address = excluded.address,
                    next_address = excluded.next_address,
                    next_address_at = excluded.next_address_at
                  WHERE accounts.address IS NULL AND accounts.next_address IS NULL";
    tx.execute(insert, &[&names, &addresses, &next, &next_at])
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
