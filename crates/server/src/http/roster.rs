//! Everybody who mines or has mined within a day: what the driver shows of them now, beside what the
//! ledger has of their last hour and day. Made anew at most every few seconds, however many ask.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hstratum_core::units::HASHES_PER_DIFFICULTY;
use hstratum_core::view::WorkerView;
use tokio::sync::Mutex;

use super::Site;
use super::answer::Failure;
use super::day::{Day, DayPast};
use super::fleet::Known;
use super::gathered::Gathered;
use crate::limits::HTTP_KEPT;
use crate::sql::{Sql, SqlError};
use crate::store::unix_s;
use crate::values;

/// How long a roster is given again.
const ROSTER_KEPT: Duration = Duration::from_secs(2);

/// How long a worker that has left stays listed when the ledger has nothing of it yet: it is told of what
/// miners sent every ten seconds, and read half a minute later at the latest.
const LEFT_KEPT: Duration = Duration::from_secs(60);

/// The shortest span that statistics are kept in.
const SPAN_S: u64 = 600;

/// What a worker sent in some time, by outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub accepted: i64,
    pub stale: i64,
    pub low: i64,
    pub duplicate: i64,
    pub work: f64,
}

impl Sent {
    pub(crate) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.stale += other.stale;
        self.low += other.low;
        self.duplicate += other.duplicate;
        self.work += other.work;
    }

    /// Submits of every outcome.
    pub(crate) fn all(&self) -> i64 {
        self.accepted + self.stale + self.low + self.duplicate
    }

    /// Refused submits among all, from 0 to 1; none where there are none.
    pub(crate) fn reject_rate(&self) -> Option<f64> {
        let refused = self.stale + self.low + self.duplicate;
        let all = self.all();
        (all > 0).then(|| refused as f64 / all as f64)
    }
}

/// A worker. Names are untrusted text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub account: Arc<str>,
    pub worker: Arc<str>,
    /// Connections that it has now, to this server.
    pub connections: u32,
    /// Servers that it mines on: this one where it is connected, others that have accepted a share of
    /// it within the last ten to twenty minutes. Those are known where several share the ledger.
    pub servers: Vec<Arc<str>>,
    pub difficulty: Option<f64>,
    /// Hashes a second: now, over the last hour, over the last day.
    pub rates: [f64; 3],
    /// Of the last hour.
    pub sent: Sent,
    /// When a share was last accepted, Unix seconds: here to the second, elsewhere and before the
    /// begin of those ten minutes.
    pub last_share_at: Option<i64>,
}

impl Row {
    /// Whether it mines now.
    pub(crate) fn is_online(&self) -> bool {
        self.connections > 0 || !self.servers.is_empty()
    }
}

/// What the ledger has of one worker since some time.
#[derive(Clone)]
struct Past {
    account: Arc<str>,
    worker: Arc<str>,
    sent: Sent,
    last_span: Option<i64>,
    /// The server it was sent to.
    origin: i64,
    /// The work of the last whole ten minutes and of what has begun.
    recent_work: f64,
}

/// Since when, and everybody.
type Pasts = (u64, Vec<Past>);

/// A roster, and whom it has only since the one before had them.
struct Made {
    at: Instant,
    rows: Arc<Vec<Row>>,
    left: Left,
}

/// Workers that have left and that the ledger does not know yet: since when.
type Left = HashMap<(Arc<str>, Arc<str>), Instant>;

/// See the module.
#[derive(Default)]
pub(crate) struct Roster {
    made: Mutex<Option<Made>>,
    hour: Gathered<Pasts>,
    day: Day,
}

