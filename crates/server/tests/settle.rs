//! Settling blocks in real ledger files.

mod ledger_file;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use hstratum::ledger::{check, set_address};
use hstratum::payout::{
    Change, Outcome, PayoutLock, Scheme, Settled, Terms, Wait, payees, plan, prune, settle,
};
use hstratum_core::address::{Address, Network};
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
fn the_window_ends_within_a_span_of_heights() {
    let ledger = LedgerFile::new();
    ledger.block(1, "confirmed");
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
        ledger.get(&format!(
            "SELECT from_height FROM settlements WHERE id = {second}"
        )),
        2
    );
}

#[test]
fn merged_credit_divides_a_reward_as_it_did_before() {
    let amounts = |merged_to: Option<u32>| {
        let ledger = LedgerFile::new();
        for height in 100..=300 {
            let name = ["alice", "bob", "carol"][height as usize % 3];
            ledger.credit(
                merged_to.map_or(height, |to| height.max(to)),
                name,
                1.0,
                height,
            );
        }
        ledger.block(300, "confirmed");
        // In network difficulties of 100: the edge is below height 144.
        run(&ledger, &pplns("380"));
        ["alice", "bob", "carol"].map(|name| -> i64 {
            let account = ledger.account(name);
            let sql = format!("SELECT amount FROM settlement_credits WHERE account = {account}");
            ledger.get(&sql)
        })
    };
    assert_eq!(amounts(None), amounts(Some(144)));
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

#[test]
fn a_block_waits_for_lower_ones() {
    let ledger = LedgerFile::new();
    for height in 1..=4 {
        ledger.credit(height, "alice", 1.0, 1);
    }
    ledger.block(1, "confirmed");
    let second = ledger.block(2, "found");
    ledger.block(3, "confirmed");
    ledger.block(4, "refused");
    assert_eq!(heights(&run(&ledger, &prop("0"))), [1]);
    ledger.set_state(&second, "accepted");
    assert_eq!(run(&ledger, &prop("0")), []);
    ledger.set_state(&second, "orphaned");
    let settled = run(&ledger, &prop("0"));
    assert_eq!(heights(&settled), [3]);
    // The orphan's interval has merged into this round.
    assert_eq!(
        ledger.get("SELECT from_height FROM settlements WHERE id = 2"),
        2
    );
    assert_eq!(ledger.get("SELECT shares FROM settlements WHERE id = 2"), 2);
}

#[test]
fn of_two_blocks_at_a_height_the_one_on_the_main_chain_is_settled() {
    let ledger = LedgerFile::new();
    ledger.credit(5, "alice", 1.0, 1);
    ledger.named_block(&"a".repeat(64), 5, "found");
    let main = ledger.named_block(&"b".repeat(64), 5, "confirmed");
    let settled = run(&ledger, &prop("0"));
    assert_eq!(settled.len(), 1);
    assert_eq!(settled[0].block, main);
}

#[test]
fn a_lost_block_is_reversed_and_its_accounts_owe() {
    let ledger = LedgerFile::new();
    let address = "rs1qhmgjemz69l0hnkv8st2ahkrld9w45xrjztms54";
    ledger.credit(5, address, 3.0, 1);
    ledger.credit(5, "no address", 1.0, 1);
    let hash = ledger.block(5, "confirmed");
    run(&ledger, &prop("0"));
    let due = payees(&ledger.conn, Network::Regtest, 1).expect("read");
    assert_eq!(due.len(), 1);
    assert_eq!(
        (due[0].address.as_str(), due[0].amount),
        (address, 1_500 * HNS)
    );
    ledger.execute(
        "INSERT INTO payments VALUES (1, 'w', 'sent', 't', 'r', 1, 0, 0)",
        [],
    );
    let account = ledger.account(address);
    ledger.execute(
        "INSERT INTO payment_outputs VALUES (1, ?1, ?2, 1500000000)",
        (account, address),
    );
    assert_eq!(ledger.balance(address), 0);

    // A little less deep is not lost.
    ledger.set_state(&hash, "accepted");
    assert_eq!(run(&ledger, &prop("0")), []);

    ledger.set_state(&hash, "orphaned");
    let settled = run(&ledger, &prop("0"));
    assert_eq!(settled[0].change, Change::Reversed);
    assert_eq!(ledger.balance(address), -1_500 * HNS as i64);
    assert_eq!(ledger.balance("no address"), 0);
    let plan = plan(&ledger.conn, Network::Regtest, &prop("0")).expect("planned");
    assert_eq!(plan.accounts[0].outcome, Outcome::Waits(Wait::Owes));
    assert!(
        payees(&ledger.conn, Network::Regtest, 0)
            .expect("read")
            .is_empty()
    );
    assert_eq!(
        check(&ledger.conn, None).expect("checked"),
        Vec::<String>::new()
    );

    // The next block makes it up in part, and the first comes back.
    ledger.credit(6, address, 1.0, 1);
    ledger.block(6, "confirmed");
    assert_eq!(heights(&run(&ledger, &prop("0"))), [6]);
    ledger.set_state(&hash, "confirmed");
    assert_eq!(heights(&run(&ledger, &prop("0"))), [5], "settled anew");
}

#[test]
fn what_an_interrupted_run_left_counts_for_nothing_and_is_begun_anew() {
    let ledger = LedgerFile::new();
    ledger.credit(1, "alice", 1.0, 1);
    ledger.credit(1, "bob", 1.0, 1);
    let hash = ledger.block(1, "confirmed");
    ledger.execute(
        "INSERT INTO settlements VALUES (7, ?1, 'preparing', 'prop', '', 0, 1, 2, 2000000000, 0, 0, 0)",
        [hash],
    );
    let alice = ledger.account("alice");
    ledger.execute(
        "INSERT INTO settlement_credits VALUES (7, ?1, 999)",
        [alice],
    );
    assert_eq!(ledger.balance("alice"), 0);
    assert_eq!(heights(&run(&ledger, &prop("0"))), [1]);
    assert_eq!(ledger.balance("alice"), 1_000 * HNS as i64);
    assert_eq!(ledger.get("SELECT count(*) FROM settlements"), 1);
    assert_eq!(ledger.get("SELECT count(*) FROM settlement_credits"), 2);
}

#[test]
fn thousands_of_accounts_are_settled_in_short_transactions() {
    let ledger = LedgerFile::new();
    ledger.execute("BEGIN", []);
    for account in 0..3_000 {
        ledger.credit(
            1,
            &format!("account {account}"),
            0.1 + f64::from(account),
            7,
        );
    }
    ledger.block(1, "confirmed");
    ledger.execute("COMMIT", []);
    // A server beside it commits a thousand times a second, and never waits long for its turn.
    let (stop, stopped) = channel::<()>();
    let beside = ledger.open();
    let server = thread::spawn(move || {
        let mut waits = Vec::new();
        while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
            let begun = Instant::now();
            beside
                .execute("UPDATE meta SET seq = seq + 1", [])
                .expect("committed");
            waits.push(begun.elapsed());
        }
        waits
    });
    let settled = run(&ledger, &pplns("1000"));
    stop.send(()).expect("running");
    let mut waits = server.join().expect("no panic");
    assert_eq!(settled[0].accounts, 3_000);
    waits.sort();
    let median = waits.get(waits.len() / 2).copied().unwrap_or_default();
    println!(
        "{} commits, median {median:?}, longest {:?}",
        waits.len(),
        waits.last()
    );
    // The machine may be busy; held for the whole settlement, it would be longer.
    assert!(
        waits.iter().all(|wait| *wait < Duration::from_secs(2)),
        "{waits:?}"
    );
}

