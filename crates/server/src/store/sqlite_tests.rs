use hstratum_core::accounting::ledger::Credit;
use hstratum_core::event::Level;
use hstratum_core::units::Difficulty;

use super::*;
use crate::limits::WAL_BYTES;
use crate::node::{Node, Offer};
use crate::store::checkpoint;
use crate::supervision::Duties;

struct Silent;

impl Node for Silent {
    fn offer(&self, _: Offer) {}

    fn locate(&self, _: Vec<BlockQuery>) {}

    fn log(&self, _: Level, text: &str) {
        panic!("nothing fails: {text}");
    }
}

fn batch(first: u64, accounts: u64) -> Batch {
    let mut batch = Batch::default();
    for seq in first..first + accounts {
        batch.shares.add(Credit {
            seq: Seq(seq),
            height: Height(1),
            account: format!("account {seq} {}", "x".repeat(1000)).into(),
            difficulty: Difficulty::new(1.0).expect("above zero"),
            network_difficulty: Difficulty::new(1.0).expect("above zero"),
        });
    }
    batch
}

fn open(dir: &Path) -> SqliteLedger {
    let path = dir.join("ledger.db");
    let (network, status) = (Network::Regtest, Arc::default());
    SqliteLedger::open(&path, network, 1, status, &mut Vec::new()).expect("opened")
}

#[test]
fn log_begins_anew_though_nobody_else_copies_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ledger = open(dir.path());
    let (mut largest, mut shrunk) = (0, false);
    for group in 0..20 {
        let groups_batch = batch(1 + group * 4_000, 4_000);
        ledger.commit(&groups_batch).expect("committed");
        let bytes = ledger.status.read().wal_bytes;
        shrunk |= bytes < largest;
        largest = largest.max(bytes);
    }
    assert!(shrunk, "{largest}");
    assert!(largest < WAL_BYTES_HIGH + WAL_BYTES, "{largest}");
}

/// A reader has kept the log from being reset; after that nothing is written any more.
#[test]
fn a_long_log_becomes_short_though_nothing_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ledger.db");
    let mut ledger = open(dir.path());
    let reader = Connection::open(&path).expect("opened");
    let count = "SELECT count(*) FROM accounts";
    let first = |conn: &Connection, sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0));
    reader.execute_batch("BEGIN").expect("begun");
    assert_eq!(first(&reader, count), Ok(0));
    for group in 0..6 {
        let batch = batch(1 + group * 4_000, 4_000);
        ledger.commit(&batch).expect("committed");
    }
    let log_bytes = || fs::metadata(beside(&path, "-wal")).expect("there").len();
    assert!(log_bytes() > 2 * WAL_BYTES, "{}", log_bytes());
    let (stop, wanted) = std::sync::mpsc::sync_channel(1);
    let duties = Duties::default();
    let duty = duties.add("the ledger's log");
    let status = ledger.status.clone();
    std::thread::scope(|scope| {
        let (path, status) = (&path, &status);
        scope.spawn(move || {
            let look = Duration::from_millis(20);
            checkpoint::run(path, &wanted, look, status, &duty, &Silent);
        });
        reader.execute_batch("COMMIT").expect("done");
        let deadline = Instant::now() + Duration::from_secs(30);
        while log_bytes() > 0 {
            assert!(Instant::now() < deadline, "{}", log_bytes());
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(stop);
    });
    assert_eq!(status.read().wal_bytes, 0);
    ledger.commit(&batch(24_001, 10)).expect("it goes on");
    assert_eq!(first(&reader, count), Ok(24_010));
}

#[test]
fn full_disk_takes_nothing_and_takes_it_once_when_there_is_room() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ledger = open(dir.path());
    ledger.commit(&batch(1, 1)).expect("there is room");
    let set_pages = |ledger: &SqliteLedger, pages: i64| {
        let pragma = "max_page_count";
        let set = |row: &rusqlite::Row| row.get::<_, i64>(0);
        ledger
            .conn
            .pragma_update_and_check(None, pragma, pages, set)
            .expect("set");
    };
    set_pages(&ledger, 1);
    let large = batch(2, 1000);
    for _ in 0..3 {
        let error = ledger.commit(&large).expect_err("no room");
        assert!(
            matches!(&error, LedgerError::Failed(text) if text.contains("full")),
            "{error}"
        );
    }
    assert_eq!(ledger.last_seq(), Ok(Seq(1)));
    set_pages(&ledger, 1_000_000);
    ledger.commit(&large).expect("there is room again");
    ledger.commit(&large).expect("it is there already");
    let count: i64 = ledger
        .conn
        .query_row("SELECT sum(count) FROM credit", [], |row| row.get(0))
        .expect("read");
    assert_eq!(count, 1001);
}

#[test]
fn a_log_that_is_missing_is_named_with_what_helps() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ledger = open(dir.path());
    ledger.commit(&batch(1, 1)).expect("committed");
    fs::remove_file(dir.path().join("ledger.db-wal")).expect("removed");
    let error = ledger
        .commit(&batch(2, 1))
        .expect_err("nothing to write to");
    assert_eq!(error, LedgerError::LogMissing("ledger.db-wal".to_owned()));
    assert_eq!(
        error.to_string(),
        "ledger.db-wal is missing: stop the node, see docs/ledger.md, Backup and restore"
    );
    assert_eq!(error.advice(), "");
    let full = LedgerError::Failed("disk full".to_owned());
    assert!(full.advice().contains("make room"));
}
