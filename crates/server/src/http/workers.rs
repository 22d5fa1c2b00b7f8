//! All workers that mine or have mined within a day: the driver's current list, merged with the ledger's
//! statistics of the last hour and day. Made at most every few seconds, however many clients ask.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hstratum_core::pool::status::WorkerStatus;
use hstratum_core::units::HASHES_PER_DIFFICULTY;
use parking_lot::Mutex;

use super::answer::ApiError;
use super::background::Background;
use super::cached_query::CachedQuery;
use super::last_day::{DayPast, LastDay};
use super::ledger_reader::LedgerReader;
use super::server_list::{ServerList, ServersRead};
use crate::clock::unix_s;
use crate::limits::{HTTP_ANSWER, HTTP_KEPT, HTTP_REST, HTTP_SOON};
use crate::sql::{Sql, SqlError, signed};
use crate::store::ledger_status::LedgerStatus;
use crate::store::unproven_workers::RefusedSubmits;
use crate::telemetry::live::{Online, TelemetryReader};
use crate::values;

/// Time for which a list is cached at least.
const ROSTER_KEPT: Duration = Duration::from_secs(2);

/// Time for which a worker that has left stays listed while the ledger has nothing of it yet: statistics are
/// sent there every ten seconds, and read half a minute later at the latest.
const LEFT_KEPT: Duration = Duration::from_secs(60);

/// Shortest span of statistics, in seconds.
const SPAN_S: u64 = 600;

/// Least time over which a rate is computed, in seconds; otherwise a first share would give too high a rate.
const RATE_S_MIN: u64 = 60;

/// Seconds after its last share for which a worker counts as online on a server that shares the ledger.
const ONLINE_S: i64 = 600;

/// Number of submits of a worker in some time, by outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SentShares {
    pub accepted: i64,
    pub stale: i64,
    pub low: i64,
    pub duplicate: i64,
    pub work: f64,
}

impl SentShares {
    pub(crate) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.stale += other.stale;
        self.low += other.low;
        self.duplicate += other.duplicate;
        self.work += other.work;
    }

    /// Number of submits of all outcomes.
    pub(crate) fn all(&self) -> i64 {
        self.accepted + self.stale + self.low + self.duplicate
    }

    /// Ratio of refused submits to all, from 0 to 1; `None` if there are none.
    pub(crate) fn reject_rate(&self) -> Option<f64> {
        let refused = self.stale + self.low + self.duplicate;
        let all = self.all();
        (all > 0).then(|| refused as f64 / all as f64)
    }
}

/// A worker. Names are untrusted text.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkerRow {
    pub account: Arc<str>,
    pub worker: Arc<str>,
    /// Its current connections to this server.
    pub connections: u32,
    /// Names of the servers that it mines on: this one if it is connected; if several share the ledger, each
    /// that has accepted a share of it within ten minutes.
    pub servers: Vec<Arc<str>>,
    pub difficulty: Option<f64>,
    /// Time at which the newest of its connections to this server was made, Unix seconds.
    pub connected_at: Option<i64>,
    /// One of its connections sends blocks only.
    pub sends_blocks: bool,
    /// The greatest difficulty that a share of it has ever met.
    pub best_share: Option<f64>,
    /// Hashes per second: now, over the last hour, over the last day.
    pub rates: [f64; 3],
    /// Submits in the last hour.
    pub sent: SentShares,
    /// Time of its last accepted share, Unix seconds.
    pub last_share_at: Option<i64>,
}

impl WorkerRow {
    /// True if it mines now.
    pub(crate) fn is_online(&self) -> bool {
        self.connections > 0 || !self.servers.is_empty()
    }
}

/// Sums over the workers of an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccountWork {
    /// Number of workers, and of those that mine now.
    pub workers: u32,
    pub workers_online: u32,
    /// Hashes per second: now, over the last hour, over the last day.
    pub rates: [f64; 3],
    /// Submits in the last hour.
    pub sent: SentShares,
    /// Time of the last accepted share, Unix seconds.
    pub last_share_at: Option<i64>,
    /// The greatest difficulty that a share of them has ever met.
    pub best_share: Option<f64>,
}

