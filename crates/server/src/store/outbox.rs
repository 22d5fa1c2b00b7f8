//! Outbox for the shared ledger: pending shares and statistics, and the batches that they are sealed into.
//!
//! A batch is immutable, has the next number of the file's origin, and a digest over itself and all before
//! it. Everything pending goes into one batch. So what an older copy of the file still has pending is a part
//! of the batch that the newer copy made of it, if the same run of the server gathered both. Only the
//! ledger's thread writes; the shipper reads.

use anyhow::ensure;
use hstratum_core::units::Hash;
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::batch_codec::{BatchBody, CreditRow, StatisticsRow};
use super::ledger::{Batch, BatchMark, OriginFork};
use super::shipper_exchange::SealedHead;
use crate::limits::{COMPACT_ROWS, OUTBOX_BYTES_MAX, OUTBOX_KEPT_S};

/// Random id of one run of a server.
pub type RunId = [u8; 16];

/// Digest of a batch and all before it; zeros before the first.
pub(crate) type Digest = [u8; 32];

/// State of the current origin in the ledger's thread.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    id: i64,
    sequence: i64,
    digest: Digest,
    run_id: RunId,
    /// Bytes of batches not known to be shipped.
    backlog: u64,
}

/// Result of an attempt to seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sealed {
    /// Everything that was pending is sealed.
    All,
    /// The backlog is too large, and everything stays pending.
    Full,
}

/// Prepares the file for a run of a server with a shared ledger. What an earlier run left pending is sealed
/// as its own batch, and so is credit of the ledger proper, which moves into the shared one.
///
/// # Errors
/// When the file has settlements of its own, or cannot be written.
pub(super) fn begin(tx: &Transaction, run_id: RunId, unix_s: i64) -> anyhow::Result<()> {
    let has_paid = "SELECT EXISTS (SELECT 1 FROM settlements)";
    let has_paid: bool = tx.query_row(has_paid, [], |row| row.get(0))?;
    ensure!(
        !has_paid,
        "it has settlements of its own, and a shared ledger takes in only what nobody was paid for: \
         pay what is owed, move the file away, and start with a new one (docs/operating.md)"
    );
    tx.execute(
        "INSERT INTO outbox_origins (origin, sequence, digest, shipped, life)
         SELECT origin, 0, zeroblob(32), 0, zeroblob(16) FROM meta
         WHERE NOT EXISTS (SELECT 1 FROM outbox_origins)",
        [],
    )?;
    let mut outbox = Outbox::load(tx)?;
    outbox.seal_all(tx, unix_s)?;
    // Rows of a server's own file belong to no other server.
    tx.execute_batch(
        "INSERT INTO pending_credit SELECT height, account, difficulty, count FROM credit;
         DELETE FROM credit;
         INSERT INTO pending_statistics SELECT span, start, worker, accepted, accepted_work,
           stale, stale_work, low, low_work, duplicate, duplicate_work, first_share, last_share,
           0, 0
           FROM statistics;
         DELETE FROM statistics;
         INSERT INTO pending_statistics SELECT 86400, at - at % 86400, worker, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
           difficulty, at
           FROM best_shares WHERE true
           ON CONFLICT DO UPDATE SET best_share = excluded.best_share, best_share_at = excluded.best_share_at;
         DELETE FROM best_shares;",
    )?;
    // Every copy of the file derives the same id for this batch, so that it is imported only once.
    outbox.run_id = adopted(&outbox.digest);
    outbox.seal_all(tx, unix_s)?;
    tx.execute(
        "UPDATE outbox_origins SET life = ?2 WHERE id = ?1",
        (outbox.id, run_id),
    )?;
    Ok(())
}

/// Id of the run for everything gathered while the file was not shared.
fn adopted(before: &Digest) -> RunId {
    let Hash(hash) = Hash::blake2b(&[b"not shared", before]);
    *hash.first_chunk().expect("a hash is longer")
}

/// Applies a batch's part for the shared ledger. Returns the progress of sealing if it was to seal.
pub(super) fn write(
    tx: &Transaction,
    known: &mut Option<Outbox>,
    batch: &Batch,
    unix_s: i64,
) -> rusqlite::Result<Option<SealedHead>> {
    if batch.shipped.is_empty() && batch.fork.is_none() && batch.seal.is_none() {
        return Ok(None);
    }
    let mut outbox = match known.take() {
        Some(outbox) => outbox,
        None => Outbox::load(tx)?,
    };
    for mark in &batch.shipped {
        outbox.shipped(tx, mark, unix_s)?;
    }
    if let Some(fork) = &batch.fork {
        outbox.fork_origin(tx, fork, unix_s)?;
    }
    let sealed = match batch.seal {
        None => None,
        Some(seal) => Some((seal.tip, outbox.seal(tx, unix_s)?)),
    };
    let head = SealedHead {
        last: outbox.head(),
        tip: match sealed {
            Some((tip, Sealed::All)) => tip,
            _ => None,
        },
        backlog: outbox.backlog(),
        is_full: matches!(sealed, Some((_, Sealed::Full))),
    };
    *known = Some(outbox);
    Ok(Some(head))
}

