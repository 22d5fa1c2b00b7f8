//! The loop that owns the pool: mail, sockets and the clock go in as events, actions come out.
//!
//! What the node says goes first. A panic of the pool stops here: its connections are reset and a
//! new pool begins with what is durable.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use hstratum_core::block::Solution;
use hstratum_core::event::{
    Action, Actions, Event, FoundBlock, LedgerState, Level, Listening, Now, Verdict,
};
use hstratum_core::ledger::Credit;
use hstratum_core::password::StoredPassword;
use hstratum_core::pool::Pool;
use hstratum_core::template::{Template, TemplateParts};
use hstratum_core::units::{ConnId, Hash, Height, Seq};

use crate::clerk::{PasswordMail, SpoolMail, UsersMail};
use crate::limits::{
    CREDITS_PER_GROUP, FINISH_MS, HANDSHAKES_PER_TURN, READS_PER_TURN, RESTART_MS, TICK_MS,
};
use crate::live::Pulse;
use crate::mail::{Mailbox, NodeMail, WorkMail};
use crate::net::{Net, ReadResult};
use crate::node::{Node, Offer};
use crate::settings::Settings;
use crate::store::{StoreMail, unix_s};

/// Where the driver's requests go. A closed channel means that the thread behind it is gone, which
/// it is only after the driver.
pub(crate) struct Desks {
    pub store: Sender<StoreMail>,
    pub passwords: Sender<PasswordMail>,
    pub users: Sender<UsersMail>,
    /// None when nothing may be written.
    pub spool: Option<Sender<SpoolMail>>,
    /// Whoever reads the certificate; none when nothing speaks TLS.
    pub certificates: Option<Sender<()>>,
}

/// A found block that the node has not answered.
pub(crate) enum Unanswered {
    /// Found in this run.
    Found(Arc<Solution>),
    /// Left over from an earlier one, with its bytes.
    Spooled(Box<FoundBlock>, Vec<u8>),
}

/// What earlier runs have left.
pub(crate) struct Legacy {
    pub users: HashMap<String, StoredPassword>,
    pub unanswered: HashMap<Hash, Unanswered>,
    /// The last share in the ledger.
    pub durable: Seq,
}

/// What the node said last: a new pool is told it first.
#[derive(Default)]
pub(crate) struct NodeView {
    tip: Option<(Hash, Height)>,
    template: Option<TemplateParts>,
    transactions: Option<(u64, Arc<[u8]>)>,
    /// Why the template counts no more.
    no_template: Option<String>,
}

/// The driver and all it owns.
pub(crate) struct Driver {
    pub net: Net,
    pub mailbox: Mailbox,
    pub node: Arc<dyn Node>,
    pub desks: Desks,
    pub pulse: Pulse,
    pub settings: Settings,
    pub users: HashMap<String, StoredPassword>,
    pub unanswered: HashMap<Hash, Unanswered>,
    view: NodeView,
    /// The node closes, and is told here when all is done.
    closing: Option<Sender<()>>,
    started: Instant,
    next_tick_ms: u64,
    actions: Actions,
    /// Recorded in this turn, for the ledger.
    credits: Vec<Credit>,
    /// The last share recorded.
    last: Seq,
    /// The last share of which the ledger has said whether it is durable.
    settled: Seq,
    /// What the ledger said last: a new pool is told it.
    ledger: LedgerState,
}

/// What a panic leaves.
type Failure = Box<dyn Any + Send>;

impl Driver {
    pub(crate) fn new(
        net: Net,
        mailbox: Mailbox,
        node: Arc<dyn Node>,
        desks: Desks,
        pulse: Pulse,
        settings: Settings,
        legacy: Legacy,
    ) -> Self {
        let Legacy {
            users,
            unanswered,
            durable,
        } = legacy;
        Self {
            net,
            mailbox,
            node,
            desks,
            pulse,
            settings,
            users,
            unanswered,
            view: NodeView::default(),
            closing: None,
            started: Instant::now(),
            next_tick_ms: 0,
            actions: Actions::default(),
            credits: Vec::new(),
            last: durable,
            settled: durable,
            ledger: LedgerState::Open,
        }
    }

