//! Time to compute the estimates of all accounts from a year's ledger of a pool that finds a block a day, in
//! SQLite and in PostgreSQL: the first reading, one that knows the divisions of the pending blocks and most of the
//! credit since, and one a height later.
//!
//! Credit is as the server has it: a row a day for each account and difficulty, and 144 heights that are not
//! merged yet. ACCOUNTS and DAYS change the numbers, ENGINE=sqlite or ENGINE=postgres chooses one.

#[path = "../tests/it/ledgers.rs"]
mod ledgers;
#[path = "../tests/it/postgres/mod.rs"]
mod postgres;

use std::time::Instant;

use hstratum::payout::{Estimator, NextBlock, PayoutTerms, Scheme, TermsHistory};
use hstratum::sql::{Sql, SqlError};
use hstratum::values;
use hstratum_core::accounting::reward_split::{Decimal, FeePpm};
use hstratum_core::units::Difficulty;

use crate::ledgers::Ledger;

const HEIGHTS_A_DAY: u32 = 144;
const SHARES_A_HEIGHT: u32 = 80;
const REWARD: u64 = 2_000_000_000;
/// Days whose blocks are not settled.
const UNSETTLED: u32 = 2;
/// One account in this many has changed its difficulty.
const CHANGES: u32 = 20;

fn main() {
    let number = |name: &str, value: u32| match std::env::var(name) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => value,
    };
    let (accounts, days) = (number("ACCOUNTS", 100_000), number("DAYS", 365));
    let engine = std::env::var("ENGINE").unwrap_or_default();
    println!("{accounts} accounts, {days} days, {UNSETTLED} blocks pending");
    if engine != "postgres" {
        measure("SQLite", &Ledger::in_file(), accounts, days);
    }
    if engine != "sqlite" {
        measure("PostgreSQL", &Ledger::in_postgres(), accounts, days);
    }
}

fn measure(name: &str, ledger: &Ledger, accounts: u32, days: u32) {
    let begun = Instant::now();
    fill(ledger, accounts, days);
    let rows = ledger.get("SELECT count(*) FROM credit");
    println!(
        "{name}: {rows} rows of credit written in {:.0?}",
        begun.elapsed()
    );
    let window = Decimal::parse_positive("2").expect("a number");
    let terms = |scheme| {
        TermsHistory::always(PayoutTerms {
            scheme,
            fee: FeePpm::parse_percent("1").expect("a percentage"),
            threshold: 0,
            threshold_min: 0,
        })
    };
    let next = NextBlock {
        height: (days + 1) * HEIGHTS_A_DAY,
        reward: REWARD,
        difficulty: Difficulty::new(network_difficulty(accounts)).expect("above zero"),
    };
    let (mut next, mut db) = (next, ledger.open());
    for scheme in [Scheme::Prop, Scheme::Pplns { window }] {
        let (terms, mut estimator) = (terms(scheme), Estimator::default());
        for reading in ["first", "next", "a height later"] {
            if reading == "a height later" {
                credit(ledger, next.height, SHARES_A_HEIGHT);
                next.height += 1;
            }
            let begun = Instant::now();
            let estimates = db.read(|sql| estimator.estimate(sql, &terms, Some(next)));
            let estimates = estimates.expect("read");
            assert!(estimates.has_next && estimates.of("account00001").pending > 0);
            println!(
                "{name}, {}, {reading}: {:.2?}",
                scheme.name(),
                begun.elapsed()
            );
        }
    }
}

/// Work of all accounts in a day.
fn network_difficulty(accounts: u32) -> f64 {
    let all: f64 = (1..=accounts).map(difficulty).sum();
    all * f64::from(SHARES_A_HEIGHT * HEIGHTS_A_DAY)
}

/// Difficulty of an account, as in [`fill`].
fn difficulty(account: u32) -> f64 {
    f64::from(1024 * (1 + account % 12))
}

fn fill(ledger: &Ledger, accounts: u32, days: u32) {
    ledger.write(|sql: &mut dyn Sql| -> Result<(), SqlError> {
        for account in 1..=accounts {
            let insert = "INSERT INTO accounts (id, name) VALUES (?1, ?2)";
            sql.execute(insert, &values![account, format!("account{account:05}")])?;
        }
        Ok(())
    });
    for day in 1..=days {
        credit(ledger, day * HEIGHTS_A_DAY, SHARES_A_HEIGHT * HEIGHTS_A_DAY);
        let hash = ledger.block(day * HEIGHTS_A_DAY, "confirmed");
        ledger.execute(
            "UPDATE blocks SET difficulty = ?2 WHERE hash = ?1",
            &values![&*hash, network_difficulty(accounts)],
        );
        if day <= days - UNSETTLED {
            ledger.execute(
                "INSERT INTO settlements (block, state, scheme, fee_ppm, from_height, shares, reward,
                                          fee, remainder, settled_at)
                 VALUES (?1, 'settled', 'prop', 0, 0, 0, ?2, 0, 0, 1)",
                &values![&*hash, REWARD],
            );
        }
    }
    for height in days * HEIGHTS_A_DAY + 1..(days + 1) * HEIGHTS_A_DAY {
        credit(ledger, height, SHARES_A_HEIGHT);
    }
    if !ledger.is_file() {
        ledger.execute("ANALYZE", &[]);
    }
}

/// Work of all accounts at a height.
fn credit(ledger: &Ledger, height: u32, shares: u32) {
    ledger.execute(
        "INSERT INTO credit (height, account, difficulty, origin, count)
         SELECT CAST(?1 AS BIGINT), id, 1024.0 * (1 + id % 12), 0, CAST(?2 AS BIGINT) FROM accounts
         UNION ALL
         SELECT CAST(?1 AS BIGINT), id, 512.0, 0, 1 FROM accounts WHERE id % ?3 = 0
         ORDER BY 2, 3",
        &values![height, shares, CHANGES],
    );
}
