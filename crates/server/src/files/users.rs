//! The accounts file `users.json`: one JSON object a line, appended, never rewritten.
//!
//! An account is acknowledged only after [`UsersFile::append`] has returned, and then it survives a power
//! cut. A torn end of the file is repaired at the next start.
//!
//! A disabled account's line has its password in `disabled`, and in `password` one that nothing matches, so
//! that a reader which does not know the field admits nobody either.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use hstratum_core::accounts::password::StoredPassword;
use serde::{Deserialize, Serialize};

use crate::durable_fs;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Characters of a malformed line that an error shows.
const FOUND_CHARS_MAX: usize = 80;

/// An account in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    /// The account's name.
    pub name: String,
    /// Its password.
    pub password: StoredPassword,
}

/// Repair of a last line without a newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The record was complete: the newline was added.
    Completed,
    /// The line was torn: its bytes were moved to this file.
    Cut(PathBuf),
}

/// Way in which an account was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserWritten {
    /// Appended to the others.
    Appended,
    /// Written with all others, since the file was gone.
    Anew,
}

/// End of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileEnd {
    /// A newline, or an empty file.
    Whole,
    /// A complete record that lacks only its newline.
    Unended,
    /// A line that is no record, which begins at this offset.
    Torn(usize),
}

/// The file, open for appending.
#[derive(Debug)]
pub struct UsersFile {
    path: PathBuf,
    /// Content of the file, to rewrite it if somebody has removed it meanwhile.
    known: HashMap<String, StoredPassword>,
    /// A failed append that could not be undone yet: the file, and the length it must have.
    broken: Option<(File, u64)>,
    /// Replaced by tests that need a failing disk.
    sync: fn(&File) -> io::Result<()>,
}