impl Roster {
    /// Everybody, in no order.
    pub(crate) async fn rows(&self, site: &Site) -> Result<Arc<Vec<Row>>, Failure> {
        let mut made = self.made.lock().await;
        if let Some(made) = &*made
            && made.at.elapsed() < ROSTER_KEPT
        {
            return Ok(made.rows.clone());
        }
        let (_, live) = site.sources.live.look_at_workers().await?;
        let (hour, day) = match &site.book {
            None => Default::default(),
            Some(_) => {
                let hour = self.hour.get(site, HTTP_KEPT, since(3_600)).await?;
                (hour, self.day.get(site).await)
            }
        };
        let fleet = site.fleet.known();
        let own = Arc::from(site.server_id.as_str());
        let before = made.take();
        let rows = tokio::task::spawn_blocking(move || {
            let now = unix_s();
            let mut merged = Merged::default();
            merged.add_hour(&hour, now);
            merged.add_day(day, now);
            merged.add_elsewhere(&hour, &fleet, now);
            merged.add_live(&live, &own, now);
            let left = before.map_or_else(Left::new, |before| merged.add_left(before));
            (merged.rows, left)
        });
        let (rows, left) = rows
            .await
            .map_err(|_| Failure::busy("failed to list the workers, which is a bug"))?;
        let rows = Arc::new(rows);
        *made = Some(Made {
            at: Instant::now(),
            rows: rows.clone(),
            left,
        });
        Ok(rows)
    }
}

/// Reads what was sent since so long ago.
fn since(time_s: u64) -> impl FnOnce(&mut dyn Sql) -> Result<Pasts, SqlError> {
    let now = unix_s();
    let since = (now - now % SPAN_S).saturating_sub(time_s);
    move |sql| Ok((since, read(sql, since)?))
}

