//! The simulated world: its clock, its parts, and the loop that lets one thing happen after the
//! other. What each part does is in the module of that name.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fastrand::Rng;
use hstratum::node::{Asked, Look};
use hstratum_core::chain::block::Verdict;
use hstratum_core::chain::template::TemplateParts;
use hstratum_core::event::Password;
use hstratum_core::units::{ConnId, Hash, Height, Now};

use crate::Report;
use crate::agenda::Agenda;
use crate::book::Book;
use crate::chain::Chain;
use crate::counts::Counts;
use crate::disk::{Disk, Kept};
use crate::miner::Miner;
use crate::net::{Cord, Net};
use crate::node::Node;
use crate::plan::{Faults, Injected, Plan, wait};
use crate::plant::Plant;
use crate::server::Process;
use crate::trace::Trace;

/// The clock's start, Unix seconds.
pub(crate) const START_S: u64 = 1_700_000_000;

/// Everything that can happen.
pub(crate) enum What {
    /// The process starts.
    Start,
    /// The driver has a turn, in this process.
    Turn(u32),
    /// The pool that failed is replaced.
    NewPool(u32),
    /// The ledger's thread looks at its mail; the number says which wake-up it is.
    StoreWake(u32, u64),
    /// The ledger's thread has come to the end of a commit.
    StoreDone(u32),
    /// The spool's thread does its next piece of work.
    Spool(u32),
    /// The thread that writes dumps looks for what is owed.
    Dumps(u32),
    /// A password was checked.
    Checked(u32, u64, Password),
    /// The thread that writes users goes on.
    Users(u32),
    /// The node tells the server something.
    NodeSays(u32, NodeMail),
    /// The node makes its template of this number.
    Template(u32, u64),
    /// The mempool has changed.
    Refresh,
    /// Somebody else finds a block.
    OthersBlock,
    /// The chain goes another way, and perhaps back.
    Reorganise,
    /// The branch with this tip is longer again.
    Back(Hash),
    /// The chain is lost, or wound back.
    LoseChain,
    /// Peers send a block.
    PeersSend(Hash, Hash),
    /// A block is offered to the node.
    Offer(u32, Offer),
    /// The node comes to its verdict.
    Judge(u32, Offer, NodeFate),
    /// The node says where blocks are.
    Locate(u32, Vec<Asked>),
    /// A miner tries to connect.
    Connect(usize),
    /// Its attempt comes to the server.
    Arrive(usize),
    /// It is answered: connected, or refused.
    Answered(usize, Option<ConnId>),
    /// Bytes arrive.
    ToServer(ConnId, Vec<u8>),
    ToMiner(ConnId, Vec<u8>),
    /// The other end is gone.
    ServerGone(ConnId),
    MinerGone(ConnId),
    /// A miner finds a share for its work of this number.
    Share(usize, u64),
    /// A miner sends a share again that was refused for the ledger's sake.
    Resend(usize, Hash),
    /// A hostile miner does something.
    Mischief(usize, u64),
    /// An admin wants something.
    Order(usize, u64),
    /// A miner looks whether the server is still there.
    Patience(usize),
    /// A fault that happens by itself.
    Fault(FaultKind),
    /// The driver waits no longer for the ledger.
    Finish(u32),
    /// The threads of a process that stops are looked at.
    Gone(u32),
    /// Everybody is looked at.
    Survey,
    /// The faults stop.
    Heal,
    /// Mining stops.
    Rest,
    /// Everybody hangs up.
    Leave,
    /// The end.
    End,
}

/// What the node tells the server.
#[derive(Clone)]
pub(crate) enum NodeMail {
    Tip(Hash, Height),
    Template(Box<TemplateParts>),
    Transactions(u64, Arc<[u8]>),
    NoTemplate(String),
    BlockResult(Hash, Verdict),
    Located(Look),
}

/// A block for the node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) hash: Hash,
    pub(crate) prev: Hash,
}

