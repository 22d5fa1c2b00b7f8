//! Imports old `shares/*.json` files into a ledger: each is a block with its round's work.
//!
//! The block is inserted as 'accepted', and the server finds out its further state. An account's work is
//! inserted at the block's height as one share of the difficulty that the file has for it, since only sums
//! are known. No work is counted twice: a file is refused if the ledger has credit of its heights, or has
//! divided them; its block is inserted without the work if another of its height brought that, or if it was
//! paid elsewhere. The network's difficulty is not known either and is 0. A block is identified by its hash,
//! so that a second import changes nothing. If the old payout has paid, a settlement 'elsewhere' records it:
//! it has no credits, and reward, fee and remainder of 0, since none of it went through this ledger.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use hstratum_core::chain::address::Network;
use hstratum_core::chain::coinbase::Payout;
use rusqlite::Connection;

use super::shares_file::{self, SharesFile};
use crate::durable_fs;
use crate::limits::PAYOUT_ROWS_PER_TRANSACTION;
use crate::sql::location::LedgerLocation;
use crate::sql::sqlite_schema;
use crate::sql::{Db, Sql, SqlError};
use crate::store::frozen_splits;
use crate::values;

/// Statement of the operator on whether the old payout has paid for these blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paid {
    /// It has: they are never settled.
    Elsewhere,
    /// It has not: they are settled like any other.
    NotYet,
}

/// Result of importing a file.
#[derive(Debug)]
pub enum Imported {
    /// Its block and work are new in the ledger.
    New {
        /// The block's height.
        height: u32,
        /// Number of accounts with work in it.
        accounts: usize,
    },
    /// Its block is new in the ledger, which has its work already.
    WithoutWork {
        /// The block's height.
        height: u32,
        /// The place in the ledger that has it.
        there: String,
    },
    /// The ledger had its block, which is now recorded as paid.
    MarkedPaid,
    /// The ledger had everything already.
    Known,
    /// Refused; nothing was changed for it.
    Refused(anyhow::Error),
}

/// Imports files one by one, lowest height first, each in one transaction, and returns each one's result, in
/// the order in which they are given. A ledger that does not exist is created, of the network of the first
/// file that can be read; if none can, each is refused and no ledger is created.
///
/// # Errors
/// When there is no ledger and none can be created. Refusals of single files are results.
pub fn import(
    ledger: &LedgerLocation,
    files: &[PathBuf],
    paid: Paid,
    now_unix_s: u64,
) -> anyhow::Result<Vec<Imported>> {
    let mut outcomes = Vec::with_capacity(files.len());
    let mut read = Vec::new();
    for (at, path) in files.iter().enumerate() {
        match shares_file::read(path) {
            Ok(file) => {
                read.push((at, file));
                outcomes.push(None);
            }
            Err(error) => outcomes.push(Some(Imported::Refused(error))),
        }
    }
    let told = |outcomes: Vec<Option<Imported>>| Ok(outcomes.into_iter().flatten().collect());
    if let LedgerLocation::File(path) = ledger
        && !exists(path)?
    {
        let Some((_, first)) = read.first() else {
            return told(outcomes);
        };
        create(path, first.network, now_unix_s)?;
    }
    let mut db = ledger.open()?;
    let network = super::network(&mut db)?;
    let now = i64::try_from(now_unix_s).context("the clock is beyond the end of time")?;
    // If a round was dumped twice, the later file contains all of the earlier one's work.
    read.sort_by(|(_, a), (_, b)| {
        let order = a.height.cmp(&b.height);
        order.then(b.total().total_cmp(&a.total()))
    });
    for (at, file) in read {
        let outcome = take(&mut db, network, &file, paid, now);
        outcomes[at] = Some(outcome.unwrap_or_else(Imported::Refused));
    }
    told(outcomes)
}

/// True if there is a ledger. Refuses to create one beside the remains of another.
fn exists(ledger: &Path) -> anyhow::Result<bool> {
    if ledger
        .try_exists()
        .context("failed to look for the ledger")?
    {
        return Ok(true);
    }
    let mut wal = OsString::from(ledger);
    wal.push("-wal");
    let left = fs::metadata(&wal).is_ok_and(|wal| wal.len() > 0);
    ensure!(
        !left,
        "{} is missing and its -wal file is there: put the ledger back first",
        ledger.display()
    );
    Ok(false)
}

