//! Found blocks in the ledger: their state, the round that each closed, and whether its share dump is still
//! owed.
//!
//! A block closes its round when a look at the chain finds it on the main chain for the first time, in the
//! same transaction. A block that pays its finder (`payout` is 'solo') closes none and ends none: its
//! reward is nobody else's. One that pays accounts is recorded with its split: `frozen_splits`. The state transitions are in `hstratum_core::accounting::ledger`; how much a node's word
//! counts is in `best_tip`.

use hstratum_core::accounting::ledger::{BlockState, Knowledge, Sighting, Verdict};
use hstratum_core::chain::address::Network;
use hstratum_core::chain::block::{BlockSplit, FoundBlock};
use hstratum_core::units::{Hash, Height, Target};

use super::best_tip;
use super::frozen_splits;
use super::ledger::{Advanced, BlockChange, Cause};
use crate::limits::{LOCATE_MAX, LOCATE_OPEN_MAX, LOCATE_REST_MAX, WATCHED_HEIGHTS};
use crate::node::{BlockQuery, Look};
use crate::sql::{Row, Sql, SqlError};
use crate::values;

/// The finder of a block.
#[derive(Debug, Clone, Copy)]
pub struct Finder {
    /// Row in `accounts` of the account whose share it was, if known.
    pub account: Option<i64>,
    /// Number of the server that found it; 0 in a server's own file.
    pub origin: i64,
}

/// Inserts a block, with its split, unless the ledger already has it.
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
    // Bits that encode no target occur in no block that a node accepts.
    let difficulty = target.map_or(0.0, |target| target.difficulty().get());
    let split = block.split.as_ref().map(BlockSplit::record);
    let reward = split
        .as_ref()
        .map_or(block.coinbase.value(), |split| split.reward);
    let inserted = sql.execute(
        "INSERT INTO blocks
         (hash, height, time, found_at, account, txid, address, reward, difficulty, state, changed_at,
          origin, payout)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?4, ?11, ?12)
         ON CONFLICT (hash) DO NOTHING",
        &values![
            block.hash.to_string(),
            block.height.0,
            block.time,
            unix_s,
            finder.account,
            block.coinbase.txid().to_string(),
            block.coinbase.address().encode(network),
            reward,
            difficulty,
            BlockState::Found.name(),
            finder.origin,
            block.payout.name(),
        ],
    )?;
    if let Some(split) = split.filter(|_| inserted == 1) {
        let (hash, txid) = (block.hash.to_string(), block.coinbase.txid().to_string());
        frozen_splits::write(sql, network, (&hash, &txid), &split, unix_s)?;
    }
    Ok(())
}

/// Treatment of rounds by [`advance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounds {
    /// Close them: they are of this ledger.
    Close,
    /// Leave them open: a shared ledger closes them.
    Leave,
}

/// Moves blocks to the states that follow from the looks at the chain, then from the node's verdicts, and
/// closes the rounds of those seen on the main chain for the first time. A look counts only if the node is
/// synchronized and knows at least as much chain work as this ledger was ever shown. Returns the changes,
/// lowest height first.
///
/// # Errors
/// See [`SqlError`].
pub fn advance(
    sql: &mut dyn Sql,
    network: Network,
    looks: &[Look],
    verdicts: &[(Hash, Verdict)],
    rounds: Rounds,
    unix_s: i64,
) -> Result<Advanced, SqlError> {
    let mut done = Advanced::default();
    let mut open = Vec::new();
    for look in looks {
        let knowledge = best_tip::weigh(sql, &look.view, unix_s)?;
        done.knowledge = Some(knowledge);
        if knowledge != Knowledge::Enough {
            continue;
        }
        for place in &look.places {
            let seen = sight(sql, network, look.view.tip.height, place, unix_s)?;
            let Some((known, sighting, change)) = seen else {
                continue;
            };
            done.changes.extend(change);
            if sighting.is_answer() {
                done.answered.push(place.0);
            }
            if !known.is_closed && place.1 == Some(place.0) {
                open.push((known.height, place.0));
            }
        }
    }
    for (hash, verdict) in verdicts {
        done.changes.extend(judge(sql, hash, verdict, unix_s)?);
    }
    done.changes.sort_by_key(|change| change.height);
    if rounds == Rounds::Close {
        open.sort_unstable();
        close_rounds(sql, &open, unix_s)?;
    }
    Ok(done)
}

