//! Writing of worker statistics into their tables.

use std::sync::Arc;

use hstratum_core::accounting::ledger::Tally;
use rusqlite::Transaction;

use super::group_commit::SPAN_S;
use super::late_statistics::late_hours;
use super::ledger::{Batch, TallyKey};
use super::ledger_status::LedgerStatus;
use super::share_tables::ShareTables;
use super::sqlite_ledger::{IdCache, Unknown};
use crate::sql::signed;

/// Writes worker statistics. Those of a worker without any accepted share are left out, and returned; with
/// its first share, all that were left out before are written.
pub(super) fn write<'a>(
    tx: &Transaction,
    ids: &mut IdCache,
    status: &LedgerStatus,
    batch: &'a Batch,
    tables: &ShareTables,
) -> rusqlite::Result<Vec<&'a (TallyKey, Tally)>> {
    let mut left_out = Vec::new();
    let mut starts = Vec::new();
    // Workers with an accepted share come first: the batch may also have their statistics from before it.
    let is_proven = |row: &&(TallyKey, Tally)| row.1.accepted.count > 0;
    let proven = batch.tallies.iter().filter(is_proven);
    let others = batch.tallies.iter().filter(|row| !is_proven(row));
    for row in proven.chain(others) {
        let ((start, account, worker), tally) = row;
        if !write_tally(ids, tx, (*start, account, worker), tally, tables)? {
            left_out.push(row);
            continue;
        }
        starts.push(signed(*start));
        if tally.accepted.count > 0 {
            for (start, earlier) in status.unproven_of(account, worker) {
                write_tally(ids, tx, (start, account, worker), &earlier, tables)?;
                starts.push(signed(start));
            }
        }
    }
    if let Some(add_late) = tables.add_late {
        for hour in late_hours(starts.into_iter(), batch.unix_s) {
            tx.prepare_cached(add_late)?.execute([hour])?;
        }
    }
    Ok(left_out)
}

/// Writes the statistics of one worker and span. A worker that never had a share accepted gets no rows, since
/// names cost nothing. Returns whether they were written.
fn write_tally(
    ids: &mut IdCache,
    tx: &Transaction,
    (start, account, worker): (u64, &Arc<str>, &str),
    tally: &Tally,
    tables: &ShareTables,
) -> rusqlite::Result<bool> {
    let unknown = match tally.accepted.count {
        0 => Unknown::LeaveOut,
        _ => Unknown::Insert,
    };
    let Some(account) = ids.account(tx, account, unknown)? else {
        return Ok(false);
    };
    let Some(worker) = ids.worker(tx, account, worker, unknown)? else {
        return Ok(false);
    };
    let (first, last) = tally.times.unwrap_or_default();
    tx.prepare_cached(tables.add_statistics)?.execute((
        signed(SPAN_S),
        signed(start),
        worker,
        signed(tally.accepted.count),
        tally.accepted.difficulty,
        signed(tally.stale.count),
        tally.stale.difficulty,
        signed(tally.low.count),
        tally.low.difficulty,
        signed(tally.duplicate.count),
        tally.duplicate.difficulty,
        signed(first),
        signed(last),
    ))?;
    if let Some(best) = tally.best {
        tx.prepare_cached(tables.set_best_share)?.execute((
            signed(SPAN_S),
            signed(start),
            worker,
            best.difficulty.get(),
            signed(best.unix_s),
        ))?;
    }
    Ok(true)
}
