//! Snapshots of the driver's state, published once a second without waiting for any reader.
//!
//! Parts whose cost does not depend on the number of miners are always made. The list of workers is made only
//! if somebody asked for it within the last minute, and a slice at a time: with 100,000 workers the driver's
//! loop would stop noticeably otherwise.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hstratum_core::chain::address::Address;
use hstratum_core::limits::CROWD_QUIET_MS;
use hstratum_core::occupancy::Occupancy;
use hstratum_core::pool::Pool;
use hstratum_core::pool::status::{PoolStatus, WorkerStatus};
use hstratum_core::units::{Now, Seq};
use tokio::sync::watch;

use crate::limits::{
    LIVE_ANSWER, LIVE_ASKED_MS, LIVE_MS, LIVE_REPLIES_MAX, LIVE_SLICE, LIVE_SLICE_MS,
    LIVE_WORKERS_MS, TICK_MS,
};
use crate::telemetry::block_races::BlockRaces;
use crate::telemetry::histogram::Histogram;
use crate::telemetry::job_trace::{JobTimes, JobTraces, NewTip};
use crate::telemetry::shown_jobs::{JobWriter, ShownJobs};

/// State of the server at one moment.
pub(crate) struct Snapshot {
    pub at: Instant,
    pub view: PoolStatus,
    /// Occupancy of the sockets.
    pub door: Occupancy,
    /// A connection was refused for want of a place lately.
    pub is_crowded: bool,
    /// Time at which the newest template came.
    pub template_at: Option<Instant>,
    /// `Some` while somebody asks for them.
    pub workers: Option<Arc<Vec<WorkerStatus>>>,
    /// Times from a share's record to its reply.
    pub replies: Histogram,
    /// Times from a template's arrival to the last miner's notify.
    pub fan_out: Histogram,
    /// Times from a new tip to its first job.
    pub jobs: JobTimes,
}

/// Numbers of workers that are online and of their accounts, each name once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Online {
    pub workers: u64,
    pub accounts: u64,
}

impl Online {
    /// Of the connections of this server.
    pub(crate) fn of(workers: &[WorkerStatus]) -> Self {
        Self::count(workers.iter().map(|one| (&*one.account, &*one.worker)))
    }

    pub(crate) fn count<'a>(names: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let names: HashSet<_> = names.collect();
        let accounts: HashSet<_> = names.iter().map(|(account, _)| *account).collect();
        Self {
            workers: names.len() as u64,
            accounts: accounts.len() as u64,
        }
    }
}

/// When somebody last asked for workers, in milliseconds since `started`; 0 is never.
struct WorkersWanted {
    started: Instant,
    at_ms: AtomicU64,
}

impl WorkersWanted {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_recent(&self) -> bool {
        let at_ms = self.at_ms.load(Ordering::Relaxed);
        at_ms > 0 && self.now_ms() - at_ms.min(self.now_ms()) < LIVE_ASKED_MS
    }
}

/// The driver's side.
pub(crate) struct TelemetryWriter {
    sender: watch::Sender<Option<Arc<Snapshot>>>,
    asked: Arc<WorkersWanted>,
    next_ms: u64,
    next_workers_ms: u64,
    workers: Option<Arc<Vec<WorkerStatus>>>,
    /// The next list of workers so far, the position to continue from, and the time of the next slice.
    gathering: Option<(Vec<WorkerStatus>, usize, u64)>,
    /// Number of connections refused for want of a place, and the time until which that is shown.
    crowded: u64,
    crowded_until_ms: u64,
    template_at: Option<Instant>,
    replies: Histogram,
    fan_out: Histogram,
    /// Traces of the first job on each tip.
    pub(crate) traces: JobTraces,
    /// BlockRaces of found blocks; shared with the readers.
    races: Arc<BlockRaces>,
    jobs: JobWriter,
    /// Groups of shares on their way to the ledger: the last share, their number, and when they were sent.
    on_their_way: VecDeque<(Seq, u64, Instant)>,
}

/// The readers' side. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TelemetryReader {
    receiver: watch::Receiver<Option<Arc<Snapshot>>>,
    asked: Arc<WorkersWanted>,
    races: Arc<BlockRaces>,
    new_tip: Arc<NewTip>,
    jobs: Arc<ShownJobs>,
}