/// The columns of a block's row that decide its next state.
struct BlockRow {
    height: Height,
    state: BlockState,
    /// Its round is closed.
    is_closed: bool,
    /// It is lost for good.
    is_final: bool,
}

fn find(sql: &mut dyn Sql, hash: &Hash) -> Result<Option<BlockRow>, SqlError> {
    let known = "SELECT height, state, closed_at, final_at FROM blocks WHERE hash = ?1";
    let Some(row) = sql.query_opt(known, &values![hash.to_string()])? else {
        return Ok(None);
    };
    let name: String = row.get(1)?;
    // The table's CHECK constraint admits only known names.
    let state = BlockState::from_name(&name)
        .ok_or_else(|| SqlError::Failed(format!("block {hash} is {name:?}")))?;
    Ok(Some(BlockRow {
        height: Height(row.get(0)?),
        state,
        is_closed: row.get::<Option<i64>>(2)?.is_some(),
        is_final: row.get::<Option<i64>>(3)?.is_some(),
    }))
}

/// Applies the node's verdict to one block.
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

/// Applies a look at one block, by a node that knows enough work.
fn sight(
    sql: &mut dyn Sql,
    network: Network,
    tip: Height,
    (hash, there): &(Hash, Option<Hash>),
    unix_s: i64,
) -> Result<Option<(BlockRow, Sighting, Option<BlockChange>)>, SqlError> {
    let Some(known) = find(sql, hash)? else {
        return Ok(None);
    };
    let maturity = network.coinbase_maturity();
    let sighting = Sighting::of((hash, known.height), there.as_ref(), tip, maturity);
    let to = known.state.after_sighting(sighting);
    let change = change(sql, hash, &known, (to, ""), Cause::Chain, unix_s)?;
    let is_lost = matches!(to, BlockState::Orphaned | BlockState::Refused);
    if is_lost && sighting == Sighting::Gone && !known.is_final {
        sql.execute(
            "UPDATE blocks SET final_at = ?2 WHERE hash = ?1",
            &values![hash.to_string(), unix_s],
        )?;
        frozen_splits::revoke(sql, hash, unix_s)?;
    }
    Ok(Some((known, sighting, change)))
}

fn change(
    sql: &mut dyn Sql,
    hash: &Hash,
    known: &BlockRow,
    (to, reason): (BlockState, &str),
    cause: Cause,
    unix_s: i64,
) -> Result<Option<BlockChange>, SqlError> {
    if to == known.state {
        return Ok(None);
    }
    sql.execute(
        "UPDATE blocks SET state = ?2, reason = ?3, changed_at = ?4, final_at = NULL
         WHERE hash = ?1",
        &values![hash.to_string(), to.name(), reason, unix_s],
    )?;
    if to == BlockState::Confirmed {
        frozen_splits::enforce(sql, hash, unix_s)?;
    }
    Ok(Some(BlockChange {
        hash: *hash,
        height: known.height,
        from: known.state,
        to,
        cause,
    }))
}

/// Closes the rounds of blocks, lowest height first, after all changes of the batch: a round begins above the
/// pool's previous block on the main chain, which the same batch may have changed. Called only for looks,
/// never for a verdict, because a look covers lower blocks as well.
fn close_rounds(sql: &mut dyn Sql, seen: &[(Height, Hash)], unix_s: i64) -> Result<(), SqlError> {
    for (height, hash) in seen {
        sql.execute(
            "UPDATE blocks SET closed_at = ?2, round_from = (
               SELECT coalesce(max(height) + 1, 0) FROM blocks
               WHERE height < ?3 AND state IN ('accepted', 'confirmed') AND payout <> 'solo')
             WHERE hash = ?1 AND closed_at IS NULL AND state IN ('accepted', 'confirmed')
               AND payout <> 'solo'",
            &values![hash.to_string(), unix_s, height.0],
        )?;
    }
    Ok(())
}

