//! Schema of the ledger's file: its tables, its version, and how it is opened.
//!
//! A file that is no ledger, is damaged, or was written by a newer program is never written to. A new file is
//! made under another name and renamed: it exists whole or not at all.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use rustix::fs::{Access, access};

use crate::durable_fs;
use crate::limits::LEDGER_CHECK_BYTES_MAX;
use crate::sql::version::{self, NewerLedger};

/// Migrations from each version to the next; the first makes version 1 of an empty file.
const STEPS: [&str; 14] = [
    include_str!("sqlite_schema.sql"),
    include_str!("sqlite_schema_2.sql"),
    include_str!("sqlite_schema_3.sql"),
    include_str!("sqlite_schema_4.sql"),
    include_str!("sqlite_schema_5.sql"),
    include_str!("sqlite_schema_6.sql"),
    include_str!("sqlite_schema_7.sql"),
    include_str!("sqlite_schema_8.sql"),
    include_str!("sqlite_schema_9.sql"),
    include_str!("sqlite_schema_10.sql"),
    include_str!("sqlite_schema_11.sql"),
    include_str!("sqlite_schema_12.sql"),
    include_str!("sqlite_schema_13.sql"),
    include_str!("sqlite_schema_14.sql"),
];

/// Advice on a newer ledger. The installer makes that copy before an upgrade.
const NEWER_ADVICE: &str = concat!(
    "install the newer hstratum again, or put back a copy from before its upgrade, such as ledger-of-",
    env!("CARGO_PKG_VERSION"),
    ".db (docs/ledger.md, Back to an older release)"
);

/// `application_id` of a ledger: "HNSL" (<https://www.sqlite.org/fileformat.html>, offset 68).
const APPLICATION_ID: i32 = 0x484e_534c;

/// First bytes of every SQLite file.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Name of the ledger's file in the server's directory.
pub const FILE_NAME: &str = "ledger.db";

/// Offset of the byte that says whether the file is read with a write-ahead log (2) or without (1).
const READ_VERSION_AT: usize = 19;

/// Bytes from the start of a file up to its `application_id`.
const HEAD_BYTES: usize = 72;

/// Time that a statement waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(10);

/// Random id of a ledger's file.
pub type FileId = [u8; 16];

/// Error: a copy of a ledger stands beside a write-ahead log that belongs to another file. SQLite would write
/// that log into the copy.
#[derive(Debug)]
struct OldLog(PathBuf);

impl fmt::Display for OldLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} beside it is of another file", self.0.display())
    }
}

impl std::error::Error for OldLog {}

/// Opens an existing ledger, beside the server that may be writing to it.
///
/// # Errors
/// When there is none, the file is no ledger, or its version is not this program's.
pub fn open_beside(path: &Path) -> anyhow::Result<Connection> {
    let name = path.display();
    // SQLite does not report the reason.
    access(path, Access::READ_OK)
        .map_err(io::Error::from)
        .with_context(|| format!("failed to open the ledger {name}"))?;
    refuse_old_log(path).with_context(|| format!("the ledger {name} is not opened"))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)
        .with_context(|| format!("failed to open the ledger {name}"))?;
    conn.busy_timeout(BUSY)?;
    let found = match version(&conn) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => None,
        Err(error) if is_damaged(&error) => bail!(damaged(path)),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) => {
            let dir = durable_fs::parent(path).unwrap_or(Path::new("."));
            access(dir, Access::WRITE_OK | Access::EXEC_OK)
                .map_err(io::Error::from)
                .with_context(|| format!("failed to write to {}", dir.display()))?;
            return Err(error).with_context(|| format!("failed to read the ledger {name}"));
        }
        found => found.with_context(|| format!("failed to read the ledger {name}"))?,
    };
    let Some(found) = found else {
        bail!("{name} is not a ledger of hstratum");
    };
    if let Err(error) = version::require(found, known(&STEPS), NEWER_ADVICE) {
        if bytes_of(&beside(path, "-wal")) > 0 {
            // Else the last connection to close writes that log into the file.
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        }
        return Err(error.context(format!("the ledger {name} is not opened")));
    }
    match conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;") {
        Err(error) if is_damaged(&error) => bail!(damaged(path)),
        set => set?,
    }
    Ok(conn)
}

pub(crate) fn is_damaged(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt)
}

pub(crate) fn damaged(path: &Path) -> String {
    let name = path.display();
    format!(
        "the ledger {name} is damaged: stop the node, and see docs/ledger.md, Backup and restore"
    )
}

/// Turns an empty file, or memory, into a ledger.
///
/// # Errors
/// Errors of SQLite.
pub fn create(
    conn: &Connection,
    network: &str,
    origin: FileId,
    unix_s: u64,
) -> rusqlite::Result<()> {
    create_with(conn, &STEPS, network, origin, unix_s)
}