impl Outbox {
    pub(super) fn load(tx: &Connection) -> rusqlite::Result<Self> {
        let backlog: i64 = tx.query_row(
            "SELECT coalesce(sum(bytes), 0) FROM outbox WHERE shipped_at IS NULL",
            [],
            |row| row.get(0),
        )?;
        tx.query_row(
            "SELECT id, sequence, digest, life FROM outbox_origins ORDER BY id DESC LIMIT 1",
            [],
            |row| {
                Ok(Self {
                    id: row.get(0)?,
                    sequence: row.get(1)?,
                    digest: row.get(2)?,
                    run_id: row.get(3)?,
                    backlog: backlog.unsigned_abs(),
                })
            },
        )
    }

    /// The origin's number in the file, and its last batch.
    pub(super) fn head(&self) -> BatchMark {
        BatchMark {
            origin: self.id,
            sequence: self.sequence,
        }
    }

    /// Bytes of batches not known to be shipped.
    pub(super) fn backlog(&self) -> u64 {
        self.backlog
    }

    /// Seals what is pending into a batch, unless the backlog is too large.
    pub(super) fn seal(&mut self, tx: &Transaction, unix_s: i64) -> rusqlite::Result<Sealed> {
        if self.backlog >= OUTBOX_BYTES_MAX {
            return Ok(Sealed::Full);
        }
        self.seal_all(tx, unix_s)?;
        Ok(Sealed::All)
    }

    fn seal_all(&mut self, tx: &Transaction, unix_s: i64) -> rusqlite::Result<()> {
        let body = pending(tx)?;
        if body.is_empty() {
            return Ok(());
        }
        self.append(tx, &self.run_id.clone(), &body.encode(), unix_s)?;
        tx.execute("DELETE FROM pending_credit", [])?;
        tx.execute("DELETE FROM pending_statistics", [])?;
        Ok(())
    }

    fn append(
        &mut self,
        tx: &Transaction,
        run_id: &RunId,
        body: &[u8],
        unix_s: i64,
    ) -> rusqlite::Result<()> {
        self.sequence += 1;
        self.digest = digest(&self.digest, run_id, body);
        let id = tx
            .prepare_cached(
                "INSERT INTO outbox (origin, sequence, life, digest, sealed_at, bytes)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .insert((
                self.id,
                self.sequence,
                run_id,
                self.digest,
                unix_s,
                i64::try_from(body.len()).unwrap_or(i64::MAX),
            ))?;
        tx.prepare_cached("INSERT INTO outbox_bodies VALUES (?1, ?2)")?
            .execute((id, body))?;
        tx.prepare_cached("UPDATE outbox_origins SET sequence = ?2, digest = ?3 WHERE id = ?1")?
            .execute((self.id, self.sequence, self.digest))?;
        self.backlog += body.len() as u64;
        Ok(())
    }

    /// Records that batches up to this one are in the shared ledger.
    pub(super) fn shipped(
        &mut self,
        tx: &Transaction,
        mark: &BatchMark,
        unix_s: i64,
    ) -> rusqlite::Result<()> {
        let mut bytes = tx.prepare_cached(
            "SELECT coalesce(sum(bytes), 0) FROM outbox
             WHERE origin = ?1 AND sequence <= ?2 AND sequence > (
               SELECT shipped FROM outbox_origins WHERE id = ?1) AND shipped_at IS NULL",
        )?;
        let place = (mark.origin, mark.sequence);
        let bytes: i64 = bytes.query_row(place, |row| row.get(0))?;
        tx.prepare_cached(
            "UPDATE outbox SET shipped_at = ?3
             WHERE origin = ?1 AND sequence <= ?2 AND sequence > (
               SELECT shipped FROM outbox_origins WHERE id = ?1) AND shipped_at IS NULL",
        )?
        .execute((mark.origin, mark.sequence, unix_s))?;
        tx.prepare_cached("UPDATE outbox_origins SET shipped = max(shipped, ?2) WHERE id = ?1")?
            .execute(place)?;
        self.backlog = self.backlog.saturating_sub(bytes.unsigned_abs());
        Ok(())
    }

    /// Begins a new origin, because the shared ledger has other batches under the old one than this file.
    /// Batches above `fork.kept` are unknown there and move to the new origin; those up to it stay under
    /// the old one, in case that ledger is restored to an earlier state.
    pub(super) fn fork_origin(
        &mut self,
        tx: &Transaction,
        fork: &OriginFork,
        unix_s: i64,
    ) -> rusqlite::Result<()> {
        let done = tx
            .query_row(
                "SELECT 1 FROM outbox_origins WHERE origin = ?1",
                [fork.origin],
                |_| Ok(()),
            )
            .optional()?;
        if done.is_some() || fork.from != self.id {
            return Ok(());
        }
        let kept = BatchMark {
            origin: self.id,
            sequence: fork.kept,
        };
        self.shipped(tx, &kept, unix_s)?;
        let old = self.id;
        tx.execute(
            "INSERT INTO outbox_origins (origin, sequence, digest, shipped, life)
             VALUES (?1, 0, zeroblob(32), 0, ?2)",
            (fork.origin, self.run_id),
        )?;
        let backlog = self.backlog;
        *self = Self {
            id: tx.last_insert_rowid(),
            sequence: 0,
            digest: Digest::default(),
            ..*self
        };
        let mut ours = tx.prepare(
            "SELECT id, life, body FROM outbox JOIN outbox_bodies USING (id)
             WHERE origin = ?1 AND sequence > ?2 ORDER BY sequence",
        )?;
        let mut rows = ours.query((old, fork.kept))?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let run_id: RunId = row.get(1)?;
            let body = row.get_ref(2)?.as_blob()?;
            self.sequence += 1;
            self.digest = digest(&self.digest, &run_id, body);
            tx.execute(
                "UPDATE outbox SET origin = ?2, sequence = ?3, digest = ?4 WHERE id = ?1",
                (id, self.id, self.sequence, self.digest),
            )?;
        }
        tx.execute(
            "UPDATE outbox_origins SET sequence = ?2, digest = ?3 WHERE id = ?1",
            (self.id, self.sequence, self.digest),
        )?;
        tx.execute(
            "UPDATE outbox_origins SET sequence = ?2, digest = coalesce(
               (SELECT digest FROM outbox WHERE origin = ?1 AND sequence = ?2), digest)
             WHERE id = ?1",
            (old, fork.kept),
        )?;
        self.backlog = backlog;
        Ok(())
    }
}

