//! Sums of credit over intervals of heights, and those of them that are kept between the readings of estimates.
//!
//! Credit of a height that is mined no more changes only by shares that come late, and when heights are merged. So
//! what was read once is added up, and only the newest heights are read each time. Invariant: a sum is what the
//! ledger has, but for shares that came late within [`ESTIMATE_KEPT`]. Settlements keep nothing.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use hstratum_core::accounting::reward_split::Weight;

use super::account::{LedgerAccounts, Rank};
use super::due::weight_of;
use crate::limits::{ESTIMATE_KEPT, ESTIMATE_SUMS_MAX};
use crate::sql::{Sql, SqlError};
use crate::store::compaction::is_crossed;
use crate::values;

/// SQL for the shares in an interval of heights.
const SHARES: &str = "\
    SELECT account, difficulty, CAST(sum(count) AS BIGINT) FROM credit
    WHERE height > ?1 AND height <= ?2 GROUP BY account, difficulty";

/// SQL for their number, which takes a fifth of the time.
const COUNT: &str = "\
    SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM credit
    WHERE height > ?1 AND height <= ?2";

/// The account's row id, and the bits of the difficulty.
type ShareKey = (i64, u64);

/// Numbers of shares.
type Counts = HashMap<ShareKey, u64>;

/// Reader of credit. By default it keeps nothing.
#[derive(Debug, Default)]
pub(super) struct CreditSums {
    /// Height up to which sums are kept, if any are.
    keep_to: Option<i64>,
    has_time: bool,
    /// By the height below the interval.
    kept: HashMap<i64, KeptCounts>,
}

#[derive(Debug)]
struct KeptCounts {
    /// The last height of the interval.
    up_to: i64,
    /// Time from which on it is compared with the ledger.
    fresh_until: Instant,
    is_used: bool,
    counts: Counts,
}

impl CreditSums {
    /// Keeps sums of credit up to a height in this reading, and forgets those that the last one had no use for.
    /// Old ones are compared with the ledger if there is time for it.
    pub(super) fn begin(&mut self, keep_to: i64, has_time: bool) {
        self.keep_to = Some(keep_to);
        self.has_time = has_time;
        self.kept
            .retain(|_, kept| std::mem::take(&mut kept.is_used));
    }

    /// Work of each account above a height and up to another, and the number of shares.
    pub(super) fn work(
        &mut self,
        sql: &mut dyn Sql,
        accounts: &LedgerAccounts,
        above: i64,
        up_to: i64,
    ) -> anyhow::Result<(BTreeMap<Rank, Weight>, u64)> {
        let Some(keep_to) = self.keep_to.map(|height| height.min(up_to)) else {
            // Row by row: somebody may have asked for many difficulties.
            let mut work = Work::default();
            each(sql, above, up_to, &mut |key, count| {
                work.add(accounts, key, count)
            })?;
            return Ok((work.weights, work.shares));
        };
        let known = match self.kept.remove(&above) {
            Some(kept) => self.checked(sql, kept, above, up_to)?,
            None => None,
        };
        let mut kept = match known {
            Some(kept) => kept,
            None => KeptCounts {
                up_to: above,
                fresh_until: Instant::now() + ESTIMATE_KEPT,
                is_used: true,
                counts: Counts::new(),
            },
        };
        if kept.up_to < keep_to {
            add(sql, kept.up_to, keep_to, &mut kept.counts)?;
            kept.up_to = keep_to;
        }
        let mut counts = kept.counts.clone();
        add(sql, kept.up_to, up_to, &mut counts)?;
        let others: usize = self.kept.values().map(|kept| kept.counts.len()).sum();
        if others + kept.counts.len() <= ESTIMATE_SUMS_MAX {
            kept.is_used = true;
            self.kept.insert(above, kept);
        }
        work_of(accounts, &counts)
    }

    /// The sum if it is that of a part of the interval, whose shares are compared with the ledger's now and then.
    /// Credit that has been merged across its end would be counted twice.
    fn checked(
        &self,
        sql: &mut dyn Sql,
        mut kept: KeptCounts,
        above: i64,
        up_to: i64,
    ) -> Result<Option<KeptCounts>, SqlError> {
        if kept.up_to > up_to || is_crossed(sql, kept.up_to)? {
            return Ok(None);
        }
        if self.has_time && kept.fresh_until <= Instant::now() {
            // Shares are added and never changed: as many as before are the same.
            let shares: u64 = sql.query_one(COUNT, &values![above, kept.up_to])?.get(0)?;
            if shares != kept.counts.values().sum::<u64>() {
                return Ok(None);
            }
            kept.fresh_until = Instant::now() + ESTIMATE_KEPT;
        }
        Ok(Some(kept))
    }
}

