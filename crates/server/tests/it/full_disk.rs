//! A full disk, a found block, and a power failure: on a small filesystem of its own.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use hstratum_core::accounting::ledger::Verdict;

use crate::harness::miner::Want;
use crate::harness::template::FIRST_HEIGHT;
use crate::harness::{Chain, Offered, start_in, wait_until};

/// Says which part of the test this process is.
const PART: &str = "HSTRATUM_TEST_FULL_DISK";
const NAME: &str = "full_disk::block_that_is_found_on_a_full_disk_survives_a_kill";
const FILLER: &str = "filler";

/// The full disk, and in it the directory whose files outlive the first part.
fn disk() -> (PathBuf, PathBuf) {
    let disk = PathBuf::from(std::env::var_os("TMPDIR").expect("set by the first process"));
    let kept = disk.join("kept");
    (disk, kept)
}

fn fill(disk: &Path) {
    let mut file = File::create(disk.join(FILLER)).expect("created");
    for size in [1 << 16, 1 << 12, 1] {
        let bytes = vec![0xff; size];
        let full = loop {
            if let Err(error) = file.write_all(&bytes) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
    }
}

#[test]
fn block_that_is_found_on_a_full_disk_survives_a_kill() {
    match std::env::var(PART).as_deref() {
        Ok("found") => return find(),
        Ok("after") => return come_back(),
        _ => {}
    }
    let mount = tempfile::tempdir().expect("a directory");
    let test = std::env::current_exe().expect("this program");
    // The mount ends with the last process that sees it.
    let script = format!(
        "mount -t tmpfs -o size=24m none \"$TMPDIR\" || exit 77
         {PART}=found \"$0\" --exact {NAME} --nocapture
         [ $? = 134 ] || exit 1
         {PART}=after \"$0\" --exact {NAME} --nocapture"
    );
    let out = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .arg(test)
        .env("TMPDIR", mount.path())
        .output();
    let out = match out {
        Ok(out) if !matches!(out.status.code(), Some(77)) => out,
        // Only where the machine forbids mounting.
        refused => return println!("not tried: {refused:?}"),
    };
    let text = String::from_utf8_lossy(&out.stderr);
    if text.contains("unshare failed") {
        return println!("not tried: {text}");
    }
    assert!(
        out.status.success(),
        "{}{text}",
        String::from_utf8_lossy(&out.stdout)
    );
}

/// The process that finds the block, and is killed.
fn find() {
    let (disk, kept) = disk();
    let root = Arc::new(tempfile::tempdir().expect("a directory"));
    let running = start_in(root, &[]);
    let reserve = running.dir.join("spool/.reserve-3");
    wait_until("room is kept", || reserve.exists());
    running.server.template(Chain::easy().empty_at(0));
    running.node.be_blind();
    let mut miner = running.mine_as("alice");
    fill(&disk);
    let hash = miner.mine(Want::Block);
    running.wait_for_file(&format!("spool/{hash}.block"));
    // There was only the reserved space for it.
    let reserve = |n: &u32| running.dir.join(format!("spool/.reserve-{n}")).exists();
    assert_eq!((0..4).filter(reserve).count(), 3);
    fs::rename(&running.dir, kept).expect("renamed");
    std::process::abort();
}

/// The next process, on a disk with free space again.
fn come_back() {
    let (disk, kept) = disk();
    fs::remove_file(disk.join(FILLER)).expect("removed");
    let root = Arc::new(tempfile::tempdir().expect("a directory"));
    fs::rename(kept, root.path().join("stratum")).expect("renamed");
    let running = start_in(root, &[]);
    let Offered::Spooled { hash, .. } = running.node.offer_number(0) else {
        panic!("found in an earlier run");
    };
    running.server.block_result(hash, Verdict::Accepted);
    running.wait_for_file(&format!("shares/{FIRST_HEIGHT}-{hash}.json"));
    wait_until("room is kept again", || {
        (0..4).all(|n| running.dir.join(format!("spool/.reserve-{n}")).exists())
    });
}
