//! Refusal of a ledger whose version is not this program's.

use anyhow::ensure;

/// Error: a newer program has written the ledger.
#[derive(Debug, thiserror::Error)]
#[error("it was written by a newer hstratum (version {found}, this program knows {known})")]
pub(super) struct NewerLedger {
    pub found: i64,
    pub known: i64,
}

/// Refuses a newer ledger.
///
/// # Errors
/// [`NewerLedger`].
pub(super) fn refuse_newer(found: i64, known: i64) -> Result<(), NewerLedger> {
    match found > known {
        true => Err(NewerLedger { found, known }),
        false => Ok(()),
    }
}

/// Refuses a ledger of any other version: only a server's start upgrades an older one.
///
/// # Errors
/// One line with both versions and what to do, of which `newer_advice` is a newer ledger's.
pub(super) fn require(found: i64, known: i64, newer_advice: &'static str) -> anyhow::Result<()> {
    refuse_newer(found, known).map_err(|error| anyhow::Error::new(error).context(newer_advice))?;
    ensure!(
        found == known,
        "start the node, which upgrades it: it has version {found}, this program knows {known}"
    );
    Ok(())
}
