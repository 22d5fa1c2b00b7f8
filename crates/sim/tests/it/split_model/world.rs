//! The world of the model: takes random steps by seed, and checks after each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fastrand::Rng;
use hstratum_core::accounting::reward_split::{Decimal, FeePpm};
use hstratum_core::units::{Difficulty, Hash, Height};

use super::chain::{Address, Chain};
use super::checks::Cause;
use super::ledger::{Ledger, PayoutKind, Terms};
use super::pool::{Found, Job, OUTPUTS_MAX, Server};
use super::{ACCOUNTS, Account, BLOCKS, Run};

/// Reward of a block without transactions, in base units.
const REWARD: u64 = 2_000_000_000;

/// Steps that a failure shows.
const TRACE_LINES: usize = 25;

/// A step and its weight among all steps.
const STEPS: [(Step, u32); 19] = [
    (Step::Work, 30),
    (Step::Refresh, 40),
    (Step::Hear, 6),
    (Step::Find, 6),
    (Step::Announce, 30),
    (Step::Spool, 30),
    (Step::Record, 40),
    (Step::Answer, 30),
    (Step::OtherBlock, 4),
    (Step::Reorganize, 1),
    (Step::Return, 1),
    (Step::Crash, 2),
    (Step::LedgerAway, 3),
    (Step::Look, 20),
    (Step::Replay, 3),
    (Step::NewTerms, 1),
    (Step::NewAddress, 2),
    (Step::OpenPayment, 1),
    (Step::SendPayment, 5),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// An accepted share.
    Work,
    /// A new split, and a job of it.
    Refresh,
    /// A server hears of the tip.
    Hear,
    Find,
    /// A found block gets to the network.
    Announce,
    Spool,
    Record,
    /// The server forgets a block that node and ledger have.
    Answer,
    OtherBlock,
    Reorganize,
    /// A side branch becomes the main chain.
    Return,
    Crash,
    /// The ledger is away from a server, or back.
    LedgerAway,
    Look,
    /// A copy of a found block is recorded by another server, later.
    Replay,
    NewTerms,
    NewAddress,
    OpenPayment,
    /// The open payment gets a transaction, or is interrupted and given up.
    SendPayment,
}

/// Progress of a found block when its server crashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CrashPoint {
    Frozen,
    Found,
    Announced,
    Spooled,
    SpooledAndAnnounced,
    Recorded,
}

impl CrashPoint {
    pub(super) const COUNT: usize = 6;
}

/// A broken invariant, with the last steps before it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) what: String,
    #[expect(dead_code, reason = "it is printed with the failure")]
    pub(super) last_steps: Vec<String>,
}

/// Counts of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) found: u64,
    pub(super) steps: u64,
    /// Found blocks on the main chain in the end.
    pub(super) on_main: u64,
    /// Of them, blocks whose coinbase paid a balance.
    pub(super) with_balances: u64,
    pub(super) crashes: BTreeSet<CrashPoint>,
    pub(super) owing: BTreeMap<Cause, u64>,
    /// Steady blocks that it took until nobody owed.
    pub(super) steady: u32,
}

pub(super) struct World {
    run: Run,
    pub(super) rng: Rng,
    pub(super) chain: Chain,
    pub(super) ledger: Ledger,
    pub(super) servers: Vec<Server>,
    /// Jobs of all blocks ever found.
    pub(super) jobs: BTreeMap<Hash, Job>,
    /// Blocks that were lost for good at some time.
    pub(super) gone: BTreeSet<Hash>,
    /// Blocks that were settled at some time.
    pub(super) settled: BTreeSet<Hash>,
    /// Payments that were abandoned at some time.
    pub(super) abandoned: BTreeSet<usize>,
    /// Accounts that owed at some time, and the cause.
    pub(super) owing: BTreeMap<Account, Cause>,
    /// True right after a look.
    pub(super) has_looked: bool,
    next_hash: u64,
    next_address: u32,
    trace: VecDeque<String>,
    pub(super) report: Report,
}

/// Takes steps until enough blocks are found, checks after each, and ends in peace.
pub(super) fn run(run: &Run) -> Result<Report, Failure> {
    let mut world = World::new(run);
    match world.take_all_steps() {
        Ok(()) => Ok(world.report),
        Err(what) => Err(Failure {
            what,
            last_steps: world.trace.into(),
        }),
    }
}