#[test]
fn a_ledger_of_another_network_is_left_alone() {
    let ledger = LedgerFile::new();
    let mut conn = ledger.open();
    assert!(settle(&mut conn, Network::Main, &prop("0"), 1).is_err());
    assert!(plan(&conn, Network::Main, &prop("0")).is_err());
}

#[test]
fn only_addresses_that_nodes_pass_payments_to_are_paid() {
    let ledger = LedgerFile::new();
    let version_0 = "rs1qhmgjemz69l0hnkv8st2ahkrld9w45xrjztms54";
    let unspendable = Address::new(31, vec![7; 20])
        .expect("an address")
        .encode(Network::Regtest);
    let unknown = Address::new(1, vec![7; 20])
        .expect("an address")
        .encode(Network::Regtest);
    for name in [
        version_0,
        &unspendable,
        &unknown,
        "hs1qeqj7ltuelujxtrh0m88ccwzfndwf8798n3wkwy",
    ] {
        ledger.credit(1, name, 1.0, 1);
    }
    ledger.credit(1, "with address", 1.0, 1);
    ledger.block(1, "confirmed");
    run(&ledger, &prop("0"));
    set_address(&ledger.conn, "with address", Some(version_0)).expect("set");
    assert!(set_address(&ledger.conn, "with address", Some(&unknown)).is_err());
    assert!(set_address(&ledger.conn, "nobody", Some(version_0)).is_err());
    let due = payees(&ledger.conn, Network::Regtest, 1).expect("read");
    let names: Vec<&str> = due.iter().map(|payee| payee.name.as_str()).collect();
    assert_eq!(names, [version_0, "with address"]);
    assert!(
        payees(&ledger.conn, Network::Regtest, 400 * HNS + 1)
            .expect("read")
            .is_empty()
    );
}

