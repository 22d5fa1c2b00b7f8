//! Work that was paid by other means, pruning, and findings of a check.

use super::*;

#[test]
fn work_paid_elsewhere_is_not_paid_again() {
    on_each(|ledger| {
        ledger.credit(1, "alice", 1.0, 1);
        ledger.credit(2, "bob", 1.0, 1);
        let old = ledger.block(1, "accepted");
        ledger.block(2, "confirmed");
        ledger.execute(
        "INSERT INTO settlements VALUES (1000, ?1, 'settled', 'elsewhere', '', 0, 1, 1, 0, 0, 0, 0, 0)",
        &values![&*old],
    );
        for state in ["accepted", "orphaned", "confirmed"] {
            ledger.set_state(&old, state);
            run(ledger, &prop("0"));
            assert_eq!(ledger.balance("alice"), 0, "{state}");
            assert_eq!(ledger.balance("bob"), 2_000 * HNS as i64, "{state}");
        }
    });
}

#[test]
fn block_that_has_paid_its_finder_is_never_divided_and_holds_up_none() {
    on_each(|ledger| {
        for height in 1..=12 {
            ledger.credit(height, "alice", 100.0, 1);
        }
        ledger.block(2, "confirmed");
        let solo = [(3, "confirmed"), (4, "found"), (6, "accepted")].map(|(height, state)| {
            let hash = ledger.block(height, state);
            ledger.execute(
                "UPDATE blocks SET payout = 'solo', closed_at = NULL, round_from = NULL, dumped_at = NULL
                  WHERE hash = ?1",
                &values![&*hash],
            );
            hash
        });
        ledger.block(7, "confirmed");
        ledger.show(40);
        assert_eq!(planned(ledger, &prop("0")).held, []);
        let settled = run(ledger, &prop("0"));
        assert_eq!(heights(&settled), [2, 7]);
        let from = "SELECT from_height FROM settlements ORDER BY id DESC LIMIT 1";
        assert_eq!(
            ledger.get(from),
            3,
            "the round goes over the blocks between"
        );
        ledger.set_state(&solo[1], "confirmed");
        assert_eq!(run(ledger, &prop("0")), []);
        prune(&mut ledger.open(), Network::Regtest).expect("pruned");
        assert_eq!(ledger.get("SELECT min(height) FROM credit"), 8);
        let found = || check(&mut ledger.open(), None).expect("checked").errors;
        assert_eq!(found(), Vec::<String>::new());
        ledger.execute(
            "UPDATE blocks SET closed_at = 1, round_from = 1 WHERE hash = ?1",
            &values![&*solo[0]],
        );
        let expected = format!(
            "block 3 {} has payout solo, and closed a round or was divided",
            solo[0]
        );
        assert!(found().contains(&expected), "{:?}", found());
    });
}

#[test]
fn credit_is_pruned_when_nothing_can_ask_for_it_again() {
    on_each(|ledger| {
        for height in 1..=12 {
            ledger.credit(height, "alice", 100.0, 1);
        }
        let first = ledger.block(2, "confirmed");
        ledger.block(5, "confirmed");
        ledger.block(9, "confirmed");
        let lowest = || ledger.get("SELECT min(height) FROM credit");
        let prune = || prune(&mut ledger.open(), Network::Regtest).expect("pruned");
        assert_eq!(prune(), 0, "nothing is settled");
        run(ledger, &prop("0"));
        ledger.execute(
            "UPDATE blocks SET dumped_at = NULL WHERE hash = ?1",
            &values![&*first],
        );
        assert_eq!(prune(), 0, "a dump is owed");
        ledger.execute("UPDATE blocks SET dumped_at = 1", &[]);
        // Block 9 is not deep enough: 12 - 2 x 2.
        prune();
        assert_eq!(lowest(), 6);
        assert_eq!(
            check(&mut ledger.open(), None).expect("checked").errors,
            Vec::<String>::new()
        );

        ledger.credit(15, "alice", 100.0, 1);
        ledger.block(15, "confirmed");
        run(ledger, &pplns("1"));
        ledger.credit(30, "alice", 100.0, 1);
        prune();
        // Twice one network difficulty before block 15 are heights 15 and 12, and one more is kept below.
        assert_eq!(lowest(), 11);
    });
}

