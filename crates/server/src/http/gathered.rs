//! What is about everybody. With a million rows it takes seconds to read, with 100,000 workers more: it
//! is read in the background while somebody asks, once for all who do, and given as it was the last
//! time. What is soon read is waited for, so that small pools see it as it is.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Site;
use super::answer::Failure;
use crate::limits::{HTTP_FIRST, HTTP_KEPT_MIN, HTTP_REST, HTTP_SOON};
use crate::sql::{Sql, SqlError};

/// See the module.
pub(crate) struct Gathered<T>(Arc<Inside<T>>);

struct Inside<T> {
    known: Mutex<Known<T>>,
    /// Something was read, or failed to be.
    read: Notify,
}

struct Known<T> {
    last: Option<Last<T>>,
    is_reading: bool,
    /// Why the last reading failed, if it did.
    failure: Option<Failure>,
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
            failure: None,
        };
        Self(Arc::new(Inside {
            known: Mutex::new(known),
            read: Notify::new(),
        }))
    }
}

impl<T: Send + Sync + 'static> Gathered<T> {
    /// See [`Self::get_with_age`].
    pub(crate) async fn get(
        &self,
        site: &Site,
        kept: Duration,
        query: impl FnOnce(&mut dyn Sql) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<Arc<T>, Failure> {
        Ok(self.get_with_age(site, kept, query).await?.0)
    }

    /// As it was read last, and how long ago; it is read anew beside when that is longer ago than
    /// `kept`, or when it is soon read and has rested for long after that. There is a ledger.
    pub(crate) async fn get_with_age(
        &self,
        site: &Site,
        kept: Duration,
        query: impl FnOnce(&mut dyn Sql) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<(Arc<T>, Duration), Failure> {
        let background = site.background.as_ref().expect("there is a ledger");
        let least = match background.is_shared() {
            true => HTTP_KEPT_MIN,
            false => Duration::ZERO,
        };
        let rest = |took: Duration| (took * HTTP_REST).max(least).min(kept);
        if let Some(value) = self.0.fresh(rest) {
            return Ok(value);
        }
        let read = self.0.read.notified();
        if self.0.begin() {
            let (inside, background) = (self.0.clone(), background.clone());
            tokio::spawn(async move {
                let begun = Instant::now();
                let done = background.read(query).await;
                inside.end(begun, done);
            });
        }
        let patience = match self.0.last() {
            None => HTTP_FIRST,
            Some((took, _)) if took < HTTP_SOON / 2 && background.away().is_none() => HTTP_SOON,
            Some((_, value)) => return Ok(value),
        };
        let _ = tokio::time::timeout(patience, read).await;
        match self.0.last() {
            Some((_, value)) => Ok(value),
            None => Err(self.0.failure(background.away())),
        }
    }
}

impl<T> Inside<T> {
    /// What was read last, unless that is longer ago than its reading allows.
    fn fresh(&self, kept: impl FnOnce(Duration) -> Duration) -> Option<(Arc<T>, Duration)> {
        let known = self.lock();
        let last = known.last.as_ref()?;
        let age = last.at.elapsed();
        (age < kept(last.took)).then(|| (last.value.clone(), age))
    }

    /// How long it took, what it found and how long ago.
    fn last(&self) -> Option<(Duration, (Arc<T>, Duration))> {
        let known = self.lock();
        let last = known.last.as_ref();
        last.map(|last| (last.took, (last.value.clone(), last.at.elapsed())))
    }

    fn failure(&self, away: Option<String>) -> Failure {
        let failed = self
            .lock()
            .failure
            .as_ref()
            .map(|failure| failure.1.clone());
        let text = away.or(failed);
        Failure::busy(
            text.unwrap_or_else(|| "it is being read: try again in a few seconds".to_owned()),
        )
    }

    /// Whether it is not being read already.
    fn begin(&self) -> bool {
        !std::mem::replace(&mut self.lock().is_reading, true)
    }

    fn end(&self, begun: Instant, done: Result<T, Failure>) {
        let mut known = self.lock();
        known.is_reading = false;
        match done {
            Ok(value) => {
                known.failure = None;
                known.last = Some(Last {
                    at: Instant::now(),
                    took: begun.elapsed(),
                    value: Arc::new(value),
                });
            }
            Err(failure) => known.failure = Some(failure),
        }
        drop(known);
        self.read.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Known<T>> {
        self.known.lock().expect("nothing panics while it is held")
    }
}
