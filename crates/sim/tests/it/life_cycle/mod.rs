//! Exhaustive check of a block's life cycle: all orders, up to a depth, in which two competing blocks and
//! their successor are found, judged, seen on the chain, lost from it and brought back, with failed
//! commits and crashes in between. It runs the real `GroupCommit` over a ledger of maps.
//!
//! A `GroupCommit` cannot be copied, so each path is run again from its start; states met before are not
//! followed again.

mod disk;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use disk::Disk;
use hstratum::node::{BlockQuery, Look};
use hstratum::store::group_commit::{GroupCommit, StoreCommand, StoreOutcome};
use hstratum_core::accounting::ledger::{BlockState, ChainView, Credit, Tip, Verdict};
use hstratum_core::chain::block::FoundBlock;
use hstratum_core::chain::coinbase::{Coinbase, Payout};
use hstratum_core::units::{Difficulty, Hash, Height, Now, Seq, unhex};
use hstratum_sim::ledger_model::LedgerModel;

const MATURITY: u32 = 8;
/// Steps in a path.
const DEPTH: usize = 6;
/// Milliseconds, longer than the ledger waits for the node's answer.
const LONG_MS: u64 = 10_000;

/// The blocks: two at one height, and one on the first.
const FIRST: usize = 0;
const RIVAL: usize = 1;
const CHILD: usize = 2;
const HEIGHTS: [u32; 3] = [10, 10, 11];

/// The possible main chains: our blocks in it, and its height. Each one that follows another is longer by
/// [`GROWTH`].
const CHAINS: [(&[usize], u32); 4] = [
    (&[], 12),
    (&[FIRST], 10),
    (&[FIRST, CHILD], 11),
    (&[RIVAL], 12),
];

const GROWTH: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Find(usize),
    Judge(usize),
    Refuse(usize),
    Forget(usize),
    Chain(usize),
    Locate,
    /// The same, by a node that has lost its chain.
    LocateBlindly,
    Commit,
    FailedCommit,
    SeeminglyFailedCommit,
    Dump,
    Wait,
    Crash,
}

/// The state that a path has led to.
struct Case {
    disk: Disk,
    group_commit: GroupCommit,
    now: Now,
    chain: usize,
    grown: u32,
    /// True if it was told something that it asks about.
    is_due: bool,
    /// True if the last look was by a node that has lost its chain.
    was_blind: bool,
    /// Blocks in the spool.
    spool: BTreeSet<usize>,
    found: BTreeSet<usize>,
    /// Blocks without the node's verdict.
    unanswered: BTreeSet<usize>,
    /// Blocks whose verdict is confirmed by the ledger.
    answered: BTreeSet<usize>,
    refused: BTreeSet<usize>,
    /// The open question where blocks are, and the chain at the time it was asked.
    question: Option<(Vec<BlockQuery>, usize)>,
    /// Messages to the ledger since the last commit; together with the disk they are all that it knows.
    told: Vec<String>,
    dumps: BTreeMap<usize, u32>,
}

fn hash(block: usize) -> Hash {
    Hash::blake2b(&[b"block", &[block as u8]])
}

fn found(block: usize) -> FoundBlock {
    let vectors = include_str!("../../../../core/tests/vectors/templates.json");
    let (_, rest) = vectors.split_once("\"coinbase\": \"").expect("a vector");
    let (raw, _) = rest.split_once('"').expect("its coinbase");
    FoundBlock {
        payout: Payout::Operator,
        split: None,
        hash: hash(block),
        height: Height(HEIGHTS[block]),
        time: 1,
        bits: 0x2000_ffff,
        coinbase: Coinbase::parse(&unhex(raw).expect("hex")).expect("a coinbase"),
        account: None,
    }
}

/// The view of a synchronized node whose chain has this height.
fn view(height: Height) -> ChainView {
    ChainView {
        tip: Tip {
            height,
            hash: Hash::blake2b(&[b"tip", &height.0.to_le_bytes()]),
            work: u64::from(height.0).into(),
        },
        is_synced: true,
    }
}