#[test]
fn late_and_lost_credit_is_found() {
    on_each(|ledger| {
        ledger.credit(1, "alice", 1.0, 5);
        ledger.credit(3, "alice", 1.0, 5);
        ledger.block(1, "confirmed");
        ledger.block(3, "confirmed");
        run(ledger, &prop("0"));
        let findings = || check(&mut ledger.open(), None).expect("checked").errors;
        assert_eq!(findings(), Vec::<String>::new());
        ledger.credit(2, "bob", 1.0, 2);
        assert!(findings()[0].ends_with("has 2 shares that came after it"));
        ledger.execute("UPDATE credit SET count = 1 WHERE height = 3", &[]);
        assert!(
            findings()[0].ends_with("lacks 4 shares that it divided"),
            "{:?}",
            findings()
        );
    });
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
            "DELETE FROM highest_tip",
            "no node has shown this ledger the chain",
        ),
        (
            "UPDATE highest_tip SET height = 0",
            "a block at height 1 is judged, and the highest tip",
        ),
        (
            "UPDATE blocks SET final_at = 5",
            "is confirmed, and lost for good",
        ),
        (
            "UPDATE settlements SET state = 'reversed'; UPDATE credit SET count = 2",
            "cannot be settled",
        ),
        (
            "INSERT INTO settlements SELECT 50, block, 'reversed', 'prop', '', 0, 1, 6, 1, 0, 1, 1, 0
               FROM settlements",
            "it was settled anew over what was left",
        ),
        (
            "UPDATE settlements SET fee_ppm = 5000",
            "a fee that its terms",
        ),
        (
            "INSERT INTO payments VALUES (9, 'w', 'sent', NULL, NULL, NULL, 0, 0, NULL)",
            "without its transaction",
        ),
        (
            "INSERT INTO payments VALUES (9, 'w', 'open', NULL, NULL, NULL, 0, 0, NULL);
             INSERT INTO payment_outputs VALUES (9, 1, 'x', 2000000001)",
            "was paid 2000.000001 HNS of 2000.000000 HNS",
        ),
    ];
    for (breach, finding) in breaches {
        on_each(|ledger| {
            ledger.credit(1, "alice", 1.0, 5);
            ledger.block(1, "confirmed");
            run(ledger, &prop("0"));
            for statement in breach.split(';') {
                ledger.execute(statement, &[]);
            }
            let findings = check(&mut ledger.open(), None).expect("checked").errors;
            assert!(
                findings.iter().any(|text| text.contains(finding)),
                "{breach}: {findings:?}"
            );
        });
    }
    // PostgreSQL's constraints do not allow this.
    let ledger = Ledger::in_file();
    ledger.credit(1, "alice", 1.0, 5);
    let conn = rusqlite::Connection::open(ledger.path()).expect("opened");
    conn.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM accounts")
        .expect("deleted");
    let findings = check(&mut ledger.open(), None).expect("checked").errors;
    assert!(
        findings[0].contains("refers to a row of accounts"),
        "{findings:?}"
    );
}

#[test]
fn credit_that_was_pruned_is_never_divided_for_the_whole() {
    for terms in [prop("0"), prop("1")] {
        on_each(|ledger| {
            for height in 1..=33 {
                ledger.credit(height, "alice", 50.0, 1);
                ledger.credit(height, "bob", 50.0, 1);
            }
            let blocks = [10, 20, 30].map(|height| ledger.block(height, "confirmed"));
            assert_eq!(heights(&run(ledger, &terms)), [10, 20, 30]);
            assert!(prune(&mut ledger.open(), Network::Regtest).expect("pruned") > 0);
            assert_eq!(
                ledger.get("SELECT count(*) FROM credit WHERE height <= 20"),
                0
            );
            // Two turn out to be lost, and one comes back; payments stay exact.
            let before = ["alice", "bob"].map(|name| ledger.balance(name));
            ledger.set_state(&blocks[1], "orphaned");
            ledger.set_state(&blocks[2], "orphaned");
            run(ledger, &terms);
            for one in [&blocks[1], &blocks[2]] {
                ledger.set_state(one, "confirmed");
            }
            let settled = run(ledger, &terms);
            assert_eq!(heights(&settled), [30], "20 has lost its credit");
            let held = planned(ledger, &terms).held;
            let held: Vec<_> = held.iter().map(|one| (one.height, one.reason)).collect();
            assert_eq!(held, [(20, HeldReason::Incomplete)]);
            let after = ["alice", "bob"].map(|name| ledger.balance(name));
            let lost = terms.fee.of(2_000 * HNS) as i64 - 2_000 * HNS as i64;
            assert_eq!(after, before.map(|balance| balance + lost / 2));
            let findings = check(&mut ledger.open(), None).expect("checked").errors;
            assert!(
                findings[0].contains("cannot be settled: credit that belongs to it is deleted"),
                "{findings:?}"
            );
        });
    }
}

#[test]
fn lost_block_holds_up_those_above_until_it_is_lost_for_good() {
    on_each(|ledger| {
        ledger.credit(1, "alice", 1.0, 1);
        ledger.credit(2, "bob", 1.0, 1);
        let lower = ledger.block(1, "orphaned");
        ledger.block(2, "confirmed");
        let may_be = "UPDATE blocks SET final_at = NULL WHERE hash = ?1";
        ledger.execute(may_be, &values![&*lower]);
        assert_eq!(run(ledger, &prop("0")), []);
        let held = planned(ledger, &prop("0")).held;
        let held: Vec<_> = held.iter().map(|one| (one.height, one.reason)).collect();
        assert_eq!(held, [(1, HeldReason::Lost), (2, HeldReason::Behind(1))]);
        ledger.set_state(&lower, "orphaned");
        assert_eq!(heights(&run(ledger, &prop("0"))), [2]);
        assert_eq!(ledger.balance("alice"), 1_000 * HNS as i64);
    });
}

#[test]
fn settlement_is_reversed_only_when_its_block_is_lost_for_good() {
    on_each(|ledger| {
        ledger.credit(1, "alice", 1.0, 1);
        let hash = ledger.block(1, "confirmed");
        run(ledger, &prop("0"));
        ledger.set_state(&hash, "orphaned");
        let may_be = "UPDATE blocks SET final_at = NULL";
        ledger.execute(may_be, &[]);
        assert_eq!(run(ledger, &prop("0")), []);
        assert_eq!(ledger.balance("alice"), 2_000 * HNS as i64);
        ledger.set_state(&hash, "orphaned");
        assert_eq!(
            run(ledger, &prop("0"))[0].change,
            SettlementChange::Reversed
        );
        assert_eq!(ledger.balance("alice"), 0);
    });
}
