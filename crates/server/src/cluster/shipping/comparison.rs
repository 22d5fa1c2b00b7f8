//! Comparison of the batches in a server's file with those in the shared ledger, read from both.

use postgres::Client;
use rusqlite::{Connection, OptionalExtension};

use crate::clock::unix_s;
use crate::cluster::shipping::reconcile::{BatchHead, Compared, FileBatch, agreed};
use crate::limits::{FORGETTING_S, SHARED_BATCHES_KEPT_S};
use crate::sql::SqlError;
use crate::sql::sqlite_schema::FileId;
use crate::store::outbox::{Digest, RunId};

/// One of the file's origins.
pub(crate) struct Ours {
    /// Its number in the file.
    pub id: i64,
    pub origin: FileId,
    pub sequence: i64,
    digest: Digest,
    pub is_current: bool,
}

/// The origins of the file, oldest first.
pub(crate) fn origins(file: &Connection) -> anyhow::Result<Vec<Ours>> {
    let mut read =
        file.prepare_cached("SELECT id, origin, sequence, digest FROM outbox_origins ORDER BY id")?;
    let rows = read.query_map([], |row| {
        Ok(Ours {
            id: row.get(0)?,
            origin: row.get(1)?,
            sequence: row.get(2)?,
            digest: row.get(3)?,
            is_current: false,
        })
    })?;
    let mut origins = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    if let Some(last) = origins.last_mut() {
        last.is_current = true;
    }
    Ok(origins)
}

/// State of one origin in the file and in the shared ledger.
pub(crate) fn compared(
    file: &Connection,
    client: &mut Client,
    ours: &Ours,
    shared: i64,
) -> anyhow::Result<Compared> {
    let row = client
        .query_one("SELECT sequence FROM origins WHERE id = $1", &[&shared])
        .map_err(SqlError::from)?;
    let theirs: i64 = row.get(0);
    let agreed = agreed(ours.sequence.min(theirs), |sequence| {
        let other = seen_there(client, shared, sequence)?;
        anyhow::Ok((own(file, ours, sequence)?, other.map(|seen| seen.digest)))
    })?;
    let kept_from = file.query_row(
        "SELECT min(sequence) FROM outbox WHERE origin = ?1 AND sequence > ?2",
        (ours.id, agreed),
        |row| row.get(0),
    )?;
    Ok(Compared {
        ours: ours.sequence,
        theirs,
        agreed,
        agreed_run: seen_here(file, ours.id, agreed)?.map(|seen| seen.run_id),
        kept_from,
        next_runs: (
            seen_here(file, ours.id, agreed + 1)?.map(|seen| seen.run_id),
            life_there(client, shared, agreed + 1, theirs)?,
        ),
        is_current: ours.is_current,
    })
}

/// The file's record of a batch; of the last one there always is one.
fn own(file: &Connection, ours: &Ours, sequence: i64) -> rusqlite::Result<Option<FileBatch>> {
    let old_s = unix_s().cast_signed() - SHARED_BATCHES_KEPT_S + FORGETTING_S;
    let kept = file
        .prepare_cached(
            "SELECT digest, sealed_at < ?3 FROM outbox WHERE origin = ?1 AND sequence = ?2",
        )?
        .query_row((ours.id, sequence, old_s), |row| {
            Ok(FileBatch {
                digest: row.get(0)?,
                is_old: row.get(1)?,
            })
        })
        .optional()?;
    let last = (sequence == ours.sequence).then_some(FileBatch {
        digest: ours.digest,
        is_old: true,
    });
    Ok(kept.or(last))
}

fn seen_here(file: &Connection, origin: i64, sequence: i64) -> rusqlite::Result<Option<BatchHead>> {
    file.prepare_cached("SELECT digest, life FROM outbox WHERE origin = ?1 AND sequence = ?2")?
        .query_row((origin, sequence), |row| {
            Ok(BatchHead {
                digest: row.get(0)?,
                run_id: row.get(1)?,
            })
        })
        .optional()
}

fn seen_there(
    client: &mut Client,
    origin: i64,
    sequence: i64,
) -> Result<Option<BatchHead>, SqlError> {
    let row = client.query_opt(
        "SELECT digest, life FROM batches WHERE origin = $1 AND sequence = $2",
        &[&origin, &sequence],
    )?;
    // A digest of another length belongs to none of our batches.
    let seen = row.map(|row| BatchHead {
        digest: row.get::<_, &[u8]>(0).try_into().unwrap_or_default(),
        run_id: row.get::<_, &[u8]>(1).try_into().unwrap_or_default(),
    });
    Ok(seen)
}

/// Id of the run that gathered a batch, found by the first batch of each run, which is never deleted.
fn life_there(
    client: &mut Client,
    origin: i64,
    sequence: i64,
    last: i64,
) -> Result<Option<RunId>, SqlError> {
    if sequence > last {
        return Ok(None);
    }
    let row = client.query_opt(
        "SELECT life FROM batches WHERE origin = $1 AND sequence <= $2
         ORDER BY sequence DESC LIMIT 1",
        &[&origin, &sequence],
    )?;
    Ok(row.map(|row| row.get::<_, &[u8]>(0).try_into().unwrap_or_default()))
}
