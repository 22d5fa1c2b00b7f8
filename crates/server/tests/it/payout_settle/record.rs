//! Record of payouts.

use hstratum::payout::hsd::{HsdNode, HsdTimeouts, Wallet};
use hstratum::payout::{Pause, PayoutRecord, PayoutRun, RunTotals, Sender, pause, resume};

use super::*;

fn record(ledger: &Ledger) -> PayoutRecord {
    ledger.read(PayoutRecord::read)
}

/// A run with a node that nobody answers for.
fn fails(ledger: &Ledger, now: u64) -> String {
    let nowhere = || "http://127.0.0.1:9".parse().expect("a URL");
    let patience = HsdTimeouts::default();
    let node = HsdNode::new(nowhere(), None, Network::Regtest, patience);
    let wallet = Wallet::new(nowhere(), None, ("primary", "default"), None, patience);
    let run = PayoutRun {
        sender: Sender {
            node: &node,
            wallet: &wallet.expect("good names"),
            network: Network::Regtest,
            fee_max: HNS,
            now,
        },
        terms: &TermsHistory::always(prop("0")),
        awaited_servers: &AwaitedServers::of(&mut ledger.open(), &[]).expect("read"),
        by: "eu-1",
    };
    let mut lock = PayoutLock::take(&ledger.place()).expect("free");
    let mut done = RunTotals::default();
    let error = run.send(&mut ledger.open(), &mut lock, &mut done);
    format!("{:#}", error.expect_err("nobody answers"))
}

#[test]
fn a_pause_is_kept_until_it_is_ended_and_nobody_is_paid_meanwhile() {
    on_each(|ledger| {
        assert_eq!(record(ledger), PayoutRecord::default());
        let first = Pause {
            at: 900,
            by: "eu-1".to_owned(),
        };
        let second = Pause {
            at: 901,
            by: "eu-2".to_owned(),
        };
        ledger.write(|sql| pause(sql, &first));
        ledger.write(|sql| pause(sql, &second));
        assert_eq!(record(ledger).paused, Some(first));
        assert!(fails(ledger, 902).contains("paused by \"eu-1\""));
        assert_eq!(record(ledger).last_run, None, "it was none");

        ledger.write(resume);
        ledger.write(resume);
        assert_eq!(record(ledger), PayoutRecord::default());
    });
}

#[test]
fn the_end_of_each_run_is_recorded() {
    on_each(|ledger| {
        for runs in 1..=2 {
            let error = fails(ledger, 900 + runs);
            let seen = record(ledger);
            assert_eq!(seen.runs, runs);
            let last = seen.last_run.expect("there was one");
            assert_eq!((last.at, last.by.as_str()), (900 + runs, "eu-1"));
            assert_eq!(last.failure, Some(error));
        }
    });
}
