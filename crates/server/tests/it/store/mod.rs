//! The ledger on a real file: grouping of commits, durability, and reported outcomes.

#[allow(unreachable_pub, reason = "its parts are for the tests beside it")]
mod fixture;
mod opening;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fixture::{LATER_MS, Rig, difficulty, hash, line, open, view};
use hstratum::node::BlockQuery;
use hstratum::store::StoreCommand;
use hstratum::store::ledger::{Advanced, Batch, Compacted, Ledger, LedgerError};
use hstratum::store::sqlite_ledger::SqliteLedger;
use hstratum_core::accounting::ledger::{Credit, ShareTotals, Tallied, Tally, Verdict};
use hstratum_core::chain::address::Network;
use hstratum_core::units::{Height, Seq};
use rusqlite::Connection;

#[test]
fn what_arrives_together_is_one_group() {
    let mut rig = Rig::new();
    for account in ["bob", "alice", "bob"] {
        rig.credit(7, account, 0.5);
    }
    rig.credit(8, "bob", 2.0);
    rig.work();
    assert_eq!(rig.told(), ["durable 4"]);
    assert_eq!(rig.credits(), "7:alice:0.5x1 7:bob:0.5x2 8:bob:2.0x1");
    assert_eq!(rig.ledger.last_seq(), Ok(Seq(4)));
}

#[test]
fn batch_that_is_offered_again_counts_once() {
    let mut rig = Rig::new();
    let mut batch = Batch::default();
    for seq in 1..=3 {
        batch.shares.add(Credit {
            seq: Seq(seq),
            height: Height(1),
            account: "alice".into(),
            difficulty: difficulty(1.0),
            network_difficulty: difficulty(9.0),
        });
    }
    for _ in 0..3 {
        rig.ledger.commit(&batch).expect("committed");
    }
    assert_eq!(rig.credits(), "1:alice:1.0x3");
}

#[test]
fn every_copy_of_the_files_after_a_commit_holds_exactly_what_was_told() {
    let mut rig = Rig::new();
    for number in 0..20 {
        rig.credit(number, "alice", 1.0);
        if number % 5 == 0 {
            rig.accepted(number, &format!("block {number}"));
        }
        rig.work();
        let copy = tempfile::tempdir().expect("a directory");
        for suffix in ["", "-wal"] {
            let name = format!("ledger.db{suffix}");
            fs::copy(rig.dir.path().join(&name), copy.path().join(&name)).expect("copied");
        }
        let ledger = open(copy.path()).expect("a crash leaves a ledger");
        assert_eq!(ledger.last_seq(), Ok(Seq(rig.seq)));
        let db = Connection::open(copy.path().join("ledger.db")).expect("opened");
        let (count, open): (u64, u64) = db
            .query_row(
                "SELECT (SELECT sum(count) FROM credit), (SELECT count(*) FROM blocks
                   WHERE (state IN ('accepted', 'confirmed')) <> (closed_at IS NOT NULL))",
                [],
                |row| Ok((row.get::<_, u32>(0)?.into(), row.get::<_, u32>(1)?.into())),
            )
            .expect("read");
        assert_eq!((count, open), (rig.seq, 0));
    }
}

#[test]
fn orphaned_blocks_heights_fall_to_the_next_block_and_back() {
    let mut rig = Rig::new();
    rig.accepted(10, "first");
    rig.accepted(12, "orphan");
    assert_eq!(rig.block("first"), "confirmed 0");
    assert_eq!(rig.block("orphan"), "accepted 11");
    rig.chain(12, &["first"]);
    assert_eq!(rig.block("orphan"), "orphaned 11");
    let text = rig.told().join("\n");
    assert!(text.contains(&format!("block orphaned, no reward: 12 {}", hash("orphan"))));
    assert!(text.contains(&format!("block confirmed: 10 {}", hash("first"))));
    rig.accepted(14, "next");
    assert_eq!(rig.block("next"), "accepted 11");
    rig.told();
    rig.chain(15, &["first", "orphan", "next"]);
    assert_eq!(rig.block("orphan"), "confirmed 11");
    // As when its dump was written.
    assert_eq!(rig.block("next"), "confirmed 11");
}

#[test]
fn block_that_comes_back_says_so() {
    let mut rig = Rig::new();
    rig.accepted(10, "one");
    rig.chain(10, &[]);
    rig.told();
    rig.chain(10, &["one"]);
    let back = format!("block back on the main chain: 10 {}", hash("one"));
    assert!(rig.told().contains(&back));
    assert_eq!(rig.block("one"), "accepted 0");
}

