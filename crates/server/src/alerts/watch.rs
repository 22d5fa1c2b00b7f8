//! Finds out from the ledger what accounts with contacts are to be told: workers that are silent, a hashrate that has
//! fallen, blocks and payments.
//!
//! A miner is not told of the pool's own trouble. Silence counts from when the server that the worker was at last works:
//! is there, and has a job. A silence of most of the pool's workers at once is the pool's.

use std::collections::{HashMap, HashSet};

use hstratum_core::units::HASHES_PER_DIFFICULTY;

use crate::contacts::event::{AlertEvent, Noted};
use crate::contacts::table::note;
use crate::limits::{
    ALERT_LOOK_BACK_S, DROP_BEFORE_S, DROP_PAUSE_S, DROP_WITHIN_S, OUTAGE_ACCOUNTS_MIN,
    SILENT_SHARES_MIN, SILENT_WITHIN_S, SILENT_WORKERS_MAX,
};
use crate::sql::{Sql, SqlError};
use crate::values;

/// Span of the statistics that are read, in seconds.
const SPAN_S: i64 = 600;

/// Since when each server works without a break, Unix seconds; by its number in the ledger.
#[derive(Default)]
pub struct WorkingSince(HashMap<i64, i64>);

impl WorkingSince {
    /// Takes which servers work now.
    pub fn see(&mut self, working: impl Iterator<Item = i64>, now: i64) {
        let working: HashSet<i64> = working.collect();
        self.0.retain(|server, _| working.contains(server));
        for server in working {
            self.0.entry(server).or_insert(now);
        }
    }

    fn of(&self, server: i64) -> Option<i64> {
        self.0.get(&server).copied()
    }

    /// Since when all that work now do; none if none does.
    fn all(&self) -> Option<i64> {
        self.0.values().max().copied()
    }
}

/// Reads which blocks and payments there are to tell.
///
/// # Errors
/// See [`SqlError`].
pub fn look_at_money(sql: &mut dyn Sql, now: i64) -> Result<Vec<Noted>, SqlError> {
    let mut found = blocks(sql, now)?;
    found.extend(payments(sql, now)?);
    Ok(found)
}

/// Reads what there is to tell of workers and hashrates.
///
/// # Errors
/// See [`SqlError`].
pub fn look_at_workers(
    sql: &mut dyn Sql,
    working: &WorkingSince,
    now: i64,
) -> Result<Vec<Noted>, SqlError> {
    let mut found = silent(sql, working, now)?;
    found.extend(drops(sql, working, now)?);
    Ok(found)
}

/// Writes it.
///
/// # Errors
/// See [`SqlError`].
pub fn write(sql: &mut dyn Sql, found: &[Noted]) -> Result<(), SqlError> {
    for (account, at, event) in found {
        note(sql, account, *at, event)?;
    }
    Ok(())
}

/// SQL for whether the settings `s` are of an account that has a contact.
const HAS_CONTACT: &str =
    "EXISTS (SELECT 1 FROM contacts AS c WHERE c.account = s.account AND c.ended_at IS NULL)";

/// SQL for the spans that touch the last `back_s` seconds.
fn spans(now: i64, back_s: i64) -> String {
    let first = now - back_s;
    let starts = (first - first.rem_euclid(SPAN_S)..=now).step_by(SPAN_S as usize);
    let starts: Vec<String> = starts.map(|start| start.to_string()).collect();
    starts.join(", ")
}

struct SilentWorker {
    id: i64,
    limit_s: i64,
    last_share: i64,
}

