//! Rounds, share dumps and compaction, the same on either engine.

use hstratum::node::{BlockQuery, Look};
use hstratum::sql::{Sql, SqlError};
use hstratum::store::blocks::{self, Finder, Rounds, WatchTurns};
use hstratum::store::compaction::{self, Progress};
use hstratum::store::dumps::{read_dump, read_owed};
use hstratum::store::ledger::{BlockChange, Compacted};
use hstratum::values;
use hstratum_core::accounting::ledger::{BlockState, ChainView, Tip, Verdict};
use hstratum_core::chain::address::Network;
use hstratum_core::chain::block::FoundBlock;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::units::{Hash, Height};

use crate::found::{found_block, hash};
use crate::ledgers::{Ledger, on_each};

const NETWORK: Network = Network::Regtest;

fn found(ledger: &Ledger, height: u32, name: &str, origin: i64) {
    let account = Some(ledger.account("alice"));
    let finder = Finder { account, origin };
    // Reporting it again changes nothing.
    for unix_s in [7, 8] {
        ledger
            .write(|sql| blocks::insert(sql, NETWORK, &found_block(height, name), finder, unix_s));
    }
}

fn judged(ledger: &Ledger, verdicts: &[(&str, Verdict)]) -> Vec<BlockChange> {
    let verdicts: Vec<(Hash, Verdict)> = verdicts
        .iter()
        .map(|(name, verdict)| (hash(name), verdict.clone()))
        .collect();
    let mut changes = ledger
        .write(|sql| blocks::advance(sql, NETWORK, &[], &verdicts, Rounds::Close, 9))
        .changes;
    // The look that follows, which closes rounds.
    let accepted = verdicts
        .iter()
        .filter(|(_, verdict)| *verdict == Verdict::Accepted);
    let places = accepted.map(|(hash, _)| (*hash, Some(*hash))).collect();
    let highest: i64 = ledger.get(
        "SELECT max(height) FROM
           (SELECT height FROM blocks UNION ALL SELECT height FROM highest_tip) AS heights",
    );
    let tip = u32::try_from(highest).expect("a height");
    changes.extend(look(ledger, view(tip), places));
    changes
}

/// View of a synchronized node whose chain has this many blocks.
fn view(tip: u32) -> ChainView {
    ChainView {
        tip: Tip {
            height: Height(tip),
            // The same hash as `Ledger::show` uses.
            hash: Hash::from_hex(&format!("{tip:064x}")).expect("a hash"),
            work: u64::from(tip).into(),
        },
        is_synced: true,
    }
}

fn other_at(height: Height) -> Hash {
    Hash::blake2b(&[b"of others", &height.0.to_le_bytes()])
}

fn look(ledger: &Ledger, view: ChainView, places: Vec<(Hash, Option<Hash>)>) -> Vec<BlockChange> {
    let looks = [Look { view, places }];
    let advanced =
        ledger.write(|sql| blocks::advance(sql, NETWORK, &looks, &[], Rounds::Close, 11));
    advanced.changes
}

/// Applies a look of a node with this view at all blocks that are watched.
fn look_at_all(ledger: &Ledger, view: ChainView, on_main: &[&str]) -> Vec<BlockChange> {
    let on_main: Vec<Hash> = on_main.iter().map(|name| hash(name)).collect();
    let watched =
        ledger.read(|sql| blocks::watched(sql, view.tip.height, &mut WatchTurns::default()));
    let place = |(hash, height): BlockQuery| {
        let there = match on_main.contains(&hash) {
            true => hash,
            false => other_at(height),
        };
        (hash, (height <= view.tip.height).then_some(there))
    };
    look(ledger, view, watched.into_iter().map(place).collect())
}

fn accepted(ledger: &Ledger, height: u32, name: &str) {
    found(ledger, height, name, 0);
    judged(ledger, &[(name, Verdict::Accepted)]);
}

/// Applies a look: the chain has this height, and contains these blocks.
fn chain(ledger: &Ledger, tip: u32, on_main: &[&str]) -> Vec<BlockChange> {
    look_at_all(ledger, view(tip), on_main)
}

fn block(ledger: &Ledger, name: &str) -> String {
    ledger.value(
        "SELECT state || ' ' || coalesce(CAST(round_from AS TEXT), '-') FROM blocks WHERE hash = ?1",
        &values![hash(name).to_string()],
    )
}

