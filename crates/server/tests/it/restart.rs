//! Files that are kept over a restart.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use hstratum::payout::TermsHistory;
use hstratum::server::Server;
use hstratum::sql::{Db, SqlError, Sqlite};
use hstratum::values;
use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::event::Level;
use hstratum_core::units::{Hash, Height};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::miner::Want;
use crate::harness::template::FIRST_HEIGHT;
use crate::harness::{
    Chain, EVERY_HASH, Offered, Running, TestNode, restart, settings, start, start_in, wait_until,
};

/// hash256 of `pw`, as old files have it.
fn old_line(user: &str) -> String {
    let password = hstratum_core::accounts::password::hash256(b"pw");
    let password = hstratum_core::units::hex(&password);
    format!("{{\"username\":\"{user}\",\"password\":\"{password}\"}}")
}

/// A directory that already contains a file.
fn root_with(path: &str, content: &[u8]) -> Arc<TempDir> {
    let root = Arc::new(tempfile::tempdir().expect("a directory"));
    let path = root.path().join("stratum").join(path);
    fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("created");
    fs::write(path, content).expect("written");
    root
}

/// True if a user may mine.
fn may_mine(running: &Running, user: &str, password: &str) -> bool {
    let mut miner = running.connect();
    miner.send(1, "mining.authorize", &json!([user, password]));
    miner.reply()["result"] == true
}

fn add_user(running: &Running, user: &str, password: &str) {
    let mut admin = running.connect();
    admin.send(1, "mining.authorize_admin", &json!(["secret"]));
    admin.send(2, "mining.add_user", &json!([user, password]));
    assert_eq!(admin.reply()["result"], true);
    assert_eq!(admin.reply()["result"], true);
}

const USERS: [(&str, &str); 1] = [("password", "secret")];

#[test]
fn torn_end_of_the_users_file_is_set_aside() {
    let content = format!("{}\n{{\"username\":\"bo", old_line("alice"));
    let root = root_with("users.json", content.as_bytes());
    let running = start_in(root, &USERS);
    let (level, line) = running.node.wait_for_log("torn end of users.json");
    assert_eq!(level, Level::Warning);
    let (_, kept) = line.split_once("moved to ").expect("a path");
    assert_eq!(fs::read(kept).expect("kept"), b"{\"username\":\"bo");
    assert!(may_mine(&running, "alice", "pw"));
    add_user(&running, "bo", "other");
    let running = restart(running, &USERS);
    assert!(may_mine(&running, "alice", "pw") && may_mine(&running, "bo", "other"));
}

#[test]
fn last_user_without_an_end_is_kept() {
    let content = format!("{}\n{}", old_line("alice"), old_line("bob"));
    let root = root_with("users.json", content.as_bytes());
    let running = start_in(root, &USERS);
    running.node.wait_for_log("had no newline");
    assert!(may_mine(&running, "bob", "pw"));
    running.wait_for_content("users.json", format!("{content}\n").as_bytes());
}

#[test]
fn malformed_line_stops_the_start_with_its_number() {
    let content = format!("{}\nnonsense\n{}\n", old_line("alice"), old_line("bob"));
    let root = root_with("users.json", content.as_bytes());
    let dir = root.path().join("stratum");
    let node = Arc::new(TestNode::default());
    let error = Server::start(settings(&USERS, Some(&dir)), node).err();
    let text = format!("{:#}", error.expect("refused"));
    let path = dir.join("users.json");
    let expected = format!("failed to read {}: line 2: expected ", path.display());
    assert!(text.starts_with(&expected), "{text}");
    assert_eq!(fs::read(path).expect("untouched"), content.as_bytes());
}

#[test]
fn user_added_on_the_wire_logs_in_after_a_restart() {
    let running = start(&USERS);
    add_user(&running, "alice", "pä\"ss");
    let text = String::from_utf8(running.wait_for_file("users.json")).expect("UTF-8");
    let line: Value = serde_json::from_str(&text).expect("one line of JSON");
    assert_eq!(line["username"], "alice");
    let password = line["password"].as_str().expect("a text");
    assert!(password.starts_with("$argon2id$"), "{password}");

    let running = restart(running, &USERS);
    assert!(may_mine(&running, "alice.rig", "pä\"ss"));
    assert!(!may_mine(&running, "alice.rig", "pass"));
    assert!(!may_mine(&running, "bob", ""));
    let mut admin = running.connect();
    admin.send(1, "mining.authorize_admin", &json!(["secret"]));
    admin.send(2, "mining.add_user", &json!(["alice", "new"]));
    admin.reply();
    assert_eq!(admin.reply()["error"][1], "User already exists.");
}

