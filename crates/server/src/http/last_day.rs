//! Work of each worker in the last day, read hour by hour, and within an hour span by span: with 100,000
//! workers a day is 14.4 million rows. Hours that are over are cached, an interrupted reading continues where
//! it was, and the known part is shown meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::background::Background;
use super::late_hours::{Changes, Late, read_changes};
use super::ledger_reader::LedgerReader;
use crate::clock::unix_s;
use crate::limits::{HTTP_DAY_KEPT, HTTP_REST, HTTP_SOON, HTTP_WORKERS_MAX};
use crate::sql::{Sql, SqlError, signed};
use crate::values;

const SPAN_S: i64 = 600;
const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 86_400;

/// Seconds after its end during which an hour may still grow, since shares come in batches.
const LATE_S: i64 = 900;

type WorkerId = (Arc<str>, Arc<str>);

/// Cache of the last day.
#[derive(Clone, Default)]
pub(crate) struct LastDay(Arc<LastDayInner>);

#[derive(Default)]
struct LastDayInner {
    state: Mutex<LastDayState>,
    /// Notified when a reading has ended.
    reading: Background,
}

#[derive(Default)]
struct LastDayState {
    workers: Vec<WorkerId>,
    places: HashMap<WorkerId, usize>,
    /// Time of each worker's last accepted share, by the worker's index.
    last: Vec<i64>,
    /// Difficulty of each worker's best share of all time, by the worker's index; 0 if none is known.
    best: Vec<f64>,
    hours: BTreeMap<i64, Hour>,
    late: Late,
    /// The hour that is being read.
    partial: Option<Partial>,
}

/// Accepted work of one hour, by the worker's index.
struct Hour {
    work: Vec<f64>,
    /// Unix seconds until which it is cached.
    until: i64,
}

struct Partial {
    start: i64,
    next_span: i64,
    work: Vec<f64>,
}

/// A worker's row of a span.
struct HourRow {
    account: String,
    worker: String,
    work: f64,
    /// Time of the last accepted share.
    last: Option<i64>,
    /// Difficulty of its best share of all time.
    best: Option<f64>,
}

/// Work of one worker in the known part of the day.
pub(crate) struct DayPast {
    pub account: Arc<str>,
    pub worker: Arc<str>,
    pub work: f64,
    /// Time of its last accepted share.
    pub last: Option<i64>,
    /// Difficulty of its best share of all time.
    pub best: Option<f64>,
}

impl LastDay {
    /// Since when it is known, and everybody. Where that is old it is read on in the background; what
    /// is soon read is waited for.
    pub(crate) async fn get(&self, background: &LedgerReader) -> (i64, Vec<DayPast>) {
        let reading = &self.0.reading;
        let ended = reading.ended();
        if reading.begin(|took| (took * HTTP_REST).min(HTTP_DAY_KEPT)) {
            let (inner, background) = (self.0.clone(), background.clone());
            tokio::spawn(async move {
                let begun = Instant::now();
                inner.read_on(&background).await;
                inner.reading.end(begun, false);
            });
        }
        if reading.is_running() && reading.is_short() && background.away().is_none() {
            let _ = tokio::time::timeout(HTTP_SOON, ended).await;
        }
        let inner = self.0.clone();
        let summed = tokio::task::spawn_blocking(move || inner.state.lock().sum(now_s()));
        summed.await.unwrap_or_else(|_| (now_s(), Vec::new()))
    }
}

impl LastDayInner {
    /// Reads what is missing or may be otherwise by now, the latest first, until it fails or is done.
    async fn read_on(&self, reader: &LedgerReader) {
        let now = now_s();
        let changes = reader
            .read(move |sql| read_changes(sql, first_hour(now)))
            .await;
        let Ok(changes) = changes else { return };
        self.state.lock().forget_late(&changes);
        loop {
            let span = self.state.lock().next_span(now);
            let Some(span) = span else { return };
            let Ok(rows) = reader.read(move |sql| read_span(sql, span)).await else {
                return;
            };
            self.state.lock().take(span, rows, now);
        }
    }
}

impl LastDayState {
    /// Drops hours that have grown late.
    fn forget_late(&mut self, changes: &Changes) {
        for hour in self.late.news(changes) {
            self.hours.remove(&hour);
            self.partial.take_if(|partial| partial.start == hour);
        }
    }

    /// The span to read next.
    fn next_span(&mut self, now: i64) -> Option<i64> {
        self.hours.retain(|start, _| *start >= first_hour(now));
        if let Some(partial) = &self.partial
            && partial.start >= first_hour(now)
        {
            return Some(partial.next_span);
        }
        let current = now - now % HOUR_S;
        let mut start = current;
        while start >= first_hour(now) {
            if self.hours.get(&start).is_none_or(|hour| now >= hour.until) {
                self.partial = Some(Partial {
                    start,
                    next_span: start,
                    work: Vec::new(),
                });
                return Some(start);
            }
            start -= HOUR_S;
        }
        self.partial = None;
        None
    }

    fn take(&mut self, span: i64, rows: Vec<HourRow>, now: i64) {
        if self.workers.len() >= HTTP_WORKERS_MAX {
            // Names come and go: all are read anew.
            *self = Self::default();
            return;
        }
        let Some(mut partial) = self.partial.take() else {
            return;
        };
        for row in rows {
            let place = self.place(row.account, row.worker);
            if partial.work.len() <= place {
                partial.work.resize(place + 1, 0.0);
            }
            partial.work[place] += row.work;
            if let Some(last) = row.last {
                self.last[place] = self.last[place].max(last);
            }
            if let Some(best) = row.best {
                self.best[place] = self.best[place].max(best);
            }
        }
        partial.next_span = span + SPAN_S;
        let end = partial.start + HOUR_S;
        if partial.next_span < end && partial.next_span <= now {
            self.partial = Some(partial);
            return;
        }
        // An hour that may still grow is read again by the next reading; the others when they are twice as
        // old.
        let age = now - end;
        let until = if age > LATE_S { now + age } else { now + 1 };
        let work = partial.work;
        self.hours.insert(partial.start, Hour { work, until });
    }