#[test]
fn orphaned_blocks_heights_fall_to_the_next_block_and_back() {
    on_each(|ledger| {
        accepted(ledger, 10, "first");
        accepted(ledger, 12, "orphan");
        assert_eq!(block(ledger, "first"), "accepted 0");
        assert_eq!(block(ledger, "orphan"), "accepted 11");
        let changes = chain(ledger, 13, &["first"]);
        let changes: Vec<_> = changes
            .iter()
            .map(|change| (change.hash, change.to))
            .collect();
        let expected = [
            (hash("first"), BlockState::Confirmed),
            (hash("orphan"), BlockState::Orphaned),
        ];
        assert_eq!(changes, expected);
        accepted(ledger, 14, "next");
        assert_eq!(block(ledger, "next"), "accepted 11");
        chain(ledger, 15, &["first", "orphan", "next"]);
        assert_eq!(block(ledger, "orphan"), "confirmed 11");
        // As when its dump was written.
        assert_eq!(block(ledger, "next"), "confirmed 11");
    });
}

#[test]
fn block_that_pays_its_finder_closes_no_round_and_ends_none() {
    on_each(|ledger| {
        accepted(ledger, 10, "first");
        let solo = FoundBlock {
            payout: Payout::Solo,
            ..found_block(12, "solo")
        };
        let account = Some(ledger.account("alice"));
        let finder = Finder { account, origin: 0 };
        ledger.write(|sql| blocks::insert(sql, NETWORK, &solo, finder, 7));
        judged(ledger, &[("solo", Verdict::Accepted)]);
        assert_eq!(block(ledger, "solo"), "accepted -");
        assert_eq!(ledger.read(blocks::unclosed), []);
        accepted(ledger, 14, "next");
        assert_eq!(block(ledger, "next"), "accepted 11");
        chain(ledger, 16, &["first", "solo", "next"]);
        assert_eq!(block(ledger, "solo"), "confirmed -");
        let open = ledger.read(|sql| read_owed(sql, NETWORK, 0, -1));
        let owed: Vec<Hash> = open.iter().map(|(dump, _)| dump.block).collect();
        assert_eq!(owed, [hash("first"), hash("next")]);
        // Credit is merged across its height.
        for height in 11..=14 {
            ledger.credit(height, "bob", 1.0, 1);
        }
        compact(ledger, Some(Height(1000)), 0);
        let heights = "SELECT count(*) FROM credit WHERE height = 14";
        assert_eq!(ledger.get(heights), 1);
        assert_eq!(ledger.get("SELECT count(*) FROM credit"), 1);
        // A reorganisation takes it and brings it back.
        chain(ledger, 16, &["first", "next"]);
        assert_eq!(block(ledger, "solo"), "orphaned -");
        chain(ledger, 16, &["first", "solo", "next"]);
        assert_eq!(block(ledger, "solo"), "confirmed -");
    });
}

#[test]
fn of_two_blocks_at_one_height_one_closes_the_round() {
    on_each(|ledger| {
        found(ledger, 10, "one", 0);
        found(ledger, 10, "two", 0);
        judged(
            ledger,
            &[("two", Verdict::Side), ("one", Verdict::Accepted)],
        );
        assert_eq!(block(ledger, "one"), "accepted 0");
        assert_eq!(block(ledger, "two"), "orphaned -");
        chain(ledger, 11, &["two"]);
        assert_eq!(block(ledger, "one"), "orphaned 0");
        assert_eq!(block(ledger, "two"), "confirmed 0");
        found(ledger, 12, "three", 0);
        judged(ledger, &[("three", Verdict::Refused("bad-thing".into()))]);
        assert_eq!(block(ledger, "three"), "refused -");
        let reason: String = ledger.value(
            "SELECT reason FROM blocks WHERE hash = ?1",
            &values![hash("three").to_string()],
        );
        assert_eq!(reason, "bad-thing");
    });
}

#[test]
fn rounds_that_close_together_close_from_below() {
    on_each(|ledger| {
        found(ledger, 12, "upper", 0);
        found(ledger, 10, "lower", 0);
        judged(
            ledger,
            &[("upper", Verdict::Accepted), ("lower", Verdict::Accepted)],
        );
        assert_eq!(block(ledger, "lower"), "confirmed 0");
        assert_eq!(block(ledger, "upper"), "accepted 11");
    });
}

