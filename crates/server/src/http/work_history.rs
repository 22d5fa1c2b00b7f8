//! Work history of the whole pool, in steps of time. A step that is over is read once and cached for as long
//! as it was old then: with 100,000 workers a year is 36 million rows, and its last day 14 million.
//!
//! Statistics that come later, because a server or its disk was away, are recorded in `late`: the steps that
//! contain such hours are read again.
//!
//! A step is the sum of its shorter steps while the ledger still has those unmerged. Once its rows may have
//! been merged into longer spans, it is read whole, from all spans at once.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use parking_lot::Mutex;

use super::late_hours::{Changes, Late, read_changes};
use super::workers::SentShares;
use crate::limits::{HTTP_SUMS, HTTP_SUMS_MAX};
use crate::sql::{Sql, SqlError};
use crate::store::late_statistics::LATE_STEP_S;
use crate::values;

/// Spans, and the seconds for which compaction certainly leaves rows in them.
const SPANS_S: [(i64, i64); 3] = [(600, 82_800), (3_600, 7 * 86_400), (86_400, i64::MAX)];

/// Seconds after its end during which a step may still grow, since shares come in batches.
const LATE_S: i64 = 900;

/// Span and start of a step.
type HistoryStep = (i64, i64);

/// Cache of the steps.
#[derive(Default)]
pub(crate) struct WorkHistory(Mutex<KnownSteps>);

#[derive(Default)]
struct KnownSteps {
    steps: HashMap<HistoryStep, KnownStep>,
    late: Late,
    /// Number of times that late hours were found: a reading that began before must not be cached.
    generation: u64,
}

#[derive(Clone, Copy)]
struct KnownStep {
    sent: SentShares,
    /// Unix seconds until which it is cached.
    until: i64,
}

/// One reading, limited in time; its results are cached for the next.
struct HistoryReading<'a> {
    sums: &'a WorkHistory,
    sql: &'a mut dyn Sql,
    now: i64,
    begun: Instant,
    generation: u64,
}

impl WorkHistory {
    /// The steps of a span from a time on, latest first, as far as they can be read within [`HTTP_SUMS`].
    /// Steps without any submits are left out.
    pub(crate) fn read(
        &self,
        sql: &mut dyn Sql,
        (span, from): (i64, i64),
        now: i64,
    ) -> Result<BTreeMap<i64, SentShares>, SqlError> {
        let changes = read_changes(sql, from)?;
        let mut reading = HistoryReading {
            generation: self.forget_late(&changes),
            sums: self,
            sql,
            now,
            begun: Instant::now(),
        };
        let mut found = BTreeMap::new();
        let mut start = now - now % span;
        while start >= from {
            let Some(sent) = reading.step((span, start))? else {
                break;
            };
            if sent.all() > 0 {
                found.insert(start, sent);
            }
            start -= span;
        }
        Ok(found)
    }

    /// Drops the steps that contain hours which have grown.
    fn forget_late(&self, changes: &Changes) -> u64 {
        let mut known = self.0.lock();
        let news = known.late.news(changes);
        if !news.is_empty() {
            known.generation += 1;
            known.steps.retain(|(span, start), _| {
                let is_in = |hour: &i64| *hour < start + span && start - LATE_STEP_S < *hour;
                !news.iter().any(is_in)
            });
        }
        known.generation
    }
}

impl HistoryReading<'_> {
    /// Reads or computes one step; `None` when there is no time left.
    fn step(&mut self, step: HistoryStep) -> Result<Option<SentShares>, SqlError> {
        let (span, start) = step;
        let kept = self.sums.0.lock().steps.get(&step).copied();
        if let Some(kept) = kept
            && self.now < kept.until
        {
            return Ok(Some(kept.sent));
        }
        let shorter = SPANS_S.iter().rev().find(|(other, _)| *other < span);
        let sent = match shorter {
            Some((shorter, left_s)) if start > self.now - left_s => {
                self.sum_of((*shorter, start), start + span)?
            }
            _ if self.begun.elapsed() > HTTP_SUMS => None,
            _ => Some(self.ask(step)?),
        };
        let age = self.now - start - span;
        if let Some(sent) = sent
            && age > LATE_S
        {
            let mut known = self.sums.0.lock();
            if known.steps.len() >= HTTP_SUMS_MAX {
                known.steps.clear();
            }
            let until = self.now + age;
            if known.generation == self.generation {
                known.steps.insert(step, KnownStep { sent, until });
            }
        }
        Ok(sent)
    }

    fn sum_of(
        &mut self,
        (span, from): HistoryStep,
        to: i64,
    ) -> Result<Option<SentShares>, SqlError> {
        let mut sum = SentShares::default();
        let mut start = from;
        while start < to.min(self.now + 1) {
            let Some(sent) = self.step((span, start))? else {
                return Ok(None);
            };
            sum.add(&sent);
            start += span;
        }
        Ok(Some(sum))
    }

    /// Sums all rows that begin within the step, whatever span they are in by now.
    fn ask(&mut self, (span, start): HistoryStep) -> Result<SentShares, SqlError> {
        let mut sum = SentShares::default();
        for (other, _) in SPANS_S.iter().filter(|(other, _)| *other <= span) {
            let row = self.sql.query_one(
                "SELECT CAST(coalesce(sum(accepted), 0) AS BIGINT),
                        CAST(coalesce(sum(stale), 0) AS BIGINT),
                        CAST(coalesce(sum(low), 0) AS BIGINT),
                        CAST(coalesce(sum(duplicate), 0) AS BIGINT),
                        coalesce(sum(accepted_work), 0.0)
                   FROM statistics WHERE span = ?1 AND start >= ?2 AND start < ?3",
                &values![*other, start, start + span],
            )?;
            sum.add(&SentShares {
                accepted: row.get(0)?,
                stale: row.get(1)?,
                low: row.get(2)?,
                duplicate: row.get(3)?,
                work: row.get(4)?,
            });
        }
        Ok(sum)
    }
}
