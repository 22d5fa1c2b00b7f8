//! The thread that ships batches from the server's file to the shared ledger, in order, each once.
//!
//! Mining never waits for it. While the shared ledger is away, batches stay in the file and connecting is
//! retried. On each new connection the batches on both sides are compared (`course`), so that it does not
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

use super::address::Address;
use super::cargo::{Cargo, Carrier, Shipped};
use super::comparison::{compared, origins};
use super::course::{Course, Seen};
use super::heartbeat::Heartbeat;
use super::mark::Mark as LedgerMark;
use super::origin::Own;
use super::standing::{Report, Standing};
use super::talk::Talk;
use super::{origin, schema};
use crate::clock::unix_s;
use crate::limits::{JUDGE_EVERY, PART_MS, SHARED_RETRY, SHARED_STOP};
use crate::node::Node;
use crate::sql::SqlError;
use crate::store::body::Body;
use crate::store::dock::Dock;
use crate::store::ledger::{Mark, Parting};
use crate::store::schema::{FileId, open_to_read};
use crate::workers::duty::Duty;

/// Interval of polling the progress of the other thread.
const PAUSE: Duration = Duration::from_millis(10);

/// Parameters of the thread.
pub(crate) struct Shipper {
    pub address: Address,
    pub network: Network,
    /// The server's name.
    pub label: String,
    /// The server's ledger file.
    pub ledger: PathBuf,
    pub dock: Arc<Dock>,
    pub standing: Arc<Standing>,
    /// Makes the report of this server for the others.
    pub report: Box<dyn Fn() -> Report + Send>,
    pub duty: Arc<Duty>,
}

/// True for an error that may pass by itself.
pub(crate) fn is_away(error: &anyhow::Error) -> bool {
    let said = error.downcast_ref::<SqlError>();
    said.is_some_and(|said| !matches!(said, SqlError::Failed(_)))
}

/// Reason why the work on a connection has ended.
enum End {
    /// Everything is shipped, and nothing more will come.
    Done,
    /// Both sides must be compared again, since the file now ships under another origin.
    Compare,
    /// Both sides must be compared again, since the shared ledger was restored from a copy.
    PutBack,
}

/// Position at which shipping goes on.
struct Place {
    /// The origin's number in the file.
    file: i64,
    /// The origin's number in the shared ledger.
    shared: i64,
    /// The shared ledger's last batch.
    at: i64,
    /// The next batch to ship.
    next: i64,
    /// The mark that we wrote there last.
    mark: LedgerMark,
    /// Ids of files that this server had before.
    earlier: Vec<FileId>,
}

impl Shipper {
    /// Runs until nothing more will be sealed and everything is shipped, or the stop's time is over. `first`
    /// is an existing connection.
    pub(crate) fn run(&self, first: Option<Client>, node: &dyn Node) {
        let mut first = first;
        self.standing.watch(&self.dock);
        let mut talk = Talk::new(node, &self.standing);
        loop {
            // An absent shared ledger is logged separately.
            self.duty.again();
            let client = first.take().map_or_else(
                || schema::connect(&self.address, self.network, unix_s()),
                Ok,
            );
            let ended = client.and_then(|client| {
                let worked = catch_unwind(AssertUnwindSafe(|| self.work(client, &mut talk)));
                worked.unwrap_or_else(|_| bail!("a bug in the shipper, please report it"))
            });
            match ended {
                // The work ends without an error only when the server stops.
                Ok(()) if self.dock.is_closed() => return,
                Ok(()) => {}
                Err(error) => talk.down(&error),
            }
            if self.dock.is_closed() {
                return talk.left(self.left());
            }
            self.count(0);
            self.dock.wait_for_close(SHARED_RETRY);
        }
    }