pub(crate) fn digest(before: &Digest, run_id: &RunId, body: &[u8]) -> Digest {
    Hash::blake2b(&[before, run_id, body]).0
}

/// All pending rows.
fn pending(tx: &Transaction) -> rusqlite::Result<BatchBody> {
    let mut credit = tx.prepare_cached(
        "SELECT height, account, difficulty, count FROM pending_credit
         ORDER BY height, account, difficulty",
    )?;
    let credit = credit.query_map([], |row| {
        Ok(CreditRow {
            height: row.get(0)?,
            account: row.get(1)?,
            difficulty: row.get(2)?,
            count: row.get(3)?,
        })
    })?;
    let mut heights = tx.prepare_cached(
        "SELECT height, difficulty FROM heights
         WHERE height IN (SELECT height FROM pending_credit) ORDER BY height",
    )?;
    let heights = heights.query_map([], |row| row.try_into())?;
    let mut statistics = tx.prepare_cached(
        "SELECT span, start, worker, accepted, accepted_work, stale, stale_work, low, low_work,
           duplicate, duplicate_work, first_share, last_share, best_share, best_share_at
           FROM pending_statistics ORDER BY span, start, worker",
    )?;
    let statistics = statistics.query_map([], |row| {
        let work = |column| -> rusqlite::Result<(i64, f64)> {
            Ok((row.get(column)?, row.get(column + 1)?))
        };
        Ok(StatisticsRow {
            span: row.get(0)?,
            start: row.get(1)?,
            worker: row.get(2)?,
            works: [work(3)?, work(5)?, work(7)?, work(9)?],
            times: (row.get(11)?, row.get(12)?),
            best: (row.get(13)?, row.get(14)?),
        })
    })?;
    Ok(BatchBody {
        heights: heights.collect::<rusqlite::Result<_>>()?,
        credit: credit.collect::<rusqlite::Result<_>>()?,
        statistics: statistics.collect::<rusqlite::Result<_>>()?,
    })
}

