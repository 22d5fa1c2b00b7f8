//! The simulated world: its clock, its parts, and the loop that carries out one event after the other.
//! Each part is in the module of its name.

pub(crate) mod chain;
pub(crate) mod check;
pub(crate) mod disk;
pub(crate) mod drill;
pub(crate) mod estimate_check;
pub(crate) mod event_queue;
pub(crate) mod fault;
pub mod injected_bug;
pub mod ledger_model;
pub(crate) mod memory_check;
pub(crate) mod node;
pub(crate) mod oracle;
pub(crate) mod payout_check;
pub mod plan;
pub(crate) mod solo_check;
pub(crate) mod trace;
pub(crate) mod worker_stats;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fastrand::Rng;
use hstratum::messages::Drilled;
use hstratum::node::{BlockQuery, Look};
use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::chain::template::TemplateParts;
use hstratum_core::event::Password;
use hstratum_core::units::{ConnId, Hash, Height, Now};

use crate::RunReport;
use crate::miner::SimMiner;
use crate::server::ServerProcess;
use crate::server::net::{LinkId, SimNet};
use crate::world::chain::Chain;
use crate::world::disk::{LedgerBacking, SimDisk};
use crate::world::drill::DrillCheck;
use crate::world::event_queue::EventQueue;
use crate::world::injected_bug::InjectedBug;
use crate::world::node::SimNode;
use crate::world::oracle::Oracle;
use crate::world::plan::{Faults, Injected, RunPlan, wait};
use crate::world::solo_check::SoloCheck;
use crate::world::trace::Trace;
use crate::world::worker_stats::WorkerStatsCheck;

/// Unix time at the start, in seconds.
pub(crate) const START_S: u64 = 1_700_000_000;

/// Every event that can be scheduled. A first `u32` is the number of the process it is meant for.
pub(crate) enum WorldEvent {
    /// The process starts.
    Start,
    /// The driver has a turn.
    Turn(u32),
    /// The failed pool is replaced.
    NewPool(u32),
    /// The ledger's thread reads its messages; the second number is that of the wake-up.
    StoreWake(u32, u64),
    /// A commit of the ledger's thread ends.
    StoreDone(u32),
    /// The spool's thread does its next piece of work.
    Spool(u32),
    /// The thread that writes share dumps looks for missing ones.
    Dumps(u32),
    /// A password was checked.
    Checked(u32, u64, Password),
    /// The thread that writes users continues.
    Users(u32),
    /// A message of the node arrives at the server.
    NodeSays(u32, SimNodeMail),
    /// The node makes the template of this number.
    Template(u32, u64),
    /// The mempool has changed.
    Refresh,
    /// A miner elsewhere finds a block.
    OthersBlock,
    /// The chain is reorganized, and perhaps back later.
    Reorganise,
    /// The branch with this tip becomes the longest again.
    Back(Hash),
    /// The node loses its chain or part of it.
    LoseChain,
    /// Peers send the node a block.
    PeersSend(Hash, Hash),
    /// A block is offered to the node.
    Offer(u32, BlockOffer),
    /// The node sends its verdict.
    Judge(u32, BlockOffer, NodeFate),
    /// The node answers where blocks are.
    Locate(u32, Vec<BlockQuery>),
    /// A miner tries to connect.
    Connect(usize),
    /// Its attempt arrives at the server.
    Arrive(usize),
    /// The miner is connected, or refused.
    Answered(usize, Option<ConnId>),
    /// Bytes arrive.
    ToServer(ConnId, Vec<u8>),
    ToMiner(ConnId, Vec<u8>),
    /// One end notices that the connection has ended.
    ServerGone(ConnId),
    MinerGone(ConnId),
    /// A miner finds a share for its work of this number.
    Share(usize, u64),
    /// A miner sends a share again that was refused because the ledger failed.
    Resend(usize, Hash),
    /// A hostile miner does something.
    Mischief(usize, u64),
    /// An admin sends a request.
    Order(usize, u64),
    /// A miner checks if the server still sends something.
    Patience(usize),
    /// A random fault occurs.
    Fault(FaultKind),
    /// The driver no longer waits for the ledger.
    Finish(u32),
    /// The threads of a process that stops are checked.
    Gone(u32),
    /// All miners are checked.
    Survey,
    /// The faults stop.
    Heal,
    /// Mining stops.
    Rest,
    /// All miners disconnect.
    Leave,
    /// The run ends.
    End,
}

