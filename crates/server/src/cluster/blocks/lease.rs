//! Lease of the coordinator: held by one server at a time, whose node is synchronized and knows at least as
//! much work as this ledger was ever shown.

use hstratum_core::accounting::ledger::{ChainView, Knowledge};

use crate::limits::ALIVE_MS;
use crate::sql::{Sql, SqlError};
use crate::store::best_tip;
use crate::values;

/// Name of the lease's row.
const NAME: &str = "judge";

/// State of the lease, and of the server that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    pub now_ms: i64,
    /// Server that holds it, and until when.
    pub holder: Option<i64>,
    pub until_ms: i64,
    /// Server that asks, and whether its node knows enough work.
    pub me: i64,
    pub is_fit: bool,
}

/// Action that follows from the lease's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseStep {
    /// Take or extend it, until [`ALIVE_MS`] from now.
    Take,
    /// It is ours for long enough.
    Keep,
    /// Give it up: our node no longer knows enough.
    Leave,
    /// It is not ours.
    Wait,
}

impl Lease {
    pub(crate) fn step(&self) -> LeaseStep {
        let is_mine = self.holder == Some(self.me);
        let is_over = self.now_ms >= self.until_ms;
        match (is_mine, self.is_fit) {
            (true, true) if self.until_ms - self.now_ms > ALIVE_MS / 2 => LeaseStep::Keep,
            (true, true) => LeaseStep::Take,
            (true, false) if is_over => LeaseStep::Wait,
            (true, false) => LeaseStep::Leave,
            (false, true) if is_over => LeaseStep::Take,
            (false, _) => LeaseStep::Wait,
        }
    }
}

/// Takes, keeps or leaves the lease; returns whether it is ours, and what our node knows.
///
/// # Errors
/// See [`SqlError`].
pub(crate) fn contend(
    sql: &mut dyn Sql,
    me: i64,
    view: Option<&ChainView>,
    now_ms: i64,
) -> Result<(bool, Option<Knowledge>), SqlError> {
    let knowledge = match view {
        Some(view) => Some(best_tip::weigh(sql, view, now_ms / 1000)?),
        None => None,
    };
    let row = sql.query_one(
        "SELECT holder, until_ms FROM leases WHERE name = ?1",
        &values![NAME],
    )?;
    let lease = Lease {
        now_ms,
        holder: row.get(0)?,
        until_ms: row.get(1)?,
        me,
        is_fit: knowledge == Some(Knowledge::Enough),
    };
    let until_ms = match lease.step() {
        LeaseStep::Take => now_ms + ALIVE_MS,
        LeaseStep::Keep => return Ok((true, knowledge)),
        LeaseStep::Leave => 0,
        LeaseStep::Wait => return Ok((false, knowledge)),
    };
    sql.execute(
        "UPDATE leases SET holder = ?2, until_ms = ?3 WHERE name = ?1",
        &values![NAME, me, until_ms],
    )?;
    Ok((until_ms > 0, knowledge))
}

/// True while the lease is ours.
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

    fn step(holder: Option<i64>, until_ms: i64, is_fit: bool) -> LeaseStep {
        Lease {
            now_ms: NOW,
            holder,
            until_ms,
            me: 1,
            is_fit,
        }
        .step()
    }

    #[test]
    fn one_at_a_time_holds_it_and_only_who_knows_enough() {
        let (mine, other) = (Some(1), Some(2));
        let (before, after) = (NOW, NOW + 1);
        for (holder, until_ms, is_fit, expected) in [
            (None, 0, true, LeaseStep::Take),
            (None, 0, false, LeaseStep::Wait),
            (other, after, true, LeaseStep::Wait),
            (other, before, true, LeaseStep::Take),
            (other, before, false, LeaseStep::Wait),
            (mine, after, true, LeaseStep::Take),
            (mine, NOW + ALIVE_MS, true, LeaseStep::Keep),
            (mine, NOW + ALIVE_MS, false, LeaseStep::Leave),
            (mine, before, true, LeaseStep::Take),
            (mine, after, false, LeaseStep::Leave),
            (mine, before, false, LeaseStep::Wait),
        ] {
            let is = step(holder, until_ms, is_fit);
            assert_eq!(is, expected, "{holder:?} {until_ms} {is_fit}");
        }
    }
}