/// Creates a ledger, whole or not at all.
fn create(ledger: &Path, network: Network, now_unix_s: u64) -> anyhow::Result<()> {
    let context = || format!("failed to create the ledger {}", ledger.display());
    let dir = durable_fs::parent(ledger).with_context(context)?;
    durable_fs::create_dir(dir)?;
    let mut name = OsString::from(ledger);
    name.push(".new");
    let temporary = Path::new(&name);
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(context);
        }
        _ => {}
    }
    let mut origin = [0; 16];
    getrandom::fill(&mut origin).with_context(context)?;
    let conn = Connection::open(temporary).with_context(context)?;
    sqlite_schema::create(&conn, network.name(), origin, now_unix_s).with_context(context)?;
    // SQLite moves everything into the one file when the last connection closes.
    conn.close()
        .map_err(|(_, error)| error)
        .with_context(context)?;
    fs::File::open(temporary)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(temporary, ledger))
        .with_context(context)?;
    durable_fs::sync_dir(dir)
}

fn take(
    db: &mut Db,
    network: Network,
    file: &SharesFile,
    paid: Paid,
    now: i64,
) -> anyhow::Result<Imported> {
    ensure!(
        file.network == network,
        "it is of {}, the ledger of {}",
        file.network.name(),
        network.name()
    );
    if db.read(|sql| known(sql, file))?.is_none() {
        insert_accounts(db, file)?;
    }
    db.write(|sql| take_block(sql, file, paid, now))
}

fn known(sql: &mut dyn Sql, file: &SharesFile) -> anyhow::Result<Option<u32>> {
    let row = sql
        .query_opt(
            "SELECT height FROM blocks WHERE hash = ?1",
            &values![&file.block],
        )
        .context("failed to read the blocks")?;
    Ok(row.map(|row| row.get(0)).transpose()?)
}

fn take_block(
    sql: &mut dyn Sql,
    file: &SharesFile,
    paid: Paid,
    now: i64,
) -> anyhow::Result<Imported> {
    let Some(height) = known(sql, file)? else {
        let there = counted(sql, file.height)?;
        let is_second = has_height(sql, file.height)?;
        if let Some(there) = there
            .as_ref()
            .filter(|_| !is_second && paid == Paid::NotYet && file.split.is_none())
        {
            bail!(
                "its work would be counted twice at height {}: {there}; divide the block by hand, and \
                 import it with --paid",
                file.height
            );
        }
        insert_block(sql, file, now)?;
        match &file.split {
            Some(split) => {
                let ids = (&*file.block, &*file.txid);
                frozen_splits::write(sql, file.network, ids, split, now)
                    .context("failed to write what the block has paid")?;
            }
            None if paid == Paid::Elsewhere => drop(mark_paid(sql, file, now)?),
            None => {}
        }
        let height = file.height;
        return Ok(match there {
            Some(there) => Imported::WithoutWork { height, there },
            None => Imported::New {
                height,
                accounts: insert_work(sql, file)?,
            },
        });
    };
    ensure!(
        height == file.height,
        "the ledger has that block at height {height}"
    );
    match paid {
        Paid::Elsewhere if mark_paid(sql, file, now)? => Ok(Imported::MarkedPaid),
        _ => Ok(Imported::Known),
    }
}