/// Workers that sent shares within the last two hours, and none for as long as their accounts have set, so long that it is
/// no chance; those that are not told yet, and not many at a time.
fn silent(sql: &mut dyn Sql, working: &WorkingSince, now: i64) -> Result<Vec<Noted>, SqlError> {
    let rows = sql.query(
        // SQLite keeps the order of a CROSS JOIN: it looks the few spans of each worker up.
        &format!(
            "SELECT name, worker, id, limit_s, last
               FROM (SELECT a.id AS account, a.name AS name, w.name AS worker, w.id AS id,
                            s.silent_minutes * 60 AS limit_s, min(t.first_share) AS first,
                            max(t.last_share) AS last, CAST(sum(t.accepted) AS BIGINT) AS shares
                       FROM alert_settings AS s JOIN accounts AS a ON a.id = s.account
                       JOIN workers AS w ON w.account = a.id
                      CROSS JOIN statistics AS t
                      WHERE s.silent_minutes IS NOT NULL AND {HAS_CONTACT}
                        AND t.span = {SPAN_S} AND t.start IN ({}) AND t.worker = w.id AND t.first_share > 0
                      GROUP BY a.id, a.name, w.name, w.id, s.silent_minutes) AS workers
              WHERE last <= ?1 - limit_s AND shares >= {SILENT_SHARES_MIN}
                AND shares * limit_s >= {SILENT_SHARES_MIN} * (last - first)
                AND NOT EXISTS (SELECT 1 FROM alerts AS e WHERE e.account = workers.account AND e.kind = 'silent'
                                   AND e.subject = CAST(workers.last AS TEXT) || ' ' || workers.worker)
              ORDER BY last DESC, name, worker LIMIT {SILENT_WORKERS_MAX}",
            spans(now, SILENT_WITHIN_S)
        ),
        &values![now],
    )?;
    let mut found = Vec::new();
    for row in &rows {
        let silent = SilentWorker {
            id: row.get(2)?,
            limit_s: row.get(3)?,
            last_share: row.get(4)?,
        };
        if was_served(sql, &silent, working, now)? {
            let event = AlertEvent::Silent {
                worker: row.get(1)?,
                last_share_at: silent.last_share,
            };
            found.push((row.get(0)?, now, event));
        }
    }
    if !found.is_empty() && is_outage(sql, now)? {
        found.clear();
    }
    Ok(found)
}

/// True if the server that it was at last has worked for as long as the silence must be.
fn was_served(
    sql: &mut dyn Sql,
    silent: &SilentWorker,
    working: &WorkingSince,
    now: i64,
) -> Result<bool, SqlError> {
    let start = silent.last_share - silent.last_share.rem_euclid(SPAN_S);
    let at = sql.query_opt(
        &format!(
            "SELECT max(origin) FROM statistics
              WHERE span = {SPAN_S} AND start = ?2 AND worker = ?1 AND last_share = ?3"
        ),
        &values![silent.id, start, silent.last_share],
    )?;
    let server: Option<i64> = at.map(|row| row.get(0)).transpose()?.flatten();
    let since = server.and_then(|server| working.of(server));
    Ok(since.is_some_and(|since| since + silent.limit_s <= now))
}

/// True if workers of several accounts, who did more than half of the pool's work within the last hour, have been silent
/// for some minutes. Names cost nothing, work does.
fn is_outage(sql: &mut dyn Sql, now: i64) -> Result<bool, SqlError> {
    let row = sql.query_one(
        &format!(
            "SELECT coalesce(sum(work), 0.0), coalesce(sum(CASE WHEN is_silent = 1 THEN work ELSE 0.0 END), 0.0),
                    count(DISTINCT CASE WHEN is_silent = 1 THEN account END)
               FROM (SELECT w.account AS account, w.id AS worker, sum(t.accepted_work) AS work,
                            CASE WHEN max(t.last_share) <= ?1 - 300 THEN 1 ELSE 0 END AS is_silent
                       FROM statistics AS t JOIN workers AS w ON w.id = t.worker
                      WHERE t.span = {SPAN_S} AND t.start IN ({}) AND t.last_share > 0
                      GROUP BY w.account, w.id) AS workers",
            spans(now, 3600)
        ),
        &values![now],
    )?;
    let (work, silent, accounts): (f64, f64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(silent * 2.0 > work && accounts >= OUTAGE_ACCOUNTS_MIN)
}

/// Accounts whose hashrate has fallen by as much as they have set, and by more than chance makes it.
fn drops(sql: &mut dyn Sql, working: &WorkingSince, now: i64) -> Result<Vec<Noted>, SqlError> {
    let end = now - now.rem_euclid(SPAN_S);
    let (middle, begin) = (end - DROP_WITHIN_S, end - DROP_WITHIN_S - DROP_BEFORE_S);
    if working.all().is_none_or(|since| since > middle) {
        return Ok(Vec::new());
    }
    let rows = sql.query(
        &format!(
            "SELECT a.name, s.drop_percent,
                    sum(CASE WHEN t.start >= ?1 THEN t.accepted_work ELSE 0.0 END),
                    sum(CASE WHEN t.start < ?1 THEN t.accepted_work ELSE 0.0 END),
                    CAST(sum(CASE WHEN t.start < ?1 THEN t.accepted ELSE 0 END) AS BIGINT),
                    count(DISTINCT CASE WHEN t.start < ?1 THEN t.start END)
               FROM alert_settings AS s JOIN accounts AS a ON a.id = s.account JOIN workers AS w ON w.account = a.id
              CROSS JOIN statistics AS t
              WHERE s.drop_percent IS NOT NULL AND {HAS_CONTACT}
                AND t.span = {SPAN_S} AND t.start IN ({}) AND t.start >= ?2 AND t.start < ?3 AND t.worker = w.id
                AND NOT EXISTS (SELECT 1 FROM alerts AS e
                                 WHERE e.account = s.account AND e.kind = 'drop' AND e.at > ?4 - {DROP_PAUSE_S})
              GROUP BY a.name, s.drop_percent ORDER BY a.name",
            spans(end, DROP_WITHIN_S + DROP_BEFORE_S)
        ),
        &values![middle, begin, end, now],
    )?;
    let mut found = Vec::new();
    for row in &rows {
        let (percent, work_now, work_before): (i64, f64, f64) =
            (row.get(1)?, row.get(2)?, row.get(3)?);
        let (shares, spans): (i64, i64) = (row.get(4)?, row.get(5)?);
        // It has mined the whole time, so that there is something to compare with.
        if spans * SPAN_S < DROP_BEFORE_S {
            continue;
        }
        let part = DROP_WITHIN_S as f64 / DROP_BEFORE_S as f64;
        let lost = 1.0 - work_now / (work_before * part);
        // Four standard deviations of the number of shares that was to be expected.
        let chance = 4.0 / (shares as f64 * part).sqrt();
        if lost >= percent as f64 / 100.0 && lost > chance {
            let rate = |work: f64, seconds: i64| work * HASHES_PER_DIFFICULTY / seconds as f64;
            let event = AlertEvent::Drop {
                now: rate(work_now, DROP_WITHIN_S),
                before: rate(work_before, DROP_BEFORE_S),
            };
            found.push((row.get(0)?, now, event));
        }
    }
    Ok(found)
}

/// SQL for whether the settings `s` are of an account that had a contact at that time, and was not told of it yet.
fn is_untold(kind: &str, subject: &str, at: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM contacts AS c
                  WHERE c.account = s.account AND c.ended_at IS NULL AND c.added_at <= {at})
         AND NOT EXISTS (SELECT 1 FROM alerts AS e
                          WHERE e.account = s.account AND e.kind = '{kind}' AND e.subject = {subject})"
    )
}

