//! Checks the files of a server: access, free space, and whether they are intact.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use hstratum_core::chain::address::Network;
use hstratum_core::plural::counted;
use rustix::fs::{Access, access, statvfs};

use crate::files::users::{self, FileEnd};
use crate::ledger_tools;
use crate::limits::LEDGER_CHECK_BYTES_MAX;
use crate::sql::{Db, Sqlite};

use super::conf::NodeSettings;
use super::{CheckedPart, Findings, Setup};

const MIB: u64 = 1 << 20;

/// Free bytes below which shares are about to be refused.
const FREE_BYTES_MIN: u64 = 200 * MIB;

/// Free bytes below which the chain's own growth is soon a problem.
const FREE_BYTES_LOW: u64 = 2048 * MIB;

/// Age at which a spooled block that the node has not answered is reported.
const SPOOLED_LONG: Duration = Duration::from_secs(60);

pub(super) fn examine(dir: &Path, setup: &Setup, settings: &NodeSettings, findings: &mut Findings) {
    if settings
        .node
        .get("memory")
        .is_some_and(|value| value != "false")
    {
        findings.warn(
            CheckedPart::Files,
            "memory is set: nothing is written to disk",
            "leave memory out of hsd.conf, or no share outlives the node",
        );
        return;
    }
    let stratum = dir.join("stratum");
    let existing = stratum.ancestors().find(|path| path.is_dir());
    let existing = existing.unwrap_or(Path::new("/"));
    check_access(existing, &stratum, findings);
    check_room(existing, findings);
    if existing != stratum {
        findings.ok(
            CheckedPart::Files,
            format!("{} is created at the first start", stratum.display()),
        );
        return;
    }
    check_users(&stratum.join("users.json"), findings);
    if setup.running.is_none() {
        check_ledger(&stratum.join("ledger.db"), setup.network, findings);
    }
    check_spool(&stratum.join("spool"), findings);
}

/// Checks beside a running server: its ledger must have a write-ahead log.
pub(super) fn examine_running(dir: &Path, findings: &mut Findings) {
    let ledger = dir.join("stratum").join("ledger.db");
    let log = dir.join("stratum").join("ledger.db-wal");
    if ledger.exists() && !log.exists() {
        findings.problem(
            CheckedPart::Files,
            format!("{} is missing: the ledger takes no shares", log.display()),
            "restart the node; never move a ledger's files while it runs",
        );
    }
}

fn check_access(existing: &Path, stratum: &Path, findings: &mut Findings) {
    let name = existing.display();
    if let Err(error) = access(existing, Access::WRITE_OK | Access::EXEC_OK) {
        findings.problem(
            CheckedPart::Files,
            format!("this user may not write to {name}: {error}"),
            "run hsd and this as the user that owns it, or give it to that user with chown",
        );
    }
    let Ok(owner) = fs::metadata(existing) else {
        return;
    };
    for name in [
        "users.json",
        "ledger.db",
        "ledger.db-wal",
        "spool",
        "shares",
    ] {
        let path = stratum.join(name);
        let Ok(file) = fs::metadata(&path) else {
            continue;
        };
        if file.uid() != owner.uid() {
            findings.problem(
                CheckedPart::Files,
                format!(
                    "{} belongs to another user than its directory",
                    path.display()
                ),
                format!("chown -R --reference={0} {0}", stratum.display()),
            );
        }
    }
}

fn check_room(existing: &Path, findings: &mut Findings) {
    let Ok(disk) = statvfs(existing) else { return };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let text = format!("{} free for {}", bytes(free), existing.display());
    if free < FREE_BYTES_MIN {
        let advice = "make room: without it shares are refused, and the node stops";
        findings.problem(CheckedPart::Files, text, advice);
    } else if free < FREE_BYTES_LOW {
        findings.warn(CheckedPart::Files, text, "make room: the chain grows");
    } else {
        findings.ok(CheckedPart::Files, text);
    }
}