/// Any difficulty that a miner may ask for: PostgreSQL treats one beyond a double as an error.
#[test]
fn no_difficulty_makes_a_sum_fail() {
    on_each(|ledger| {
        for (account, difficulty) in [("tiny", 5e-324), ("alice", 25.0), ("huge", f64::MAX)] {
            ledger.credit(10, account, difficulty, 4);
            ledger.credit(11, account, difficulty, 4);
        }
        let huge = "INSERT INTO statistics VALUES
            (600, ?1, 1, ?2, 1, 1.0, 1, ?3, 1, ?3, 1, ?3, 0, 0)";
        ledger.execute("INSERT INTO workers VALUES (1, 1, '')", &[]);
        for (start, origin) in [(0, 1), (0, 2), (600, 1)] {
            ledger.execute(huge, &values![start, origin, f64::MAX]);
        }
        ledger.execute(huge, &values![0, 3, 5e-324]);
        found(ledger, 10, "one", 0);
        judged(ledger, &[("one", Verdict::Accepted)]);
        let owed = ledger.read(|sql| read_owed(sql, NETWORK, 0, -1));
        assert_eq!(owed[0].0.shares["alice"], 100.0);
        assert!((owed[0].1 - 1.0).abs() < 1e-9, "{}", owed[0].1);
        let mut progress = Progress::default();
        for _ in 0..20 {
            let tip = Some(Height(400));
            let (_, next) = ledger.write(|sql| compaction::slice(sql, progress, tip, 10 * 86_400));
            progress = next;
        }
        assert_eq!(ledger.get("SELECT count(*) FROM statistics"), 1);
        let report = hstratum::ledger_tools::report(&mut ledger.open(), 1_000).expect("read");
        assert!((report.open.work - 100.0).abs() < 1e-9);
        assert_eq!(report.open.shares, 12);
    });
}

#[test]
fn dump_is_owed_by_the_server_that_found_the_block_until_it_is_written() {
    on_each(|ledger| {
        let of_two = if ledger.is_file() { 0 } else { 2 };
        ledger.credit_of(0, 9, "alice", 0.5, 4);
        ledger.credit_of(of_two, 10, "bob", 25.0, 1);
        ledger.credit_of(0, 10, "bob", 25.0, 2);
        ledger.credit(11, "carol", 1.0, 1);
        found(ledger, 10, "one", 0);
        judged(ledger, &[("one", Verdict::Accepted)]);
        found(ledger, 20, "two", 7);
        judged(ledger, &[("two", Verdict::Accepted)]);
        let owed = |origin, above| ledger.read(|sql| read_owed(sql, NETWORK, origin, above));
        let dumps = owed(0, -1);
        assert_eq!(dumps.len(), 1);
        let (dump, effort) = &dumps[0];
        assert_eq!(dump.block, hash("one"));
        assert_eq!(
            (dump.total, dump.shares["alice"], dump.shares["bob"]),
            (77.0, 2.0, 75.0)
        );
        assert_eq!(dump.shares.len(), 2);
        assert!((effort - 0.77).abs() < 1e-9, "{effort}");
        assert_eq!(owed(0, 10).len(), 0);
        assert_eq!(owed(7, -1)[0].0.block, hash("two"));

        ledger.write(|sql| blocks::dumped(sql, &hash("one"), *effort, 12));
        assert_eq!(owed(0, -1).len(), 0);
        let again = ledger.read(|sql| read_dump(sql, NETWORK, &hash("one")));
        assert_eq!(again.expect("it is there").0, *dump);
        let unknown = ledger.read(|sql| read_dump(sql, NETWORK, &hash("nothing")));
        assert!(unknown.is_none());
    });
}

/// Compacts until nothing is left; returns the number of slices.
fn compact(ledger: &Ledger, tip: Option<Height>, unix_s: i64) -> u32 {
    let mut progress = Progress::default();
    for slices in 0.. {
        let (compacted, next) = ledger.write(|sql| compaction::slice(sql, progress, tip, unix_s));
        progress = next;
        if compacted == Compacted::All {
            return slices;
        }
    }
    unreachable!("it ends")
}