/// The place in the ledger of the work, or part of it, of the round that a block of this height would close.
fn counted(sql: &mut dyn Sql, height: u32) -> anyhow::Result<Option<String>> {
    let below = "SELECT coalesce(max(height), -1) FROM blocks
                 WHERE height < ?1 AND state IN ('accepted', 'confirmed') AND payout <> 'solo'";
    let below: i64 = sql.query_one(below, &values![height])?.get(0)?;
    let credit = "SELECT min(height), max(height) FROM credit WHERE height > ?1 AND height <= ?2";
    let credit = sql.query_one(credit, &values![below, height])?;
    if let (Some(from), Some(to)) = (credit.get::<Option<i64>>(0)?, credit.get::<Option<i64>>(1)?) {
        return Ok(Some(format!(
            "the ledger has credit of heights {from} to {to}, above the block before"
        )));
    }
    let divided = sql.query_opt(
        "SELECT blocks.height FROM settlements JOIN blocks ON blocks.hash = settlements.block
         WHERE settlements.state <> 'reversed' AND settlements.scheme <> 'elsewhere'
           AND blocks.height >= ?1 AND coalesce(blocks.round_from, blocks.height) <= ?1
         ORDER BY blocks.height LIMIT 1",
        &values![height],
    )?;
    let divided = divided.map(|row| row.get::<i64>(0)).transpose()?;
    Ok(divided.map(|block| format!("it was divided with block {block}")))
}

fn has_height(sql: &mut dyn Sql, height: u32) -> anyhow::Result<bool> {
    let found = "SELECT 1 FROM blocks WHERE height = ?1 LIMIT 1";
    Ok(sql.query_opt(found, &values![height])?.is_some())
}

/// Inserts accounts in slices, before the block: an account without work does no harm.
fn insert_accounts(db: &mut Db, file: &SharesFile) -> anyhow::Result<()> {
    for slice in file.shares.chunks(PAYOUT_ROWS_PER_TRANSACTION as usize) {
        db.write(|sql: &mut dyn Sql| {
            for (name, _) in slice {
                sql.execute(
                    "INSERT INTO accounts (name) VALUES (?1) ON CONFLICT (name) DO NOTHING",
                    &values![name],
                )?;
            }
            Ok::<_, SqlError>(())
        })
        .context("failed to write the accounts")?;
    }
    Ok(())
}

fn insert_block(sql: &mut dyn Sql, file: &SharesFile, now: i64) -> anyhow::Result<()> {
    sql.execute(
        "INSERT INTO blocks (hash, height, time, found_at, txid, address, reward, difficulty,
                             state, changed_at, closed_at, round_from, dumped_at, origin, payout)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0.0, 'accepted', ?8, ?4, ?2, ?4, 0, ?9)",
        &values![
            &file.block,
            file.height,
            file.ts,
            file.time,
            &file.txid,
            &file.address,
            file.reward,
            now,
            match file.split {
                Some(_) => Payout::Split.name(),
                None => Payout::Operator.name(),
            },
        ],
    )
    .context("failed to write the block")?;
    Ok(())
}

/// Inserts the work; returns the number of accounts that have any.
fn insert_work(sql: &mut dyn Sql, file: &SharesFile) -> anyhow::Result<usize> {
    let mut accounts = 0;
    for (name, difficulty) in file.shares.iter().filter(|(_, sum)| *sum > 0.0) {
        accounts += sql
            .execute(
                "INSERT INTO credit (height, account, difficulty, origin, count)
                 SELECT CAST(?1 AS BIGINT), id, CAST(?3 AS DOUBLE PRECISION), 0, 1
                   FROM accounts WHERE name = ?2
                 ON CONFLICT (height, account, difficulty, origin) DO UPDATE SET
                   count = credit.count + 1",
                &values![file.height, name, *difficulty],
            )
            .context("failed to write the work")?;
    }
    Ok(usize::try_from(accounts)?)
}

/// Records that the block was paid by other means, unless it has a settlement.
fn mark_paid(sql: &mut dyn Sql, file: &SharesFile, now: i64) -> anyhow::Result<bool> {
    let accounts = file.shares.len() as u64;
    let has = "SELECT count(*) FROM settlements WHERE block = ?1 AND state <> 'reversed'";
    let has: i64 = sql.query_one(has, &values![&file.block])?.get(0)?;
    if has > 0 {
        return Ok(false);
    }
    sql.execute(
        "INSERT INTO settlements (block, state, scheme, fee_ppm, from_height, shares, reward,
                                  fee, remainder, settled_at)
         VALUES (?1, 'settled', 'elsewhere', 0, ?2, ?3, 0, 0, 0, ?4)",
        &values![&file.block, file.height, accounts, now],
    )
    .context("failed to write the settlement")?;
    Ok(true)
}
