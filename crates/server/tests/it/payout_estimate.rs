//! Estimates of credits, compared with what settlements gave later, in real ledgers.

use std::collections::BTreeMap;

use hstratum::payout::{
    AwaitedServers, Estimates, Estimator, NextBlock, PayoutTerms, Scheme, SettlementChange,
    TermsHistory, per_day, put_terms, settle,
};
use hstratum::sql::Sql;
use hstratum::store::compaction::{self, Progress};
use hstratum::store::ledger::Compacted;
use hstratum::values;
use hstratum_core::accounting::reward_split::{Decimal, FeePpm};
use hstratum_core::chain::address::Network;
use hstratum_core::units::{Difficulty, Height};

use crate::ledgers::{Ledger, NETWORK_DIFFICULTY, on_each};

const ACCOUNTS: [&str; 5] = ["alice", "bob", "carol", "dave", "eve"];
/// Reward of the blocks of [`Ledger::block`].
const REWARD: u64 = 2_000_000_000;

fn terms(scheme: Scheme, fee: &str) -> PayoutTerms {
    PayoutTerms {
        scheme,
        fee: FeePpm::parse_percent(fee).expect("a percentage"),
        threshold: 0,
        threshold_min: 0,
    }
}

fn pplns(window: &str) -> Scheme {
    let window = Decimal::parse_positive(window).expect("a number");
    Scheme::Pplns { window }
}

fn next_at(height: u32) -> NextBlock {
    NextBlock {
        height,
        reward: REWARD,
        difficulty: Difficulty::new(NETWORK_DIFFICULTY).expect("above zero"),
    }
}

fn estimate(
    ledger: &Ledger,
    estimator: &mut Estimator,
    terms: &TermsHistory,
    tip: u32,
) -> Estimates {
    let mut db = ledger.open();
    let next = Some(next_at(tip + 1));
    db.read(|sql| estimator.estimate(sql, terms, next))
        .expect("read")
}

/// A small generator of numbers by seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Parts of a block by account.
type Parts = BTreeMap<&'static str, u64>;

/// A pool's life: shares, blocks that stay or are lost, settlements now and then.
struct History<'a> {
    ledger: &'a Ledger,
    /// Row ids of [`ACCOUNTS`].
    ids: [i64; 5],
    terms: TermsHistory,
    random: Random,
    /// An estimator that lives as long as a server.
    estimator: Estimator,
    height: u32,
    /// Height and state of blocks by hash.
    blocks: BTreeMap<String, (u32, &'static str)>,
    /// First estimate of each block since the chain below it last changed.
    foretold: BTreeMap<String, Parts>,
    settled: usize,
}

impl<'a> History<'a> {
    fn new(ledger: &'a Ledger, terms: PayoutTerms, seed: u64) -> Self {
        ledger.write(|sql: &mut dyn Sql| put_terms(sql, &terms, 1, "test"));
        Self {
            ledger,
            ids: ACCOUNTS.map(|name| ledger.account(name)),
            terms: TermsHistory::always(terms),
            random: Random(seed),
            estimator: Estimator::default(),
            height: 0,
            blocks: BTreeMap::new(),
            foretold: BTreeMap::new(),
            settled: 0,
        }
    }

    fn live(&mut self) {
        for _ in 0..60 {
            self.height += 1 + self.random.below(5) as u32;
            self.mine();
            match self.random.below(9) {
                0..3 => {
                    let state = ["accepted", "accepted", "found", "orphaned"]
                        [self.random.below(4) as usize];
                    let hash = self.ledger.block(self.height, state);
                    self.blocks.insert(hash, (self.height, state));
                }
                3 => self.change_one(),
                4 => self.confirm(),
                5 => self.settle(),
                6 => self.change_terms(),
                _ => {}
            }
            self.look();
        }
        let unsure: Vec<String> = self.in_state("found").map(|(hash, _)| hash).collect();
        for hash in unsure {
            self.set(&hash, "orphaned");
        }
        self.look();
        self.confirm();
        self.settle();
        assert_eq!(self.in_state("confirmed").count(), 0);
        assert!(self.settled > 3, "{} settlements", self.settled);
        self.height += 1;
        self.mine();
        self.find();
    }

    fn mine(&mut self) {
        let mut rows = Vec::new();
        for id in self.ids {
            let count = self.random.below(12) as u32;
            let difficulty = [1.0, 0.1, 2.0_f64.powf(1.0 / 16.0)][self.random.below(3) as usize];
            if count > 0 {
                rows.push(values![self.height, id, difficulty, count]);
            }
        }
        self.ledger.write(|sql: &mut dyn Sql| {
            for row in &rows {
                sql.execute(
                    "INSERT INTO credit (height, account, difficulty, origin, count)
                     VALUES (?1, ?2, ?3, 0, ?4)",
                    row,
                )?;
            }
            Ok(())
        });
    }

