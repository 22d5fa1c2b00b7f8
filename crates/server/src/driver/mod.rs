//! The loop that owns the pool: messages, sockets and the clock go in as events, actions come out.
//!
//! Messages of the node are processed first. A panic of the pool is caught here: its connections are reset
//! and a new pool starts from what is durable.

pub(crate) mod actions;
mod drill;
pub mod io;
mod share_group;
mod shutdown;
mod templates;

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use hstratum_core::accounting::ledger::{Credit, Verdict};
use hstratum_core::accounts::PayoutAddresses;
use hstratum_core::accounts::ban::Ban;
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::alarm::{AlarmInput, BlockOutcome, Draining};
use hstratum_core::chain::coinbase_split::CoinbaseSplit;
use hstratum_core::chain::template::TemplateParts;
use hstratum_core::event::{Actions, Event, LedgerState, Level, Listening};
use hstratum_core::limits::LEAVE_MS;
use hstratum_core::operator_order::{Order, OrderId};
use hstratum_core::pool::Pool;
use hstratum_core::pool::config::PoolConfig;
use hstratum_core::units::{ConnId, Hash, Height, Now, Seq};

use self::templates::Evidence;
pub use crate::driver::actions::Senders;
use crate::driver::io::DriverIo;
use crate::files::recovered_state::{RecoveredState, Unanswered};
use crate::http::known_keys::KnownKeys;
use crate::http::sessions::Sessions;
use crate::limits::{
    HANDSHAKES_PER_TURN, LIVE_MS, LIVE_SLICE_MS, READS_PER_TURN, RESTART_MS, TICK_MS,
};
use crate::messages::{DriverInbox, NodeEvent, TakeAnswer, WorkerEvent};
use crate::net::ReadResult;
use crate::node::Node;
use crate::store::StoreCommand;
use crate::task_threads::UsersCommand;
use crate::telemetry::live::TelemetryWriter;
use crate::telemetry::node_lag::NodeLag;

/// State of the node as last told, for a new pool.
#[derive(Default)]
struct NodeView {
    tip: Option<(Hash, Height)>,
    template: Option<TemplateParts>,
    /// A template of which no job is made, since the node knows too little of the chain.
    withheld: Option<TemplateParts>,
    transactions: Option<(u64, Arc<[u8]>)>,
    /// Reason why the template is no longer valid.
    no_template: Option<String>,
}

/// The driver and all it owns.
pub struct Driver<S> {
    /// Its sockets and its clock.
    pub net: S,
    inbox: DriverInbox,
    pub(crate) node: Arc<dyn Node>,
    pub(crate) senders: Senders,
    config: NewConfig,
    users: HashMap<String, StoredPassword>,
    pub(crate) unanswered: BTreeMap<Hash, Unanswered>,
    /// The operator's bans, for a new pool.
    pub(crate) bans: Vec<Ban>,
    /// Payout addresses of accounts, once they are known.
    pub(crate) payout_addresses: Option<Arc<PayoutAddresses>>,
    /// The newest split, for a new pool.
    split: Option<Arc<CoinbaseSplit>>,
    /// The block that was found last, in this run or left by an earlier one.
    pub(crate) last_found: Option<Hash>,
    /// The operator has ordered that no connections are accepted, also for a new pool.
    is_draining: bool,
    /// Unanswered orders, and who waits for each.
    pub(crate) orders: HashMap<OrderId, TakeAnswer>,
    last_order: OrderId,
    /// Sessions of the dashboard, which another password ends.
    pub(crate) sessions: Arc<Sessions>,
    /// Keys of accounts, which end with those.
    pub(crate) known_keys: Arc<KnownKeys>,
    /// Publishes snapshots of the pool; `None` if nobody can read them.
    pub(crate) telemetry: Option<TelemetryWriter>,
    view: NodeView,
    evidence: Evidence,
    /// Delay of the node's answers, for other threads.
    pub(crate) node_lag: Arc<NodeLag>,
    /// The node will stop: sender to notify when proxied miners have moved, or at this time in milliseconds.
    leaving: Option<(Sender<()>, u64)>,
    /// The node stops: sender to notify when everything is done.
    closing: Option<Sender<()>>,
    next_tick_ms: u64,
    /// Time at which the occupancy of the sockets is reported next.
    next_look_ms: u64,
    /// Time of the next drill.
    next_drill_ms: u64,
    actions: Actions,
    /// Shares recorded in this turn, for the ledger.
    pub credits: Vec<Credit>,
    /// Time in milliseconds at which they are sent to the ledger at the latest.
    commit_by_ms: u64,
    /// The last share recorded.
    pub last: Seq,
    /// The last share that the ledger has reported as durable or given up.
    settled: Seq,
    /// State of the ledger as last told, for a new pool.
    ledger: LedgerState,
}