    fn place(&mut self, account: String, worker: String) -> usize {
        let name: WorkerId = (account.into(), worker.into());
        if let Some(place) = self.places.get(&name) {
            return *place;
        }
        let place = self.workers.len();
        self.places.insert(name.clone(), place);
        self.workers.push(name);
        self.last.push(i64::MIN);
        self.best.push(0.0);
        place
    }

    /// Sums of the hours from now back to the first gap.
    fn sum(&self, now: i64) -> (i64, Vec<DayPast>) {
        let mut work = vec![0.0; self.workers.len()];
        let mut seen = vec![false; self.workers.len()];
        let mut start = now - now % HOUR_S;
        let mut since = now;
        while let Some(hour) = self.hours.get(&start).filter(|_| start >= first_hour(now)) {
            for (place, sent) in hour.work.iter().enumerate() {
                work[place] += sent;
                seen[place] |= *sent > 0.0;
            }
            since = start;
            start -= HOUR_S;
        }
        let pasts = self.workers.iter().enumerate().filter_map(|(place, name)| {
            let is_late = self.last[place] >= since;
            (seen[place] || is_late).then(|| DayPast {
                account: name.0.clone(),
                worker: name.1.clone(),
                work: work[place],
                last: is_late.then_some(self.last[place]),
                best: Some(self.best[place]).filter(|best| *best > 0.0),
            })
        });
        (since, pasts.collect())
    }
}

/// Start of the first whole hour of the last day.
fn first_hour(now: i64) -> i64 {
    let from = now - now % SPAN_S - DAY_S;
    from + (HOUR_S - from.rem_euclid(HOUR_S)) % HOUR_S
}

fn now_s() -> i64 {
    signed(unix_s())
}

fn read_span(sql: &mut dyn Sql, span: i64) -> Result<Vec<HourRow>, SqlError> {
    let rows = sql.query(
        "SELECT a.name, w.name, s.work, s.last,
                (SELECT max(difficulty) FROM best_shares WHERE worker = w.id)
           FROM (SELECT worker, sum(accepted_work) AS work,
                        max(CASE WHEN last_share > 0 THEN last_share
                                 WHEN accepted > 0 THEN start END) AS last
                   FROM statistics WHERE span = 600 AND start = ?1 GROUP BY worker) AS s
           JOIN workers AS w ON w.id = s.worker JOIN accounts AS a ON a.id = w.account",
        &values![span],
    )?;
    let found = rows.iter().map(|row| {
        Ok(HourRow {
            account: row.get(0)?,
            worker: row.get(1)?,
            work: row.get(2)?,
            last: row.get(3)?,
            best: row.get(4)?,
        })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn row(worker: &str, work: f64, last: i64) -> HourRow {
        HourRow {
            account: "alice".to_owned(),
            worker: worker.to_owned(),
            work,
            last: Some(last),
            best: None,
        }
    }

    /// Reads on until it fails at the given span, or is done; returns the spans that were read.
    fn read(state: &mut LastDayState, now: i64, fails_at: Option<i64>) -> Vec<i64> {
        let mut spans = Vec::new();
        while let Some(span) = state.next_span(now) {
            if Some(span) == fails_at {
                return spans;
            }
            spans.push(span);
            state.take(span, vec![row("a", 1.0, span)], now);
        }
        spans
    }

    #[test]
    fn what_was_read_is_kept_when_a_reading_is_interrupted() {
        let mut state = LastDayState::default();
        let hour = NOW - NOW % HOUR_S;
        let cut = hour - 5 * HOUR_S + 2 * SPAN_S;
        let first = read(&mut state, NOW, Some(cut));
        assert!(first.len() > 25, "{first:?}");
        let (since, pasts) = state.sum(NOW);
        assert_eq!(since, hour - 4 * HOUR_S, "what is known is shown");
        assert!(pasts[0].work > 20.0);

        let rest = read(&mut state, NOW, None);
        assert_eq!(rest.first(), Some(&cut), "it goes on where it was");
        assert!(
            rest.iter().all(|span| !first.contains(span)),
            "nothing is read twice"
        );
        let (since, pasts) = state.sum(NOW);
        assert_eq!(since, first_hour(NOW));
        assert_eq!(pasts[0].work, (first.len() + rest.len()) as f64);

        // Soon after, only hours that may have grown are read: this one, and the one before it.
        let again = read(&mut state, NOW + 2, None);
        assert!(again.iter().all(|span| *span >= hour - HOUR_S), "{again:?}");
        assert_eq!(state.sum(NOW + 2).1[0].work, pasts[0].work);
    }

    #[test]
    fn workers_leave_with_the_last_hour_they_mined_in() {
        let mut state = LastDayState::default();
        let gone = NOW - NOW % HOUR_S - 20 * HOUR_S;
        while let Some(span) = state.next_span(NOW) {
            let rows = if span == gone {
                vec![row("b", 3.0, span)]
            } else {
                vec![row("a", 1.0, span)]
            };
            state.take(span, rows, NOW);
        }
        let (_, pasts) = state.sum(NOW);
        let b = pasts
            .iter()
            .find(|past| &*past.worker == "b")
            .expect("it mined");
        assert_eq!((b.work, b.last), (3.0, Some(gone)));
        let later = NOW + 6 * HOUR_S;
        read(&mut state, later, None);
        assert!(state.sum(later).1.iter().all(|past| &*past.worker != "b"));
    }
}