/// Deletes a slice of the batches shipped long ago; returns how many.
pub(super) fn prune(tx: &Transaction, unix_s: i64) -> rusqlite::Result<usize> {
    let mut old = tx.prepare_cached(
        "SELECT id FROM (SELECT id, shipped_at FROM outbox ORDER BY id LIMIT ?2)
         WHERE shipped_at < ?1",
    )?;
    let ids: Vec<i64> = old
        .query_map((unix_s - OUTBOX_KEPT_S, COMPACT_ROWS), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in &ids {
        tx.prepare_cached("DELETE FROM outbox_bodies WHERE id = ?1")?
            .execute([id])?;
        tx.prepare_cached("DELETE FROM outbox WHERE id = ?1")?
            .execute([id])?;
    }
    Ok(ids.len())
}

/// True if anything is pending or sealed that is not known to be shipped.
pub(super) fn is_owing(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM pending_credit) OR EXISTS (SELECT 1 FROM pending_statistics)
           OR EXISTS (SELECT 1 FROM outbox_origins WHERE shipped < sequence)",
        [],
        |row| row.get(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::sqlite_schema;

    const DAY: i64 = 86_400;

    fn ledger() -> Connection {
        let conn = Connection::open_in_memory().expect("opened");
        sqlite_schema::create(&conn, "regtest", [7; 16], 1).expect("made");
        conn.execute_batch("INSERT INTO accounts (name) VALUES ('alice')")
            .expect("written");
        conn
    }

    fn add(tx: &Transaction, count: i64) {
        tx.execute(
            "INSERT INTO pending_credit VALUES (1, 1, 1.0, ?1)
             ON CONFLICT DO UPDATE SET count = count + excluded.count",
            [count],
        )
        .expect("added");
    }

    fn number(tx: &Transaction, sql: &str) -> i64 {
        tx.query_row(sql, [], |row| row.get(0)).expect("read")
    }

    #[test]
    fn what_finds_no_room_stays_pending_until_there_is() {
        let mut conn = ledger();
        let tx = conn.transaction().expect("begun");
        begin(&tx, [1; 16], 5).expect("begun");
        let mut outbox = Outbox::load(&tx).expect("read");
        add(&tx, 3);
        assert_eq!(outbox.seal(&tx, 6), Ok(Sealed::All));
        outbox.backlog += OUTBOX_BYTES_MAX;
        add(&tx, 4);
        assert_eq!(outbox.seal(&tx, 7), Ok(Sealed::Full));
        assert_eq!(number(&tx, "SELECT count FROM pending_credit"), 4);
        outbox.backlog -= OUTBOX_BYTES_MAX;
        let first = outbox.head();
        outbox.shipped(&tx, &first, 8).expect("marked");
        assert_eq!(outbox.backlog(), 0);
        assert_eq!(outbox.seal(&tx, 9), Ok(Sealed::All));
        assert_eq!(outbox.head().sequence, 2);
        assert!(outbox.backlog() > 0 && is_owing(&tx).expect("read"));
        assert_eq!(Outbox::load(&tx).expect("read").backlog, outbox.backlog);
    }

    #[test]
    fn batches_are_kept_for_a_week_after_they_were_shipped() {
        let mut conn = ledger();
        let tx = conn.transaction().expect("begun");
        begin(&tx, [1; 16], 5).expect("begun");
        let mut outbox = Outbox::load(&tx).expect("read");
        for day in 0..3 {
            add(&tx, 1);
            outbox.seal_all(&tx, day * DAY).expect("sealed");
        }
        let second = BatchMark {
            sequence: 2,
            ..outbox.head()
        };
        outbox.shipped(&tx, &second, 10 * DAY).expect("marked");
        let left = "SELECT count(*) FROM outbox JOIN outbox_bodies USING (id)";
        assert_eq!(prune(&tx, 17 * DAY).expect("pruned"), 0);
        assert_eq!(number(&tx, left), 3);
        assert_eq!(prune(&tx, 17 * DAY + 1).expect("pruned"), 2);
        assert_eq!(number(&tx, left), 1);
        assert_eq!(prune(&tx, 99 * DAY).expect("pruned"), 0);
    }

    #[test]
    fn parting_moves_what_is_new_once() {
        let mut conn = ledger();
        let tx = conn.transaction().expect("begun");
        begin(&tx, [1; 16], 5).expect("begun");
        let mut outbox = Outbox::load(&tx).expect("read");
        for count in 1..=3 {
            add(&tx, count);
            outbox.seal_all(&tx, count).expect("sealed");
        }
        let fork = OriginFork {
            from: outbox.head().origin,
            kept: 1,
            origin: [9; 16],
        };
        for _ in 0..2 {
            outbox.fork_origin(&tx, &fork, 9).expect("parted");
            let reloaded = Outbox::load(&tx).expect("read");
            assert_eq!(
                (reloaded.head(), reloaded.digest),
                (outbox.head(), outbox.digest)
            );
            assert_eq!(reloaded.backlog, outbox.backlog);
        }
        let read = "SELECT group_concat(origin || '.' || sequence, ' ') FROM (
                    SELECT * FROM outbox ORDER BY id)";
        let rows: String = tx.query_row(read, [], |row| row.get(0)).expect("read");
        assert_eq!(rows, "1.1 2.1 2.2");
        assert_eq!(
            number(&tx, "SELECT sequence FROM outbox_origins WHERE id = 1"),
            1
        );
    }
}
