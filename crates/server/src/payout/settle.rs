//! Writing settlements.
//!
//! A settlement of thousands of accounts is written in slices as 'preparing', which counts for
//! nothing, and comes into force in one small transaction that looks again whether the block is
//! still due. What an interrupted run left is deleted and begun anew.

use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use hstratum_core::address::Network;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::Terms;
use super::account::Accounts;
use super::due::{self, Division, amount, divide};
use crate::limits::PAYOUT_ROWS_PER_TRANSACTION;

/// How often a turn to write is looked for, and for how long.
const TURN_PERIOD: Duration = Duration::from_micros(500);
const TURN_WAIT_MAX: Duration = Duration::from_secs(30);

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The block's reward is divided.
    Settled,
    /// The block is lost, and with it what was credited for it.
    Reversed,
}

/// A settlement that was written or reversed. Amounts in base units; credited + fee + remainder =
/// reward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Its row in `settlements`.
    pub id: i64,
    /// What became of it.
    pub change: Change,
    /// The block's hash, 64 hex digits.
    pub block: String,
    /// The block's height.
    pub height: u32,
    /// What the block paid.
    pub reward: u64,
    /// The pool's fee.
    pub fee: u64,
    /// What nobody had earned.
    pub remainder: u64,
    /// What accounts were credited.
    pub credited: u64,
    /// How many of them.
    pub accounts: u64,
}

/// Reverses the settlements of lost blocks and settles every block that is due. The caller holds
/// the payout lock.
///
/// # Errors
/// When the ledger cannot be read or written, or the chain changed under a settlement. What was
/// settled before stays settled, and the call may be repeated.
pub fn settle(
    conn: &mut Connection,
    network: Network,
    terms: &Terms,
    now_unix_s: u64,
) -> anyhow::Result<Vec<Settled>> {
    check_network(conn, network)?;
    while let Some(id) = leftover(conn)? {
        discard(conn, id)?;
    }
    let mut done = Vec::new();
    for settlement in reversible(conn)? {
        done.extend(reverse(conn, settlement)?);
    }
    while let Some((division, accounts)) = next(conn, terms)? {
        done.push(write(conn, terms, &division, &accounts, now_unix_s)?);
    }
    Ok(done)
}

/// A ledger knows one network; addresses are judged by it.
pub(super) fn check_network(conn: &Connection, network: Network) -> anyhow::Result<()> {
    let name: String = conn
        .query_row("SELECT network FROM meta", [], |row| row.get(0))
        .context("failed to read the ledger's network")?;
    if name != network.name() {
        bail!("the ledger is of {name:?}, not of {}", network.name());
    }
    Ok(())
}

/// Settlements whose block is not on the main chain any more. What was paid by other means stays
/// paid.
pub(super) fn reversible(conn: &Connection) -> anyhow::Result<Vec<Settled>> {
    let mut statement = conn.prepare(
        "SELECT s.id, s.block, b.height, s.reward, s.fee, s.remainder,
                (SELECT coalesce(sum(amount), 0) FROM settlement_credits WHERE settlement = s.id),
                (SELECT count(*) FROM settlement_credits WHERE settlement = s.id)
           FROM settlements AS s JOIN blocks AS b ON b.hash = s.block
          WHERE s.state = 'settled' AND s.scheme <> 'elsewhere'
            AND b.state IN ('orphaned', 'refused')
          ORDER BY b.height DESC, s.id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Settled {
            id: row.get(0)?,
            change: Change::Reversed,
            block: row.get(1)?,
            height: row.get(2)?,
            reward: amount(row, 3)?,
            fee: amount(row, 4)?,
            remainder: amount(row, 5)?,
            credited: amount(row, 6)?,
            accounts: amount(row, 7)?,
        })
    })?;
    rows.collect::<Result<_, _>>()
        .context("failed to read the settlements")
}

/// `None` if the block has come back meanwhile.
fn reverse(conn: &mut Connection, settlement: Settled) -> anyhow::Result<Option<Settled>> {
    let tx = immediate(conn)?;
    let changed = tx
        .execute(
            "UPDATE settlements SET state = 'reversed' WHERE id = ?1 AND state = 'settled'
                AND (SELECT state FROM blocks WHERE hash = block) IN ('orphaned', 'refused')",
            [settlement.id],
        )
        .with_context(|| format!("failed to reverse settlement {}", settlement.id))?;
    tx.commit()?;
    Ok((changed == 1).then_some(settlement))
}

/// The lowest block that is due, divided.
fn next(conn: &mut Connection, terms: &Terms) -> anyhow::Result<Option<(Division, Accounts)>> {
    let snapshot = conn.transaction()?;
    let (due, _) = due::unsettled(&snapshot)?;
    let Some(block) = due.into_iter().next() else {
        return Ok(None);
    };
    let accounts = Accounts::read(&snapshot)?;
    let division = divide(&snapshot, &accounts, terms, block)?;
    Ok(Some((division, accounts)))
}