#[test]
fn of_two_blocks_at_one_height_one_closes_the_round() {
    let mut rig = Rig::new();
    rig.found(10, "one");
    rig.found(10, "two");
    rig.judged("two", Verdict::Side);
    rig.judged("one", Verdict::Accepted);
    rig.work();
    rig.chain_as_it_is(10);
    assert_eq!(rig.block("one"), "accepted 0");
    assert_eq!(rig.block("two"), "orphaned -");
    rig.chain(11, &["two"]);
    assert_eq!(rig.block("one"), "orphaned 0");
    assert_eq!(rig.block("two"), "confirmed 0");
    rig.found(12, "three");
    rig.judged("three", Verdict::Refused("bad-thing".into()));
    rig.work();
    assert_eq!(rig.block("three"), "refused -");
    let reason = format!("SELECT reason FROM blocks WHERE hash = '{}'", hash("three"));
    assert_eq!(rig.text(&reason), "bad-thing");
}

#[test]
fn round_is_closed_only_when_the_node_has_said_what_is_left_of_earlier_ones() {
    let mut rig = Rig::new();
    rig.accepted(10, "gone");
    rig.now.ms += LATER_MS;
    rig.group_commit
        .take(StoreCommand::Chain(Height(12)), rig.now);
    let asked = rig.work();
    assert_eq!(asked, [(hash("gone"), Height(10))]);
    // Found on the new chain while the question is open.
    rig.on_main.clear();
    rig.found(12, "next");
    rig.judged("next", Verdict::Accepted);
    rig.work();
    assert_eq!(rig.block("next"), "accepted -");
    let asked = rig.look(asked, view(12));
    assert_eq!(rig.block("gone"), "orphaned 0");
    assert_eq!(rig.block("next"), "accepted -");
    // It is asked about again at once, since something has come meanwhile.
    assert!(asked.contains(&(hash("next"), Height(12))));
    rig.look(asked, view(12));
    assert_eq!(rig.block("next"), "accepted 0");
}

#[test]
fn verdict_is_not_undone_by_a_look_at_the_chain_before_it() {
    let mut rig = Rig::new();
    rig.found(10, "one");
    rig.work();
    rig.group_commit
        .take(StoreCommand::Chain(Height(9)), rig.now);
    let asked = rig.work();
    assert_eq!(asked, [(hash("one"), Height(10))]);
    rig.judged("one", Verdict::Accepted);
    let now = std::mem::take(&mut rig.on_main);
    let asked = rig.look(asked, view(10));
    assert_eq!(rig.block("one"), "accepted -");
    rig.on_main = now;
    rig.look(asked, view(10));
    assert_eq!(rig.block("one"), "accepted 0");
}

#[test]
fn late_share_counts_for_its_own_height() {
    let mut rig = Rig::new();
    rig.credit(10, "alice", 1.0);
    rig.accepted(10, "one");
    rig.credit(10, "bob", 1.0);
    rig.credit(11, "bob", 1.0);
    rig.accepted(11, "two");
    assert_eq!(rig.credits(), "10:alice:1.0x1 10:bob:1.0x1 11:bob:1.0x1");
    assert_eq!(rig.block("two"), "accepted 11");
}

#[test]
fn writer_beside_us_is_waited_for_and_nothing_is_given_up() {
    let mut rig = Rig::new();
    let db = rig.db();
    db.execute_batch("BEGIN IMMEDIATE").expect("begun");
    rig.credit(1, "alice", 1.0);
    for _ in 0..5 {
        let mut out = Vec::new();
        rig.group_commit.work(&mut rig.ledger, rig.now, &mut out);
        rig.told.extend(out.into_iter().map(line));
        rig.now.ms += 1_500;
    }
    let told = rig.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("written to by another process"),
        "{told:?}"
    );
    rig.credit(1, "bob", 1.0);
    db.execute_batch("COMMIT").expect("ended");
    rig.work();
    let told = rig.told();
    assert_eq!((&*told[0], &*told[2]), ("durable 1", "durable 2"));
    assert!(told[1].contains("free again"), "{told:?}");
}

#[test]
fn disk_that_refuses_loses_shares_openly_and_blocks_never() {
    let mut rig = Rig::new();
    rig.credit(1, "alice", 1.0);
    rig.work();
    assert_eq!(rig.told(), ["durable 1"]);
    // The file's directory is gone, as with a lost disk.
    let away = rig.dir.path().with_extension("away");
    fs::rename(rig.dir.path(), &away).expect("renamed");
    rig.credit(2, "alice", 1.0);
    rig.found(2, "one");
    rig.judged("one", Verdict::Accepted);
    rig.work();
    rig.credit(2, "bob", 1.0);
    rig.wait(1_900);
    assert_eq!(rig.told(), [""; 0]);
    rig.wait(300);
    let told = rig.told();
    assert!(
        told[0].starts_with("the ledger cannot be written"),
        "{told:?}"
    );
    assert_eq!(told[1..], ["failing", "not durable 3"]);
    rig.credit(2, "carol", 1.0);
    rig.wait(10_000);
    assert_eq!(rig.told(), ["not durable 4"]);

    fs::rename(&away, rig.dir.path()).expect("renamed");
    rig.wait(2_000);
    let told = rig.told();
    assert!(told.contains(&"recovered".into()), "{told:?}");
    assert!(
        told.contains(&format!("answered {}", hash("one"))),
        "{told:?}"
    );
    rig.credit(2, "dave", 1.0);
    rig.work();
    assert_eq!(rig.told(), ["durable 5"]);
    assert_eq!(rig.credits(), "1:alice:1.0x1 2:dave:1.0x1");
    rig.chain_as_it_is(2);
    assert_eq!(rig.block("one"), "accepted 0");
}

