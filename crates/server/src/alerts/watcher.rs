//! The thread that writes into the ledger what accounts are to be told.

use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::now_s;
use super::turns::{self, Turns};
use super::watch::{self, WorkingSince};
use crate::cluster::cluster_status::{ClusterLink, Member};
use crate::cluster::threads::Threads;
use crate::contacts::event::AlertEvent;
use crate::contacts::table::tidy;
use crate::limits::{ALERT_TIDY, ALERT_WATCH, ALERTS_NOTED_MAX};
use crate::sql::{Db, Sql, SqlError};
use crate::telemetry::live::TelemetryReader;

/// What happened to an account, and when, Unix seconds.
pub(super) type Noted = (String, i64, AlertEvent);

/// Number of a server that has its ledger alone, in that ledger.
const ALONE: i64 = 0;

pub(super) struct Watcher {
    turns: Turns,
    /// What this server has noted.
    noted: Receiver<Noted>,
    /// What of that is not in the ledger yet.
    unwritten: Vec<Noted>,
    live: TelemetryReader,
    working: WorkingSince,
    tidied_at: Option<Instant>,
}

impl Watcher {
    pub(super) fn new(turns: Turns, noted: Receiver<Noted>, live: TelemetryReader) -> Self {
        Self {
            turns,
            noted,
            unwritten: Vec::new(),
            live,
            working: WorkingSince::default(),
            tidied_at: None,
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
        let room = ALERTS_NOTED_MAX.saturating_sub(self.unwritten.len());
        self.unwritten.extend(self.noted.try_iter().take(room));
        let Self {
            turns,
            unwritten,
            working,
            tidied_at,
            ..
        } = self;
        turns.turn(|turns, db| {
            // Each server writes what it has noted; one of them what the ledger says.
            write_noted(db, unwritten)?;
            if turns.is_ours(db)? {
                look(db, working)?;
                tidy_sometimes(db, tidied_at)?;
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

fn write_noted(db: &mut Db, unwritten: &mut Vec<Noted>) -> Result<(), SqlError> {
    if !unwritten.is_empty() {
        db.write(|sql: &mut dyn Sql| watch::write(sql, unwritten))?;
        unwritten.clear();
    }
    Ok(())
}

/// Writes what the ledger says of accounts.
fn look(db: &mut Db, working: &WorkingSince) -> Result<(), SqlError> {
    let now = now_s();
    let found = db.read(|sql| watch::look(sql, working, now))?;
    if !found.is_empty() {
        db.write(|sql: &mut dyn Sql| watch::write(sql, &found))?;
    }
    Ok(())
}

fn tidy_sometimes(db: &mut Db, tidied_at: &mut Option<Instant>) -> Result<(), SqlError> {
    if tidied_at.is_none_or(|at| at.elapsed() >= ALERT_TIDY) {
        db.write(|sql: &mut dyn Sql| tidy(sql, now_s()))?;
        *tidied_at = Some(Instant::now());
    }
    Ok(())
}
