//! Old `shares/*.json` files into a ledger: each a block with its round's work.
//!
//! The block goes in as 'accepted' and the server finds out what became of it. An account's work
//! goes in at the block's height as one share of the difficulty that the file has for it: only
//! sums are known. The network's difficulty is not known either and is 0. A block is known by its
//! hash, so that a second import changes nothing. Where the old payout has paid, a settlement
//! 'elsewhere' says so: it has no credits, and reward, fee and remainder of 0, since nothing of it
//! went through this ledger.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use hstratum_core::address::Network;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::shares_file::{self, SharesFile};
use crate::disk;
use crate::limits::PAYOUT_ROWS_PER_TRANSACTION;
use crate::payout::immediate;
use crate::store::schema;

/// Whether the old payout has paid for these blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paid {
    /// It has: they are never settled.
    Elsewhere,
    /// It has not: they are settled like any other.
    NotYet,
}

/// What became of a file.
#[derive(Debug)]
pub enum Imported {
    /// Its block and work are new in the ledger.
    New {
        /// The block's height.
        height: u32,
        /// How many accounts have work in it.
        accounts: usize,
    },
    /// The ledger had its block, and now knows that it was paid.
    MarkedPaid,
    /// The ledger had it all.
    Known,
    /// It was not taken, and nothing was changed for it.
    Refused(anyhow::Error),
}

/// Imports files one by one, each in one transaction, and says what became of each. A ledger that
/// does not exist is made, of the network of the first file that can be read.
///
/// # Errors
/// When there is no ledger and none can be made. What single files are refused for is told apart.
pub fn import(
    ledger: &Path,
    files: &[PathBuf],
    paid: Paid,
    now_unix_s: u64,
) -> anyhow::Result<Vec<Imported>> {
    let read: Vec<_> = files.iter().map(|path| shares_file::read(path)).collect();
    if !exists(ledger)? {
        let Some(first) = read.iter().flatten().next() else {
            bail!("no file can be read, so {} is not made", ledger.display());
        };
        create(ledger, first.network, now_unix_s)?;
    }
    let mut conn = schema::open_beside(ledger)?;
    let network = super::network(&conn)?;
    let now = i64::try_from(now_unix_s).context("the clock is beyond the end of time")?;
    let outcomes = read.into_iter().map(|file| {
        file.and_then(|file| take(&mut conn, network, &file, paid, now))
            .unwrap_or_else(Imported::Refused)
    });
    Ok(outcomes.collect())
}

/// Whether there is a ledger. What is left of one is not built over.
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

/// Makes a ledger, whole or not at all.
fn create(ledger: &Path, network: Network, now_unix_s: u64) -> anyhow::Result<()> {
    let context = || format!("failed to create the ledger {}", ledger.display());
    let dir = disk::parent(ledger).with_context(context)?;
    disk::create_dir(dir)?;
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
    schema::create(&conn, network.name(), origin, now_unix_s).with_context(context)?;
    // The last connection that closes puts everything into the one file.
    conn.close()
        .map_err(|(_, error)| error)
        .with_context(context)?;
    fs::File::open(temporary)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(temporary, ledger))
        .with_context(context)?;
    disk::sync_dir(dir)
}

fn take(
    conn: &mut Connection,
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
    let known = |conn: &Connection| {
        conn.query_row(
            "SELECT height FROM blocks WHERE hash = ?1",
            [&file.block],
            |row| row.get::<_, u32>(0),
        )
        .optional()
        .context("failed to read the blocks")
    };
    if known(conn)?.is_none() {
        insert_accounts(conn, file)?;
    }
    let tx = immediate(conn)?;
    let outcome = match known(&tx)? {
        Some(height) => {
            ensure!(
                height == file.height,
                "the ledger has that block at height {height}"
            );
            match paid {
                Paid::Elsewhere if mark_paid(&tx, file, now)? => Imported::MarkedPaid,
                _ => Imported::Known,
            }
        }
        None => {
            let accounts = insert_block(&tx, file, now)?;
            if paid == Paid::Elsewhere {
                mark_paid(&tx, file, now)?;
            }
            Imported::New {
                height: file.height,
                accounts,
            }
        }
    };
    tx.commit().context("failed to write the ledger")?;
    Ok(outcome)
}

/// In slices, before the block: an account without work harms nobody.
fn insert_accounts(conn: &mut Connection, file: &SharesFile) -> anyhow::Result<()> {
    for slice in file.shares.chunks(PAYOUT_ROWS_PER_TRANSACTION as usize) {
        let tx = immediate(conn)?;
        for (name, _) in slice {
            tx.execute("INSERT OR IGNORE INTO accounts (name) VALUES (?1)", [name])
                .context("failed to write the accounts")?;
        }
        tx.commit().context("failed to write the accounts")?;
    }
    Ok(())
}

fn insert_block(tx: &Transaction<'_>, file: &SharesFile, now: i64) -> anyhow::Result<usize> {
    tx.execute(
        "INSERT INTO blocks (hash, height, time, found_at, txid, address, reward, difficulty,
                             state, changed_at, closed_at, round_from, dumped_at)
         VALUES (:hash, :height, :ts, :time, :txid, :address, :reward, 0,
                 'accepted', :now, :time, :height, :time)",
        rusqlite::named_params! {
            ":hash": file.block, ":height": file.height, ":ts": file.ts, ":time": file.time,
            ":txid": file.txid, ":address": file.address, ":reward": file.reward, ":now": now,
        },
    )
    .context("failed to write the block")?;
    let mut insert = tx.prepare(
        "INSERT INTO credit (height, account, difficulty, origin, count)
         SELECT ?1, id, ?3, 0, 1 FROM accounts WHERE name = ?2
         ON CONFLICT DO UPDATE SET count = count + 1",
    )?;
    let mut accounts = 0;
    for (name, difficulty) in file.shares.iter().filter(|(_, sum)| *sum > 0.0) {
        accounts += insert
            .execute(params![file.height, name, difficulty])
            .context("failed to write the work")?;
    }
    Ok(accounts)
}

/// Says that the block was paid by other means, unless it has a settlement.
fn mark_paid(tx: &Transaction<'_>, file: &SharesFile, now: i64) -> anyhow::Result<bool> {
    let accounts = i64::try_from(file.shares.len()).expect("a file's accounts can be counted");
    let marked = tx
        .execute(
            "INSERT INTO settlements (block, state, scheme, fee_ppm, from_height, shares, reward,
                                      fee, remainder, settled_at)
             SELECT ?1, 'settled', 'elsewhere', 0, ?2, ?3, 0, 0, 0, ?4
              WHERE NOT EXISTS (SELECT 1 FROM settlements WHERE block = ?1 AND state <> 'reversed')",
            params![file.block, file.height, accounts, now],
        )
        .context("failed to write the settlement")?;
    Ok(marked == 1)
}
