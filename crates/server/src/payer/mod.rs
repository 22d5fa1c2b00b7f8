//! The thread that pays miners from inside the server, at the interval of `payout-every`, by the same
//! [`PayoutRun`] as `hstratum payout send`; and that looks after the wallet of `payout-wallet` meanwhile.
//!
//! It talks to hsd over HTTP, like the command: calls wait here and not on the node's thread, and each has a
//! deadline. It keeps nothing between two runs but their schedule: a run that is killed at any point is
//! continued by the next one. A node that cannot judge the chain now, and another payout at work, are waited
//! for; anything else that ends a run is a failure, with one log line and one alarm for each kind of it.

mod control;
mod payer_status;
mod schedule;
mod wallet_examination;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::Context;
use hstratum_core::accounting::reward_split::Hns;
use hstratum_core::accounting::terms::PayoutTerms;
use hstratum_core::alarm::{AlarmInput, PayoutInput};
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::event::Level;
use hstratum_core::plural::counted;
use hstratum_core::units::BLOCK_S;

pub use self::control::{PayoutControl, PayoutReport};
pub(crate) use self::payer_status::{PayerReading, PayerState, PayerStatus};
use self::schedule::Schedule;
use self::wallet_examination::examine;
use crate::clock::unix_s;
use crate::config::PayoutConfig;
use crate::config::settings::Settings;
use crate::limits::{PAYOUT_FIRST_LOOK, PAYOUT_LOOK};
use crate::node::Node;
use crate::payout::hsd::{HsdNode, HsdPart, HsdTimeouts, Wallet};
use crate::payout::{
    AwaitedServers, LockHeld, PayoutLock, PayoutRecord, PayoutRun, PayoutStep, RunTotals,
    Sender as Payments, TermsHistory, check_node, payment_depth, payment_under_way,
};
use crate::secret::Secret;
use crate::sql::Db;
use crate::sql::location::LedgerLocation;
use crate::telemetry::live::TelemetryReader;

/// Environment variable with the wallet's passphrase.
pub const PASSPHRASE: &str = "HSTRATUM_WALLET_PASSPHRASE";

/// Message to the thread that pays.
pub(crate) enum PayerCommand {
    /// Payouts were paused or resumed.
    Look,
    /// The server stops.
    Stop,
}

/// The payer of a server.
pub(crate) struct Payer {
    payout: PayoutConfig,
    terms: PayoutTerms,
    network: Network,
    ledger: LedgerLocation,
    server_id: String,
    hsd_node: HsdNode,
    wallet: Wallet,
    schedule: Option<Schedule>,
    live: TelemetryReader,
    status: Arc<PayerStatus>,
    alarms: Sender<AlarmInput>,
    node: Arc<dyn Node>,
}

/// The reason why nobody is paid now.
enum Obstacle {
    /// It passes by itself.
    Wait(String),
    /// Somebody must act.
    Failure(String),
}

impl Payer {
    /// The payer of a server with a ledger and `payout-wallet`; `None` for any other.
    ///
    /// # Errors
    /// When the passphrase is not UTF-8.
    pub(crate) fn of(
        settings: &Settings,
        live: TelemetryReader,
        status: Arc<PayerStatus>,
        alarms: Sender<AlarmInput>,
        node: Arc<dyn Node>,
    ) -> anyhow::Result<Option<Self>> {
        let payout = settings.config.payout.clone();
        let (Some(ledger), Some(wallet)) = (settings.ledger(), payout.wallet.as_deref()) else {
            return Ok(None);
        };
        let network = settings.network;
        let patience = HsdTimeouts::default();
        let node_address = settings.hsd.of(HsdPart::Node, network);
        let wallet_address = settings.hsd.of(HsdPart::Wallet, network);
        let wallet = Wallet::new(
            wallet_address.url,
            wallet_address.key,
            (wallet, &payout.account),
            Secret::of_environment(PASSPHRASE)?,
            patience,
        )?;
        if payout.every.is_some() {
            let reason = "there was no job yet".to_owned();
            status.set_state(PayerState::Waits(reason));
        }
        Ok(Some(Self {
            hsd_node: HsdNode::new(node_address.url, node_address.key, network, patience),
            wallet,
            schedule: payout.every.map(Schedule::new),
            payout,
            terms: settings.config.terms,
            network,
            ledger,
            server_id: settings.config.server_id.clone(),
            live,
            status,
            alarms,
            node,
        }))
    }

