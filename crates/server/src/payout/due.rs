//! Selects the blocks to be settled, and divides the reward of one.
//!
//! Rounds are cut by height: the round of a block begins above the highest lower block of the pool on the
//! main chain. So a block is due only when every lower one is final, lost ones for good. A reward that cannot
//! be divided exactly any more is never divided. A lower block that was paid by other means cuts the round as
//! well, even if it was orphaned since: its work is not paid again.

use std::collections::BTreeMap;

use anyhow::Context;
use hstratum_core::accounting::reward_split::{FeePpm, PplnsWindow, Split, Weight, split};
use hstratum_core::units::Difficulty;

use super::account::{LedgerAccounts, Rank};
use super::awaited_servers::AwaitedServers;
use super::credit_sums::CreditSums;
use super::{PayoutTerms, Scheme};
use crate::sql::{Row, Sql, SqlError, Value};
use crate::store::compaction::{below_span, is_crossed};
use crate::values;

/// A block whose reward has not been divided.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Due {
    pub(super) hash: String,
    pub(super) height: u32,
    /// In base units.
    pub(super) reward: u64,
    /// Network difficulty of the block; 0 if it is not known.
    difficulty: f64,
}

impl Due {
    /// A block that nobody has found yet.
    pub(super) fn not_found_yet(height: u32, reward: u64, difficulty: Difficulty) -> Self {
        Self {
            hash: String::new(),
            height,
            reward,
            difficulty: difficulty.get(),
        }
    }
}

/// A block that is not final yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unsure {
    pub(super) hash: String,
    pub(super) height: u32,
    pub(super) reward: u64,
    /// `found` or `accepted`; any other state means lost, but not for good.
    pub(super) state: String,
}

/// A divided reward, and the round or window it was divided over.
#[derive(Debug)]
pub(super) struct Division {
    pub(super) block: Due,
    /// The height below the round; `None` if there is no lower block.
    pub(super) cut: Option<u32>,
    /// The first height with work in it.
    pub(super) from_height: u32,
    /// Number of shares in it; those of a height that counts in part are counted whole.
    pub(super) shares: u64,
    pub(super) split: Split<Rank>,
    /// All work belonging to it is in the ledger; otherwise the reward must not be divided.
    pub(super) is_whole: bool,
}

/// Blocks without a settlement, by height.
pub(super) struct Unsettled {
    /// Blocks that are due, lowest first.
    pub(super) due: Vec<Due>,
    /// Blocks that wait for a lower block.
    pub(super) behind: Vec<Due>,
    /// Blocks whose credit may not all have been shipped yet.
    pub(super) unshipped: Vec<Due>,
    /// Blocks whose work can no longer be told from that of the next round.
    pub(super) inexact: Vec<Due>,
}

/// Heights up to which blocks may be divided.
struct DueBounds {
    /// Height of the lowest block that is not final.
    first_unsure: u32,
    /// Height up to which all credit is in the ledger.
    shipped: i64,
}

impl DueBounds {
    fn read(sql: &mut dyn Sql, awaited_servers: &AwaitedServers) -> anyhow::Result<Self> {
        Ok(Self {
            first_unsure: unsure(sql)?.first().map_or(u32::MAX, |block| block.height),
            shipped: awaited_servers.shipped(sql)?,
        })
    }

    fn is_behind(&self, block: &Due) -> bool {
        block.height > self.first_unsure
    }

    fn is_unshipped(&self, block: &Due) -> bool {
        i64::from(block.height) > self.shipped
    }
}

/// Blocks that are due, lowest first, including those that [`Cuts::is_inexact`] rules out: it is asked for each, and
/// a caller may need the first alone.
pub(super) fn candidates(
    sql: &mut dyn Sql,
    awaited_servers: &AwaitedServers,
) -> anyhow::Result<Vec<Due>> {
    let bounds = DueBounds::read(sql, awaited_servers)?;
    let mut blocks = without_settlement(sql, "state = 'confirmed'", &[])?;
    blocks.retain(|block| !bounds.is_behind(block) && !bounds.is_unshipped(block));
    Ok(blocks)
}

