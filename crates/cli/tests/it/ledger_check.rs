//! `hstratum ledger check`, through the binary, on ledgers of either engine that violate each promise.

use std::path::Path;
use std::time::UNIX_EPOCH;

use hstratum::values;

use crate::ledgers::{Ledger, on_each};
use crate::program::{hstratum, succeed, text};

const ADDRESS: &str = "rs1qhmgjemz69l0hnkv8st2ahkrld9w45xrjztms54";

/// Findings of a check, in lines.
fn findings(ledger: &Ledger, shares: Option<&Path>) -> Vec<String> {
    let path = ledger.argument();
    let mut args = vec!["ledger", "check", "--ledger", &path];
    args.extend(shares.into_iter().flat_map(|dir| ["--shares", text(dir)]));
    let (code, out, err) = hstratum(&args);
    let lines: Vec<String> = out.lines().map(str::to_owned).collect();
    if code == 0 {
        assert_eq!(lines, ["all is well"], "{err}");
        return Vec::new();
    }
    assert!(code == 1 && !lines.is_empty(), "{out}{err}");
    lines
}

/// Expects that all is well but for one observation with this text.
fn observes(ledger: &Ledger, what: &str) {
    let out = succeed(&["ledger", "check", "--ledger", &ledger.argument()]);
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        matches!(lines[..], [note, "all is well"] if note.starts_with("note: ") && note.contains(what)),
        "{what}: {out}"
    );
}

/// Expects one finding with this text.
fn finds(ledger: &Ledger, shares: Option<&Path>, what: &str) {
    let found = findings(ledger, shares);
    assert!(
        matches!(&found[..], [one] if one.contains(what)),
        "{what}: {found:?}"
    );
}

#[test]
fn a_check_misses_what_is_not_there() {
    on_each(|ledger| {
        ledger.execute("DROP VIEW pool_entries", &[]);
        finds(ledger, None, "pool_entries is not there");
    });
    on_each(|ledger| {
        // A shared ledger could not be recognized as one.
        if ledger.is_file() {
            ledger.execute("DELETE FROM meta", &[]);
            finds(ledger, None, "meta has 0 rows");
            ledger.execute("DROP TABLE meta", &[]);
            finds(ledger, None, "meta is not there");
        }
    });
}

#[test]
fn a_check_misses_credit_of_a_round_that_is_not_settled() {
    on_each(|ledger| {
        let dir = tempfile::tempdir().expect("a directory");
        ledger.credit(6, "alice", 10.0, 20);
        ledger.credit(7, "bob", 10.0, 10);
        let hash = ledger.named_block(&format!("{:064x}", 7), 7, "confirmed");
        let address = "UPDATE blocks SET address = ?1";
        ledger.execute(address, &values![ADDRESS]);
        let path = ledger.argument();
        let to = text(dir.path());
        let dump = ["ledger", "dump", "--ledger", &path, &hash, "--dir", to];
        assert_eq!(hstratum(&dump).0, 0);
        assert!(findings(ledger, Some(dir.path())).is_empty());

        // Credit of another account is found by the dump.
        let bob = ledger.account("bob");
        let mallory = ledger.account("mallory");
        let give = "UPDATE credit SET account = ?2 WHERE account = ?1";
        ledger.execute(give, &values![bob, mallory]);
        assert!(findings(ledger, None).is_empty());
        finds(
            ledger,
            Some(dir.path()),
            "has 100 of work of \"bob\", of which the ledger has 0",
        );
        ledger.execute(give, &values![mallory, bob]);
        // Credit later than the dump is fine.
        ledger.credit(7, "carol", 1.0, 1);
        assert!(findings(ledger, Some(dir.path())).is_empty());

        // Missing credit is found by the effort, wherever the credit was merged.
        let effort = "UPDATE blocks SET effort = 3.0 WHERE hash = ?1";
        ledger.execute(effort, &values![&hash]);
        assert!(findings(ledger, None).is_empty());
        ledger.execute("DELETE FROM credit WHERE account = ?1", &values![bob]);
        finds(ledger, None, "is gone: 201 of work is left");
        ledger.execute("DELETE FROM credit", &[]);
        finds(ledger, None, "is gone: 0 of work is left");
        assert_eq!(findings(ledger, Some(dir.path())).len(), 2);
    });
}

