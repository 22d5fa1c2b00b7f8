//! Reading a round keeps accounts in memory, not rows, since anybody can cause rows.

use std::fs;

use hstratum::payout::{AwaitedServers, PayoutTerms, Scheme, TermsHistory, plan};
use hstratum::store::blocks::{self, Finder};
use hstratum::store::dumps::read_dump;
use hstratum::values;
use hstratum_core::accounting::reward_split::{Decimal, FeePpm};
use hstratum_core::chain::address::Network;

use crate::found::{found_block, hash};
use crate::ledgers::{Ledger, on_each};

const NETWORK: Network = Network::Regtest;
const ROWS: i64 = 300_000;
/// Far less than the rows, each of which takes 200 bytes and more when read.
const BYTES_MAX: u64 = 16 << 20;

/// Peak memory of the process so far; resets the peak.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    // Resets the peak (proc(5), clear_refs).
    fs::write("/proc/self/clear_refs", "5").expect("our own");
    kib.expect("a size") << 10
}

/// Checks the growth of peak memory during `work`.
fn taken(what: &str, work: impl FnOnce()) {
    peak_bytes();
    let before = peak_bytes();
    let begun = std::time::Instant::now();
    work();
    let took = begun.elapsed().as_millis();
    let bytes = peak_bytes().saturating_sub(before);
    println!("{what}: {ROWS} rows, {} KiB, {took} ms", bytes >> 10);
    assert!(bytes < BYTES_MAX, "{what} took {bytes} bytes");
}

/// Inserts rows of one account, each with another difficulty.
fn rows(ledger: &Ledger, height: u32) {
    let mallory = ledger.account("mallory");
    ledger.write(|sql| {
        sql.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < CAST(?3 AS BIGINT))
             INSERT INTO credit (height, account, difficulty, origin, count)
             SELECT CAST(?1 AS BIGINT), CAST(?2 AS BIGINT), 1.0 + i / 1073741824.0, 0, 1 FROM n",
            &values![height, mallory, ROWS],
        )
    });
}

#[test]
fn a_round_is_read_in_the_memory_of_its_accounts() {
    let _turn = crate::turn();
    on_each(|ledger| {
        ledger.credit(10, "alice", 1.0, 7);
        rows(ledger, 10);
        let account = Some(ledger.account("alice"));
        let finder = Finder { account, origin: 0 };
        ledger.write(|sql| blocks::insert(sql, NETWORK, &found_block(10, "one"), finder, 7));
        let close = "UPDATE blocks SET state = 'accepted', closed_at = 9, round_from = 0";
        ledger.execute(close, &[]);
        taken("a dump", || {
            let read = ledger.read(|sql| read_dump(sql, NETWORK, &hash("one")));
            let (dump, _) = read.expect("it is closed");
            let rows = ROWS as f64;
            let exact = rows + rows * (rows + 1.0) / 2.0 / 1_073_741_824.0;
            assert!((dump.shares["mallory"] / exact - 1.0).abs() < 1e-12);
            assert_eq!(dump.shares["alice"], 7.0);
        });
        ledger.show(10);
        ledger.set_state(&hash("one").to_string(), "confirmed");
        let window = Decimal::parse_positive("1000000").expect("a number");
        for scheme in [Scheme::Prop, Scheme::Pplns { window }] {
            let fee = FeePpm::parse_percent("0").expect("a percentage");
            let terms = TermsHistory::always(PayoutTerms {
                scheme,
                fee,
                threshold: 0,
                threshold_min: 0,
            });
            let mut db = ledger.open();
            let awaited_servers = AwaitedServers::of(&mut db, &[]).expect("known");
            taken(&format!("a payout by {scheme:?}"), || {
                let planned = plan(&mut db, NETWORK, &terms, &awaited_servers).expect("planned");
                assert_eq!(planned.blocks.len(), 1);
            });
        }
    });
}
