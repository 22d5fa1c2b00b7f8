//! What the ledger knows of found blocks: their state, the round each closed, the dump it is owed.
//!
//! The first time that a block is on the main chain closes its round, in the same transaction. The
//! rules of what follows what are in `hstratum_core::ledger`.

use hstratum_core::address::Network;
use hstratum_core::event::{FoundBlock, Verdict};
use hstratum_core::ledger::{BlockState, Sighting};
use hstratum_core::units::{Hash, Height, Target};

use super::ledger::{BlockChange, Cause, Located};
use crate::limits::{LOCATE_MAX, WATCHED_HEIGHTS};
use crate::sql::{Sql, SqlError};
use crate::values;

/// Who found a block.
#[derive(Debug, Clone, Copy)]
pub struct Finder {
    /// The row in `accounts` of whose share it was, where that is known.
    pub account: Option<i64>,
    /// The server; 0 in its own file.
    pub origin: i64,
}

/// A block that the ledger may not know yet.
///
/// # Errors
/// See [`SqlError`].
pub fn insert(
    sql: &mut dyn Sql,
    network: Network,
    block: &FoundBlock,
    finder: Finder,
    unix_s: i64,
) -> Result<(), SqlError> {
    let target = Target::from_compact(block.bits);
    // Bits that stand for no target are in no block that a node takes.
    let difficulty = target.map_or(0.0, |target| target.difficulty().get());
    sql.execute(
        "INSERT INTO blocks
         (hash, height, time, found_at, account, txid, address, reward, difficulty, state, changed_at,
          origin)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?4, ?11)
         ON CONFLICT (hash) DO NOTHING",
        &values![
            block.hash.to_string(),
            block.height.0,
            block.time,
            unix_s,
            finder.account,
            block.coinbase.txid().to_string(),
            block.coinbase.address().encode(network),
            block.coinbase.value(),
            difficulty,
            BlockState::Found.name(),
            finder.origin,
        ],
    )?;
    Ok(())
}

/// Whose rounds they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounds {
    /// This ledger's.
    Close,
    /// A shared one's, where they are closed.
    Leave,
}

/// Brings blocks to the states that follow from where they were seen, and then from what the node
/// said of them; closes the rounds of those that are on the main chain for the first time. Gives what
/// has changed, the lowest first.
///
/// # Errors
/// See [`SqlError`].
pub fn advance(
    sql: &mut dyn Sql,
    network: Network,
    located: &[Located],
    verdicts: &[(Hash, Verdict)],
    rounds: Rounds,
    unix_s: i64,
) -> Result<Vec<BlockChange>, SqlError> {
    let mut changes = Vec::new();
    for located in located {
        changes.extend(sight(sql, network, located, unix_s)?);
    }
    for (hash, verdict) in verdicts {
        changes.extend(judge(sql, hash, verdict, unix_s)?);
    }
    changes.sort_by_key(|change| change.height);
    if rounds == Rounds::Close {
        close_rounds(sql, &changes, unix_s)?;
    }
    Ok(changes)
}

/// A row of the table, as far as it decides.
struct Known {
    height: Height,
    state: BlockState,
}

fn find(sql: &mut dyn Sql, hash: &Hash) -> Result<Option<Known>, SqlError> {
    let known = "SELECT height, state FROM blocks WHERE hash = ?1";
    let Some(row) = sql.query_opt(known, &values![hash.to_string()])? else {
        return Ok(None);
    };
    let name: String = row.get(1)?;
    // The table checks it.
    let state = BlockState::from_name(&name)
        .ok_or_else(|| SqlError::Failed(format!("block {hash} is {name:?}")))?;
    let height = Height(row.get(0)?);
    Ok(Some(Known { height, state }))
}

