//! The ledger and its threads: one commits and drives the [`group_commit`], one copies the write-ahead log into the
//! file, one writes share dumps.
//!
//! Everything that arrives while a commit runs goes into the next one. Decisions are in `group_commit`, storage is
//! behind `ledger`; this module has the clock, the channels and the threads.

pub(crate) mod batch_codec;
pub mod best_tip;
pub mod blocks;
mod checkpoint;
pub mod compaction;
pub mod dumps;
pub(crate) mod frozen_splits;
pub mod group_commit;
pub(crate) mod late_statistics;
pub mod ledger;
pub mod ledger_status;
pub(crate) mod outbox;
pub(crate) mod payout_addresses;
mod share_tables;
pub mod shipper_exchange;
pub mod sqlite_ledger;
mod store_outcome;
pub(crate) mod unproven_workers;
mod worker_statistics;

use crate::clock::unix_s;
use crate::sql::sqlite_schema::{FILE_NAME, FileId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hstratum_core::accounting::ledger::BlockState;
use hstratum_core::alarm::{AlarmInput, BlockOutcome, LedgerInput};
use hstratum_core::chain::address::Network;
use hstratum_core::event::{LedgerState, Level};
use hstratum_core::plural::counted;
use hstratum_core::units::{Height, Now, Seq};

use self::checkpoint::Growth;
use self::dumps::Dumps;
pub use self::group_commit::StoreCommand;
use self::group_commit::{GroupCommit, NextWork, StoreOutcome};
use self::ledger::Ledger;
use self::ledger_status::LedgerStatus;
pub use self::outbox::RunId;
use self::shipper_exchange::ShipperExchange;
use self::sqlite_ledger::SqliteLedger;
use crate::config::settings::Settings;
use crate::limits::{LEDGER_STOP_MS, WAL_BYTES, WAL_LOOK};
use crate::messages::{DriverHandle, EvidenceSource, SpoolCommand, WorkerEvent};
use crate::node::Node;
use crate::supervision::{Duties, Duty, keep};

/// An open ledger whose threads are not started yet.
pub(crate) struct Store {
    pub ledger: SqliteLedger,
    network: Network,
    /// The server's directory; `None` in memory.
    dir: Option<PathBuf>,
    /// Sequence number of the last share in it.
    pub durable: Seq,
    /// Height of the highest tip that it was shown.
    pub highest: Option<Height>,
    pub status: Arc<LedgerStatus>,
    /// Exchange with the shipper of the shared ledger; `None` without one.
    pub shipper_exchange: Option<Arc<ShipperExchange>>,
}

/// Channels to the threads that the ledger reports to.
pub(crate) struct StoreOutputs {
    pub to_driver: DriverHandle,
    pub node: Arc<dyn Node>,
    pub spool: Option<Sender<SpoolCommand>>,
    /// Receiver of alarm inputs; it may be gone.
    pub alarms: Sender<AlarmInput>,
    /// Sender to the store itself, for the thread that writes dumps.
    pub sender: Sender<StoreCommand>,
    pub duties: Duties,
}

impl Store {
    /// Opens the ledger of a server, or creates it.
    ///
    /// # Errors
    /// One line that names the file and says what to do; nothing was written in that case.
    pub(crate) fn open(settings: &Settings, node: &dyn Node) -> anyhow::Result<Self> {
        let status = Arc::new(LedgerStatus::default());
        let network = settings.network;
        let mut told = Vec::new();
        let mut ledger = match &settings.dir {
            Some(dir) => {
                let path = dir.join(FILE_NAME);
                SqliteLedger::open(&path, network, unix_s(), status.clone(), &mut told)?
            }
            None => SqliteLedger::in_memory(network, unix_s(), status.clone())?,
        };
        for line in told {
            node.log(Level::Info, &line);
        }
        let shipper_exchange = share(&mut ledger, settings, node)?;
        let unread = |error| anyhow::anyhow!("failed to read the ledger: {error}");
        let durable = ledger.last_seq().map_err(unread)?;
        let highest = ledger.highest().map_err(unread)?;
        Ok(Self {
            ledger,
            network,
            dir: settings.dir.clone(),
            durable,
            highest: highest.map(|tip| tip.height),
            status,
            shipper_exchange,
        })
    }

    /// Id under which the file ships to the shared ledger, or would.
    pub(crate) fn origin(&self) -> FileId {
        self.ledger.ships_as()
    }

    /// Runs until the driver and the dump thread are gone and everything is done.
    pub(crate) fn run(self, commands: &Receiver<StoreCommand>, outputs: StoreOutputs) {
        let Self {
            ledger,
            network,
            dir,
            status,
            shipper_exchange,
            ..
        } = self;
        let StoreOutputs {
            to_driver,
            node,
            spool,
            alarms,
            sender,
            duties,
        } = outputs;
        // A pending wake-up is enough.
        let (owed_sender, owed) = sync_channel(1);
        let (log_sender, log_full) = sync_channel(1);
        let node = &*node;
        // Another sender would keep our own channel open.
        let has_dumps = dir.is_some() && shipper_exchange.is_none();
        let sender = Some(sender).filter(|_| has_dumps);
        std::thread::scope(|scope| {
            if let (Some(dir), Some(sender)) = (&dir, sender) {
                let dumps = Dumps {
                    ledger: dir.join(FILE_NAME),
                    dir: dir.join("shares"),
                    network,
                    sender,
                };
                let duty = duties.add("share dumps");
                start_helper(scope, "hstratum-dumps", node, move || {
                    dumps.run(&owed, &duty, node);
                });
            }
            if let Some(dir) = &dir {
                let (path, status) = (dir.join(FILE_NAME), status.clone());
                let duty = duties.add("the ledger's log");
                start_helper(scope, "hstratum-log", node, move || {
                    checkpoint::run(&path, &log_full, WAL_LOOK, &status, &duty, node);
                });
            }
            let now = clock(Instant::now());
            let mut ledger_thread = LedgerThread {
                group_commit: match shipper_exchange {
                    None => GroupCommit::new(now),
                    Some(_) => GroupCommit::new(now).sharing(now),
                },
                shipper_exchange: shipper_exchange.as_deref(),
                ledger,
                to_driver: &to_driver,
                node,
                spool: spool.as_ref(),
                alarms,
                status: &status,
                owed: Some(owed_sender),
                log: Some(log_sender),
                started: Instant::now(),
                stop_by: None,
                copying: Growth::above(WAL_BYTES),
                duty: duties.add("the ledger"),
            };
            keep("hstratum-ledger", node, || ledger_thread.run(commands));
        });
        if let Some(shipper_exchange) = shipper_exchange {
            shipper_exchange.close();
        }
    }
}

/// Starts a thread beside the one that commits; without it the ledger goes on.
fn start_helper<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    name: &'static str,
    node: &'scope dyn Node,
    mut work: impl FnMut() + Send + 'scope,
) {
    let named = std::thread::Builder::new().name(name.to_owned());
    let started = named.spawn_scoped(scope, move || keep(name, node, &mut work));
    if let Err(error) = started {
        let text = format!("failed to start a thread of the ledger: {error}");
        node.log(Level::Error, &text);
    }
}

