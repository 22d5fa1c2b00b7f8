//! Settlement of blocks in real ledgers.

mod record;
mod servers;
mod split_chains;
mod splits;
mod terms;
mod upkeep;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use hstratum::ledger_tools::{check, set_address, set_threshold};
use hstratum::payout::{
    AwaitedServers, BalanceOutcome, HeldReason, Payee, PayoutLock, PayoutPlan, PayoutTerms, Scheme,
    Settled, SettlementChange, TermsHistory, Wait, payees, plan, prune, settle,
};
use hstratum::sql::{Sql, SqlError};
use hstratum::values;
use hstratum_core::accounting::reward_split::{Decimal, FeePpm};
use hstratum_core::chain::address::{Address, Network};

use crate::ledgers::{Ledger, on_each};

const HNS: u64 = 1_000_000;

fn prop(fee: &str) -> PayoutTerms {
    PayoutTerms {
        scheme: Scheme::Prop,
        fee: FeePpm::parse_percent(fee).expect("a percentage"),
        threshold: 0,
        threshold_min: 0,
    }
}

/// Terms that pay from a balance on.
fn from(threshold: u64) -> PayoutTerms {
    PayoutTerms {
        threshold,
        ..prop("0")
    }
}

fn pplns(window: &str) -> PayoutTerms {
    let window = Decimal::parse_positive(window).expect("a number");
    PayoutTerms {
        scheme: Scheme::Pplns { window },
        ..prop("0")
    }
}

/// Settles as another process does; the plan must have predicted it.
fn run(ledger: &Ledger, terms: &PayoutTerms) -> Vec<Settled> {
    run_by(ledger, &TermsHistory::always(*terms), &[])
}

fn run_without(ledger: &Ledger, terms: &PayoutTerms, without: &[String]) -> Vec<Settled> {
    run_by(ledger, &TermsHistory::always(*terms), without)
}