fn create_with(
    conn: &Connection,
    steps: &[&str],
    network: &str,
    origin: FileId,
    unix_s: u64,
) -> rusqlite::Result<()> {
    conn.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
         BEGIN IMMEDIATE; {}
         PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {};",
        steps.concat(),
        steps.len(),
    ))?;
    let unix_s = i64::try_from(unix_s).expect("a clock before the end of time");
    conn.execute(
        "INSERT INTO meta (id, network, origin, seq, created_at) VALUES (1, ?1, ?2, 0, ?3)",
        (network, origin, unix_s),
    )?;
    conn.execute_batch("COMMIT")
}

/// Kind, name and SQL text of all that the schema of this version has.
pub(crate) fn parts() -> rusqlite::Result<Vec<(String, String, String)>> {
    let conn = Connection::open_in_memory()?;
    conn.execute_batch(&STEPS.concat())?;
    let mut parts =
        conn.prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")?;
    let parts = parts.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    parts.collect()
}

/// Opens the server's own ledger: creates it if there is none, and upgrades it if it is of an earlier
/// version. `told` is called with a line for each thing done.
///
/// # Errors
/// One line that names the file and says what to do. Nothing was written to it in that case, unless a step of
/// an upgrade failed; each step is done whole or not at all.
pub fn open_own(
    path: &Path,
    network: &str,
    unix_s: u64,
    told: &mut Vec<String>,
) -> anyhow::Result<Connection> {
    open_own_with(path, &STEPS, network, unix_s, told).map_err(|error| {
        let path = path.display();
        let text = format!(
            "failed to open the ledger {path}; nothing was changed: {}",
            advice(&error)
        );
        error.context(text)
    })
}

/// Advice for an error. An intact ledger must not be replaced because a disk refuses.
fn advice(error: &anyhow::Error) -> &'static str {
    if error.is::<OldLog>() {
        return "move its -wal and -shm away, not the file itself (docs/ledger.md)";
    }
    if error.is::<NewerLedger>() {
        return NEWER_ADVICE;
    }
    let refuses = error.chain().any(|cause| {
        let sqlite = cause.downcast_ref::<rusqlite::Error>();
        let sqlite = sqlite.and_then(rusqlite::Error::sqlite_error_code);
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(
            sqlite,
            Some(
                ErrorCode::ReadOnly
                    | ErrorCode::CannotOpen
                    | ErrorCode::PermissionDenied
                    | ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
            )
        ) || matches!(
            io,
            Some(
                io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::StorageFull
            )
        )
    });
    if refuses {
        "see to it that its directory can be written and has room"
    } else {
        "move it and its -wal away, and put a backup in its place (docs/ledger.md)"
    }
}

fn open_own_with(
    path: &Path,
    steps: &[&str],
    network: &str,
    unix_s: u64,
    told: &mut Vec<String>,
) -> anyhow::Result<Connection> {
    let log_bytes = bytes_of(&beside(path, "-wal"));
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            ensure!(
                log_bytes == 0,
                "the file is gone, and its log {:?} is still there",
                beside(path, "-wal")
            );
            create_file(path, steps, network, unix_s)?;
            told.push(format!("new ledger: {}", path.display()));
        }
        Err(error) => return Err(error.into()),
        Ok(file) => {
            ensure!(file.len() > 0, "the file is empty");
            check(path, file.len(), steps, network)?;
        }
    }
    let mut conn = open_to_read_write(path)?;
    migrate(&mut conn, path, steps, told)?;
    Ok(conn)
}

/// Opens a file without checking that it is a ledger. A copy without a log gets one.
pub(crate) fn open_to_read_write(path: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    ensure!(
        mode == "wal",
        "it is in journal mode {mode:?}, and WAL cannot be set"
    );
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    Ok(conn)
}

/// Reopens a ledger that this program has or had open: checks nothing but that it is the same file.
pub(crate) fn open_again(path: &Path, origin: &FileId) -> anyhow::Result<Connection> {
    let conn = open_to_read_write(path)?;
    ensure!(
        origin_of(&conn)? == *origin,
        "{} is now another ledger",
        path.display()
    );
    Ok(conn)
}

/// Opens a ledger for reading only.
pub(crate) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    Ok(conn)
}

/// Id of the file.
pub(crate) fn origin_of(conn: &Connection) -> rusqlite::Result<FileId> {
    conn.query_row("SELECT origin FROM meta", [], |row| row.get(0))
}

/// Version of a ledger; `None` for another kind of file.
fn version(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    let read = |pragma| conn.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let version = Some(read("user_version")?).filter(|version| *version >= 0);
    Ok(version.filter(|_| read("application_id") == Ok(i64::from(APPLICATION_ID))))
}

