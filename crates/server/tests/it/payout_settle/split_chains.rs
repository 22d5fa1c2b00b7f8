//! Splits in a real ledger under a random chain: blocks that are lost, come back, are recorded late or twice, terms
//! and addresses that change, payments beside them. In the end the ledger has to the base unit what the coinbases of
//! the main chain say, and nobody was paid twice.

use std::collections::BTreeMap;

use hstratum::node::Look;
use hstratum::store::blocks::{self, WatchTurns};
use hstratum_core::accounting::ledger::{ChainView, Tip};
use hstratum_core::chain::coinbase_split::FrozenSplit;

use super::splits::*;
use super::*;

/// Accounts; the last has no address.
const ACCOUNTS: u8 = 9;

/// Blocks that all worlds together find; `SPLIT_BLOCKS=10000` for more.
const BLOCKS: usize = 400;

/// Blocks that a world finds.
const WORLD_BLOCKS: usize = 200;

/// A block of the chain, and the number of ours if it is one.
#[derive(Clone, Copy)]
struct Link {
    hash: Hash,
    ours: Option<usize>,
}

/// Depth of reorganisations.
#[derive(Clone, Copy, PartialEq)]
enum Depth {
    /// Less deep than a reward must be: what is settled stays. Blocks are recorded before their reward is mature.
    Shallow,
    /// Deeper: settled blocks are lost as well, and blocks are recorded at any time.
    Deep,
}

struct World<'a> {
    ledger: &'a Ledger,
    splitter: Splitter,
    random: u64,
    depth: Depth,
    /// The main chain from height 1 on.
    chain: Vec<Link>,
    /// The branch that the last reorganisation has left, and where it began.
    left: Option<(usize, Vec<Link>)>,
    found: Vec<FoundBlock>,
    /// Those that are in the spool only.
    unrecorded: Vec<usize>,
    looks: u64,
    turns: WatchTurns,
    splits: Vec<Arc<CoinbaseSplit>>,
    /// Base units that payments have paid.
    sent: BTreeMap<String, u64>,
    rides: usize,
}