/// Has the ledger ship to the shared one, if there is one.
fn share(
    ledger: &mut SqliteLedger,
    settings: &Settings,
    node: &dyn Node,
) -> anyhow::Result<Option<Arc<ShipperExchange>>> {
    let Some(database) = &settings.config.database else {
        if ledger.is_owing()? {
            let text = "the ledger holds shares that are in no shared ledger yet: they stay there \
                        until --stratum-database is given again";
            node.log(Level::Warning, text);
        }
        return Ok(None);
    };
    let Some(dir) = &settings.dir else {
        bail!(
            "--stratum-database needs a node that keeps files: shares wait in one for {database}"
        );
    };
    let mut run_id = [0; 16];
    getrandom::fill(&mut run_id).context("failed to get random bytes")?;
    let shipper_exchange = Arc::new(ShipperExchange::default());
    let path = dir.join(FILE_NAME);
    ledger
        .share(run_id, unix_s(), shipper_exchange.clone())
        .with_context(|| format!("failed to share the ledger {}", path.display()))?;
    Ok(Some(shipper_exchange))
}

/// State of the ledger's thread.
struct LedgerThread<'a, L> {
    group_commit: GroupCommit,
    shipper_exchange: Option<&'a ShipperExchange>,
    ledger: L,
    to_driver: &'a DriverHandle,
    node: &'a dyn Node,
    spool: Option<&'a Sender<SpoolCommand>>,
    alarms: Sender<AlarmInput>,
    status: &'a LedgerStatus,
    /// Wakes the thread that writes dumps.
    owed: Option<SyncSender<()>>,
    /// Wakes the thread that copies the log.
    log: Option<SyncSender<()>>,
    started: Instant,
    stop_by: Option<Instant>,
    /// Decides when copying the log is worthwhile.
    copying: Growth,
    duty: Arc<Duty>,
}

