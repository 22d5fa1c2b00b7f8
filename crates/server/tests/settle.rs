//! Settling blocks in real ledger files.

mod ledger_file;

use hstratum::payout::{Change, PayoutLock, Scheme, Settled, Terms, payees, plan, settle};
use hstratum_core::address::Network;
use hstratum_core::payout::{Decimal, FeePpm};
use ledger_file::LedgerFile;

const HNS: u64 = 1_000_000;

fn prop(fee: &str) -> Terms {
    Terms {
        scheme: Scheme::Prop,
        fee: FeePpm::parse_percent(fee).expect("a percentage"),
        threshold: 0,
    }
}

fn pplns(window: &str) -> Terms {
    let window = Decimal::parse_positive(window).expect("a number");
    Terms {
        scheme: Scheme::Pplns { window },
        ..prop("0")
    }
}

/// Settles as another process does; the plan must have foretold it.
fn run(ledger: &LedgerFile, terms: &Terms) -> Vec<Settled> {
    let mut conn = ledger.open();
    let planned = plan(&conn, Network::Regtest, terms).expect("planned");
    let settled = settle(&mut conn, Network::Regtest, terms, 5_000).expect("settled");
    let of = |change| settled.iter().filter(move |one| one.change == change);
    assert!(of(Change::Reversed).eq(&planned.reversals));
    let foretold = planned
        .blocks
        .iter()
        .map(|block| (&block.hash, block.credited));
    assert!(
        of(Change::Settled)
            .map(|one| (&one.block, one.credited))
            .eq(foretold)
    );
    for account in &planned.accounts {
        assert_eq!(
            ledger.balance(&account.name),
            account.balance,
            "{account:?}"
        );
    }
    for one in &settled {
        assert_eq!(one.credited + one.fee + one.remainder, one.reward);
    }
    settled
}

fn heights(settled: &[Settled]) -> Vec<u32> {
    settled.iter().map(|one| one.height).collect()
}

#[test]
fn a_round_is_divided_by_the_work_in_it() {
    let ledger = LedgerFile::new();
    ledger.credit(3, "alice", 8.0, 5);
    ledger.credit(4, "bob", 16.0, 2);
    ledger.credit(4, "alice", 10.0, 1);
    ledger.credit(5, "carol", 6.0, 3);
    ledger.credit(6, "later", 1.0, 1);
    ledger.block(5, "confirmed");
    let settled = run(&ledger, &prop("1"));
    assert_eq!(heights(&settled), [5]);
    assert_eq!(settled[0].fee, 20 * HNS);
    assert_eq!(ledger.balance("alice"), 990 * HNS as i64);
    assert_eq!(ledger.balance("bob"), 6_336 * HNS as i64 / 10);
    assert_eq!(ledger.balance("carol"), 3_564 * HNS as i64 / 10);
    assert_eq!(ledger.balance("later"), 0);
    assert_eq!(run(&ledger, &prop("1")), [], "once");
}

#[test]
fn the_window_ends_within_a_height() {
    let ledger = LedgerFile::new();
    ledger.credit(1, "too old", 1_000.0, 1);
    ledger.credit(2, "alice", 50.0, 6);
    ledger.credit(3, "bob", 50.0, 1);
    ledger.block(2, "confirmed");
    ledger.block(3, "confirmed");
    // Two hundred of work: 50 of bob's, and half of alice's 300.
    run(&ledger, &pplns("2"));
    let second: i64 = ledger.get("SELECT max(id) FROM settlements");
    let part = |name: &str| {
        let account = ledger.account(name);
        ledger.get(&format!(
            "SELECT amount FROM settlement_credits WHERE settlement = {second} AND account = {account}"
        ))
    };
    assert_eq!(part("bob"), 500 * HNS as i64);
    assert_eq!(part("alice"), 1_500 * HNS as i64);
    assert_eq!(
        ledger.get("SELECT from_height FROM settlements WHERE id = 2"),
        2
    );
}

#[test]
fn a_payout_process_at_a_time() {
    let ledger = LedgerFile::new();
    let lock = PayoutLock::take(&ledger.path()).expect("taken");
    let error = PayoutLock::take(&ledger.path()).expect_err("held");
    assert!(format!("{error:#}").contains("another payout"), "{error:#}");
    drop(lock);
    PayoutLock::take(&ledger.path()).expect("free again");
    assert!(
        payees(&ledger.conn, Network::Regtest, 0)
            .expect("read")
            .is_empty()
    );
}
