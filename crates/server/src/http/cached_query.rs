//! Cached result of a query over all accounts or workers. With a million rows it takes seconds to read, with
//! 100,000 workers more: it is read in the background while somebody asks, once for all who do, and meanwhile
//! the last result is given. A query that is usually short is awaited, so that small pools see current
//! results.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::answer::ApiError;
use super::ledger_reader::LedgerReader;
use crate::limits::{HTTP_FIRST, HTTP_KEPT_MIN, HTTP_REST, HTTP_SOON};
use crate::sql::{Sql, SqlError};

/// Cache of one query.
pub(crate) struct CachedQuery<T>(Arc<CachedQueryInner<T>>);

struct CachedQueryInner<T> {
    known: Mutex<CachedQueryState<T>>,
    /// Notified when a reading has ended or failed.
    read: Notify,
}

struct CachedQueryState<T> {
    last: Option<Last<T>>,
    is_reading: bool,
    /// Reason why the last reading failed, if it did.
    failure: Option<ApiError>,
}

struct Last<T> {
    at: Instant,
    /// Duration of the reading.
    took: Duration,
    value: Arc<T>,
}

impl<T> Default for CachedQuery<T> {
    fn default() -> Self {
        let known = CachedQueryState {
            last: None,
            is_reading: false,
            failure: None,
        };
        Self(Arc::new(CachedQueryInner {
            known: Mutex::new(known),
            read: Notify::new(),
        }))
    }
}

impl<T: Send + Sync + 'static> CachedQuery<T> {
    /// See [`Self::get_with_age`].
    pub(crate) async fn get(
        &self,
        background: &LedgerReader,
        kept: Duration,
        query: impl FnOnce(&mut dyn Sql) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<Arc<T>, ApiError> {
        Ok(self.get_with_age(background, kept, query).await?.0)
    }

    /// Returns the last result and its age. A new reading begins in the background when the result is older
    /// than `kept`, or older than [`HTTP_REST`] times the reading's duration. Must be called only if there is
    /// a ledger.
    pub(crate) async fn get_with_age(
        &self,
        background: &LedgerReader,
        kept: Duration,
        query: impl FnOnce(&mut dyn Sql) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<(Arc<T>, Duration), ApiError> {
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

impl<T> CachedQueryInner<T> {
    /// The last result, unless it is old enough to be read again.
    fn fresh(&self, kept: impl FnOnce(Duration) -> Duration) -> Option<(Arc<T>, Duration)> {
        let known = self.known.lock();
        let last = known.last.as_ref()?;
        let age = last.at.elapsed();
        (age < kept(last.took)).then(|| (last.value.clone(), age))
    }

    /// Duration, value and age of the last result.
    fn last(&self) -> Option<(Duration, (Arc<T>, Duration))> {
        let known = self.known.lock();
        let last = known.last.as_ref();
        last.map(|last| (last.took, (last.value.clone(), last.at.elapsed())))
    }

    fn failure(&self, away: Option<String>) -> ApiError {
        let failed = self
            .known
            .lock()
            .failure
            .as_ref()
            .map(|failure| failure.1.clone());
        let text = away.or(failed);
        ApiError::busy(
            text.unwrap_or_else(|| "it is being read: try again in a few seconds".to_owned()),
        )
    }

    /// Marks a reading as begun; returns false if one is under way.
    fn begin(&self) -> bool {
        !std::mem::replace(&mut self.known.lock().is_reading, true)
    }

    fn end(&self, begun: Instant, done: Result<T, ApiError>) {
        let mut known = self.known.lock();
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
}
