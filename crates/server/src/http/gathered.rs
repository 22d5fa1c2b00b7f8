//! What is about everybody. In a shared ledger with 100,000 workers that takes seconds to read: it is
//! read in the background while somebody asks, and given as it was the last time.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Site;
use super::answer::Failure;
use super::book::Book;
use crate::limits::{HTTP_FIRST, HTTP_SHARED_KEPT_MIN, HTTP_SHARED_REST};
use crate::sql::{Sql, SqlError};

/// See the module.
pub(crate) struct Gathered<T>(Arc<Inside<T>>);

struct Inside<T> {
    known: Mutex<Known<T>>,
    /// Something was read, or failed to be.
    read: Notify,
    /// Of a file: one reads, and others wait for what that finds.
    turn: tokio::sync::Mutex<()>,
}

struct Known<T> {
    last: Option<Last<T>>,
    is_reading: bool,
}

struct Last<T> {
    at: Instant,
    /// How long reading it took.
    took: Duration,
    value: Arc<T>,
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        let known = Known {
            last: None,
            is_reading: false,
        };
        Self(Arc::new(Inside {
            known: Mutex::new(known),
            read: Notify::new(),
            turn: tokio::sync::Mutex::default(),
        }))
    }
}

impl<T: Send + Sync + 'static> Gathered<T> {
    /// Of a file as it was at most so long ago. Of a shared ledger as it was read last; it is read anew
    /// beside when that is longer ago, or when it is soon read and has rested for long after that.
    pub(crate) async fn get(
        &self,
        (site, book): (&Site, &Book),
        kept: Duration,
        query: impl FnOnce(&mut dyn Sql) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<Arc<T>, Failure> {
        let Some(background) = &site.background else {
            let _turn = self.0.turn.lock().await;
            if let Some(value) = self.0.fresh(|_| kept) {
                return Ok(value);
            }
            let begun = Instant::now();
            return Ok(self.0.keep(begun, book.read(query).await?));
        };
        let rest = |took: Duration| (took * HTTP_SHARED_REST).max(HTTP_SHARED_KEPT_MIN);
        if let Some(value) = self.0.fresh(|took| kept.min(rest(took))) {
            return Ok(value);
        }
        let read = self.0.read.notified();
        if self.0.begin() {
            let (inside, background) = (self.0.clone(), background.clone());
            tokio::spawn(async move {
                let begun = Instant::now();
                let done = background.read(query).await;
                inside.end(begun, done.ok());
            });
        }
        if let Some(value) = self.0.last() {
            return Ok(value);
        }
        let _ = tokio::time::timeout(HTTP_FIRST, read).await;
        self.0.last().ok_or_else(|| {
            let away = background.away();
            Failure::busy(away.unwrap_or_else(|| "it is being read: ask again soon".to_owned()))
        })
    }
}

impl<T> Inside<T> {
    /// What was read last, unless that is longer ago than its reading allows.
    fn fresh(&self, kept: impl FnOnce(Duration) -> Duration) -> Option<Arc<T>> {
        let known = self.lock();
        let last = known.last.as_ref()?;
        (last.at.elapsed() < kept(last.took)).then(|| last.value.clone())
    }

    fn last(&self) -> Option<Arc<T>> {
        let known = self.lock();
        known.last.as_ref().map(|last| last.value.clone())
    }

    fn keep(&self, begun: Instant, value: T) -> Arc<T> {
        let value = Arc::new(value);
        self.lock().last = Some(Last {
            at: Instant::now(),
            took: begun.elapsed(),
            value: value.clone(),
        });
        value
    }

    /// Whether it is not being read already.
    fn begin(&self) -> bool {
        !std::mem::replace(&mut self.lock().is_reading, true)
    }

    fn end(&self, begun: Instant, value: Option<T>) {
        if let Some(value) = value {
            self.keep(begun, value);
        }
        self.lock().is_reading = false;
        self.read.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Known<T>> {
        self.known.lock().expect("nothing panics while it is held")
    }
}
