//! The thread that ships batches from the server's file to the shared ledger, in order, each once.
//!
//! Mining never waits for it. While the shared ledger is away, batches stay in the file and connecting is
//! retried. On each new connection the batches on both sides are compared (`reconcile`), so that it does not
//! matter where the last connection was cut.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hstratum_core::chain::address::Network;
use hstratum_core::units::Height;
use postgres::Client;
use rusqlite::Connection;

use crate::clock::unix_s;
use crate::cluster::cluster_status::{ClusterStatus, ServerReport};
use crate::cluster::heartbeat::Heartbeat;
use crate::cluster::origin;
use crate::cluster::origin::OwnOrigin;
use crate::cluster::restore_detection::WriteMark;
use crate::cluster::shipping::batch_writer::{BatchWriter, OutgoingBatch, Shipped};
use crate::cluster::shipping::comparison::{compared, origins};
use crate::cluster::shipping::reconcile::{BatchHead, Reconciliation};
use crate::cluster::status_log::StatusLog;
use crate::limits::{COORDINATOR_EVERY, PART_MS, SHARED_RETRY, SHARED_STOP};
use crate::node::Node;
use crate::sql::postgres_schema;
use crate::sql::sqlite_schema::{FileId, open_to_read};
use crate::sql::url::PostgresUrl;
use crate::sql::{SqlError, signed};
use crate::store::batch_codec::BatchBody;
use crate::store::ledger::{BatchMark, OriginFork};
use crate::store::shipper_exchange::ShipperExchange;
use crate::supervision::Duty;

/// Interval of polling the progress of the other thread.
const PAUSE: Duration = Duration::from_millis(10);

/// Parameters of the thread.
pub(crate) struct Shipper {
    pub address: PostgresUrl,
    pub network: Network,
    /// The server's name.
    pub label: String,
    /// The server's ledger file.
    pub ledger: PathBuf,
    pub shipper_exchange: Arc<ShipperExchange>,
    pub cluster_status: Arc<ClusterStatus>,
    /// Makes the report of this server for the others.
    pub report: Box<dyn Fn() -> ServerReport + Send>,
    pub duty: Arc<Duty>,
}

/// True for an error that may pass by itself.
pub(crate) fn is_away(error: &anyhow::Error) -> bool {
    let said = error.downcast_ref::<SqlError>();
    said.is_some_and(|said| !matches!(said, SqlError::Failed(_)))
}

/// Reason why the work on a connection has ended.
enum ShipEnd {
    /// Everything is shipped, and nothing more will come.
    Done,
    /// Both sides must be compared again, since the file now ships under another origin.
    Compare,
    /// Both sides must be compared again, since the shared ledger was restored from a copy.
    PutBack,
}

/// Position at which shipping goes on.
struct ShipPosition {
    /// The origin's number in the file.
    file: i64,
    /// The origin's number in the shared ledger.
    shared: i64,
    /// The shared ledger's last batch.
    at: i64,
    /// The next batch to ship.
    next: i64,
    /// The mark that we wrote there last.
    mark: WriteMark,
    /// Ids of files that this server had before.
    earlier: Vec<FileId>,
}

impl Shipper {
    /// Runs until nothing more will be sealed and everything is shipped, or the stop's time is over. `first`
    /// is an existing connection.
    pub(crate) fn run(&self, first: Option<Client>, node: &dyn Node) {
        let mut first = first;
        self.cluster_status.watch(&self.shipper_exchange);
        let mut status_log = StatusLog::new(node, &self.cluster_status);
        loop {
            // While the shared ledger is away the duty is not late: that is reported separately.
            self.duty.again();
            let client = first.take().map_or_else(
                || postgres_schema::connect(&self.address, self.network, unix_s()),
                Ok,
            );
            let ended = client.and_then(|client| {
                let worked = catch_unwind(AssertUnwindSafe(|| self.work(client, &mut status_log)));
                worked.unwrap_or_else(|_| bail!("a bug in the shipper, please report it"))
            });
            match ended {
                // The work ends without an error only when the server stops.
                Ok(()) if self.shipper_exchange.is_closed() => return,
                Ok(()) => {}
                Err(error) => status_log.down(&error),
            }
            if self.shipper_exchange.is_closed() {
                return status_log.left(self.left());
            }
            self.count(0);
            self.shipper_exchange.wait_for_close(SHARED_RETRY);
        }
    }

    /// Works on one connection, until everything is shipped and nothing more will come.
    fn work(&self, client: Client, status_log: &mut StatusLog) -> anyhow::Result<()> {
        let file = open_to_read(&self.ledger).context("failed to open the ledger's file")?;
        let mut writer = BatchWriter::new(client)?;
        let mut is_put_back = false;
        loop {
            let Some(position) = self.compare(&file, &mut writer, status_log)? else {
                continue;
            };
            status_log.up(&self.address, &self.label, self.left());
            let again = shipped_before(&file, &position)?;
            if is_put_back || again > 0 {
                status_log.put_back(again);
            }
            is_put_back = match self.ship_on(&file, &mut writer, position, status_log)? {
                ShipEnd::Done => return Ok(()),
                ShipEnd::Compare => false,
                ShipEnd::PutBack => true,
            };
        }
    }

