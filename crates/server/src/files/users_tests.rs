use std::os::unix::fs::PermissionsExt;

use super::*;

const OLD: &str = "9056335d0eae5afd8e32e69d53b6ddb5eabc5006f4030c1f8a8a346460e810a0";

fn password(byte: u8) -> StoredPassword {
    StoredPassword::Hash256([byte; 32])
}

fn line(name: &str, byte: u8) -> String {
    format!(
        "{{\"username\":\"{name}\",\"password\":\"{}\"}}\n",
        password(byte).to_text()
    )
}

fn names(records: &[UserRecord]) -> Vec<&str> {
    records.iter().map(|record| record.name.as_str()).collect()
}

struct Case {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn case(content: impl AsRef<[u8]>) -> Case {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("users.json");
    fs::write(&path, content).expect("written");
    Case { _dir: dir, path }
}

fn open(case: &Case) -> (UsersFile, Vec<UserRecord>, Option<Repair>) {
    UsersFile::open(&case.path, 1_795_350_965).expect("opened")
}

fn open_error(content: impl AsRef<[u8]>) -> String {
    let case = case(content);
    let error = UsersFile::open(&case.path, 0).expect_err("malformed");
    format!("{error:#}").replace(case.path.to_str().expect("UTF-8"), "PATH")
}

#[test]
fn a_file_that_is_removed_meanwhile_comes_back_with_everybody() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("users.json");
    let (mut users, _, _) = UsersFile::open(&path, 1_795_350_965).expect("opened");
    users.append("alice", &password(1)).expect("appended");
    fs::remove_file(&path).expect("removed");
    let written = users.append("bob", &password(2)).expect("written");
    assert_eq!(written, UserWritten::Anew);
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (_, records, _) = UsersFile::open(&path, 1_795_350_965).expect("opened");
    let names: Vec<&str> = records.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["alice", "bob"]);
}

#[test]
fn a_file_that_others_may_read_is_closed_to_them_and_a_byte_order_mark_is_passed_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("users.json");
    let text = format!("\u{feff}{}", encode("alice", &password(1)));
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
    let (_, records, repair) = UsersFile::open(&path, 1_795_350_965).expect("opened");
    assert_eq!((records.len(), repair), (1, None));
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn missing_file_is_created_with_its_directory_by_the_first_append() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("regtest/stratum/users.json");
    let (mut users, records, repair) = UsersFile::open(&path, 0).expect("opened");
    assert_eq!((records.len(), repair), (0, None));
    assert!(!path.exists());

    users.append("alice", &password(1)).expect("appended");
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&path).expect("read"), line("alice", 1));
}

#[test]
fn old_file_is_read_with_extra_fields_and_empty_lines() {
    let case = case(format!(
        "{{\"username\": \"alice\", \"password\": \"{OLD}\"}}\n\n  \r\n\
         {{\"username\":\"b\\u0040b\",\"password\":\"{OLD}\",\"note\":{{\"x\":[1]}}}}\r\n"
    ));
    let (_, records, repair) = open(&case);
    assert_eq!(names(&records), ["alice", "b@b"]);
    assert_eq!(records[0].password.to_text(), OLD);
    assert_eq!(repair, None);
}

#[test]
fn last_line_for_a_name_counts() {
    let case = case(line("alice", 1) + &line("bob", 2) + &line("alice", 3));
    let (_, records, _) = open(&case);
    assert_eq!(names(&records), ["alice", "bob"]);
    assert_eq!(records[0].password, password(3));
}

#[test]
fn what_is_appended_is_read_back() {
    let case = case("");
    let (mut users, ..) = open(&case);
    let name = "a\"\\\n\u{1f98a}";
    users.append(name, &password(1)).expect("appended");
    users.append("bob", &password(2)).expect("appended");
    let (_, records, repair) = open(&case);
    assert_eq!(names(&records), [name, "bob"]);
    assert_eq!(repair, None);
}

#[test]
fn whole_last_line_gets_its_newline() {
    let case = case(line("alice", 1) + line("bob", 2).trim_end());
    let (_, records, repair) = open(&case);
    assert_eq!(names(&records), ["alice", "bob"]);
    assert_eq!(repair, Some(Repair::Completed));
    let content = fs::read_to_string(&case.path).expect("read");
    assert_eq!(content, line("alice", 1) + &line("bob", 2));
}