impl Case {
    fn new() -> Self {
        let now = Now { ms: 0, unix_s: 1 };
        let mut disk = Disk {
            ledger_model: LedgerModel::new(MATURITY),
            fate: Step::Commit,
        };
        let credits = [9, 10, 10, 11]
            .into_iter()
            .enumerate()
            .map(|(n, height)| Credit {
                seq: Seq(n as u64 + 1),
                height: Height(height),
                account: "alice".into(),
                difficulty: Difficulty::new(1.0).expect("a difficulty"),
                network_difficulty: Difficulty::new(8.0).expect("a difficulty"),
            });
        let mut group_commit = GroupCommit::new(now);
        group_commit.take(StoreCommand::Credits(credits.collect()), now);
        group_commit.work(&mut disk, now, &mut Vec::new());
        Self {
            disk,
            group_commit,
            now,
            chain: 0,
            grown: 0,
            is_due: false,
            was_blind: false,
            spool: BTreeSet::new(),
            found: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            answered: BTreeSet::new(),
            refused: BTreeSet::new(),
            question: None,
            told: Vec::new(),
            dumps: BTreeMap::new(),
        }
    }

    /// The possible next steps.
    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Commit, Step::Wait, Step::Crash];
        if !self.group_commit.is_done() {
            steps.extend([Step::FailedCommit, Step::SeeminglyFailedCommit]);
        }
        for block in [FIRST, RIVAL, CHILD] {
            if !self.found.contains(&block) {
                steps.push(Step::Find(block));
            }
            if self.unanswered.contains(&block) {
                steps.extend([Step::Judge(block), Step::Refuse(block), Step::Forget(block)]);
            }
        }
        for (chain, (blocks, _)) in CHAINS.iter().enumerate() {
            let are_found = blocks
                .iter()
                .all(|block| self.found.contains(block) && !self.refused.contains(block));
            if chain != self.chain && are_found {
                steps.push(Step::Chain(chain));
            }
        }
        if self.question.is_some() {
            steps.extend([Step::Locate, Step::LocateBlindly]);
        }
        let rows = self.disk.ledger_model.blocks.values();
        if rows
            .clone()
            .any(|row| row.round_from.is_some() && !row.is_dumped)
        {
            steps.push(Step::Dump);
        }
        steps
    }

    fn tell(&mut self, name: String, mail: StoreCommand) {
        self.told.push(name);
        self.group_commit.take(mail, self.now);
    }

    fn find(&mut self, block: usize) {
        self.tell(
            format!("found {block}"),
            StoreCommand::BlockFound(Box::new(found(block))),
        );
        self.unanswered.insert(block);
    }

    fn answer(&mut self, block: usize, verdict: Verdict) {
        self.unanswered.remove(&block);
        self.is_due = true;
        let name = format!("answered {block} {verdict:?}");
        self.tell(name, StoreCommand::BlockAnswered(hash(block), verdict));
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Find(block) => {
                self.found.insert(block);
                self.spool.insert(block);
                self.find(block);
            }
            Step::Judge(block) => {
                let is_main = CHAINS[self.chain].0.contains(&block);
                let verdict = if is_main {
                    Verdict::Accepted
                } else {
                    Verdict::Side
                };
                self.answer(block, verdict);
            }
            Step::Refuse(block) => {
                if !CHAINS[self.chain].0.contains(&block) {
                    self.refused.insert(block);
                    self.answer(block, Verdict::Refused("simulated".to_owned()));
                }
            }
            // The pool does not pass on such a verdict.
            Step::Forget(block) => drop(self.unanswered.remove(&block)),
            Step::Chain(chain) => {
                self.chain = chain;
                self.grown += GROWTH;
                self.is_due = true;
                let tip = self.tip();
                self.tell(format!("chain {}", tip.0), StoreCommand::Chain(tip));
            }
            Step::Locate => {
                let (asked, _) = self.question.take().expect("a question");
                self.locate(&asked);
            }
            Step::LocateBlindly => {
                let (asked, _) = self.question.take().expect("a question");
                self.locate_blindly(&asked);
            }
            Step::Commit | Step::FailedCommit | Step::SeeminglyFailedCommit => self.work(step),
            Step::Dump => self.dump(),
            Step::Wait => {
                self.now.ms += LONG_MS;
                self.told.push("waited".to_owned());
            }
            Step::Crash => self.crash(),
        }
    }

    fn tip(&self) -> Height {
        Height(CHAINS[self.chain].1 + self.grown)
    }

    fn locate(&mut self, asked: &[BlockQuery]) {
        let main: Vec<Hash> = CHAINS[self.chain].0.iter().map(|at| hash(*at)).collect();
        let place = |(hash, _): &BlockQuery| {
            let there = if main.contains(hash) {
                *hash
            } else {
                Hash::ZERO
            };
            (*hash, Some(there))
        };
        let look = Look {
            view: view(self.tip()),
            places: asked.iter().map(place).collect(),
        };
        self.was_blind = false;
        self.tell(
            format!("located in {}", self.chain),
            StoreCommand::Located(look),
        );
    }

    fn locate_blindly(&mut self, asked: &[BlockQuery]) {
        let look = Look {
            view: view(Height(1)),
            places: asked.iter().map(|(hash, _)| (*hash, None)).collect(),
        };
        self.was_blind = true;
        self.tell("located blindly".to_owned(), StoreCommand::Located(look));
    }

    fn work(&mut self, fate: Step) {
        self.disk.fate = fate;
        self.now.ms += 200;
        let mut out = Vec::new();
        self.group_commit.work(&mut self.disk, self.now, &mut out);
        if self.group_commit.is_done() {
            self.told.clear();
        } else {
            self.told.push(format!("{fate:?}"));
        }
        for outcome in out {
            match outcome {
                StoreOutcome::Answered(answered) => {
                    let block = (0..3).find(|block| hash(*block) == answered).expect("ours");
                    let state = self.disk.ledger_model.blocks[&answered].state;
                    assert_ne!(state, BlockState::Found, "the verdict on {block} was lost");
                    self.spool.remove(&block);
                    self.answered.insert(block);
                }
                StoreOutcome::Locate(asked) => {
                    self.is_due = false;
                    self.question = Some((asked, self.chain));
                }
                StoreOutcome::Moved(change) => {
                    assert!(!self.was_blind, "decided blindly: {change:?}");
                }
                StoreOutcome::NotDurable(_) => panic!("there are no shares to give up"),
                _ => {}
            }
        }
        if self.group_commit.is_done() && self.question.is_some() {
            self.told.push("a question is open".to_owned());
        }
    }

    fn dump(&mut self) {
        let rows = self.disk.ledger_model.blocks.clone();
        for (at, row) in rows {
            if let Some(from) = row.round_from.filter(|_| !row.is_dumped) {
                let block = (0..3).find(|block| hash(*block) == at).expect("ours");
                // An existing file is not written again.
                self.dumps.entry(block).or_insert(from.0);
                self.tell(format!("dumped {block}"), StoreCommand::Dumped(at, 1.0));
            }
        }
    }

    /// Loses everything that is not on the disk; blocks in the spool are offered again.
    fn crash(&mut self) {
        self.group_commit = GroupCommit::new(self.now);
        self.told.clear();
        self.question = None;
        self.is_due = false;
        self.unanswered.clear();
        for block in self.spool.clone() {
            self.refused.remove(&block);
            self.find(block);
        }
    }

    fn check(&self) {
        for (at, row) in &self.disk.ledger_model.blocks {
            assert!(row.closings <= 1, "a round was closed twice by {at}");
            assert_eq!(row.round_from.is_some(), row.closings == 1);
            let block = (0..3).find(|block| hash(*block) == *at).expect("ours");
            if let Some(from) = self.dumps.get(&block) {
                assert_eq!(row.round_from, Some(Height(*from)), "the dump's round");
            }
        }
        for block in &self.found {
            let is_kept = self.spool.contains(block) || self.answered.contains(block);
            assert!(
                is_kept,
                "block {block} is neither in the spool nor answered"
            );
        }
    }

    /// Checks, from any state, that without further faults the ledger reaches the states that the chain
    /// implies: each round on the main chain is closed, and shares in a round closed by an orphan belong
    /// to the next.
    fn check_settled(mut self) {
        self.now.ms += LONG_MS;
        for _ in 0..3 {
            self.crash_free_round();
        }
        assert!(
            self.group_commit.is_done(),
            "everything is durable in the end"
        );
        let (blocks, tip) = (CHAINS[self.chain].0, self.tip().0);
        for block in &self.found {
            let row = &self.disk.ledger_model.blocks[&hash(*block)];
            let is_main = blocks.contains(block);
            let depth = tip + 1 - HEIGHTS[*block];
            let ought = match (is_main, depth >= MATURITY) {
                (true, true) => BlockState::Confirmed,
                (true, false) => BlockState::Accepted,
                (false, _) if row.state == BlockState::Refused => BlockState::Refused,
                (false, _) => BlockState::Orphaned,
            };
            assert_eq!(row.state, ought, "block {block}");
            assert!(
                !is_main || row.round_from.is_some(),
                "round of {block} is open"
            );
            assert_eq!(row.round_from.is_some(), row.is_dumped, "dump of {block}");
        }
        self.check();
    }

    fn crash_free_round(&mut self) {
        for block in self.unanswered.clone() {
            self.take(Step::Judge(block));
        }
        for block in self.spool.clone() {
            // The node has forgotten it: a restart offers it again.
            if !self.answered.contains(&block) {
                self.find(block);
                self.take(Step::Judge(block));
            }
        }
        self.take(Step::Wait);
        self.work(Step::Commit);
        self.work(Step::Commit);
        let tip = self.tip();
        self.tell("chain".to_owned(), StoreCommand::Chain(tip));
        self.work(Step::Commit);
        if let Some((asked, _)) = self.question.take() {
            self.locate(&asked);
        }
        self.work(Step::Commit);
        self.dump();
        self.work(Step::Commit);
    }

    /// Everything that decides the possible next steps.
    fn key(&self) -> String {
        format!(
            "{:?} {:?} {} {} {} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.disk.ledger_model.blocks,
            self.disk.ledger_model.highest,
            self.chain,
            self.grown,
            self.is_due,
            self.spool,
            self.found,
            self.unanswered,
            self.answered,
            self.refused,
            self.question,
            self.told,
            self.dumps
        )
    }
}

fn replay(path: &[Step]) -> Case {
    let mut case = Case::new();
    for step in path {
        case.take(*step);
    }
    case
}

#[test]
fn blocks_and_rounds_come_right_in_every_order() {
    let depth = std::env::var("LIFE_CYCLE_DEPTH");
    let depth = depth
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(DEPTH);
    let mut seen = HashSet::new();
    let mut paths: VecDeque<Vec<Step>> = VecDeque::from([Vec::new()]);
    let mut tried = 0_u64;
    while let Some(path) = paths.pop_front() {
        let steps = replay(&path).steps();
        for step in steps {
            let mut longer = path.clone();
            longer.push(step);
            tried += 1;
            let said = format!("after {longer:?}");
            let explored = std::panic::catch_unwind(|| {
                let case = replay(&longer);
                case.check();
                let key = case.key();
                case.check_settled();
                key
            });
            let key = explored.unwrap_or_else(|_| panic!("{said}"));
            if seen.insert(key) && longer.len() < depth {
                paths.push_back(longer);
            }
        }
    }
    println!("{} states, {tried} steps, {depth} deep", seen.len());
    assert!(seen.len() > 1_000);
}
