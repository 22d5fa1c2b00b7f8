//! Terms over time.

use hstratum::payout::{AccountPlan, put_terms};

use super::*;

fn put(ledger: &Ledger, terms: &PayoutTerms) -> Option<u32> {
    let change = ledger.write(|sql| put_terms(sql, terms, 900, "eu-1"));
    change.map(|change| change.from_height)
}

fn history(ledger: &Ledger) -> TermsHistory {
    ledger.read(TermsHistory::read).expect("there are terms")
}

#[test]
fn a_block_is_divided_under_the_terms_of_its_height() {
    on_each(|ledger| {
        for height in 1..=5 {
            ledger.credit(height, "alice", 50.0, 1);
        }
        assert!(ledger.read(TermsHistory::read).is_none());
        assert_eq!(
            put(ledger, &prop("1")),
            Some(0),
            "the first is of all heights"
        );
        assert_eq!(put(ledger, &prop("1")), None, "nothing differs");
        ledger.block(3, "accepted");
        ledger.show(5);
        // The tip is 5 and 6 is being mined.
        let from = put(ledger, &pplns("1")).expect("they differ");
        assert_eq!(from, 7);
        assert_eq!(
            put(ledger, &prop("2.5")),
            Some(7),
            "no block was mined meanwhile"
        );
        for height in 6..=8 {
            ledger.credit(height, "bob", 50.0, 1);
        }
        ledger.execute("UPDATE blocks SET state = 'confirmed'", &[]);
        ledger.block(6, "confirmed");
        ledger.block(7, "confirmed");
        let settled = run_by(ledger, &history(ledger), &[]);
        let fees = |settled: &[Settled]| -> Vec<_> {
            settled.iter().map(|one| (one.height, one.fee)).collect()
        };
        let expected = [(3, 20 * HNS), (6, 20 * HNS), (7, 50 * HNS)];
        assert_eq!(fees(&settled), expected);
        // Recorded with each settlement.
        let used = ledger.rows("SELECT fee_ppm, scheme FROM settlements ORDER BY id");
        let used: Vec<_> = used
            .iter()
            .map(|row| row.get::<i64>(0).expect("a fee"))
            .collect();
        assert_eq!(used, [10_000, 10_000, 25_000]);
        // A block that is settled anew has the terms of its height.
        let third = ledger.value::<String>("SELECT hash FROM blocks WHERE height = 3", &[]);
        ledger.set_state(&third, "orphaned");
        run_by(ledger, &history(ledger), &[]);
        ledger.set_state(&third, "confirmed");
        let again = run_by(ledger, &history(ledger), &[]);
        assert_eq!(fees(&again), [(3, 20 * HNS)]);
    });
}

#[test]
fn new_terms_begin_above_all_that_is_known() {
    on_each(|ledger| {
        put(ledger, &prop("0"));
        ledger.credit(9, "alice", 1.0, 1);
        assert_eq!(put(ledger, &prop("1")), Some(11), "above the height mined");
        ledger.block(30, "found");
        ledger.execute("UPDATE highest_tip SET height = 9", &[]);
        assert_eq!(
            put(ledger, &prop("2")),
            Some(32),
            "above a block and the one after it"
        );
        ledger.execute("DELETE FROM blocks", &[]);
        assert_eq!(
            put(ledger, &prop("3")),
            Some(32),
            "never below an earlier row"
        );
        let history = history(ledger);
        for (height, fee) in [(0, "0"), (10, "0"), (11, "1"), (31, "1"), (32, "3")] {
            let fee = FeePpm::parse_percent(fee).expect("a percentage");
            assert_eq!(history.at(height).fee, fee, "{height}");
        }
        assert_eq!(history.newest(), &prop("3"));
    });
}

