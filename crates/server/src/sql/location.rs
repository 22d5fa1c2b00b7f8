//! Location of a ledger: a file, or a shared ledger in PostgreSQL.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::limits::SQL_PATIENCE_MS;
use crate::sql::postgres_schema;
use crate::sql::url::PostgresUrl;
use crate::sql::{Db, Postgres, SqlError, Sqlite};

/// Location of a ledger.
#[derive(Debug, Clone, PartialEq)]
pub enum LedgerLocation {
    /// A file.
    File(PathBuf),
    /// A PostgreSQL server.
    Shared(Box<PostgresUrl>),
}

impl LedgerLocation {
    /// Opens an existing ledger, beside the servers that may be writing to it.
    ///
    /// # Errors
    /// When there is none, it is no ledger, or its version is not this program's.
    pub fn open(&self) -> anyhow::Result<Db> {
        match self {
            Self::File(path) => {
                check_file(path)?;
                Ok(Db::Sqlite(Sqlite::open_beside(path)?))
            }
            Self::Shared(address) => postgres_schema::open_existing(address),
        }
    }

    /// Opens the server's own ledger once more, from within its process.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open_in_server(&self) -> anyhow::Result<Db> {
        match self {
            Self::File(path) => Ok(Db::Sqlite(Sqlite::open_in_server(path)?)),
            Self::Shared(address) => postgres_schema::open_existing(address),
        }
    }

    /// Opens the server's own ledger for a change that somebody waits for; a statement may take `patience`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open_for_a_change(&self, patience: Duration) -> anyhow::Result<Db> {
        match self {
            Self::File(path) => Ok(Db::Sqlite(Sqlite::open_for_a_change(path)?)),
            Self::Shared(address) => Ok(impatient(address, patience)?),
        }
    }

    /// The text of a location for display: of a URL without user name and password.
    #[must_use]
    pub fn without_password(text: &str) -> String {
        let url = text.split_once("://");
        match url.and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
            Some((scheme, rest)) => format!("{scheme}://…@{rest}"),
            None => text.to_owned(),
        }
    }

    /// Opens it for a query, which is interrupted after `patience`.
    ///
    /// # Errors
    /// See [`SqlError`].
    pub(crate) fn open_for_a_look(&self, patience: Duration) -> Result<Db, SqlError> {
        match self {
            Self::File(path) => {
                let mut file = Sqlite::open_to_read(path)?;
                file.limit(Instant::now() + patience)?;
                Ok(Db::Sqlite(file))
            }
            Self::Shared(address) => impatient(address, patience),
        }
    }
}

/// Connects to a shared ledger whose statements may take so long.
fn impatient(address: &PostgresUrl, patience: Duration) -> Result<Db, SqlError> {
    let limit_ms = patience.as_millis().try_into().unwrap_or(u64::MAX);
    let impatient = address.clone().with_statement_ms(limit_ms);
    Ok(Db::Postgres(Box::new(Postgres::connect(&impatient)?)))
}

/// Refuses files for which SQLite's own error would be hard to understand.
fn check_file(path: &Path) -> anyhow::Result<()> {
    let shown = LedgerLocation::without_password(&path.to_string_lossy());
    if path.is_dir() {
        bail!("failed to open {shown}: it is a directory: name the file, PREFIX/stratum/ledger.db");
    }
    if !path.try_exists().unwrap_or(true) {
        if path.to_string_lossy().contains("://") {
            bail!("failed to open {shown}: it is neither a file nor a postgres:// URL");
        }
        bail!("failed to open {shown}: no such file");
    }
    Ok(())
}

impl FromStr for LedgerLocation {
    type Err = anyhow::Error;

    /// # Errors
    /// The fault of a malformed URL, without its password.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let address: PostgresUrl = text.parse()?;
            let patient = address.with_statement_ms(SQL_PATIENCE_MS);
            return Ok(Self::Shared(Box::new(patient)));
        }
        Ok(Self::File(text.into()))
    }
}

impl fmt::Display for LedgerLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Shared(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_ledger_is_told_in_plain_words() {
        let dir = tempfile::tempdir().expect("a directory");
        let directory = dir.path().display().to_string();
        let missing = format!("{directory}/ledger.db");
        for (text, says) in [
            (missing.as_str(), "no such file"),
            ("mysql://b/c", "neither a file nor a postgres:// URL"),
            (
                directory.as_str(),
                "name the file, PREFIX/stratum/ledger.db",
            ),
        ] {
            let location: LedgerLocation = text.parse().expect("a place");
            let error = location.open().err().expect("none").to_string();
            assert!(error.contains(text) && error.contains(says), "{error}");
        }
    }
}
