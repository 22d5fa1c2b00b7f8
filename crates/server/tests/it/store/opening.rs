//! Opening of existing files at a start.

use std::path::{Path, PathBuf};

use super::*;

/// Errors for files that are not our ledger; they are left unchanged.
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
        ("not a database", b"nonsense".to_vec()),
        ("empty", Vec::new()),
        ("another program", changed(68, &[0; 4])),
        ("newer hstratum", changed(60, &[0, 0, 0, 99])),
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
    let text = SqliteLedger::open(
        &rig.path(),
        Network::Main,
        1,
        Arc::default(),
        &mut Vec::new(),
    );
    let text = format!("{:#}", text.err().expect("refused"));
    assert!(text.contains("regtest") && text.contains("main"), "{text}");
}

/// A ledger with a share, and a copy of it in that journal mode, as another program leaves it.
fn copy_in(mode: &str) -> (Rig, tempfile::TempDir, PathBuf) {
    let mut rig = Rig::new();
    rig.credit(1, "alice", 1.0);
    rig.work();
    let dir = tempfile::tempdir().expect("a directory");
    let copy = dir.path().join("ledger.db");
    hstratum::ledger_tools::backup(&rig.path(), &copy).expect("copied");
    assert_eq!(journal_mode(&copy), "delete");
    let db = Connection::open(&copy).expect("opened");
    let set: String = db
        .query_row(&format!("PRAGMA journal_mode = {mode}"), [], |row| {
            row.get(0)
        })
        .expect("set");
    assert_eq!(set, mode);
    db.execute_batch("UPDATE accounts SET name = name")
        .expect("written");
    (rig, dir, copy)
}

fn journal_mode(path: &Path) -> String {
    let db = Connection::open(path).expect("opened");
    db.query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .expect("read")
}

/// The copy that `hstratum ledger backup` makes has no write-ahead log, nor has that of the program sqlite3.
#[test]
fn backup_in_any_journal_mode_takes_shares() {
    for mode in ["delete", "truncate", "persist", "memory", "off", "wal"] {
        let (mut rig, dir, copy) = copy_in(mode);
        rig.ledger = open(dir.path()).expect(mode);
        rig.credit(2, "alice", 1.0);
        rig.told();
        rig.work();
        assert_eq!(rig.told(), ["durable 2"], "{mode}");
        assert_eq!(journal_mode(&copy), "wal");
    }
}

/// A killed program's rollback journal is rolled back.
#[test]
fn transaction_of_a_program_that_was_killed_is_taken_back() {
    let (_rig, dir, copy) = copy_in("delete");
    let killed = tempfile::tempdir().expect("a directory");
    {
        let db = Connection::open(&copy).expect("opened");
        db.execute_batch(
            "PRAGMA cache_size = 1; BEGIN IMMEDIATE; UPDATE accounts SET name = 'mallory';
             INSERT INTO probe VALUES (1, zeroblob(1000000));",
        )
        .expect("begun");
        for name in ["ledger.db", "ledger.db-journal"] {
            fs::copy(dir.path().join(name), killed.path().join(name)).expect(name);
        }
    }
    let ledger = open(killed.path()).expect("opened");
    drop(ledger);
    let db = Connection::open(killed.path().join("ledger.db")).expect("opened");
    let name: String = db
        .query_row("SELECT name FROM accounts", [], |row| row.get(0))
        .expect("read");
    assert_eq!(name, "alice");
}

/// SQLite would write the old log into the copy.
#[test]
fn copy_beside_the_log_of_another_file_is_refused_by_name() {
    let (mut rig, dir, copy) = copy_in("delete");
    let before = fs::read(&copy).expect("read");
    for share in 1..=20 {
        rig.credit(share, "mallory", 1.0);
        rig.work();
    }
    let log = rig.path().with_file_name("ledger.db-wal");
    fs::copy(&log, dir.path().join("ledger.db-wal")).expect("copied");
    let text = format!("{:#}", open(dir.path()).err().expect("refused"));
    assert!(
        text.contains("ledger.db-wal") && text.contains("move"),
        "{text}"
    );
    assert!(!text.contains('\n'), "{text}");
    assert_eq!(fs::read(&copy).expect("read"), before);
}

#[test]
fn ledger_that_cannot_be_written_at_the_start_is_refused_by_name() {
    let rig = Rig::new();
    let path = rig.path();
    drop(rig.ledger);
    // Another program holds it in a mode that allows no log.
    let db = Connection::open(&path).expect("opened");
    db.execute_batch("PRAGMA journal_mode = DELETE; BEGIN; SELECT * FROM meta")
        .expect("read");
    let mut held = db.prepare("SELECT * FROM meta").expect("prepared");
    let mut rows = held.query([]).expect("begun");
    rows.next().expect("read");
    let error = open(rig.dir.path()).err().expect("refused");
    assert!(format!("{error:#}").contains("ledger.db"), "{error:#}");
}