/// What the node does with an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeFate {
    Judges,
    Refuses,
    /// It takes the block and cannot say so.
    ForgetsAfter,
    /// It does not even take it.
    Forgets,
}

/// Faults that come by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    Crash,
    PowerCut,
    PoolPanic,
    Stop,
    ClockStep,
    NoTemplate,
    TemplateStorm,
    FullDisk,
    BusyLedger,
    HungDisk,
    Cut,
    HalfOpen,
}

/// A stream of random numbers for each part, so that one part's draws do not move another's.
pub(crate) struct Rngs {
    pub(crate) chain: Rng,
    pub(crate) node: Rng,
    pub(crate) net: Rng,
    pub(crate) disk: Rng,
    pub(crate) fault: Rng,
    pub(crate) server: Rng,
}

/// Whose chain a world's node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChainIs {
    /// Its own: others find blocks for it alone.
    Own,
    /// One that several nodes share, so that somebody else brings blocks.
    Shared,
}

/// What ends a process or a pool in the middle of its actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doom {
    Crash,
    PowerCut,
    PoolPanic,
}

/// See the module.
pub(crate) struct World {
    pub(crate) now_ms: u64,
    pub(crate) step: u64,
    pub(crate) agenda: Agenda<What>,
    pub(crate) trace: Trace,
    pub(crate) plan: Plan,
    /// What can go wrong now.
    pub(crate) faults: Faults,
    pub(crate) injected: Injected,
    pub(crate) rngs: Rngs,
    pub(crate) chain: Chain,
    pub(crate) node: Node,
    pub(crate) net: Net,
    pub(crate) miners: Vec<Miner>,
    pub(crate) disk: Disk,
    pub(crate) book: Book,
    pub(crate) plant: Option<Plant>,
    /// The process, while there is one, and how many there were.
    pub(crate) process: Option<Process>,
    pub(crate) boot: u32,
    /// This happens in the driver's next turn.
    pub(crate) doom: Option<Doom>,
    /// It has happened.
    pub(crate) doomed: Option<Doom>,
    /// Tips as the pool was told them, with the time; the last ones.
    pub(crate) told: VecDeque<(u64, Hash)>,
    /// The parent of the pool's newest job, and since when.
    pub(crate) job_on: Option<(u64, Hash)>,
    /// No block of others after this, so that all that is known can be said.
    pub(crate) rest_until_ms: u64,
    /// Templates that the pool was given, by time; the last ones.
    pub(crate) templates_told: VecDeque<u64>,
    /// When something last went wrong for everybody.
    pub(crate) trouble_ms: u64,
    /// When the ledger last refused something.
    pub(crate) ledger_trouble_ms: Option<u64>,
    /// The most that the pool ever kept, by name.
    pub(crate) largest: BTreeMap<&'static str, usize>,
    /// Until when which host is refused.
    pub(crate) bans: BTreeMap<u8, u64>,
    /// How far this machine's clock is from the true time, and when that last changed.
    pub(crate) clock_off_s: i64,
    pub(crate) clock_set_ms: u64,
    /// What became of shares since the last pool began.
    pub(crate) counts: Counts,
    /// Users that an admin was told are added, and their addresses.
    pub(crate) added: BTreeMap<String, Option<String>>,
    pub(crate) is_over: bool,
    /// Where others find blocks, if not here.
    pub(crate) chain_is: ChainIs,
    /// What has come for a proxy on its connections, or that they are gone.
    pub(crate) to_proxy: Vec<(Cord, Option<Vec<u8>>)>,
    /// Since when its process has run without a stop, for what has to be done in time.
    pub(crate) thawed_ms: u64,
    /// Blocks whose reward was divided and checked.
    pub(crate) settled: u64,
}

/// Notes a line in the trace.
macro_rules! note {
    ($world:expr, $($arg:tt)*) => {
        $world.trace.note($world.now_ms, format_args!($($arg)*))
    };
}
pub(crate) use note;

