//! Origins: the server's file that a row comes from, identified by 16 random bytes in the file and by a small
//! number in the shared ledger.
//!
//! A server is identified by those bytes, never by its name: two servers may have one name, and a copy of a
//! file may have another.

use postgres::GenericClient;

use crate::limits::ALIVE_MS;
use crate::sql::sqlite_schema::FileId;
use crate::sql::{NOW_MS, SqlError};

/// This server's own file, as the shared ledger knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnOrigin {
    /// Random id of the file.
    pub origin: FileId,
    /// Its number there, valid until the ledger is restored from a copy.
    pub number: i64,
}

/// Number of a file that is certainly our own; the origin gets our name.
///
/// # Errors
/// See [`SqlError`].
pub(crate) fn name(
    client: &mut impl GenericClient,
    origin: &FileId,
    label: &str,
) -> Result<i64, SqlError> {
    let statement = format!(
        "INSERT INTO origins (origin, label, sequence, seen_at_ms) VALUES ($1, $2, 0, {NOW_MS})
         ON CONFLICT (origin) DO UPDATE SET label = excluded.label, seen_at_ms = {NOW_MS}
         RETURNING id"
    );
    let row = client.query_one(&statement, &[&&origin[..], &label])?;
    Ok(row.try_get(0)?)
}

/// Number of a file that may belong to another server by now; an existing row is not changed.
///
/// # Errors
/// See [`SqlError`].
pub(crate) fn find(
    client: &mut impl GenericClient,
    origin: &FileId,
    label: &str,
) -> Result<i64, SqlError> {
    let insert = "INSERT INTO origins (origin, label, sequence, seen_at_ms) VALUES ($1, $2, 0, 0)
                  ON CONFLICT (origin) DO NOTHING";
    client.execute(insert, &[&&origin[..], &label])?;
    let row = client.query_one("SELECT id FROM origins WHERE origin = $1", &[&&origin[..]])?;
    Ok(row.try_get(0)?)
}

/// Records that this server continues its earlier files (those with our name that no server runs with), so
/// that nobody waits for what they have not shipped.
///
/// # Errors
/// See [`SqlError`].
pub(crate) fn succeed(
    client: &mut impl GenericClient,
    number: i64,
    earlier: &[FileId],
) -> Result<(), SqlError> {
    let earlier: Vec<&[u8]> = earlier.iter().map(|origin| &origin[..]).collect();
    let statement = format!(
        "UPDATE origins SET successor = $1
         WHERE origin = ANY($2) AND successor IS NULL AND id <> $1
           AND seen_at_ms < {NOW_MS} - {ALIVE_MS}
           AND label = (SELECT label FROM origins WHERE id = $1)"
    );
    client.execute(&statement, &[&number, &earlier])?;
    Ok(())
}