/// Payload of a panic.
pub type PanicPayload = Box<dyn Any + Send>;

/// Makes the configuration of a pool that starts at this time, in Unix seconds.
pub type NewConfig = Box<dyn FnMut(u64) -> PoolConfig + Send>;

impl<S: DriverIo> Driver<S> {
    /// A driver that has not started.
    pub fn new(
        net: S,
        inbox: DriverInbox,
        node: Arc<dyn Node>,
        senders: Senders,
        config: NewConfig,
        recovered: RecoveredState,
    ) -> Self {
        let RecoveredState {
            users,
            bans,
            unanswered,
            durable,
            highest,
        } = recovered;
        Self {
            net,
            inbox,
            node,
            senders,
            config,
            users,
            unanswered,
            bans,
            payout_addresses: None,
            split: None,
            last_found: None,
            is_draining: false,
            orders: HashMap::new(),
            sessions: Arc::default(),
            known_keys: Arc::default(),
            last_order: OrderId(0),
            telemetry: None,
            view: NodeView::default(),
            evidence: Evidence::new(highest),
            node_lag: Arc::default(),
            leaving: None,
            closing: None,
            next_tick_ms: 0,
            next_look_ms: 0,
            next_drill_ms: 0,
            actions: Actions::default(),
            credits: Vec::new(),
            commit_by_ms: u64::MAX,
            last: durable,
            settled: durable,
            ledger: LedgerState::Open,
        }
    }