fn write(
    conn: &mut Connection,
    terms: &Terms,
    division: &Division,
    accounts: &Accounts,
    now_unix_s: u64,
) -> anyhow::Result<Settled> {
    let hash = &division.block.hash;
    let context = || format!("failed to settle block {hash}");
    let id = begin(conn, terms, division, now_unix_s).with_context(context)?;
    credit(conn, id, division, accounts).with_context(context)?;
    let tx = immediate(conn)?;
    if due::still_holds(&tx, division)? {
        tx.execute(
            "UPDATE settlements SET state = 'settled' WHERE id = ?1",
            [id],
        )
        .with_context(context)?;
        tx.commit().with_context(context)?;
    } else {
        drop(tx);
        discard(conn, id)?;
        bail!("the chain changed while block {hash} was settled: run it again");
    }
    let (split, block) = (&division.split, &division.block);
    Ok(Settled {
        id,
        change: Change::Settled,
        block: hash.clone(),
        height: block.height,
        reward: block.reward,
        fee: split.fee,
        remainder: split.remainder,
        credited: split.amounts.values().sum(),
        accounts: split.amounts.len() as u64,
    })
}

/// Writes what is divided, without its parts.
fn begin(
    conn: &mut Connection,
    terms: &Terms,
    division: &Division,
    now_unix_s: u64,
) -> anyhow::Result<i64> {
    let (split, block) = (&division.split, &division.block);
    let tx = immediate(conn)?;
    tx.execute(
        "INSERT INTO settlements (block, state, scheme, window, fee_ppm, from_height, shares,
                                  reward, fee, remainder, settled_at)
         VALUES (?1, 'preparing', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            block.hash,
            terms.scheme.name(),
            terms.scheme.window(),
            terms.fee.get(),
            division.from_height,
            integer(division.shares),
            integer(block.reward),
            integer(split.fee),
            integer(split.remainder),
            integer(now_unix_s),
        ],
    )?;
    let id = tx.last_insert_rowid();
    tx.commit()?;
    Ok(id)
}

/// Writes the parts, in slices.
fn credit(
    conn: &mut Connection,
    id: i64,
    division: &Division,
    accounts: &Accounts,
) -> anyhow::Result<()> {
    let parts: Vec<_> = division.split.amounts.iter().collect();
    for slice in parts.chunks(PAYOUT_ROWS_PER_TRANSACTION as usize) {
        let tx = immediate(conn)?;
        let mut insert = tx.prepare_cached("INSERT INTO settlement_credits VALUES (?1, ?2, ?3)")?;
        for (rank, amount) in slice {
            insert.execute(params![id, accounts.get(**rank).id, integer(**amount)])?;
        }
        drop(insert);
        tx.commit()?;
    }
    Ok(())
}

/// A settlement that an interrupted run left half written.
fn leftover(conn: &Connection) -> anyhow::Result<Option<i64>> {
    conn.query_row(
        "SELECT id FROM settlements WHERE state = 'preparing' ORDER BY id LIMIT 1",
        [],
        |row| row.get(0),
    )
    .optional()
    .context("failed to read the settlements")
}

/// Deletes a settlement that never came into force, in slices.
fn discard(conn: &mut Connection, id: i64) -> anyhow::Result<()> {
    let context = || format!("failed to delete the unfinished settlement {id}");
    loop {
        let tx = immediate(conn)?;
        let deleted = tx
            .execute(
                "DELETE FROM settlement_credits WHERE settlement = ?1 AND account IN
                   (SELECT account FROM settlement_credits WHERE settlement = ?1 LIMIT ?2)",
                params![id, PAYOUT_ROWS_PER_TRANSACTION],
            )
            .with_context(context)?;
        if deleted == 0 {
            tx.execute(
                "DELETE FROM settlements WHERE id = ?1 AND state = 'preparing'",
                [id],
            )
            .with_context(context)?;
        }
        tx.commit().with_context(context)?;
        if deleted == 0 {
            return Ok(());
        }
    }
}

/// A transaction that writes: it begins when no other does, instead of failing half way. A busy
/// server leaves only short gaps between its own, so its turn is looked for often.
pub(crate) fn immediate(conn: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    conn.busy_handler(Some(|tries: i32| {
        thread::sleep(TURN_PERIOD);
        TURN_PERIOD * tries.unsigned_abs() < TURN_WAIT_MAX
    }))?;
    conn.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// A number as the ledger has it.
fn integer(value: u64) -> i64 {
    i64::try_from(value).expect("what came from the ledger goes into it")
}