/// The node's verdict.
fn judge(
    sql: &mut dyn Sql,
    hash: &Hash,
    verdict: &Verdict,
    unix_s: i64,
) -> Result<Option<BlockChange>, SqlError> {
    let Some(known) = find(sql, hash)? else {
        return Ok(None);
    };
    let to = known.state.after_verdict(verdict);
    let reason = match verdict {
        Verdict::Refused(reason) if to == BlockState::Refused => reason,
        _ => "",
    };
    change(sql, hash, &known, (to, reason), Cause::Verdict, unix_s)
}

/// A look at the chain.
fn sight(
    sql: &mut dyn Sql,
    network: Network,
    located: &Located,
    unix_s: i64,
) -> Result<Option<BlockChange>, SqlError> {
    let Some(known) = find(sql, &located.hash)? else {
        return Ok(None);
    };
    let maturity = network.coinbase_maturity();
    let sighting = Sighting::of(located.on_main, known.height, located.tip, maturity);
    let to = known.state.after_sighting(sighting);
    change(sql, &located.hash, &known, (to, ""), Cause::Chain, unix_s)
}

fn change(
    sql: &mut dyn Sql,
    hash: &Hash,
    known: &Known,
    (to, reason): (BlockState, &str),
    cause: Cause,
    unix_s: i64,
) -> Result<Option<BlockChange>, SqlError> {
    if to == known.state {
        return Ok(None);
    }
    sql.execute(
        "UPDATE blocks SET state = ?2, reason = ?3, changed_at = ?4 WHERE hash = ?1",
        &values![hash.to_string(), to.name(), reason, unix_s],
    )?;
    Ok(Some(BlockChange {
        hash: *hash,
        height: known.height,
        from: known.state,
        to,
        cause,
    }))
}

/// A round begins above the pool's last block below that is on the main chain, so that this comes
/// when all changes of the batch are made, the lowest first.
fn close_rounds(sql: &mut dyn Sql, changes: &[BlockChange], unix_s: i64) -> Result<(), SqlError> {
    for change in changes {
        sql.execute(
            "UPDATE blocks SET closed_at = ?2, round_from = (
               SELECT coalesce(max(height) + 1, 0) FROM blocks
               WHERE height < ?3 AND state IN ('accepted', 'confirmed'))
             WHERE hash = ?1 AND closed_at IS NULL AND state IN ('accepted', 'confirmed')",
            &values![change.hash.to_string(), unix_s, change.height.0],
        )?;
    }
    Ok(())
}

/// The block's dump is on a disk.
///
/// # Errors
/// See [`SqlError`].
pub fn dumped(sql: &mut dyn Sql, hash: &Hash, effort: f64, unix_s: i64) -> Result<(), SqlError> {
    sql.execute(
        "UPDATE blocks SET dumped_at = ?2, effort = ?3 WHERE hash = ?1 AND dumped_at IS NULL",
        &values![hash.to_string(), unix_s, effort],
    )?;
    Ok(())
}

/// Blocks whose place in the chain may still change: open ones at any height, the lowest first, and
/// all others not far below the tip.
///
/// # Errors
/// See [`SqlError`].
pub fn watched(sql: &mut dyn Sql, tip: Height) -> Result<Vec<Hash>, SqlError> {
    let lowest = tip.0.saturating_sub(WATCHED_HEIGHTS);
    let rows = sql.query(
        "SELECT hash FROM (SELECT hash FROM blocks WHERE state IN ('found', 'accepted')
           ORDER BY height LIMIT ?2) AS open
         UNION ALL
         SELECT hash FROM (SELECT hash FROM blocks
           WHERE height >= ?1 AND state NOT IN ('found', 'accepted') ORDER BY height DESC LIMIT ?2)
           AS others
         LIMIT ?2",
        &values![lowest, LOCATE_MAX],
    )?;
    let mut hashes = Vec::new();
    for row in rows {
        // Somebody else may have written a row that is none of ours.
        hashes.extend(Hash::from_hex(&row.get::<String>(0)?));
    }
    Ok(hashes)
}