fn run_by(ledger: &Ledger, terms: &TermsHistory, without: &[String]) -> Vec<Settled> {
    let mut db = ledger.open();
    let awaited_servers = AwaitedServers::of(&mut db, without).expect("known");
    let planned = plan(&mut db, Network::Regtest, terms, &awaited_servers).expect("planned");
    let settled =
        settle(&mut db, Network::Regtest, terms, &awaited_servers, 5_000).expect("settled");
    let of = |change| settled.iter().filter(move |one| one.change == change);
    assert!(of(SettlementChange::Reversed).eq(&planned.reversals));
    let foretold = planned
        .blocks
        .iter()
        .map(|block| (&block.hash, block.credited));
    assert!(
        of(SettlementChange::Settled)
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

fn planned(ledger: &Ledger, terms: &PayoutTerms) -> PayoutPlan {
    let terms = &TermsHistory::always(*terms);
    let mut db = ledger.open();
    let awaited_servers = AwaitedServers::of(&mut db, &[]).expect("known");
    plan(&mut db, Network::Regtest, terms, &awaited_servers).expect("planned")
}

/// Who is paid now by these terms.
fn due_from(ledger: &Ledger, terms: &PayoutTerms) -> Vec<Payee> {
    let mut db = ledger.open();
    let awaited_servers = AwaitedServers::of(&mut db, &[]).expect("known");
    payees(&mut db, Network::Regtest, terms, &awaited_servers).expect("read")
}

fn heights(settled: &[Settled]) -> Vec<u32> {
    settled.iter().map(|one| one.height).collect()
}

#[test]
fn a_round_is_divided_by_the_work_in_it() {
    on_each(|ledger| {
        ledger.credit(3, "alice", 8.0, 5);
        ledger.credit(4, "bob", 16.0, 2);
        ledger.credit(4, "alice", 10.0, 1);
        ledger.credit(5, "carol", 6.0, 3);
        ledger.credit(6, "later", 1.0, 1);
        ledger.block(5, "confirmed");
        let settled = run(ledger, &prop("1"));
        assert_eq!(heights(&settled), [5]);
        assert_eq!(settled[0].fee, 20 * HNS);
        assert_eq!(ledger.balance("alice"), 990 * HNS as i64);
        assert_eq!(ledger.balance("bob"), 6_336 * HNS as i64 / 10);
        assert_eq!(ledger.balance("carol"), 3_564 * HNS as i64 / 10);
        assert_eq!(ledger.balance("later"), 0);
        assert_eq!(run(ledger, &prop("1")), [], "once");
    });
}

#[test]
fn the_window_ends_within_a_span_of_heights() {
    on_each(|ledger| {
        ledger.block(1, "confirmed");
        ledger.credit(1, "too old", 1_000.0, 1);
        ledger.credit(2, "alice", 50.0, 6);
        ledger.credit(3, "bob", 50.0, 1);
        ledger.block(2, "confirmed");
        ledger.block(3, "confirmed");
        // Work of 200: 50 of bob's, and half of alice's 300.
        run(ledger, &pplns("2"));
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
    });
}

#[test]
fn merged_credit_divides_a_reward_as_it_did_before() {
    let amounts = |ledger: &Ledger, merged_to: Option<u32>| {
        let ids = ["alice", "bob", "carol"].map(|name| ledger.account(name));
        ledger.write(|sql: &mut dyn Sql| -> Result<(), SqlError> {
            for height in 100..=300_u32 {
                let at = merged_to.map_or(height, |to| height.max(to));
                sql.execute(
                    "INSERT INTO credit (height, account, difficulty, origin, count)
                     VALUES (?1, ?2, 1.0, 0, ?3)
                     ON CONFLICT (height, account, difficulty, origin) DO UPDATE SET
                       count = credit.count + excluded.count",
                    &values![at, ids[height as usize % 3], height],
                )?;
            }
            Ok(())
        });
        ledger.block(300, "confirmed");
        // In network difficulties of 100: the edge is below height 144.
        run(ledger, &pplns("380"));
        ids.map(|id| -> i64 {
            let sql = "SELECT amount FROM settlement_credits WHERE account = ?1";
            ledger.value(sql, &values![id])
        })
    };
    let expected = amounts(&Ledger::in_file(), None);
    assert_eq!(amounts(&Ledger::in_file(), Some(144)), expected);
    assert_eq!(amounts(&Ledger::in_postgres(), None), expected);
    assert_eq!(amounts(&Ledger::in_postgres(), Some(144)), expected);
}

#[test]
fn a_payout_process_at_a_time() {
    on_each(|ledger| {
        let mut lock = PayoutLock::take(&ledger.place()).expect("taken");
        lock.check().expect("held");
        let error = PayoutLock::take(&ledger.place()).err().expect("held");
        let text = format!("{error:#}");
        assert!(text.contains("another payout"), "{text}");
        let holder = format!("process {}", std::process::id());
        assert!(ledger.is_file() || text.contains(&holder), "{text}");
        drop(lock);
        // A server notices with a delay that a connection has ended.
        let until = Instant::now() + Duration::from_secs(10);
        while PayoutLock::take(&ledger.place()).is_err() {
            assert!(Instant::now() < until, "free again");
        }
        assert!(due_from(ledger, &from(0)).is_empty());
    });
}

#[test]
fn a_block_waits_for_lower_ones() {
    on_each(|ledger| {
        for height in 1..=4 {
            ledger.credit(height, "alice", 1.0, 1);
        }
        ledger.block(1, "confirmed");
        let second = ledger.block(2, "found");
        ledger.block(3, "confirmed");
        ledger.block(4, "refused");
        assert_eq!(heights(&run(ledger, &prop("0"))), [1]);
        ledger.set_state(&second, "accepted");
        assert_eq!(run(ledger, &prop("0")), []);
        ledger.set_state(&second, "orphaned");
        let settled = run(ledger, &prop("0"));
        assert_eq!(heights(&settled), [3]);
        // The orphan's heights have become part of this round.
        assert_eq!(
            ledger.get("SELECT from_height FROM settlements WHERE id = 2"),
            2
        );
        assert_eq!(ledger.get("SELECT shares FROM settlements WHERE id = 2"), 2);
    });
}

#[test]
fn of_two_blocks_at_a_height_the_one_on_the_main_chain_is_settled() {
    on_each(|ledger| {
        ledger.credit(5, "alice", 1.0, 1);
        ledger.named_block(&"a".repeat(64), 5, "found");
        let main = ledger.named_block(&"b".repeat(64), 5, "confirmed");
        let settled = run(ledger, &prop("0"));
        assert_eq!(settled.len(), 1);
        assert_eq!(settled[0].block, main);
    });
}

#[test]
fn a_lost_block_is_reversed_and_its_accounts_owe() {
    on_each(|ledger| {
        let address = "rs1qhmgjemz69l0hnkv8st2ahkrld9w45xrjztms54";
        ledger.credit(5, address, 3.0, 1);
        ledger.credit(5, "no address", 1.0, 1);
        let hash = ledger.block(5, "confirmed");
        run(ledger, &prop("0"));
        let due = due_from(ledger, &from(1));
        assert_eq!(due.len(), 1);
        assert_eq!(
            (due[0].address.as_str(), due[0].amount),
            (address, 1_500 * HNS)
        );
        ledger.execute(
            "INSERT INTO payments VALUES (1, 'w', 'sent', 't', 'r', 1, 0, 0, NULL)",
            &[],
        );
        let account = ledger.account(address);
        ledger.execute(
            "INSERT INTO payment_outputs VALUES (1, ?1, ?2, 1500000000)",
            &values![account, address],
        );
        assert_eq!(ledger.balance(address), 0);

        // A slightly lower depth does not make it lost.
        ledger.set_state(&hash, "accepted");
        assert_eq!(run(ledger, &prop("0")), []);

        ledger.set_state(&hash, "orphaned");
        let settled = run(ledger, &prop("0"));
        assert_eq!(settled[0].change, SettlementChange::Reversed);
        assert_eq!(ledger.balance(address), -1_500 * HNS as i64);
        assert_eq!(ledger.balance("no address"), 0);
        let plan = planned(ledger, &prop("0"));
        assert_eq!(plan.accounts[0].outcome, BalanceOutcome::Waits(Wait::Owes));
        assert!(due_from(ledger, &from(0)).is_empty());
        assert_eq!(
            check(&mut ledger.open(), None).expect("checked").errors,
            Vec::<String>::new()
        );

        // The next block covers a part of it, and the first comes back.
        ledger.credit(6, address, 1.0, 1);
        ledger.block(6, "confirmed");
        assert_eq!(heights(&run(ledger, &prop("0"))), [6]);
        ledger.set_state(&hash, "confirmed");
        assert_eq!(heights(&run(ledger, &prop("0"))), [5], "settled anew");
    });
}

#[test]
fn what_an_interrupted_run_left_counts_for_nothing_and_is_begun_anew() {
    on_each(|ledger| {
        ledger.credit(1, "alice", 1.0, 1);
        ledger.credit(1, "bob", 1.0, 1);
        let hash = ledger.block(1, "confirmed");
        ledger.execute(
        "INSERT INTO settlements VALUES (7, ?1, 'preparing', 'prop', '', 0, 1, 2, 2000000000, 0, 0, 0, 0)",
        &values![&*hash],
    );
        let alice = ledger.account("alice");
        ledger.execute(
            "INSERT INTO settlement_credits VALUES (7, ?1, 999)",
            &values![alice],
        );
        assert_eq!(ledger.balance("alice"), 0);
        assert_eq!(heights(&run(ledger, &prop("0"))), [1]);
        assert_eq!(ledger.balance("alice"), 1_000 * HNS as i64);
        assert_eq!(ledger.get("SELECT count(*) FROM settlements"), 1);
        assert_eq!(ledger.get("SELECT count(*) FROM settlement_credits"), 2);
    });
}

/// A block with the work of three thousand accounts.
fn with_thousands(ledger: &Ledger) {
    ledger.write(|sql: &mut dyn Sql| -> Result<(), SqlError> {
        for account in 0..3_000_i64 {
            let name = format!("account {account}");
            let insert = "INSERT INTO accounts (name) VALUES (?1) RETURNING id";
            let id: i64 = sql.query_one(insert, &values![&name])?.get(0)?;
            sql.execute(
                "INSERT INTO credit (height, account, difficulty, origin, count)
                 VALUES (1, ?1, ?2, 0, 7)",
                &values![id, 0.1 + account as f64],
            )?;
        }
        Ok(())
    });
    ledger.block(1, "confirmed");
}

#[test]
fn thousands_of_accounts_have_the_same_parts_on_either_engine() {
    let parts = |ledger: &Ledger| {
        with_thousands(ledger);
        assert_eq!(run(ledger, &pplns("1000"))[0].accounts, 3_000);
        let rows = ledger
            .rows("SELECT name, amount FROM settlement_credits JOIN accounts ON id = account");
        let mut parts: Vec<(String, i64)> = rows
            .iter()
            .map(|row| (row.get(0).expect("a name"), row.get(1).expect("an amount")))
            .collect();
        parts.sort();
        parts
    };
    assert_eq!(parts(&Ledger::in_file()), parts(&Ledger::in_postgres()));
}

#[test]
fn thousands_of_accounts_are_settled_in_short_transactions() {
    let ledger = Ledger::in_file();
    with_thousands(&ledger);
    // A server beside it commits a thousand times a second, and never waits long for its turn.
    let (stop, stopped) = channel::<()>();
    let mut beside = ledger.open();
    let server = thread::spawn(move || {
        let mut waits = Vec::new();
        while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
            let begun = Instant::now();
            beside
                .write(|sql: &mut dyn Sql| sql.execute("UPDATE meta SET seq = seq + 1", &[]))
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
    // The machine may be busy; a lock held for the whole settlement would take longer.
    assert!(
        waits.iter().all(|wait| *wait < Duration::from_secs(2)),
        "{waits:?}"
    );
}

#[test]
fn a_ledger_of_another_network_is_left_alone() {
    on_each(|ledger| {
        let mut db = ledger.open();
        let awaited_servers = AwaitedServers::of(&mut db, &[]).expect("known");
        let terms = TermsHistory::always(prop("0"));
        assert!(settle(&mut db, Network::Main, &terms, &awaited_servers, 1).is_err());
        assert!(plan(&mut db, Network::Main, &terms, &awaited_servers).is_err());
    });
}

#[test]
fn an_address_is_paid_from_its_time_on() {
    on_each(|ledger| {
        let [old, new] = [
            "rs1qhmgjemz69l0hnkv8st2ahkrld9w45xrjztms54",
            "rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u",
        ];
        ledger.block(1, "confirmed");
        ledger.credit(1, "alice", 1.0, 1);
        let terms = prop("0");
        run(ledger, &terms);
        let due = || {
            let due = due_from(ledger, &terms);
            let addresses = due.iter().map(|payee| payee.address.clone());
            addresses.collect::<Vec<_>>().join(" ")
        };
        let set = |from_now: i64| {
            ledger.execute(
                "UPDATE accounts SET next_address = ?1,
                        next_address_at = (SELECT unix_s FROM clock) + ?2",
                &values![new, from_now],
            );
        };
        set(3_600);
        assert_eq!(due(), "", "it has no address");
        set_address(&mut ledger.open(), "alice", Some(old)).expect("set");
        assert_eq!(due(), old);
        set(3_600);
        assert_eq!(due(), old);
        set(0);
        assert_eq!(due(), new);
        set_address(&mut ledger.open(), "alice", None).expect("set");
        assert_eq!(due(), "");
    });
}

#[test]
fn only_addresses_that_nodes_pass_payments_to_are_paid() {
    on_each(|ledger| {
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
        run(ledger, &prop("0"));
        set_address(&mut ledger.open(), "with address", Some(version_0)).expect("set");
        assert!(set_address(&mut ledger.open(), "with address", Some(&unknown)).is_err());
        assert!(set_address(&mut ledger.open(), "nobody", Some(version_0)).is_err());
        let due = due_from(ledger, &from(1));
        let names: Vec<&str> = due.iter().map(|payee| payee.name.as_str()).collect();
        assert_eq!(names, [version_0, "with address"]);
        assert!(due_from(ledger, &from(400 * HNS + 1)).is_empty());
    });
}
