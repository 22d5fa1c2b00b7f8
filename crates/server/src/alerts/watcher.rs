//! The thread that writes into the ledger what accounts are to be told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::now_s;
use super::sign_ins::SignIns;
use super::turns::{self, Turns};
use super::watch::{self, WorkingSince};
use crate::cluster::cluster_status::{ClusterLink, Member};
use crate::cluster::threads::Threads;
use crate::contacts::event::Noted;
use crate::contacts::table::tidy;
use crate::limits::{ALERT_TIDY, ALERT_WATCH, ALERT_WORKERS, ALERTS_WRITTEN_AT_ONCE};
use crate::sql::{Db, Sql, SqlError};
use crate::telemetry::live::TelemetryReader;

/// Number of a server that has its ledger alone, in that ledger.
const ALONE: i64 = 0;

pub(super) struct Watcher {
    turns: Turns,
    /// What this server has noted.
    sign_ins: Arc<SignIns>,
    /// What of that is not in the ledger yet.
    unwritten: Vec<Noted>,
    live: TelemetryReader,
    working: WorkingSince,
    workers: Interval,
    tidying: Interval,
}

/// What is done now and then.
struct Interval {
    every: Duration,
    done_at: Option<Instant>,
}

impl Interval {
    fn new(every: Duration) -> Self {
        Self {
            every,
            done_at: None,
        }
    }

    /// True if it is time; it counts as done then.
    fn is_due(&mut self) -> bool {
        let is_due = self.done_at.is_none_or(|at| at.elapsed() >= self.every);
        if is_due {
            self.done_at = Some(Instant::now());
        }
        is_due
    }
}

impl Watcher {
    pub(super) fn new(turns: Turns, sign_ins: Arc<SignIns>, live: TelemetryReader) -> Self {
        Self {
            turns,
            sign_ins,
            unwritten: Vec::new(),
            live,
            working: WorkingSince::default(),
            workers: Interval::new(ALERT_WORKERS),
            tidying: Interval::new(ALERT_TIDY),
        }
    }

    pub(super) fn start(mut self, threads: &Threads) -> anyhow::Result<()> {
        let node = self.turns.node.clone();
        turns::start(threads, "hstratum-alerts", ALERT_WATCH, node, move |_| {
            self.turn();
        })
    }

    fn turn(&mut self) {
        self.see_who_works();
        if self.unwritten.is_empty() {
            self.unwritten = self.sign_ins.take();
        }
        let Self {
            turns,
            unwritten,
            working,
            workers,
            tidying,
            ..
        } = self;
        turns.turn(|turns, db| {
            // Each server writes what it has noted; one of them what the ledger says.
            write(db, unwritten)?;
            if !turns.is_ours(db)? {
                return Ok(());
            }
            let now = now_s();
            let mut found = db.read(|sql| watch::look_at_money(sql, now))?;
            write(db, &mut found)?;
            if workers.is_due() {
                let mut found = db.read(|sql| watch::look_at_workers(sql, working, now))?;
                write(db, &mut found)?;
            }
            if tidying.is_due() {
                db.write(|sql: &mut dyn Sql| tidy(sql, now))?;
            }
            Ok(())
        });
    }

    /// Takes which servers work now.
    fn see_who_works(&mut self) {
        let now = now_s();
        let Some(cluster) = &self.turns.statuses.cluster else {
            let working = self.live.is_healthy().then_some(ALONE);
            return self.working.see(working.into_iter(), now);
        };
        let reading = cluster.look();
        let is_known = reading.link == ClusterLink::Up;
        let works = |one: &&Member| is_known && one.is_alive() && one.report.has_job;
        let working = reading.servers.iter().filter(works);
        self.working.see(working.map(|one| one.origin), now);
    }
}

/// Writes what is noted, and forgets what is written.
fn write(db: &mut Db, noted: &mut Vec<Noted>) -> Result<(), SqlError> {
    while !noted.is_empty() {
        let next = &noted[..noted.len().min(ALERTS_WRITTEN_AT_ONCE)];
        db.write(|sql: &mut dyn Sql| watch::write(sql, next))?;
        let written = next.len();
        noted.drain(..written);
    }
    Ok(())
}