#[test]
fn a_check_knows_blocks_and_rounds_that_cannot_be() {
    on_each(|ledger| {
        let second = "a".repeat(64);
        ledger.block(7, "confirmed");
        ledger.named_block(&second, 7, "orphaned");
        assert!(findings(ledger, None).is_empty());
        ledger.set_state(&second, "accepted");
        finds(ledger, None, "2 blocks of height 7 are on the main chain");
        let change = "UPDATE blocks SET changed_at = ?2 WHERE hash = ?1";
        let now = UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs();
        ledger.execute(
            change,
            &values![&second, i64::try_from(now).expect("a time")],
        );
        assert!(findings(ledger, None).is_empty(), "a node may be behind");
        ledger.set_state(&second, "confirmed");
        finds(ledger, None, "2 blocks of height 7 are on the main chain");
        ledger.set_state(&second, "orphaned");

        let third = ledger.block(9, "confirmed");
        let close = "UPDATE blocks SET closed_at = ?2, round_from = ?3 WHERE hash = ?1";
        ledger.execute(close, &values![&third, 950, 5]);
        finds(
            ledger,
            None,
            "the rounds of the blocks 7 and 9 overlap, from height 5 on",
        );
        // Imported after the other block was found.
        let difficulty = "UPDATE blocks SET difficulty = ?1 WHERE height = 7";
        ledger.execute(difficulty, &values![0.0]);
        assert!(findings(ledger, None).is_empty());
        ledger.execute(difficulty, &values![1.0]);
        ledger.execute(close, &values![&third, 950, 8]);
        assert!(findings(ledger, None).is_empty());
        ledger.execute(close, &values![&third, 950, 10]);
        finds(ledger, None, "does not end there");
        let open = "UPDATE blocks SET closed_at = NULL, dumped_at = NULL WHERE hash = ?1";
        ledger.execute(open, &values![&third]);
        finds(ledger, None, "is confirmed and has closed no round");
    });
}

#[test]
fn a_check_divides_anew() {
    on_each(|ledger| {
        ledger.credit(6, "alice", 10.0, 30);
        ledger.credit(6, "bob", 10.0, 10);
        let hash = ledger.block(7, "confirmed");
        let (alice, bob) = (ledger.account("alice"), ledger.account("bob"));
        let settle = |id: i64, hash: &str, from: i64, shares: i64| {
            ledger.execute(
                "INSERT INTO settlements (id, block, state, scheme, fee_ppm, from_height, shares,
                                          reward, fee, remainder, settled_at)
                 VALUES (?1, ?2, 'settled', 'prop', 0, ?3, ?4, 2000000000, 0, 0, 1000)",
                &values![id, hash, from, shares],
            );
            for (account, amount) in [(alice, 1_500_000_000_i64), (bob, 500_000_000)] {
                ledger.execute(
                    "INSERT INTO settlement_credits VALUES (?1, ?2, ?3)",
                    &values![id, account, amount],
                );
            }
        };
        settle(1, &hash, 6, 40);
        assert!(findings(ledger, None).is_empty());
        let swap = "UPDATE credit SET count = 40 - count";
        ledger.execute(swap, &[]);
        finds(
            ledger,
            None,
            "credits 2 accounts with other amounts than their work",
        );
        ledger.execute(swap, &[]);

        // Another round over the same credit.
        let next = ledger.block(9, "confirmed");
        settle(2, &next, 6, 40);
        let found = findings(ledger, None).join("\n");
        let twice = "heights 6 to 7 was divided twice, in the settlements 1 and 2";
        assert!(found.contains(twice), "{found}");

        // Nothing is old enough to have been deleted.
        ledger.execute("DELETE FROM settlement_credits WHERE settlement = 2", &[]);
        ledger.execute("DELETE FROM settlements WHERE id = 2", &[]);
        ledger.execute("DELETE FROM credit", &[]);
        finds(
            ledger,
            None,
            "settlement 1, up to height 7, lacks 40 shares that it divided",
        );
    });
}

/// Writes a row of terms as a hand would.
fn put_row(ledger: &Ledger, from_height: i64, scheme: &str, window: &str, thresholds: [i64; 2]) {
    ledger.execute(
        "INSERT INTO terms (from_height, scheme, \"window\", fee_ppm, threshold, threshold_min, set_at,
                            set_by)
         VALUES (?1, ?2, ?3, 10000, ?4, ?5, 1000, 'here')",
        &values![from_height, scheme, window, thresholds[0], thresholds[1]],
    );
}