#[derive(Deserialize, Serialize)]
struct UserLine<'a> {
    #[serde(borrow)]
    username: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    password: std::borrow::Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    disabled: Option<Disabled<'a>>,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Disabled<'a> {
    /// As an operator may write it: `password` is the account's own.
    Flag(bool),
    /// The account's password.
    #[serde(borrow)]
    Password(std::borrow::Cow<'a, str>),
}

/// Matches no password: its preimage is unknown.
pub(crate) const NO_PASSWORD: StoredPassword = StoredPassword::Hash256([0; 32]);

impl UsersFile {
    /// Reads the file and repairs its end. Returns one record a name, in the order in which the names first
    /// appear; the last line for a name counts. A missing file has no accounts and is created by the first
    /// append.
    ///
    /// `now_s` (Unix seconds) is part of the name of the file that torn bytes are kept in.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or repaired, and, with the line's number, when a line that ends
    /// in a newline is not a record.
    pub fn open(
        path: impl Into<PathBuf>,
        now_s: u64,
    ) -> anyhow::Result<(Self, Vec<UserRecord>, Option<Repair>)> {
        let path = path.into();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.with_context(|| format!("failed to read {}", path.display()))?,
        };
        let (records, end) =
            parse(&bytes).map_err(|error| anyhow!("failed to read {}: {error}", path.display()))?;
        let repair = match end {
            FileEnd::Whole => None,
            FileEnd::Unended => {
                add_newline(&path)?;
                Some(Repair::Completed)
            }
            FileEnd::Torn(whole) => Some(cut_tail(&path, whole as u64, &bytes[whole..], now_s)?),
        };
        close_to_others(&path)?;
        let known = records
            .iter()
            .map(|one| (one.name.clone(), one.password.clone()));
        let file = Self {
            known: known.collect(),
            path,
            broken: None,
            sync: File::sync_all,
        };
        Ok((file, records, repair))
    }

    /// Adds an account, or changes its password. It is durable when this returns.
    ///
    /// # Errors
    ///
    /// When the line could not be written and synced. The file is then as it was before, or is made so by the
    /// next append; the account must not be acknowledged.
    pub fn append(&mut self, name: &str, password: &StoredPassword) -> anyhow::Result<UserWritten> {
        let written = self
            .try_append(name, password)
            .with_context(|| format!("failed to write {}", self.path.display()))?;
        self.known.insert(name.to_owned(), password.clone());
        Ok(written)
    }

    fn try_append(&mut self, name: &str, password: &StoredPassword) -> anyhow::Result<UserWritten> {
        self.take_back()?;
        if !self.known.is_empty() && !self.path.exists() {
            return self.write_anew(name, password);
        }
        // Opened by name each time, since an operator's editor may have replaced the file.
        let (mut file, length, created) = open_for_append(&self.path)?;
        let mut line = String::new();
        if length > 0 && !ends_in_newline(&mut file)? {
            line.push('\n');
        }
        line.push_str(&encode(name, password));

        let written = file
            .write_all(line.as_bytes())
            .and_then(|()| (self.sync)(&file))
            .map_err(anyhow::Error::from)
            .and_then(|()| match durable_fs::parent(&self.path) {
                Some(dir) if created => durable_fs::sync_dir(dir),
                _ => Ok(()),
            });
        if written.is_err() {
            self.broken = Some((file, length));
            // If this fails too, the next append tries again before it writes.
            let _ = self.take_back();
        }
        written.map(|()| UserWritten::Appended)
    }

    /// Records the content after the file was written whole.
    pub(crate) fn holds(&mut self, all: &HashMap<String, StoredPassword>) {
        self.known.clone_from(all);
    }

    /// Rewrites the file after somebody has removed it: otherwise the other accounts would be gone after a
    /// restart.
    fn write_anew(&self, name: &str, password: &StoredPassword) -> anyhow::Result<UserWritten> {
        let mut all: BTreeMap<&str, &StoredPassword> = self
            .known
            .iter()
            .map(|(name, one)| (&**name, one))
            .collect();
        all.insert(name, password);
        let text: String = all.iter().map(|(name, one)| encode(name, one)).collect();
        let dir = durable_fs::parent(&self.path).context("it has no directory")?;
        let file = self.path.file_name().and_then(|name| name.to_str());
        durable_fs::write_secret(dir, file.context("it has no name")?, text.as_bytes())?;
        Ok(UserWritten::Anew)
    }

    /// Cuts off what a failed append left, so that no unacknowledged account appears later.
    fn take_back(&mut self) -> anyhow::Result<()> {
        if let Some((file, length)) = &self.broken {
            file.set_len(*length)
                .and_then(|()| (self.sync)(file))
                .context("failed to take back an earlier line")?;
            self.broken = None;
        }
        Ok(())
    }
}

/// Parses the bytes of a file: one record a name, and how they end.
///
/// # Errors
///
/// With its number, when a line that ends in a newline is not a record.
pub fn parse(bytes: &[u8]) -> anyhow::Result<(Vec<UserRecord>, FileEnd)> {
    let whole = bytes
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    let (lines, tail) = bytes.split_at(whole);
    // Some editors begin a file with it.
    let lines = lines.strip_prefix(BYTE_ORDER_MARK).unwrap_or(lines);
    let tail = match whole {
        0 => tail.strip_prefix(BYTE_ORDER_MARK).unwrap_or(tail),
        _ => tail,
    };
    let mut records = parse_lines(lines)?;
    let end = match parse_line(tail) {
        _ if tail.is_empty() => FileEnd::Whole,
        None => FileEnd::Torn(whole),
        Some(record) => {
            records.extend(record);
            FileEnd::Unended
        }
    };
    Ok((last_of_each(records), end))
}

/// The line of an account, including the newline.
pub fn encode(name: &str, password: &StoredPassword) -> String {
    let text = password.to_text();
    let line = match password.is_locked() {
        false => UserLine {
            username: name.into(),
            password: text.into(),
            disabled: None,
        },
        true => UserLine {
            username: name.into(),
            password: NO_PASSWORD.to_text().into(),
            disabled: Some(Disabled::Password(text.into())),
        },
    };
    let mut text = serde_json::to_string(&line).expect("texts are always JSON");
    text.push('\n');
    text
}

