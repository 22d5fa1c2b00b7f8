//! Compares estimates with what blocks brought, in a run without faults in which hashrates change.
//!
//! At each find, before the ledger has the block, all accounts are estimated; every few finds a payout settles. What
//! was pending must be what the settlement credits, to the base unit, once the ledger had all shares of the
//! round. What a block found at that moment would bring may be off by the work that the ledger did not have yet: no
//! account by more than the part of it in the round or window.

use std::collections::BTreeMap;
use std::sync::Arc;

use hstratum::payout::{
    AwaitedServers, Estimates, Estimator, NextBlock, PayoutTerms, Scheme, SettlementChange,
    TermsHistory, settle,
};
use hstratum::sql::{Db, Sql, SqlError, Sqlite};
use hstratum::values;
use hstratum_core::accounting::reward_split::{Decimal, FeePpm};
use hstratum_core::chain::address::Network;
use hstratum_core::session::difficulty::Dynamic;
use hstratum_core::units::{Difficulty, Hash, Height};

use crate::EstimateReport;
use crate::world::World;
use crate::world::plan::{Faults, MinerKind, MinerPlan, RunPlan};

/// Finds between two payouts.
const FINDS_A_PAYOUT: u64 = 5;
/// Mean time between the blocks of others, in milliseconds.
const BLOCK_MS: u64 = 60_000;
/// Hashes for a block, which the pool needs some minutes for.
const HASHES_PER_BLOCK: f64 = 4_000.0;
/// Time after a find at which the block is on the chain and shares of its height may still be on their way, in
/// milliseconds.
const LOOK_MS: u64 = 150;
/// Time between two changes of a hashrate, in milliseconds.
const CHANGE_MS: u64 = 120_000;
/// Bounds of the hashrate of a miner, in hashes a second.
const HASHRATES: (f64, f64) = (0.5, 20.0);
const ACCOUNTS: [&str; 6] = ["alice", "bob", "carol", "dave", "eve", "frank"];

/// Amounts by account, without those of 0.
type Amounts = BTreeMap<String, u64>;

/// Estimate of a block at the moment at which it was found.
struct Forecast {
    height: u32,
    reward: u64,
    amounts: Amounts,
    basis: Basis,
}

/// The part of the ledger that decides about a block's division.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Basis {
    /// Height of the block below, if there is one.
    cut: Option<u32>,
    /// Work at the heights that count, in all.
    work: f64,
}

pub(crate) struct EstimateCheck {
    scheme: Scheme,
    terms: TermsHistory,
    /// One that lives as long as a server.
    estimator: Estimator,
    forecasts: BTreeMap<Hash, Forecast>,
    /// What was pending of a block, each time it was read.
    pending: BTreeMap<String, Vec<(Basis, Amounts)>>,
    finds: u64,
    /// Time of the next reading beside those at finds.
    look_ms: Option<u64>,
    changed_ms: u64,
    pub(crate) report: EstimateReport,
}

/// A plan without faults, on a network whose rewards can soon be spent.
pub(crate) fn calm_plan() -> RunPlan {
    let miners = ACCOUNTS.iter().zip(0_u8..).map(|(account, n)| MinerPlan {
        kind: MinerKind::Honest,
        name: format!("{account}.rig"),
        account: (*account).to_owned(),
        hashrate: 2.0 * f64::from(n + 1),
        latency_ms: 20 + 30 * u64::from(n),
        host: n,
        payee: None,
    });
    RunPlan {
        faulty_ms: 1_000 * 3_600_000,
        network: Network::Regtest,
        dynamic: Dynamic::On,
        hashes_per_block: HASHES_PER_BLOCK,
        block_ms: BLOCK_MS,
        miners: miners.collect(),
        shares_remembered_max: 4_000,
        proxy_secret: false,
        operator_fee: Arc::default(),
        faults: Faults::default(),
    }
}

impl World {
    /// Runs until so many blocks are settled and compared.
    pub(crate) fn run_with_estimates(&mut self, check: &mut EstimateCheck, blocks: u64) {
        self.begin();
        while check.report.blocks < blocks
            && let Some((at_ms, what)) = self.event_queue.next()
        {
            self.now_ms = at_ms;
            let known = self.oracle.blocks.len();
            self.take_step(what);
            if self.now_ms >= check.changed_ms + CHANGE_MS {
                check.changed_ms = self.now_ms;
                self.change_a_hashrate();
            }
            if self.oracle.blocks.len() > known {
                check.find(self);
                check.look_ms = Some(self.now_ms + LOOK_MS);
            } else if check
                .look_ms
                .take_if(|at_ms| *at_ms <= self.now_ms)
                .is_some()
            {
                check.read(self);
            }
        }
    }

