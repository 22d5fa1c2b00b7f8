//! The audit trail: who has changed what, when and from where, as rows of the ledger's table `audit`.
//!
//! A change of the ledger is written there with it. Another (users in a file, bans, drains) is written before it is made,
//! and its outcome after: the trail has it even if the process ends in between, and then its outcome is not known.
//! Passwords and keys are in no row.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use hstratum_core::accounts::ban::network_of;
use hstratum_core::event::Level;
use hstratum_core::operator_order::{NewUser, Order};
use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::unix_s;
use crate::config::settings::Settings;
use crate::limits::{
    AUDIT_DETAIL_CHARS_MAX, AUDIT_OF_OWNER_MAX, AUDIT_SUBJECT_CHARS_MAX, AUDIT_WRITE,
};
use crate::node::Node;
use crate::sql::location::LedgerLocation;
use crate::sql::{Db, Sql, SqlError};
use crate::values;

/// By what a change was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// The dashboard, by whoever has signed in.
    Session,
    /// The API, with the operator's token.
    Token,
    /// The API, with a key of an account.
    Key,
    /// The node's RPC.
    Rpc,
    /// The miners' protocol, by an admin.
    Wire,
    /// The program `hstratum`.
    Command,
}

impl Via {
    fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Token => "token",
            Self::Key => "key",
            Self::Rpc => "rpc",
            Self::Wire => "wire",
            Self::Command => "command",
        }
    }
}

/// Whoever makes a change, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The account whose owner it is; `None`: the operator.
    account: Option<String>,
    via: Via,
    /// The client's address, or the user of the machine.
    origin: Option<String>,
}

impl Actor {
    /// The operator, by the node's RPC, which tells nothing of its client.
    pub fn rpc() -> Self {
        Self {
            account: None,
            via: Via::Rpc,
            origin: None,
        }
    }

    /// The operator, by a command; the user of the machine is what its environment says.
    pub fn command() -> Self {
        let names = ["SUDO_USER", "USER", "LOGNAME"];
        let mut users = names
            .into_iter()
            .filter_map(|name| std::env::var(name).ok());
        let user = users.find(|user| !user.is_empty());
        Self {
            account: None,
            via: Via::Command,
            origin: user.map(|user| cut(&user, AUDIT_SUBJECT_CHARS_MAX)),
        }
    }

    pub(crate) fn wire_admin(address: IpAddr) -> Self {
        Self::operator(Via::Wire, address)
    }

    pub(crate) fn operator(via: Via, address: IpAddr) -> Self {
        Self {
            account: None,
            via,
            origin: Some(address.to_string()),
        }
    }

    /// The owner of an account.
    pub(crate) fn owner(account: &str, via: Via, address: IpAddr) -> Self {
        Self {
            account: Some(account.to_owned()),
            via,
            origin: Some(address.to_string()),
        }
    }
}

/// A change, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    kind: &'static str,
    subject: String,
    detail: String,
}

impl Change {
    /// A change of that kind (`set-address`, say) of an account, address or server.
    pub(crate) fn new(kind: &'static str, subject: &str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            subject: cut(subject, AUDIT_SUBJECT_CHARS_MAX),
            detail: cut(&detail.into(), AUDIT_DETAIL_CHARS_MAX),
        }
    }

    /// Payouts of the pool.
    pub fn payouts(is_paused: bool) -> Self {
        let kind = match is_paused {
            true => "pause-payouts",
            false => "resume-payouts",
        };
        Self::new(kind, "", "")
    }

    /// What an order changes; `None` if it only asks.
    pub(crate) fn of_order(order: &Order) -> Option<Self> {
        let named = |kind, name: &str| Self::new(kind, name, "");
        Some(match order {
            Order::AddUser(user) => Self::of_user(user),
            Order::SetPassword { name, .. } => named("set-password", name),
            Order::DisableUser(name) => named("disable-user", name),
            Order::EnableUser(name) => named("enable-user", name),
            Order::Ban {
                address,
                duration_s,
                reason,
            } => {
                let lasts =
                    duration_s.map_or("until it is lifted".to_owned(), |s| format!("{s} s"));
                let detail = match reason.as_str() {
                    "" => lasts,
                    reason => format!("{lasts}: {reason}"),
                };
                Self::new("ban", &network_of(*address).to_string(), detail)
            }
            Order::Unban(address) => named("unban", &network_of(*address).to_string()),
            Order::Drain { over_s } => Self::new("drain", "", format!("{over_s} s")),
            Order::Undrain => named("undrain", ""),
            Order::ListBans
            | Order::ListUsers { .. }
            | Order::FindUser(_)
            | Order::SignIn { .. }
            | Order::Info
            | Order::ListWorkers { .. } => {
                return None;
            }
        })
    }

    fn of_user(user: &NewUser) -> Self {
        Self::new(
            "add-user",
            &user.name,
            user.address.as_deref().unwrap_or(""),
        )
    }

    /// What another server is ordered to do.
    pub(crate) fn of_drain(server: &str, over_s: Option<u64>) -> Self {
        match over_s {
            Some(over_s) => Self::new("drain", server, format!("{over_s} s")),
            None => Self::new("undrain", server, ""),
        }
    }
}

