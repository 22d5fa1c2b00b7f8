//! One payout process at a time for a ledger.
//!
//! The operating system holds the lock and lets go of it when the process ends, however it ends.
//! The file stays: removing it would let two processes hold locks on two files of one name.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use anyhow::{Context, bail};

/// Held until it is dropped.
#[derive(Debug)]
pub struct PayoutLock(
    #[expect(dead_code, reason = "the lock lives as long as the open file")] File,
);

impl PayoutLock {
    /// Takes the lock of the ledger at `path`: `<path>.payout-lock`. Two names of one ledger have
    /// the same lock.
    ///
    /// # Errors
    /// When another process holds it, or the file cannot be made.
    pub fn take(path: &Path) -> anyhow::Result<Self> {
        let ledger = path
            .canonicalize()
            .with_context(|| format!("failed to open the ledger {}", path.display()))?;
        let mut name = OsString::from(ledger);
        name.push(".payout-lock");
        let lock = Path::new(&name).display();
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&name)
            .with_context(|| format!("failed to open {lock}"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => {
                bail!("another payout is at work on this ledger: it holds {lock}")
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("failed to lock {lock}"))
            }
        }
    }
}
