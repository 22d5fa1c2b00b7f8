//! Terms of a shared ledger: they are written when all live servers publish the same, and nobody is paid while
//! one publishes others.

use std::sync::Arc;

use hstratum::audit_trail::Actor;
use hstratum::payout::{TermsHistory, check_agreement};
use serde_json::json;

use crate::browser::serve as serve_http;
use crate::harness::{Chain, Running, restart, start_in, wait_until};
use crate::ledgers::Ledger;

fn options<'a>(url: &'a str, label: &'a str, fee: &'a str) -> [(&'a str, &'a str); 3] {
    [("database", url), ("server-id", label), ("fee", fee)]
}

fn serve(url: &str, label: &str, fee: &str) -> Running {
    let root = Arc::new(tempfile::tempdir().expect("a directory"));
    let running = start_in(root, &options(url, label, fee));
    running.move_on(Chain::hard().empty_at(0));
    running
}

/// The fees of the ledger's terms, in millionths, oldest first.
fn fees(ledger: &Ledger) -> Vec<i64> {
    let rows = ledger.rows("SELECT fee_ppm FROM terms ORDER BY id");
    let fees = rows.iter().map(|row| row.get(0).expect("a fee"));
    fees.collect()
}

fn refusal(ledger: &Ledger) -> Option<String> {
    let checked = check_agreement(&mut ledger.open());
    checked.err().map(|error| format!("{error:#}"))
}

#[test]
fn terms_are_written_when_all_servers_have_the_same() {
    let ledger = Ledger::in_postgres();
    assert_eq!(refusal(&ledger), None, "no server has ever run");
    let url = ledger.argument();
    let one = serve(&url, "one", "1");
    one.node
        .wait_for_log("terms: pplns over 2 x network difficulty, fee 1 %");
    assert_eq!(fees(&ledger), [10_000]);
    assert_eq!(refusal(&ledger), None);

    let two = serve(&url, "two", "2.5");
    let differ = "servers of this pool differ: fee: 1 % here, 2.5 % on \"two\"";
    one.node.wait_for_log(differ);
    let refused = "servers differ from the pool's terms: \"two\" has fee 2.5 % instead of 1 %; nobody \
                   is paid before they agree";
    assert_eq!(refusal(&ledger).as_deref(), Some(refused));

    let one = restart(one, &options(&url, "one", "2.5"));
    one.move_on(Chain::hard().empty_at(0));
    let written = "terms: fee 2.5 % instead of 1 %; blocks below height ";
    wait_until("the new terms are there", || {
        fees(&ledger) == [10_000, 25_000]
    });
    wait_until("one of the two has written them", || {
        let told = |running: &Running| {
            let lines = running.node.log_texts();
            lines.iter().any(|line| line.starts_with(written))
        };
        told(&one) || told(&two)
    });
    assert_eq!(refusal(&ledger), None);
    let history = ledger.read(TermsHistory::read).expect("there are terms");
    let tip = ledger.get("SELECT height FROM highest_tip");
    let tip = u32::try_from(tip).expect("a height");
    assert_eq!(
        history.at(tip + 1).fee.get(),
        10_000,
        "the block being mined"
    );
    assert_eq!(history.at(tip + 2).fee.get(), 25_000);
}

#[test]
fn servers_without_terms_of_their_own_hold_payments_up() {
    let ledger = Ledger::in_postgres();
    let one = serve(&ledger.argument(), "one", "1");
    one.node.wait_for_log("terms: pplns");
    ledger.execute(
        "INSERT INTO origins (origin, label, sequence, seen_at_ms)
         VALUES ('\\x00', 'old', 0, (SELECT max(seen_at_ms) + 3600000 FROM origins))",
        &[],
    );
    let text = refusal(&ledger).expect("refused");
    let expected = "\"old\" has no terms: it is of an earlier version";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_threshold_is_compared_with_the_pools_terms() {
    let ledger = Ledger::in_postgres();
    let url = ledger.argument();
    let token = "0123456789abcdef";
    let options = |label, threshold_min| {
        [
            ("database", &*url),
            ("server-id", label),
            ("threshold-min", threshold_min),
            ("http-token", token),
        ]
    };
    let (one, browser) = serve_http(&options("one", "1"));
    one.move_on(Chain::hard().empty_at(0));
    let set = |running: &Running, threshold| {
        let given = running
            .server
            .set_threshold(&Actor::rpc(), "bob", Some(threshold));
        let stored = given.expect("an order").wait();
        stored.map_err(|error| format!("{error:#}"))
    };
    one.node.wait_for_log("terms: pplns");

    // The other server's own option is not the pool's.
    let root = Arc::new(tempfile::tempdir().expect("a directory"));
    let two = start_in(root, &options("two", "2"));
    assert_eq!(set(&two, 1_500_000), Ok(()));
    assert_eq!(
        set(&two, 999_999).expect_err("too low"),
        "failed to store the threshold: 0.999999 HNS is below threshold-min, which is 1.000000 HNS"
    );
    let path = "/api/v1/admin/users/bob/threshold";
    let call = |threshold| browser.call("PUT", path, Some(token), &json!({"threshold": threshold}));
    assert_eq!(call(999_999).status, 400);
    assert_eq!(ledger.get("SELECT threshold FROM accounts"), 1_500_000);
    assert_eq!(call(1_000_000).status, 204);
}
