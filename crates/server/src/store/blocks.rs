//! What the ledger knows of found blocks: their state, the round each closed, the dump it is owed.
//!
//! The first time that a block is on the main chain closes its round, in the same transaction. The
//! rules of what follows what are in `hstratum_core::ledger`.

use hstratum_core::address::Network;
use hstratum_core::event::{FoundBlock, Verdict};
use hstratum_core::ledger::{BlockState, Sighting};
use hstratum_core::units::{Hash, Height, Target};
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use super::ledger::{BlockChange, Cause, Located};
use super::sqlite::signed;
use crate::limits::{LOCATE_MAX, WATCHED_HEIGHTS};

/// A block that the ledger does not know yet.
pub(super) fn insert(
    tx: &Transaction,
    network: Network,
    block: &FoundBlock,
    account: Option<i64>,
    unix_s: i64,
) -> rusqlite::Result<()> {
    let target = Target::from_compact(block.bits);
    // Bits that stand for no target are in no block that a node takes.
    let difficulty = target.map_or(0.0, |target| target.difficulty().get());
    tx.prepare_cached(
        "INSERT OR IGNORE INTO blocks
         (hash, height, time, found_at, account, txid, address, reward, difficulty, state, changed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?4)",
    )?
    .execute((
        block.hash.to_string(),
        block.height.0,
        signed(block.time),
        unix_s,
        account,
        block.coinbase.txid().to_string(),
        block.coinbase.address().encode(network),
        signed(block.coinbase.value()),
        difficulty,
        BlockState::Found.name(),
    ))?;
    Ok(())
}

/// A row of the table, as far as it decides.
struct Known {
    height: Height,
    state: BlockState,
}

fn find(tx: &Transaction, hash: &Hash) -> rusqlite::Result<Option<Known>> {
    tx.prepare_cached("SELECT height, state FROM blocks WHERE hash = ?1")?
        .query_row([hash.to_string()], |row| {
            Ok(Known {
                height: Height(row.get(0)?),
                state: state_of(row, 1)?,
            })
        })
        .optional()
}

fn state_of(row: &Row, column: usize) -> rusqlite::Result<BlockState> {
    let name: String = row.get(column)?;
    // The table checks it.
    BlockState::from_name(&name).ok_or(rusqlite::Error::InvalidQuery)
}

/// The node's verdict.
pub(super) fn judge(
    tx: &Transaction,
    hash: &Hash,
    verdict: &Verdict,
    unix_s: i64,
) -> rusqlite::Result<Option<BlockChange>> {
    let Some(known) = find(tx, hash)? else {
        return Ok(None);
    };
    let to = known.state.after_verdict(verdict);
    let reason = match verdict {
        Verdict::Refused(reason) if to == BlockState::Refused => reason,
        _ => "",
    };
    change(tx, hash, &known, to, reason, Cause::Verdict, unix_s)
}

/// A look at the chain.
pub(super) fn sight(
    tx: &Transaction,
    network: Network,
    located: &Located,
    unix_s: i64,
) -> rusqlite::Result<Option<BlockChange>> {
    let Some(known) = find(tx, &located.hash)? else {
        return Ok(None);
    };
    let maturity = network.coinbase_maturity();
    let sighting = Sighting::of(located.on_main, known.height, located.tip, maturity);
    let to = known.state.after_sighting(sighting);
    change(tx, &located.hash, &known, to, "", Cause::Chain, unix_s)
}

fn change(
    tx: &Transaction,
    hash: &Hash,
    known: &Known,
    to: BlockState,
    reason: &str,
    cause: Cause,
    unix_s: i64,
) -> rusqlite::Result<Option<BlockChange>> {
    if to == known.state {
        return Ok(None);
    }
    tx.prepare_cached(
        "UPDATE blocks SET state = ?2, reason = ?3, changed_at = ?4 WHERE hash = ?1",
    )?
    .execute((hash.to_string(), to.name(), reason, unix_s))?;
    Ok(Some(BlockChange {
        hash: *hash,
        height: known.height,
        from: known.state,
        to,
        cause,
    }))
}

/// Closes the rounds of blocks that are on the main chain for the first time, the lowest first. A
/// round begins above the pool's last block below that is on the main chain, so that this comes
/// when all changes of the batch are made.
pub(super) fn close_rounds(
    tx: &Transaction,
    changes: &[BlockChange],
    unix_s: i64,
) -> rusqlite::Result<()> {
    let mut close = tx.prepare_cached(
        "UPDATE blocks SET closed_at = ?2, round_from = (
           SELECT coalesce(max(height) + 1, 0) FROM blocks
           WHERE height < ?3 AND state IN ('accepted', 'confirmed'))
         WHERE hash = ?1 AND closed_at IS NULL AND state IN ('accepted', 'confirmed')",
    )?;
    for change in changes {
        close.execute((change.hash.to_string(), unix_s, change.height.0))?;
    }
    Ok(())
}

/// The block's dump is on the disk.
pub(super) fn dumped(
    tx: &Transaction,
    hash: &Hash,
    effort: f64,
    unix_s: i64,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE blocks SET dumped_at = ?2, effort = ?3 WHERE hash = ?1 AND dumped_at IS NULL",
    )?
    .execute((hash.to_string(), unix_s, effort))?;
    Ok(())
}

/// Blocks whose place in the chain may still change: open ones at any height, the lowest first, and
/// all others not far below the tip.
pub(super) fn watched(conn: &Connection, tip: Height) -> rusqlite::Result<Vec<Hash>> {
    let mut statement = conn.prepare_cached(
        "SELECT hash FROM (SELECT hash FROM blocks WHERE state IN ('found', 'accepted')
           ORDER BY height LIMIT ?2)
         UNION ALL
         SELECT hash FROM (SELECT hash FROM blocks
           WHERE height >= ?1 AND state NOT IN ('found', 'accepted') ORDER BY height DESC LIMIT ?2)
         LIMIT ?2",
    )?;
    let lowest = tip.0.saturating_sub(WATCHED_HEIGHTS);
    let texts = statement.query_map((lowest, LOCATE_MAX), |row| row.get::<_, String>(0))?;
    let mut hashes = Vec::new();
    for text in texts {
        // Somebody else may have written a row that is none of ours.
        hashes.extend(Hash::from_hex(&text?));
    }
    Ok(hashes)
}
