//! The ledger, read beside those who write it: on threads that may block, for a limited time, from one
//! state of it. Where several servers share one, it is that which is read.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::answer::Failure;
use crate::ledger::Place;
use crate::limits::{HTTP_AWAY, HTTP_GATHER, HTTP_QUERIES_MAX, HTTP_QUERY};
use crate::sql::{Db, Sql, SqlError};

/// See the module.
#[derive(Clone)]
pub(crate) struct Book {
    shelf: Arc<Shelf>,
    places: Arc<Semaphore>,
}

struct Shelf {
    place: Place,
    /// How long a look may take.
    patience: Duration,
    open: Mutex<Vec<Db>>,
    /// When it was last found that nobody answers, and why.
    away: Mutex<Option<(Instant, String)>>,
}

impl Book {
    pub(crate) fn new(place: Place) -> Self {
        Self::with(place, HTTP_QUERIES_MAX, HTTP_QUERY)
    }

    /// For one query at a time that takes long.
    pub(crate) fn slow(place: Place) -> Self {
        Self::with(place, 1, HTTP_GATHER)
    }

    fn with(place: Place, queries: usize, patience: Duration) -> Self {
        Self {
            shelf: Arc::new(Shelf {
                place,
                patience,
                open: Mutex::default(),
                away: Mutex::default(),
            }),
            places: Arc::new(Semaphore::new(queries)),
        }
    }

    /// Whether several servers share it.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.shelf.place, Place::Shared(_))
    }

    /// Why it cannot be read now, where nobody answers.
    pub(crate) fn away(&self) -> Option<String> {
        self.shelf.away()
    }

    /// Reads. What takes longer than it may is interrupted.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut dyn Sql) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<T, Failure> {
        // Nobody waits in turn for what does not answer.
        if let Some(reason) = self.away() {
            return Err(Failure::busy(reason));
        }
        let waiting = self.places.clone().acquire_owned();
        let place = tokio::time::timeout(self.shelf.patience, waiting).await;
        let Ok(Ok(place)) = place else {
            return Err(Failure::busy("too many are asking"));
        };
        let shelf = self.shelf.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let done = shelf.read(query);
            drop(place);
            done
        });
        let done = reading
            .await
            .map_err(|_| Failure::busy("failed to read the ledger, which is a bug"))?;
        done.map_err(Failure::busy)
    }
}

impl Shelf {
    fn read<T>(
        &self,
        query: impl FnOnce(&mut dyn Sql) -> Result<T, SqlError>,
    ) -> Result<T, String> {
        if let Some(reason) = self.away() {
            return Err(reason);
        }
        let known = lock(&self.open).pop();
        let done = self.read_from(known, query);
        match done {
            Ok(found) => {
                *lock(&self.away) = None;
                Ok(found)
            }
            Err(SqlError::Interrupted) => Err("the ledger took too long".to_owned()),
            Err(SqlError::Lost(reason)) => {
                let text = format!("the shared ledger is away: {reason}");
                *lock(&self.away) = Some((Instant::now(), text.clone()));
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
            None => self.place.open_for_a_look(self.patience)?,
        };
        if let Db::Sqlite(file) = &mut db {
            file.limit(Instant::now() + self.patience)?;
        }
        let found = db.read(query)?;
        lock(&self.open).push(db);
        Ok(found)
    }

    fn away(&self) -> Option<String> {
        let away = lock(&self.away).clone();
        let fresh = away.filter(|(at, _)| at.elapsed() < HTTP_AWAY);
        fresh.map(|(_, reason)| reason)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it is held")
}
