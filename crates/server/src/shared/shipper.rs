//! The thread that ships: batches from the server's file to the shared ledger, in order, each once.
//!
//! Mining never waits for it. Where the shared ledger is away, batches stay in the file and it is
//! tried again; on each connection what both have is compared (`course`), so that it does not matter
//! where the last one was cut.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hstratum_core::address::Network;
use postgres::Client;
use rusqlite::{Connection, OptionalExtension};

use super::address::Address;
use super::cargo::{Cargo, Carrier, Shipped};
use super::course::{Compared, Course, Own, Seen, agreed};
use super::heartbeat::Heartbeat;
use super::standing::{Report, Standing};
use super::talk::Talk;
use super::{origin, schema};
use crate::limits::{FORGETTING_S, PART_MS, SHARED_BATCHES_KEPT_S, SHARED_RETRY, SHARED_STOP};
use crate::node::Node;
use crate::sql::SqlError;
use crate::store::body::Body;
use crate::store::dock::Dock;
use crate::store::ledger::{Mark, Parting};
use crate::store::outbox::Digest;
use crate::store::schema::{FileId, open_to_read};
use crate::store::unix_s;

/// See the module.
pub(crate) struct Shipper {
    pub address: Address,
    pub network: Network,
    /// The server's name.
    pub label: String,
    /// Its file.
    pub ledger: PathBuf,
    pub dock: Arc<Dock>,
    pub standing: Arc<Standing>,
    /// What the others are told of this server.
    pub report: Box<dyn Fn() -> Report + Send>,
}

/// Whether it may well be back by itself.
pub(crate) fn is_away(error: &anyhow::Error) -> bool {
    let said = error.downcast_ref::<SqlError>();
    said.is_some_and(|said| !matches!(said, SqlError::Failed(_)))
}

/// One of the file's origins.
struct Ours {
    /// Its number in the file.
    id: i64,
    origin: FileId,
    sequence: i64,
    digest: Digest,
    is_current: bool,
}

/// Why a connection's work has ended.
enum End {
    /// All is shipped, and nothing more will come.
    Done,
    /// What both have is to be compared anew.
    Compare,
}

/// Where shipping goes on.
struct Place {
    /// The origin's number in the file.
    file: i64,
    /// And in the shared ledger.
    shared: i64,
    /// The shared ledger's last batch.
    at: i64,
    /// The next one to ship.
    next: i64,
}

impl Shipper {
    /// Runs until nothing more will be sealed and all is shipped, or the stop's time is over.
    /// `first`: a connection that is there already.
    pub(crate) fn run(self, first: Option<Client>, node: &dyn Node) {
        let mut first = first;
        self.standing.watch(&self.dock);
        let mut talk = Talk::new(node, &self.standing);
        loop {
            let client = first.take().map_or_else(
                || schema::connect(&self.address, self.network, unix_s()),
                Ok,
            );
            let ended = client.and_then(|client| {
                let worked = catch_unwind(AssertUnwindSafe(|| self.work(client, &mut talk)));
                worked.unwrap_or_else(|_| bail!("a bug in the shipper, please report it"))
            });
            match ended {
                Ok(()) => return,
                Err(error) => talk.down(&error),
            }
            if self.dock.is_closed() {
                return talk.left(self.left());
            }
            self.count(0);
            self.dock.wait_for_close(SHARED_RETRY);
        }
    }

    /// Works on one connection, until all is shipped and nothing more will come.
    fn work(&self, client: Client, talk: &mut Talk) -> anyhow::Result<()> {
        let file = open_to_read(&self.ledger).context("failed to open the ledger's file")?;
        let mut carrier = Carrier::new(client)?;
        loop {
            let Some(place) = self.compare(&file, &mut carrier, talk)? else {
                continue;
            };
            talk.up(&self.address, &self.label, self.left());
            if let End::Done = self.ship_on(&file, &mut carrier, place, talk)? {
                return Ok(());
            }
        }
    }

