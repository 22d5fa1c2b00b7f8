//! Which server's file something comes from: 16 random bytes in the file, a small number in the
//! shared ledger.

use postgres::GenericClient;

use crate::sql::SqlError;
use crate::store::schema::FileId;

/// The database's clock, in milliseconds: the one clock that all servers share.
pub(crate) const NOW_MS: &str = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";

/// The number of a file, which is known from now on.
///
/// # Errors
/// See [`SqlError`].
pub(crate) fn register(
    client: &mut impl GenericClient,
    origin: &FileId,
    label: &str,
) -> Result<i64, SqlError> {
    let statement = format!(
        "INSERT INTO origins (origin, label, sequence, seen_at_ms) VALUES ($1, $2, 0, {NOW_MS})
         ON CONFLICT (origin) DO UPDATE SET label = excluded.label RETURNING id"
    );
    let row = client.query_one(&statement, &[&&origin[..], &label])?;
    Ok(row.try_get(0)?)
}
