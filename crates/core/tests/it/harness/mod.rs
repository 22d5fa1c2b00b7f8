//! A harness for one pool: miners, a node, a ledger and a password hasher, all in memory and driven by
//! the test. The invariants are checked after every event, in `test_miner` and here.

mod delivery;
mod environment;
mod node_events;
mod queries;
mod test_miner;
mod test_proxy;
pub(crate) mod transcript_words;
mod work;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hstratum_core::accounting::ledger::{Credit, Tallied, Verdict};
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::chain::block::{FoundBlock, Solution};
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::chain::template::RawTransactions;
use hstratum_core::event::{Action, Actions, Arrival, ArrivalKind, Event, Password};
use hstratum_core::operator_order::{NotWritten, Order, OrderId};
use hstratum_core::pool::Pool;
use hstratum_core::proxy;
use hstratum_core::units::{ConnId, Difficulty, Hash, Now, Seq};

pub(crate) use hstratum_harness::job::ReceivedJob;
use hstratum_harness::setup::stored;
pub(crate) use hstratum_harness::setup::{DIFFICULTY_TINY, Setup};
pub(crate) use hstratum_harness::test_chain::TestChain;
use test_miner::{TestMiner, name_of};
pub(crate) use test_proxy::Access;
use test_proxy::{InTransit, TestProxy};
pub(crate) use work::{SubmitFields, Want, payee, submit_line};

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
enum PendingWork {
    Durable(Seq),
    NotDurable(Seq),
    Checked(u64, Password),
    Added(u64, Result<StoredPassword, NotWritten>),
    Bytes(ConnId, Vec<u8>),
    Carried(InTransit),
}

/// The harness: the pool and its surroundings.
pub(crate) struct PoolHarness {
    pub(crate) chain: TestChain,
    /// Seconds by which the pool's clock is behind the chain.
    pub(crate) clock_behind_s: u64,
    /// True while nothing becomes durable.
    pub(crate) ledger_held: bool,
    /// True while recorded shares are given up.
    pub(crate) ledger_broken: bool,
    /// True while no password is checked and no user written.
    pub(crate) passwords_held: bool,
    /// The reason why users cannot be written now.
    pub(crate) refuses: Option<NotWritten>,
    pub(crate) output: Vec<Output>,
    pub(crate) records: Vec<Credit>,
    pub(crate) solutions: Vec<Arc<Solution>>,
    pub(crate) spooled: Vec<(Arc<Solution>, Arc<RawTransactions>)>,
    pub(crate) found: Vec<FoundBlock>,
    pub(crate) answered: Vec<(Hash, Verdict)>,
    pub(crate) tallied: Vec<Tallied>,
    /// Accounts whose sessions of the dashboard are to end.
    pub(crate) signed_out: Vec<String>,
    pub(crate) log: Vec<String>,
    /// Connections that are to be read first, or no more, in the order of the orders.
    pub(crate) read_first: Vec<(ConnId, bool)>,
    pub(crate) works: HashMap<String, ReceivedJob>,
    pool: Pool,
    access: Access,
    /// The proxy before the pool, if there is one.
    test_proxy: Option<Box<TestProxy>>,
    now: Now,
    difficulty: Difficulty,
    /// Recipient of the blocks of those that connect from now on.
    pub(crate) payout: Payout,
    /// Jobs of solo listeners are not sent.
    pub(crate) solo_jobs_held: bool,
    actions: Actions,
    miners: Vec<TestMiner>,
    questions: VecDeque<PendingWork>,
    settled: Seq,
    /// Ids of jobs that connections were sent in earlier events.
    dealt: HashSet<String>,
    dealt_now: Vec<String>,
}

impl PoolHarness {
    pub(crate) fn new(setup: &Setup) -> Self {
        let now = Now {
            ms: 1_000,
            unix_s: START_S,
        };
        Self {
            pool: Pool::new(setup.config(), setup.stored_users(), Seq(0), now),
            access: Access::Direct,
            test_proxy: None,
            now,
            difficulty: Difficulty::new(setup.difficulty).expect("a difficulty"),
            payout: setup.payout,
            solo_jobs_held: false,
            chain: TestChain::default(),
            clock_behind_s: 0,
            ledger_held: false,
            ledger_broken: false,
            passwords_held: false,
            refuses: None,
            output: Vec::new(),
            records: Vec::new(),
            solutions: Vec::new(),
            spooled: Vec::new(),
            found: Vec::new(),
            answered: Vec::new(),
            tallied: Vec::new(),
            signed_out: Vec::new(),
            log: Vec::new(),
            read_first: Vec::new(),
            works: HashMap::new(),
            actions: Actions::default(),
            miners: Vec::new(),
            questions: VecDeque::new(),
            settled: Seq(0),
            dealt: HashSet::new(),
            dealt_now: Vec::new(),
        }
    }

    /// A harness whose pool has a template.
    pub(crate) fn with_job(setup: &Setup) -> Self {
        Access::Direct.with_job(setup)
    }