/// Adds the shares above a height and up to another.
fn add(sql: &mut dyn Sql, above: i64, up_to: i64, counts: &mut Counts) -> Result<(), SqlError> {
    if above >= up_to {
        return Ok(());
    }
    each(sql, above, up_to, &mut |key, count| {
        *counts.entry(key).or_default() += count;
        Ok(())
    })
}

/// Gives the shares above a height and up to another, by [`ShareKey`].
fn each(
    sql: &mut dyn Sql,
    above: i64,
    up_to: i64,
    take: &mut dyn FnMut(ShareKey, u64) -> Result<(), SqlError>,
) -> Result<(), SqlError> {
    sql.each(SHARES, &values![above, up_to], &mut |row| {
        let difficulty: f64 = row.get(1)?;
        take((row.get(0)?, difficulty.to_bits()), row.get(2)?)
    })
}

fn work_of(
    accounts: &LedgerAccounts,
    counts: &Counts,
) -> anyhow::Result<(BTreeMap<Rank, Weight>, u64)> {
    let mut work = Work::default();
    for (key, count) in counts {
        work.add(accounts, *key, *count)?;
    }
    Ok((work.weights, work.shares))
}

/// Work of accounts.
#[derive(Default)]
struct Work {
    weights: BTreeMap<Rank, Weight>,
    shares: u64,
}

impl Work {
    fn add(
        &mut self,
        accounts: &LedgerAccounts,
        (account, difficulty): ShareKey,
        count: u64,
    ) -> Result<(), SqlError> {
        let rank = accounts.rank(account);
        let rank = rank.map_err(|error| SqlError::Failed(format!("{error:#}")))?;
        let weight = weight_of(f64::from_bits(difficulty), count)?;
        self.shares += count;
        *self.weights.entry(rank).or_default() += &weight;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Db, Sqlite, sqlite_schema};

    #[test]
    fn late_shares_are_found_by_their_number() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        drop(sqlite_schema::open_own(&path, "regtest", 1_000, &mut Vec::new()).expect("created"));
        let mut db = Db::Sqlite(Sqlite::open_beside(&path).expect("opened"));
        let mine = |db: &mut Db, height: i64| {
            let insert =
                "INSERT INTO credit (height, account, difficulty, origin, count) VALUES (?1, 1, 1.0, 0, 1)
                          ON CONFLICT DO UPDATE SET count = count + 1";
            db.write(|sql: &mut dyn Sql| sql.execute(insert, &values![height]))
                .expect("written");
        };
        let name = "INSERT INTO accounts (id, name) VALUES (1, 'alice')";
        db.write(|sql: &mut dyn Sql| sql.execute(name, &[]))
            .expect("written");
        for height in 1..=10 {
            mine(&mut db, height);
        }
        let mut sums = CreditSums::default();
        let mut shares = |db: &mut Db, is_old: bool, has_time: bool| {
            sums.begin(8, has_time);
            if is_old {
                let kept = sums.kept.get_mut(&0).expect("kept");
                kept.fresh_until = Instant::now();
            }
            db.read(|sql| {
                let accounts = LedgerAccounts::read(sql)?;
                sums.work(sql, &accounts, 0, 10)
            })
            .expect("read")
            .1
        };
        assert_eq!(shares(&mut db, false, true), 10);
        mine(&mut db, 9);
        assert_eq!(shares(&mut db, false, true), 11, "read each time");
        mine(&mut db, 5);
        assert_eq!(shares(&mut db, false, true), 11, "kept");
        assert_eq!(shares(&mut db, true, false), 11, "kept for want of time");
        assert_eq!(shares(&mut db, true, true), 12, "found");
        assert_eq!(shares(&mut db, true, true), 12, "the same as before");
        assert_eq!(sums.kept[&0].counts[&(1, 1.0_f64.to_bits())], 9);
        assert!(sums.kept[&0].fresh_until > Instant::now());
    }
}