fn read(sql: &mut dyn Sql, since: u64) -> Result<Vec<Past>, SqlError> {
    let rows = sql.query(
        "SELECT a.id, a.name, w.name, s.accepted, s.work, s.stale, s.low, s.duplicate, s.last,
                s.origin, s.recent
           FROM (SELECT worker, origin,
                        sum(CASE WHEN start >= ?2 THEN accepted_work ELSE 0.0 END) AS recent, CAST(sum(accepted) AS BIGINT) AS accepted,
                        sum(accepted_work) AS work, CAST(sum(stale) AS BIGINT) AS stale,
                        CAST(sum(low) AS BIGINT) AS low,
                        CAST(sum(duplicate) AS BIGINT) AS duplicate,
                        max(CASE WHEN accepted > 0 THEN start END) AS last
                   FROM statistics WHERE span = 600 AND start >= ?1 GROUP BY worker, origin) AS s
           JOIN workers AS w ON w.id = s.worker JOIN accounts AS a ON a.id = w.account",
        &values![since, recent_since(unix_s())],
    )?;
    let mut names: HashMap<i64, Arc<str>> = HashMap::new();
    let pasts = rows.iter().map(|row| {
        let name: String = row.get(1)?;
        let account = names.entry(row.get(0)?).or_insert_with(|| name.into());
        Ok(Past {
            account: account.clone(),
            worker: row.get::<String>(2)?.into(),
            sent: Sent {
                accepted: row.get(3)?,
                work: row.get(4)?,
                stale: row.get(5)?,
                low: row.get(6)?,
                duplicate: row.get(7)?,
            },
            last_span: row.get(8)?,
            origin: row.get(9)?,
            recent_work: row.get(10)?,
        })
    });
    pasts.collect()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The begin of the last whole ten minutes.
fn recent_since(now: u64) -> u64 {
    (now - now % SPAN_S).saturating_sub(SPAN_S)
}

/// A roster in the making.
#[derive(Default)]
struct Merged {
    places: HashMap<(Arc<str>, Arc<str>), usize>,
    rows: Vec<Row>,
    /// Those that have mined on other servers lately: their rate is known already.
    rated: HashSet<usize>,
}

impl Merged {
    fn row(&mut self, account: &Arc<str>, worker: &Arc<str>) -> &mut Row {
        let place = self.place(account, worker);
        &mut self.rows[place]
    }

    fn place(&mut self, account: &Arc<str>, worker: &Arc<str>) -> usize {
        let names = (account.clone(), worker.clone());
        *self.places.entry(names).or_insert_with(|| {
            self.rows.push(Row {
                account: account.clone(),
                worker: worker.clone(),
                ..Row::default()
            });
            self.rows.len() - 1
        })
    }

    /// What was sent to all servers.
    fn add_hour(&mut self, (since, pasts): &Pasts, now: u64) {
        let seconds = now.saturating_sub(*since).max(1) as f64;
        for past in pasts.iter() {
            let row = self.row(&past.account, &past.worker);
            row.rates[1] += past.sent.work * HASHES_PER_DIFFICULTY / seconds;
            row.sent.add(&past.sent);
            row.last_share_at = row.last_share_at.max(past.last_span);
        }
    }

    /// As much of the day as is known.
    fn add_day(&mut self, (since, pasts): (i64, Vec<DayPast>), now: u64) {
        let since = u64::try_from(since).unwrap_or(0);
        let seconds = now.saturating_sub(since).max(1) as f64;
        for past in pasts {
            let row = self.row(&past.account, &past.worker);
            row.rates[2] += past.work * HASHES_PER_DIFFICULTY / seconds;
            row.last_share_at = row.last_share_at.max(past.last_span);
        }
    }

    /// Who has mined on other servers lately. Its rate is what it sent to all of them, this one too, in
    /// one and the same time, so that every server shows the same, also of a worker that has moved: a
    /// rate of one connection beside what was sent to another server would count it twice.
    fn add_elsewhere(&mut self, (_, pasts): &Pasts, fleet: &Known, now: u64) {
        let servers = fleet.by_origin();
        let seconds = now.saturating_sub(recent_since(now)).max(1) as f64;
        for past in pasts.iter().filter(|past| past.recent_work > 0.0) {
            let Some(server) = servers.get(&past.origin).filter(|server| !server.is_this) else {
                continue;
            };
            let place = self.place(&past.account, &past.worker);
            self.rated.insert(place);
            let row = &mut self.rows[place];
            if !row.servers.iter().any(|name| **name == *server.name) {
                row.servers.push(server.name.as_str().into());
            }
        }
        for past in pasts.iter().filter(|past| past.recent_work > 0.0) {
            let place = self.place(&past.account, &past.worker);
            if self.rated.contains(&place) {
                self.rows[place].rates[0] += past.recent_work * HASHES_PER_DIFFICULTY / seconds;
            }
        }
    }

    /// Whoever had a share accepted and is nowhere else yet.
    fn add_left(&mut self, before: Made) -> Left {
        let mut left = Left::new();
        for row in before.rows.iter().filter(|row| row.last_share_at.is_some()) {
            let names = (row.account.clone(), row.worker.clone());
            let since = before.left.get(&names).copied().unwrap_or(before.at);
            if since.elapsed() >= LEFT_KEPT || self.places.contains_key(&names) {
                continue;
            }
            *self.row(&row.account, &row.worker) = Row {
                connections: 0,
                servers: Vec::new(),
                rates: [0.0, row.rates[1], row.rates[2]],
                ..row.clone()
            };
            left.insert(names, since);
        }
        left
    }

    fn add_live(&mut self, live: &[WorkerView], own: &Arc<str>, now: u64) {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let mut refused: HashMap<usize, Sent> = HashMap::new();
        for one in live {
            let place = self.place(&one.account, &Arc::from(&*one.worker));
            refused.entry(place).or_default().add(&Sent {
                stale: signed(one.refused.stale.count),
                low: signed(one.refused.low.count),
                duplicate: signed(one.refused.duplicate.count),
                ..Sent::default()
            });
            let is_rated = self.rated.contains(&place);
            let row = &mut self.rows[place];
            row.connections += 1;
            if !is_rated {
                row.rates[0] += one.hashrate;
            }
            let last = one.last_share_ms.map(|age_ms| now - signed(age_ms / 1000));
            row.last_share_at = row.last_share_at.max(last);
            row.difficulty = one.difficulty.map(|one| one.get()).or(row.difficulty);
            if !row.servers.contains(own) {
                row.servers.push(own.clone());
            }
        }
        // The ledger keeps nothing of who never had a share accepted; of all others it has these too.
        for (place, sent) in refused {
            let row = &mut self.rows[place];
            if row.sent.all() == 0 {
                row.sent = sent;
            }
        }
    }
}

#[cfg(test)]
#[path = "roster_tests.rs"]
mod tests;