    /// The operator changes scheme, window and fee: blocks from some height above on are divided otherwise.
    fn change_terms(&mut self) {
        let scheme = match self.random.below(3) {
            0 => Scheme::Prop,
            1 => pplns("0.4"),
            _ => pplns("3"),
        };
        let fee = ["0", "0.5", "1.25"][self.random.below(3) as usize];
        self.ledger
            .write(|sql: &mut dyn Sql| put_terms(sql, &terms(scheme, fee), 1, "test"));
        let read = self.ledger.read(|sql| TermsHistory::read(sql));
        self.terms = read.expect("there are some");
    }

    fn in_state(&self, state: &'static str) -> impl Iterator<Item = (String, u32)> {
        let blocks = self.blocks.iter();
        let blocks = blocks.filter(move |(_, (_, now))| *now == state);
        blocks.map(|(hash, (height, _))| (hash.clone(), *height))
    }

    fn set(&mut self, hash: &str, state: &'static str) {
        self.ledger.set_state(hash, state);
        let block = self.blocks.get_mut(hash).expect("known");
        if (block.1, state) != ("accepted", "confirmed") {
            // Rounds above it are others now.
            let height = block.0;
            let blocks = &self.blocks;
            self.foretold.retain(|hash, _| blocks[hash].0 < height);
        }
        self.blocks.get_mut(hash).expect("known").1 = state;
    }

    /// A block is lost or comes back.
    fn change_one(&mut self) {
        let blocks = self.blocks.iter();
        let all: Vec<(String, &str)> = blocks
            .map(|(hash, (_, state))| (hash.clone(), *state))
            .collect();
        if all.is_empty() {
            return;
        }
        let (hash, state) = &all[self.random.below(all.len() as u64) as usize];
        let new = match *state {
            "accepted" | "confirmed" | "settled" => "orphaned",
            _ => "accepted",
        };
        self.set(hash, new);
        if *state == "settled" {
            // The settlement is reversed, so that it is divided anew if it comes back.
            self.settle();
        }
    }

    /// The lowest accepted blocks become spendable.
    fn confirm(&mut self) {
        let accepted: Vec<String> = self.in_state("accepted").map(|(hash, _)| hash).collect();
        for hash in accepted {
            self.set(&hash, "confirmed");
        }
    }

    /// Estimates anew and by what is kept: both must be the same.
    fn look(&mut self) {
        let now = estimate(self.ledger, &mut self.estimator, &self.terms, self.height);
        let anew = estimate(
            self.ledger,
            &mut Estimator::default(),
            &self.terms,
            self.height,
        );
        for account in ACCOUNTS {
            assert_eq!(now.of(account), anew.of(account), "{account}");
        }
        assert_eq!(now.owed, anew.owed);
        let mut sums = Parts::new();
        let mut expected: Vec<_> = self.in_state("accepted").collect();
        expected.extend(self.in_state("confirmed"));
        expected.sort_by_key(|(hash, height)| (*height, hash.clone()));
        let shown = now.blocks.iter();
        let shown: Vec<_> = shown
            .map(|block| (block.hash.clone(), block.height))
            .collect();
        assert_eq!(
            shown, expected,
            "blocks on the main chain without a settlement"
        );
        for block in &now.blocks {
            let parts = ACCOUNTS.iter().zip(self.ids);
            let parts: Parts = parts.map(|(name, id)| (*name, block.part(id))).collect();
            for (account, part) in &parts {
                *sums.entry(account).or_default() += part;
            }
            self.foretold.entry(block.hash.clone()).or_insert(parts);
        }
        let mut owed = 0;
        for (account, id) in ACCOUNTS.iter().zip(self.ids) {
            let sum = sums.get(account).copied().unwrap_or_default();
            assert_eq!(now.of(account).pending, sum, "{account}");
            let balance = "SELECT balance FROM balances WHERE account = ?1";
            owed += sum as i64 + self.ledger.value::<i64>(balance, &values![id]);
        }
        assert_eq!(now.owed, owed);
    }

    /// Settles, and compares with what was foretold when each block was first seen.
    fn settle(&mut self) {
        self.look();
        let mut db = self.ledger.open();
        let awaited = AwaitedServers::of(&mut db, &[]).expect("known");
        let settled =
            settle(&mut db, Network::Regtest, &self.terms, &awaited, 5_000).expect("settled");
        let divided = settled.iter();
        for one in divided.filter(|one| one.change == SettlementChange::Settled) {
            let foretold = &self.foretold[&one.block];
            for (account, id) in ACCOUNTS.iter().zip(self.ids) {
                let credited: i64 = self.ledger.value(
                    "SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM settlement_credits
                      WHERE settlement = ?1 AND account = ?2",
                    &values![one.id, id],
                );
                assert_eq!(
                    credited as u64, foretold[account],
                    "{account} of {}",
                    one.height
                );
            }
            self.blocks.get_mut(&one.block).expect("known").1 = "settled";
            self.settled += 1;
        }
    }