/// A message of the node to the server.
pub(crate) enum SimNodeMail {
    Tip(Hash, Height),
    Template(Box<TemplateParts>),
    Transactions(u64, Arc<[u8]>),
    NoTemplate(String),
    BlockResult(Hash, Verdict),
    Located(Look),
    Drilled(Drilled),
}

/// A block offered to the node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockOffer {
    pub(crate) hash: Hash,
    pub(crate) prev: Hash,
}

/// The node's treatment of an offered block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeFate {
    Judges,
    Refuses,
    /// The node accepts the block but cannot say so.
    ForgetsAfter,
    /// The node does not accept the block and cannot say so.
    Forgets,
}

/// Faults that occur at random times.
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

/// A stream of random numbers for each part, so that draws of one part do not change those of another.
pub(crate) struct WorldRngs {
    pub(crate) chain: Rng,
    pub(crate) node: Rng,
    pub(crate) net: Rng,
    pub(crate) disk: Rng,
    pub(crate) fault: Rng,
    pub(crate) server: Rng,
}

/// The owner of the chain that a world's node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChainIs {
    /// The node's own: other miners find blocks for it alone.
    Own,
    /// A chain shared by several nodes, to which blocks are added from outside.
    Shared,
}

/// The end of a process or a pool in the middle of its actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doom {
    Crash,
    PowerCut,
    PoolPanic,
}

/// The simulated world of one server.
pub(crate) struct World {
    pub(crate) now_ms: u64,
    pub(crate) step: u64,
    pub(crate) event_queue: EventQueue<WorldEvent>,
    pub(crate) trace: Trace,
    pub(crate) plan: RunPlan,
    /// The faults that can still occur.
    pub(crate) faults: Faults,
    pub(crate) injected: Injected,
    pub(crate) rngs: WorldRngs,
    pub(crate) chain: Chain,
    pub(crate) node: SimNode,
    pub(crate) net: SimNet,
    pub(crate) miners: Vec<SimMiner>,
    pub(crate) disk: SimDisk,
    pub(crate) oracle: Oracle,
    pub(crate) solo: SoloCheck,
    pub(crate) injected_bug: Option<InjectedBug>,
    /// The process, if one is running, and the count of processes so far.
    pub(crate) process: Option<ServerProcess>,
    pub(crate) boot: u32,
    /// The end to come in the driver's next turn.
    pub(crate) doom: Option<Doom>,
    /// The end that has come in this turn.
    pub(crate) doomed: Option<Doom>,
    /// The latest tips told to the pool, with their times.
    pub(crate) told: VecDeque<(u64, Hash)>,
    /// Time and parent of the pool's newest job.
    pub(crate) job_on: Option<(u64, Hash)>,
    /// Time after which no other miner finds a block, so that everything can be settled.
    pub(crate) rest_until_ms: u64,
    /// Times of the latest templates given to the pool.
    pub(crate) templates_told: VecDeque<u64>,
    /// Time of the last trouble that excuses every miner.
    pub(crate) trouble_ms: u64,
    /// Time at which the ledger last refused something.
    pub(crate) ledger_trouble_ms: Option<u64>,
    /// The largest count of everything the pool keeps, by name.
    pub(crate) largest: BTreeMap<&'static str, usize>,
    /// Time until which a host is banned.
    pub(crate) bans: BTreeMap<u8, u64>,
    /// Deviation of this machine's clock from the true time, and the time of its last change.
    pub(crate) clock_off_s: i64,
    pub(crate) clock_set_ms: u64,
    /// Shares submitted since the last pool was started, by worker.
    pub(crate) worker_stats: WorkerStatsCheck,
    /// Users that an admin was told are added, with their addresses.
    pub(crate) added: BTreeMap<String, Option<String>>,
    pub(crate) is_over: bool,
    /// The owner of the chain.
    pub(crate) chain_is: ChainIs,
    /// Bytes that have come for a proxy on its connections, or `None` for their end.
    pub(crate) to_proxy: Vec<(LinkId, Option<Vec<u8>>)>,
    /// Time since which the process has run without being suspended.
    pub(crate) thawed_ms: u64,
    /// Count of blocks whose reward was divided and checked.
    pub(crate) settled: u64,
    pub(crate) drills: DrillCheck,
}

