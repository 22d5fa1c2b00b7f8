//! Writes the share dump of a round into any directory.

use std::path::Path;

use anyhow::{Context, bail};
use hstratum_core::units::Hash;

use crate::files::share_dump::write_dump;
use crate::sql::{Db, Sql};
use crate::store::dumps::read_dump;
use crate::values;

/// A block, by its hash or by its height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockChoice {
    /// A hash.
    Hash(Hash),
    /// A height at which one block of the pool has closed its round.
    Height(u32),
}

impl BlockChoice {
    /// Parses a height, or a hash of 64 hex digits.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(height) = text.parse() {
            return Ok(Self::Height(height));
        }
        let hash = Hash::from_hex(text).map(Self::Hash);
        hash.ok_or_else(|| "expected a height or a hash of 64 hex digits".to_owned())
    }
}

/// Writes the dump of a block whose round is closed; returns the file's name. An existing file is not
/// changed.
///
/// # Errors
/// When the ledger has no such block, or the file cannot be written.
pub fn dump(db: &mut Db, which: BlockChoice, dir: &Path) -> anyhow::Result<String> {
    let found = db.read(|sql| {
        let network = super::network_of(sql)?;
        let hash = match which {
            BlockChoice::Hash(hash) => hash,
            BlockChoice::Height(height) => hash_at(sql, height)?,
        };
        Ok::<_, anyhow::Error>(read_dump(sql, network, &hash)?)
    })?;
    let (dump, _) = found.context("the ledger has no such block that has closed its round")?;
    let name = dump.file_name();
    write_dump(dir, &dump)
        .with_context(|| format!("failed to write {}", dir.join(&name).display()))?;
    Ok(name)
}

fn hash_at(sql: &mut dyn Sql, height: u32) -> anyhow::Result<Hash> {
    let hashes = sql.query(
        "SELECT hash FROM blocks WHERE height = ?1 AND closed_at IS NOT NULL ORDER BY hash",
        &values![height],
    )?;
    let [row] = &hashes[..] else {
        let hashes = hashes.iter().map(|row| row.get::<String>(0));
        let hashes = hashes.collect::<Result<Vec<_>, _>>()?;
        if hashes.is_empty() {
            bail!("the ledger has no block at height {height} that has closed its round");
        }
        bail!(
            "several blocks at height {height}: name one of {}",
            hashes.join(", ")
        );
    };
    let text: String = row.get(0)?;
    Hash::from_hex(&text).with_context(|| format!("not a hash: {text:?}"))
}