/// A server that has found a block and stopped without a verdict on it; looks do not find it either.
fn with_unanswered_block() -> (Running, Hash, Vec<u8>) {
    let running = start(&[]);
    running.node.be_blind();
    running.server.template(Chain::easy().empty_at(0));
    let hash = running.mine_as("alice").mine(Want::Block);
    let raw = running.wait_for_file(&format!("spool/{hash}.block"));
    (running, hash, raw)
}

fn expect_spooled(running: &Running, expected: Hash, expected_raw: &[u8]) {
    let Offered::Spooled { hash, raw } = running.node.offer_number(0) else {
        panic!("found in an earlier run");
    };
    assert_eq!(hash, expected);
    assert_eq!(raw, expected_raw);
    running
        .node
        .wait_for_log(&format!("from the spool: {hash}"));
}

#[test]
fn unanswered_block_is_offered_at_each_start_until_it_is_answered() {
    let (running, hash, raw) = with_unanswered_block();
    let name = format!("spool/{hash}.block");
    let running = restart(running, &[]);
    expect_spooled(&running, hash, &raw);
    let verdict = Verdict::Unknown("the node closes".into());
    running.server.block_result(hash, verdict);
    running.node.wait_for_log("the node closes");

    let running = restart(running, &[]);
    assert_eq!(running.wait_for_file(&name), raw);
    expect_spooled(&running, hash, &raw);
    running.server.block_result(hash, Verdict::Accepted);
    running.wait_until_gone(&name);
    let dump = running.wait_for_file(&format!("shares/{FIRST_HEIGHT}-{hash}.json"));
    let dump: Value = serde_json::from_slice(&dump).expect("JSON");
    assert_eq!(dump["block"], hash.to_string());

    let running = restart(running, &[]);
    assert!(running.server.close().wait());
    assert_eq!(running.node.offers(), 0);
}

#[test]
fn shares_of_an_earlier_run_are_in_the_next_blocks_dump() {
    let options = [("difficulty", EVERY_HASH)];
    let running = start(&options);
    running.server.template(Chain::easy().empty_at(0));
    let mut alice = running.mine_as("alice.rig");
    alice.mine(Want::Share);
    alice.mine(Want::Share);
    let running = restart(running, &options);
    running.server.template(Chain::easy().empty_at(0));
    running.node.answer_with(Verdict::Accepted);
    let hash = running.mine_as("bob").mine(Want::Block);
    let dump = running.wait_for_file(&format!("shares/{FIRST_HEIGHT}-{hash}.json"));
    let dump: Value = serde_json::from_slice(&dump).expect("JSON");
    assert_eq!(
        dump["shares"],
        json!({ "alice": 1.4551915228366852e-11, "bob": 7.275957614183426e-12 })
    );
}

#[test]
fn blocks_of_an_earlier_run_are_asked_about_and_follow_the_chain() {
    let running = start(&[]);
    running.server.template(Chain::easy().empty_at(0));
    running.node.answer_with(Verdict::Accepted);
    let hash = running.mine_as("alice").mine(Want::Block);
    running.wait_until_gone(&format!("spool/{hash}.block"));
    let running = restart(running, &[]);
    let tip = Height(FIRST_HEIGHT + 1);
    running.node.be_at(tip);
    running.server.tip(Hash::ZERO, tip);
    running.node.wait_for_question(&[hash]);
    let line = format!("block confirmed: {FIRST_HEIGHT} {hash}");
    running.node.wait_for_log(&line);
    running.node.lose(hash);
    running.server.tip(Hash::ZERO, tip);
    running.node.wait_for_question(&[hash]);
    running.node.wait_for_log("block orphaned");
}

#[test]
fn damaged_ledger_stops_the_start_and_is_named() {
    let root = root_with("ledger.db", b"nonsense");
    let dir = root.path().join("stratum");
    let node = Arc::new(TestNode::default());
    let error = Server::start(settings(&[], Some(&dir)), node).err();
    let text = format!("{:#}", error.expect("refused"));
    let path = dir.join("ledger.db");
    let expected = format!("failed to open the ledger {}", path.display());
    assert!(text.starts_with(&expected), "{text}");
    assert_eq!(fs::read(path).expect("untouched"), b"nonsense");
}