    /// Compares all origins of the file, ships lost batches of old ones again, and returns the position to go
    /// on from; `None` if that has changed meanwhile.
    fn compare(
        &self,
        file: &Connection,
        writer: &mut BatchWriter,
        status_log: &StatusLog,
    ) -> anyhow::Result<Option<ShipPosition>> {
        let all = origins(file)?;
        let earlier = all.iter().filter(|ours| !ours.is_current);
        let earlier: Vec<FileId> = earlier.map(|ours| ours.origin).collect();
        for ours in all {
            // The origin may belong to another server by now, since this file may be a copy.
            let shared = origin::find(writer.client(), &ours.origin, &self.label)?;
            match compared(file, writer.client(), &ours, shared)?.reconcile() {
                Reconciliation::Done => {}
                Reconciliation::ForkOrigin { kept } => {
                    status_log.parted(ours.sequence - kept);
                    self.fork_origin(ours.id, kept)?;
                    return Ok(None);
                }
                Reconciliation::Ship { at, next, missing } => {
                    if let Some((first, last)) = missing {
                        status_log.missing(first, last);
                    }
                    let mut position = ShipPosition {
                        file: ours.id,
                        shared,
                        at,
                        next,
                        mark: writer.begin(shared)?,
                        earlier: earlier.clone(),
                    };
                    if ours.is_current {
                        if !self.claim_origin(&ours.origin, shared, writer)? {
                            return Ok(None);
                        }
                        self.mark(&position, next - 1);
                        return Ok(Some(position));
                    }
                    while position.next <= ours.sequence {
                        if self.ship_one(file, writer, &mut position)? == Shipped::Moved {
                            return Ok(None);
                        }
                    }
                }
            }
        }
        bail!("the ledger's file has no origin to ship as")
    }

    /// This file is ours alone: others are told of it by our name. False when it has another number now.
    fn claim_origin(
        &self,
        origin: &FileId,
        shared: i64,
        writer: &mut BatchWriter,
    ) -> anyhow::Result<bool> {
        let number = origin::name(writer.client(), origin, &self.label)?;
        if number != shared {
            return Ok(false);
        }
        let own = OwnOrigin {
            origin: *origin,
            number,
        };
        self.cluster_status.update(|reading| {
            reading.own = Some(own);
            reading.generation += 1;
            reading.brought = None;
        });
        Ok(true)
    }

    /// Makes the ledger's thread begin a new origin.
    fn fork_origin(&self, from: i64, kept: i64) -> anyhow::Result<()> {
        let mut origin = FileId::default();
        getrandom::fill(&mut origin).context("failed to get random bytes")?;
        let fork = OriginFork { from, kept, origin };
        let is_done = self
            .shipper_exchange
            .fork_origin(fork, Duration::from_millis(PART_MS));
        ensure!(
            is_done,
            "the ledger's file has not begun a new origin in time"
        );
        Ok(())
    }

    /// Ships sealed batches, and sends heartbeats.
    fn ship_on(
        &self,
        file: &Connection,
        writer: &mut BatchWriter,
        mut position: ShipPosition,
        status_log: &mut StatusLog,
    ) -> anyhow::Result<ShipEnd> {
        let earlier = std::mem::take(&mut position.earlier);
        let mut heartbeat = Heartbeat::new(position.shared, &self.label, earlier);
        let mut stop_by = None;
        loop {
            let is_closed = self.shipper_exchange.is_closed();
            let head = self
                .shipper_exchange
                .head()
                .context("nothing was ever sealed")?;
            if head.last.origin != position.file {
                return Ok(ShipEnd::Compare);
            }
            while position.next <= head.last.sequence {
                if self.ship_one(file, writer, &mut position)? == Shipped::Moved {
                    return Ok(ShipEnd::PutBack);
                }
                self.mark(&position, position.at);
                if heartbeat.is_due()
                    && !self.beat(writer, &mut heartbeat, &mut position, status_log)?
                {
                    return Ok(ShipEnd::PutBack);
                }
                let now = Instant::now();
                if self.shipper_exchange.is_closed()
                    && now > *stop_by.get_or_insert(now + SHARED_STOP)
                {
                    status_log.left(self.left());
                    return Ok(ShipEnd::Done);
                }
            }
            status_log.caught_up();
            heartbeat.shipped_tip = head.tip;
            if is_closed {
                self.wait_for_blocks(head.tip);
            }
            if !self.beat(writer, &mut heartbeat, &mut position, status_log)? {
                return Ok(ShipEnd::PutBack);
            }
            if is_closed {
                return Ok(ShipEnd::Done);
            }
            self.shipper_exchange.wait(heartbeat.due_in());
        }
    }

