//! Table of users, the operator's bans, and drains in the shared ledger.
//!
//! Each change of a user or a ban gets the next number in its own transaction, so that a server that knows a
//! number can ask for the later changes. Text from there is treated as untrusted.

use std::net::IpAddr;

use hstratum_core::accounts::ban::{Ban, BanChange, BannedBy};
use hstratum_core::accounts::clean_name;
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::limits::{BAN_REASON_BYTES_MAX, OPERATOR_BANS_MAX};
use hstratum_core::operator_order::{Owner, UserChange};

use crate::account_keys::{self, KeysOfUser};
use crate::audit_trail::AuditRecord;
use crate::files::users::NO_PASSWORD;
use crate::limits::SHARED_BANS_KEPT_S;
use crate::messages::{AccountSetting, SetAccountCommand, SettingRefused};
use crate::payout::TermsHistory;
use crate::sql::sqlite_schema::FileId;
use crate::sql::{Db, Row, Sql, SqlError};
use crate::values;

/// Result of one read.
pub(crate) struct ChangePage {
    /// Number of the last change in it.
    pub number: i64,
    /// The page holds everything, not only changes.
    pub is_whole: bool,
    pub users: Vec<UserChange>,
    pub bans: Vec<BanChange>,
    /// Seconds over which this server is to send its miners away; `None` if it is not to drain.
    pub drain: Option<u64>,
}

/// Identity of this server: its file and its name, since the file may be a copy of another server's.
#[derive(Clone, Copy)]
pub(crate) struct OwnServer<'a> {
    pub origin: &'a FileId,
    pub label: &'a str,
}

/// Result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeOutcome {
    Yes,
    /// Written, for an account that had earned or been paid somewhere before without being a user.
    TakenOver,
    /// Not written: there was such an account, and [`Owner::Spared`] forbids taking it over.
    Owned,
    /// Not written: the user is not as the caller expected.
    Changed,
}

/// Reads the changes after `after`; everything, if that is `None` or the ledger was restored to before it.
pub(crate) fn read(
    db: &mut Db,
    after: Option<i64>,
    me: OwnServer<'_>,
    unix_s: u64,
) -> Result<ChangePage, SqlError> {
    db.read(|sql: &mut dyn Sql| {
        let number = sql.query_one("SELECT number FROM changes WHERE id = 1", &[])?;
        let number: i64 = number.get(0)?;
        let after = after.filter(|after| *after <= number);
        let (users, bans) = match after {
            Some(after) if after == number => (Vec::new(), Vec::new()),
            Some(after) => new(sql, after)?,
            None => all(sql, unix_s)?,
        };
        let orders = "SELECT drain_s FROM origins
                      WHERE origin = ?1 AND label = ?2 AND is_draining <> 0";
        let orders = sql.query_opt(orders, &values![&me.origin[..], me.label])?;
        let drain = orders.map(|row| row.get(0).map(unsigned)).transpose()?;
        Ok(ChangePage {
            number,
            is_whole: after.is_none(),
            users: users.iter().filter_map(user).collect(),
            bans: bans.iter().filter_map(ban).collect(),
            drain,
        })
    })
}

fn new(sql: &mut dyn Sql, after: i64) -> Result<(Vec<Row>, Vec<Row>), SqlError> {
    let users = "SELECT name, password, is_disabled FROM accounts
                 WHERE change > ?1 AND change > 0 ORDER BY change";
    let bans = "SELECT address, since, until, reason, lifted FROM bans
                WHERE change > ?1 ORDER BY change";
    let after = values![after];
    Ok((sql.query(users, &after)?, sql.query(bans, &after)?))
}

fn all(sql: &mut dyn Sql, unix_s: u64) -> Result<(Vec<Row>, Vec<Row>), SqlError> {
    let users = "SELECT name, password, is_disabled FROM accounts WHERE password IS NOT NULL";
    let bans = "SELECT address, since, until, reason, lifted FROM bans
                WHERE lifted = 0 AND (until IS NULL OR until > ?1) ORDER BY change DESC LIMIT ?2";
    let limit = OPERATOR_BANS_MAX as u64;
    Ok((
        sql.query(users, &[])?,
        sql.query(bans, &values![unix_s, limit])?,
    ))
}