#[test]
fn damaged_file_in_the_spool_is_reported_and_kept() {
    let (running, hash, raw) = with_unanswered_block();
    let spool = running.dir.join("spool");
    fs::write(spool.join("00.block"), &raw).expect("written");
    fs::create_dir(spool.join("dir.block")).expect("created");
    let headless = headless_block(&spool);
    let running = restart(running, &[]);
    expect_spooled(&running, hash, &raw);
    for part in ["00.block does not hold", "dir.block", &headless.to_string()] {
        let (level, _) = running.node.wait_for_log(part);
        assert_eq!(level, Level::Error);
    }
    let mut expected = vec![
        "00.block.torn".to_owned(),
        "dir.block".to_owned(),
        format!("{hash}.block"),
        format!("{headless}.block.torn"),
    ];
    expected.sort();
    assert_eq!(running.files("spool"), expected);
    assert_eq!(running.node.offers(), 1);
}

/// Writes a file named by its header's hash, with no block behind the header.
fn headless_block(spool: &Path) -> Hash {
    use hstratum_core::chain::header::{HEADER_BYTES, decode_header, header_hash};
    let raw = [7; HEADER_BYTES + 10];
    let (fields, proof, mask) = decode_header(&raw[..HEADER_BYTES]).expect("a header");
    let hash = header_hash(&fields, &proof, &mask);
    fs::write(spool.join(format!("{hash}.block")), raw).expect("written");
    hash
}

/// Puts a file in the place of a directory, so that writing fails.
fn block_dir(running: &Running, name: &str) {
    let path = running.dir.join(name);
    // The spool is created at the start, the others by the first write; the server may be writing there.
    wait_until("a file is in its place", || {
        let _ = fs::remove_dir_all(&path);
        fs::write(&path, "in the way").is_ok()
    });
}

#[test]
fn found_block_that_the_disk_refused_is_written_at_the_stop() {
    let running = start(&[]);
    running.node.be_blind();
    running.server.template(Chain::easy().empty_at(0));
    block_dir(&running, "spool");
    let hash = running.mine_as("alice").mine(Want::Block);
    running.node.wait_for_log("failed to keep block");
    fs::remove_file(running.dir.join("spool")).expect("removed");
    assert!(running.server.close().wait());
    assert_eq!(running.files("spool"), [format!("{hash}.block")]);
}

#[test]
fn found_block_that_the_disk_refuses_to_the_end_is_named_in_the_log() {
    let running = start(&[]);
    running.node.be_blind();
    running.server.template(Chain::easy().empty_at(0));
    block_dir(&running, "spool");
    let hash = running.mine_as("alice").mine(Want::Block);
    running.node.wait_for_log("failed to keep block");
    assert!(running.server.close().wait());
    let (level, _) = running
        .node
        .wait_for_log(&format!("block {hash} could not be kept in the spool"));
    assert_eq!(level, Level::Error);
}

#[test]
fn dump_that_the_disk_refused_is_written_at_the_stop() {
    let running = start(&[]);
    running.server.template(Chain::easy().empty_at(0));
    running.node.answer_with(Verdict::Accepted);
    block_dir(&running, "shares");
    let hash = running.mine_as("alice").mine(Want::Block);
    running.node.wait_for_log("failed to write the share dump");
    fs::remove_file(running.dir.join("shares")).expect("removed");
    assert!(running.server.close().wait());
    assert_eq!(
        running.files("shares"),
        [format!("{FIRST_HEIGHT}-{hash}.json")]
    );
}

#[test]
fn user_that_the_disk_refuses_is_not_acknowledged() {
    let running = start(&USERS);
    fs::create_dir(running.dir.join("users.json")).expect("created");
    let mut admin = running.connect();
    admin.send(1, "mining.authorize_admin", &json!(["secret"]));
    admin.send(2, "mining.add_user", &json!(["alice", "pw"]));
    admin.reply();
    assert_eq!(admin.reply()["error"][1], "user not stored");
    running.node.wait_for_log("failed to write");
    assert!(!may_mine(&running, "alice", "pw"));
    fs::remove_dir(running.dir.join("users.json")).expect("removed");
    add_user(&running, "alice", "pw");
    assert!(may_mine(&running, "alice", "pw"));
}

