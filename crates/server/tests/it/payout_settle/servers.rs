//! Settlement with servers that have not shipped everything, and blocks that become known too late.

use hstratum::ledger_tools::check;
use hstratum::payout::{AwaitedServers, HeldReason};
use hstratum::store::compaction::{self, Progress};
use hstratum::store::ledger::Compacted;
use hstratum::values;
use hstratum_core::units::Height;

use super::{heights, planned, pplns, prop, run, run_without};
use crate::ledgers::{Ledger, on_each};

/// Inserts a server into the shared ledger.
pub(super) fn server(ledger: &Ledger, label: &str, seen_s_ago: i64, shipped_tip: Option<u32>) {
    ledger.execute(
        "INSERT INTO origins (origin, label, sequence, seen_at_ms, shipped_tip)
         SELECT ?1, ?2, 0, CAST(extract(epoch FROM now()) * 1000 AS BIGINT) - ?3, ?4",
        &values![
            &hstratum_core::units::Hash::blake2b(&[label.as_bytes(), &seen_s_ago.to_be_bytes()]).0
                [..],
            label,
            seen_s_ago * 1000,
            shipped_tip,
        ],
    );
}

#[test]
fn payout_waits_for_what_servers_have_not_shipped() {
    const DAY: i64 = 86_400;
    let ledger = &Ledger::in_postgres();
    for height in 1..=4 {
        ledger.credit(height, "alice", 1.0, 1);
        ledger.block(height, "confirmed");
    }
    server(ledger, "ahead", 0, Some(9));
    server(ledger, "long gone", 8 * DAY, Some(0));
    // It has begun a new origin after its file was restored: nothing more will come from the old one.
    server(ledger, "replaced", 2 * DAY, None);
    server(ledger, "replaced", 0, Some(4));
    ledger.execute(
        "UPDATE origins SET successor = (SELECT max(id) FROM origins WHERE label = 'replaced')
         WHERE label = 'replaced' AND shipped_tip IS NULL",
        &[],
    );
    // Two servers of one name: both are waited for.
    server(ledger, "twice", 2 * DAY, Some(3));
    server(ledger, "twice", 0, Some(4));
    server(ledger, "down", 6 * DAY, Some(1));
    server(ledger, "behind", 1, Some(2));
    assert_eq!(heights(&run(ledger, &prop("0"))), [1]);
    let plan = planned(ledger, &prop("0"));
    let held: Vec<_> = plan
        .held
        .iter()
        .map(|one| (one.height, one.reason))
        .collect();
    assert_eq!(
        held,
        [2, 3, 4].map(|height| (height, HeldReason::Unshipped))
    );
    let awaited: Vec<_> = plan
        .servers
        .iter()
        .map(|one| (&*one.label, one.is_awaited))
        .collect();
    let expected = [
        ("ahead", true),
        ("behind", true),
        ("down", true),
        ("long gone", false),
        ("replaced", false),
        ("replaced", true),
        ("twice", true),
        ("twice", true),
    ];
    assert_eq!(awaited, expected);

    let without = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    let settled = run_without(ledger, &prop("0"), &without(&["down"]));
    assert_eq!(heights(&settled), [2]);
    let settled = run_without(ledger, &prop("0"), &without(&["down", "behind"]));
    assert_eq!(heights(&settled), [3]);
    let error = AwaitedServers::of(&mut ledger.open(), &without(&["twice"])).expect_err("which");
    assert!(error.to_string().contains("several servers"), "{error:#}");
    let number = "SELECT min(id) FROM origins WHERE label = 'twice'";
    let first = format!("#{}", ledger.get(number));
    let settled = run_without(ledger, &prop("0"), &without(&["down", "behind", &first]));
    assert_eq!(heights(&settled), [4]);
    let error = AwaitedServers::of(&mut ledger.open(), &without(&["nobody"])).expect_err("unknown");
    assert!(error.to_string().contains("\"nobody\""), "{error:#}");
}

/// Compacts old credit, like a server at this tip.
fn merge(ledger: &Ledger, tip: u32) {
    let mut progress = Progress::default();
    loop {
        let tip = Some(Height(tip));
        let (compacted, next) = ledger.write(|sql| compaction::slice(sql, progress, tip, 1_000));
        progress = next;
        if compacted == Compacted::All {
            return;
        }
    }
}

#[test]
fn a_block_that_comes_after_its_credit_was_merged_is_divided_by_nobody() {
    on_each(|ledger| {
        for (height, name) in [(10, "alice"), (20, "bob"), (100, "bob"), (200, "carol")] {
            ledger.credit(height, name, 1.0, 10);
        }
        ledger.block(100, "confirmed");
        ledger.block(200, "confirmed");
        merge(ledger, 400);
        // Alice's ten shares are merged with bob's now.
        let late = ledger.block(10, "confirmed");
        assert_eq!(heights(&run(ledger, &prop("0"))), [200]);
        let plan = planned(ledger, &pplns("1"));
        let held: Vec<_> = plan
            .held
            .iter()
            .map(|one| (one.height, one.reason))
            .collect();
        assert_eq!(held, [10, 100].map(|height| (height, HeldReason::Inexact)));
        let found = check(&mut ledger.open(), None).expect("checked").errors;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("can be cut no more"), "{found:?}");
        // The block turns out to be lost.
        ledger.set_state(&late, "orphaned");
        assert_eq!(heights(&run(ledger, &prop("0"))), [100]);
        assert_eq!(
            check(&mut ledger.open(), None).expect("checked").errors,
            [""; 0]
        );
    });
}

#[test]
fn a_block_at_the_end_of_what_was_merged_is_divided_as_ever() {
    on_each(|ledger| {
        for (height, name) in [(10, "alice"), (100, "bob"), (144, "bob"), (145, "carol")] {
            ledger.credit(height, name, 1.0, 10);
        }
        merge(ledger, 400);
        ledger.block(144, "confirmed");
        assert_eq!(heights(&run(ledger, &prop("0"))), [144]);
    });
}