    /// Compares all origins of the file, ships again what was lost of old ones, and says where to go
    /// on; none when that has changed meanwhile.
    fn compare(
        &self,
        file: &Connection,
        carrier: &mut Carrier,
        talk: &Talk,
    ) -> anyhow::Result<Option<Place>> {
        for ours in origins(file)? {
            let shared = origin::register(carrier.client(), &ours.origin, &self.label)?;
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
                    };
                    if ours.is_current {
                        self.standing
                            .update(|reading| reading.origin = Some(shared));
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

    /// Has the ledger's thread begin a new origin.
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

    /// Ships what is sealed, and tells that we are alive.
    fn ship_on(
        &self,
        file: &Connection,
        carrier: &mut Carrier,
        mut place: Place,
        talk: &mut Talk,
    ) -> anyhow::Result<End> {
        let mut heartbeat = Heartbeat::new(place.shared, &self.label);
        let mut stop_by = None;
        loop {
            let is_closed = self.dock.is_closed();
            let head = self.dock.head().context("nothing was ever sealed")?;
            if head.last.origin != place.file {
                return Ok(End::Compare);
            }
            while place.next <= head.last.sequence {
                if self.ship_one(file, carrier, &mut place)? == Shipped::Moved {
                    return Ok(End::Compare);
                }
                self.mark(&place, place.at);
                if heartbeat.is_due() {
                    self.beat(carrier, &mut heartbeat, &place, talk)?;
                }
                let now = Instant::now();
                if self.dock.is_closed() && now > *stop_by.get_or_insert(now + SHARED_STOP) {
                    talk.left(self.left());
                    return Ok(End::Done);
                }
            }
            talk.caught_up();
            heartbeat.shipped_tip = head.tip;
            self.beat(carrier, &mut heartbeat, &place, talk)?;
            if is_closed {
                return Ok(End::Done);
            }
            self.dock.wait(heartbeat.due_in());
        }
    }

    fn beat(
        &self,
        carrier: &mut Carrier,
        heartbeat: &mut Heartbeat,
        place: &Place,
        talk: &mut Talk,
    ) -> anyhow::Result<()> {
        self.count(place.at);
        let reading = self.standing.read();
        let report = Report {
            behind: reading.behind,
            ..(self.report)()
        };
        let servers = heartbeat.send(carrier.client(), self.dock.tip(), &report, talk)?;
        self.standing.update(|reading| reading.servers = servers);
        self.standing.heard();
        Ok(())
    }

    fn ship_one(
        &self,
        file: &Connection,
        carrier: &mut Carrier,
        place: &mut Place,
    ) -> anyhow::Result<Shipped> {
        let cargo = load(file, place)?;
        let shipped = carrier.ship(file, place.shared, &cargo)?;
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

    /// Batches that are not known to be shipped.
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

    /// Tells how far behind we are, `at` being shipped; 0: not known.
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

/// The origins of the file, the oldest first.
fn origins(file: &Connection) -> anyhow::Result<Vec<Ours>> {
    let mut read =
        file.prepare_cached("SELECT id, origin, sequence, digest FROM outbox_origins ORDER BY id")?;
    let rows = read.query_map([], |row| {
        Ok(Ours {
            id: row.get(0)?,
            origin: row.get(1)?,
            sequence: row.get(2)?,
            digest: row.get(3)?,
            is_current: false,
        })
    })?;
    let mut origins = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    if let Some(last) = origins.last_mut() {
        last.is_current = true;
    }
    Ok(origins)
}

/// What the file and the shared ledger have of one origin.
fn compared(
    file: &Connection,
    client: &mut Client,
    ours: &Ours,
    shared: i64,
) -> anyhow::Result<Compared> {
    let row = client
        .query_one("SELECT sequence FROM origins WHERE id = $1", &[&shared])
        .map_err(SqlError::from)?;
    let theirs: i64 = row.get(0);
    let agreed = agreed(ours.sequence.min(theirs), |sequence| {
        let other = seen_there(client, shared, sequence)?;
        anyhow::Ok((own(file, ours, sequence)?, other.map(|seen| seen.digest)))
    })?;
    let kept_from = file.query_row(
        "SELECT min(sequence) FROM outbox WHERE origin = ?1 AND sequence > ?2",
        (ours.id, agreed),
        |row| row.get(0),
    )?;
    Ok(Compared {
        ours: ours.sequence,
        theirs,
        agreed,
        agreed_life: seen_here(file, ours.id, agreed)?.map(|seen| seen.life),
        kept_from,
        next_lives: (
            seen_here(file, ours.id, agreed + 1)?.map(|seen| seen.life),
            seen_there(client, shared, agreed + 1)?.map(|seen| seen.life),
        ),
        is_current: ours.is_current,
    })
}

/// What the file has of a batch; of its last one it always knows something.
fn own(file: &Connection, ours: &Ours, sequence: i64) -> rusqlite::Result<Option<Own>> {
    let old_s = unix_s().cast_signed() - SHARED_BATCHES_KEPT_S + FORGETTING_S;
    let kept = file
        .prepare_cached(
            "SELECT digest, sealed_at < ?3 FROM outbox WHERE origin = ?1 AND sequence = ?2",
        )?
        .query_row((ours.id, sequence, old_s), |row| {
            Ok(Own {
                digest: row.get(0)?,
                is_old: row.get(1)?,
            })
        })
        .optional()?;
    let last = (sequence == ours.sequence).then_some(Own {
        digest: ours.digest,
        is_old: true,
    });
    Ok(kept.or(last))
}

fn seen_here(file: &Connection, origin: i64, sequence: i64) -> rusqlite::Result<Option<Seen>> {
    file.prepare_cached("SELECT digest, life FROM outbox WHERE origin = ?1 AND sequence = ?2")?
        .query_row((origin, sequence), |row| {
            Ok(Seen {
                digest: row.get(0)?,
                life: row.get(1)?,
            })
        })
        .optional()
}

fn seen_there(client: &mut Client, origin: i64, sequence: i64) -> Result<Option<Seen>, SqlError> {
    let row = client.query_opt(
        "SELECT digest, life FROM batches WHERE origin = $1 AND sequence = $2",
        &[&origin, &sequence],
    )?;
    // What is of another length is no batch of ours.
    let seen = row.map(|row| Seen {
        digest: row.get::<_, &[u8]>(0).try_into().unwrap_or_default(),
        life: row.get::<_, &[u8]>(1).try_into().unwrap_or_default(),
    });
    Ok(seen)
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