impl AccountWork {
    fn add(&mut self, row: &WorkerRow) {
        self.workers += 1;
        self.workers_online += u32::from(row.is_online());
        for (sum, rate) in self.rates.iter_mut().zip(row.rates) {
            *sum += rate;
        }
        self.sent.add(&row.sent);
        self.last_share_at = self.last_share_at.max(row.last_share_at);
        self.best_share = greater(self.best_share, row.best_share);
    }
}

/// Everybody who mines or has mined within a day.
#[derive(Default)]
pub(crate) struct Workers {
    /// In no order.
    pub rows: Vec<WorkerRow>,
    /// Their sums, by the name of the account.
    pub accounts: HashMap<Arc<str>, AccountWork>,
}

impl From<Vec<WorkerRow>> for Workers {
    fn from(rows: Vec<WorkerRow>) -> Self {
        let mut accounts: HashMap<Arc<str>, AccountWork> = HashMap::new();
        for row in &rows {
            accounts.entry(row.account.clone()).or_default().add(row);
        }
        Self { rows, accounts }
    }
}

fn greater(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    if b > a { b } else { a }
}

/// Statistics of one worker on one server in the last hour.
#[derive(Clone)]
struct PastWork {
    account: Arc<str>,
    worker: Arc<str>,
    sent: SentShares,
    /// Time of its last accepted share; of a server that does not report it, the start of those ten minutes.
    last: Option<i64>,
    /// Number of the server.
    origin: i64,
    /// Work of the last whole ten minutes and of those that have begun, and the time of its first share.
    recent_work: f64,
    recent_first: Option<i64>,
}

/// Where the list comes from.
pub(crate) struct WorkerSources {
    pub live: TelemetryReader,
    pub status: Arc<LedgerStatus>,
    /// For what takes long; none where there is no ledger.
    pub background: Option<LedgerReader>,
    pub servers: Arc<ServerList>,
    /// This server's name.
    pub server_id: Arc<str>,
}

/// What was sent since some time, as it was read at another.
#[derive(Default)]
struct PastWorks {
    since: u64,
    at: u64,
    pasts: Vec<PastWork>,
}

/// Workers that have left and are not in the ledger's statistics yet, with the time since when.
type Left = HashMap<(Arc<str>, Arc<str>), Instant>;

/// The list as it was made last, and what it is made from. With 100,000 workers that takes most of a second: meanwhile the
/// last one is given, and its making rests as that of other cached results does.
pub(crate) struct WorkerList(Arc<WorkerListInner>);

struct WorkerListInner {
    sources: WorkerSources,
    making: Background,
    made: Mutex<Option<MadeList>>,
    /// Why the last making failed, if it did.
    failure: Mutex<Option<ApiError>>,
    hour: CachedQuery<PastWorks>,
    day: LastDay,
}

/// A list, and the workers in it only because the list before had them.
#[derive(Clone)]
struct MadeList {
    at: Instant,
    workers: Arc<Workers>,
    online: Online,
    left: Left,
}

/// Statistics of a worker without an accepted share, and the other server that it is connected to.
type UnprovenWorker = (RefusedSubmits, Option<Arc<str>>);

impl WorkerList {
    pub(crate) fn new(sources: WorkerSources) -> Self {
        Self(Arc::new(WorkerListInner {
            sources,
            making: Background::default(),
            made: Mutex::default(),
            failure: Mutex::default(),
            hour: CachedQuery::default(),
            day: LastDay::default(),
        }))
    }

    /// Everybody.
    pub(crate) async fn workers(&self) -> Result<Arc<Workers>, ApiError> {
        Ok(self.made().await?.workers)
    }

    /// Number of [`Self::workers`] that are online, on all servers that share the ledger; `None` if
    /// the ledger is not shared or the list is not ready soon.
    pub(crate) async fn online(&self) -> Option<Online> {
        let background = self.0.sources.background.as_ref();
        background.filter(|reader| reader.is_shared())?;
        let made = tokio::time::timeout(HTTP_SOON, self.made()).await;
        made.ok()?.ok().map(|made| made.online)
    }