    /// Looks and pays until the server stops.
    pub(crate) fn run(&mut self, commands: &Receiver<PayerCommand>) {
        loop {
            let wait = match self.live.payee() {
                Some(payee) => self.look(&payee),
                // hsd opens its HTTP servers after its plugins.
                None => PAYOUT_FIRST_LOOK,
            };
            match commands.recv_timeout(wait) {
                Ok(PayerCommand::Look) | Err(RecvTimeoutError::Timeout) => {}
                Ok(PayerCommand::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Looks after the wallet, and pays if it is time; returns the time until the next look. `payee` is the
    /// address that blocks pay.
    fn look(&mut self, payee: &Address) -> Duration {
        let wallet = examine(&self.wallet, self.network, payee);
        self.status.set_wallet(wallet);
        let Some(mut schedule) = self.schedule.take() else {
            return PAYOUT_LOOK;
        };
        self.follow(&mut schedule);
        // A run that is due already has met an obstacle.
        let until_due = schedule
            .remaining()
            .filter(|remaining| !remaining.is_zero());
        self.schedule = Some(schedule);
        until_due.unwrap_or(PAYOUT_LOOK).min(PAYOUT_LOOK)
    }

    /// Pays if it is time.
    fn follow(&mut self, schedule: &mut Schedule) {
        let (record, not_before) = match self.record() {
            Ok(found) => found,
            Err(error) => {
                let text = format!("the ledger is not read: {error:#}");
                return self.status.set_state(PayerState::Waits(text));
            }
        };
        schedule.see(&record, Instant::now(), unix_s());
        self.status.set_next_run(schedule.next(), not_before);
        if let Some(pause) = record.paused {
            return self.status.set_state(PayerState::Paused(pause));
        }
        if !schedule.is_due(Instant::now()) {
            return self.status.set_state(match record.last_run {
                Some(last) => last
                    .failure
                    .map_or(PayerState::Scheduled, PayerState::Failed),
                None => PayerState::Scheduled,
            });
        }
        let outcome = self.pay();
        // Before the state: a report that says "scheduled" must have the time of the run to come.
        if let Ok((record, not_before)) = self.record() {
            schedule.see(&record, Instant::now(), unix_s());
            self.status.set_next_run(schedule.next(), not_before);
        }
        match outcome {
            Ok(()) => {
                self.status.set_state(PayerState::Scheduled);
                let _ = self.alarms.send(AlarmInput::Payout(PayoutInput::Well));
            }
            Err(Obstacle::Wait(reason)) => {
                self.status.set_state(PayerState::Waits(reason));
            }
            Err(Obstacle::Failure(reason)) => {
                let input = PayoutInput::Failed(reason.clone());
                let _ = self.alarms.send(AlarmInput::Payout(input));
                self.status.set_state(PayerState::Failed(reason));
            }
        }
    }

    /// The ledger's record of payouts, and the earliest time of the next payment if one is on its way.
    fn record(&self) -> anyhow::Result<(PayoutRecord, Option<Instant>)> {
        let mut db = self.ledger.open_in_server()?;
        let record = db.read(PayoutRecord::read)?;
        let sent_at = db.read(|sql| payment_under_way(sql, self.wallet.id()))?;
        let needed_s = f64::from(payment_depth(self.network)) * BLOCK_S;
        let not_before = sent_at.map(|sent_at| {
            let age_s = unix_s().saturating_sub(sent_at);
            let left_s = (needed_s as u64).saturating_sub(age_s);
            Instant::now() + Duration::from_secs(left_s)
        });
        Ok((record, not_before))
    }

    /// One run.
    fn pay(&self) -> Result<(), Obstacle> {
        let opened = self.ledger.open_in_server();
        let mut db = opened.map_err(|error| Obstacle::Wait(format!("{error:#}")))?;
        check_node(&mut db, &self.hsd_node)
            .map_err(|error| Obstacle::Wait(format!("{error:#}")))?;
        let mut lock = PayoutLock::take(&self.ledger).map_err(|error| {
            let text = format!("{error:#}");
            match error.is::<LockHeld>() {
                true => Obstacle::Wait(text),
                false => Obstacle::Failure(text),
            }
        })?;
        self.status.set_state(PayerState::Pays);
        let mut done = RunTotals::default();
        let outcome = self.pay_from(&mut db, &mut lock, &mut done);
        self.tell(&done);
        outcome.map_err(|error| Obstacle::Failure(format!("{error:#}")))
    }

    fn pay_from(
        &self,
        db: &mut Db,
        lock: &mut PayoutLock,
        done: &mut RunTotals,
    ) -> anyhow::Result<()> {
        let history = db.read(TermsHistory::read);
        let history = history.context("failed to read the pool's terms")?;
        let terms = history.unwrap_or_else(|| TermsHistory::always(self.terms));
        let awaited_servers = AwaitedServers::of(db, &[])?;
        let run = PayoutRun {
            sender: Payments {
                node: &self.hsd_node,
                wallet: &self.wallet,
                network: self.network,
                fee_max: self.payout.fee_max,
                now: unix_s(),
            },
            terms: &terms,
            awaited_servers: &awaited_servers,
            by: &self.server_id,
        };
        run.send(db, lock, done)
    }

    /// A log line for each block and each payment, and an alarm for each payment that was made.
    fn tell(&self, done: &RunTotals) {
        for settled in &done.settled {
            self.node.log(Level::Info, &format!("payout: {settled}"));
        }
        for step in &done.steps {
            if !matches!(step, PayoutStep::NobodyDue | PayoutStep::Waiting { .. }) {
                self.node.log(Level::Info, &format!("payout: {step}"));
            }
            let PayoutStep::Sent { txid, payees, .. } = step else {
                continue;
            };
            let amount: u64 = payees.iter().map(|payee| payee.amount).sum();
            let text = format!(
                "{} HNS sent to {}: {txid}",
                Hns(amount.into()),
                counted(payees.len(), "account")
            );
            let _ = self
                .alarms
                .send(AlarmInput::Payout(PayoutInput::Sent(text)));
        }
    }
}