    fn change_a_hashrate(&mut self) {
        let rng = &mut self.rngs.chain;
        let (at, factor) = (rng.usize(..self.miners.len()), 10_f64.powf(rng.f64() - 0.5));
        let hashrate = &mut self.miners[at].plan.hashrate;
        *hashrate = (*hashrate * factor).clamp(HASHRATES.0, HASHRATES.1);
    }
}

impl EstimateCheck {
    pub(crate) fn new(window: Option<&str>) -> Self {
        let scheme = match window {
            None => Scheme::Prop,
            Some(window) => Scheme::Pplns {
                window: Decimal::parse_positive(window).expect("a number"),
            },
        };
        Self {
            scheme,
            terms: TermsHistory::always(PayoutTerms {
                scheme,
                fee: FeePpm::new(10_000).expect("below one"),
                threshold: 0,
                threshold_min: 0,
            }),
            estimator: Estimator::default(),
            forecasts: BTreeMap::new(),
            pending: BTreeMap::new(),
            finds: 0,
            look_ms: None,
            changed_ms: 0,
            report: EstimateReport::default(),
        }
    }

    /// Estimates, since a block was found, and pays now and then.
    fn find(&mut self, world: &World) {
        let (mut db, next, estimates) = self.read(world);
        let amounts = amounts(|account| estimates.of(account).if_found_now);
        let basis = self.basis(&mut db, world, next.height);
        for (hash, found) in &world.oracle.blocks {
            let below = world.chain.height_of(&found.prev).expect("a known parent");
            // A block of a job of a height before is on no main chain.
            if below.0 + 1 == next.height {
                self.forecasts.entry(*hash).or_insert_with(|| Forecast {
                    height: next.height,
                    reward: next.reward,
                    amounts: amounts.clone(),
                    basis,
                });
            }
        }
        self.finds += 1;
        if self.finds.is_multiple_of(FINDS_A_PAYOUT) {
            self.pay(&mut db, world);
        }
    }

    /// Reads what is pending of each block, and what one found now would bring. An estimator that keeps what it
    /// has read says the same.
    fn read(&mut self, world: &World) -> (Db, NextBlock, Estimates) {
        let (path, _) = world.disk.path().expect("the ledger is in a file");
        let mut db = Db::Sqlite(Sqlite::open_beside(&path).expect("the ledger opens"));
        let process = world.process.as_ref().expect("the process runs");
        let pool = process.pool.as_ref().expect("a pool");
        let job = pool.status(world.now()).job.expect("a block has a job");
        let next = NextBlock {
            height: job.height.0,
            reward: job.reward,
            difficulty: Difficulty::new(job.network_difficulty.get()).expect("above zero"),
        };
        let mut estimate = |estimator: &mut Estimator| {
            let read = db.read(|sql| estimator.estimate(sql, &self.terms, Some(next)));
            read.expect("the ledger can be read")
        };
        let anew = estimate(&mut Estimator::default());
        let kept = estimate(&mut self.estimator);
        for account in ACCOUNTS {
            let [anew, kept] = [&anew, &kept].map(|all| all.of(account).if_found_now);
            assert_eq!(anew, kept, "{account}, by what was read before");
        }
        let ids = account_ids(&mut db);
        for block in &anew.blocks {
            let parts = amounts(|account| ids.get(account).map_or(0, |id| block.part(*id)));
            let basis = self.basis(&mut db, world, block.height);
            let readings = self.pending.entry(block.hash.clone()).or_default();
            readings.push((basis, parts));
        }
        (db, next, anew)
    }

    fn basis(&self, db: &mut Db, world: &World, height: u32) -> Basis {
        let cut = "SELECT max(height) FROM blocks
                    WHERE height < ?1 AND state IN ('accepted', 'confirmed')";
        let cut = db.read(|sql: &mut dyn Sql| sql.query_one(cut, &values![height])?.get(0));
        let cut: Option<u32> = cut.expect("the ledger can be read");
        let from = match self.scheme {
            Scheme::Prop => cut.map_or(0, |cut| cut + 1),
            Scheme::Pplns { .. } => 0,
        };
        let heights = Height(from)..=Height(height);
        let shares = world.oracle.committed.iter();
        let shares = shares.filter(|((height, ..), _)| heights.contains(height));
        let work = shares.map(|((.., bits), count)| f64::from_bits(*bits) * *count as f64);
        Basis {
            cut,
            work: work.sum(),
        }
    }