    async fn made(&self) -> Result<MadeList, ApiError> {
        let inner = &self.0;
        let rest = |took: Duration| (took * HTTP_REST).clamp(ROSTER_KEPT, HTTP_KEPT);
        let ended = inner.making.ended();
        if inner.making.begin(rest) {
            let inner = inner.clone();
            tokio::spawn(async move {
                let begun = Instant::now();
                let failure = inner.make().await.err();
                let has_failed = failure.is_some();
                *inner.failure.lock() = failure;
                inner.making.end(begun, has_failed);
            });
        }
        let last = inner.made.lock().clone();
        if let Some(made) = last
            && !(inner.making.is_running() && inner.making.is_short())
        {
            return Ok(made);
        }
        let _ = tokio::time::timeout(HTTP_ANSWER, ended).await;
        if let Some(failure) = inner.failure.lock().clone() {
            return Err(failure);
        }
        let made = inner.made.lock().clone();
        made.ok_or_else(|| {
            ApiError::busy("the workers are being listed: try again in a few seconds")
        })
    }
}

impl WorkerListInner {
    async fn make(&self) -> Result<(), ApiError> {
        let sources = &self.sources;
        let (_, live) = sources.live.look_at_workers().await?;
        let (hour, day) = match &sources.background {
            None => Default::default(),
            Some(background) => {
                let hour = self.hour.get(background, HTTP_KEPT, since(3_600)).await?;
                (hour, self.day.get(background).await)
            }
        };
        let pool_servers = sources.servers.known();
        let unproven = unproven(&sources.status, &pool_servers);
        let is_shared = (sources.background.as_ref()).is_some_and(LedgerReader::is_shared);
        let own = sources.server_id.clone();
        let before = self.made.lock().clone();
        let merging = tokio::task::spawn_blocking(move || {
            let now = unix_s();
            let mut merged = Merged::default();
            merged.add_hour(&hour, now);
            merged.add_day(day, now);
            if is_shared {
                merged.add_recent(&hour, &pool_servers);
            }
            merged.add_unproven(&unproven, now);
            let rate = match is_shared {
                true => RateOf::Ledger,
                false => RateOf::Connections,
            };
            merged.add_live(&live, &own, rate, now);
            let left = before.map_or_else(Left::new, |before| merged.add_left(before));
            let online = merged.rows.iter().filter(|row| row.is_online());
            let online = Online::count(online.map(|row| (&*row.account, &*row.worker)));
            MadeList {
                at: Instant::now(),
                workers: Arc::new(Workers::from(merged.rows)),
                online,
                left,
            }
        });
        let made = merging
            .await
            .map_err(|_| ApiError::busy("failed to list the workers, which is a bug"))?;
        *self.made.lock() = Some(made);
        Ok(())
    }
}

/// Statistics of workers that never had a share accepted, here and on the other servers.
pub(super) fn unproven(status: &LedgerStatus, pool_servers: &ServersRead) -> Vec<UnprovenWorker> {
    let own = status.unproven(unix_s()).into_iter();
    let mut rows: Vec<UnprovenWorker> = own.map(|row| (RefusedSubmits::from(row), None)).collect();
    for server in pool_servers.others() {
        let name: Arc<str> = server.name.as_str().into();
        rows.extend(server.refused.iter().map(|row| {
            let place = row.is_connected.then(|| name.clone());
            (row.clone(), place)
        }));
    }
    rows
}

impl From<&RefusedSubmits> for SentShares {
    fn from(row: &RefusedSubmits) -> Self {
        Self {
            stale: row.stale,
            low: row.low,
            duplicate: row.duplicate,
            ..Self::default()
        }
    }
}

/// Query of the statistics of the last `time_s` seconds.
fn since(time_s: u64) -> impl FnOnce(&mut dyn Sql) -> Result<PastWorks, SqlError> {
    move |sql| {
        let at = unix_s();
        let since = (at - at % SPAN_S).saturating_sub(time_s);
        let pasts = read(sql, since, recent_since(at))?;
        Ok(PastWorks { since, at, pasts })
    }
}