/// A user of a row; `None` for a name that no miner could send.
fn user(row: &Row) -> Option<UserChange> {
    let name: String = row.get(0).ok()?;
    let password: Option<String> = row.get(1).ok()?;
    let is_disabled = row.get::<i64>(2).ok()? != 0;
    (clean_name(&name).as_ref() == Some(&name))
        .then(|| (name, password.map(|text| stored(&text, is_disabled))))
}

/// The stored password of a user, if there is one.
fn password(sql: &mut dyn Sql, name: &str) -> Result<Option<StoredPassword>, SqlError> {
    let query = "SELECT name, password, is_disabled FROM accounts WHERE name = ?1";
    let found = sql.query_opt(query, &values![name])?;
    Ok(found.as_ref().and_then(user).and_then(|(_, found)| found))
}

/// Parses a stored password. Malformed text admits nobody.
fn stored(text: &str, is_disabled: bool) -> StoredPassword {
    let stored = StoredPassword::parse(text).unwrap_or(NO_PASSWORD);
    match is_disabled {
        true => stored.locked(),
        false => stored,
    }
}

fn ban(row: &Row) -> Option<BanChange> {
    let address: IpAddr = row.get::<String>(0).ok()?.parse().ok()?;
    if row.get::<i64>(4).ok()? != 0 {
        return Some(BanChange::Lifted(address));
    }
    let mut reason: String = row.get(3).ok()?;
    reason.retain(|c| !c.is_control());
    while reason.len() > BAN_REASON_BYTES_MAX {
        reason.pop();
    }
    Some(BanChange::Banned(Ban {
        address,
        since_s: unsigned(row.get(1).ok()?),
        until_s: row.get::<Option<i64>>(2).ok()?.map(unsigned),
        reason,
        by: BannedBy::Operator,
    }))
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// How a user is written.
pub(crate) struct UserWrite {
    pub owner: Owner,
    pub keys: KeysOfUser,
    /// Whose change it is; `None` if that is recorded elsewhere.
    pub record: Option<AuditRecord>,
}

/// Sets a user's password, if the user still has the expected one, or still does not exist.
pub(crate) fn write_user(
    db: &mut Db,
    name: &str,
    old: Option<&StoredPassword>,
    new: &StoredPassword,
    address: Option<&String>,
    UserWrite {
        owner,
        keys,
        record,
    }: &UserWrite,
) -> Result<ChangeOutcome, SqlError> {
    db.write(|sql: &mut dyn Sql| {
        let is_known = "SELECT 1 FROM accounts WHERE name = ?1";
        let is_known = sql.query_opt(is_known, &values![name])?.is_some();
        let found = password(sql, name)?;
        if found.as_ref() == Some(new) {
            // An earlier try was carried out, and its answer was lost.
            return Ok(ChangeOutcome::Yes);
        }
        if found.as_ref() != old {
            return Ok(ChangeOutcome::Changed);
        }
        let is_owned = is_known && found.is_none();
        if is_owned && *owner == Owner::Spared {
            return Ok(ChangeOutcome::Owned);
        }
        let number = next_change(sql)?;
        let insert = "INSERT INTO accounts (name, password, is_disabled, change)
                      VALUES (?1, ?2, ?3, ?4)
                      ON CONFLICT (name) DO UPDATE SET password = excluded.password,
                        is_disabled = excluded.is_disabled, change = excluded.change";
        let is_disabled = u32::from(new.is_locked());
        let row = values![name, new.to_text(), is_disabled, number];
        sql.execute(insert, &row)?;
        if *keys == KeysOfUser::Revoked {
            account_keys::revoke_all(sql, name)?;
        }
        if let Some(address) = address {
            AccountSetting::Address(Some(address.clone())).write(sql, name)?;
        }
        if let Some(record) = record {
            record.write_done(sql)?;
        }
        Ok(match is_owned {
            true => ChangeOutcome::TakenOver,
            false => ChangeOutcome::Yes,
        })
    })
}

/// Sets what an account has of its own, if the pool's newest terms allow it. Before there are any it may be
/// anything: the least of those to come counts instead of a lower threshold. A key is refused if the user has another
/// password than is `known` here: whoever asks for it may have signed in with the old one.
pub(crate) fn write_setting(
    db: &mut Db,
    command: &SetAccountCommand,
    known: Option<&StoredPassword>,
) -> Result<Result<(), SettingRefused>, SqlError> {
    let (name, setting) = (&command.account, &command.setting);
    db.write(|sql: &mut dyn Sql| {
        if let AccountSetting::AddKey(_) = setting
            && password(sql, name)?.as_ref() != known
        {
            let text = "the password was changed just now, try again";
            return Ok(Err(SettingRefused(text.to_owned())));
        }
        if let AccountSetting::Threshold(Some(threshold)) = setting
            && let Some(history) = TermsHistory::read(sql)?
            && let Err(reason) = history.newest().check_threshold(*threshold)
        {
            return Ok(Err(SettingRefused(reason)));
        }
        let insert = "INSERT INTO accounts (name) VALUES (?1) ON CONFLICT (name) DO NOTHING";
        sql.execute(insert, &values![name])?;
        command.write(sql)?;
        Ok(Ok(()))
    })
}

/// Bans an address, or lifts the ban.
pub(crate) fn write_ban(db: &mut Db, change: &BanChange, unix_s: u64) -> Result<(), SqlError> {
    db.write(|sql: &mut dyn Sql| {
        let number = next_change(sql)?;
        let forget = "DELETE FROM bans WHERE until < ?1";
        sql.execute(forget, &values![unix_s.saturating_sub(SHARED_BANS_KEPT_S)])?;
        match change {
            BanChange::Banned(ban) => {
                let insert = "INSERT INTO bans (address, since, until, reason, lifted, change)
                              VALUES (?1, ?2, ?3, ?4, 0, ?5)
                              ON CONFLICT (address) DO UPDATE SET since = excluded.since,
                                until = excluded.until, reason = excluded.reason, lifted = 0,
                                change = excluded.change";
                let address = ban.address.to_string();
                let row = values![address, ban.since_s, ban.until_s, &ban.reason, number];
                sql.execute(insert, &row).map(drop)
            }
            BanChange::Lifted(address) => {
                let lift = "UPDATE bans SET lifted = 1, until = ?2, change = ?3
                            WHERE address = ?1 AND lifted = 0";
                let row = values![address.to_string(), unix_s, number];
                sql.execute(lift, &row).map(drop)
            }
        }
    })
}

/// Takes the number of a change; concurrent changes wait for each other here.
fn next_change(sql: &mut dyn Sql) -> Result<i64, SqlError> {
    let next = "UPDATE changes SET number = number + 1 WHERE id = 1 RETURNING number";
    sql.query_one(next, &[])?.get(0)
}

/// Records whether this server drains; returns false if it is not known there by its name yet.
pub(crate) fn write_draining(
    db: &mut Db,
    me: OwnServer<'_>,
    is_draining: bool,
) -> Result<bool, SqlError> {
    db.write(|sql: &mut dyn Sql| {
        let update = "UPDATE origins SET is_draining = ?3 WHERE origin = ?1 AND label = ?2";
        let is_draining = u32::from(is_draining);
        let named = sql.execute(update, &values![&me.origin[..], me.label, is_draining])?;
        Ok(named > 0)
    })
}

/// Orders servers of that name to drain over some seconds, or to stop draining; returns false if none has it.
pub(crate) fn order_drain(
    db: &mut Db,
    label: &str,
    over_s: Option<u64>,
    record: &AuditRecord,
) -> Result<bool, SqlError> {
    db.write(|sql: &mut dyn Sql| {
        let update = "UPDATE origins SET is_draining = ?2, drain_s = coalesce(?3, drain_s)
                      WHERE label = ?1";
        let is_draining = u32::from(over_s.is_some());
        let named = sql.execute(update, &values![label, is_draining, over_s])?;
        record.write_if(sql, named > 0)?;
        Ok(named > 0)
    })
}