fn parse_lines(bytes: &[u8]) -> anyhow::Result<Vec<UserRecord>> {
    let mut records = Vec::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let Some(record) = parse_line(line) else {
            bail!(
                "line {}: expected {{\"username\": …, \"password\": …}}, found {:?}",
                index + 1,
                shown(line)
            );
        };
        records.extend(record);
    }
    Ok(records)
}

/// Parses a line; `Some(None)` is an empty line.
fn parse_line(line: &[u8]) -> Option<Option<UserRecord>> {
    let text = std::str::from_utf8(line).ok()?;
    if text.trim().is_empty() {
        return Some(None);
    }
    let line: UserLine<'_> = serde_json::from_str(text).ok()?;
    let password = StoredPassword::parse(&line.password)?;
    Some(Some(UserRecord {
        name: line.username.into_owned(),
        password: match line.disabled {
            None | Some(Disabled::Flag(false)) => password,
            Some(Disabled::Flag(true)) => password.locked(),
            Some(Disabled::Password(own)) => StoredPassword::parse(&own)?.locked(),
        },
    }))
}

/// A malformed line for an error, cut, and without its password, since errors end up in logs.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let end = text
        .find("\"password\"")
        .map(|at| at + "\"password\"".len())
        .unwrap_or(text.len());
    let mut shown: String = text[..end].chars().take(FOUND_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

fn last_of_each(records: Vec<UserRecord>) -> Vec<UserRecord> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut last: Vec<UserRecord> = Vec::new();
    for record in records {
        match places.get(&record.name) {
            Some(&place) => last[place] = record,
            None => {
                places.insert(record.name.clone(), last.len());
                last.push(record);
            }
        }
    }
    last
}

fn add_newline(path: &Path) -> anyhow::Result<()> {
    OpenOptions::new()
        .append(true)
        .open(path)
        .and_then(|mut file| {
            file.write_all(b"\n")?;
            file.sync_all()
        })
        .with_context(|| format!("failed to repair {}", path.display()))
}

/// Saves the torn bytes durably before it cuts them off.
fn cut_tail(path: &Path, whole: u64, tail: &[u8], now_s: u64) -> anyhow::Result<Repair> {
    let mut kept = path.as_os_str().to_owned();
    kept.push(format!(".torn-{now_s}"));
    let kept = PathBuf::from(kept);
    // Appended, so that a repair which is interrupted and repeated destroys nothing.
    create_options()
        .open(&kept)
        .and_then(|mut file| {
            file.write_all(tail)?;
            file.sync_all()
        })
        .with_context(|| format!("failed to write {}", kept.display()))?;
    durable_fs::parent(path).map_or(Ok(()), durable_fs::sync_dir)?;
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file| {
            file.set_len(whole)?;
            file.sync_all()
        })
        .with_context(|| format!("failed to repair {}", path.display()))?;
    Ok(Repair::Cut(kept))
}

/// Makes the file readable for its owner only, since it contains hashes of passwords.
fn close_to_others(path: &Path) -> anyhow::Result<()> {
    let Ok(mode) = fs::metadata(path).map(|file| file.permissions().mode()) else {
        return Ok(());
    };
    if mode & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).with_context(|| {
        format!(
            "failed to make {} readable by its owner alone",
            path.display()
        )
    })
}

/// The file, its length, and whether it is new.
fn open_for_append(path: &Path) -> anyhow::Result<(File, u64, bool)> {
    let created = !path.exists();
    if let (true, Some(dir)) = (created, durable_fs::parent(path)) {
        durable_fs::create_dir(dir)?;
    }
    let file = create_options().open(path)?;
    let length = file.metadata()?.len();
    // An empty file may be left from a first append that failed, and its name may not be durable yet.
    Ok((file, length, created || length == 0))
}

fn create_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    options
}

fn ends_in_newline(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;