#[test]
fn hostile_names_come_back_as_they_were() {
    let mut rig = Rig::new();
    let names = [
        "'; DROP TABLE credit; --",
        "a\0b",
        "\u{1b}[2J\n",
        "\u{202e}rtl",
        "ä\"<b>",
    ];
    for name in names {
        rig.credit(1, name, 1.0);
    }
    rig.work();
    let db = rig.db();
    for name in names {
        let count: i64 = db
            .query_row(
                "SELECT count FROM credit JOIN accounts ON id = account WHERE name = ?1",
                [name],
                |row| row.get(0),
            )
            .expect("there");
        assert_eq!(count, 1, "{name:?}");
    }
}

fn tallied(account: &str, accepted: u64, low: u64) -> Tallied {
    let work = |count: u64| ShareTotals {
        count,
        difficulty: count as f64 / 2.0,
    };
    Tallied {
        account: account.into(),
        worker: "rig".into(),
        tally: Tally {
            accepted: work(accepted),
            low: work(low),
            ..Tally::default()
        },
    }
}

#[test]
fn names_without_an_accepted_share_make_no_rows() {
    let mut rig = Rig::new();
    let all = vec![
        tallied("nobody", 0, 5),
        tallied("alice", 1, 1),
        tallied("alice", 0, 2),
    ];
    rig.group_commit.take(StoreCommand::Tally(all), rig.now);
    rig.work();
    let rows = "SELECT group_concat(name || accepted || low || start) FROM statistics
                JOIN workers ON workers.id = worker";
    assert_eq!(rig.text(rows), "rig13999999600");
    assert_eq!(rig.text("SELECT group_concat(name) FROM accounts"), "alice");
}

#[test]
fn statistics_keep_their_sums_as_they_become_hours_and_days() {
    let mut rig = Rig::new();
    let begin = rig.now.unix_s;
    for _ in 0..400 {
        rig.group_commit
            .take(StoreCommand::Tally(vec![tallied("alice", 2, 1)]), rig.now);
        rig.work();
        rig.now.unix_s += 3_600;
    }
    // A clock that jumps back changes nothing for existing rows.
    rig.now.unix_s -= 7_200;
    while rig.ledger.compact(None, rig.now.unix_s).expect("tidied") == Compacted::More {}
    let sums =
        "SELECT sum(accepted) || ' ' || sum(accepted_work) || ' ' || sum(low) FROM statistics";
    assert_eq!(rig.text(sums), "800 400.0 400");
    let spans = "SELECT group_concat(span || 'x' || n) FROM
                 (SELECT span, count(*) AS n FROM statistics GROUP BY span ORDER BY span)";
    let text = rig.text(spans);
    assert!(text.contains("600x") && text.contains("86400x"), "{text}");
    let years = begin + 500 * 86_400;
    while rig.ledger.compact(None, years).expect("tidied") == Compacted::More {}
    assert_eq!(rig.text(sums), "");
}

#[test]
fn compaction_keeps_the_sums_of_every_round() {
    let mut rig = Rig::new();
    for height in 1..=1000 {
        rig.credit(height, ["alice", "bob"][height as usize % 2], 0.5);
        if height % 130 == 0 {
            rig.accepted(height, &format!("block {height}"));
        }
    }
    rig.work();
    let sums = "SELECT group_concat(height || ':' || (SELECT sum(count) FROM credit
                WHERE credit.height BETWEEN round_from AND blocks.height), ' ')
                FROM (SELECT * FROM blocks ORDER BY height) AS blocks";
    let rows = "SELECT '' || count(*) FROM credit";
    let before = rig.text(sums);
    assert_eq!(rig.text(rows), "1000");
    while rig.ledger.compact(Some(Height(1000)), 0).expect("tidied") == Compacted::More {}
    assert_eq!(rig.text(sums), before);
    assert_eq!(rig.text("SELECT '' || sum(count) FROM credit"), "1000");
    // Two accounts at the ends of the spans (five multiples of 144, six blocks); the span that ends at 864 is
    // not over yet.
    assert_eq!(rig.text(rows), (2 * 11 + 220).to_string());
}