    /// Works on one connection, until everything is shipped and nothing more will come.
    fn work(&self, client: Client, talk: &mut Talk) -> anyhow::Result<()> {
        let file = open_to_read(&self.ledger).context("failed to open the ledger's file")?;
        let mut carrier = Carrier::new(client)?;
        let mut is_put_back = false;
        loop {
            let Some(place) = self.compare(&file, &mut carrier, talk)? else {
                continue;
            };
            talk.up(&self.address, &self.label, self.left());
            let again = shipped_before(&file, &place)?;
            if is_put_back || again > 0 {
                talk.put_back(again);
            }
            is_put_back = match self.ship_on(&file, &mut carrier, place, talk)? {
                End::Done => return Ok(()),
                End::Compare => false,
                End::PutBack => true,
            };
        }
    }

    /// Compares all origins of the file, ships lost batches of old ones again, and returns the position to go
    /// on from; `None` if that has changed meanwhile.
    fn compare(
        &self,
        file: &Connection,
        carrier: &mut Carrier,
        talk: &Talk,
    ) -> anyhow::Result<Option<Place>> {
        let all = origins(file)?;
        let earlier = all.iter().filter(|ours| !ours.is_current);
        let earlier: Vec<FileId> = earlier.map(|ours| ours.origin).collect();
        for ours in all {
            // The origin may belong to another server by now, since this file may be a copy.
            let shared = origin::find(carrier.client(), &ours.origin, &self.label)?;
            match compared(file, carrier.client(), &ours, shared)?.course() {
                Course::Done => {}
                Course::Part { kept } => {
                    talk.parted(ours.sequence - kept);
                    self.part(ours.id, kept)?;
                    return Ok(None);
                }
                Course::Ship { at, next, missing } => {
                    if let Some((first, last)) = missing {
                        talk.missing(first, last);
                    }
                    let mut place = Place {
                        file: ours.id,
                        shared,
                        at,
                        next,
                        mark: carrier.begin(shared)?,
                        earlier: earlier.clone(),
                    };
                    if ours.is_current {
                        if !self.be(&ours.origin, shared, carrier)? {
                            return Ok(None);
                        }
                        self.mark(&place, next - 1);
                        return Ok(Some(place));
                    }
                    while place.next <= ours.sequence {
                        if self.ship_one(file, carrier, &mut place)? == Shipped::Moved {
                            return Ok(None);
                        }
                    }
                }
            }
        }
        bail!("the ledger's file has no origin to ship as")
    }

    /// Registers the file as ours under our name. Returns false if it has another number now.
    fn be(&self, origin: &FileId, shared: i64, carrier: &mut Carrier) -> anyhow::Result<bool> {
        let number = origin::name(carrier.client(), origin, &self.label)?;
        if number != shared {
            return Ok(false);
        }
        let own = Own {
            origin: *origin,
            number,
        };
        self.standing.update(|reading| {
            reading.own = Some(own);
            reading.generation += 1;
            reading.brought = None;
        });
        Ok(true)
    }

    /// Makes the ledger's thread begin a new origin.
    fn part(&self, from: i64, kept: i64) -> anyhow::Result<()> {
        let mut origin = FileId::default();
        getrandom::fill(&mut origin).context("failed to get random bytes")?;
        let parting = Parting { from, kept, origin };
        let is_done = self.dock.part(parting, Duration::from_millis(PART_MS));
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
        carrier: &mut Carrier,
        mut place: Place,
        talk: &mut Talk,
    ) -> anyhow::Result<End> {
        let earlier = std::mem::take(&mut place.earlier);
        let mut heartbeat = Heartbeat::new(place.shared, &self.label, earlier);
        let mut stop_by = None;
        loop {
            let is_closed = self.dock.is_closed();
            let head = self.dock.head().context("nothing was ever sealed")?;
            if head.last.origin != place.file {
                return Ok(End::Compare);
            }
            while place.next <= head.last.sequence {
                if self.ship_one(file, carrier, &mut place)? == Shipped::Moved {
                    return Ok(End::PutBack);
                }
                self.mark(&place, place.at);
                if heartbeat.is_due() && !self.beat(carrier, &mut heartbeat, &mut place, talk)? {
                    return Ok(End::PutBack);
                }
                let now = Instant::now();
                if self.dock.is_closed() && now > *stop_by.get_or_insert(now + SHARED_STOP) {
                    talk.left(self.left());
                    return Ok(End::Done);
                }
            }
            talk.caught_up();
            heartbeat.shipped_tip = head.tip;
            if is_closed {
                self.wait_for_blocks(head.tip);
            }
            if !self.beat(carrier, &mut heartbeat, &mut place, talk)? {
                return Ok(End::PutBack);
            }
            if is_closed {
                return Ok(End::Done);
            }
            self.dock.wait(heartbeat.due_in());
        }
    }