/// Adds a line to the trace.
macro_rules! note {
    ($world:expr, $($arg:tt)*) => {
        $world.trace.note($world.now_ms, format_args!($($arg)*))
    };
}
pub(crate) use note;

/// Time from the end of the faults until everything must have recovered, and again until the end.
pub(crate) const HEALED_MS: u64 = 400_000;
/// Time between the miners' leave and the end.
const LEFT_MS: u64 = 30_000;
/// Time from the end of the faults until mining stops.
pub(crate) const REST_MS: u64 = HEALED_MS + 60_000;

impl World {
    pub(crate) fn new(
        seed: u64,
        plan: RunPlan,
        injected_bug: Option<InjectedBug>,
        prints: bool,
    ) -> Self {
        let mut root = Rng::with_seed(seed ^ 0x5eed_5eed);
        let kept = if seed.is_multiple_of(2) {
            LedgerBacking::InSqlite
        } else {
            LedgerBacking::InModel
        };
        let miners = plan.miners.iter().cloned();
        let miners = miners
            .map(|plan| SimMiner::new(plan, root.fork()))
            .collect();
        let rngs = WorldRngs {
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
            event_queue: EventQueue::new(),
            trace: Trace::new(prints),
            faults: plan.faults.clone(),
            injected: Injected::new(),
            rngs,
            chain: Chain::new(),
            node: SimNode::new(plan.hashes_per_block),
            net: SimNet::new(injected_bug),
            miners,
            disk: SimDisk::new(plan.network, kept, injected_bug),
            oracle: Oracle::default(),
            solo: SoloCheck::default(),
            injected_bug,
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
            worker_stats: WorkerStatsCheck::default(),
            added: BTreeMap::new(),
            is_over: false,
            chain_is: ChainIs::Own,
            to_proxy: Vec::new(),
            thawed_ms: 0,
            settled: 0,
            drills: DrillCheck::default(),
            plan,
        }
    }

    /// Runs to the end of the plan, or for `steps_max` steps.
    pub(crate) fn run(&mut self, steps_max: u64) {
        self.begin();
        while !self.is_over
            && self.step < steps_max
            && let Some((at_ms, what)) = self.event_queue.next()
        {
            assert!(at_ms >= self.now_ms, "the lab's time goes back");
            self.now_ms = at_ms;
            self.take_step(what);
        }
    }

    /// Carries out one event.
    pub(crate) fn take_step(&mut self, what: WorldEvent) {
        self.step += 1;
        self.happen(what);
        if let Some(doom) = self.doomed.take() {
            self.meet(doom);
        }
        self.settle_oracle();
        self.count_sizes();
    }