    /// A block at the next height brings what was foretold.
    fn find(&mut self) {
        let before = estimate(self.ledger, &mut self.estimator, &self.terms, self.height);
        assert!(before.has_next);
        let hash = self.ledger.block(self.height + 1, "accepted");
        let after = estimate(
            self.ledger,
            &mut self.estimator,
            &self.terms,
            self.height + 1,
        );
        let found = after.blocks.iter().find(|block| block.hash == hash);
        let found = found.expect("pending");
        let mut all = 0;
        for (account, id) in ACCOUNTS.iter().zip(self.ids) {
            let part = found.part(id);
            assert_eq!(before.of(account).if_found_now, part, "{account}");
            all += part;
        }
        let fee = self.terms.at(self.height + 1).fee;
        assert_eq!(all, REWARD - fee.of(REWARD));
    }
}

#[test]
fn pending_is_what_later_settlements_give() {
    on_each(|ledger| History::new(ledger, terms(Scheme::Prop, "1"), 1).live());
    on_each(|ledger| History::new(ledger, terms(pplns("2"), "0.5"), 2).live());
    on_each(|ledger| History::new(ledger, terms(pplns("0.3"), "0"), 3).live());
    for seed in 4..8 {
        let scheme = match seed % 2 {
            0 => Scheme::Prop,
            _ => pplns("1.7"),
        };
        History::new(&Ledger::in_file(), terms(scheme, "2.25"), seed).live();
    }
}

#[test]
fn nothing_is_promised_of_a_block_that_is_never_divided() {
    on_each(|ledger| {
        let always = TermsHistory::always(terms(Scheme::Prop, "0"));
        ledger.credit(1, "alice", 1.0, 1);
        ledger.credit(9, "alice", 1.0, 1);
        ledger.block(5, "accepted");
        ledger.block(9, "accepted");
        let look = || estimate(ledger, &mut Estimator::default(), &always, 9);
        let now = look();
        assert_eq!(now.of("alice").pending, 2 * REWARD);
        assert_eq!(now.of("alice").if_found_now, 0, "nobody has worked since");
        // Credit of its round is gone.
        ledger.execute("UPDATE meta SET pruned_to = 2", &[]);
        assert_eq!(look().of("alice").pending, REWARD);
        // Credit was merged across its height before it was known.
        ledger.execute("INSERT INTO spans (first, last) VALUES (8, 10)", &[]);
        assert_eq!(look().of("alice").pending, 0);
        let none = ledger.read(|sql: &mut dyn Sql| {
            Ok(Estimator::default()
                .estimate(sql, &always, None)
                .expect("read"))
        });
        assert!(!none.has_next);
    });
}

#[test]
fn a_day_brings_what_the_hashrate_is_worth_less_the_fee() {
    let difficulty = Difficulty::new(1_000.0).expect("above zero");
    let next = NextBlock {
        height: 1,
        reward: REWARD,
        difficulty,
    };
    // A hashrate of one block an hour.
    let hashrate = 1_000.0 * 4_294_967_296.0 / 3_600.0;
    let fee = |percent| FeePpm::parse_percent(percent).expect("a percentage");
    assert_eq!(per_day(hashrate, next, fee("0")), 24 * REWARD);
    assert_eq!(per_day(hashrate, next, fee("1")), 24 * REWARD / 100 * 99);
    assert_eq!(per_day(0.0, next, fee("1")), 0);
}

/// Sums of credit are kept between readings. Heights merged across the end of such a sum would be counted twice.
#[test]
fn credit_that_was_read_before_is_counted_once_when_heights_are_merged() {
    on_each(|ledger| {
        let wide = pplns("1000");
        for scheme in [Scheme::Prop, wide, pplns("0.4")] {
            let always = TermsHistory::always(terms(scheme, "0"));
            let mut estimator = Estimator::default();
            let mine = |from, to| {
                for height in from..=to {
                    ledger.credit(height, "alice", 1.0, height % 7 + 1);
                    ledger.credit(height, "bob", 2.0, height % 5 + 1);
                }
            };
            let mut looks_alike = |tip, what: &str| {
                let kept = estimate(ledger, &mut estimator, &always, tip);
                let anew = estimate(ledger, &mut Estimator::default(), &always, tip);
                for account in ["alice", "bob"] {
                    assert_eq!(kept.of(account), anew.of(account), "{account} {what}");
                    assert!(kept.of(account).if_found_now > 0);
                }
            };
            ledger.execute("DELETE FROM credit", &[]);
            ledger.execute("DELETE FROM spans", &[]);
            mine(1, 70);
            looks_alike(70, "at first");
            mine(71, 71);
            looks_alike(71, "a height later");
            ledger.credit(70, "alice", 5.0, 1);
            looks_alike(71, "with a late share of a height that is still read");
            mine(72, 300);
            compact(ledger, 300);
            assert_eq!(ledger.get("SELECT last FROM spans"), 144);
            looks_alike(300, "after heights were merged");
            mine(301, 302);
            looks_alike(302, "later still");
        }
    });
}

/// Merges what is old enough.
fn compact(ledger: &Ledger, tip: u32) {
    let mut progress = Progress::default();
    loop {
        let slice = |sql: &mut dyn Sql| compaction::slice(sql, progress, Some(Height(tip)), 0);
        let (compacted, next) = ledger.write(slice);
        progress = next;
        if compacted == Compacted::All {
            return;
        }
    }
}