    /// A harness with a job, and alice connected.
    pub(crate) fn with_alice() -> (Self, Miner) {
        Access::Direct.with_alice()
    }

    // Actions of the operator.

    /// Gives an order.
    pub(crate) fn order(&mut self, order: Order) {
        self.handle(Event::Order(OrderId(1), order));
    }

    // Actions of the miners.

    /// A new connection from an address of its own.
    pub(crate) fn connect(&mut self) -> Miner {
        let [high, low, ..] = (self.miners.len() as u16).to_le_bytes();
        self.connect_from(Ipv4Addr::new(10, 0, low, high))
    }

    /// A new connection of a miner.
    pub(crate) fn connect_from(&mut self, address: Ipv4Addr) -> Miner {
        self.arrive(IpAddr::V4(address), ArrivalKind::Miner)
    }

    /// A new connection; a free slot of the pool is used again.
    pub(crate) fn arrive(&mut self, address: IpAddr, kind: ArrivalKind) -> Miner {
        let open = self.miners.iter().filter(|test_miner| test_miner.is_open);
        let taken: HashSet<u64> = open
            .map(|test_miner| test_miner.conn.0 & 0xffff_ffff)
            .collect();
        let slot = (0..).find(|slot| !taken.contains(slot)).expect("a slot");
        let generation = self.miners.len() as u64 + 1;
        let conn = ConnId(generation << 32 | slot);
        self.miners.push(TestMiner::new(conn));
        let arrival = Arrival {
            address,
            kind,
            difficulty: self.difficulty,
            payout: self.payout,
        };
        match self.test_proxy {
            None => self.handle(Event::Connected(conn, arrival)),
            Some(_) => self.tell_test_proxy(proxy::ProxyEvent::Connected(conn, arrival)),
        }
        self.settle();
        Miner(self.miners.len() - 1)
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
            self.miners[miner.0].await_reply(line);
        }
        self.send_bytes(miner, format!("{lines}\n").as_bytes());
    }

    /// Expects a reply to a request that is sent as bytes.
    pub(crate) fn await_reply(&mut self, miner: Miner, line: &str) {
        self.miners[miner.0].await_reply(line);
    }

    /// Sends any bytes; on a paused connection they wait, as in a socket's buffer.
    pub(crate) fn send_bytes(&mut self, miner: Miner, bytes: &[u8]) {
        let test_miner = &mut self.miners[miner.0];
        assert!(test_miner.is_open, "a closed connection says nothing");
        test_miner.inbox.push_back(bytes.to_vec());
        self.settle();
    }

    /// Stops checking the ids of replies from here on.
    pub(crate) fn ignore_replies(&mut self, miner: Miner) {
        self.miners[miner.0].ignores_replies = true;
    }

    pub(crate) fn close(&mut self, miner: Miner) {
        let test_miner = &mut self.miners[miner.0];
        test_miner.is_open = false;
        test_miner.inbox.clear();
        let conn = test_miner.conn;
        match self.test_proxy {
            None => self.handle(Event::Closed(conn)),
            Some(_) => self.tell_test_proxy(proxy::ProxyEvent::Closed(conn)),
        }
        self.settle();
    }

    pub(crate) fn is_open(&self, miner: Miner) -> bool {
        self.miners[miner.0].is_open
    }

    pub(crate) fn is_paused(&self, miner: Miner) -> bool {
        self.miners[miner.0].is_paused
    }

    /// Count of requests without an answer.
    pub(crate) fn unanswered(&self, miner: Miner) -> usize {
        self.miners[miner.0].awaited.len()
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
    pub(crate) fn job(&self, miner: Miner) -> ReceivedJob {
        self.job_before(miner, 0)
    }

    /// The job that came `back` jobs before a miner's last one.
    pub(crate) fn job_before(&self, miner: Miner, back: usize) -> ReceivedJob {
        let mut jobs = self.miners[miner.0].jobs.iter().rev();
        jobs.nth(back).expect("so many jobs were sent").clone()
    }

    /// Count of jobs sent to a miner.
    pub(crate) fn job_count(&self, miner: Miner) -> usize {
        self.miners[miner.0].jobs.len()
    }

    pub(crate) fn extra_nonce1(&self, miner: Miner) -> u32 {
        self.miners[miner.0].extra_nonce1.unwrap_or(0)
    }

    /// Finds a solution of the wanted kind for a job; never the same one twice.
    pub(crate) fn find(
        &mut self,
        miner: Miner,
        work: &ReceivedJob,
        want: Want,
        time: u32,
    ) -> SubmitFields {
        let n1 = self.extra_nonce1(miner);
        let test_miner = &mut self.miners[miner.0];
        let from = SubmitFields {
            n2: 0,
            time,
            nonce: test_miner.next_nonce,
        };
        let found = want.find(work, n1, from);
        test_miner.next_nonce = found.nonce + 1;
        found
    }

    /// Finds a solution and submits it; the user is alice, the id 9.
    pub(crate) fn submit(&mut self, miner: Miner, work: &ReceivedJob, want: Want) -> String {
        let found = self.find(miner, work, want, work.time);
        let line = submit_line("9", "alice", &work.id, &found);
        self.send(miner, &line);
        line
    }

    pub(crate) fn handle(&mut self, event: Event<'_>) {
        let is_tick = matches!(event, Event::Tick);
        self.step(event);
        self.settle();
        if self.access == Access::ThroughProxy && !is_tick {
            self.probe_through_proxy();
        }
    }

    /// Carries out everything owed, until nothing is left.
    fn settle(&mut self) {
        while let Some(due) = self.next_pending() {
            match due {
                PendingWork::Durable(seq) => self.step(Event::Durable(seq)),
                PendingWork::NotDurable(seq) => self.step(Event::NotDurable(seq)),
                PendingWork::Checked(ticket, is) => self.step(Event::PasswordChecked(ticket, is)),
                PendingWork::Added(ticket, stored) => self.step(Event::UserAdded(ticket, stored)),
                PendingWork::Bytes(conn, bytes) if self.test_proxy.is_some() => {
                    self.tell_test_proxy(proxy::ProxyEvent::Received(conn, &bytes));
                }
                PendingWork::Bytes(conn, bytes) => self.step(Event::Received(conn, &bytes)),
                PendingWork::Carried(wire) => self.carry(wire),
            }
        }
    }

    fn next_pending(&mut self) -> Option<PendingWork> {
        let recorded = self.records.last().map_or(Seq(0), |credit| credit.seq);
        if !self.ledger_held && self.settled < recorded {
            self.settled = recorded;
            return Some(match self.ledger_broken {
                true => PendingWork::NotDurable(recorded),
                false => PendingWork::Durable(recorded),
            });
        }
        if !self.passwords_held && !self.questions.is_empty() {
            return self.questions.pop_front();
        }
        let test_proxy = self.test_proxy.as_mut();
        if let Some(wire) = test_proxy.and_then(|test_proxy| test_proxy.wires.pop_front()) {
            return Some(PendingWork::Carried(wire));
        }
        let mut ready = self
            .miners
            .iter_mut()
            .filter(|test_miner| !test_miner.is_paused);
        ready.find_map(|test_miner| {
            Some(PendingWork::Bytes(
                test_miner.conn,
                test_miner.inbox.pop_front()?,
            ))
        })
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
        if self.pool.owes_solo_jobs() && !self.solo_jobs_held {
            self.step(Event::SoloJobs);
        }
    }

    /// The miner whose connection it is, or was last.
    fn owner_of(&self, conn: ConnId) -> Miner {
        let miner = self.miners.iter().rposition(|miner| miner.conn == conn);
        Miner(miner.expect("a connection of this harness"))
    }

    fn perform(&mut self, action: Action, bytes: &[u8]) {
        if self.perform_for_test_proxy(&action, bytes) {
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
        let miner = conn.map(|conn| self.owner_of(conn));
        if let Some(text) = name_of(&action) {
            self.output.push(Output::Effect(miner, text));
        }
        match action {
            Action::Send(..) => self.deliver(miner.expect("somebody's bytes"), bytes),
            Action::SendShared(_, line) => self.deliver(miner.expect("somebody's line"), &line),
            Action::Pause(_) => self.test_miner(miner).pause(true),
            Action::Resume(_) => self.test_miner(miner).pause(false),
            Action::Close(..) => self.test_miner(miner).end(),
            Action::SubmitBlock(solution) => {
                solution.verify().expect("a block that is offered is valid");
                self.solutions.push(solution);
            }
            Action::Spool(solution, transactions) => {
                let raw = solution.encode(&transactions);
                let block = FoundBlock::parse(&raw, solution.payout()).expect("a whole block");
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
            Action::SignOut(account) => self.signed_out.push(account),
            // Where accounts are paid is the ledger's.
            Action::NewPassword(_) => {}
            Action::Log(_, text) => self.log.push(text),
            Action::ReadFirst(conn, is_first) => self.read_first.push((conn, is_first)),
            Action::Tally(tallied) => self.tallied.extend(tallied),
            Action::CheckPassword(ticket, kept, password) => {
                let checked = match kept == stored(&password) {
                    true => Password::Right,
                    false => Password::Wrong,
                };
                self.questions
                    .push_back(PendingWork::Checked(ticket, checked));
            }
            Action::AddUser(ticket, user, _) => {
                let hash = stored(&user.password);
                let kept = self.written(if user.is_locked { hash.locked() } else { hash });
                self.questions.push_back(PendingWork::Added(ticket, kept));
            }
            Action::KeepUser(ticket, _, password) => {
                let kept = self.written(password);
                self.questions.push_back(PendingWork::Added(ticket, kept));
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

    fn test_miner(&mut self, miner: Option<Miner>) -> &mut TestMiner {
        &mut self.miners[miner.expect("a connection of this table").0]
    }
}