    pub(crate) fn begin(&mut self) {
        self.after(0, WorldEvent::Start);
        for miner in 0..self.miners.len() {
            let delay_ms = self.rngs.net.u64(100..20_000);
            self.after(delay_ms, WorldEvent::Connect(miner));
            self.after(10_000, WorldEvent::Patience(miner));
        }
        self.after(1_000, WorldEvent::OthersBlock);
        self.after(30_000, WorldEvent::Refresh);
        self.after(5_000, WorldEvent::Survey);
        if let Some(mean_ms) = self.faults.reorganise_ms {
            let delay_ms = wait(&mut self.rngs.fault, mean_ms as f64);
            self.after(delay_ms, WorldEvent::Reorganise);
        }
        if let Some(mean_ms) = self.faults.lost_chain_ms {
            let delay_ms = wait(&mut self.rngs.fault, mean_ms as f64);
            self.after(delay_ms, WorldEvent::LoseChain);
        }
        for kind in FaultKind::ALL {
            self.plan_fault(kind);
        }
        let faulty_ms = self.plan.faulty_ms;
        self.after(faulty_ms, WorldEvent::Heal);
        self.after(faulty_ms + REST_MS, WorldEvent::Rest);
        self.after(faulty_ms + REST_MS + HEALED_MS - LEFT_MS, WorldEvent::Leave);
        self.after(faulty_ms + REST_MS + HEALED_MS, WorldEvent::End);
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            ms: self.now_ms,
            unix_s: self.true_s().saturating_add_signed(self.clock_off_s),
        }
    }

    /// The Unix time of a correct clock.
    pub(crate) fn true_s(&self) -> u64 {
        START_S + self.now_ms / 1000
    }

    pub(crate) fn after(&mut self, delay_ms: u64, what: WorldEvent) {
        self.event_queue.add(self.now_ms + delay_ms, what);
    }

    /// Counts a fault.
    pub(crate) fn inject(&mut self, name: &'static str) {
        *self.injected.entry(name).or_default() += 1;
    }

    pub(crate) fn is_healed(&self) -> bool {
        self.now_ms >= self.plan.faulty_ms
    }

    fn happen(&mut self, what: WorldEvent) {
        match what {
            WorldEvent::Start => self.start_process(),
            WorldEvent::Turn(boot) if boot == self.boot => self.turn(),
            WorldEvent::NewPool(boot) if boot == self.boot => self.start_pool(),
            WorldEvent::StoreWake(boot, number) if boot == self.boot => self.store_wake(number),
            WorldEvent::StoreDone(boot) if boot == self.boot => self.store_done(),
            WorldEvent::Spool(boot) if boot == self.boot => self.spool_step(),
            WorldEvent::Dumps(boot) if boot == self.boot => self.write_dumps(),
            WorldEvent::Checked(boot, ticket, checked) if boot == self.boot => {
                self.password_checked(ticket, checked);
            }
            WorldEvent::Users(boot) if boot == self.boot => self.write_users(),
            WorldEvent::Order(miner, number) => self.order(miner, number),
            WorldEvent::NodeSays(boot, mail) if boot == self.boot => self.node_says(mail),
            WorldEvent::Template(boot, number) if boot == self.boot => self.make_template(number),
            WorldEvent::Offer(boot, offer) if boot == self.boot => self.take_offer(offer),
            WorldEvent::Judge(boot, offer, fate) if boot == self.boot => self.judge(offer, fate),
            WorldEvent::Locate(boot, hashes) if boot == self.boot => self.answer_where(&hashes),
            WorldEvent::Refresh => self.refresh(),
            WorldEvent::OthersBlock => self.others_block(),
            WorldEvent::Reorganise => self.reorganise(),
            WorldEvent::LoseChain => self.lose_chain(),
            WorldEvent::Back(tip) => self.go_back(tip),
            WorldEvent::PeersSend(hash, prev) => self.peers_send(hash, prev),
            WorldEvent::Connect(miner) => self.connect(miner),
            WorldEvent::Arrive(miner) => self.arrive(miner),
            WorldEvent::Answered(miner, conn) => self.answered(miner, conn),
            WorldEvent::ToServer(conn, bytes) => self.reach_server(conn, bytes),
            WorldEvent::ToMiner(conn, bytes) => self.reach_miner(conn, &bytes),
            WorldEvent::ServerGone(conn) => self.server_gone(conn),
            WorldEvent::MinerGone(conn) => self.miner_gone(conn),
            WorldEvent::Share(miner, number) => self.share(miner, number),
            WorldEvent::Resend(miner, hash) => self.resend(miner, hash),
            WorldEvent::Mischief(miner, number) => self.mischief(miner, number),
            WorldEvent::Patience(miner) => self.patience(miner),
            WorldEvent::Fault(kind) => self.fault(kind),
            WorldEvent::Finish(boot) if boot == self.boot => self.finish(),
            WorldEvent::Gone(boot) if boot == self.boot => self.end_process(),
            WorldEvent::Survey => self.survey(),
            WorldEvent::Heal => self.heal(),
            WorldEvent::Rest => self.rest(),
            WorldEvent::Leave => self.leave(),
            WorldEvent::End => self.end(),
            // Meant for an earlier process.
            _ => {}
        }
    }

    pub(crate) fn report(&self) -> RunReport {
        let (solo_shares, solo_blocks) = self.solo.sums();
        RunReport {
            steps: self.step,
            ms: self.now_ms,
            shares: self.oracle.acknowledged(),
            solo_shares,
            blocks: self.oracle.blocks.len() as u64,
            solo_blocks,
            lost_blocks: self.oracle.lost_with_process.len() as u64,
            settled: self.settled,
            injected: self.injected.clone(),
            counted: BTreeMap::new(),
            largest: self.largest.clone(),
            lines: self.trace.lines(),
            digest: self.trace.digest(),
        }
    }

    /// Enters the batches that the disk has made durable in the book.
    pub(crate) fn settle_oracle(&mut self) {
        for batch in std::mem::take(&mut self.disk.done) {
            self.oracle.commit(&batch);
        }
    }
}