    /// Runs until the node closes; returns where to say that all is done.
    pub(crate) fn run(&mut self) -> Sender<()> {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.run_pool())) {
                Ok(()) => {}
                Err(failure) => self.clear_up(failure),
            }
            if let Some(done) = self.closing.take() {
                return done;
            }
        }
    }

    fn run_pool(&mut self) {
        let mut pool = self.start_pool();
        while self.closing.is_none() {
            self.turn(&mut pool);
        }
        self.finish(&mut pool);
    }

    /// A new pool that knows what the last one knew and what is durable.
    fn start_pool(&mut self) -> Pool {
        let now = self.now();
        let users = self.users.clone();
        let config = self
            .settings
            .pool_config(now.unix_s)
            .expect("a system that gave random bytes at the start goes on giving them");
        let mut pool = Pool::new(config, users, self.last, now);
        self.handle(&mut pool, now, Event::Ledger(self.ledger));
        if let Err(error) = self.net.listen(Listening::On) {
            self.node
                .log(Level::Error, &format!("failed to listen: {error}"));
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
            self.handle_node(&mut pool, now, NodeMail::Tip(tip.0, tip.1));
        }
        if let Some(parts) = view.template {
            self.handle_node(&mut pool, now, NodeMail::Template(Box::new(parts)));
        }
        if let Some((template, transactions)) = view.transactions {
            self.handle_node(
                &mut pool,
                now,
                NodeMail::Transactions(template, transactions),
            );
        }
        if let Some(reason) = view.no_template {
            self.handle_node(&mut pool, now, NodeMail::NoTemplate(reason));
        }
        pool
    }

    /// After a panic: found blocks that were on their way go out, miners are sent away so that
    /// they come back to a new pool.
    fn clear_up(&mut self, failure: Failure) {
        self.node.log(
            Level::Error,
            "the pool has failed, which is a bug; it starts again and miners reconnect",
        );
        self.carry_out(Some(failure));
        self.commit();
        self.net.reset_all();
        std::thread::sleep(Duration::from_millis(RESTART_MS));
    }

    fn now(&self) -> Now {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now {
            ms,
            unix_s: unix_s(),
        }
    }

    fn turn(&mut self, pool: &mut Pool) {
        let wait_ms = self.next_tick_ms.saturating_sub(self.now().ms);
        self.net.wait(Duration::from_millis(wait_ms));
        let now = self.now();
        while let Ok(mail) = self.mailbox.node.try_recv() {
            if let NodeMail::Close(done) = mail {
                self.closing = Some(done);
                return;
            }
            self.handle_node(pool, now, mail);
        }
        self.net.begin_turn(now.ms);
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
        while let Ok(mail) = self.mailbox.work.try_recv() {
            self.handle_work(pool, now, mail);
        }
        if now.ms >= self.next_tick_ms {
            self.next_tick_ms = now.ms + TICK_MS;
            self.handle(pool, now, Event::Tick);
            self.pulse.beat(pool, now, self.net.len());
        }
        if self.credits.len() >= CREDITS_PER_GROUP || !self.net.has_readable() {
            self.commit();
        }
        self.net.flush();
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
                self.perform_all();
            }
            ReadResult::Nothing => {}
            ReadResult::Gone => {
                self.net.drop_gone(conn);
                self.handle(pool, now, Event::Closed(conn));
            }
        }
    }

    fn handle_node(&mut self, pool: &mut Pool, now: Now, mail: NodeMail) {
        match mail {
            NodeMail::Tip(hash, height) => {
                self.view.tip = Some((hash, height));
                self.handle(pool, now, Event::Tip(hash));
                ask(&self.desks.store, StoreMail::Chain(height));
            }
            NodeMail::Template(parts) => match Template::new((*parts).clone()) {
                Ok(template) => {
                    let tip = Height(template.height.0.saturating_sub(1));
                    ask(&self.desks.store, StoreMail::Chain(tip));
                    self.view.template = Some(*parts);
                    self.view.no_template = None;
                    let begun = Instant::now();
                    self.handle(pool, now, Event::Template(Box::new(template)));
                    self.pulse.job_sent(begun);
                }
                Err(error) => {
                    let reason = format!("template refused: {error}");
                    self.handle_node(pool, now, NodeMail::NoTemplate(reason));
                }
            },
            NodeMail::Transactions(template, bytes) => {
                self.view.transactions = Some((template, bytes.clone()));
                self.handle(pool, now, Event::Transactions(template, bytes));
            }
            NodeMail::NoTemplate(reason) => {
                self.view.template = None;
                self.view.no_template = Some(reason.clone());
                self.handle(pool, now, Event::NoTemplate(reason));
            }
            NodeMail::BlockResult(hash, verdict) => {
                if !matches!(verdict, Verdict::Unknown(_)) {
                    self.unanswered.remove(&hash);
                }
                self.handle(pool, now, Event::BlockResult(hash, verdict));
            }
            NodeMail::Located(tip, places) => {
                ask(&self.desks.store, StoreMail::Located(tip, places));
            }
            NodeMail::ReloadCertificates => match &self.desks.certificates {
                Some(desk) => ask(desk, ()),
                None => self
                    .node
                    .log(Level::Info, "nothing to reload: no listener speaks TLS"),
            },
            NodeMail::SetAddress(mail) => ask(&self.desks.store, StoreMail::SetAddress(mail)),
            NodeMail::Close(_) => unreachable!("a close ends the turn"),
        }
    }

    fn handle_work(&mut self, pool: &mut Pool, now: Now, mail: WorkMail) {
        match mail {
            WorkMail::Durable(seq) => {
                self.settled = seq;
                self.handle(pool, now, Event::Durable(seq));
                self.pulse.settled(seq);
            }
            WorkMail::NotDurable(seq) => {
                self.settled = seq;
                self.handle(pool, now, Event::NotDurable(seq));
                self.pulse.settled(seq);
            }
            WorkMail::Ledger(state) => {
                self.ledger = state;
                self.handle(pool, now, Event::Ledger(state));
            }
            WorkMail::PasswordChecked(ticket, checked) => {
                self.handle(pool, now, Event::PasswordChecked(ticket, checked));
            }
            WorkMail::UserAdded(ticket, name, stored) => {
                if let Some(stored) = &stored {
                    self.users.insert(name, stored.clone());
                }
                self.handle(pool, now, Event::UserAdded(ticket, stored));
            }
            WorkMail::Certificate(certificate) => {
                self.net.use_certificate(certificate);
                self.node.log(Level::Info, "certificate reloaded");
            }
        }
    }

    fn handle(&mut self, pool: &mut Pool, now: Now, event: Event<'_>) {
        pool.handle(now, event, &mut self.actions);
        self.perform_all();
    }

    fn perform_all(&mut self) {
        if let Some(failure) = self.carry_out(None) {
            resume_unwind(failure);
        }
    }

    /// Carries out what the pool wants. A failure on the way, or before, leaves out what can be
    /// lost, and nothing else: a found block is kept whatever happens.
    fn carry_out(&mut self, mut failure: Option<Failure>) -> Option<Failure> {
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

    fn perform(&mut self, action: Action, bytes: &[u8]) {
        match action {
            Action::SubmitBlock(solution) => {
                self.unanswered
                    .insert(solution.hash, Unanswered::Found(solution.clone()));
                self.node.offer(Offer::Found(solution));
            }
            Action::Spool(solution, transactions) => {
                self.spool(SpoolMail::Put(solution, transactions));
            }
            Action::Record(credit) => {
                self.last = credit.seq;
                self.credits.push(credit);
            }
            Action::BlockFound(block) => {
                ask(&self.desks.store, StoreMail::BlockFound(block));
            }
            Action::BlockAnswered(hash, verdict) => {
                self.commit();
                ask(&self.desks.store, StoreMail::BlockAnswered(hash, verdict));
            }
            Action::Tally(tallied) => ask(&self.desks.store, StoreMail::Tally(tallied)),
            Action::Send(conn, _) => self.net.send(conn, bytes),
            Action::SendShared(conn, line) => self.net.send_shared(conn, &line),
            Action::Pause(conn) => self.net.pause(conn, true),
            Action::Resume(conn) => self.net.pause(conn, false),
            Action::Close(conn, how) => self.net.close(conn, how),
            Action::Listen(listening) => {
                if let Err(error) = self.net.listen(listening) {
                    self.node.log(
                        Level::Error,
                        &format!("failed to change listening: {error}"),
                    );
                }
            }
            Action::CheckPassword(ticket, stored, password) => {
                ask(
                    &self.desks.passwords,
                    PasswordMail(ticket, stored, password),
                );
            }
            Action::AddUser(ticket, user) => ask(&self.desks.users, UsersMail(ticket, user)),
            Action::Log(level, text) => self.node.log(level, &text),
        }
    }

    fn spool(&self, mail: SpoolMail) {
        if let Some(spool) = &self.desks.spool {
            ask(spool, mail);
        }
    }

    /// Hands what was recorded to the ledger.
    fn commit(&mut self) {
        if !self.credits.is_empty() {
            let credits = std::mem::take(&mut self.credits);
            self.pulse.recorded(self.last, credits.len());
            ask(&self.desks.store, StoreMail::Credits(credits));
        }
    }

    /// The last replies leave once their shares are durable or given up; then everybody is sent away.
    fn finish(&mut self, pool: &mut Pool) {
        self.commit();
        let deadline = Instant::now() + Duration::from_millis(FINISH_MS);
        while self.settled < self.last {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(mail) = self.mailbox.work.recv_timeout(left) else {
                break;
            };
            let now = self.now();
            self.handle_work(pool, now, mail);
            // A reply that leaves may let in lines that waited behind it.
            self.commit();
        }
        let now = self.now();
        self.handle(pool, now, Event::Stop);
        self.net.flush();
        self.net.reset_all();
    }
}

impl Unanswered {
    fn offer_again(&self) -> (FoundBlock, Offer) {
        match self {
            Self::Found(solution) => (FoundBlock::of(solution), Offer::Found(solution.clone())),
            Self::Spooled(found, raw) => {
                let offer = Offer::Spooled {
                    hash: found.hash,
                    raw: raw.clone(),
                };
                (FoundBlock::clone(found), offer)
            }
        }
    }
}

/// The threads behind the desks outlive the driver, whatever their disk does.
fn ask<T>(desk: &Sender<T>, mail: T) {
    assert!(
        desk.send(mail).is_ok(),
        "a thread of the server has ended before the driver"
    );
}
