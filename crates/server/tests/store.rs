//! The ledger's keeper on a real file: what is committed together, what survives, what is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hstratum::store::StoreMail;
use hstratum::store::keeper::{Keeper, Next, Outcome};
use hstratum::store::ledger::{Batch, Ledger, Tidied};
use hstratum::store::sqlite::Sqlite;
use hstratum_core::address::Network;
use hstratum_core::event::{FoundBlock, Now, Verdict};
use hstratum_core::ledger::{Credit, Tallied, Tally, Work};
use hstratum_core::template::Coinbase;
use hstratum_core::units::{Difficulty, Hash, Height, Seq};
use rusqlite::Connection;
use tempfile::TempDir;

/// Long after a question to the node is no longer waited for.
const LATER_MS: u64 = 60_000;

/// A keeper on a file of its own, with a clock that the test moves.
struct Rig {
    dir: TempDir,
    ledger: Sqlite,
    keeper: Keeper,
    now: Now,
    seq: u64,
    told: Vec<String>,
}

fn open(dir: &Path) -> anyhow::Result<Sqlite> {
    let path = dir.join("ledger.db");
    Sqlite::open(&path, Network::Regtest, 1, Arc::default(), &mut Vec::new())
}

fn difficulty(value: f64) -> Difficulty {
    Difficulty::new(value).expect("above zero")
}