/// After the faults have stopped: until everything must be well again, and until the end.
pub(crate) const HEALED_MS: u64 = 400_000;
/// Between the last miner's leave and the end.
const LEFT_MS: u64 = 30_000;
/// From then on nobody mines.
pub(crate) const REST_MS: u64 = HEALED_MS + 60_000;

impl World {
    pub(crate) fn new(seed: u64, plan: Plan, plant: Option<Plant>, prints: bool) -> Self {
        let mut root = Rng::with_seed(seed ^ 0x5eed_5eed);
        let kept = if seed.is_multiple_of(2) {
            Kept::InSqlite
        } else {
            Kept::InModel
        };
        let miners = plan.miners.iter().cloned();
        let miners = miners.map(|plan| Miner::new(plan, root.fork())).collect();
        let rngs = Rngs {
            chain: root.fork(),
            node: root.fork(),
            net: root.fork(),
            disk: root.fork(),
            fault: root.fork(),
            server: root.fork(),
        };
        Self {
            now_ms: 0,
            step: 0,
            agenda: Agenda::new(),
            trace: Trace::new(prints),
            faults: plan.faults.clone(),
            injected: Injected::new(),
            rngs,
            chain: Chain::new(),
            node: Node::new(plan.hashes_per_block),
            net: Net::new(plant),
            miners,
            disk: Disk::new(plan.network, kept, plant),
            book: Book::default(),
            plant,
            process: None,
            boot: 0,
            doom: None,
            doomed: None,
            told: VecDeque::new(),
            job_on: None,
            rest_until_ms: u64::MAX,
            templates_told: VecDeque::new(),
            trouble_ms: 0,
            ledger_trouble_ms: None,
            largest: BTreeMap::new(),
            bans: BTreeMap::new(),
            clock_off_s: 0,
            clock_set_ms: 0,
            counts: Counts::default(),
            added: BTreeMap::new(),
            is_over: false,
            chain_is: ChainIs::Own,
            to_proxy: Vec::new(),
            thawed_ms: 0,
            settled: 0,
            plan,
        }
    }

    /// Runs to the end of the plan, or for so many steps.
    pub(crate) fn run(&mut self, steps_max: u64) {
        self.begin();
        while !self.is_over
            && self.step < steps_max
            && let Some((at_ms, what)) = self.agenda.next()
        {
            assert!(at_ms >= self.now_ms, "the lab's time goes back");
            self.now_ms = at_ms;
            self.take_step(what);
        }
    }

    /// One thing happens.
    pub(crate) fn take_step(&mut self, what: What) {
        self.step += 1;
        self.happen(what);
        if let Some(doom) = self.doomed.take() {
            self.meet(doom);
        }
        self.settle_book();
        self.count_sizes();
    }

