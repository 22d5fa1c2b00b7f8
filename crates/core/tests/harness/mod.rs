//! A harness for one pool: miners, a node, a ledger and a password hasher, all in memory and driven by
//! the test. The invariants are checked after every event, in `seat` and here.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test file uses its part of the harness"
)]

mod census;
mod delivery;
mod front;
mod node;
mod node_says;
mod seat;
pub(crate) mod setup;
pub(crate) mod words;
mod work;
mod world;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hstratum_core::accounting::ledger::{Credit, Tallied};
use hstratum_core::accounts::ban::Ban;
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::chain::block::{FoundBlock, Solution, Verdict};
use hstratum_core::chain::template::RawTransactions;
use hstratum_core::event::{Action, Actions, Arrival, ArrivalKind, Event, Password};
use hstratum_core::order::{NotWritten, Order, OrderId, UserChange};
use hstratum_core::pool::Pool;
use hstratum_core::proxy;
use hstratum_core::units::{ConnId, Difficulty, Hash, Now, Seq};

use front::{Front, Wire};
pub(crate) use front::{SCORE_LIMIT, differs_behind_a_proxy};
pub(crate) use node::Chain;
use seat::{Seat, name_of};
use setup::stored;
pub(crate) use setup::{DIFFICULTY_TINY, Setup};
pub(crate) use work::{Found, Want, Work, submit_line};

/// Unix time at the start, in seconds.
const START_S: u64 = 1_700_000_000;
/// The server's tick, in milliseconds.
const TICK_MS: u64 = 250;

/// A miner of the harness, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Miner(usize);

/// Output of the pool, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// A line for a miner.
    Line(Miner, String),
    /// Any other action in words; with a miner if it is about one.
    Effect(Option<Miner>, String),
}

/// An answer that the pool's surroundings owe it.
enum Due {
    Durable(Seq),
    NotDurable(Seq),
    Checked(u64, Password),
    Added(u64, Result<StoredPassword, NotWritten>),
    Bytes(ConnId, Vec<u8>),
    Carried(Wire),
}

/// The harness: the pool and its surroundings.
pub(crate) struct Table {
    pub(crate) chain: Chain,
    /// Seconds by which the pool's clock is behind the chain.
    pub(crate) clock_behind_s: u64,
    /// True while nothing becomes durable.
    pub(crate) ledger_held: bool,
    /// True while recorded shares are given up.
    pub(crate) ledger_broken: bool,
    /// True while no password is checked and no user written.
    pub(crate) clerk_held: bool,
    /// The reason why users cannot be written now.
    pub(crate) refuses: Option<NotWritten>,
    pub(crate) output: Vec<Output>,
    pub(crate) records: Vec<Credit>,
    pub(crate) solutions: Vec<Arc<Solution>>,
    pub(crate) spooled: Vec<(Arc<Solution>, Arc<RawTransactions>)>,
    pub(crate) found: Vec<FoundBlock>,
    pub(crate) answered: Vec<(Hash, Verdict)>,
    pub(crate) tallied: Vec<Tallied>,
    pub(crate) log: Vec<String>,
    pub(crate) works: HashMap<String, Work>,
    pool: Pool,
    /// The proxy before the pool, if there is one.
    front: Option<Box<Front>>,
    now: Now,
    difficulty: Difficulty,
    actions: Actions,
    seats: Vec<Seat>,
    questions: VecDeque<Due>,
    settled: Seq,
    /// Ids of jobs that connections were sent in earlier events.
    dealt: HashSet<String>,
    dealt_now: Vec<String>,
}

impl Table {
    pub(crate) fn new(setup: &Setup) -> Self {
        let now = Now {
            ms: 1_000,
            unix_s: START_S,
        };
        let table = Self {
            pool: Pool::new(setup.config(), setup.stored_users(), Seq(0), now),
            front: None,
            now,
            difficulty: Difficulty::new(setup.difficulty).expect("a difficulty"),
            chain: Chain::new(),
            clock_behind_s: 0,
            ledger_held: false,
            ledger_broken: false,
            clerk_held: false,
            refuses: None,
            output: Vec::new(),
            records: Vec::new(),
            solutions: Vec::new(),
            spooled: Vec::new(),
            found: Vec::new(),
            answered: Vec::new(),
            tallied: Vec::new(),
            log: Vec::new(),
            works: HashMap::new(),
            actions: Actions::default(),
            seats: Vec::new(),
            questions: VecDeque::new(),
            settled: Seq(0),
            dealt: HashSet::new(),
            dealt_now: Vec::new(),
        };
        match front::IS_EVERYWHERE {
            true => table.behind_a_proxy(setup.public_host.clone()),
            false => table,
        }
    }