impl<L: Ledger> LedgerThread<'_, L> {
    fn run(&mut self, commands: &Receiver<StoreCommand>) {
        let mut next = NextWork::Now;
        loop {
            match self.receive(commands, next) {
                Ok(first) => {
                    let now = self.now();
                    for item in std::iter::once(first).chain(commands.try_iter()) {
                        self.take(item, now);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    if self.group_commit.is_done() {
                        return;
                    }
                    if let NextWork::At(at_ms) = next {
                        let wait_ms = at_ms.saturating_sub(self.now().ms);
                        std::thread::sleep(Duration::from_millis(wait_ms));
                    }
                }
            }
            next = self.work();
            if self.stop_by.is_some_and(|stop_by| Instant::now() > stop_by)
                && !self.group_commit.is_done()
            {
                return self.abandon();
            }
        }
    }

    fn receive(
        &self,
        commands: &Receiver<StoreCommand>,
        next: NextWork,
    ) -> Result<StoreCommand, RecvTimeoutError> {
        let wait_ms = match next {
            NextWork::Now => 0,
            NextWork::At(at_ms) => at_ms.saturating_sub(self.now().ms),
        };
        commands.recv_timeout(Duration::from_millis(wait_ms))
    }

    fn take(&mut self, command: StoreCommand, now: Now) {
        if matches!(command, StoreCommand::Stop) {
            self.stop_by = Some(Instant::now() + Duration::from_millis(LEDGER_STOP_MS));
        }
        if let (StoreCommand::Chain(tip), Some(shipper_exchange)) =
            (&command, self.shipper_exchange)
        {
            shipper_exchange.set_tip(*tip);
        }
        self.group_commit.take(command, now);
    }

    fn work(&mut self) -> NextWork {
        let now = self.now();
        if let Some(shipper_exchange) = self.shipper_exchange {
            for command in shipper_exchange.take() {
                self.group_commit.take(command, now);
            }
        }
        let mut out = Vec::new();
        self.duty.owe();
        let worked = catch_unwind(AssertUnwindSafe(|| {
            self.group_commit.work(&mut self.ledger, now, &mut out)
        }));
        let next = worked.unwrap_or_else(|_| self.group_commit.broken(now, &mut out));
        self.duty.done();
        for outcome in out {
            self.tell(outcome);
        }
        if self.copying.is_due(self.status.read().wal_bytes) {
            wake(self.log.as_ref());
        }
        if self.stop_by.is_some() && self.group_commit.is_done() {
            // Ends the other threads; dumps still owed are recorded in the ledger.
            self.owed = None;
            self.log = None;
        }
        next
    }

    fn tell(&self, outcome: StoreOutcome) {
        if let Some((level, text)) = outcome.line() {
            self.node.log(level, &text);
        }
        match outcome {
            // The driver may have stopped, and nobody waits any more.
            StoreOutcome::Durable(seq) => drop(self.to_driver.work(WorkerEvent::Durable(seq))),
            StoreOutcome::NotDurable(seq) => {
                drop(self.to_driver.work(WorkerEvent::NotDurable(seq)));
            }
            StoreOutcome::Failing(reason) => {
                self.tell_alarms(AlarmInput::Ledger(LedgerInput::Failing(reason.clone())));
                self.status.set_failing(Some(reason));
                drop(
                    self.to_driver
                        .work(WorkerEvent::Ledger(LedgerState::Failing)),
                );
            }
            StoreOutcome::RecoveredState => {
                self.tell_alarms(AlarmInput::Ledger(LedgerInput::Fine));
                self.status.set_failing(None);
                drop(self.to_driver.work(WorkerEvent::Ledger(LedgerState::Open)));
            }
            StoreOutcome::Answered(hash) => {
                if let Some(spool) = self.spool {
                    let _ = spool.send(SpoolCommand::Remove(hash));
                }
                drop(self.to_driver.work(WorkerEvent::BlockAnswered(hash)));
            }
            StoreOutcome::DumpOwed => wake(self.owed.as_ref()),
            StoreOutcome::Locate(asked) => self.node.locate(asked),
            StoreOutcome::Seen(look) => {
                if let Some(shipper_exchange) = self.shipper_exchange {
                    shipper_exchange.set_seen(look);
                }
            }
            StoreOutcome::AccountKept(answer, kept) => drop(answer.send(kept)),
            StoreOutcome::Stalled => {
                self.status.set_stalled(true);
                self.tell_alarms(AlarmInput::Ledger(LedgerInput::Stalled));
            }
            StoreOutcome::Free(_) => {
                self.status.set_stalled(false);
                self.tell_alarms(AlarmInput::Ledger(LedgerInput::Fine));
            }
            StoreOutcome::Moved(change) => {
                if let Some(fate) = fate(change.to) {
                    self.tell_alarms(AlarmInput::Block(change.hash, Some(change.height), fate));
                }
            }
            StoreOutcome::Weighed(view, knowledge) => {
                drop(self.to_driver.work(WorkerEvent::Evidence(
                    EvidenceSource::File,
                    view,
                    knowledge,
                )));
            }
            StoreOutcome::Knows(_) | StoreOutcome::Log(..) => {}
        }
    }

    fn tell_alarms(&self, input: AlarmInput) {
        let _ = self.alarms.send(input);
    }

    /// Logs what is abandoned when the stop's time is over. Replies to these shares were never sent, and
    /// blocks whose verdict is not recorded are in the spool.
    fn abandon(&self) {
        let (shares, blocks) = self.group_commit.left();
        if shares > 0 || blocks > 0 {
            let text = format!(
                "the ledger could not be written at the stop: it lacks {} and {}",
                counted(shares, "unacknowledged share"),
                counted(blocks, "block state change")
            );
            self.node.log(Level::Error, &text);
        }
    }

    fn now(&self) -> Now {
        clock(self.started)
    }
}

/// Outcome of a block for alarms.
fn fate(state: BlockState) -> Option<BlockOutcome> {
    match state {
        BlockState::Accepted => Some(BlockOutcome::Accepted),
        BlockState::Confirmed => Some(BlockOutcome::Confirmed),
        BlockState::Orphaned => Some(BlockOutcome::Orphaned),
        BlockState::Found | BlockState::Refused => None,
    }
}

/// Wakes a thread unless a wake-up is already pending.
fn wake(sender: Option<&SyncSender<()>>) {
    if let Some(sender) = sender {
        let _ = sender.try_send(());
    }
}

fn clock(started: Instant) -> Now {
    Now {
        ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        unix_s: unix_s(),
    }
}