pub(super) fn unsettled(
    sql: &mut dyn Sql,
    awaited_servers: &AwaitedServers,
) -> anyhow::Result<Unsettled> {
    let bounds = DueBounds::read(sql, awaited_servers)?;
    let blocks = without_settlement(sql, "state = 'confirmed'", &[])?;
    let (behind, below): (Vec<_>, Vec<_>) = blocks
        .into_iter()
        .partition(|block| bounds.is_behind(block));
    let (unshipped, shipped): (Vec<_>, Vec<_>) = below
        .into_iter()
        .partition(|block| bounds.is_unshipped(block));
    let (mut due, mut inexact) = (Vec::new(), Vec::new());
    let mut cuts = Cuts::read(sql)?;
    for block in shipped {
        match cuts.is_inexact(sql, block.height)? {
            true => inexact.push(block),
            false => due.push(block),
        }
    }
    Ok(Unsettled {
        due,
        behind,
        unshipped,
        inexact,
    })
}

/// Blocks on the main chain without a settlement, by height, whether their reward can be spent yet or not.
pub(super) fn on_main(sql: &mut dyn Sql) -> anyhow::Result<Vec<Due>> {
    without_settlement(sql, "state IN ('accepted', 'confirmed')", &[])
}

/// Blocks without a settlement, of which a condition holds, by height.
fn without_settlement(
    sql: &mut dyn Sql,
    condition: &str,
    values: &[Value],
) -> anyhow::Result<Vec<Due>> {
    let rows = sql
        .query(
            &format!(
                "SELECT hash, height, reward, difficulty FROM blocks
                  WHERE {condition} AND payout = 'operator'
                    AND NOT EXISTS (SELECT 1 FROM settlements WHERE block = hash AND state = 'settled')
                  ORDER BY height, hash"
            ),
            values,
        )
        .context("failed to read the blocks")?;
    let blocks = rows.iter().map(|row| {
        Ok(Due {
            hash: row.get(0)?,
            height: row.get(1)?,
            reward: row.get(2)?,
            difficulty: row.get(3)?,
        })
    });
    blocks.collect()
}

/// Heights at which rounds end, read once for questions about many blocks: there may be thousands of one
/// height.
#[derive(Default)]
pub(crate) struct Cuts {
    heights: Vec<u32>,
    /// The height that was looked up last, and the result.
    inexact: Option<(u32, bool)>,
}

impl Cuts {
    pub(crate) fn read(sql: &mut dyn Sql) -> anyhow::Result<Self> {
        let rows = sql
            .query(
                "SELECT height FROM blocks
                  WHERE state IN ('accepted', 'confirmed') AND payout <> 'solo'
                 UNION
                 SELECT height FROM settlements AS s JOIN blocks ON hash = block
                  WHERE s.scheme = 'elsewhere' AND s.state = 'settled'
                 ORDER BY 1",
                &[],
            )
            .context("failed to read the blocks")?;
        let heights = rows.iter().map(|row| row.get(0));
        Ok(Self {
            heights: heights.collect::<Result<_, _>>()?,
            inexact: None,
        })
    }

    /// The highest of them below `height`, as [`cut_below`] finds it.
    pub(crate) fn below(&self, height: u32) -> Option<u32> {
        let count = self.heights.partition_point(|cut| *cut < height);
        count.checked_sub(1).map(|at| self.heights[at])
    }

    /// True if the round of a block at this height can no longer be cut: the block, or the one below it,
    /// became known after credit had been merged across its height.
    pub(crate) fn is_inexact(&mut self, sql: &mut dyn Sql, height: u32) -> anyhow::Result<bool> {
        if let Some((_, is_inexact)) = self.inexact.filter(|(known, _)| *known == height) {
            return Ok(is_inexact);
        }
        let mut is_inexact = false;
        for height in [Some(height), self.below(height)].into_iter().flatten() {
            is_inexact |= is_crossed(sql, i64::from(height))?;
        }
        self.inexact = Some((height, is_inexact));
        Ok(is_inexact)
    }
}

/// Blocks that are not final, by height, except those paid by other means. A lost one may yet end a round
/// until it is lost for good.
pub(super) fn unsure(sql: &mut dyn Sql) -> anyhow::Result<Vec<Unsure>> {
    let rows = sql
        .query(
            "SELECT hash, height, reward, state FROM blocks
              WHERE (state IN ('found', 'accepted')
                     OR (state IN ('orphaned', 'refused') AND final_at IS NULL))
                AND payout <> 'solo'
                AND NOT EXISTS (SELECT 1 FROM settlements
                                 WHERE block = hash AND scheme = 'elsewhere' AND state = 'settled')
              ORDER BY height, hash",
            &[],
        )
        .context("failed to read the blocks")?;
    let blocks = rows.iter().map(|row| {
        Ok(Unsure {
            hash: row.get(0)?,
            height: row.get(1)?,
            reward: row.get(2)?,
            state: row.get(3)?,
        })
    });
    blocks.collect()
}