fn coinbase() -> Coinbase {
    let text = include_str!("../../core/tests/vectors/templates.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(text).expect("JSON");
    let hex = vectors[0]["template"]["coinbase"]
        .as_str()
        .or_else(|| vectors[0]["coinbase"].as_str())
        .expect("a coinbase");
    let raw = hstratum_core::units::unhex(hex).expect("hex");
    Coinbase::parse(&raw).expect("a coinbase")
}

fn hash(name: &str) -> Hash {
    Hash::blake2b(&[name.as_bytes()])
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let now = Now {
            ms: 1_000,
            unix_s: 1_000_000_000,
        };
        Self {
            ledger: open(dir.path()).expect("opened"),
            keeper: Keeper::new(now),
            dir,
            now,
            seq: 0,
            told: Vec::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("ledger.db")
    }

    fn credit(&mut self, height: u32, account: &str, value: f64) {
        self.seq += 1;
        let credit = Credit {
            seq: Seq(self.seq),
            height: Height(height),
            account: account.into(),
            difficulty: difficulty(value),
            network_difficulty: difficulty(100.0),
        };
        self.keeper.take(StoreMail::Credits(vec![credit]), self.now);
    }

    fn found(&mut self, height: u32, name: &str) {
        let block = FoundBlock {
            hash: hash(name),
            height: Height(height),
            time: 5,
            bits: 0x207f_ffff,
            coinbase: coinbase(),
            account: Some("alice".into()),
        };
        let mail = StoreMail::BlockFound(Box::new(block));
        self.keeper.take(mail, self.now);
    }

    fn judged(&mut self, name: &str, verdict: Verdict) {
        let mail = StoreMail::BlockAnswered(hash(name), verdict);
        self.keeper.take(mail, self.now);
    }

    fn accepted(&mut self, height: u32, name: &str) {
        self.found(height, name);
        self.judged(name, Verdict::Accepted);
        self.work();
    }

    /// The chain has this height, and the node says which of our blocks are in it.
    fn chain(&mut self, tip: u32, on_main: &[&str]) {
        self.now.ms += LATER_MS;
        self.keeper.take(StoreMail::Chain(Height(tip)), self.now);
        let asked = self.work();
        let on_main: Vec<Hash> = on_main.iter().map(|name| hash(name)).collect();
        let places = asked
            .into_iter()
            .map(|hash| (hash, on_main.contains(&hash)));
        let mail = StoreMail::Located(Height(tip), places.collect());
        self.keeper.take(mail, self.now);
        self.work();
    }

    /// Works until nothing is left to do at this time; returns what was asked of the node.
    fn work(&mut self) -> Vec<Hash> {
        let mut asked = Vec::new();
        loop {
            let mut out = Vec::new();
            let next = self.keeper.work(&mut self.ledger, self.now, &mut out);
            for outcome in out {
                match outcome {
                    Outcome::Locate(hashes) => asked = hashes,
                    outcome => self.told.push(line(outcome)),
                }
            }
            match next {
                Next::Now => {}
                Next::At(ms) if ms <= self.now.ms => {}
                Next::At(_) => return asked,
            }
        }
    }

    /// Lets time pass, in steps in which a retry can happen.
    fn wait(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(100) {
            self.now.ms += 100;
            self.work();
        }
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    fn db(&self) -> Connection {
        Connection::open(self.path()).expect("opened")
    }

    fn text(&self, sql: &str) -> String {
        let text = self
            .db()
            .query_row(sql, [], |row| row.get::<_, Option<String>>(0));
        text.expect("read").unwrap_or_default()
    }

    fn credits(&self) -> String {
        self.text(
            "SELECT group_concat(row, ' ') FROM (SELECT height || ':' || name || ':' ||
             difficulty || 'x' || count AS row FROM credit JOIN accounts ON id = account
             ORDER BY height, name, difficulty)",
        )
    }

    fn block(&self, name: &str) -> String {
        self.text(&format!(
            "SELECT state || ' ' || coalesce(round_from, '-') FROM blocks WHERE hash = '{}'",
            hash(name)
        ))
    }
}

fn line(outcome: Outcome) -> String {
    match outcome {
        Outcome::Durable(seq) => format!("durable {}", seq.0),
        Outcome::NotDurable(seq) => format!("not durable {}", seq.0),
        Outcome::Failing(_) => "failing".into(),
        Outcome::Recovered => "recovered".into(),
        Outcome::Answered(hash) => format!("answered {hash}"),
        Outcome::DumpOwed => "dump owed".into(),
        Outcome::AddressKept(_, kept) => format!("address {}", kept.is_ok()),
        Outcome::Log(_, text) => text,
        Outcome::Locate(_) => unreachable!("taken out before"),
    }
}

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
                   WHERE (state = 'accepted') <> (closed_at IS NOT NULL))",
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
    assert_eq!(rig.block("first"), "accepted 0");
    assert_eq!(rig.block("orphan"), "accepted 11");
    rig.told();
    rig.chain(13, &["first"]);
    assert_eq!(rig.block("orphan"), "orphaned 11");
    assert_eq!(rig.block("first"), "confirmed 0");
    let text = rig.told().join("\n");
    assert!(text.contains(&format!("block orphaned, no reward: 12 {}", hash("orphan"))));
    assert!(text.contains(&format!("block confirmed: 10 {}", hash("first"))));
    rig.accepted(14, "next");
    assert_eq!(rig.block("next"), "accepted 11");
    rig.told();
    rig.chain(15, &["first", "orphan", "next"]);
    assert_eq!(rig.block("orphan"), "confirmed 11");
    // As it was when its dump was written.
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
    rig.keeper.take(StoreMail::Chain(Height(12)), rig.now);
    let asked = rig.work();
    assert_eq!(asked, [hash("gone")]);
    // Found on the new chain while the question is open.
    rig.accepted(12, "next");
    assert_eq!(rig.block("next"), "found -");
    let places = vec![(hash("gone"), false)];
    rig.keeper
        .take(StoreMail::Located(Height(12), places), rig.now);
    rig.work();
    assert_eq!(rig.block("gone"), "orphaned 0");
    assert_eq!(rig.block("next"), "accepted 0");
}

