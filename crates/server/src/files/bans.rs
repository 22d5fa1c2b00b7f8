//! The operator's bans in `bans.json`: one JSON object a line, always written whole.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, anyhow};
use hstratum_core::accounts::ban::{Ban, BannedBy};
use serde::{Deserialize, Serialize};

use crate::durable_fs;

const NAME: &str = "bans.json";

/// The file of bans.
#[derive(Debug)]
pub(crate) struct BansFile {
    dir: PathBuf,
}

#[derive(Deserialize, Serialize)]
struct BanLine {
    address: IpAddr,
    /// Unix seconds.
    since: u64,
    /// Unix seconds; `None`: until it is lifted.
    until: Option<u64>,
    reason: String,
}

impl BansFile {
    /// Reads the file; a missing one has no bans.
    ///
    /// # Errors
    /// When it cannot be read, and, with its number, when a line is not a ban.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<(Self, Vec<Ban>)> {
        let path = dir.join(NAME);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("failed to read {}", path.display()))?,
        };
        let bans =
            parse(&text).map_err(|error| anyhow!("failed to read {}: {error}", path.display()))?;
        let dir = dir.to_owned();
        Ok((Self { dir }, bans))
    }

    /// Replaces all bans; they are durable when this returns.
    ///
    /// # Errors
    /// When the disk refuses; then the old ones stay.
    pub(crate) fn write(&self, bans: &[Ban]) -> anyhow::Result<()> {
        durable_fs::write_whole(&self.dir, NAME, encode(bans).as_bytes())
    }
}

fn encode(bans: &[Ban]) -> String {
    let mut text = String::new();
    for ban in bans {
        let line = BanLine {
            address: ban.address,
            since: ban.since_s,
            until: ban.until_s,
            reason: ban.reason.clone(),
        };
        text += &serde_json::to_string(&line).expect("numbers and texts are always JSON");
        text.push('\n');
    }
    text
}

fn parse(text: &str) -> anyhow::Result<Vec<Ban>> {
    let mut bans = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let line: BanLine =
            serde_json::from_str(line).with_context(|| format!("line {number} is not a ban"))?;
        bans.push(Ban {
            address: line.address,
            since_s: line.since,
            until_s: line.until,
            reason: line.reason,
            by: BannedBy::Operator,
        });
    }
    Ok(bans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_come_back_as_they_were() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, bans) = BansFile::open(dir.path()).expect("opened");
        assert!(bans.is_empty());
        let ban = |address: &str, until_s| Ban {
            address: address.parse().expect("an address"),
            since_s: 1_700_000_000,
            until_s,
            reason: "a \"reason\"".to_owned(),
            by: BannedBy::Operator,
        };
        let bans = vec![
            ban("192.0.2.1", None),
            ban("2001:db8::", Some(1_700_000_060)),
        ];
        file.write(&bans).expect("written");
        assert_eq!(BansFile::open(dir.path()).expect("opened").1, bans);
    }

    #[test]
    fn malformed_line_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join(NAME), "\n{\"address\":\"x\"}\n").expect("written");
        let error = BansFile::open(dir.path()).expect_err("malformed");
        assert!(error.to_string().contains("line 2 is not a ban"), "{error}");
    }
}