/// Records that the block's share dump is on a disk.
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

/// Blocks that their finder's node accepted to the main chain but that no look has found there yet.
///
/// # Errors
/// See [`SqlError`].
pub fn unclosed(sql: &mut dyn Sql) -> Result<Vec<Hash>, SqlError> {
    let rows = sql.query(
        "SELECT hash FROM blocks
         WHERE state = 'accepted' AND closed_at IS NULL AND payout <> 'solo'
         ORDER BY height, hash LIMIT ?1",
        &values![LOCATE_OPEN_MAX],
    )?;
    let hashes = rows.iter().map(|row| row.get::<String>(0));
    hashes
        .filter_map(|text| text.map(|text| Hash::from_hex(&text)).transpose())
        .collect()
}

/// Positions of [`watched`] in the blocks that take turns, kept as long as the ledger is open.
#[derive(Debug, Default)]
pub struct WatchTurns {
    open: Option<(i64, String)>,
    rest: Option<(i64, String)>,
}

/// SQL condition for open blocks: not answered, not deep enough, or lost but not for good.
const OPEN: &str = "(state IN ('found', 'accepted')
    OR (state IN ('orphaned', 'refused') AND final_at IS NULL))";

/// Blocks that the node is asked about next: all open ones at any height, all others not far below the tip,
/// and a few of the rest. Those beyond the limits take turns in later questions.
///
/// # Errors
/// See [`SqlError`].
pub fn watched(
    sql: &mut dyn Sql,
    tip: Height,
    turns: &mut WatchTurns,
) -> Result<Vec<BlockQuery>, SqlError> {
    let lowest = tip.0.saturating_sub(WATCHED_HEIGHTS);
    let mut rows = turn(sql, OPEN, LOCATE_OPEN_MAX, &mut turns.open)?;
    rows.extend(sql.query(
        &format!(
            "SELECT height, hash FROM blocks WHERE height >= ?1 AND NOT {OPEN}
             ORDER BY height DESC LIMIT ?2"
        ),
        &values![lowest, LOCATE_MAX - LOCATE_OPEN_MAX - LOCATE_REST_MAX],
    )?);
    let rest = format!("height < {lowest} AND NOT {OPEN}");
    rows.extend(turn(sql, &rest, LOCATE_REST_MAX, &mut turns.rest)?);
    let mut asked = Vec::with_capacity(rows.len());
    for row in rows {
        // Another program may have written a malformed row.
        if let Some(hash) = Hash::from_hex(&row.get::<String>(1)?) {
            asked.push((hash, Height(row.get(0)?)));
        }
    }
    Ok(asked)
}

/// The next rows after the last turn's end, starting again from the lowest at the end of the table.
fn turn(
    sql: &mut dyn Sql,
    which: &str,
    most: i64,
    last: &mut Option<(i64, String)>,
) -> Result<Vec<Row>, SqlError> {
    let (height, hash) = last.take().unwrap_or((-1, String::new()));
    let from = |sql: &mut dyn Sql, above: &str, most: i64| {
        sql.query(
            &format!(
                "SELECT height, hash FROM blocks WHERE {which} AND {above}
                 ORDER BY height, hash LIMIT ?3"
            ),
            &values![height, &hash, most],
        )
    };
    let mut rows = from(sql, "(height > ?1 OR (height = ?1 AND hash > ?2))", most)?;
    let left = most - i64::try_from(rows.len()).unwrap_or(most);
    if left > 0 && height >= 0 {
        rows.extend(from(
            sql,
            "(height < ?1 OR (height = ?1 AND hash <= ?2))",
            left,
        )?);
    }
    if left == 0
        && let Some(row) = rows.last()
    {
        *last = Some((row.get(0)?, row.get(1)?));
    }
    Ok(rows)
}