#[test]
fn work_paid_elsewhere_is_not_paid_again() {
    let ledger = LedgerFile::new();
    ledger.credit(1, "alice", 1.0, 1);
    ledger.credit(2, "bob", 1.0, 1);
    let old = ledger.block(1, "accepted");
    ledger.block(2, "confirmed");
    ledger.execute(
        "INSERT INTO settlements VALUES (1, ?1, 'settled', 'elsewhere', '', 0, 1, 1, 0, 0, 0, 0)",
        [&old],
    );
    for state in ["accepted", "orphaned", "confirmed"] {
        ledger.set_state(&old, state);
        run(&ledger, &prop("0"));
        assert_eq!(ledger.balance("alice"), 0, "{state}");
        assert_eq!(ledger.balance("bob"), 2_000 * HNS as i64, "{state}");
    }
}

#[test]
fn credit_is_pruned_when_nothing_can_ask_for_it_again() {
    let ledger = LedgerFile::new();
    for height in 1..=12 {
        ledger.credit(height, "alice", 100.0, 1);
    }
    let first = ledger.block(2, "confirmed");
    ledger.block(5, "confirmed");
    ledger.block(9, "confirmed");
    let lowest = || ledger.get("SELECT min(height) FROM credit");
    let prune = || prune(&mut ledger.open(), Network::Regtest).expect("pruned");
    assert_eq!(prune(), 0, "nothing is settled");
    run(&ledger, &prop("0"));
    ledger.execute(
        "UPDATE blocks SET dumped_at = NULL WHERE hash = ?1",
        [&first],
    );
    assert_eq!(prune(), 0, "a dump is owed");
    ledger.execute("UPDATE blocks SET dumped_at = 1", []);
    // Block 9 is not deep enough: 12 - 2 x 2.
    prune();
    assert_eq!(lowest(), 6);
    assert_eq!(
        check(&ledger.conn, None).expect("checked"),
        Vec::<String>::new()
    );

    ledger.credit(15, "alice", 100.0, 1);
    ledger.block(15, "confirmed");
    run(&ledger, &pplns("1"));
    ledger.credit(30, "alice", 100.0, 1);
    prune();
    // Twice one network difficulty before block 15 are heights 15 and 12, and one is kept below.
    assert_eq!(lowest(), 11);
}

#[test]
fn late_and_lost_credit_is_found() {
    let ledger = LedgerFile::new();
    ledger.credit(1, "alice", 1.0, 5);
    ledger.credit(3, "alice", 1.0, 5);
    ledger.block(1, "confirmed");
    ledger.block(3, "confirmed");
    run(&ledger, &prop("0"));
    let findings = || check(&ledger.conn, None).expect("checked");
    assert_eq!(findings(), Vec::<String>::new());
    ledger.credit(2, "bob", 1.0, 2);
    assert!(findings()[0].starts_with("2 shares of the round of settlement 2"));
    ledger.execute("UPDATE credit SET count = 1 WHERE height = 3", []);
    assert!(
        findings()[0].starts_with("4 shares of settlement 2"),
        "{:?}",
        findings()
    );
}

#[test]
fn broken_promises_are_found() {
    let breaches = [
        (
            "UPDATE settlement_credits SET amount = amount + 1",
            "does not add up",
        ),
        (
            "UPDATE settlements SET fee = 1, remainder = 0",
            "does not add up",
        ),
        ("UPDATE blocks SET reward = 1", "another reward"),
        ("UPDATE blocks SET state = 'orphaned'", "which is orphaned"),
        (
            "UPDATE settlements SET fee_ppm = 5000",
            "a fee that its terms",
        ),
        (
            "INSERT INTO payments VALUES (9, 'w', 'sent', NULL, NULL, NULL, 0, 0)",
            "without its transaction",
        ),
        (
            "INSERT INTO payments VALUES (9, 'w', 'open', NULL, NULL, NULL, 0, 0);
             INSERT INTO payment_outputs VALUES (9, 1, 'x', 2000000001)",
            "was paid 2000.000001 HNS of 2000.000000 HNS",
        ),
        (
            "PRAGMA foreign_keys = OFF; DELETE FROM accounts",
            "refers to a row of accounts",
        ),
    ];
    for (breach, finding) in breaches {
        let ledger = LedgerFile::new();
        ledger.credit(1, "alice", 1.0, 5);
        ledger.block(1, "confirmed");
        run(&ledger, &prop("0"));
        ledger.conn.execute_batch(breach).expect(breach);
        let findings = check(&ledger.conn, None).expect("checked");
        assert!(
            findings.iter().any(|text| text.contains(finding)),
            "{breach}: {findings:?}"
        );
    }
}