#[test]
fn verdict_is_not_undone_by_a_look_at_the_chain_before_it() {
    let mut rig = Rig::new();
    rig.found(10, "one");
    rig.work();
    rig.keeper.take(StoreMail::Chain(Height(9)), rig.now);
    assert_eq!(rig.work(), [hash("one")]);
    rig.judged("one", Verdict::Accepted);
    let places = vec![(hash("one"), false)];
    rig.keeper
        .take(StoreMail::Located(Height(9), places), rig.now);
    rig.work();
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
        rig.keeper.work(&mut rig.ledger, rig.now, &mut out);
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
    // The file's directory is gone, as when a disk is.
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
    let work = |count: u64| Work {
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
    rig.keeper.take(StoreMail::Tally(all), rig.now);
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
        rig.keeper
            .take(StoreMail::Tally(vec![tallied("alice", 2, 1)]), rig.now);
        rig.work();
        rig.now.unix_s += 3_600;
    }
    // The clock jumping back changes nothing for what is there.
    rig.now.unix_s -= 7_200;
    while rig.ledger.tidy(None, rig.now.unix_s).expect("tidied") == Tidied::More {}
    let sums =
        "SELECT sum(accepted) || ' ' || sum(accepted_work) || ' ' || sum(low) FROM statistics";
    assert_eq!(rig.text(sums), "800 400.0 400");
    let spans = "SELECT group_concat(span || 'x' || n) FROM
                 (SELECT span, count(*) AS n FROM statistics GROUP BY span ORDER BY span)";
    let text = rig.text(spans);
    assert!(text.contains("600x") && text.contains("86400x"), "{text}");
    let years = begin + 500 * 86_400;
    while rig.ledger.tidy(None, years).expect("tidied") == Tidied::More {}
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
    while rig.ledger.tidy(Some(Height(1000)), 0).expect("tidied") == Tidied::More {}
    assert_eq!(rig.text(sums), before);
    assert_eq!(rig.text("SELECT '' || sum(count) FROM credit"), "1000");
    // Two accounts at the ends of the spans (five multiples of 144, six blocks); the span that ends
    // at 864 is not over yet.
    assert_eq!(rig.text(rows), (2 * 11 + 220).to_string());
}

/// What the start says of files that are no ledger of ours; they are left as they were.
#[test]
fn damaged_file_stops_the_start_and_is_left_alone() {
    let good = {
        let mut rig = Rig::new();
        rig.credit(1, "alice", 1.0);
        rig.work();
        drop(rig.ledger);
        fs::read(rig.dir.path().join("ledger.db")).expect("read")
    };
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let cases: [(&str, Vec<u8>); 6] = [
        ("no database", b"nonsense".to_vec()),
        ("empty", Vec::new()),
        ("another program", changed(68, &[0; 4])),
        ("newer hstratum", changed(60, &[0, 0, 0, 9])),
        ("damaged", changed(8192, &[0xff; 4096])),
        ("", good[..good.len() / 2].to_vec()),
    ];
    for (why, file) in cases {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        fs::write(&path, &file).expect("written");
        let error = open(dir.path()).err().expect("refused");
        let text = format!("{error:#}");
        assert!(
            text.contains("ledger.db") && text.contains("docs/ledger.md"),
            "{text}"
        );
        assert!(text.contains(why), "{why}: {text}");
        assert!(!text.contains('\n'), "{text}");
        assert_eq!(fs::read(&path).expect("read"), file, "{why}");
    }
}

#[test]
fn log_without_its_file_stops_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("ledger.db-wal"), "frames").expect("written");
    let text = format!("{:#}", open(dir.path()).err().expect("refused"));
    assert!(text.contains("the file is gone"), "{text}");
    assert!(!dir.path().join("ledger.db").exists());
}

#[test]
fn ledger_of_another_network_stops_the_start() {
    let rig = Rig::new();
    let text = Sqlite::open(
        &rig.path(),
        Network::Main,
        1,
        Arc::default(),
        &mut Vec::new(),
    );
    let text = format!("{:#}", text.err().expect("refused"));
    assert!(text.contains("regtest") && text.contains("main"), "{text}");
}