#[test]
fn torn_last_line_is_cut_at_every_byte_and_kept_beside() {
    let torn = line("é", 2);
    // The last two cuts leave a whole record and a whole line.
    for end in 1..torn.len() - 1 {
        let tail = &torn.as_bytes()[..end];
        let case = case([line("alice", 1).as_bytes(), tail].concat());
        let (mut users, records, repair) = open(&case);
        assert_eq!(names(&records), ["alice"]);
        let kept = case.path.with_file_name("users.json.torn-1795350965");
        assert_eq!(repair, Some(Repair::Cut(kept.clone())));
        assert_eq!(fs::read(&kept).expect("kept"), tail);

        users.append("bob", &password(3)).expect("appended");
        let content = fs::read_to_string(&case.path).expect("read");
        assert_eq!(content, line("alice", 1) + &line("bob", 3));
    }
}

#[test]
fn zeroes_that_a_power_cut_left_are_cut() {
    let case = case(line("alice", 1) + &"\0".repeat(4096));
    let (_, records, repair) = open(&case);
    assert_eq!(names(&records), ["alice"]);
    assert!(matches!(repair, Some(Repair::Cut(_))));
}

#[test]
fn malformed_line_is_an_error_with_its_number() {
    let good = line("alice", 1);
    assert_eq!(
        open_error(format!("{good}\n{{\"username\":\"bob\"}}\n{good}")),
        "failed to read PATH: line 3: expected {\"username\": …, \"password\": …}, \
         found \"{\\\"username\\\":\\\"bob\\\"}\""
    );
    let long = open_error(format!("{}\n", "x".repeat(500)));
    assert!(
        long.ends_with(&format!("found \"{}…\"", "x".repeat(80))),
        "{long}"
    );
    let bytes = open_error([good.as_bytes(), b"\xff\n"].concat());
    assert!(bytes.ends_with("found \"\u{fffd}\""), "{bytes}");
    assert!(bytes.contains("line 2"), "{bytes}");
}

#[test]
fn error_does_not_show_a_password() {
    let error = open_error("{\"username\":\"bob\",\"password\":\"hunter2\"}\n");
    assert!(error.contains("bob"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn failed_append_leaves_the_file_as_it_was_and_the_next_works() {
    let case = case(line("alice", 1));
    let (mut users, ..) = open(&case);
    users.sync = |_| Err(io::Error::other("disk on fire"));
    let error = users.append("bob", &password(2)).expect_err("failed");
    assert!(
        format!("{error:#}").ends_with("users.json: disk on fire"),
        "{error:#}"
    );
    assert_eq!(
        fs::read_to_string(&case.path).expect("read"),
        line("alice", 1)
    );

    let error = users.append("bob", &password(2)).expect_err("failed");
    assert!(format!("{error:#}").contains("take back"), "{error:#}");

    users.sync = File::sync_all;
    users.append("carol", &password(3)).expect("appended");
    let content = fs::read_to_string(&case.path).expect("read");
    assert_eq!(content, line("alice", 1) + &line("carol", 3));
}

#[test]
fn full_disk_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("users.json");
    std::os::unix::fs::symlink("/dev/full", &path).expect("linked");
    let mut users = UsersFile {
        path,
        known: HashMap::new(),
        broken: None,
        sync: File::sync_all,
    };
    let error = users.append("bob", &password(2)).expect_err("failed");
    assert!(
        format!("{error:#}").contains("failed to write"),
        "{error:#}"
    );
}

#[test]
fn line_added_by_hand_is_kept_apart() {
    let case = case(line("alice", 1));
    let (mut users, ..) = open(&case);
    let by_hand = line("bob", 2);
    fs::write(&case.path, by_hand.trim_end()).expect("replaced");
    users.append("carol", &password(3)).expect("appended");
    let content = fs::read_to_string(&case.path).expect("read");
    assert_eq!(content, by_hand + &line("carol", 3));
}

#[test]
fn disabled_account_keeps_its_password_where_old_readers_do_not_look() {
    let case = case("");
    let (mut users, ..) = open(&case);
    users.append("alice", &password(1)).expect("appended");
    let locked = password(1).locked();
    users.append("alice", &locked).expect("appended");
    let text = fs::read_to_string(&case.path).expect("read");
    let last = text.lines().last().expect("a line");
    let value: serde_json::Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(value["password"], "0".repeat(64));
    assert_eq!(value["disabled"], password(1).to_text());
    assert_eq!(open(&case).1[0].password, locked);

    users.append("alice", &password(1)).expect("appended");
    assert_eq!(open(&case).1[0].password, password(1));
}

#[test]
fn operator_may_disable_an_account_by_hand() {
    let whole = line("alice", 1);
    for (flag, expected) in [("true", password(1).locked()), ("false", password(1))] {
        let case = case(whole.replace("}\n", &format!(",\"disabled\":{flag}}}\n")));
        assert_eq!(open(&case).1[0].password, expected);
    }
}