    /// Runs until the node stops; returns the sender to notify when everything is done.
    pub fn run(&mut self) -> Sender<()> {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.run_pool())) {
                Ok(()) => {}
                Err(failure) => self.clear_up(failure),
            }
            if let Some(done) = self.closed() {
                return done;
            }
        }
    }

    fn run_pool(&mut self) {
        let mut pool = self.start_pool();
        while !self.is_closing() {
            self.turn(&mut pool);
        }
        self.finish(&mut pool);
    }

    /// Number of found blocks that the node has not answered.
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// True once the node stops.
    pub fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// The sender to notify when everything is done, if the node stops.
    pub fn closed(&mut self) -> Option<Sender<()>> {
        self.closing.take()
    }

    /// Makes a new pool with what the last one knew and what is durable.
    pub fn start_pool(&mut self) -> Pool {
        let now = self.net.now();
        let users = self.users.clone();
        let config = (self.config)(now.unix_s);
        let mut pool = Pool::new(config, users, self.last, now);
        self.handle(&mut pool, now, Event::Ledger(self.ledger));
        if let Err(error) = self.net.listen(Listening::On) {
            self.node
                .log(Level::Error, &format!("failed to listen: {error}"));
        }
        self.handle(&mut pool, now, Event::Bans(self.bans.clone()));
        if let Some(addresses) = self.payout_addresses.clone() {
            self.handle(&mut pool, now, Event::PayoutAddresses(addresses));
        }
        if let Some(split) = self.split.clone() {
            self.handle(&mut pool, now, Event::Split(split));
        }
        if self.is_draining {
            let order = Order::Drain { over_s: 0 };
            self.handle(&mut pool, now, Event::Order(OrderId(0), order));
        }
        let unanswered: Vec<_> = self
            .unanswered
            .values()
            .map(Unanswered::offer_again)
            .collect();
        for (found, offer) in unanswered {
            self.handle(&mut pool, now, Event::Spooled(Box::new(found)));
            self.node.offer(offer);
        }
        let view = std::mem::take(&mut self.view);
        if let Some(tip) = view.tip {
            self.handle_node(&mut pool, now, NodeEvent::Tip(tip.0, tip.1));
        }
        let is_withheld = view.withheld.is_some();
        if let Some(parts) = view.template.or(view.withheld) {
            self.handle_node(&mut pool, now, NodeEvent::Template(Box::new(parts)));
        }
        if let Some((template, transactions)) = view.transactions {
            self.handle_node(
                &mut pool,
                now,
                NodeEvent::Transactions(template, transactions),
            );
        }
        if let Some(reason) = view.no_template.filter(|_| !is_withheld) {
            self.handle_node(&mut pool, now, NodeEvent::NoTemplate(reason));
        }
        pool
    }

    /// Cleans up after a panic: executes the submission of found blocks that were under way, and resets the
    /// connections so that miners come back to a new pool.
    pub fn clear_up(&mut self, failure: PanicPayload) {
        self.node.log(
            Level::Error,
            "the pool has failed, which is a bug; it starts again and miners reconnect",
        );
        self.tell_alarms(AlarmInput::PoolFailed);
        self.carry_out(Some(failure));
        self.commit();
        // Dropping the senders tells those who wait that there will be no answer.
        self.orders.clear();
        self.net.reset_all();
        self.net.rest(Duration::from_millis(RESTART_MS));
    }

    /// Processes messages, sockets and the clock once. A panic is left to the caller, for [`Self::clear_up`].
    pub fn turn(&mut self, pool: &mut Pool) {
        let mut wait_ms = self.next_tick_ms.saturating_sub(self.net.now().ms);
        if self
            .telemetry
            .as_ref()
            .is_some_and(TelemetryWriter::is_gathering)
        {
            wait_ms = wait_ms.min(LIVE_SLICE_MS);
        }
        self.net.wait(Duration::from_millis(wait_ms));
        let now = self.net.now();
        while let Ok(message) = self.inbox.node.try_recv() {
            if let NodeEvent::Close(done) = message {
                self.closing = Some(done);
                return;
            }
            self.handle_node(pool, now, message);
        }
        self.net.begin_turn(now.ms);
        // Their slots may be in use again already.
        self.tell_lost(pool, now);
        for _ in 0..READS_PER_TURN {
            let Some(conn) = self.net.next_readable() else {
                break;
            };
            self.read(pool, now, conn);
        }
        for _ in 0..HANDSHAKES_PER_TURN {
            let Some(conn) = self.net.next_handshake() else {
                break;
            };
            self.read(pool, now, conn);
        }
        while let Ok(message) = self.inbox.work.try_recv() {
            self.handle_work(pool, now, message);
        }
        if now.ms >= self.next_tick_ms {
            self.next_tick_ms = now.ms + TICK_MS;
            self.handle(pool, now, Event::Tick);
            self.tell_evidence(now);
            self.look_whether_left(pool, now);
            self.begin_drill(pool, now);
            if now.ms >= self.next_look_ms {
                self.next_look_ms = now.ms + LIVE_MS;
                self.tell_alarms(AlarmInput::Occupancy(self.net.door()));
            }
            if let Some(telemetry) = &mut self.telemetry {
                telemetry.publish(pool, now, || self.net.door());
            }
        }
        if let Some(telemetry) = &mut self.telemetry {
            telemetry.gather(pool, now);
        }
        self.commit_in_time(now);
        self.flush(pool);
        // All other jobs have left.
        while pool.owes_solo_jobs() {
            self.handle(pool, now, Event::SoloJobs);
            self.flush(pool);
        }
        self.tell_lost(pool, now);
    }

    fn flush(&mut self, pool: &Pool) {
        self.net.flush();
        if let Some(telemetry) = &mut self.telemetry {
            let trace = telemetry.traces.flushed(pool.owes_solo_jobs());
            self.log_trace(trace);
        }
    }

    /// Logs the trace of a job that all miners have, if there is one.
    fn log_trace(&self, trace: Option<String>) {
        if let Some(trace) = trace {
            self.node.log(Level::Info, &trace);
        }
    }

    fn tell_lost(&mut self, pool: &mut Pool, now: Now) {
        for conn in self.net.take_lost() {
            self.handle(pool, now, Event::Closed(conn));
        }
    }

    fn read(&mut self, pool: &mut Pool, now: Now, conn: ConnId) {
        match self.net.read(conn) {
            ReadResult::Opened(arrival) => self.handle(pool, now, Event::Connected(conn, arrival)),
            ReadResult::Bytes(len) => {
                let bytes = self.net.received(len);
                pool.handle(now, Event::Received(conn, bytes), &mut self.actions);
                self.perform_all(pool);
            }
            ReadResult::Nothing => {}
            ReadResult::Finished => self.handle(pool, now, Event::Finished(conn)),
            ReadResult::Gone => {
                self.net.drop_gone(conn);
                self.handle(pool, now, Event::Closed(conn));
            }
        }
    }

    fn handle_node(&mut self, pool: &mut Pool, now: Now, message: NodeEvent) {
        match message {
            NodeEvent::Tip(hash, height) => {
                self.tell_alarms(AlarmInput::Tip(hash));
                self.view.tip = Some((hash, height));
                self.handle(pool, now, Event::Tip(hash));
                self.senders.tell_store(StoreCommand::Chain(height));
            }
            NodeEvent::Template(parts) => self.take_template(pool, now, *parts),
            NodeEvent::Transactions(template, bytes) => {
                self.view.transactions = Some((template, bytes.clone()));
                self.handle(pool, now, Event::Transactions(template, bytes));
            }
            NodeEvent::NoTemplate(reason) => self.take_reason(pool, now, reason),
            NodeEvent::TemplateInvalid(reason) => {
                self.node_lag.set_invalid(reason.clone());
                self.tell_alarms(AlarmInput::TemplateInvalid(reason));
            }
            NodeEvent::Drilled(outcome) => self.end_drill(now, outcome),
            NodeEvent::BlockResult(hash, verdict) => {
                self.put_off_drill(now, &verdict);
                match &verdict {
                    Verdict::Unknown(reason) => {
                        let outcome = BlockOutcome::Unjudged(reason.clone());
                        self.tell_alarms(AlarmInput::Block(hash, None, outcome));
                    }
                    _ => _ = self.unanswered.remove(&hash),
                }
                self.handle(pool, now, Event::BlockResult(hash, verdict));
            }
            NodeEvent::Located(look) => self.senders.tell_store(StoreCommand::Located(look)),
            NodeEvent::ReloadCertificates => match &self.senders.certificates {
                Some(sender) => ask(sender, ()),
                None => self
                    .node
                    .log(Level::Info, "nothing to reload: no listener speaks TLS"),
            },
            NodeEvent::SetAccount(message) => {
                if let Some(text) = message.asked() {
                    self.node.log(Level::Info, &text);
                }
                self.senders.tell_users(UsersCommand::SetAccount(message));
            }
            NodeEvent::DrainServer(message) => {
                self.senders.tell_users(UsersCommand::DrainServer(message));
            }
            NodeEvent::Order(order, answer) => {
                self.last_order = OrderId(self.last_order.0 + 1);
                let id = self.last_order;
                self.orders.insert(id, answer);
                self.order(pool, now, id, order);
            }
            NodeEvent::Leave(done) => {
                self.leaving = Some((done, now.ms + LEAVE_MS));
                self.handle(pool, now, Event::Leave);
                self.look_whether_left(pool, now);
            }
            NodeEvent::Close(_) => unreachable!("a close ends the turn"),
        }
    }

    fn order(&mut self, pool: &mut Pool, now: Now, id: OrderId, order: Order) {
        self.handle(pool, now, Event::Order(id, order));
        if self.is_draining != pool.is_draining() {
            self.is_draining = pool.is_draining();
            self.senders
                .tell_users(UsersCommand::Draining(self.is_draining));
        }
        self.tell_alarms(AlarmInput::Drain(match self.is_draining {
            true => Draining::Yes,
            false => Draining::No,
        }));
    }

    /// Notifies a stop that waits for proxies, when they have moved their miners or their time is over.
    fn look_whether_left(&mut self, pool: &mut Pool, now: Now) {
        let is_due = |(_, until_ms): &mut (_, u64)| *until_ms <= now.ms || pool.proxied() == 0;
        if let Some((done, _)) = self.leaving.take_if(is_due) {
            // The receiver may be gone.
            let _ = done.send(());
        }
    }

    fn handle_work(&mut self, pool: &mut Pool, now: Now, message: WorkerEvent) {
        match message {
            WorkerEvent::Durable(seq) => {
                self.settled = seq;
                self.handle(pool, now, Event::Durable(seq));
                if let Some(telemetry) = &mut self.telemetry {
                    telemetry.settled(seq);
                }
            }
            WorkerEvent::NotDurable(seq) => {
                self.settled = seq;
                self.handle(pool, now, Event::NotDurable(seq));
                if let Some(telemetry) = &mut self.telemetry {
                    telemetry.settled(seq);
                }
            }
            WorkerEvent::Ledger(state) => {
                self.ledger = state;
                self.handle(pool, now, Event::Ledger(state));
            }
            WorkerEvent::Evidence(of, view, knowledge) => {
                self.take_evidence(pool, now, (of, view, knowledge));
            }
            WorkerEvent::BlockAnswered(hash) => drop(self.unanswered.remove(&hash)),
            WorkerEvent::PasswordChecked(ticket, checked) => {
                self.handle(pool, now, Event::PasswordChecked(ticket, checked));
            }
            WorkerEvent::UserAdded(ticket, name, stored) => {
                if let Ok(stored) = &stored {
                    self.users.insert(name, stored.clone());
                }
                self.handle(pool, now, Event::UserAdded(ticket, stored));
            }
            WorkerEvent::Users(changes) => {
                for (name, password) in &changes {
                    match password {
                        Some(password) => self.users.insert(name.clone(), password.clone()),
                        None => self.users.remove(name),
                    };
                }
                self.handle(pool, now, Event::Users(changes));
            }
            WorkerEvent::PayoutAddresses(addresses) => {
                self.payout_addresses = Some(addresses.clone());
                self.handle(pool, now, Event::PayoutAddresses(addresses));
            }
            WorkerEvent::Split(split) => {
                self.split = Some(split.clone());
                self.handle(pool, now, Event::Split(split));
            }
            WorkerEvent::Bans(bans) => {
                self.bans.clone_from(&bans);
                self.handle(pool, now, Event::Bans(bans));
            }
            WorkerEvent::Order(order) => self.order(pool, now, OrderId(0), order),
            WorkerEvent::Answer(id, answer) => self.answer(id, answer),
            WorkerEvent::Certificate(certificate) => {
                self.net.use_certificate(certificate);
                self.node.log(Level::Info, "certificate reloaded");
            }
        }
    }

    fn handle(&mut self, pool: &mut Pool, now: Now, event: Event<'_>) {
        pool.handle(now, event, &mut self.actions);
        self.perform_all(pool);
    }

    /// Executes the pool's actions. Jobs among them can be asked for before they are sent.
    fn perform_all(&mut self, pool: &Pool) {
        if let Some(telemetry) = &mut self.telemetry {
            telemetry.show_jobs(pool);
        }
        self.net.watch(&self.actions);
        if let Some(failure) = self.carry_out(None) {
            resume_unwind(failure);
        }
        let sent = self.net.send_jobs();
        if let Some(telemetry) = &mut self.telemetry {
            telemetry.traces.jobs_sent(&sent);
        }
    }

    /// Executes the pool's actions. After a panic, here or before, actions that may be lost are skipped, and
    /// no others: a found block is submitted and kept whatever happens.
    fn carry_out(&mut self, mut failure: Option<PanicPayload>) -> Option<PanicPayload> {
        let mut actions = std::mem::take(&mut self.actions);
        actions.drain(|action, bytes| {
            if failure.is_none() || action.outlives_failure() {
                let done = catch_unwind(AssertUnwindSafe(|| self.perform(action, bytes)));
                failure = failure.take().or(done.err());
            }
        });
        self.actions = actions;
        failure
    }
}

/// Sends to a thread that outlives the driver, whatever its disk does.
pub(crate) fn ask<T>(sender: &Sender<T>, message: T) {
    assert!(
        sender.send(message).is_ok(),
        "a thread of the server has ended before the driver"
    );
}
