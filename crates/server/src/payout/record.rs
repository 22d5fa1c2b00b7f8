//! Record of a pool's payouts in its ledger: whether they are paused, and the end of the last run.
//!
//! It is one row, since a run each minute would make half a million a year. Payments have rows of their own.

use anyhow::bail;

use crate::limits::PAYOUT_FAILURE_CHARS;
use crate::sql::{Db, Sql, SqlError};
use crate::values;

/// Record of a pool's payouts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PayoutRecord {
    /// Set while payouts are paused.
    pub paused: Option<Pause>,
    /// Number of runs so far, which tells a run of another process from none.
    pub runs: u64,
    /// The last run; `None` before the first.
    pub last_run: Option<LastRun>,
}

/// A pause of payouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Its begin, Unix seconds.
    pub at: u64,
    /// Name of the server that was told, or `hstratum payout`.
    pub by: String,
}

/// The last run of a payout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// Its begin, Unix seconds.
    pub at: u64,
    /// Name of the server that ran it, or `hstratum payout`.
    pub by: String,
    /// The obstacle that it met; `None` if it came to its end.
    pub failure: Option<String>,
}

impl PayoutRecord {
    /// Reads it.
    ///
    /// # Errors
    /// See [`SqlError`].
    pub fn read(sql: &mut dyn Sql) -> Result<Self, SqlError> {
        let row = sql.query_opt(
            "SELECT paused_at, paused_by, runs, ran_at, ran_by, failure FROM payouts",
            &[],
        )?;
        let Some(row) = row else {
            return Ok(Self::default());
        };
        let (paused_at, ran_at): (Option<u64>, Option<u64>) = (row.get(0)?, row.get(3)?);
        let by = |column| Ok::<_, SqlError>(row.get::<Option<String>>(column)?.unwrap_or_default());
        let (paused_by, ran_by, failure) = (by(1)?, by(4)?, row.get(5)?);
        Ok(Self {
            paused: paused_at.map(|at| Pause { at, by: paused_by }),
            runs: row.get(2)?,
            last_run: ran_at.map(|at| LastRun {
                at,
                by: ran_by,
                failure,
            }),
        })
    }
}

/// Pauses payouts; of two pauses the first stays.
///
/// # Errors
/// See [`SqlError`].
pub fn pause(sql: &mut dyn Sql, pause: &Pause) -> Result<(), SqlError> {
    sql.execute(
        "INSERT INTO payouts (id, paused_at, paused_by, runs) VALUES (1, ?1, ?2, 0)
         ON CONFLICT (id) DO UPDATE SET paused_at = excluded.paused_at,
                                        paused_by = excluded.paused_by
          WHERE payouts.paused_at IS NULL",
        &values![pause.at, &pause.by],
    )?;
    Ok(())
}

/// Ends a pause.
///
/// # Errors
/// See [`SqlError`].
pub fn resume(sql: &mut dyn Sql) -> Result<(), SqlError> {
    let end = "UPDATE payouts SET paused_at = NULL, paused_by = NULL";
    sql.execute(end, &[])?;
    Ok(())
}

/// Records the end of a run.
pub(super) fn record_run(sql: &mut dyn Sql, run: &LastRun) -> Result<(), SqlError> {
    let failure = run.failure.as_ref();
    let failure = failure.map(|text| text.chars().take(PAYOUT_FAILURE_CHARS).collect::<String>());
    sql.execute(
        "INSERT INTO payouts (id, runs, ran_at, ran_by, failure) VALUES (1, 1, ?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET runs = payouts.runs + 1, ran_at = excluded.ran_at,
                                        ran_by = excluded.ran_by, failure = excluded.failure",
        &values![run.at, &run.by, failure],
    )?;
    Ok(())
}

/// Checks that payouts are not paused.
///
/// # Errors
/// When they are, with the way to end that.
pub(super) fn check_not_paused(db: &mut Db) -> anyhow::Result<()> {
    if let Some(Pause { by, .. }) = db.read(PayoutRecord::read)?.paused {
        bail!("payouts are paused by {by:?}: nobody is paid before `hstratum payout resume`");
    }
    Ok(())
}
