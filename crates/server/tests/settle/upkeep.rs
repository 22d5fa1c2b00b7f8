//! What was paid by other means, what is pruned, and what a check finds.

use super::*;

#[test]
fn work_paid_elsewhere_is_not_paid_again() {
    on_each(|ledger| {
        ledger.credit(1, "alice", 1.0, 1);
        ledger.credit(2, "bob", 1.0, 1);
        let old = ledger.block(1, "accepted");
        ledger.block(2, "confirmed");
        ledger.execute(
        "INSERT INTO settlements VALUES (1000, ?1, 'settled', 'elsewhere', '', 0, 1, 1, 0, 0, 0, 0)",
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
            check(&mut ledger.open(), None).expect("checked"),
            Vec::<String>::new()
        );

        ledger.credit(15, "alice", 100.0, 1);
        ledger.block(15, "confirmed");
        run(ledger, &pplns("1"));
        ledger.credit(30, "alice", 100.0, 1);
        prune();
        // Twice one network difficulty before block 15 are heights 15 and 12, and one is kept below.
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
        let findings = || check(&mut ledger.open(), None).expect("checked");
        assert_eq!(findings(), Vec::<String>::new());
        ledger.credit(2, "bob", 1.0, 2);
        assert!(findings()[0].starts_with("2 shares of the round of settlement 2"));
        ledger.execute("UPDATE credit SET count = 1 WHERE height = 3", &[]);
        assert!(
            findings()[0].starts_with("4 shares of settlement 2"),
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
    ];
    for (breach, finding) in breaches {
        on_each(|ledger| {
            ledger.credit(1, "alice", 1.0, 5);
            ledger.block(1, "confirmed");
            run(ledger, &prop("0"));
            for statement in breach.split(';') {
                ledger.execute(statement, &[]);
            }
            let findings = check(&mut ledger.open(), None).expect("checked");
            assert!(
                findings.iter().any(|text| text.contains(finding)),
                "{breach}: {findings:?}"
            );
        });
    }
    // What PostgreSQL does not let happen.
    let ledger = Ledger::in_file();
    ledger.credit(1, "alice", 1.0, 5);
    let conn = rusqlite::Connection::open(ledger.path()).expect("opened");
    conn.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM accounts")
        .expect("deleted");
    let findings = check(&mut ledger.open(), None).expect("checked");
    assert!(
        findings[0].contains("refers to a row of accounts"),
        "{findings:?}"
    );
}
