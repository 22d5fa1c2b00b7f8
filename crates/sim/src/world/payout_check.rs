//! Checks payouts at the end of a run: every block that is deep enough is settled, on terms drawn from
//! the seed, and each amount is compared with the book, in exact numbers computed in another way than the
//! product's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hstratum::payout::{AwaitedServers, PayoutTerms, Scheme, TermsHistory, settle};
use hstratum::sql::{Db, Sqlite};
use hstratum_core::accounting::reward_split::{Decimal, FeePpm};
use hstratum_core::units::Height;
use num_bigint::BigUint;
use rusqlite::Connection;

use crate::world::injected_bug::InjectedBug;
use crate::world::oracle::CreditCounts;
use crate::world::{World, note};

/// The unit of exact work is 2^-1074, of which every double above zero is a multiple.
const UNIT_BITS: i64 = 1074;

/// Exact work, in that unit.
fn work(difficulty: f64, count: u64) -> BigUint {
    let bits = difficulty.to_bits();
    let (exponent, fraction) = ((bits >> 52) as i64, bits & ((1 << 52) - 1));
    let (mantissa, exponent) = match exponent {
        0 => (fraction, -1074),
        exponent => (fraction | 1 << 52, exponent - 1075),
    };
    (BigUint::from(mantissa) * count) << (exponent + UNIT_BITS) as u64
}

/// The row of a settlement.
struct SettlementRow {
    id: i64,
    height: u32,
    reward: u64,
    fee: u64,
    remainder: u64,
    difficulty: f64,
}

impl World {
    /// Settles everything due in the ledger's file, on terms drawn from the seed, and checks every
    /// amount.
    pub(crate) fn check_payouts(&mut self) {
        let Some((path, network)) = self.disk.path() else {
            return;
        };
        let fee_ppm = [0, 1, 10_000, 333_333][self.rngs.chain.usize(..4)];
        let window = ["0.5", "1", "2.25"][self.rngs.chain.usize(..3)];
        let is_pplns = self.rngs.chain.bool();
        let scheme = if is_pplns {
            let window = Decimal::parse_positive(window).expect("a number");
            Scheme::Pplns { window }
        } else {
            Scheme::Prop
        };
        let terms = TermsHistory::always(PayoutTerms {
            scheme,
            fee: FeePpm::new(fee_ppm).expect("below one"),
            threshold: 0,
            threshold_min: 0,
        });
        let mut db = Db::Sqlite(Sqlite::open_beside(&path).expect("the ledger opens"));
        let proxy_world = AwaitedServers::of(&mut db, &[]).expect("a file has none");
        let settled = settle(&mut db, network, &terms, &proxy_world, self.now().unix_s);
        let settled = settled.expect("what is confirmed can be settled");
        note!(
            self,
            "payout    {} blocks by {}",
            settled.len(),
            scheme.name()
        );
        drop(db);
        self.settled += settled.len() as u64;
        let windows = is_pplns.then_some(window);
        self.check_amounts(&path, windows, fee_ppm);
    }

    fn check_amounts(&self, path: &Path, window: Option<&str>, fee_ppm: u32) {
        let conn = hstratum::sql::sqlite_schema::open_beside(path).expect("the ledger opens");
        let confirmed: i64 = one(
            &conn,
            "SELECT count(*) FROM blocks WHERE state = 'confirmed' AND payout = 'operator'",
        );
        let rows = rows(&conn);
        assert_eq!(
            rows.len() as i64,
            confirmed,
            "every confirmed block of the pool is settled once"
        );
        // Heights far below the tip are merged up to blocks of the pool. PROP is not affected; the edge
        // of a PPLNS window is only as fine as the merged heights.
        let merged_into = self.disk.merged_into();
        let mut merged = CreditCounts::new();
        for ((height, account, difficulty), count) in self.disk.read_credit() {
            // A share may be credited after its height was merged.
            let key = (merged_into(height), account, difficulty);
            *merged.entry(key).or_default() += count;
        }
        let mut below = 0;
        for row in rows {
            let from = std::mem::replace(&mut below, row.height + 1);
            let credits = credits(&conn, row.id);
            let paid: u64 = credits.values().sum();
            assert_eq!(
                paid + row.fee + row.remainder,
                row.reward,
                "a reward adds up"
            );
            let fee = u128::from(row.reward) * u128::from(fee_ppm) / 1_000_000;
            assert_eq!(u128::from(row.fee), fee, "the fee");
            let mut weights = match window {
                None => prop(&self.oracle.committed, from, row.height),
                Some(window) => pplns(&merged, row.height, window, row.difficulty),
            };
            if self.injected_bug == Some(InjectedBug::WindowOffByOne) && window.is_some() {
                // The injected bug of leaving out the block's own height.
                let difficulty = row.difficulty;
                let window = window.unwrap_or_default();
                weights = pplns(&merged, row.height - 1, window, difficulty);
            }
            check_parts(&credits, &weights, row.reward - row.fee, row.height);
        }
    }
}