    pub(crate) fn begin(&mut self) {
        self.after(0, What::Start);
        for miner in 0..self.miners.len() {
            let delay_ms = self.rngs.net.u64(100..20_000);
            self.after(delay_ms, What::Connect(miner));
            self.after(10_000, What::Patience(miner));
        }
        self.after(1_000, What::OthersBlock);
        self.after(30_000, What::Refresh);
        self.after(5_000, What::Survey);
        if let Some(mean_ms) = self.faults.reorganise_ms {
            let delay_ms = wait(&mut self.rngs.fault, mean_ms as f64);
            self.after(delay_ms, What::Reorganise);
        }
        if let Some(mean_ms) = self.faults.lost_chain_ms {
            let delay_ms = wait(&mut self.rngs.fault, mean_ms as f64);
            self.after(delay_ms, What::LoseChain);
        }
        for kind in FaultKind::ALL {
            self.plan_fault(kind);
        }
        let faulty_ms = self.plan.faulty_ms;
        self.after(faulty_ms, What::Heal);
        self.after(faulty_ms + REST_MS, What::Rest);
        self.after(faulty_ms + REST_MS + HEALED_MS - LEFT_MS, What::Leave);
        self.after(faulty_ms + REST_MS + HEALED_MS, What::End);
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            ms: self.now_ms,
            unix_s: self.true_s().saturating_add_signed(self.clock_off_s),
        }
    }

    /// What a clock would show that is right, Unix seconds.
    pub(crate) fn true_s(&self) -> u64 {
        START_S + self.now_ms / 1000
    }

    pub(crate) fn after(&mut self, delay_ms: u64, what: What) {
        self.agenda.add(self.now_ms + delay_ms, what);
    }

    /// Counts a fault.
    pub(crate) fn inject(&mut self, name: &'static str) {
        *self.injected.entry(name).or_default() += 1;
    }

    pub(crate) fn is_healed(&self) -> bool {
        self.now_ms >= self.plan.faulty_ms
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Start => self.start_process(),
            What::Turn(boot) if boot == self.boot => self.turn(),
            What::NewPool(boot) if boot == self.boot => self.start_pool(),
            What::StoreWake(boot, number) if boot == self.boot => self.store_wake(number),
            What::StoreDone(boot) if boot == self.boot => self.store_done(),
            What::Spool(boot) if boot == self.boot => self.spool_step(),
            What::Dumps(boot) if boot == self.boot => self.write_dumps(),
            What::Checked(boot, ticket, checked) if boot == self.boot => {
                self.password_checked(ticket, checked);
            }
            What::Users(boot) if boot == self.boot => self.write_users(),
            What::Order(miner, number) => self.order(miner, number),
            What::NodeSays(boot, mail) if boot == self.boot => self.node_says(mail),
            What::Template(boot, number) if boot == self.boot => self.make_template(number),
            What::Offer(boot, offer) if boot == self.boot => self.take_offer(offer),
            What::Judge(boot, offer, fate) if boot == self.boot => self.judge(offer, fate),
            What::Locate(boot, hashes) if boot == self.boot => self.answer_where(&hashes),
            What::Refresh => self.refresh(),
            What::OthersBlock => self.others_block(),
            What::Reorganise => self.reorganise(),
            What::LoseChain => self.lose_chain(),
            What::Back(tip) => self.go_back(tip),
            What::PeersSend(hash, prev) => self.peers_send(hash, prev),
            What::Connect(miner) => self.connect(miner),
            What::Arrive(miner) => self.arrive(miner),
            What::Answered(miner, conn) => self.answered(miner, conn),
            What::ToServer(conn, bytes) => self.reach_server(conn, bytes),
            What::ToMiner(conn, bytes) => self.reach_miner(conn, &bytes),
            What::ServerGone(conn) => self.server_gone(conn),
            What::MinerGone(conn) => self.miner_gone(conn),
            What::Share(miner, number) => self.share(miner, number),
            What::Resend(miner, hash) => self.resend(miner, hash),
            What::Mischief(miner, number) => self.mischief(miner, number),
            What::Patience(miner) => self.patience(miner),
            What::Fault(kind) => self.fault(kind),
            What::Finish(boot) if boot == self.boot => self.finish(),
            What::Gone(boot) if boot == self.boot => self.end_process(),
            What::Survey => self.survey(),
            What::Heal => self.heal(),
            What::Rest => self.rest(),
            What::Leave => self.leave(),
            What::End => self.end(),
            // Meant for a process that is gone.
            _ => {}
        }
    }

    pub(crate) fn report(&self) -> Report {
        Report {
            steps: self.step,
            ms: self.now_ms,
            shares: self.book.acknowledged(),
            blocks: self.book.blocks.len() as u64,
            lost_blocks: self.book.lost_with_process.len() as u64,
            settled: self.settled,
            injected: self.injected.clone(),
            counted: BTreeMap::new(),
            largest: self.largest.clone(),
            lines: self.trace.lines(),
            digest: self.trace.digest(),
        }
    }

    /// What the disk has done since is entered in the book.
    pub(crate) fn settle_book(&mut self) {
        for batch in std::mem::take(&mut self.disk.done) {
            self.book.commit(&batch);
        }
    }
}