impl World {
    fn new(run: &Run) -> Self {
        let mut rng = Rng::with_seed(run.seed);
        let terms = random_terms(&mut rng);
        let mut ledger = Ledger::new(terms, run.broken);
        for account in 0..ACCOUNTS {
            // One in ten has no address yet.
            let address = Some(Address(u32::from(account))).filter(|_| account != 3);
            ledger.addresses.insert(account, address);
        }
        Self {
            run: *run,
            rng,
            chain: Chain::new(),
            ledger,
            servers: (0..run.servers)
                .map(|id| Server::new(id, run.broken))
                .collect(),
            jobs: BTreeMap::new(),
            gone: BTreeSet::new(),
            settled: BTreeSet::new(),
            abandoned: BTreeSet::new(),
            owing: BTreeMap::new(),
            has_looked: false,
            next_hash: 0,
            next_address: 1,
            trace: VecDeque::new(),
            report: Report::default(),
        }
    }

    fn take_all_steps(&mut self) -> Result<(), String> {
        let weights: u32 = STEPS.iter().map(|(_, weight)| weight).sum();
        while self.report.found < BLOCKS {
            let mut at = self.rng.u32(..weights);
            let step = STEPS
                .iter()
                .find(|(_, weight)| match at.checked_sub(*weight) {
                    Some(rest) => {
                        at = rest;
                        false
                    }
                    None => true,
                });
            let (step, _) = step.expect("the weights' sum is above it");
            self.take(*step);
            self.check()?;
        }
        self.end()
    }

    pub(super) fn note(&mut self, text: String) {
        if self.trace.len() == TRACE_LINES {
            self.trace.pop_front();
        }
        self.report.steps += 1;
        self.trace
            .push_back(format!("{} {text}", self.report.steps));
    }

    fn take(&mut self, step: Step) {
        let server = self.rng.usize(..self.servers.len());
        let tip = self.chain.height();
        self.has_looked = false;
        self.note(format!("{step:?}, server {server}, tip {}", tip.0));
        match step {
            Step::Work => self.work(),
            Step::Refresh => {
                let room = self.random_room();
                self.refresh(server, room);
            }
            Step::Hear => self.hear(server),
            Step::Find => self.find(server),
            Step::Announce | Step::Spool | Step::Record | Step::Answer => {
                self.advance(server, step);
            }
            Step::OtherBlock => self.mine_other(self.chain.tip()),
            Step::Reorganize => self.reorganize(),
            Step::Return => self.bring_back(),
            Step::Crash => self.crash(server),
            Step::LedgerAway => self.servers[server].has_ledger = self.rng.u32(..5) > 0,
            Step::Look => self.look(),
            Step::Replay => self.replay(),
            Step::NewTerms => {
                let terms = random_terms(&mut self.rng);
                self.ledger.terms.0.push((Height(tip.0 + 2), terms));
            }
            Step::NewAddress => self.change_address(),
            Step::OpenPayment => self.ledger.open_payment(tip),
            Step::SendPayment if self.rng.u32(..5) == 0 => self.ledger.discard_payment(),
            Step::SendPayment => self.ledger.send_payment(&mut self.chain),
        }
    }

    fn work(&mut self) {
        let account = self.rng.u8(..ACCOUNTS);
        // Each account has about four times the hashrate of the one before.
        let difficulty = f64::from(1_u32 << (account * 2 % 14)) / 4.0;
        let late = self.rng.u32(..3).min(self.chain.height().0);
        let height = Height(self.chain.height().0 + 1 - late);
        let difficulty = Difficulty::new(difficulty).expect("a difficulty");
        self.ledger.add_credit(height, account, difficulty);
    }

    pub(super) fn hear(&mut self, server: usize) {
        self.servers[server].hear(&self.chain, REWARD);
    }

    pub(super) fn refresh(&mut self, server: usize, room: usize) -> bool {
        let reward = REWARD + self.rng.u64(..REWARD / 100);
        self.servers[server].refresh(&self.chain, &mut self.ledger, reward, room)
    }

    /// Room for outputs in a template: now and then not for all.
    fn random_room(&mut self) -> usize {
        if self.rng.u32(..8) == 0 {
            3
        } else {
            OUTPUTS_MAX
        }
    }

    /// Most servers hear of a new tip at once.
    fn spread(&mut self, tip_before: Hash) {
        if self.chain.tip() == tip_before {
            return;
        }
        for server in 0..self.servers.len() {
            if self.rng.u32(..5) > 0 {
                self.hear(server);
            }
        }
    }

    fn new_hash(&mut self) -> Hash {
        self.next_hash += 1;
        Hash::blake2b(&[b"block", &self.next_hash.to_le_bytes()])
    }

    pub(super) fn find(&mut self, server: usize) {
        let Some(job) = self.servers[server].job.clone() else {
            return;
        };
        let hash = self.new_hash();
        self.jobs.insert(hash, job.clone());
        self.report.found += 1;
        self.servers[server].found.push(Found {
            hash,
            job,
            is_announced: false,
            is_spooled: false,
        });
    }