#[test]
fn a_check_reads_the_terms() {
    let usual = [10_000_000, 1_000_000];
    on_each(|ledger| {
        put_row(ledger, 0, "prop", "", usual);
        put_row(ledger, 50, "pplns", "2", usual);
        put_row(ledger, 50, "pplns", "0.5", usual);
        assert!(findings(ledger, None).is_empty());
        put_row(ledger, 40, "prop", "", usual);
        finds(
            ledger,
            None,
            "terms 4 hold from height 40 on, and those set before them from 50 on",
        );
    });
    on_each(|ledger| {
        put_row(ledger, 7, "prop", "", usual);
        finds(
            ledger,
            None,
            "terms 1, the first, hold from height 7 on and not from 0",
        );
    });
    for (scheme, window, thresholds, what) in [
        ("pplns", "", usual, "scheme pplns, window \"\""),
        ("pplns", "-2", usual, "scheme pplns, window \"-2\""),
        ("prop", "2", usual, "scheme prop, window \"2\""),
        (
            "prop",
            "",
            [1_000_000, -1],
            "the threshold-min -0.000001 HNS",
        ),
        (
            "prop",
            "",
            [1_000_000, 1_000_001],
            "the threshold 1.000000 HNS",
        ),
    ] {
        on_each(|ledger| {
            put_row(ledger, 0, "prop", "", usual);
            put_row(ledger, 5, scheme, window, thresholds);
            ledger.execute("UPDATE accounts SET threshold = 1", &[]);
            finds(ledger, None, what);
        });
    }
}

#[test]
fn a_check_observes_settlements_by_other_terms() {
    on_each(|ledger| {
        put_row(ledger, 0, "prop", "", [10_000_000, 1_000_000]);
        put_row(ledger, 50, "pplns", "2", [10_000_000, 1_000_000]);
        let settle = |height, state: &str, scheme: &str, window: &str, fee_ppm: i64| {
            let fee = fee_ppm * 2_000;
            let hash = ledger.block(height, "confirmed");
            ledger.execute(
                "INSERT INTO settlements (block, state, scheme, \"window\", fee_ppm, from_height, shares,
                                          reward, fee, remainder, settled_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 2000000000, ?7, ?8, 1000)",
                &values![hash, state, scheme, window, fee_ppm, height, fee, 2_000_000_000 - fee],
            );
        };
        settle(10, "settled", "prop", "", 10_000);
        settle(60, "settled", "pplns", "2", 10_000);
        settle(61, "reversed", "prop", "", 0);
        assert!(findings(ledger, None).is_empty());
        settle(70, "settled", "pplns", "2", 20_000);
        settle(80, "settled", "pplns", "2", 20_000);
        observes(
            ledger,
            "2 settlements by other terms than those of the height, the first is 4 of height 70: fee 2 % \
             instead of 1 %",
        );
        ledger.execute("UPDATE settlements SET scheme = 'prop' WHERE id > 3", &[]);
        observes(
            ledger,
            "scheme prop instead of pplns over 2 x network difficulty",
        );
        // The flags of `payout send` may have been the terms' own by now.
        ledger.execute("DELETE FROM terms", &[]);
        assert!(findings(ledger, None).is_empty());
        ledger.execute(
            "UPDATE settlements SET scheme = 'pplns', \"window\" = 'x'",
            &[],
        );
        put_row(ledger, 0, "prop", "", [10_000_000, 1_000_000]);
        let found = findings(ledger, None).join("\n");
        assert!(
            found.contains("settlement 1 has the scheme \"pplns\", the window \"x\""),
            "{found}"
        );
    });
}

#[test]
fn a_check_compares_thresholds_with_the_newest_terms() {
    on_each(|ledger| {
        put_row(ledger, 0, "prop", "", [10_000_000, 3_000_000]);
        put_row(ledger, 50, "prop", "", [10_000_000, 1_000_000]);
        let set = |name: &str, threshold: i64| {
            ledger.account(name);
            let set = "UPDATE accounts SET threshold = ?2 WHERE name = ?1";
            ledger.execute(set, &values![name, threshold]);
        };
        set("alice", 1_000_000);
        assert!(findings(ledger, None).is_empty());
        set("bob", 999_999);
        set("carol", 0);
        observes(
            ledger,
            "2 thresholds below the pool's threshold-min, which counts instead: \"bob\" has 0.999999 \
             HNS, and threshold-min is 1.000000 HNS",
        );
        set("bob", 1_000_000);
        set("carol", -1);
        finds(
            ledger,
            None,
            "account \"carol\" has the threshold -0.000001 HNS",
        );
    });
}

