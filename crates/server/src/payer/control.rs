//! Orders of the operator about payouts: they go to the ledger, which all servers and commands read.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use utoipa::ToSchema;

use super::PayerCommand;
use super::payer_status::{PayerState, PayerStatus};
use crate::audit_trail::{Actor, AuditTrail, Change};
use crate::clock::unix_s;
use crate::config::settings::Settings;
use crate::limits::AUDIT_WRITE;
use crate::payout::{Pause, PayoutRecord, pause, resume};
use crate::sql::SqlError;
use crate::sql::location::LedgerLocation;

/// Payouts as an operator controls them. Cheap to clone. Its methods wait for the ledger, with a deadline.
#[derive(Clone)]
pub struct PayoutControl {
    /// `None` in memory.
    ledger: Option<LedgerLocation>,
    server_id: String,
    every: Option<Duration>,
    /// `None` if this server has no wallet to look after.
    payer: Option<Sender<PayerCommand>>,
    status: Arc<PayerStatus>,
    trail: AuditTrail,
}

/// The state of payouts.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PayoutReport {
    /// `off`, `scheduled`, `pays`, `waits`, `paused` or `failed`.
    pub state: &'static str,
    /// The reason why nobody is paid now; none while there is none.
    pub reason: Option<String>,
    /// Begin of the pause, Unix seconds; none unless payouts are paused.
    pub paused_at: Option<u64>,
    /// Seconds of option `payout-every`; none if it is off.
    pub every_s: Option<u64>,
    /// Begin of the last run of any server or command, Unix seconds; none before the first.
    pub last_run_at: Option<u64>,
    /// The server's name, or `hstratum payout`.
    pub last_run_by: Option<String>,
    /// The obstacle that the last run met; none if it came to its end.
    pub failure: Option<String>,
    /// Time of this server's next run, Unix seconds; none without `payout-every` and during a pause.
    pub next_run_at: Option<u64>,
}

impl PayoutControl {
    pub(crate) fn new(
        settings: &Settings,
        payer: Option<Sender<PayerCommand>>,
        status: Arc<PayerStatus>,
        trail: AuditTrail,
    ) -> Self {
        Self {
            ledger: settings.ledger(),
            server_id: settings.config.server_id.clone(),
            every: settings.config.payout.every,
            payer,
            status,
            trail,
        }
    }

    /// Pauses payouts of the whole pool, or ends the pause.
    ///
    /// # Errors
    /// When there is no ledger, or it cannot be written.
    pub fn set_paused(&self, by: &Actor, is_paused: bool) -> anyhow::Result<PayoutReport> {
        let new = Pause {
            at: unix_s(),
            by: self.server_id.clone(),
        };
        let record = self.trail.of(by, Change::payouts(is_paused));
        let mut db = self.location()?.open_for_a_change(AUDIT_WRITE)?;
        db.write(|sql| -> Result<(), SqlError> {
            match is_paused {
                true => pause(sql, &new)?,
                false => resume(sql)?,
            }
            record.write_done(sql)
        })
        .context("failed to write to the ledger")?;
        if let Some(payer) = &self.payer {
            if self.every.is_some() {
                self.status.set_state(match is_paused {
                    true => PayerState::Paused(new),
                    false => PayerState::Scheduled,
                });
            }
            let _ = payer.send(PayerCommand::Look);
        }
        self.report()
    }

    /// The state of payouts.
    ///
    /// # Errors
    /// When there is no ledger, or it cannot be read.
    pub fn report(&self) -> anyhow::Result<PayoutReport> {
        let mut db = self.location()?.open_in_server()?;
        let record = db.read(PayoutRecord::read);
        let record = record.context("failed to read the ledger")?;
        let reading = self.status.read();
        let (state, reason) = match &record.paused {
            Some(pause) => ("paused", Some(format!("paused by {}", pause.by))),
            None => match reading.state.name() {
                // It has not looked yet.
                "paused" => ("scheduled", None),
                name => (name, reading.state.reason()),
            },
        };
        let until_run = reading.until_run().filter(|_| record.paused.is_none());
        let last = record.last_run;
        Ok(PayoutReport {
            state,
            reason,
            every_s: self.every.map(|every| every.as_secs()),
            next_run_at: until_run.map(|until| unix_s() + until.as_secs()),
            paused_at: record.paused.map(|pause| pause.at),
            last_run_at: last.as_ref().map(|last| last.at),
            last_run_by: last.as_ref().map(|last| last.by.clone()),
            failure: last.and_then(|last| last.failure),
        })
    }

    fn location(&self) -> anyhow::Result<&LedgerLocation> {
        let ledger = self.ledger.as_ref();
        ledger.context("no ledger is kept in memory, and nobody is paid")
    }
}