fn known(steps: &[&str]) -> i64 {
    i64::try_from(steps.len()).expect("a few steps")
}

/// Checks that this program may write to the file, which is opened for reading only.
fn check(path: &Path, bytes: u64, steps: &[&str], network: &str) -> anyhow::Result<()> {
    let head = head(path)?.context("it is not a database")?;
    refuse_old_log(path)?;
    if bytes_of(&beside(path, "-journal")) > 0 && head.ends_with(&APPLICATION_ID.to_be_bytes()) {
        // A program was killed in a transaction. The rollback happens at once, and only a writer can do it.
        Connection::open(path)?.query_row("PRAGMA user_version", [], |_| Ok(()))?;
    }
    let conn = open_to_read(path)?;
    let found = version(&conn)?.context("it is a database of another program")?;
    version::refuse_newer(found, known(steps))?;
    ensure!(found > 0, "it has no tables");
    if bytes <= LEDGER_CHECK_BYTES_MAX {
        let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        ensure!(
            verdict == "ok",
            "it is damaged: {}",
            verdict.replace('\n', " ")
        );
    }
    let found: String = conn.query_row("SELECT network FROM meta", [], |row| row.get(0))?;
    ensure!(
        found == network,
        "it is of the network {found:?}, the node's is {network}"
    );
    Ok(())
}

/// First bytes of a database; `None` for another kind of file.
fn head(path: &Path) -> io::Result<Option<[u8; HEAD_BYTES]>> {
    let mut head = [0; HEAD_BYTES];
    let read = File::open(path)?.read_exact(&mut head);
    Ok(read
        .ok()
        .filter(|()| head.starts_with(MAGIC))
        .map(|()| head))
}

fn bytes_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

fn refuse_old_log(path: &Path) -> anyhow::Result<()> {
    let log = beside(path, "-wal");
    let has_no_log = |head: [u8; HEAD_BYTES]| head[READ_VERSION_AT] == 1;
    if bytes_of(&log) > 0 && matches!(head(path), Ok(Some(head)) if has_no_log(head)) {
        return Err(OldLog(log).into());
    }
    Ok(())
}

fn migrate(
    conn: &mut Connection,
    path: &Path,
    steps: &[&str],
    told: &mut Vec<String>,
) -> anyhow::Result<()> {
    let first = usize::try_from(version(conn)?.context("it is not a ledger")?)?;
    for (from, step) in steps.iter().enumerate().skip(first) {
        let to = from + 1;
        let failed = || format!("failed to upgrade it from version {from} to {to}");
        let step_done = conn.transaction_with_behavior(TransactionBehavior::Immediate);
        let tx = step_done.with_context(failed)?;
        tx.execute_batch(step).with_context(failed)?;
        tx.pragma_update(None, "user_version", i32::try_from(to)?)
            .with_context(failed)?;
        tx.commit().with_context(failed)?;
        told.push(format!(
            "ledger upgraded from version {from} to {to}: {}",
            path.display()
        ));
    }
    Ok(())
}