    /// A harness whose pool has a template.
    pub(crate) fn with_job(setup: &Setup) -> Self {
        let mut table = Self::new(setup);
        table.template();
        table
    }

    /// A harness with a job, and alice connected.
    pub(crate) fn with_alice() -> (Self, Miner) {
        let mut table = Self::with_job(&Setup::default());
        let alice = table.miner("alice");
        table.lines(alice);
        (table, alice)
    }

    // Actions of the operator.

    /// Gives an order.
    pub(crate) fn order(&mut self, order: Order) {
        self.handle(Event::Order(OrderId(1), order));
    }

    // Actions of the miners.

    /// A new connection from an address of its own.
    pub(crate) fn connect(&mut self) -> Miner {
        let [high, low, ..] = (self.seats.len() as u16).to_le_bytes();
        self.connect_from(Ipv4Addr::new(10, 0, low, high))
    }

    /// A new connection of a miner.
    pub(crate) fn connect_from(&mut self, address: Ipv4Addr) -> Miner {
        self.arrive(IpAddr::V4(address), ArrivalKind::Miner)
    }

    /// A new connection; a free slot of the pool is used again.
    pub(crate) fn arrive(&mut self, address: IpAddr, kind: ArrivalKind) -> Miner {
        let open = self.seats.iter().filter(|seat| seat.is_open);
        let taken: HashSet<u64> = open.map(|seat| seat.conn.0 & 0xffff_ffff).collect();
        let slot = (0..).find(|slot| !taken.contains(slot)).expect("a slot");
        let generation = self.seats.len() as u64 + 1;
        let conn = ConnId(generation << 32 | slot);
        self.seats.push(Seat::new(conn));
        let arrival = Arrival {
            address,
            kind,
            difficulty: self.difficulty,
        };
        match self.front {
            None => self.handle(Event::Connected(conn, arrival)),
            Some(_) => self.tell_front(proxy::ProxyEvent::Connected(conn, arrival)),
        }
        self.settle();
        Miner(self.seats.len() - 1)
    }

    /// A connection with a user and its first job.
    pub(crate) fn miner(&mut self, user: &str) -> Miner {
        let miner = self.connect();
        self.login(miner, user);
        miner
    }

