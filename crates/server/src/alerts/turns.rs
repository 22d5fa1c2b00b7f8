//! Work on the ledger in turns, and which of several servers does it: the one that holds its lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hstratum_core::event::Level;

use crate::cluster::threads::Threads;
use crate::limits::ALERT_LEASE_MS;
use crate::node::Node;
use crate::repeated_log::LogOnce;
use crate::sql::location::LedgerLocation;
use crate::sql::{Db, NOW_MS, Sql, SqlError};
use crate::statuses::Statuses;
use crate::supervision::{keep, wait_until};
use crate::values;

/// Turns of one kind of work.
pub(super) struct Turns {
    /// The work's name: that of its lease, and in the log.
    duty: &'static str,
    ledger: LedgerLocation,
    pub(super) statuses: Statuses,
    pub(super) node: Arc<dyn Node>,
    failing: LogOnce,
}

impl Turns {
    pub(super) fn new(
        duty: &'static str,
        ledger: LedgerLocation,
        statuses: Statuses,
        node: Arc<dyn Node>,
    ) -> Self {
        Self {
            duty,
            ledger,
            statuses,
            node,
            failing: LogOnce::default(),
        }
    }

    /// One turn of `work` with an open ledger. A failure is logged once; the next turn tries again.
    pub(super) fn turn(&mut self, work: impl FnOnce(&Self, &mut Db) -> anyhow::Result<()>) {
        let opened = self.ledger.open_in_server();
        match opened.and_then(|mut db| work(self, &mut db)) {
            Ok(()) => drop(self.failing.end()),
            Err(error) => {
                let text = format!("{}: {error:#}; it is tried again", self.duty);
                self.failing.say(&*self.node, Level::Warning, &text);
            }
        }
    }

    /// True if this server works: it has the ledger alone, or holds the lease, from now on for [`ALERT_LEASE_MS`].
    pub(super) fn is_ours(&self, db: &mut Db) -> Result<bool, SqlError> {
        let Some(cluster) = &self.statuses.cluster else {
            return Ok(true);
        };
        let (Some(own), _) = cluster.own() else {
            return Ok(false);
        };
        let taken = db.write(|sql: &mut dyn Sql| {
            sql.execute(
                &format!(
                    "INSERT INTO leases (name, holder, until_ms) VALUES (?1, ?2, {NOW_MS} + CAST(?3 AS BIGINT))
                         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms
                      WHERE leases.holder = excluded.holder OR leases.until_ms <= {NOW_MS}"
                ),
                &values![self.duty, own.number, ALERT_LEASE_MS],
            )
        });
        Ok(taken? > 0)
    }
}

/// Starts a thread that does such work until the server stops, with a pause after each turn, and once more then. A panic
/// is a turn that failed.
pub(super) fn start(
    threads: &Threads,
    name: &'static str,
    pause: Duration,
    node: Arc<dyn Node>,
    mut turn: impl FnMut(&AtomicBool) + Send + 'static,
) -> anyhow::Result<()> {
    threads.spawn(name, move |is_stopping| {
        keep(name, &*node, || {
            loop {
                let is_last = is_stopping.load(Ordering::Relaxed);
                turn(is_stopping);
                if is_last {
                    return;
                }
                wait_until(Instant::now() + pause, is_stopping);
            }
        });
    })
}