fn read(sql: &mut dyn Sql, since: u64, recent: u64) -> Result<Vec<PastWork>, SqlError> {
    let rows = sql.query(
        "SELECT a.id, a.name, w.name, s.accepted, s.work, s.stale, s.low, s.duplicate, s.last,
                s.origin, s.recent, s.first
           FROM (SELECT worker, origin,
                        sum(CASE WHEN start >= ?2 THEN accepted_work ELSE 0.0 END) AS recent,
                        min(CASE WHEN start >= ?2 AND first_share > 0 THEN first_share END) AS first,
                        CAST(sum(accepted) AS BIGINT) AS accepted,
                        sum(accepted_work) AS work, CAST(sum(stale) AS BIGINT) AS stale,
                        CAST(sum(low) AS BIGINT) AS low,
                        CAST(sum(duplicate) AS BIGINT) AS duplicate,
                        max(CASE WHEN last_share > 0 THEN last_share
                                 WHEN accepted > 0 THEN start END) AS last
                   FROM statistics WHERE span = 600 AND start >= ?1 GROUP BY worker, origin) AS s
           JOIN workers AS w ON w.id = s.worker JOIN accounts AS a ON a.id = w.account",
        &values![since, recent],
    )?;
    let mut names: HashMap<i64, Arc<str>> = HashMap::new();
    let pasts = rows.iter().map(|row| {
        let name: String = row.get(1)?;
        let account = names.entry(row.get(0)?).or_insert_with(|| name.into());
        Ok(PastWork {
            account: account.clone(),
            worker: row.get::<String>(2)?.into(),
            sent: SentShares {
                accepted: row.get(3)?,
                work: row.get(4)?,
                stale: row.get(5)?,
                low: row.get(6)?,
                duplicate: row.get(7)?,
            },
            last: row.get(8)?,
            origin: row.get(9)?,
            recent_work: row.get(10)?,
            recent_first: row.get(11)?,
        })
    });
    pasts.collect()
}

/// The begin of the last whole ten minutes.
fn recent_since(now: u64) -> u64 {
    (now - now % SPAN_S).saturating_sub(SPAN_S)
}

/// Source of a worker's current rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RateOf {
    /// The shares of its connections, whose weight decays.
    Connections,
    /// The ledger: if several servers share one, each shows the same rate, also of a worker that has moved.
    Ledger,
}

/// A list in the making.
#[derive(Default)]
struct Merged {
    places: HashMap<(Arc<str>, Arc<str>), usize>,
    rows: Vec<WorkerRow>,
}

impl Merged {
    fn row(&mut self, account: &Arc<str>, worker: &Arc<str>) -> &mut WorkerRow {
        let place = self.place(account, worker);
        &mut self.rows[place]
    }

    fn place(&mut self, account: &Arc<str>, worker: &Arc<str>) -> usize {
        let names = (account.clone(), worker.clone());
        *self.places.entry(names).or_insert_with(|| {
            self.rows.push(WorkerRow {
                account: account.clone(),
                worker: worker.clone(),
                ..WorkerRow::default()
            });
            self.rows.len() - 1
        })
    }

    /// Adds the submits of the last hour, to all servers.
    fn add_hour(&mut self, hour: &PastWorks, now: u64) {
        let seconds = now.saturating_sub(hour.since).max(1) as f64;
        for past in &hour.pasts {
            let row = self.row(&past.account, &past.worker);
            row.rates[1] += past.sent.work * HASHES_PER_DIFFICULTY / seconds;
            row.sent.add(&past.sent);
            row.last_share_at = row.last_share_at.max(past.last);
        }
    }

    /// Adds the known part of the last day.
    fn add_day(&mut self, (since, pasts): (i64, Vec<DayPast>), now: u64) {
        let since = u64::try_from(since).unwrap_or(0);
        let seconds = now.saturating_sub(since).max(1) as f64;
        for past in pasts {
            let row = self.row(&past.account, &past.worker);
            row.rates[2] += past.work * HASHES_PER_DIFFICULTY / seconds;
            row.best_share = greater(row.best_share, past.best);
            row.last_share_at = row.last_share_at.max(past.last);
        }
    }