#[test]
fn without_a_directory_nothing_is_written() {
    let before = names_here();
    let node = Arc::new(TestNode::default());
    let server = Server::start(settings(&USERS, None), node.clone()).expect("started");
    node.wait_for_log("the node runs in memory");
    server.template(Chain::easy().empty_at(0));
    let mut admin = crate::harness::Miner::connect(server.address());
    admin.send(1, "mining.authorize_admin", &json!(["secret"]));
    admin.send(2, "mining.add_user", &json!(["alice", "pw"]));
    admin.reply();
    assert_eq!(admin.reply()["result"], true);
    let mut miner = crate::harness::Miner::connect(server.address());
    miner.log_in("alice", "pw");
    let hash = miner.mine(Want::Block);
    server.block_result(hash, Verdict::Accepted);
    node.wait_for_log("block accepted");
    assert!(server.close().wait());
    assert_eq!(names_here(), before);
}

/// Names in the working directory of the tests.
fn names_here() -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(".").expect("listed");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("read").file_name())
        .collect();
    names.sort();
    names
}

/// The file was removed while the node was stopped, or before.
#[test]
fn a_start_that_finds_no_users_says_so() {
    let root = Arc::new(tempfile::tempdir().expect("a directory"));
    let first = start_in(root.clone(), &[("auth", "users")]);
    assert!(
        !first
            .node
            .log_texts()
            .iter()
            .any(|line| line.contains("users.json"))
    );
    assert!(first.server.close().wait());
    drop(first);
    let again = start_in(root, &[("auth", "users")]);
    again.node.wait_for_log("there is no users.json");
}

#[test]
fn options_that_are_terms_are_kept_with_their_height() {
    let root = root_with("users.json", b"");
    let running = start_in(root, &[("fee", "1")]);
    running.node.wait_for_log(
        "terms: pplns over 2 x network difficulty, fee 1 %, paid from 10.000000 HNS on",
    );
    let running = restart(running, &[("fee", "1")]);
    let ledger = running.dir.join("ledger.db");
    let mut db = Db::Sqlite(Sqlite::open_beside(&ledger).expect("opened"));
    let tip = "INSERT INTO highest_tip VALUES (1, 50, ?1, ?1, 0)
               ON CONFLICT (id) DO UPDATE SET height = 50";
    let hash = values![format!("{:064x}", 1)];
    db.write(|sql| sql.execute(tip, &hash)).expect("written");
    let running = restart(running, &[("fee", "2"), ("scheme", "prop")]);
    let (_, line) = running
        .node
        .wait_for_log("terms: scheme prop instead of pplns");
    let ends = "fee 2 % instead of 1 %; blocks below height 52 are divided as before";
    assert!(line.ends_with(ends), "{line}");
    let rows = db.read(|sql| {
        sql.query(
            "SELECT from_height, fee_ppm, set_by FROM terms ORDER BY id",
            &[],
        )
    });
    let rows = rows.expect("read");
    let fees: Vec<i64> = rows.iter().map(|row| row.get(1).expect("a fee")).collect();
    assert_eq!(fees, [10_000, 20_000], "one row for each change");
    assert_eq!(rows[0].get::<i64>(0), Ok(0));
    let history = db.read(TermsHistory::read).expect("read").expect("terms");
    assert_eq!(history.at(51).fee.get(), 10_000);
    assert_eq!(history.at(52).fee.get(), 20_000);
}

/// Terms that did not change are not written: a start waits for nobody who writes to the ledger.
#[test]
fn a_ledger_in_use_stops_no_start_with_the_same_terms() {
    let root = root_with("users.json", b"");
    let running = start_in(root.clone(), &[]);
    let ledger = running.dir.join("ledger.db");
    assert!(running.server.close().wait(), "stopped in time");
    drop(running);
    let mut db = Db::Sqlite(Sqlite::open_beside(&ledger).expect("opened"));
    let started = db.write(|_| Ok::<_, SqlError>(start_in(root.clone(), &[])));
    started
        .expect("nothing was written")
        .node
        .wait_for_log("listening on");
}

/// A file that is opened and closed beside the ledger's connection loses the process's locks (POSIX), and with
/// them its log, once another program closes the ledger.
#[test]
fn ledger_is_locked_after_the_start() {
    let root = root_with("users.json", b"");
    for fee in ["1", "1", "2"] {
        let running = start_in(root.clone(), &[("fee", fee)]);
        let ledger = running.dir.join("ledger.db");
        let inode = format!(":{} ", fs::metadata(&ledger).expect("a file").ino());
        let locks = fs::read_to_string("/proc/locks").expect("read");
        let is_held = |line: &str| line.contains("POSIX") && line.contains(&inode);
        assert!(locks.lines().any(is_held), "{inode}: {locks}");
    }
}
