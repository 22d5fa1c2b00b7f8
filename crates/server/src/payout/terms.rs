//! Terms between the pool and its miners, over time.
//!
//! A block is divided under the terms in force at its height, whenever that happens. New terms begin above the
//! height that is being mined, so that they concern no block that is known or under way. Invariant: rows of
//! `terms` are never changed or deleted. The threshold is no matter of heights: the newest holds.

use hstratum_core::accounting::reward_split::FeePpm;
use hstratum_core::accounting::terms::{PayoutTerms, Scheme};

use crate::sql::{Row, Sql, SqlError};
use crate::values;

/// All terms that a ledger has had, oldest first; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermsHistory(Vec<TermsRow>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TermsRow {
    from_height: u32,
    terms: PayoutTerms,
}

impl TermsHistory {
    /// The same terms at all heights.
    #[must_use]
    pub fn always(terms: PayoutTerms) -> Self {
        Self(vec![TermsRow {
            from_height: 0,
            terms,
        }])
    }

    /// Reads the history; `None` if the ledger has no terms yet.
    ///
    /// # Errors
    /// When it cannot be read, or a row is damaged.
    pub fn read(sql: &mut dyn Sql) -> Result<Option<Self>, SqlError> {
        let rows = sql.query(
            "SELECT from_height, scheme, \"window\", fee_ppm, threshold, threshold_min
               FROM terms ORDER BY id",
            &[],
        )?;
        let rows = rows.iter().map(TermsRow::read);
        let rows = rows.collect::<Result<Vec<_>, SqlError>>()?;
        match rows.first() {
            None => Ok(None),
            Some(first) if first.from_height == 0 => Ok(Some(Self(rows))),
            Some(_) => Err(SqlError::Failed(
                "the first row of terms is not of height 0".to_owned(),
            )),
        }
    }

    /// The same with each of the terms changed, as flags of a command do.
    #[must_use]
    pub fn changed(mut self, change: impl Fn(&mut PayoutTerms)) -> Self {
        self.0.iter_mut().for_each(|row| change(&mut row.terms));
        self
    }

    /// Terms in force at a height; of rows that begin at the same height the newest counts.
    #[must_use]
    pub fn at(&self, height: u32) -> &PayoutTerms {
        let begun = self.0.iter().filter(|row| row.from_height <= height);
        let row = begun.max_by_key(|row| row.from_height);
        &row.expect("the first row begins at height 0").terms
    }

    /// The first height of each of the terms, and the terms, oldest first.
    pub fn rows(&self) -> impl Iterator<Item = (u32, &PayoutTerms)> {
        self.0.iter().map(|row| (row.from_height, &row.terms))
    }

    /// The first height above one at which later terms begin.
    #[must_use]
    pub fn next_change(&self, height: u32) -> Option<u32> {
        let from_heights = self.0.iter().map(|row| row.from_height);
        from_heights.filter(|from| *from > height).min()
    }

    /// The terms that were set last.
    #[must_use]
    pub fn newest(&self) -> &PayoutTerms {
        &self.0.last().expect("never empty").terms
    }
}

impl TermsRow {
    fn read(row: &Row) -> Result<Self, SqlError> {
        let (name, window): (String, String) = (row.get(1)?, row.get(2)?);
        let scheme = Scheme::from_stored(&name, &window);
        let fee = FeePpm::new(row.get(3)?);
        let (Some(scheme), Some(fee)) = (scheme, fee) else {
            return Err(SqlError::Failed(format!(
                "a row of terms is damaged: scheme {name:?}, window {window:?}"
            )));
        };
        Ok(Self {
            from_height: row.get(0)?,
            terms: PayoutTerms {
                scheme,
                fee,
                threshold: row.get(4)?,
                threshold_min: row.get(5)?,
            },
        })
    }
}

/// Terms that were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermsChange {
    /// The height from which they hold.
    pub from_height: u32,
    /// The terms before; `None` for the first.
    pub before: Option<PayoutTerms>,
}

impl TermsChange {
    /// A log line about the terms that were written.
    #[must_use]
    pub fn line(&self, terms: &PayoutTerms) -> String {
        let Some(before) = &self.before else {
            return format!("terms: {terms}");
        };
        let differences = terms.differences(before, "").join(", ");
        match self.from_height {
            0 => format!("terms: {differences}"),
            from => {
                format!("terms: {differences}; blocks below height {from} are divided as before")
            }
        }
    }
}

/// Writes terms as the newest row if they differ from it. The first row holds at all heights; any other above
/// the height that is being mined and all that are known.
///
/// # Errors
/// See [`SqlError`].
pub fn put_terms(
    sql: &mut dyn Sql,
    terms: &PayoutTerms,
    unix_s: u64,
    set_by: &str,
) -> Result<Option<TermsChange>, SqlError> {
    let history = TermsHistory::read(sql)?;
    let from_height = match &history {
        Some(history) if history.newest() == terms => return Ok(None),
        Some(_) => above_all(sql)?,
        None => 0,
    };
    sql.execute(
        "INSERT INTO terms (from_height, scheme, \"window\", fee_ppm, threshold, threshold_min,
                            set_at, set_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        &values![
            from_height,
            terms.scheme.name(),
            terms.scheme.window(),
            terms.fee.get(),
            terms.threshold,
            terms.threshold_min,
            unix_s,
            set_by,
        ],
    )?;
    Ok(Some(TermsChange {
        from_height,
        before: history.map(|history| *history.newest()),
    }))
}

/// The first height above the one that is being mined, above all with credit, and not below that of an earlier
/// row. On a block that the pool found last, the next height is being mined, whether its tip was recorded yet or
/// not.
fn above_all(sql: &mut dyn Sql) -> Result<u32, SqlError> {
    let row = sql.query_one(
        "SELECT max(height) FROM (
           SELECT max(height) + 2 AS height FROM highest_tip
           UNION ALL SELECT max(height) + 2 FROM blocks
           UNION ALL SELECT max(height) + 1 FROM credit
           UNION ALL SELECT max(from_height) FROM terms) AS heights",
        &[],
    )?;
    row.get(0)
}
