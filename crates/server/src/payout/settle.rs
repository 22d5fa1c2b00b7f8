//! Writes settlements.
//!
//! A settlement of thousands of accounts is written in slices as 'preparing', which counts for nothing, and
//! comes into force in one small transaction that checks again whether the block is still due. An interrupted
//! settlement is deleted and begun anew.

use std::fmt;

use anyhow::{Context, bail};
use hstratum_core::accounting::reward_split::Hns;
use hstratum_core::chain::address::Network;
use hstratum_core::plural::counted;

use super::account::LedgerAccounts;
use super::awaited_servers::AwaitedServers;
use super::due::{self, Cuts, Division, divide};
use super::{PayoutTerms, TermsHistory};
use crate::limits::PAYOUT_ROWS_PER_TRANSACTION;
use crate::sql::inserted_rows::InsertedRows;
use crate::sql::{Db, Sql, Value};
use crate::values;

/// Change of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettlementChange {
    /// The block's reward is divided.
    Settled,
    /// The block is lost, and its credits are taken back.
    Reversed,
}

/// A settlement that was written or reversed. Amounts in base units; credited + fee + remainder =
/// reward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Its row in `settlements`.
    pub id: i64,
    /// The change.
    pub change: SettlementChange,
    /// The block's hash, 64 hex digits.
    pub block: String,
    /// The block's height.
    pub height: u32,
    /// The block's reward.
    pub reward: u64,
    /// The pool's fee.
    pub fee: u64,
    /// Part of the reward that nobody had earned.
    pub remainder: u64,
    /// Sum of the credits.
    pub credited: u64,
    /// Number of accounts credited.
    pub accounts: u64,
}

/// In one line.
impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = match self.change {
            SettlementChange::Settled => "settled",
            SettlementChange::Reversed => "reversed",
        };
        write!(
            f,
            "block {} {} {change}: {} HNS to {}, fee {} HNS",
            self.height,
            self.block,
            Hns(self.credited.into()),
            counted(self.accounts, "account"),
            Hns(self.fee.into())
        )
    }
}

/// Reverses the settlements of lost blocks and settles every block that is due. The caller holds the payout
/// lock.
///
/// # Errors
/// When the ledger cannot be read or written, or the chain changed during a settlement. What was settled
/// before stays settled, and the call may be repeated.
pub fn settle(
    db: &mut Db,
    network: Network,
    terms: &TermsHistory,
    awaited_servers: &AwaitedServers,
    now_unix_s: u64,
) -> anyhow::Result<Vec<Settled>> {
    db.read(|sql| check_network(sql, network))?;
    while let Some(id) = db.read(leftover)? {
        discard(db, id)?;
    }
    let mut done = Vec::new();
    for settlement in db.read(reversible)? {
        done.extend(reverse(db, settlement)?);
    }
    while let Some((division, accounts)) = db.read(|sql| next(sql, terms, awaited_servers))? {
        let settling = Settling {
            terms: terms.at(division.block.height),
            awaited_servers,
            division: &division,
            accounts: &accounts,
        };
        done.push(settling.write(db, now_unix_s)?);
    }
    Ok(done)
}

/// Checks the ledger's network, which decides which addresses are valid.
pub(super) fn check_network(sql: &mut dyn Sql, network: Network) -> anyhow::Result<()> {
    let name: String = sql
        .query_one("SELECT network FROM meta", &[])
        .context("failed to read the ledger's network")?
        .get(0)?;
    if name != network.name() {
        bail!("the ledger is of {name:?}, not of {}", network.name());
    }
    Ok(())
}

/// Settlements whose block is off the main chain for good. Those of blocks paid by other means are not
/// reversed, and a frozen one is out of force already.
pub(super) fn reversible(sql: &mut dyn Sql) -> anyhow::Result<Vec<Settled>> {
    let rows = sql
        .query(
            "SELECT s.id, s.block, b.height, s.reward, s.fee, s.remainder,
                    (SELECT CAST(coalesce(sum(amount), 0) AS BIGINT)
                       FROM settlement_credits WHERE settlement = s.id),
                    (SELECT count(*) FROM settlement_credits WHERE settlement = s.id)
               FROM settlements AS s JOIN blocks AS b ON b.hash = s.block
              WHERE s.state = 'settled' AND s.scheme <> 'elsewhere' AND s.is_frozen = 0
                AND b.state IN ('orphaned', 'refused') AND b.final_at IS NOT NULL
              ORDER BY b.height DESC, s.id",
            &[],
        )
        .context("failed to read the settlements")?;
    let settled = rows.iter().map(|row| {
        Ok(Settled {
            id: row.get(0)?,
            change: SettlementChange::Reversed,
            block: row.get(1)?,
            height: row.get(2)?,
            reward: row.get(3)?,
            fee: row.get(4)?,
            remainder: row.get(5)?,
            credited: row.get(6)?,
            accounts: row.get(7)?,
        })
    });
    settled.collect()
}

/// Reverses a settlement; returns `None` if the block has come back meanwhile.
fn reverse(db: &mut Db, settlement: Settled) -> anyhow::Result<Option<Settled>> {
    let changed = db
        .write(|sql: &mut dyn Sql| {
            sql.execute(
                "UPDATE settlements SET state = 'reversed' WHERE id = ?1 AND state = 'settled'
                    AND EXISTS (SELECT 1 FROM blocks WHERE hash = settlements.block
                      AND blocks.state IN ('orphaned', 'refused') AND final_at IS NOT NULL)",
                &values![settlement.id],
            )
        })
        .with_context(|| format!("failed to reverse settlement {}", settlement.id))?;
    Ok((changed == 1).then_some(settlement))
}