impl World<'_> {
    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % end
    }

    fn happens(&mut self, in_hundred: u64) -> bool {
        self.below(100) < in_hundred
    }

    fn height(&self) -> u32 {
        u32::try_from(self.chain.len()).expect("a short chain")
    }

    fn tip(&self) -> Hash {
        self.chain.last().map_or(Hash::ZERO, |link| link.hash)
    }

    fn account(&mut self) -> String {
        match self.below(ACCOUNTS.into()) {
            0 => "no address".to_owned(),
            number => name(u8::try_from(number).expect("small")),
        }
    }

    fn mine(&mut self) {
        for _ in 0..=self.below(4) {
            let account = self.account();
            let id = self.ledger.account(&account);
            let difficulty = [1.0, 7.5, 20.0, 33.3][self.below(4) as usize];
            self.ledger.execute(
                "INSERT INTO credit (height, account, difficulty, origin, count) VALUES (?1, ?2, ?3, 0, 1)
                 ON CONFLICT (height, account, difficulty, origin) DO UPDATE SET count = credit.count + 1",
                &values![self.height() + 1, id, difficulty],
            );
        }
    }

    /// Computes the split of the next block, as the server's thread does.
    fn compute(&mut self) {
        let last_found = match self.unrecorded.last() {
            Some(&ours) => Some(self.found[ours].hash),
            None => self.found.last().map(|block| block.hash),
        };
        let block = MinedBlock {
            tip: self.tip(),
            ..mined(self.height() + 1, last_found)
        };
        let mut terms = split_terms(self.ledger);
        terms.output_min = 30 * HNS;
        terms.outputs_max = 4;
        let mut db = self.ledger.open();
        let split = self.splitter.compute(&mut db, &terms, &block);
        if let Some(split) = split.expect("computed") {
            self.splits.push(Arc::new(split));
        }
    }

    /// Finds a block on the tip with the newest split, or with the one before it, as a first job has it.
    fn find(&mut self) -> Option<usize> {
        let back = 1 + self.below(2) as usize;
        let split = self.splits.iter().rev().nth(back - 1)?.clone();
        let reward = REWARD + self.below(3_000_000);
        if !split.serves(Height(self.height() + 1), reward) {
            return None;
        }
        let frozen = split.freeze(self.tip(), reward);
        let record = frozen.record();
        self.check_amounts(&frozen, &record);
        self.rides += usize::from(record.lines.iter().any(|line| {
            line.output
                .as_ref()
                .is_some_and(|(_, value)| *value > line.part)
        }));
        let number = self.found.len();
        let label = format!("ours {number}");
        self.found.push(FoundBlock {
            payout: Payout::Split,
            split: Some(BlockSplit::Recorded(Arc::new(record))),
            ..found_block(self.height() + 1, &label)
        });
        match self.happens(15) {
            true => self.unrecorded.push(number),
            false => record_block(self.ledger, &self.found[number]),
        }
        Some(number)
    }

    fn check_amounts(&self, frozen: &FrozenSplit, record: &SplitRecord) {
        let parts: u64 = record.lines.iter().map(|line| line.part).sum();
        assert_eq!(parts + record.fee + record.remainder, record.reward);
        let outputs: u64 = frozen.outputs.iter().map(|output| output.value).sum();
        let recorded = record.lines.iter().filter_map(|line| line.output.as_ref());
        assert_eq!(outputs, recorded.map(|(_, value)| value).sum::<u64>());
        assert!(outputs <= frozen.reward() && frozen.outputs.len() <= 4);
    }

    fn extend(&mut self, ours: Option<usize>) {
        let hash = match ours {
            Some(number) => self.found[number].hash,
            None => {
                self.looks += 1;
                hash(&format!("another's {} {}", self.looks, self.random))
            }
        };
        self.chain.push(Link { hash, ours });
    }

    /// Replaces the last blocks by more of another branch, or by the branch that was left before.
    fn reorganise(&mut self) {
        let most = match self.depth {
            Depth::Shallow => 1,
            Depth::Deep => 5,
        };
        if let Some((fork, branch)) = self.left.take()
            && self.happens(40)
            && self.chain.len() - fork <= most
        {
            self.chain.truncate(fork);
            self.chain.extend(branch);
        } else {
            let depth = 1 + self.below(most as u64) as usize;
            let fork = self.chain.len().saturating_sub(depth);
            self.left = Some((fork, self.chain.split_off(fork)));
            for _ in 0..depth {
                self.extend(None);
            }
        }
        self.extend(None);
    }

    /// The node's look at all blocks of ours, by the ledger's thread.
    fn look(&mut self) {
        self.looks += 1;
        let height = Height(self.height());
        let mut unrecorded = self.unrecorded.iter();
        if self.depth == Depth::Shallow && unrecorded.any(|&at| self.found[at].height < height) {
            self.recover();
        }
        let tip = Tip {
            height,
            hash: self.tip(),
            work: (1_000_000 + self.looks).into(),
        };
        let turns = &mut self.turns;
        let watched = self.ledger.write(|sql| blocks::watched(sql, height, turns));
        let places = watched.into_iter().map(|(hash, height)| {
            let there = self.chain.get(height.0 as usize - 1);
            (hash, there.map(|link| link.hash))
        });
        let look = Look {
            view: ChainView {
                tip,
                is_synced: true,
            },
            places: places.collect(),
        };
        advance(self.ledger, &look);
    }

    fn recover(&mut self) {
        for number in std::mem::take(&mut self.unrecorded) {
            record_block(self.ledger, &self.found[number]);
        }
        if let Some(last) = self.found.last() {
            record_block(self.ledger, last);
        }
    }

    /// Pays who is due, by a transaction that is confirmed at once.
    fn pay(&mut self) {
        let due = due_from(self.ledger, &from(60 * HNS));
        let _lock = PayoutLock::take(&self.ledger.place()).expect("free");
        for payee in due {
            let wallet = format!("test {}", self.looks);
            self.looks += 1;
            let id: i64 = self.ledger.write(|sql| {
                let row = sql.query_one(
                    "INSERT INTO payments (wallet, state, txid, raw, network_fee, created_at, changed_at)
                     VALUES (?1, 'confirmed', 'x', 'x', 0, 1, 1) RETURNING id",
                    &values![&wallet],
                )?;
                row.get(0)
            });
            self.ledger.execute(
                "INSERT INTO payment_outputs VALUES (?1, ?2, ?3, ?4)",
                &values![id, payee.account_id, &payee.address, payee.amount],
            );
            *self.sent.entry(payee.name).or_default() += payee.amount;
        }
    }

    fn change_terms(&mut self) {
        let fee = ["0", "1", "2.5", "20"][self.below(4) as usize];
        let window = ["1", "2", "3.5"][self.below(3) as usize];
        let new = PayoutTerms {
            fee: FeePpm::parse_percent(fee).expect("a percentage"),
            ..pplns(window)
        };
        self.ledger.write(|sql| put_terms(sql, &new, 1_000, "east"));
    }

    fn step(&mut self) {
        self.mine();
        if self.happens(10) {
            self.recover();
        }
        self.compute();
        let ours = if self.happens(70) { self.find() } else { None };
        if ours.is_some() && self.happens(10) {
            // Another of ours at the same height, which loses.
            self.find();
        }
        self.extend(ours);
        if self.happens(12) {
            self.reorganise();
        }
        if self.happens(80) {
            self.look();
        }
        if self.happens(2) {
            self.change_terms();
        }
        if self.happens(5) {
            self.pay();
        }
    }

    /// Compares the ledger with the coinbases of the main chain.
    fn check(&mut self) {
        self.recover();
        for _ in 0..8 {
            self.extend(None);
            self.look();
        }
        let (mut earned, mut paid) = (BTreeMap::new(), self.sent.clone());
        let (mut rewards, mut kept) = (0, 0);
        for ours in self.chain.iter().filter_map(|link| link.ours) {
            let split = self.found[ours].split.as_ref().expect("ours are split");
            let record = split.record();
            rewards += record.reward;
            kept += record.fee + record.remainder;
            for line in &record.lines {
                *earned.entry(line.account.to_string()).or_insert(0) += line.part;
                if let Some((_, value)) = &line.output {
                    *paid.entry(line.account.to_string()).or_default() += value;
                }
            }
        }
        assert_eq!(earned.values().sum::<u64>() + kept, rewards);
        let of =
            |amounts: &BTreeMap<String, u64>, name: &str| amounts.get(name).copied().unwrap_or(0);
        let rows = self
            .ledger
            .rows("SELECT name, credited, paid, balance FROM balances ORDER BY name");
        for row in rows {
            let name: String = row.get(0).expect("a name");
            assert_eq!(
                row.get::<u64>(1).expect("credited"),
                of(&earned, &name),
                "{name}"
            );
            assert_eq!(row.get::<u64>(2).expect("paid"), of(&paid, &name), "{name}");
            if self.depth == Depth::Shallow {
                assert!(
                    row.get::<i64>(3).expect("a balance") >= 0,
                    "{name} was paid twice"
                );
            }
        }
        let own = self
            .ledger
            .get("SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM pool_entries");
        assert_eq!(u64::try_from(own), Ok(kept));
        if self.depth == Depth::Shallow {
            assert_eq!(faults(self.ledger), [""; 0]);
        }
    }
}