    /// Takes a found block one step further.
    fn advance(&mut self, server: usize, step: Step) {
        if self.servers[server].found.is_empty() {
            return;
        }
        let at = self.rng.usize(..self.servers[server].found.len());
        self.advance_block(server, at, step);
    }

    pub(super) fn advance_block(&mut self, server: usize, at: usize, step: Step) {
        let server = &mut self.servers[server];
        let found = &mut server.found[at];
        match step {
            Step::Announce => {
                let (hash, job, tip) = (found.hash, found.job.clone(), self.chain.tip());
                found.is_announced = true;
                self.chain.add(hash, job.parent, Some(job.coinbase));
                self.spread(tip);
            }
            Step::Spool => found.is_spooled = true,
            Step::Record if found.is_spooled && server.has_ledger => {
                let (hash, job) = (found.hash, found.job.clone());
                self.ledger
                    .record(hash, job.height, job.coinbase.reward, job.frozen);
            }
            Step::Answer if found.is_announced && self.ledger.has_block(found.hash) => {
                server.found.remove(at);
            }
            _ => {}
        }
    }

    pub(super) fn mine_other(&mut self, parent: Hash) {
        let (hash, tip) = (self.new_hash(), self.chain.tip());
        self.chain.add(hash, parent, None);
        self.spread(tip);
    }

    fn reorganize(&mut self) {
        let most = self.rng.u32(1..=self.run.reorg_max);
        let depth = self.rng.u32(1..=most).min(self.chain.height().0);
        let mut parent = self
            .chain
            .at(Height(self.chain.height().0 - depth))
            .expect("below the tip");
        self.note(format!("reorganisation of depth {depth}"));
        for _ in 0..=depth {
            self.mine_other(parent);
            parent = self.last_hash();
        }
    }

    fn bring_back(&mut self) {
        let (chain, most) = (&self.chain, self.run.reorg_max);
        let can_return = |tip: &&Hash| !chain.is_main(**tip) && chain.reorg_depth(**tip) <= most;
        let tips: Vec<Hash> = chain.side_tips.iter().filter(can_return).copied().collect();
        let Some(tip) = self.rng.choice(&tips) else {
            return;
        };
        self.note(format!(
            "a branch of depth {} returns",
            self.chain.reorg_depth(*tip)
        ));
        let mut parent = *tip;
        while !self.chain.is_main(*tip) {
            self.mine_other(parent);
            parent = self.last_hash();
        }
    }

    fn last_hash(&self) -> Hash {
        Hash::blake2b(&[b"block", &self.next_hash.to_le_bytes()])
    }

    fn crash(&mut self, server: usize) {
        let ledger = &self.ledger;
        let points = self.servers[server].found.iter().map(|found| {
            match (found.is_announced, found.is_spooled) {
                (_, true) if ledger.has_block(found.hash) => CrashPoint::Recorded,
                (false, false) => CrashPoint::Found,
                (true, false) => CrashPoint::Announced,
                (false, true) => CrashPoint::Spooled,
                (true, true) => CrashPoint::SpooledAndAnnounced,
            }
        });
        let mut points: Vec<CrashPoint> = points.collect();
        points.extend(
            self.servers[server]
                .job
                .as_ref()
                .map(|_| CrashPoint::Frozen),
        );
        self.report.crashes.extend(points);
        self.servers[server].crash();
    }

    pub(super) fn look(&mut self) {
        self.ledger.look(&self.chain);
        self.has_looked = true;
        self.remember();
    }

    /// Any block that was ever spooled may be recorded once more.
    fn replay(&mut self) {
        let recorded: Vec<Hash> = self.ledger.blocks.iter().map(|block| block.hash).collect();
        if let Some(hash) = self.rng.choice(&recorded) {
            let job = self.jobs[hash].clone();
            self.ledger
                .record(*hash, job.height, job.coinbase.reward, job.frozen);
        }
    }

    fn change_address(&mut self) {
        let account = self.rng.u8(..ACCOUNTS);
        let new = Address(u32::from(account) + u32::from(ACCOUNTS) * self.next_address);
        self.next_address += 1;
        let address = Some(new).filter(|_| self.rng.u32(..6) > 0);
        self.ledger.addresses.insert(account, address);
    }
}

pub(super) fn random_terms(rng: &mut Rng) -> Terms {
    let windows = ["0.5", "1", "2.25"];
    let fees = [0, 1, 10_000, 333_333];
    Terms {
        // Three of four are splits, so that balances of both kinds come together.
        kind: if rng.u32(..4) > 0 {
            PayoutKind::Split
        } else {
            PayoutKind::Later
        },
        window: Decimal::parse_positive(windows[rng.usize(..3)]).expect("a number"),
        fee: FeePpm::new(fees[rng.usize(..4)]).expect("below one"),
    }
}