    /// Adds the workers that have mined lately: their servers, and their rate on all of them since the first
    /// share of that time.
    fn add_recent(&mut self, hour: &PastWorks, pool_servers: &ServersRead) {
        let servers = pool_servers.by_origin();
        let begin = signed(recent_since(hour.at));
        let mut recent: HashMap<usize, (f64, i64)> = HashMap::new();
        for past in hour.pasts.iter().filter(|past| past.recent_work > 0.0) {
            let place = self.place(&past.account, &past.worker);
            let first = past.recent_first.unwrap_or(begin).max(begin);
            let (work, since) = recent.entry(place).or_insert((0.0, first));
            *work += past.recent_work;
            *since = first.min(*since);
            let is_online = past.last >= Some(signed(hour.at).saturating_sub(ONLINE_S));
            let row = &mut self.rows[place];
            if let Some(server) = servers.get(&past.origin)
                && is_online
                && (server.is_alive || server.is_this)
                && !row.servers.iter().any(|name| **name == *server.name)
            {
                row.servers.push(server.name.as_str().into());
            }
        }
        for (place, (work, since)) in recent {
            let since = u64::try_from(since).unwrap_or(0);
            let seconds = hour.at.saturating_sub(since).max(RATE_S_MIN) as f64;
            self.rows[place].rates[0] = work * HASHES_PER_DIFFICULTY / seconds;
        }
    }

    /// Adds workers that never had a share accepted.
    fn add_unproven(&mut self, unproven: &[UnprovenWorker], now: u64) {
        let since = signed((now - now % SPAN_S).saturating_sub(3_600));
        for (refused, server) in unproven.iter().filter(|(row, _)| row.start >= since) {
            let names = [&refused.account, &refused.worker].map(|name| Arc::from(name.as_str()));
            let row = self.row(&names[0], &names[1]);
            row.sent.add(&refused.into());
            if let Some(server) = server
                && !row.servers.contains(server)
            {
                row.servers.push(server.clone());
            }
        }
    }

    /// Adds workers of the list before that had a share accepted and are in no statistics yet.
    fn add_left(&mut self, before: MadeList) -> Left {
        let mut left = Left::new();
        for row in before
            .workers
            .rows
            .iter()
            .filter(|row| row.last_share_at.is_some())
        {
            let names = (row.account.clone(), row.worker.clone());
            let since = before.left.get(&names).copied().unwrap_or(before.at);
            if since.elapsed() >= LEFT_KEPT || self.places.contains_key(&names) {
                continue;
            }
            *self.row(&row.account, &row.worker) = WorkerRow {
                connections: 0,
                connected_at: None,
                servers: Vec::new(),
                rates: [0.0, row.rates[1], row.rates[2]],
                ..row.clone()
            };
            left.insert(names, since);
        }
        left
    }

    fn add_live(&mut self, live: &[WorkerStatus], own: &Arc<str>, rate: RateOf, now: u64) {
        let now = signed(now);
        for one in live {
            let row = self.row(&one.account, &Arc::from(&*one.worker));
            row.connections += 1;
            if rate == RateOf::Connections {
                row.rates[0] += one.hashrate;
            }
            let last = one
                .last_share_ms
                .map(|age_ms| now.saturating_sub(signed(age_ms / 1000)));
            row.last_share_at = row.last_share_at.max(last);
            let connected_at = now.saturating_sub(signed(one.connected_ms / 1000));
            row.connected_at = row.connected_at.max(Some(connected_at));
            row.sends_blocks |= one.sends_blocks;
            let best = one.best_share.map(|best| best.difficulty.get());
            row.best_share = greater(row.best_share, best);
            row.difficulty = one.difficulty.map(|one| one.get()).or(row.difficulty);
            if !row.servers.contains(own) {
                row.servers.push(own.clone());
            }
        }
        for row in &mut self.rows {
            row.servers.sort_unstable();
        }
    }
}

#[cfg(test)]
#[path = "roster_tests.rs"]
mod tests;