#[test]
fn a_check_follows_batches() {
    let ledger = Ledger::in_file();
    let zeros = [0_u8; 32];
    let origin = |sequence: i64, shipped: i64| {
        ledger.execute("DELETE FROM outbox_bodies", &[]);
        ledger.execute("DELETE FROM outbox", &[]);
        ledger.execute("DELETE FROM outbox_origins", &[]);
        ledger.execute(
            "INSERT INTO outbox_origins VALUES (1, zeroblob(16), ?1, ?2, ?3, zeroblob(16))",
            &values![sequence, &zeros[..], shipped],
        );
    };
    origin(0, 0);
    assert!(findings(&ledger, None).is_empty());
    origin(3, 3);
    assert!(findings(&ledger, None).is_empty(), "shipped long ago");
    origin(3, 1);
    finds(
        &ledger,
        None,
        "the batches 2 to 3 of origin 1 are gone and were not shipped",
    );
    origin(1, 2);
    finds(
        &ledger,
        None,
        "batch 2 of origin 1 was shipped, of which there are 1",
    );
    origin(1, 0);
    let insert = "INSERT INTO outbox VALUES (1, 1, 1, zeroblob(16), ?1, 900, NULL, 0)";
    ledger.execute(insert, &values![&zeros[..]]);
    finds(&ledger, None, "batch 1 of origin 1 has no body");
    ledger.execute("INSERT INTO outbox_bodies VALUES (1, zeroblob(0))", &[]);
    finds(
        &ledger,
        None,
        "batch 1 of origin 1 is another than its digest says",
    );

    let shared = Ledger::in_postgres();
    shared.execute(
        "INSERT INTO origins (id, origin, label, sequence, seen_at_ms)
         VALUES (5, '\\x00000000000000000000000000000000', 'a', 3, 0)",
        &[],
    );
    let batch = "INSERT INTO batches VALUES (5, ?1, '\\x00', '\\x00', 0)";
    for sequence in [2, 3] {
        shared.execute(batch, &values![sequence]);
    }
    assert!(findings(&shared, None).is_empty());
    shared.execute("UPDATE batches SET sequence = 1 WHERE sequence = 2", &[]);
    finds(
        &shared,
        None,
        "2 batches from 1 to 3 are known, and 3 were counted",
    );
    shared.execute("UPDATE batches SET sequence = 2 WHERE sequence = 1", &[]);
    shared.credit_of(5, 7, "alice", 1.0, 1);
    assert!(findings(&shared, None).is_empty());
    shared.credit_of(6, 7, "alice", 1.0, 1);
    finds(
        &shared,
        None,
        "there is credit of server 6, which there is not",
    );
}

/// Comparing each block with all lower ones took minutes on a public test network with thousands of blocks of
/// one height.
#[test]
fn thousands_of_blocks_of_two_heights_are_checked_in_seconds() {
    let ledger = Ledger::in_file();
    ledger.execute(
        "INSERT INTO blocks (hash, height, time, found_at, txid, address, reward, difficulty, state,
                             changed_at)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 53000)
         SELECT printf('%064x', i), 10 + i % 2, 1, 1, printf('%064x', i), 'rs1q', 1, 1.0, 'found', 1 FROM n",
        &[],
    );
    let begun = std::time::Instant::now();
    assert_eq!(findings(&ledger, None), [""; 0]);
    let took = begun.elapsed();
    assert!(took.as_secs() < 10, "{took:?}");
}

/// The queries of docs/ledger.md work, on a file with all of its tables.
#[test]
fn queries_of_the_page_are_answered() {
    let page = include_str!("../../../../docs/ledger.md");
    let (_, rest) = page.split_once("```sql\n").expect("a block of queries");
    let (queries, _) = rest.split_once("```").expect("its end");
    let file = Ledger::in_file();
    let db = rusqlite::Connection::open(file.argument()).expect("opened");
    let mut asked = 0;
    for query in queries
        .split(";\n")
        .filter(|query| !query.trim().is_empty())
    {
        let mut query = db.prepare(query).expect(query);
        let mut rows = query.query([]).expect("begun");
        while rows.next().expect("answered").is_some() {}
        asked += 1;
    }
    assert_eq!(asked, 4);
}