/// A ledger whose code panics.
struct Broken;

impl Ledger for Broken {
    fn commit(&mut self, _batch: &Batch) -> Result<Advanced, LedgerError> {
        panic!("a bug that a test asked for");
    }

    fn probe(&mut self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn watched(&mut self, _tip: Height) -> Result<Vec<BlockQuery>, LedgerError> {
        Ok(Vec::new())
    }

    fn compact(&mut self, _tip: Option<Height>, _unix_s: u64) -> Result<Compacted, LedgerError> {
        Ok(Compacted::All)
    }
}

#[test]
fn nothing_is_forgotten_over_a_panic_in_the_ledgers_code() {
    let mut rig = Rig::new();
    rig.credit(1, "alice", 1.0);
    rig.found(1, "one");
    let mut out = Vec::new();
    let worked = catch_unwind(AssertUnwindSafe(|| {
        rig.group_commit.work(&mut Broken, rig.now, &mut out)
    }));
    assert!(worked.is_err());
    rig.group_commit.broken(rig.now, &mut out);
    assert!(out.is_empty());
    rig.wait(200);
    assert_eq!(rig.told(), ["durable 1"]);
    assert_eq!(rig.block("one"), "found -");
}

/// Prints the cost of a commit on this machine's disk.
#[test]
fn commits_are_counted_and_timed() {
    let dir = tempfile::tempdir().expect("a directory");
    let status = Arc::new(hstratum::store::ledger_status::LedgerStatus::default());
    let path = dir.path().join("ledger.db");
    let mut ledger =
        SqliteLedger::open(&path, Network::Regtest, 1, status.clone(), &mut Vec::new())
            .expect("opened");
    let mut seq = 0;
    for group in [1, 10, 1000, 20_000] {
        let mut batch = Batch::default();
        for _ in 0..group {
            seq += 1;
            batch.shares.add(Credit {
                seq: Seq(seq),
                height: Height(1),
                account: format!("account {}", seq % 1000).into(),
                difficulty: difficulty(1.0),
                network_difficulty: difficulty(9.0),
            });
        }
        ledger.commit(&batch).expect("committed");
        println!("{group} shares: {:?}", status.read().last_commit);
    }
    let reading = status.read();
    assert_eq!((reading.groups, reading.shares), (4, seq));
    assert!(reading.wal_bytes > 0);
}

/// As after its chain was lost: it is logged once, and nothing changes until the node knows as much work
/// again.
#[test]
fn node_that_lost_its_chain_is_told_of_once_and_changes_nothing() {
    let mut rig = Rig::new();
    for height in 1..=12 {
        rig.accepted(height, &height.to_string());
    }
    rig.told();
    let all = rig.on_main.clone();
    let states = "SELECT group_concat(state || coalesce(final_at, '')) FROM blocks";
    let before = rig.text(states);
    for tip in [1, 2, 11] {
        rig.chain(tip, &[]);
    }
    let told = rig.told();
    let lines: Vec<_> = told.iter().filter(|line| *line != "dump owed").collect();
    assert_eq!(lines.len(), 1, "{told:?}");
    assert!(lines[0].contains("knows less of the chain than this ledger was shown, up to 12"));
    assert_eq!(rig.text(states), before);
    rig.on_main = all;
    rig.chain_as_it_is(12);
    let back = "the node has caught up with the chain that this ledger was shown".to_owned();
    assert!(rig.told().contains(&back));
    assert_eq!(rig.text(states), before);
}

/// As when its parent was unknown: the node may have it later all the same.
#[test]
fn look_answers_for_a_block_that_had_no_verdict() {
    let mut rig = Rig::new();
    rig.found(10, "late");
    rig.found(10, "lost");
    let [late, lost] = ["late", "lost"].map(|name| format!("answered {}", hash(name)));
    let answers = |rig: &mut Rig| {
        let told = rig.told().into_iter();
        told.filter(|line| line.starts_with("answered"))
            .collect::<Vec<_>>()
    };
    // The chain does not reach them.
    rig.chain(9, &[]);
    assert!(answers(&mut rig).is_empty());
    // One is there; the block in the other's place is not as deep as a reward must be.
    rig.chain(10, &["late"]);
    assert_eq!(answers(&mut rig), [late]);
    assert_eq!(rig.block("late"), "accepted 0");
    rig.chain(11, &["late"]);
    assert_eq!(answers(&mut rig), [lost]);
    assert_eq!(rig.block("lost"), "orphaned -");
    rig.chain(12, &["late"]);
    assert!(answers(&mut rig).is_empty());
}