fn check_users(path: &Path, findings: &mut Findings) {
    let name = path.display();
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return findings.ok(CheckedPart::Files, "no users.json: no accounts yet");
        }
        Err(error) => {
            return findings.problem(
                CheckedPart::Files,
                format!("failed to read {name}: {error}"),
                "run this as the user of the node; else the node cannot read it either",
            );
        }
        Ok(bytes) => bytes,
    };
    match users::parse(&bytes) {
        Err(error) => findings.problem(
            CheckedPart::Files,
            format!("{name}: {error}"),
            "the node does not start with it: correct that line, or take it out",
        ),
        Ok((_, FileEnd::Torn(_))) => findings.warn(
            CheckedPart::Files,
            format!("the last line of {name} is torn"),
            "the next start of the node moves it into a file beside it: see what it was",
        ),
        Ok((records, _)) => {
            findings.ok(
                CheckedPart::Files,
                format!("users.json: {}", counted(records.len(), "account")),
            );
        }
    }
    let mode = fs::metadata(path).map_or(0, |file| file.permissions().mode());
    if mode & 0o077 != 0 {
        findings.warn(
            CheckedPart::Files,
            format!("others may read {name}"),
            format!("chmod 600 {name}"),
        );
    }
}

fn check_ledger(path: &Path, network: Network, findings: &mut Findings) {
    let Ok(file) = fs::metadata(path) else {
        return findings.ok(
            CheckedPart::Files,
            "no ledger.db: it is created at the first start",
        );
    };
    let name = path.display();
    match judge_ledger(path, file.len(), network) {
        Err(error) => findings.problem(
            CheckedPart::Files,
            format!("{error:#}"),
            "the node does not start with it: put a backup in its place (docs/ledger.md)",
        ),
        Ok(None) => findings.ok(
            CheckedPart::Files,
            format!(
                "ledger.db: {}, too large to be checked here; hstratum ledger check --ledger {name}",
                bytes(file.len())
            ),
        ),
        Ok(Some(faults)) if faults.is_empty() => findings.ok(
            CheckedPart::Files,
            format!("ledger.db: {}, no errors found", bytes(file.len())),
        ),
        Ok(Some(faults)) => findings.problem(
            CheckedPart::Files,
            format!("ledger.db: {}, the first: {}", counted(faults.len(), "fault"), faults[0]),
            format!("hstratum ledger check --ledger {name} lists them; see docs/ledger.md"),
        ),
    }
}

/// Faults of a ledger; `None` if it is too large for a quick check.
fn judge_ledger(path: &Path, bytes: u64, network: Network) -> anyhow::Result<Option<Vec<String>>> {
    // SQLite delays opening the file until the first statement, so it is opened here for a clear error.
    File::open(path).with_context(|| format!("failed to read {}", path.display()))?;
    let mut db = Db::Sqlite(Sqlite::open_beside(path)?);
    let found = ledger_tools::network(&mut db)?;
    anyhow::ensure!(
        found == network,
        "the ledger {} is of the network {}, not {}",
        path.display(),
        found.name(),
        network.name()
    );
    if bytes > LEDGER_CHECK_BYTES_MAX {
        return Ok(None);
    }
    Ok(Some(ledger_tools::check(&mut db, None)?.errors))
}

fn check_spool(dir: &Path, findings: &mut Findings) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    let (mut waiting, mut torn) = (0, 0);
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.contains(".torn") {
            torn += 1;
        } else if name.ends_with(".block") && age(&entry).is_some_and(|age| age > SPOOLED_LONG) {
            waiting += 1;
        }
    }
    let name = dir.display();
    if waiting > 0 {
        findings.warn(
            CheckedPart::Files,
            format!(
                "{} in {name} the node has not answered",
                counted(waiting, "found block")
            ),
            "start the node, or start it again: it is offered each of them; delete none",
        );
    }
    if torn > 0 {
        findings.warn(
            CheckedPart::Files,
            format!("{} in {name} set aside as damaged", counted(torn, "file")),
            "check the disk; then move them away",
        );
    }
    if waiting + torn == 0 {
        findings.ok(CheckedPart::Files, "no found block waits in spool/");
    }
}