/// Blocks that came onto the main chain lately, or went from it.
fn blocks(sql: &mut dyn Sql, now: i64) -> Result<Vec<Noted>, SqlError> {
    let untold = is_untold(
        "block",
        "b.hash || CASE WHEN b.state = 'orphaned' THEN ' lost' ELSE '' END",
        "CASE WHEN b.state = 'orphaned' THEN b.changed_at ELSE b.closed_at END",
    );
    let rows = sql.query(
        &format!(
            "SELECT a.name, b.hash, b.height, b.closed_at, b.changed_at,
                    CASE WHEN b.state = 'orphaned' THEN 1 ELSE 0 END
               FROM blocks AS b JOIN accounts AS a ON a.id = b.account JOIN alert_settings AS s ON s.account = a.id
              WHERE s.blocks = 1 AND b.closed_at IS NOT NULL AND b.changed_at > ?1 AND {untold}
              ORDER BY b.height, b.hash"
        ),
        &values![now - ALERT_LOOK_BACK_S],
    )?;
    let found = rows.iter().map(|row| {
        let (hash, height): (String, i64) = (row.get(1)?, row.get(2)?);
        let height = u32::try_from(height).unwrap_or(u32::MAX);
        let is_lost = row.get::<i64>(5)? == 1;
        let (at, event) = match is_lost {
            true => (row.get(4)?, AlertEvent::BlockLost { hash, height }),
            false => (row.get(3)?, AlertEvent::Block { hash, height }),
        };
        Ok((row.get(0)?, at, event))
    });
    found.collect()
}

/// Payments that were sent, or whose coinbase is confirmed, lately.
fn payments(sql: &mut dyn Sql, now: i64) -> Result<Vec<Noted>, SqlError> {
    let untold = is_untold("payment", "p.txid", "p.changed_at");
    let rows = sql.query(
        &format!(
            "SELECT a.name, o.amount, o.address, p.txid, p.changed_at
               FROM payments AS p JOIN payment_outputs AS o ON o.payment = p.id JOIN accounts AS a ON a.id = o.account
               JOIN alert_settings AS s ON s.account = a.id
              WHERE s.payments = 1 AND p.state IN ('sent', 'confirmed') AND p.changed_at > ?1
                AND p.txid IS NOT NULL AND {untold}
              ORDER BY p.id, a.name"
        ),
        &values![now - ALERT_LOOK_BACK_S],
    )?;
    let found = rows.iter().map(|row| {
        let event = AlertEvent::Payment {
            amount: row.get(1)?,
            address: row.get(2)?,
            txid: row.get(3)?,
        };
        Ok((row.get(0)?, row.get(4)?, event))
    });
    found.collect()
}