/// Error: the driver has published nothing for too long, or has stopped.
#[derive(Debug)]
pub(crate) struct Silent;

pub(crate) fn channel() -> (TelemetryWriter, TelemetryReader) {
    let (sender, receiver) = watch::channel(None);
    let asked = Arc::new(WorkersWanted {
        started: Instant::now(),
        at_ms: AtomicU64::new(0),
    });
    let races = Arc::<BlockRaces>::default();
    let traces = JobTraces::default();
    let new_tip = traces.tip.clone();
    let jobs = JobWriter::default();
    let shown = jobs.shown().clone();
    let telemetry = TelemetryWriter {
        sender,
        asked: asked.clone(),
        next_ms: 0,
        next_workers_ms: 0,
        workers: None,
        gathering: None,
        crowded: 0,
        crowded_until_ms: 0,
        template_at: None,
        replies: Histogram::default(),
        fan_out: Histogram::default(),
        traces,
        races: races.clone(),
        jobs,
        on_their_way: VecDeque::new(),
    };
    let reader = TelemetryReader {
        receiver,
        asked,
        races,
        new_tip,
        jobs: shown,
    };
    (telemetry, reader)
}

impl TelemetryReader {
    /// BlockRaces of found blocks.
    pub(crate) fn races(&self) -> &Arc<BlockRaces> {
        &self.races
    }

    /// The newest tip, until its first job.
    pub(crate) fn new_tip(&self) -> &Arc<NewTip> {
        &self.new_tip
    }

    /// Jobs by their ids.
    pub(crate) fn jobs(&self) -> &ShownJobs {
        &self.jobs
    }

    /// The address that a block found now pays; `None` before the first job.
    pub(crate) fn payee(&self) -> Option<Address> {
        self.receiver.borrow().as_ref()?.view.payee.clone()
    }

    /// True if miners have a valid job and can connect.
    pub(crate) fn is_healthy(&self) -> bool {
        let newest = self.receiver.borrow();
        newest.as_ref().is_some_and(|now| now.is_healthy())
    }

    /// The height that miners work on; `None` before the first job.
    pub(crate) fn height(&self) -> Option<u32> {
        let job = self.receiver.borrow().as_ref()?.view.job?;
        Some(job.height.0)
    }

    /// The newest snapshot, if there is one. Later snapshots will include the workers.
    pub(crate) fn latest(&self) -> Option<Arc<Snapshot>> {
        self.ask_for_workers();
        self.receiver.borrow().clone()
    }
}

impl TelemetryWriter {
    /// Time for [`Self::job_sent`].
    pub(crate) fn clock(&self) -> Instant {
        Instant::now()
    }

    /// BlockRaces of found blocks.
    pub(crate) fn races(&self) -> &BlockRaces {
        &self.races
    }

    /// Shows the jobs that the pool has now, before they are sent.
    pub(crate) fn show_jobs(&mut self, pool: &Pool) {
        self.jobs.show(pool);
    }

    /// Records that `count` shares up to this one were sent to the ledger.
    pub(crate) fn recorded(&mut self, last: Seq, count: usize) {
        // Beyond the limit the ledger has stalled, and a gap in the measurement does not matter.
        if self.on_their_way.len() < LIVE_REPLIES_MAX {
            let group = (last, count as u64, Instant::now());
            self.on_their_way.push_back(group);
        }
    }

    /// Records that the shares up to this one were answered.
    pub(crate) fn settled(&mut self, seq: Seq) {
        let now = Instant::now();
        while let Some(&(last, count, since)) = self.on_their_way.front()
            && last <= seq
        {
            self.on_their_way.pop_front();
            self.replies.observe(now - since, count);
        }
    }

    /// Records that all miners have the job of a template that came at `since`.
    pub(crate) fn job_sent(&mut self, since: Instant) {
        self.fan_out.observe(since.elapsed(), 1);
        self.template_at = Some(since);
    }

    /// True while a list of workers is being made.
    pub(crate) fn is_gathering(&self) -> bool {
        self.gathering.is_some()
    }

