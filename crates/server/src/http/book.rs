//! The ledger's file, read beside the thread that writes it: on threads that may block, for a limited
//! time, from one state of it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::Semaphore;

use super::answer::Failure;
use crate::limits::{HTTP_QUERIES_MAX, HTTP_QUERY, HTTP_QUERY_STEPS};
use crate::store::schema::open_to_read;

/// See the module.
pub(crate) struct Book {
    shelf: Arc<Shelf>,
    places: Arc<Semaphore>,
}

struct Shelf {
    path: PathBuf,
    open: Mutex<Vec<Connection>>,
}

impl Book {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            shelf: Arc::new(Shelf {
                path,
                open: Mutex::default(),
            }),
            places: Arc::new(Semaphore::new(HTTP_QUERIES_MAX)),
        }
    }

    /// Reads. What takes longer than [`HTTP_QUERY`] is interrupted.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let waiting = self.places.clone().acquire_owned();
        let place = tokio::time::timeout(HTTP_QUERY, waiting).await;
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
        done.map_err(|error| {
            let text = match error.sqlite_error_code() {
                Some(ErrorCode::OperationInterrupted) => "the ledger took too long".to_owned(),
                _ => format!("failed to read the ledger: {error}"),
            };
            Failure::busy(text)
        })
    }
}

impl Shelf {
    fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let known = self.lock().pop();
        let mut conn = match known {
            Some(conn) => conn,
            None => open_to_read(&self.path)?,
        };
        let until = Instant::now() + HTTP_QUERY;
        conn.progress_handler(HTTP_QUERY_STEPS, Some(move || Instant::now() > until))?;
        let state = conn.unchecked_transaction()?;
        let found = query(&state)?;
        drop(state);
        self.lock().push(conn);
        Ok(found)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.open.lock().expect("nothing panics while it is held")
    }
}