/// A text of at most so many characters, without control characters.
fn cut(text: &str, chars_max: usize) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(chars_max).collect()
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// It was not made.
    Refused(String),
    /// It may have been made: nobody has answered in time, say.
    Unknown(String),
}

impl Outcome {
    fn columns(&self) -> (Option<&'static str>, Option<&str>) {
        match self {
            Self::Done => (Some("done"), None),
            Self::Refused(reason) => (Some("refused"), Some(reason)),
            Self::Unknown(reason) => (None, Some(reason)),
        }
    }
}

/// A change, whose it is, and the server that makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Whoever makes it.
    pub by: Actor,
    /// The server's name; empty of a command.
    pub server: String,
    /// The change.
    pub change: Change,
}

/// The change and whose it is, for the log.
impl fmt::Display for AuditRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, change, .. } = self;
        f.write_str(change.kind)?;
        if !change.subject.is_empty() {
            write!(f, " {:?}", change.subject)?;
        }
        match &by.account {
            Some(account) => write!(f, " by the owner of {account:?}")?,
            None => f.write_str(" by the operator")?,
        }
        write!(f, " ({}", by.via.name())?;
        if let Some(origin) = &by.origin {
            write!(f, " {origin:?}")?;
        }
        f.write_str(")")
    }
}

impl AuditRecord {
    /// The record of a user that an admin on the wire adds; `None` of another, which is recorded where it was ordered.
    pub(crate) fn of_wire_admin(user: &NewUser, server: &str) -> Option<Self> {
        let change = Change::of_user(user);
        user.wire_admin.map(|address| Self {
            by: Actor::wire_admin(address),
            server: server.to_owned(),
            change,
        })
    }

    /// Writes that it is made, in the transaction that makes it.
    ///
    /// # Errors
    /// See [`SqlError`].
    pub fn write_done(&self, sql: &mut dyn Sql) -> Result<(), SqlError> {
        self.write(sql, Some(&Outcome::Done)).map(drop)
    }

    /// The same if it is made.
    pub(crate) fn write_if(&self, sql: &mut dyn Sql, is_made: bool) -> Result<(), SqlError> {
        match is_made {
            true => self.write_done(sql),
            false => Ok(()),
        }
    }

    /// Writes it; none: its outcome follows. Returns the row's id. Of each kind of change the newest of an account's owner
    /// stay; the operator's stay all.
    fn write(&self, sql: &mut dyn Sql, outcome: Option<&Outcome>) -> Result<i64, SqlError> {
        let Self { by, server, change } = self;
        let (outcome, reason) = outcome.map_or((None, None), Outcome::columns);
        let insert = "INSERT INTO audit (at, server, account, via, origin, change, subject, detail, outcome, reason)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) RETURNING id";
        let row = values![
            unix_s(),
            server,
            by.account.as_ref(),
            by.via.name(),
            by.origin.as_ref(),
            change.kind,
            &change.subject,
            &change.detail,
            outcome,
            reason
        ];
        let id = sql.query_one(insert, &row)?.get(0)?;
        if let Some(account) = &by.account {
            let forget = "DELETE FROM audit WHERE account = ?1 AND change = ?2 AND id <=
                            (SELECT id FROM audit WHERE account = ?1 AND change = ?2
                              ORDER BY id DESC LIMIT 1 OFFSET ?3)";
            sql.execute(forget, &values![account, change.kind, AUDIT_OF_OWNER_MAX])?;
        }
        Ok(id)
    }
}

/// A change in the trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecordedChange {
    /// Number of the change.
    pub id: i64,
    /// When it was made, Unix seconds.
    pub at: i64,
    /// The server; empty of a command.
    pub server: String,
    /// The account whose owner has made it; none: the operator. Untrusted text.
    pub account: Option<String>,
    /// `session`, `token`, `key`, `rpc`, `wire` or `command`.
    pub via: String,
    /// The client's address; of a command the user of the machine.
    pub origin: Option<String>,
    /// `set-address`, `ban`, …
    pub change: String,
    /// The account, address or server that was changed; empty where it is the pool. Untrusted text.
    pub subject: String,
    /// What it is now. Untrusted text.
    pub detail: String,
    /// `done` or `refused`; none: not known, or not yet.
    pub outcome: Option<String>,
    /// Why it was refused, or is not known.
    pub reason: Option<String>,
}