/// The highest lower block that ends a round.
pub(crate) fn cut_below(sql: &mut dyn Sql, height: u32) -> anyhow::Result<Option<u32>> {
    let row = sql
        .query_one(
            "SELECT max(height) FROM blocks
              WHERE height < ?1
                AND (state IN ('accepted', 'confirmed') AND payout <> 'solo'
                     OR EXISTS (SELECT 1 FROM settlements
                                 WHERE block = hash AND scheme = 'elsewhere' AND state = 'settled'))",
            &values![height],
        )
        .context("failed to read the blocks")?;
    Ok(row.get(0)?)
}

/// True if nothing has changed that the division depends on. It asks about its block alone, since it is asked
/// in a transaction that the server's own wait for.
pub(super) fn still_holds(
    sql: &mut dyn Sql,
    awaited_servers: &AwaitedServers,
    division: &Division,
) -> anyhow::Result<bool> {
    let block = &division.block;
    let bounds = DueBounds::read(sql, awaited_servers)?;
    let condition = "state = 'confirmed' AND hash = ?1";
    let found = without_settlement(sql, condition, &values![&block.hash])?;
    Ok(found.contains(block)
        && !bounds.is_behind(block)
        && !bounds.is_unshipped(block)
        && !Cuts::read(sql)?.is_inexact(sql, block.height)?
        && cut_below(sql, block.height)? == division.cut)
}

/// Divides a block's reward. Must be called in the transaction that read the block and the accounts.
pub(super) fn divide(
    sql: &mut dyn Sql,
    accounts: &LedgerAccounts,
    terms: &PayoutTerms,
    block: Due,
) -> anyhow::Result<Division> {
    divide_credit(sql, accounts, terms, block, &mut CreditSums::default())
}

/// The same, over credit that may have been read before.
pub(super) fn divide_credit(
    sql: &mut dyn Sql,
    accounts: &LedgerAccounts,
    terms: &PayoutTerms,
    block: Due,
    credit: &mut CreditSums,
) -> anyhow::Result<Division> {
    let cut = cut_below(sql, block.height)?;
    let work = work_of(sql, accounts, terms, &block, cut, credit)?;
    let is_whole = is_all_there(sql, &block, &work)?;
    Ok(Division {
        is_whole,
        cut,
        from_height: work.from_height,
        shares: work.shares,
        split: split(block.reward, terms.fee, &work.weights),
        block,
    })
}

/// The work over which a block that is being mined would be divided; `None` if that cannot be told exactly.
pub(super) fn mined_work(
    sql: &mut dyn Sql,
    accounts: &LedgerAccounts,
    terms: &PayoutTerms,
    block: &Due,
    credit: &mut CreditSums,
) -> anyhow::Result<Option<Worked>> {
    let mut cuts = Cuts::read(sql)?;
    if cuts.is_inexact(sql, block.height)? {
        return Ok(None);
    }
    let cut = cuts.below(block.height);
    let work = work_of(sql, accounts, terms, block, cut, credit)?;
    let is_whole = is_all_there(sql, block, &work)?;
    Ok(is_whole.then_some(work))
}

fn is_all_there(sql: &mut dyn Sql, block: &Due, work: &Worked) -> anyhow::Result<bool> {
    Ok(work.below >= pruned_to(sql)? && is_whole(sql, &block.hash, block.height, work.below)?)
}

fn work_of(
    sql: &mut dyn Sql,
    accounts: &LedgerAccounts,
    terms: &PayoutTerms,
    block: &Due,
    cut: Option<u32>,
    credit: &mut CreditSums,
) -> anyhow::Result<Worked> {
    let work = match (terms.scheme, Difficulty::new(block.difficulty)) {
        (Scheme::Pplns { window }, Some(network)) => window_work(
            sql,
            accounts,
            credit,
            PplnsWindow::new(window, network),
            block.height,
        ),
        // The difficulty of an imported block is not known, so it is divided over its own round.
        (Scheme::Prop | Scheme::Pplns { .. }, _) => {
            round_work(sql, accounts, credit, cut, block.height)
        }
    };
    work.with_context(|| format!("failed to read the credit of block {}", block.hash))
}