#[test]
fn compaction_keeps_the_sums_of_every_round() {
    on_each(|ledger| {
        let alice = ledger.account("alice");
        let bob = ledger.account("bob");
        let servers: u32 = if ledger.is_file() { 1 } else { 3 };
        ledger.write(|sql: &mut dyn Sql| -> Result<(), SqlError> {
            for height in 1..=1000_u32 {
                sql.execute(
                    "INSERT INTO heights (height, difficulty) VALUES (?1, 100.0)",
                    &values![height],
                )?;
                let account = if height % 2 == 0 { alice } else { bob };
                for server in 0..servers {
                    sql.execute(
                        "INSERT INTO credit (height, account, difficulty, origin, count)
                         VALUES (?1, ?2, 0.5, ?3, 1)",
                        &values![height, account, server],
                    )?;
                }
            }
            Ok(())
        });
        for height in (130..=1000).step_by(130) {
            accepted(ledger, height, &format!("block {height}"));
        }
        let sums = || {
            ledger.rows(
                "SELECT height, (SELECT CAST(sum(count) AS BIGINT) FROM credit
                   WHERE credit.height BETWEEN round_from AND blocks.height)
                 FROM blocks ORDER BY height",
            )
        };
        let count = |sql: &str| -> i64 { ledger.value(sql, &[]) };
        let before = sums();
        compact(ledger, Some(Height(1000)), 0);
        assert_eq!(sums(), before);
        let all = "SELECT CAST(sum(count) AS BIGINT) FROM credit";
        assert_eq!(count(all), 1000 * i64::from(servers));
        // Two accounts at the ends of the spans (five multiples of 144, six blocks); the span that ends at
        // 864 is not over yet, and still belongs to one server.
        let rows = "SELECT count(*) FROM credit";
        assert_eq!(count(rows), 2 * 11 + 220 * i64::from(servers));
        assert_eq!(compact(ledger, Some(Height(1000)), 0), 11);
    });
}

#[test]
fn statistics_keep_their_sums_as_they_become_hours_and_days() {
    const DAY: i64 = 86_400;
    on_each(|ledger| {
        let alice = ledger.account("alice");
        ledger.execute(
            "INSERT INTO workers (account, name) VALUES (?1, 'rig')",
            &values![alice],
        );
        let worker: i64 = ledger.value("SELECT id FROM workers", &[]);
        let begin = 1_000_000_200;
        let servers: u32 = if ledger.is_file() { 1 } else { 2 };
        ledger.write(|sql: &mut dyn Sql| -> Result<(), SqlError> {
            for hour in 0..400 {
                for server in 0..servers {
                    sql.execute(
                        "INSERT INTO statistics VALUES
                           (600, ?1, ?2, ?3, 2, 1.0, 0, 0.0, 1, 0.5, 0, 0.0, 0, 0)",
                        &values![begin + hour * 3_600, worker, server],
                    )?;
                }
            }
            Ok(())
        });
        let now = begin + 400 * 3_600;
        compact(ledger, None, now);
        let sums = || -> (i64, f64, i64) {
            let row = &ledger.rows(
                "SELECT CAST(coalesce(sum(accepted), 0) AS BIGINT), coalesce(sum(accepted_work), 0.0),
                   CAST(coalesce(sum(low), 0) AS BIGINT) FROM statistics",
            )[0];
            (
                row.get(0).expect("a sum"),
                row.get(1).expect("a sum"),
                row.get(2).expect("a sum"),
            )
        };
        let all = i64::from(servers);
        assert_eq!(sums(), (800 * all, 400.0 * f64::from(servers), 400 * all));
        let of = |span: i64| -> i64 {
            let count = "SELECT count(*) FROM statistics WHERE span = ?1";
            ledger.value(count, &values![span])
        };
        assert_eq!(of(600), 24 * all);
        assert!(of(3_600) < 192 && of(DAY) < 10, "{} {}", of(3_600), of(DAY));
        compact(ledger, None, begin + 500 * DAY);
        assert_eq!(sums(), (0, 0.0, 0));
    });
}

