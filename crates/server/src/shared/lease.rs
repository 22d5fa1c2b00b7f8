//! Who is the judge: one server at a time, whose node has the highest tip of all that are alive.

use crate::limits::ALIVE_MS;
use crate::sql::{Sql, SqlError};
use crate::values;

/// The lease's row.
const NAME: &str = "judge";

/// What the lease says, and who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub now_ms: i64,
    /// Who holds it, and until when.
    pub holder: Option<i64>,
    pub until_ms: i64,
    /// Who asks, and its node's height.
    pub me: i64,
    pub tip: Option<i64>,
    /// The highest of all that are alive.
    pub highest: Option<i64>,
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is ours for so long from now on.
    Take,
    /// It is ours for long enough.
    Keep,
    /// It is ours; others may have it.
    Leave,
    /// It is not ours.
    Wait,
}

impl Standing {
    pub(crate) fn step(&self) -> Step {
        let is_mine = self.holder == Some(self.me);
        let is_over = self.now_ms >= self.until_ms;
        let is_fit = self.tip.is_some() && self.tip >= self.highest;
        match (is_mine, is_fit) {
            (true, true) if self.until_ms - self.now_ms > ALIVE_MS / 2 => Step::Keep,
            (true, true) => Step::Take,
            (true, false) if is_over => Step::Wait,
            (true, false) => Step::Leave,
            (false, true) if is_over => Step::Take,
            (false, _) => Step::Wait,
        }
    }
}

/// Takes the lease, keeps it or leaves it; says whether it is ours.
///
/// # Errors
/// See [`SqlError`].
pub(crate) fn contend(
    sql: &mut dyn Sql,
    me: i64,
    tip: Option<i64>,
    now_ms: i64,
) -> Result<bool, SqlError> {
    let row = sql.query_one(
        "SELECT holder, until_ms FROM leases WHERE name = ?1",
        &values![NAME],
    )?;
    let alive = "SELECT max(tip) FROM origins WHERE seen_at_ms > ?1";
    let highest = sql.query_one(alive, &values![now_ms - ALIVE_MS])?.get(0)?;
    let standing = Standing {
        now_ms,
        holder: row.get(0)?,
        until_ms: row.get(1)?,
        me,
        tip,
        highest,
    };
    let until_ms = match standing.step() {
        Step::Take => now_ms + ALIVE_MS,
        Step::Keep => return Ok(true),
        Step::Leave => 0,
        Step::Wait => return Ok(false),
    };
    sql.execute(
        "UPDATE leases SET holder = ?2, until_ms = ?3 WHERE name = ?1",
        &values![NAME, me, until_ms],
    )?;
    Ok(until_ms > 0)
}

/// Whether the lease is ours still.
///
/// # Errors
/// See [`SqlError`].
pub(crate) fn is_held(sql: &mut dyn Sql, me: i64, now_ms: i64) -> Result<bool, SqlError> {
    let held = sql.query_opt(
        "SELECT 1 FROM leases WHERE name = ?1 AND holder = ?2 AND until_ms > ?3",
        &values![NAME, me, now_ms],
    )?;
    Ok(held.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000;

    fn step(holder: Option<i64>, until_ms: i64, tip: Option<i64>, highest: Option<i64>) -> Step {
        Standing {
            now_ms: NOW,
            holder,
            until_ms,
            me: 1,
            tip,
            highest,
        }
        .step()
    }

    #[test]
    fn one_at_a_time_holds_it_and_only_at_the_highest_tip() {
        let (mine, other) = (Some(1), Some(2));
        let (before, after) = (NOW, NOW + 1);
        for (holder, until_ms, tip, highest, expected) in [
            (None, 0, Some(7), Some(7), Step::Take),
            (None, 0, Some(7), None, Step::Take),
            (None, 0, None, None, Step::Wait),
            (None, 0, Some(6), Some(7), Step::Wait),
            (other, after, Some(7), Some(7), Step::Wait),
            (other, before, Some(7), Some(7), Step::Take),
            (other, before, Some(6), Some(7), Step::Wait),
            (mine, after, Some(7), Some(7), Step::Take),
            (mine, NOW + ALIVE_MS, Some(7), Some(7), Step::Keep),
            (mine, NOW + ALIVE_MS, Some(6), Some(7), Step::Leave),
            (mine, before, Some(7), Some(7), Step::Take),
            (mine, after, Some(6), Some(7), Step::Leave),
            (mine, before, Some(6), Some(7), Step::Wait),
            (mine, after, None, Some(7), Step::Leave),
        ] {
            let is = step(holder, until_ms, tip, highest);
            assert_eq!(is, expected, "{holder:?} {until_ms} {tip:?} {highest:?}");
        }
    }
}