/// Checks that each account has its part of the amount, rounded down or up.
fn check_parts(
    credits: &BTreeMap<String, u64>,
    weights: &BTreeMap<Arc<str>, BigUint>,
    amount: u64,
    height: u32,
) {
    let total: BigUint = weights.values().sum();
    let none = BigUint::from(0_u8);
    if total == none {
        return assert!(credits.is_empty(), "nobody has earned anything at {height}");
    }
    for (name, weight) in weights {
        let paid = BigUint::from(credits.get(&**name).copied().unwrap_or(0));
        let exact = weight * amount;
        let floor = &exact / &total;
        let ceiling = (&exact + &total - 1_u8) / &total;
        assert!(
            floor <= paid && paid <= ceiling,
            "{name} has {paid} of the block at {height}, {floor} or {ceiling} is right"
        );
    }
    for name in credits.keys() {
        assert!(
            weights.contains_key(name.as_str()),
            "{name} has earned nothing at {height}"
        );
    }
}

fn prop(committed: &CreditCounts, from: u32, to: u32) -> BTreeMap<Arc<str>, BigUint> {
    let mut weights = BTreeMap::new();
    for ((height, account, difficulty), count) in committed {
        if (Height(from)..=Height(to)).contains(height) {
            *weights.entry(account.clone()).or_default() +=
                work(f64::from_bits(*difficulty), *count);
        }
    }
    weights
}

/// The weights of a PPLNS window. All heights are scaled by the work of the one at the edge, which counts
/// in part.
fn pplns(
    committed: &CreditCounts,
    to: u32,
    window: &str,
    difficulty: f64,
) -> BTreeMap<Arc<str>, BigUint> {
    // The windows that are drawn have two decimals.
    let hundredths = window.parse::<f64>().expect("a number") * 100.0;
    let mut missing = work(difficulty, hundredths as u64);
    let mut weights: BTreeMap<Arc<str>, BigUint> = BTreeMap::new();
    for height in (0..=to).rev() {
        let here = prop(committed, height, height);
        let sum: BigUint = here.values().sum::<BigUint>() * 100_u8;
        if sum < missing {
            missing -= &sum;
            for (account, weight) in here {
                *weights.entry(account).or_default() += weight;
            }
            continue;
        }
        for weight in weights.values_mut() {
            *weight *= &sum;
        }
        for (account, weight) in here {
            *weights.entry(account).or_default() += weight * &missing;
        }
        break;
    }
    weights
}

fn one(conn: &Connection, sql: &str) -> i64 {
    let found = conn.query_row(sql, [], |row| row.get(0));
    found.expect("the tables are as they are documented")
}

fn rows(conn: &Connection) -> Vec<SettlementRow> {
    let mut statement = conn
        .prepare(
            "SELECT s.id, b.height, s.reward, s.fee, s.remainder, b.difficulty
             FROM settlements AS s JOIN blocks AS b ON b.hash = s.block
             WHERE s.state = 'settled' ORDER BY b.height",
        )
        .expect("the tables are as they are documented");
    let rows = statement.query_map([], |row| {
        Ok(SettlementRow {
            id: row.get(0)?,
            height: row.get(1)?,
            reward: row.get::<_, i64>(2)?.unsigned_abs(),
            fee: row.get::<_, i64>(3)?.unsigned_abs(),
            remainder: row.get::<_, i64>(4)?.unsigned_abs(),
            difficulty: row.get(5)?,
        })
    });
    let rows = rows.expect("settlements can be read");
    rows.map(|row| row.expect("a settlement")).collect()
}

fn credits(conn: &Connection, settlement: i64) -> BTreeMap<String, u64> {
    let mut statement = conn
        .prepare(
            "SELECT name, amount FROM settlement_credits JOIN accounts ON id = account
             WHERE settlement = ?1",
        )
        .expect("the tables are as they are documented");
    let rows = statement.query_map([settlement], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
    });
    let rows = rows.expect("credits can be read");
    rows.map(|row| row.expect("a credit")).collect()
}