    /// Makes the next slice of the list of workers, if it is due.
    pub(crate) fn gather(&mut self, pool: &Pool, now: Now) {
        let Some((list, from, next_ms)) = &mut self.gathering else {
            return;
        };
        if now.ms < *next_ms {
            return;
        }
        *next_ms = now.ms + LIVE_SLICE_MS;
        match pool.workers(now, *from, LIVE_SLICE, list) {
            Some(next) => *from = next,
            None => {
                // The first list is published without waiting for the next period.
                self.next_ms = self.next_ms.min(match self.workers {
                    None => now.ms,
                    Some(_) => u64::MAX,
                });
                self.workers = Some(Arc::new(std::mem::take(list)));
                self.gathering = None;
            }
        }
    }

    /// Publishes a snapshot if it is due, and begins a list of workers.
    pub(crate) fn publish(&mut self, pool: &Pool, now: Now, door: impl FnOnce() -> Occupancy) {
        if !self.asked.is_recent() {
            self.workers = None;
            self.gathering = None;
        } else if self.gathering.is_none()
            && (self.workers.is_none() || now.ms >= self.next_workers_ms)
        {
            self.next_workers_ms = now.ms + LIVE_WORKERS_MS - TICK_MS / 2;
            self.gathering = Some((Vec::new(), 0, now.ms));
            // For a small pool this completes the list at once.
            self.gather(pool, now);
        }
        if now.ms < self.next_ms {
            return;
        }
        self.next_ms = now.ms + LIVE_MS - TICK_MS / 2;
        let door = door();
        if door.crowded() > std::mem::replace(&mut self.crowded, door.crowded()) {
            self.crowded_until_ms = now.ms + CROWD_QUIET_MS;
        }
        self.sender.send_replace(Some(Arc::new(Snapshot {
            at: Instant::now(),
            view: pool.status(now),
            door,
            is_crowded: self.crowded_until_ms > now.ms,
            template_at: self.template_at,
            workers: self.workers.clone(),
            replies: self.replies,
            fan_out: self.fan_out,
            jobs: self.traces.times,
        })));
    }
}

impl TelemetryReader {
    /// A snapshot that is at most a second or two old.
    pub(crate) async fn look(&self) -> Result<Arc<Snapshot>, Silent> {
        self.wait(|_| true).await
    }

    /// The same including the workers.
    pub(crate) async fn look_at_workers(
        &self,
    ) -> Result<(Arc<Snapshot>, Arc<Vec<WorkerStatus>>), Silent> {
        self.ask_for_workers();
        let snapshot = self.wait(|snapshot| snapshot.workers.is_some()).await?;
        let workers = snapshot.workers.clone().ok_or(Silent)?;
        Ok((snapshot, workers))
    }

    fn ask_for_workers(&self) {
        let now_ms = self.asked.now_ms().max(1);
        self.asked.at_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Waits until the driver has ended.
    pub(crate) async fn ended(&self) {
        let mut receiver = self.receiver.clone();
        while receiver.changed().await.is_ok() {}
    }

    async fn wait(&self, is_wanted: impl Fn(&Snapshot) -> bool) -> Result<Arc<Snapshot>, Silent> {
        let mut receiver = self.receiver.clone();
        let is_good = |snapshot: &Option<Arc<Snapshot>>| {
            snapshot
                .as_ref()
                .is_some_and(|one| one.at.elapsed() < LIVE_ANSWER && is_wanted(one))
        };
        let waiting = receiver.wait_for(is_good);
        match tokio::time::timeout(LIVE_ANSWER, waiting).await {
            Ok(Ok(snapshot)) => snapshot.clone().ok_or(Silent),
            _ => Err(Silent),
        }
    }
}

impl Snapshot {
    /// Age of the newest template.
    pub(crate) fn template_age(&self) -> Option<Duration> {
        self.template_at.map(|at| at.elapsed())
    }

    /// Connections of miners that have sent something and are still open.
    pub(crate) fn connections(&self) -> u64 {
        self.view.counts.connections()
    }

    /// True if miners have a valid job and can connect.
    pub(crate) fn is_healthy(&self) -> bool {
        self.view.is_job_live && self.view.is_listening
    }
}