    /// Waits until our blocks are copied, so that a server's last heartbeat says that everything is there;
    /// another thread copies them, which ends now as well.
    fn wait_for_blocks(&self, sealed: Option<Height>) {
        let until = Instant::now() + COORDINATOR_EVERY;
        while self.cluster_status.read().brought < sealed && Instant::now() < until {
            thread::sleep(PAUSE);
        }
    }

    /// Sends a heartbeat; returns false if the shared ledger was replaced.
    fn beat(
        &self,
        writer: &mut BatchWriter,
        heartbeat: &mut Heartbeat,
        position: &mut ShipPosition,
        status_log: &mut StatusLog,
    ) -> anyhow::Result<bool> {
        self.count(position.at);
        let reading = self.cluster_status.read();
        let report = ServerReport {
            behind: reading.behind,
            ..(self.report)()
        };
        let heights = (self.shipper_exchange.tip(), reading.brought);
        let client = writer.client();
        let servers = heartbeat.send(client, &mut position.mark, heights, &report, status_log)?;
        let Some(servers) = servers else {
            return Ok(false);
        };
        self.cluster_status
            .update(|reading| reading.servers = servers);
        self.cluster_status.heard();
        self.duty.again();
        Ok(true)
    }

    fn ship_one(
        &self,
        file: &Connection,
        writer: &mut BatchWriter,
        position: &mut ShipPosition,
    ) -> anyhow::Result<Shipped> {
        let outgoing = load(file, position)?;
        self.duty.again();
        let shipped = writer.ship(file, position.shared, &mut position.mark, &outgoing)?;
        self.cluster_status.heard();
        if shipped == Shipped::Yes {
            position.at = position.next;
            position.next += 1;
            self.cluster_status.update(|reading| {
                reading.batches += 1;
                reading.rows += outgoing.body.rows() as u64;
            });
        }
        Ok(shipped)
    }

    fn mark(&self, position: &ShipPosition, sequence: i64) {
        self.shipper_exchange.shipped(BatchMark {
            origin: position.file,
            sequence,
        });
    }

    /// Number of batches not known to be shipped.
    fn left(&self) -> i64 {
        let head = self.shipper_exchange.head();
        let count = open_to_read(&self.ledger).and_then(|file| {
            file.query_row(
                "SELECT count(*) FROM outbox WHERE shipped_at IS NULL",
                [],
                |row| row.get(0),
            )
        });
        count.unwrap_or_else(|_| head.map_or(0, |head| head.last.sequence))
    }

    /// Publishes how many batches are waiting, with `at` the last one shipped; 0: not known.
    fn count(&self, at: i64) {
        let head = self.shipper_exchange.head();
        let oldest = open_to_read(&self.ledger).and_then(|file| {
            file.query_row(
                "SELECT count(*), min(sealed_at) FROM outbox
                 WHERE shipped_at IS NULL AND NOT (sequence <= ?1 AND origin = (
                   SELECT max(id) FROM outbox_origins))",
                [at],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)),
            )
        });
        let (behind, oldest) = oldest.unwrap_or((0, None));
        let now = signed(unix_s());
        let lag = oldest.map_or(0, |sealed_at| now - sealed_at);
        self.cluster_status.update(|reading| {
            reading.behind = behind;
            reading.at = at;
            reading.lag_s = u64::try_from(lag).unwrap_or(0);
            reading.backlog = head.map_or(0, |head| head.backlog);
            reading.is_full = head.is_some_and(|head| head.is_full);
        });
    }
}

/// Number of batches to be shipped again although they were shipped before.
fn shipped_before(file: &Connection, position: &ShipPosition) -> rusqlite::Result<i64> {
    file.query_row(
        "SELECT count(*) FROM outbox
         WHERE origin = ?1 AND sequence >= ?2 AND shipped_at IS NOT NULL",
        (position.file, position.next),
        |row| row.get(0),
    )
}

fn load(file: &Connection, position: &ShipPosition) -> anyhow::Result<OutgoingBatch> {
    let mut read = file.prepare_cached(
        "SELECT digest, life, body FROM outbox JOIN outbox_bodies USING (id)
         WHERE origin = ?1 AND sequence = ?2",
    )?;
    let what = || {
        format!(
            "failed to read batch {} of the ledger's file",
            position.next
        )
    };
    let (seen, body) = read
        .query_row((position.file, position.next), |row| {
            let seen = BatchHead {
                digest: row.get(0)?,
                run_id: row.get(1)?,
            };
            Ok((seen, BatchBody::parse(row.get_ref(2)?.as_blob()?)))
        })
        .with_context(what)?;
    Ok(OutgoingBatch {
        after: position.at,
        sequence: position.next,
        seen,
        body: body.with_context(what)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_turned_away_is_told_from_who_finds_nobody() {
        let lost = anyhow::Error::from(SqlError::Lost(String::new())).context("x");
        let wrong = anyhow::Error::from(SqlError::Failed(String::new())).context("x");
        assert!(is_away(&lost));
        assert!(!is_away(&wrong));
    }
}