#[test]
fn the_newest_threshold_holds() {
    on_each(|ledger| {
        let address = "rs1qhmgjemz69l0hnkv8st2ahkrld9w45xrjztms54";
        ledger.credit(5, address, 3.0, 1);
        ledger.block(5, "confirmed");
        put(ledger, &prop("0"));
        let high = PayoutTerms {
            threshold: 3_000 * HNS,
            ..prop("0")
        };
        put(ledger, &high);
        let mut db = ledger.open();
        let awaited_servers = AwaitedServers::of(&mut db, &[]).expect("known");
        let planned = plan(
            &mut db,
            Network::Regtest,
            &history(ledger),
            &awaited_servers,
        );
        let account = planned.expect("planned").accounts.remove(0);
        assert_eq!(account.outcome, BalanceOutcome::Waits(Wait::BelowThreshold));
    });
}

#[test]
fn pruning_keeps_what_a_window_of_the_terms_reaches() {
    on_each(|ledger| {
        for height in 1..=12 {
            ledger.credit(height, "alice", 100.0, 1);
        }
        ledger.block(5, "confirmed");
        run(ledger, &prop("0"));
        put(ledger, &pplns("1"));
        prune(&mut ledger.open(), Network::Regtest).expect("pruned");
        // Twice one network difficulty before block 5 are heights 5 and 4, and one more is kept below.
        assert_eq!(ledger.get("SELECT min(height) FROM credit"), 3);
    });
}

#[test]
fn a_damaged_row_stops_a_payout() {
    on_each(|ledger| {
        put(ledger, &pplns("2"));
        ledger.execute("UPDATE terms SET \"window\" = 'x'", &[]);
        let read = ledger.open().read(TermsHistory::read);
        let text = read.expect_err("damaged").to_string();
        assert!(text.contains("window \"x\""), "{text}");
    });
}

#[test]
fn an_account_is_paid_from_its_own_threshold() {
    on_each(|ledger| {
        let names = [
            "rs1qhmgjemz69l0hnkv8st2ahkrld9w45xrjztms54",
            "rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u",
        ];
        for name in names {
            ledger.credit(5, name, 1.0, 1);
        }
        ledger.block(5, "confirmed");
        run(ledger, &prop("0"));
        // Each has 1,000 HNS.
        let terms = PayoutTerms {
            threshold_min: 10 * HNS,
            ..from(2_000 * HNS)
        };
        let set = |threshold| set_threshold(&mut ledger.open(), names[1], threshold);
        let error = set(Some(500 * HNS)).expect_err("no terms");
        assert!(error.to_string().contains("no terms yet"), "{error}");
        put(ledger, &terms);
        let due = |terms: &PayoutTerms| -> Vec<String> {
            let due = due_from(ledger, terms);
            due.into_iter().map(|payee| payee.name).collect()
        };
        assert_eq!(due(&terms), [""; 0]);
        set(Some(1_000 * HNS)).expect("set");
        assert_eq!(due(&terms), [names[1]], "its own is lower");
        set(Some(1_001 * HNS)).expect("set");
        assert_eq!(due(&from(1)), [names[0]], "its own is higher");
        let error = set(Some(10 * HNS - 1)).expect_err("too low").to_string();
        assert_eq!(
            error,
            "9.999999 HNS is below threshold-min, which is 10.000000 HNS"
        );
        // A smallest threshold that was raised since holds for all.
        set(Some(10 * HNS)).expect("set");
        let raised = PayoutTerms {
            threshold_min: 1_500 * HNS,
            ..terms
        };
        assert_eq!(due(&raised), [""; 0]);
        let mut db = ledger.open();
        let awaited_servers = AwaitedServers::of(&mut db, &[]).expect("known");
        let planned = plan(
            &mut db,
            Network::Regtest,
            &history(ledger),
            &awaited_servers,
        );
        let accounts = planned.expect("planned").accounts;
        let pays = |account: &AccountPlan| matches!(account.outcome, BalanceOutcome::Pays { .. });
        assert_eq!(accounts.iter().map(pays).collect::<Vec<_>>(), [false, true]);
        set(None).expect("cleared");
        assert_eq!(due(&terms), [""; 0]);
        assert!(set_threshold(&mut ledger.open(), "nobody", None).is_err());
    });
}