fn run_world(seed: u64, depth: Depth, blocks: usize) -> (usize, usize) {
    let ledger = Ledger::in_file();
    ledger.write(|sql| put_terms(sql, &terms(), 1_000, "east"));
    let mut world = World {
        ledger: &ledger,
        splitter: Splitter::default(),
        random: seed,
        depth,
        chain: Vec::new(),
        left: None,
        found: Vec::new(),
        unrecorded: Vec::new(),
        looks: 0,
        turns: WatchTurns::default(),
        splits: Vec::new(),
        sent: BTreeMap::new(),
        rides: 0,
    };
    while world.found.len() < blocks {
        world.step();
    }
    world.check();
    assert!(!world.sent.is_empty(), "somebody was paid by a payment");
    (world.found.len(), world.rides)
}

#[test]
fn ledger_has_what_the_coinbases_of_the_main_chain_say() {
    let blocks = std::env::var("SPLIT_BLOCKS");
    let blocks = blocks.map_or(BLOCKS, |text| text.parse().expect("a number"));
    let (mut all, mut riding) = (0, 0);
    for seed in (7..).take(blocks.div_ceil(WORLD_BLOCKS)) {
        let depth = [Depth::Shallow, Depth::Deep][seed as usize % 2];
        println!("world {seed}");
        let (found, rides) = run_world(seed, depth, WORLD_BLOCKS);
        all += found;
        riding += rides;
    }
    println!("{all} blocks, {riding} of them with balances");
    assert!(
        riding > all / 20,
        "balances ride along in {riding} of {all} blocks"
    );
}