/// The latest changes of which the subject, the new value, whoever has made them or the place has `search` in it (of ASCII
/// letters the case does not count), a page of `(limit, offset)`, and the number of all of them.
///
/// # Errors
/// See [`SqlError`].
pub fn newest(
    sql: &mut dyn Sql,
    search: &str,
    (limit, offset): (u32, u32),
) -> Result<(Vec<RecordedChange>, i64), SqlError> {
    // The same `lower` for both: each engine has its own.
    const OF: &str = "FROM audit WHERE ?1 = '' OR lower(subject) LIKE lower(?1) ESCAPE '\\'
                        OR lower(coalesce(account, '')) LIKE lower(?1) ESCAPE '\\'
                        OR lower(detail) LIKE lower(?1) ESCAPE '\\'
                        OR lower(server) LIKE lower(?1) ESCAPE '\\'
                        OR lower(coalesce(origin, '')) LIKE lower(?1) ESCAPE '\\'";
    let pattern = match search {
        "" => String::new(),
        text => {
            let special = ['\\', '%', '_'];
            let plain = text.chars().flat_map(|c| {
                let escape = special.contains(&c).then_some('\\');
                escape.into_iter().chain([c])
            });
            format!("%{}%", plain.collect::<String>())
        }
    };
    let count = sql.query_one(&format!("SELECT count(*) {OF}"), &values![&pattern])?;
    let query = format!(
        "SELECT id, at, server, account, via, origin, change, subject, detail, outcome, reason
           {OF} ORDER BY id DESC LIMIT ?2 OFFSET ?3"
    );
    let rows = sql.query(&query, &values![&pattern, limit, offset])?;
    let rows = rows.iter().map(|row| {
        Ok(RecordedChange {
            id: row.get(0)?,
            at: row.get(1)?,
            server: row.get(2)?,
            account: row.get(3)?,
            via: row.get(4)?,
            origin: row.get(5)?,
            change: row.get(6)?,
            subject: row.get(7)?,
            detail: row.get(8)?,
            outcome: row.get(9)?,
            reason: row.get(10)?,
        })
    });
    Ok((rows.collect::<Result<_, SqlError>>()?, count.get(0)?))
}

/// Writer of the trail of a server. Cheap to clone; its methods wait for the ledger, with a deadline.
#[derive(Clone)]
pub(crate) struct AuditTrail {
    /// `None` in memory, where there is no trail.
    ledger: Option<LedgerLocation>,
    server: String,
    node: Weak<dyn Node>,
}

/// A change that is being made.
pub(crate) struct OpenRecord(Option<(Db, i64)>);

impl AuditTrail {
    pub(crate) fn new(settings: &Settings, node: &Arc<dyn Node>) -> Self {
        Self {
            ledger: settings.ledger(),
            server: settings.config.server_id.clone(),
            node: Arc::downgrade(node),
        }
    }

    /// See [`AuditRecord::of_wire_admin`].
    pub(crate) fn of_wire_admin(&self, user: &NewUser) -> Option<AuditRecord> {
        AuditRecord::of_wire_admin(user, &self.server)
    }

    /// The record of a change that is made here.
    pub(crate) fn of(&self, by: &Actor, change: Change) -> AuditRecord {
        AuditRecord {
            by: by.clone(),
            server: self.server.clone(),
            change,
        }
    }

    /// Writes that a change is about to be made. If that fails, the log says so, and what is made in any case is made
    /// without a record.
    ///
    /// # Errors
    /// When it could not be written, and must not be made.
    pub(crate) fn begin(
        &self,
        record: &AuditRecord,
        is_made_anyway: bool,
    ) -> anyhow::Result<OpenRecord> {
        let Some(location) = &self.ledger else {
            return Ok(OpenRecord(None));
        };
        let write = || {
            let mut db = location.open_for_a_change(AUDIT_WRITE)?;
            let id = db.write(|sql| record.write(sql, None))?;
            anyhow::Ok((db, id))
        };
        match write() {
            Ok(open) => Ok(OpenRecord(Some(open))),
            Err(error) if is_made_anyway => {
                let text = format!("{record} is made without a record of it: {error:#}");
                self.node_log(Level::Warning, &text);
                Ok(OpenRecord(None))
            }
            Err(error) => {
                let text = format!("{record} is not made, for want of a record of it: {error:#}");
                self.node_log(Level::Error, &text);
                Err(error)
            }
        }
    }

    /// Writes what became of it. If that fails, the outcome stays unknown.
    pub(crate) fn end(&self, open: OpenRecord, outcome: &Outcome) {
        let Some((mut db, id)) = open.0 else {
            return;
        };
        let (outcome, reason) = outcome.columns();
        let update = "UPDATE audit SET outcome = ?2, reason = ?3 WHERE id = ?1";
        let row = values![id, outcome, reason];
        if let Err(error) = db.write(|sql| sql.execute(update, &row)) {
            let text = format!("the outcome of change {id} is not recorded: {error}");
            self.node_log(Level::Warning, &text);
        }
    }

    fn node_log(&self, level: Level, text: &str) {
        if let Some(node) = self.node.upgrade() {
            node.log(level, text);
        }
    }
}