    /// Waits until our blocks are copied, so that a server's last heartbeat says that everything is there;
    /// another thread copies them, which ends now as well.
    fn wait_for_blocks(&self, sealed: Option<Height>) {
        let until = Instant::now() + JUDGE_EVERY;
        while self.standing.read().brought < sealed && Instant::now() < until {
            thread::sleep(PAUSE);
        }
    }

    /// Sends a heartbeat; returns false if the shared ledger was replaced.
    fn beat(
        &self,
        carrier: &mut Carrier,
        heartbeat: &mut Heartbeat,
        place: &mut Place,
        talk: &mut Talk,
    ) -> anyhow::Result<bool> {
        self.count(place.at);
        let reading = self.standing.read();
        let report = Report {
            behind: reading.behind,
            ..(self.report)()
        };
        let heights = (self.dock.tip(), reading.brought);
        let client = carrier.client();
        let servers = heartbeat.send(client, &mut place.mark, heights, &report, talk)?;
        let Some(servers) = servers else {
            return Ok(false);
        };
        self.standing.update(|reading| reading.servers = servers);
        self.standing.heard();
        self.duty.again();
        Ok(true)
    }

    fn ship_one(
        &self,
        file: &Connection,
        carrier: &mut Carrier,
        place: &mut Place,
    ) -> anyhow::Result<Shipped> {
        let cargo = load(file, place)?;
        self.duty.again();
        let shipped = carrier.ship(file, place.shared, &mut place.mark, &cargo)?;
        self.standing.heard();
        if shipped == Shipped::Yes {
            place.at = place.next;
            place.next += 1;
            self.standing.update(|reading| {
                reading.batches += 1;
                reading.rows += cargo.body.rows() as u64;
            });
        }
        Ok(shipped)
    }

    fn mark(&self, place: &Place, sequence: i64) {
        self.dock.shipped(Mark {
            origin: place.file,
            sequence,
        });
    }

    /// Number of batches not known to be shipped.
    fn left(&self) -> i64 {
        let head = self.dock.head();
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
        let head = self.dock.head();
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
        let now = i64::try_from(unix_s()).unwrap_or(i64::MAX);
        let lag = oldest.map_or(0, |sealed_at| now - sealed_at);
        self.standing.update(|reading| {
            reading.behind = behind;
            reading.at = at;
            reading.lag_s = u64::try_from(lag).unwrap_or(0);
            reading.backlog = head.map_or(0, |head| head.backlog);
            reading.is_full = head.is_some_and(|head| head.is_full);
        });
    }
}

/// Number of batches shipped again although they were there before.
fn shipped_before(file: &Connection, place: &Place) -> rusqlite::Result<i64> {
    file.query_row(
        "SELECT count(*) FROM outbox
         WHERE origin = ?1 AND sequence >= ?2 AND shipped_at IS NOT NULL",
        (place.file, place.next),
        |row| row.get(0),
    )
}

fn load(file: &Connection, place: &Place) -> anyhow::Result<Cargo> {
    let mut read = file.prepare_cached(
        "SELECT digest, life, body FROM outbox JOIN outbox_bodies USING (id)
         WHERE origin = ?1 AND sequence = ?2",
    )?;
    let what = || format!("failed to read batch {} of the ledger's file", place.next);
    let (seen, body) = read
        .query_row((place.file, place.next), |row| {
            let seen = Seen {
                digest: row.get(0)?,
                life: row.get(1)?,
            };
            Ok((seen, Body::parse(row.get_ref(2)?.as_blob()?)))
        })
        .with_context(what)?;
    Ok(Cargo {
        after: place.at,
        sequence: place.next,
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