fn create_file(path: &Path, steps: &[&str], network: &str, unix_s: u64) -> anyhow::Result<()> {
    let dir = durable_fs::parent(path).context("it has no directory")?;
    durable_fs::create_dir(dir)?;
    let mut origin = [0; 16];
    getrandom::fill(&mut origin).context("failed to get random bytes")?;
    let temporary = beside(path, ".tmp");
    for suffix in ["", "-wal", "-shm"] {
        match fs::remove_file(beside(&temporary, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let conn = Connection::open(&temporary)?;
    create_with(&conn, steps, network, origin, unix_s)?;
    // SQLite removes the log when the last connection closes.
    conn.close().map_err(|(_, error)| error)?;
    File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, path)?;
    durable_fs::sync_dir(dir)
}

/// The path with a suffix appended to its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDED: &str = "CREATE TABLE added (id INTEGER PRIMARY KEY) STRICT;";

    fn open(path: &Path, steps: &[&str]) -> anyhow::Result<(Connection, Vec<String>)> {
        let mut told = Vec::new();
        let conn = open_own_with(path, steps, "regtest", 7, &mut told)?;
        Ok((conn, told))
    }

    #[test]
    fn whole_ledger_is_not_given_up_for_a_disk_that_refuses() {
        let sqlite = |code| {
            let failure = rusqlite::ffi::Error::new(code);
            anyhow::Error::from(rusqlite::Error::SqliteFailure(failure, None))
        };
        for code in [
            rusqlite::ffi::SQLITE_READONLY,
            rusqlite::ffi::SQLITE_CANTOPEN,
        ] {
            let text = advice(&sqlite(code).context("failed to write"));
            assert!(text.contains("can be written"), "{text}");
        }
        let text = advice(&sqlite(rusqlite::ffi::SQLITE_CORRUPT));
        assert!(text.contains("backup"), "{text}");
    }

    #[test]
    fn older_file_is_upgraded_once_and_refused_by_the_older_program() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("deep/ledger.db");
        let (conn, told) = open(&path, &STEPS).expect("made");
        assert!(told[0].starts_with("new ledger"), "{told:?}");
        conn.execute_batch("INSERT INTO accounts (name) VALUES ('alice')")
            .expect("written");
        let origin = origin_of(&conn).expect("read");
        drop(conn);

        let steps = [&STEPS[..], &[ADDED]].concat();
        let (conn, told) = open(&path, &steps).expect("upgraded");
        let (from, to) = (STEPS.len(), steps.len());
        let expected = format!("ledger upgraded from version {from} to {to}");
        assert!(told[0].starts_with(&expected), "{told:?}");
        conn.execute_batch("INSERT INTO added SELECT id FROM accounts")
            .expect("both tables are there");
        assert_eq!(origin_of(&conn).expect("read"), origin);
        drop(conn);
        assert_eq!(open(&path, &steps).expect("opened").1, [""; 0]);

        let error = open(&path, &STEPS).expect_err("newer");
        assert!(format!("{error:#}").contains("newer hstratum"), "{error:#}");
        let text = format!("{:#}", open_beside(&path).expect_err("newer"));
        let versions = format!("version {to}, this program knows {from}");
        assert!(
            text.contains(&versions) && text.contains(NEWER_ADVICE),
            "{text}"
        );
    }

    #[test]
    fn newer_file_with_a_log_is_left_as_a_kill_left_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, killed) = (dir.path().join("ledger.db"), dir.path().join("killed.db"));
        let (conn, _) = open(&path, &[&STEPS[..], &[ADDED]].concat()).expect("made");
        conn.execute_batch("INSERT INTO accounts (name) VALUES ('alice')")
            .expect("written");
        let read =
            |path: &Path| ["", "-wal"].map(|part| fs::read(beside(path, part)).expect("read"));
        for part in ["", "-wal"] {
            fs::copy(beside(&path, part), beside(&killed, part)).expect("copied");
        }
        let before = read(&killed);
        assert!(!before[1].is_empty());
        open(&killed, &STEPS).expect_err("newer");
        open_beside(&killed).expect_err("newer");
        assert_eq!(read(&killed), before);
    }

    #[test]
    fn version_1_keeps_its_rows() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        let (conn, _) = open(&path, &STEPS[..1]).expect("made");
        conn.execute_batch(
            "INSERT INTO accounts VALUES (1, 'alice', NULL);
             INSERT INTO workers VALUES (1, 1, 'rig');
             INSERT INTO credit VALUES (5, 1, 0.5, 3), (6, 1, 0.5, 4);
             INSERT INTO heights VALUES (3, 1.0), (4, 1.0), (5, 1.0), (6, 1.0), (7, 1.0);
             INSERT INTO statistics VALUES (600, 1200, 1, 7, 3.5, 1, 0.5, 2, 1.0, 3, 1.5)",
        )
        .expect("written");
        drop(conn);
        let (conn, told) = open(&path, &STEPS).expect("upgraded");
        assert_eq!(told.len(), STEPS.len() - 1, "{told:?}");
        let rows: String = conn
            .query_row(
                "SELECT (SELECT group_concat(height || 'x' || count) FROM credit WHERE origin = 0)
                   || ' ' || accepted || ' ' || duplicate_work FROM statistics WHERE origin = 0",
                [],
                |row| row.get(0),
            )
            .expect("read");
        assert_eq!(rows, "5x3,6x4 7 1.5");
        // The merged heights are derived from the missing rows.
        let spans = "SELECT group_concat(first || '-' || last) FROM spans";
        let spans: String = conn.query_row(spans, [], |row| row.get(0)).expect("read");
        assert_eq!(spans, "3-5");
    }

    #[test]
    fn upgrade_that_fails_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        drop(open(&path, &STEPS).expect("made"));
        let broken = format!("{ADDED} INSERT INTO nowhere VALUES (1);");
        let steps = |last| [&STEPS[..], &[last]].concat();
        let error = open(&path, &steps(&broken)).expect_err("broken");
        assert!(format!("{error:#}").contains("failed to upgrade it"));
        drop(open(&path, &steps(ADDED)).expect("nothing of the broken step is there"));
    }

    #[test]
    fn new_file_that_a_crash_left_unfinished_is_begun_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        fs::write(dir.path().join("ledger.db.tmp"), "half").expect("written");
        drop(open(&path, &STEPS).expect("made"));
        assert!(open_beside(&path).is_ok());
        assert!(!dir.path().join("ledger.db.tmp").exists());
    }
}
