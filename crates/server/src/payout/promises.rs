//! What coinbases pay out of balances, so that nobody else pays it: promises of found blocks that are not decided, and
//! offers of jobs that are out.
//!
//! A block is undecided until its reward can be spent or it is lost for good; so long what its coinbase pays beyond
//! the account's part is promised. An offer says that jobs of one height pay an account's balance, and how much of
//! it. It holds until a block at that height is as deep as a reward must be, since no block of such a job can be found
//! after that; and, where several servers share the ledger, until their blocks of that height are in it.

use std::collections::HashMap;

use anyhow::Context;
use hstratum_core::chain::address::Network;

use super::awaited_servers::AwaitedServers;
use crate::sql::{Sql, SqlError};
use crate::store::best_tip;
use crate::values;

/// SQL for settlements of blocks that are not decided.
const UNDECIDED: &str = "\
    SELECT s.id, s.block FROM settlements AS s JOIN blocks AS b ON b.hash = s.block
     WHERE s.is_frozen = 1 AND s.state = 'preparing'
       AND NOT (b.state IN ('orphaned', 'refused') AND b.final_at IS NOT NULL)";

/// Base units of each account, by row id, that undecided blocks pay out of balances.
pub(super) fn promised(sql: &mut dyn Sql) -> Result<HashMap<i64, u64>, SqlError> {
    let rows = sql.query(
        &format!(
            "SELECT o.account, CAST(sum(o.amount - c.amount) AS BIGINT)
               FROM ({UNDECIDED}) AS u
               JOIN payments AS p ON p.block = u.block
               JOIN payment_outputs AS o ON o.payment = p.id
               JOIN settlement_credits AS c ON c.settlement = u.id AND c.account = o.account
              WHERE o.amount > c.amount GROUP BY o.account"
        ),
        &[],
    )?;
    rows.iter()
        .map(|row| Ok((row.get(0)?, row.get(1)?)))
        .collect()
}

/// Base units of an account's parts that undecided blocks do not pay: what they withhold of a debt.
pub(super) fn withheld(sql: &mut dyn Sql, account_id: i64) -> Result<u64, SqlError> {
    let row = sql.query_one(
        &format!(
            "SELECT CAST(coalesce(sum(c.amount - coalesce(o.amount, 0)), 0) AS BIGINT)
               FROM ({UNDECIDED}) AS u
               JOIN settlement_credits AS c ON c.settlement = u.id AND c.account = ?1
               LEFT JOIN payments AS p ON p.block = u.block
               LEFT JOIN payment_outputs AS o ON o.payment = p.id AND o.account = c.account
              WHERE c.amount > coalesce(o.amount, 0)"
        ),
        &values![account_id],
    )?;
    row.get(0)
}

/// Base units of each account's balance, by row id, that jobs which are out may pay.
pub(super) fn offered(sql: &mut dyn Sql, network: Network) -> Result<HashMap<i64, u64>, SqlError> {
    let lowest = lowest_offer(sql, network)?;
    offered_from(sql, lowest)
}

/// The same of offers at this height or above.
fn offered_from(sql: &mut dyn Sql, lowest: i64) -> Result<HashMap<i64, u64>, SqlError> {
    let rows = sql.query(
        "SELECT account, CAST(sum(amount) AS BIGINT) FROM split_offers
          WHERE height >= ?1 GROUP BY account",
        &values![lowest],
    )?;
    rows.iter()
        .map(|row| Ok((row.get(0)?, row.get(1)?)))
        .collect()
}

/// The lowest height of offers that hold.
fn lowest_offer(sql: &mut dyn Sql, network: Network) -> Result<i64, SqlError> {
    let tip = best_tip::highest(sql)?.map_or(0, |tip| tip.height.0);
    // As deep as `Sighting::of` has it.
    Ok(i64::from(tip) + 2 - i64::from(network.coinbase_maturity()))
}

/// Says that jobs of a server at a height pay so much of accounts' balances, by row id. Must be durable before such a
/// job goes out.
pub(super) fn offer(
    sql: &mut dyn Sql,
    network: Network,
    server: &str,
    height: u32,
    riders: &[(i64, u64)],
) -> Result<(), SqlError> {
    let lowest = lowest_offer(sql, network)?;
    for (account, amount) in riders {
        sql.execute(
            "INSERT INTO split_offers (server, account, height, amount) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (server, account) DO UPDATE SET height = excluded.height,
               amount = CASE WHEN split_offers.height >= CAST(?5 AS BIGINT)
                              AND split_offers.amount > excluded.amount
                             THEN split_offers.amount ELSE excluded.amount END",
            &values![server, *account, height, *amount, lowest],
        )?;
    }
    Ok(())
}

/// Hash and height of the blocks on the main chain whose coinbase pays accounts, and whose reward cannot be spent
/// yet.
pub(super) fn frozen_on_main(sql: &mut dyn Sql) -> Result<Vec<(String, u32)>, SqlError> {
    let rows = sql.query(
        "SELECT b.hash, b.height FROM settlements AS s JOIN blocks AS b ON b.hash = s.block
          WHERE s.is_frozen = 1 AND s.state = 'preparing' AND b.state IN ('accepted', 'confirmed')
          ORDER BY b.height",
        &[],
    )?;
    rows.iter()
        .map(|row| Ok((row.get(0)?, row.get(1)?)))
        .collect()
}

/// Row id and part of each account of such a block, by row id.
pub(super) fn frozen_parts(sql: &mut dyn Sql, hash: &str) -> Result<Vec<(i64, u64)>, SqlError> {
    let rows = sql.query(
        "SELECT account, c.amount FROM settlement_credits AS c JOIN settlements AS s ON s.id = c.settlement
          WHERE s.block = ?1 AND s.is_frozen = 1 ORDER BY account",
        &values![hash],
    )?;
    rows.iter()
        .map(|row| Ok((row.get(0)?, row.get(1)?)))
        .collect()
}

/// Base units of each account's balance, by row id, that only coinbases pay for now. A block that a server has found
/// may be shipped later than its reward takes to mature.
pub(super) fn held(
    sql: &mut dyn Sql,
    network: Network,
    awaited_servers: &AwaitedServers,
) -> anyhow::Result<HashMap<i64, u64>> {
    let context = "failed to read what coinbases pay";
    let unshipped = awaited_servers.shipped(sql)?.saturating_add(1);
    let lowest = lowest_offer(sql, network).context(context)?;
    let mut held = offered_from(sql, lowest.min(unshipped)).context(context)?;
    for (account, amount) in promised(sql).context(context)? {
        *held.entry(account).or_default() += amount;
    }
    Ok(held)
}