/// Divides the lowest block that is due and can be divided exactly.
fn next(
    sql: &mut dyn Sql,
    terms: &TermsHistory,
    awaited_servers: &AwaitedServers,
) -> anyhow::Result<Option<(Division, LedgerAccounts)>> {
    let candidates = due::candidates(sql, awaited_servers)?;
    if candidates.is_empty() {
        return Ok(None);
    }
    let accounts = LedgerAccounts::read(sql).context("failed to read the accounts")?;
    let mut cuts = Cuts::read(sql)?;
    for block in candidates {
        if cuts.is_inexact(sql, block.height)? {
            continue;
        }
        let division = divide(sql, &accounts, terms.at(block.height), block)?;
        if division.is_whole {
            return Ok(Some((division, accounts)));
        }
    }
    Ok(None)
}

/// Blocks that are due but were not settled, since credit belonging to them is gone: height and hash.
///
/// # Errors
/// When the ledger cannot be read.
pub fn incomplete(
    db: &mut Db,
    awaited_servers: &AwaitedServers,
) -> anyhow::Result<Vec<(u32, String)>> {
    let left = db.read(|sql| due::unsettled(sql, awaited_servers))?.due;
    Ok(left.into_iter().map(|due| (due.height, due.hash)).collect())
}

/// A settlement being written.
struct Settling<'a> {
    terms: &'a PayoutTerms,
    awaited_servers: &'a AwaitedServers,
    division: &'a Division,
    accounts: &'a LedgerAccounts,
}

impl Settling<'_> {
    fn write(&self, db: &mut Db, now_unix_s: u64) -> anyhow::Result<Settled> {
        let (split, block) = (&self.division.split, &self.division.block);
        let context = || format!("failed to settle block {}", block.hash);
        let id = db
            .write(|sql| self.begin(sql, now_unix_s))
            .with_context(context)?;
        self.credit(db, id).with_context(context)?;
        let holds = db.write(|sql| self.finish(sql, id)).with_context(context)?;
        if !holds {
            discard(db, id)?;
            bail!(
                "the chain changed while block {} was settled: run it again",
                block.hash
            );
        }
        Ok(Settled {
            id,
            change: SettlementChange::Settled,
            block: block.hash.clone(),
            height: block.height,
            reward: block.reward,
            fee: split.fee,
            remainder: split.remainder,
            credited: split.amounts.values().sum(),
            accounts: split.amounts.len() as u64,
        })
    }

    /// Writes the settlement's row, without its credits.
    fn begin(&self, sql: &mut dyn Sql, now_unix_s: u64) -> anyhow::Result<i64> {
        let (split, block) = (&self.division.split, &self.division.block);
        let row = sql.query_one(
            "INSERT INTO settlements (block, state, scheme, \"window\", fee_ppm, from_height, shares,
                                      reward, fee, remainder, settled_at)
             VALUES (?1, 'preparing', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) RETURNING id",
            &values![
                &block.hash,
                self.terms.scheme.name(),
                self.terms.scheme.window(),
                self.terms.fee.get(),
                self.division.from_height,
                self.division.shares,
                block.reward,
                split.fee,
                split.remainder,
                now_unix_s,
            ],
        )?;
        Ok(row.get(0)?)
    }

    /// Writes the credits, in slices.
    fn credit(&self, db: &mut Db, id: i64) -> anyhow::Result<()> {
        let parts: Vec<_> = self.division.split.amounts.iter().collect();
        for slice in parts.chunks(PAYOUT_ROWS_PER_TRANSACTION as usize) {
            let mut credits = InsertedRows::after(id);
            for (rank, amount) in slice {
                let account_id = self.accounts.get(**rank).id;
                credits.add(values![account_id, **amount], |at| {
                    format!("(?1, ?{at}, ?{})", at + 1)
                });
            }
            let insert = "INSERT INTO settlement_credits (settlement, account, amount) VALUES ROWS";
            db.write(|sql: &mut dyn Sql| credits.insert(sql, insert))?;
        }
        Ok(())
    }

    /// Puts the settlement into force, if the block is still due.
    fn finish(&self, sql: &mut dyn Sql, id: i64) -> anyhow::Result<bool> {
        let holds = due::still_holds(sql, self.awaited_servers, self.division)?;
        if holds {
            let finish = "UPDATE settlements SET state = 'settled' WHERE id = ?1";
            sql.execute(finish, &values![id])?;
        }
        Ok(holds)
    }
}

/// A settlement that an interrupted run left half written.
fn leftover(sql: &mut dyn Sql) -> anyhow::Result<Option<i64>> {
    let row = sql
        .query_one(
            "SELECT min(id) FROM settlements WHERE state = 'preparing' AND is_frozen = 0",
            &[],
        )
        .context("failed to read the settlements")?;
    Ok(row.get(0)?)
}

/// Deletes a settlement that never came into force, in slices.
fn discard(db: &mut Db, id: i64) -> anyhow::Result<()> {
    let context = || format!("failed to delete the unfinished settlement {id}");
    loop {
        let slice = values![id, PAYOUT_ROWS_PER_TRANSACTION];
        let deleted = db
            .write(|sql: &mut dyn Sql| discard_slice(sql, &slice))
            .with_context(context)?;
        if deleted == 0 {
            return Ok(());
        }
    }
}

fn discard_slice(sql: &mut dyn Sql, slice: &[Value; 2]) -> anyhow::Result<u64> {
    let deleted = sql.execute(
        "DELETE FROM settlement_credits WHERE settlement = ?1 AND account IN
           (SELECT account FROM settlement_credits WHERE settlement = ?1 LIMIT ?2)",
        slice,
    )?;
    if deleted == 0 {
        sql.execute(
            "DELETE FROM settlements WHERE id = ?1 AND state = 'preparing'",
            &slice[..1],
        )?;
    }
    Ok(deleted)
}
