use hstratum_core::ledger::Credit;
use hstratum_core::units::Difficulty;

use super::*;
use crate::limits::WAL_BYTES;

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

fn open(dir: &Path) -> Sqlite {
    let path = dir.join("ledger.db");
    let (network, status) = (Network::Regtest, Arc::default());
    Sqlite::open(&path, network, 1, status, &mut Vec::new()).expect("opened")
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

#[test]
fn full_disk_takes_nothing_and_takes_it_once_when_there_is_room() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ledger = open(dir.path());
    ledger.commit(&batch(1, 1)).expect("there is room");
    let set_pages = |ledger: &Sqlite, pages: i64| {
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