    /// Settles what is due, and compares.
    fn pay(&mut self, db: &mut Db, world: &World) {
        let network = world.plan.network;
        let awaited = AwaitedServers::of(db, &[]).expect("a file has none");
        let settled = settle(db, network, &self.terms, &awaited, world.now().unix_s);
        for one in settled.expect("what is confirmed can be settled") {
            assert_eq!(one.change, SettlementChange::Settled, "no block is lost");
            let credited = credited(db, one.id);
            let basis = self.basis(db, world, one.height);
            self.compare_pending(&one.block, basis, &credited);
            let hash = Hash::from_hex(&one.block).expect("a hash");
            if let Some(forecast) = self.forecasts.remove(&hash) {
                self.compare_forecast(db, &one.block, &forecast, basis, &credited);
            }
            self.report.blocks += 1;
        }
    }

    fn compare_pending(&mut self, block: &str, basis: Basis, credited: &Amounts) {
        let readings = self.pending.remove(block).expect("it was pending");
        let (whole, early): (Vec<_>, Vec<_>) =
            readings.into_iter().partition(|(at, _)| *at == basis);
        assert!(
            !whole.is_empty(),
            "{block} was never pending as it was settled"
        );
        for (_, parts) in whole {
            assert_eq!(parts, *credited, "what was pending of {block}");
            self.report.pending_exact += 1;
        }
        self.report.pending_early += early.len() as u64;
    }

    fn compare_forecast(
        &mut self,
        db: &mut Db,
        block: &str,
        forecast: &Forecast,
        basis: Basis,
        credited: &Amounts,
    ) {
        let (reward, difficulty) = reward_of(db, block);
        if forecast.basis.cut != basis.cut {
            // The block below had no verdict yet.
            self.report.forecasts_of_other_rounds += 1;
            return;
        }
        let all = match self.scheme {
            Scheme::Prop => basis.work,
            Scheme::Pplns { window } => {
                let window: f64 = window.to_string().parse().expect("a number");
                basis.work.min(window * difficulty)
            }
        };
        let missing = (basis.work - forecast.basis.work) / all;
        let moved = reward.abs_diff(forecast.reward) as f64;
        let allowed = missing * reward.max(forecast.reward) as f64 + moved + 1.0;
        let mut largest = 0;
        for account in ACCOUNTS {
            let [was, is] = [&forecast.amounts, credited];
            let [was, is] = [was, is].map(|all| all.get(account).copied().unwrap_or(0));
            let off = was.abs_diff(is);
            assert!(
                off as f64 <= allowed,
                "{account} was to have {was} of the block at {}, and has {is}: {allowed} are allowed",
                forecast.height
            );
            largest = largest.max(off);
        }
        let report = &mut self.report;
        report.forecasts += 1;
        let off = largest as f64 / reward as f64;
        report.off_largest = report.off_largest.max(off);
        report.off_sum += off;
        report.missing_largest = report.missing_largest.max(missing);
        report.missing_sum += missing;
    }
}

/// What accounts have, by a function of their names.
fn amounts(of: impl Fn(&str) -> u64) -> Amounts {
    let all = ACCOUNTS.iter().map(|name| ((*name).to_owned(), of(name)));
    all.filter(|(_, amount)| *amount > 0).collect()
}

fn account_ids(db: &mut Db) -> BTreeMap<String, i64> {
    let ids = db.read(|sql: &mut dyn Sql| {
        let rows = sql.query("SELECT name, id FROM accounts", &[])?;
        let ids = rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?)));
        ids.collect::<Result<_, SqlError>>()
    });
    ids.expect("the ledger can be read")
}

fn credited(db: &mut Db, settlement: i64) -> Amounts {
    let credits = db.read(|sql: &mut dyn Sql| {
        let rows = sql.query(
            "SELECT name, amount FROM settlement_credits JOIN accounts ON id = account
              WHERE settlement = ?1 AND amount > 0",
            &values![settlement],
        )?;
        let credits = rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?)));
        credits.collect::<Result<_, SqlError>>()
    });
    credits.expect("the ledger can be read")
}

/// Reward and network difficulty of a block.
fn reward_of(db: &mut Db, block: &str) -> (u64, f64) {
    let sql = "SELECT reward, difficulty FROM blocks WHERE hash = ?1";
    let row = db.read(|tx: &mut dyn Sql| -> Result<(u64, f64), SqlError> {
        let row = tx.query_one(sql, &values![block])?;
        Ok((row.get(0)?, row.get(1)?))
    });
    row.expect("the ledger can be read")
}
