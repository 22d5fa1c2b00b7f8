//! Alerts: what accounts are told of themselves, by mail, Telegram and ntfy. (Alarms are what the operator is told of
//! the pool.)
//!
//! Everything passes through the ledger, so that nothing is lost by a restart: what happened is written there
//! ([`table::note`]) with a delivery for each contact, and a thread for each way ([`messenger`]) sends what waits, in
//! order, as one message for all that has come together. Nothing on the way of a share waits for any of this.

mod codes;
mod messenger;
mod sender;
mod sign_ins;
mod texts;
mod turns;
pub mod watch;
mod watcher;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use self::codes::{CodeRefused, Codes};
use self::messenger::Messenger;
use self::sender::Sender;
use self::sign_ins::SignIns;
use self::turns::Turns;
use self::watcher::Watcher;
use crate::audit_trail::AuditRecord;
use crate::clock::unix_s;
use crate::cluster::threads::Threads;
use crate::config::settings::Settings;
use crate::contacts::table::{self, AlertSettings, Language};
use crate::contacts::way::Way;
use crate::node::Node;
use crate::sql::location::LedgerLocation;
use crate::sql::{Db, Sql, SqlError, signed};
use crate::statuses::Statuses;
use crate::telemetry::live::TelemetryReader;

/// Alerts of a server, as HTTP uses them. Its methods wait for the ledger, or for who takes messages, each some seconds
/// at most, unless they say otherwise.
pub(crate) struct Alerts {
    ledger: LedgerLocation,
    /// The pool's name in messages.
    pool: String,
    sender: Arc<Sender>,
    codes: Mutex<Codes>,
    sign_ins: Arc<SignIns>,
}

/// Why something about an account's alerts is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AlertsRefused {
    /// The pool does not tell anybody by that way.
    #[error("the pool sends no alerts by that way")]
    NoSuchWay,
    /// The contact or a setting is malformed, for this reason.
    #[error("{0}")]
    Malformed(String),
    /// See [`CodeRefused`].
    #[error(transparent)]
    Code(#[from] CodeRefused),
    /// The code was not taken there, for this reason.
    #[error("the code could not be sent: {0}")]
    NotSent(String),
    /// There is no contact.
    #[error("there is no such contact")]
    NoContact,
    /// The ledger cannot be read or written.
    #[error("the ledger: {0}")]
    Ledger(String),
}

impl From<SqlError> for AlertsRefused {
    fn from(error: SqlError) -> Self {
        Self::Ledger(error.to_string())
    }
}

impl Alerts {
    /// Starts the threads; none if the operator has set up no way, or there is no ledger.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn start(
        settings: &Settings,
        statuses: &Statuses,
        live: &TelemetryReader,
        threads: &Threads,
        node: &Arc<dyn Node>,
    ) -> anyhow::Result<Option<Arc<Self>>> {
        let ways = settings.config.alert_ways.clone();
        let (Some(ledger), true) = (settings.ledger(), ways.is_any()) else {
            return Ok(None);
        };
        let sender = Arc::new(Sender::new(ways));
        let sign_ins = Arc::<SignIns>::default();
        let pool = settings.config.public_host.clone();
        let pool = pool.unwrap_or_else(|| settings.config.server_id.clone());
        let turns = |duty| Turns::new(duty, ledger.clone(), statuses.clone(), node.clone());
        Watcher::new(turns("alerts"), sign_ins.clone(), live.clone()).start(threads)?;
        for way in sender.ways() {
            let turns = turns(way.duty());
            Messenger::new(turns, way, pool.clone(), sender.clone()).start(threads)?;
        }
        Ok(Some(Arc::new(Self {
            ledger,
            pool,
            sender,
            codes: Mutex::default(),
            sign_ins,
        })))
    }

    /// The ways that the operator has set up.
    pub(crate) fn ways(&self) -> Vec<Way> {
        self.sender.ways()
    }

    /// Hosts of ntfy whose topics may be used.
    pub(crate) fn ntfy_hosts(&self) -> Vec<String> {
        self.sender.ntfy_hosts()
    }

    /// Notes that somebody has signed in to an account. Waits for nothing.
    pub(crate) fn signed_in(&self, account: &str, from: IpAddr) {
        self.sign_ins.note(account, now_s(), from);
    }

    /// Sets what an account is told.
    pub(crate) fn set(
        &self,
        account: &str,
        settings: &AlertSettings,
        record: &AuditRecord,
    ) -> Result<(), AlertsRefused> {
        settings.check().map_err(AlertsRefused::Malformed)?;
        let now = now_s();
        let set = self.write(|sql| {
            let is_set = table::set(sql, account, settings, now)?;
            record.write_if(sql, is_set)?;
            Ok(is_set)
        });
        match set? {
            true => Ok(()),
            false => Err(AlertsRefused::NoContact),
        }
    }

    /// Sends a code to a contact that an account wants to have.
    pub(crate) fn send_code(
        &self,
        account: &str,
        (way, to): (Way, &str),
        language: Language,
    ) -> Result<(), AlertsRefused> {
        if !self.ways().contains(&way) {
            return Err(AlertsRefused::NoSuchWay);
        }
        let target = self.sender.target(way, to);
        let target = target.map_err(|why| AlertsRefused::Malformed(format!("to: {why}")))?;
        let made = (self.codes.lock()).make(account, (way, &target), language, Instant::now());
        let message = texts::code_message(language, &self.pool, account, &made?);
        self.sender
            .send(way, &target, &message)
            .map_err(|not_taken| {
                self.codes.lock().was_not_sent(account, way);
                AlertsRefused::NotSent(not_taken.for_miner)
            })
    }

    /// Takes a code: the account is told there from now on.
    pub(crate) fn confirm(
        &self,
        account: &str,
        way: Way,
        code: &str,
        record: &AuditRecord,
    ) -> Result<(), AlertsRefused> {
        let taken = self.codes.lock().take(account, way, code, Instant::now());
        let (target, language) = taken?;
        let now = now_s();
        self.write(|sql| {
            table::add_contact(sql, account, (way, &target), language, now)?;
            record.write_done(sql)
        })
    }

    /// Has an account told by that way no more.
    pub(crate) fn end_contact(
        &self,
        account: &str,
        way: Way,
        record: &AuditRecord,
    ) -> Result<(), AlertsRefused> {
        let now = now_s();
        let ended = self.write(|sql| {
            let is_ended = table::end_contact(sql, account, way, now)?;
            record.write_if(sql, is_ended)?;
            Ok(is_ended)
        });
        match ended? {
            true => Ok(()),
            false => Err(AlertsRefused::NoContact),
        }
    }

    fn write<T>(
        &self,
        write: impl FnMut(&mut dyn Sql) -> Result<T, SqlError>,
    ) -> Result<T, AlertsRefused> {
        Ok(self.open()?.write(write)?)
    }

    fn open(&self) -> Result<Db, AlertsRefused> {
        let opened = self.ledger.open_in_server();
        opened.map_err(|error| AlertsRefused::Ledger(format!("{error:#}")))
    }
}

fn now_s() -> i64 {
    signed(unix_s())
}