/// Credit of each account, by row id, when a reward is divided over the block's round.
pub(crate) fn divided_over_its_round(
    sql: &mut dyn Sql,
    height: u32,
    reward: u64,
    fee: FeePpm,
) -> anyhow::Result<BTreeMap<i64, u64>> {
    let accounts = LedgerAccounts::read(sql)?;
    let cut = cut_below(sql, height)?;
    let work = round_work(sql, &accounts, &mut CreditSums::default(), cut, height)?;
    let amounts = split(reward, fee, &work.weights).amounts.into_iter();
    let earned = amounts.filter(|(_, amount)| *amount > 0);
    Ok(earned
        .map(|(rank, amount)| (accounts.get(rank).id, amount))
        .collect())
}

/// Height up to which credit was deleted; -1 if none was.
pub(crate) fn pruned_to(sql: &mut dyn Sql) -> anyhow::Result<i64> {
    let row = sql
        .query_one("SELECT pruned_to FROM meta", &[])
        .context("failed to read what was deleted")?;
    Ok(row.get(0)?)
}

/// True if a block whose settlement was reversed still has, above a height, all the credit that it was
/// divided over before.
pub(crate) fn is_whole(
    sql: &mut dyn Sql,
    block: &str,
    height: u32,
    above: i64,
) -> anyhow::Result<bool> {
    let less = sql
        .query_opt(
            "SELECT 1 FROM settlements AS s
              WHERE block = ?1 AND state = 'reversed' AND scheme <> 'elsewhere'
                AND from_height > CAST(?3 AS BIGINT) AND shares >
                (SELECT coalesce(sum(count), 0) FROM credit
                  WHERE credit.height BETWEEN s.from_height AND CAST(?2 AS BIGINT))
              LIMIT 1",
            &values![block, height, above],
        )
        .context("failed to read the settlements")?;
    Ok(less.is_none())
}

/// The work that a reward is divided over.
pub(super) struct Worked {
    /// The first height with work in it.
    pub(super) from_height: u32,
    /// Credit at and below this height does not belong to it.
    below: i64,
    /// Number of shares in it.
    pub(super) shares: u64,
    /// Of each account.
    pub(super) weights: BTreeMap<Rank, Weight>,
}

fn round_work(
    sql: &mut dyn Sql,
    accounts: &LedgerAccounts,
    credit: &mut CreditSums,
    cut: Option<u32>,
    height: u32,
) -> anyhow::Result<Worked> {
    let above = cut.map_or(-1, i64::from);
    let first = "SELECT min(height) FROM credit WHERE height > ?1 AND height <= ?2";
    let first: Option<u32> = sql.query_one(first, &values![above, height])?.get(0)?;
    let (weights, shares) = credit.work(sql, accounts, above, height.into())?;
    Ok(Worked {
        from_height: first.unwrap_or(height),
        below: above,
        shares,
        weights,
    })
}

/// Collects the window's work downwards in the spans within which the server merges old credit, so that the
/// window contains the same work whether it was merged or not.
fn window_work(
    sql: &mut dyn Sql,
    accounts: &LedgerAccounts,
    credit: &mut CreditSums,
    mut window: PplnsWindow<Rank>,
    height: u32,
) -> anyhow::Result<Worked> {
    let mut worked = Worked {
        from_height: height,
        below: i64::from(height),
        shares: 0,
        weights: BTreeMap::new(),
    };
    let highest = "SELECT max(height) FROM credit WHERE height <= ?1";
    let mut next = i64::from(height);
    while !window.is_full() {
        let height: Option<u32> = sql.query_one(highest, &values![next])?.get(0)?;
        let Some(height) = height.map(i64::from) else {
            break;
        };
        let below = below_span(sql, height)?;
        let (weights, shares) = credit.work(sql, accounts, below, height)?;
        worked.shares += shares;
        window.push(weights);
        worked.from_height = u32::try_from(below + 1)?;
        worked.below = below;
        next = below;
    }
    if !window.is_full() {
        // A history shorter than the window counts whole.
        worked.below = -1;
    }
    worked.weights = window.into_weights();
    Ok(worked)
}

/// Work of a row: its difficulty and, in the next column, its number of shares.
pub(super) fn weight(row: &Row, column: usize) -> Result<(Weight, u64), SqlError> {
    let count = row.get(column + 1)?;
    Ok((weight_of(row.get(column)?, count)?, count))
}

/// Work of shares of one difficulty.
pub(super) fn weight_of(difficulty: f64, count: u64) -> Result<Weight, SqlError> {
    match Difficulty::new(difficulty) {
        Some(difficulty) => Ok(Weight::of(difficulty, count)),
        None => {
            let text = format!("a share has the difficulty {difficulty}");
            Err(SqlError::Failed(text))
        }
    }
}