#[test]
fn node_that_knows_less_than_the_ledger_was_shown_decides_nothing() {
    on_each(|ledger| {
        for (height, name) in [(10, "one"), (12, "two"), (14, "three")] {
            accepted(ledger, height, name);
        }
        chain(ledger, 15, &["one", "two", "three"]);
        assert_eq!(block(ledger, "three"), "confirmed 13");
        accepted(ledger, 16, "four");
        let before = states(ledger);
        // The node's chain was lost: it has one block, then more, and others at all heights.
        for tip in [1, 11, 15] {
            assert_eq!(chain(ledger, tip, &[]), []);
        }
        // A longer chain with less work.
        let mut long = view(100);
        long.tip.work = 15.into();
        assert_eq!(look_at_all(ledger, long, &[]), []);
        // As much work, and still downloading.
        let mut unsynced = view(30);
        unsynced.is_synced = false;
        assert_eq!(look_at_all(ledger, unsynced, &[]), []);
        assert_eq!(chain(ledger, 29, &[]), [], "the ledger was shown more");
        // As much work, on another branch: either may stay.
        let mut tied = view(30);
        tied.tip.hash = hash("another tip");
        assert_eq!(look_at_all(ledger, tied, &[]), []);
        assert_eq!(states(ledger), before);
        // More work, and the chain does not reach them.
        let mut short = view(9);
        short.tip.work = 31.into();
        assert_eq!(look_at_all(ledger, short, &[]), []);
        assert_eq!(states(ledger), before);
        // A true reorganisation: a block that was only accepted is lost at once, one that was confirmed when
        // the other block is as deep.
        let mut short = view(14);
        short.tip.work = 32.into();
        let changes = look_at_all(ledger, short, &["one", "two"]);
        assert_eq!(changes, []);
        assert_eq!(chain(ledger, 33, &["one", "two"]).len(), 2);
        assert_eq!(block(ledger, "three"), "orphaned 13");
        assert_eq!(block(ledger, "four"), "orphaned 15");
        // And back, whatever the depth is by then.
        chain(ledger, 5_000, &["one", "two", "three", "four"]);
        assert_eq!(block(ledger, "three"), "confirmed 13");
    });
}

fn states(ledger: &Ledger) -> Vec<String> {
    let rows =
        ledger.rows("SELECT hash || state || coalesce(final_at, 0) FROM blocks ORDER BY hash");
    rows.iter().map(|row| row.get(0).expect("text")).collect()
}

#[test]
fn verdict_closes_no_round_before_lower_blocks_were_looked_at() {
    on_each(|ledger| {
        accepted(ledger, 10, "gone");
        found(ledger, 12, "next", 0);
        // A reorganisation has removed the lower one, and nobody has looked.
        let verdicts = [(hash("next"), Verdict::Accepted)];
        ledger.write(|sql| blocks::advance(sql, NETWORK, &[], &verdicts, Rounds::Close, 9));
        assert_eq!(block(ledger, "next"), "accepted -");
        assert_eq!(ledger.read(blocks::unclosed), [hash("next")]);
        chain(ledger, 12, &["next"]);
        assert_eq!(block(ledger, "gone"), "orphaned 0");
        assert_eq!(block(ledger, "next"), "accepted 0");
    });
}

#[test]
fn lost_blocks_are_watched_until_that_is_for_good_and_none_is_forgotten() {
    on_each(|ledger| {
        ledger.write(|sql: &mut dyn Sql| -> Result<(), SqlError> {
            for height in 1..=2_500_u32 {
                let state = ["orphaned", "confirmed"][height as usize % 2];
                sql.execute(
                    "INSERT INTO blocks (hash, height, time, found_at, txid, address, reward,
                       difficulty, state, changed_at, origin)
                     VALUES (?1, ?2, 1, 1, ?1, 'a', 1, 1.0, ?3, 1, 0)",
                    &values![hash(&height.to_string()).to_string(), height, state],
                )?;
            }
            Ok(())
        });
        let mut turns = WatchTurns::default();
        let tip = Height(100_000);
        let mut ask = || ledger.read(|sql| blocks::watched(sql, tip, &mut turns));
        let mut seen = std::collections::BTreeSet::new();
        let first = ask();
        assert!(first.len() <= 2_000, "{}", first.len());
        seen.extend(first);
        // 1,250 lost ones are two turns; of the others 100 are in each turn.
        seen.extend(ask());
        let lost = seen.iter().filter(|(_, height)| height.0 % 2 == 0);
        assert_eq!(lost.count(), 1_250);
        for _ in 0..11 {
            seen.extend(ask());
        }
        assert_eq!(seen.len(), 2_500);
        // A block that is lost for good takes turns with the others.
        chain(ledger, 100_000, &[]);
        let open: i64 =
            ledger.get("SELECT count(*) FROM blocks WHERE state = 'orphaned' AND final_at IS NULL");
        assert_eq!(open, 250);
    });
}
