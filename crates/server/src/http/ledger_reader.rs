//! Reads the ledger beside its writers: on threads that may block, for a limited time, from one state of it.
//! If several servers share a ledger, the shared one is read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::answer::ApiError;
use crate::limits::{
    HTTP_AWAY, HTTP_GATHER, HTTP_GATHER_FILE, HTTP_GIVE_WAY, HTTP_GIVE_WAY_LOOK,
    HTTP_GIVE_WAY_WAIT, HTTP_QUERIES_MAX, HTTP_QUERY, WAL_BYTES_HIGH,
};
use crate::sql::location::LedgerLocation;
use crate::sql::{Db, Sql, SqlError};
use crate::store::ledger_status::LedgerStatus;

/// Reader of the ledger, with a limited number of queries at a time.
#[derive(Clone)]
pub(crate) struct LedgerReader {
    inner: Arc<LedgerReaderInner>,
    places: Arc<Semaphore>,
}

struct LedgerReaderInner {
    location: LedgerLocation,
    /// Status of a file, which tells the length of its write-ahead log.
    status: Arc<LedgerStatus>,
    gate: Mutex<ReaderGate>,
    /// Time limit of a query.
    patience: Duration,
    open: Mutex<Vec<Db>>,
    /// Time when the ledger was last found unreachable, and the reason.
    away: Mutex<Option<(Instant, String)>>,
}

impl LedgerReader {
    pub(crate) fn new(location: LedgerLocation, status: Arc<LedgerStatus>) -> Self {
        Self::with(location, status, HTTP_QUERIES_MAX, HTTP_QUERY)
    }

    /// A reader for long queries, one at a time.
    pub(crate) fn slow(location: LedgerLocation, status: Arc<LedgerStatus>) -> Self {
        let patience = match location {
            // The write-ahead log cannot be reset meanwhile.
            LedgerLocation::File(_) => HTTP_GATHER_FILE,
            LedgerLocation::Shared(_) => HTTP_GATHER,
        };
        Self::with(location, status, 1, patience)
    }

    fn with(
        location: LedgerLocation,
        status: Arc<LedgerStatus>,
        queries: usize,
        patience: Duration,
    ) -> Self {
        Self {
            inner: Arc::new(LedgerReaderInner {
                location,
                status,
                gate: Mutex::default(),
                patience,
                open: Mutex::default(),
                away: Mutex::default(),
            }),
            places: Arc::new(Semaphore::new(queries)),
        }
    }

    /// True if several servers share the ledger.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.inner.location, LedgerLocation::Shared(_))
    }

    /// Reason why it cannot be read now, if it is unreachable.
    pub(crate) fn away(&self) -> Option<String> {
        self.inner.away()
    }

    /// Waits while the log of a file is long: SQLite can reset it only when nobody reads. Gives up waiting
    /// once it is clear that another process's reading prevents that.
    async fn give_way(&self) -> Result<(), ApiError> {
        let by = Instant::now() + HTTP_GIVE_WAY_WAIT;
        while self.inner.is_gate_closed() {
            if Instant::now() >= by {
                return Err(ApiError::busy(
                    "the ledger's log is being copied: try again in a few seconds",
                ));
            }
            tokio::time::sleep(HTTP_GIVE_WAY_LOOK).await;
        }
        Ok(())
    }

    /// Runs a query, which is interrupted at the time limit.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut dyn Sql) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<T, ApiError> {
        // An unreachable ledger fails at once, without queueing.
        if let Some(reason) = self.away() {
            return Err(ApiError::busy(reason));
        }
        self.give_way().await?;
        let waiting = self.places.clone().acquire_owned();
        let permit = tokio::time::timeout(self.inner.patience, waiting).await;
        let Ok(Ok(permit)) = permit else {
            return Err(ApiError::busy("too many requests at a time, try again"));
        };
        let inner = self.inner.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let done = inner.read(query);
            drop(permit);
            done
        });
        let done = reading
            .await
            .map_err(|_| ApiError::busy("failed to read the ledger, which is a bug"))?;
        done.map_err(ApiError::busy)
    }
}

/// State of the pause in reading while the log is long.
#[derive(Default)]
struct ReaderGate {
    /// Time since which readers pause.
    closed_at: Option<Instant>,
    /// Length of the log when the last pause was useless.
    in_vain_at: u64,
}

impl ReaderGate {
    fn is_closed(&mut self, log_bytes: u64, now: Instant) -> bool {
        if log_bytes < self.in_vain_at {
            self.in_vain_at = 0;
        }
        if log_bytes < WAL_BYTES_HIGH + self.in_vain_at {
            self.closed_at = None;
            return false;
        }
        let since = *self.closed_at.get_or_insert(now);
        if now - since < HTTP_GIVE_WAY {
            return true;
        }
        self.closed_at = None;
        self.in_vain_at = log_bytes;
        false
    }
}

impl LedgerReaderInner {
    fn is_gate_closed(&self) -> bool {
        if matches!(self.location, LedgerLocation::Shared(_)) {
            return false;
        }
        let log_bytes = self.status.wal_bytes();
        self.gate.lock().is_closed(log_bytes, Instant::now())
    }

    fn read<T>(
        &self,
        query: impl FnOnce(&mut dyn Sql) -> Result<T, SqlError>,
    ) -> Result<T, String> {
        if let Some(reason) = self.away() {
            return Err(reason);
        }
        let known = self.open.lock().pop();
        let done = self.read_from(known, query);
        match done {
            Ok(found) => {
                *self.away.lock() = None;
                Ok(found)
            }
            Err(SqlError::Interrupted) => Err("the ledger took too long".to_owned()),
            Err(SqlError::Lost(reason)) => {
                let text = format!("the shared ledger is away: {reason}");
                *self.away.lock() = Some((Instant::now(), text.clone()));
                Err(text)
            }
            Err(error) => Err(format!("failed to read the ledger: {error}")),
        }
    }

    fn read_from<T>(
        &self,
        known: Option<Db>,
        query: impl FnOnce(&mut dyn Sql) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let mut db = match known {
            Some(db) => db,
            None => self.location.open_for_a_look(self.patience)?,
        };
        if let Db::Sqlite(file) = &mut db {
            file.limit(Instant::now() + self.patience)?;
        }
        let found = db.read(query)?;
        self.open.lock().push(db);
        Ok(found)
    }

    fn away(&self) -> Option<String> {
        let away = self.away.lock().clone();
        let fresh = away.filter(|(at, _)| at.elapsed() < HTTP_AWAY);
        fresh.map(|(_, reason)| reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_give_way_while_the_log_is_long_and_not_for_ever() {
        let (mut gate, begun) = (ReaderGate::default(), Instant::now());
        assert!(!gate.is_closed(WAL_BYTES_HIGH - 1, begun));
        assert!(gate.is_closed(WAL_BYTES_HIGH, begun));
        assert!(
            !gate.is_closed(1, begun + HTTP_GIVE_WAY_LOOK),
            "it has begun anew"
        );
        assert!(gate.is_closed(WAL_BYTES_HIGH, begun));
        let late = begun + HTTP_GIVE_WAY;
        assert!(
            !gate.is_closed(WAL_BYTES_HIGH + 1, late),
            "another reader is in its way"
        );
        assert!(!gate.is_closed(2 * WAL_BYTES_HIGH, late));
        assert!(
            gate.is_closed(2 * WAL_BYTES_HIGH + 1, late),
            "tried once more"
        );
    }
}