    /// Subscribes and authorizes.
    pub(crate) fn login(&mut self, miner: Miner, user: &str) {
        let authorize =
            format!(r#"{{"id":2,"method":"mining.authorize","params":["{user}","x"]}}"#);
        self.send(
            miner,
            r#"{"id":1,"method":"mining.subscribe","params":["agent"]}"#,
        );
        self.send(miner, &authorize);
    }

    /// Sends one line, or several with newlines between them in one piece. Each line with an id must be
    /// answered, in order.
    pub(crate) fn send(&mut self, miner: Miner, lines: &str) {
        for line in lines.split('\n') {
            self.seats[miner.0].await_reply(line);
        }
        self.send_bytes(miner, format!("{lines}\n").as_bytes());
    }

    /// Expects a reply to a request that is sent as bytes.
    pub(crate) fn await_reply(&mut self, miner: Miner, line: &str) {
        self.seats[miner.0].await_reply(line);
    }

    /// Sends any bytes; on a paused connection they wait, as in a socket's buffer.
    pub(crate) fn send_bytes(&mut self, miner: Miner, bytes: &[u8]) {
        let seat = &mut self.seats[miner.0];
        assert!(seat.is_open, "a closed connection says nothing");
        seat.inbox.push_back(bytes.to_vec());
        self.settle();
    }

    /// Stops checking the ids of replies from here on.
    pub(crate) fn ignore_replies(&mut self, miner: Miner) {
        self.seats[miner.0].ignores_replies = true;
    }

    pub(crate) fn close(&mut self, miner: Miner) {
        let seat = &mut self.seats[miner.0];
        seat.is_open = false;
        seat.inbox.clear();
        let conn = seat.conn;
        match self.front {
            None => self.handle(Event::Closed(conn)),
            Some(_) => self.tell_front(proxy::ProxyEvent::Closed(conn)),
        }
        self.settle();
    }

    pub(crate) fn is_open(&self, miner: Miner) -> bool {
        self.seats[miner.0].is_open
    }

    pub(crate) fn is_paused(&self, miner: Miner) -> bool {
        self.seats[miner.0].is_paused
    }

    /// Count of requests without an answer.
    pub(crate) fn unanswered(&self, miner: Miner) -> usize {
        self.seats[miner.0].awaited.len()
    }

    /// The lines that a miner has received since the last call.
    pub(crate) fn lines(&mut self, miner: Miner) -> Vec<String> {
        let mut lines = Vec::new();
        self.output.retain(|output| match output {
            Output::Line(to, line) if *to == miner => {
                lines.push(line.clone());
                false
            }
            _ => true,
        });
        lines
    }

    /// The last job of a miner.
    pub(crate) fn job(&self, miner: Miner) -> Work {
        self.job_before(miner, 0)
    }

    /// The job that came `back` jobs before a miner's last one.
    pub(crate) fn job_before(&self, miner: Miner, back: usize) -> Work {
        let mut jobs = self.seats[miner.0].jobs.iter().rev();
        jobs.nth(back).expect("so many jobs were sent").clone()
    }

    /// Count of jobs sent to a miner.
    pub(crate) fn job_count(&self, miner: Miner) -> usize {
        self.seats[miner.0].jobs.len()
    }

    pub(crate) fn extra_nonce1(&self, miner: Miner) -> u32 {
        self.seats[miner.0].extra_nonce1.unwrap_or(0)
    }

    /// Finds a solution of the wanted kind for a job; never the same one twice.
    pub(crate) fn find(&mut self, miner: Miner, work: &Work, want: Want, time: u32) -> Found {
        let n1 = self.extra_nonce1(miner);
        let seat = &mut self.seats[miner.0];
        let from = Found {
            n2: 0,
            time,
            nonce: seat.next_nonce,
        };
        let found = work.find(want, n1, from);
        seat.next_nonce = found.nonce + 1;
        found
    }

    /// Finds a solution and submits it; the user is alice, the id 9.
    pub(crate) fn submit(&mut self, miner: Miner, work: &Work, want: Want) -> String {
        let found = self.find(miner, work, want, work.time);
        let line = submit_line("9", "alice", &work.id, &found);
        self.send(miner, &line);
        line
    }

    fn handle(&mut self, event: Event<'_>) {
        let is_tick = matches!(event, Event::Tick);
        self.step(event);
        self.settle();
        if front::IS_EVERYWHERE && !is_tick {
            self.look_through_front();
        }
    }

    /// Carries out everything owed, until nothing is left.
    fn settle(&mut self) {
        while let Some(due) = self.next_due() {
            match due {
                Due::Durable(seq) => self.step(Event::Durable(seq)),
                Due::NotDurable(seq) => self.step(Event::NotDurable(seq)),
                Due::Checked(ticket, is) => self.step(Event::PasswordChecked(ticket, is)),
                Due::Added(ticket, stored) => self.step(Event::UserAdded(ticket, stored)),
                Due::Bytes(conn, bytes) if self.front.is_some() => {
                    self.tell_front(proxy::ProxyEvent::Received(conn, &bytes));
                }
                Due::Bytes(conn, bytes) => self.step(Event::Received(conn, &bytes)),
                Due::Carried(wire) => self.carry(wire),
            }
        }
    }

    fn next_due(&mut self) -> Option<Due> {
        let recorded = self.records.last().map_or(Seq(0), |credit| credit.seq);
        if !self.ledger_held && self.settled < recorded {
            self.settled = recorded;
            return Some(match self.ledger_broken {
                true => Due::NotDurable(recorded),
                false => Due::Durable(recorded),
            });
        }
        if !self.clerk_held && !self.questions.is_empty() {
            return self.questions.pop_front();
        }
        let front = self.front.as_mut();
        if let Some(wire) = front.and_then(|front| front.wires.pop_front()) {
            return Some(Due::Carried(wire));
        }
        let mut ready = self.seats.iter_mut().filter(|seat| !seat.is_paused);
        ready.find_map(|seat| Some(Due::Bytes(seat.conn, seat.inbox.pop_front()?)))
    }

    fn step(&mut self, event: Event<'_>) {
        let mut actions = std::mem::take(&mut self.actions);
        self.pool.handle(self.now, event, &mut actions);
        let is_block = |action: &Action| matches!(action, Action::SubmitBlock(_));
        let blocks = actions.list().iter().filter(|action| is_block(action));
        let leading = actions.list().iter().take_while(|action| is_block(action));
        assert_eq!(blocks.count(), leading.count(), "a block leaves first");
        actions.drain(|action, bytes| self.perform(action, bytes));
        self.actions = actions;
        self.dealt.extend(self.dealt_now.drain(..));
    }

    fn perform(&mut self, action: Action, bytes: &[u8]) {
        if self.perform_for_front(&action, bytes) {
            return;
        }
        let conn = match &action {
            Action::Send(conn, _)
            | Action::SendShared(conn, _)
            | Action::Pause(conn)
            | Action::Resume(conn)
            | Action::Close(conn, _) => Some(*conn),
            _ => None,
        };
        let miner = conn.map(|conn| {
            let seat = self.seats.iter().rposition(|seat| seat.conn == conn);
            Miner(seat.expect("a connection of this table"))
        });
        if let Some(text) = name_of(&action) {
            self.output.push(Output::Effect(miner, text));
        }
        match action {
            Action::Send(..) => self.deliver(miner.expect("somebody's bytes"), bytes),
            Action::SendShared(_, line) => self.deliver(miner.expect("somebody's line"), &line),
            Action::Pause(_) => self.seat(miner).pause(true),
            Action::Resume(_) => self.seat(miner).pause(false),
            Action::Close(..) => self.seat(miner).end(),
            Action::SubmitBlock(solution) => {
                solution.verify().expect("a block that is offered is valid");
                self.solutions.push(solution);
            }
            Action::Spool(solution, transactions) => {
                let raw = solution.encode(&transactions);
                let block = FoundBlock::parse(&raw).expect("a whole block");
                assert_eq!(block.hash, solution.hash);
                self.spooled.push((solution, transactions));
            }
            Action::Record(credit) => {
                let last = self.records.last().map_or(0, |last| last.seq.0);
                assert_eq!(credit.seq, Seq(last + 1), "no number is left out");
                self.records.push(credit);
            }
            Action::BlockFound(block) => self.found.push(*block),
            Action::BlockAnswered(hash, verdict) => self.answered.push((hash, verdict)),
            Action::Log(_, text) => self.log.push(text),
            Action::Tally(tallied) => self.tallied.extend(tallied),
            Action::CheckPassword(ticket, kept, password) => {
                let is_right = kept == stored(&password);
                let checked = if is_right {
                    Password::Right
                } else {
                    Password::Wrong
                };
                self.questions.push_back(Due::Checked(ticket, checked));
            }
            Action::AddUser(ticket, user, _) => {
                let hash = stored(&user.password);
                let kept = self.written(if user.is_locked { hash.locked() } else { hash });
                self.questions.push_back(Due::Added(ticket, kept));
            }
            Action::KeepUser(ticket, _, password) => {
                let kept = self.written(password);
                self.questions.push_back(Due::Added(ticket, kept));
            }
            Action::Listen(_)
            | Action::Admitted(_)
            | Action::Proven(_)
            | Action::KeepBans(..)
            | Action::Answer(..) => {}
        }
    }

    /// The result of writing a user.
    fn written(&self, password: StoredPassword) -> Result<StoredPassword, NotWritten> {
        self.refuses.map_or(Ok(password), Err)
    }

    fn seat(&mut self, miner: Option<Miner>) -> &mut Seat {
        &mut self.seats[miner.expect("a connection of this table").0]
    }
}