fn age(entry: &fs::DirEntry) -> Option<Duration> {
    let modified = entry.metadata().ok()?.modified().ok()?;
    SystemTime::now().duration_since(modified).ok()
}

fn bytes(number: u64) -> String {
    match number / MIB {
        0 => format!("{} kB", number / 1024),
        mib if mib < 10_240 => format!("{mib} MiB"),
        mib => format!("{} GiB", mib / 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::super::FindingSeverity;
    use super::*;
    use crate::sql::sqlite_schema::create;
    use rusqlite::Connection;

    fn examined(dir: &Path, network: Network) -> Vec<(FindingSeverity, String)> {
        let mut findings = Findings::default();
        let settings = NodeSettings::read(dir, &[], &mut Findings::default());
        let setup = Setup {
            network,
            dir: Some(dir.to_owned()),
            server: None,
            others: Vec::new(),
            mines: false,
            node_url: None,
            node_key: None,
            environment: Vec::new(),
            user: None,
            password: String::new(),
            running: None,
        };
        examine(dir, &setup, &settings, &mut findings);
        let found = findings.0.into_iter();
        found
            .map(|finding| (finding.severity, finding.text))
            .collect()
    }

    fn worst(found: &[(FindingSeverity, String)]) -> &(FindingSeverity, String) {
        found
            .iter()
            .max_by_key(|(severity, _)| *severity)
            .expect("something was found")
    }

    fn ledger(path: &Path) -> Connection {
        let conn = Connection::open(path).expect("a file");
        create(&conn, "regtest", [1; 16], 1_000).expect("a ledger");
        conn
    }

    #[test]
    fn nothing_yet_and_a_whole_set_are_well() {
        let dir = tempfile::tempdir().expect("a directory");
        let found = examined(dir.path(), Network::Regtest);
        assert_eq!(worst(&found).0, FindingSeverity::Ok, "{found:?}");

        let stratum = dir.path().join("stratum");
        fs::create_dir_all(stratum.join("spool")).expect("created");
        drop(ledger(&stratum.join("ledger.db")));
        let found = examined(dir.path(), Network::Regtest);
        assert_eq!(worst(&found).0, FindingSeverity::Ok, "{found:?}");
        assert!(
            found
                .iter()
                .any(|(_, text)| text.contains("no errors found"))
        );
    }

    #[test]
    fn each_broken_file_is_named() {
        let check = |name: &str, text: &str, severity, says: &str| {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("stratum").join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
            let old = SystemTime::now() - SPOOLED_LONG * 2;
            File::options()
                .append(true)
                .open(&path)
                .expect("open")
                .set_modified(old)
                .expect("set");
            let found = examined(dir.path(), Network::Regtest);
            let (found, text) = worst(&found);
            assert_eq!(*found, severity, "{text}");
            assert!(text.contains(says), "{text}");
        };
        check("users.json", "{\n", FindingSeverity::Problem, "line 1");
        check("users.json", "{\"user", FindingSeverity::Warning, "torn");
        check(
            "ledger.db",
            "no database",
            FindingSeverity::Problem,
            "ledger.db",
        );
        check(
            "spool/00.block",
            "x",
            FindingSeverity::Warning,
            "1 found block in",
        );
        check(
            "spool/00.block.torn",
            "x",
            FindingSeverity::Warning,
            "damaged",
        );
    }

    #[test]
    fn a_ledger_of_another_network_or_with_faults_is_a_problem() {
        let dir = tempfile::tempdir().expect("a directory");
        let stratum = dir.path().join("stratum");
        fs::create_dir(&stratum).expect("created");
        let conn = ledger(&stratum.join("ledger.db"));
        let found = examined(dir.path(), Network::Main);
        assert!(
            worst(&found).1.contains("of the network regtest"),
            "{found:?}"
        );
        conn.execute_batch(
            "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;
             INSERT INTO payments (id, wallet, state, created_at, changed_at)
             VALUES (1, 'w', 'sent', 1, 1);",
        )
        .expect("a payment without its transaction");
        let found = examined(dir.path(), Network::Regtest);
        assert_eq!(worst(&found).0, FindingSeverity::Problem, "{found:?}");
    }
}
