//! Cached result of a query over all accounts or workers. With a million rows it takes seconds to read, with
//! 100,000 workers more: it is read in the background while somebody asks, once for all who do, and meanwhile
//! the last result is given. A query that is usually short is awaited, so that small pools see current
//! results.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::answer::ApiError;
use super::background::Background;
use super::ledger_reader::LedgerReader;
use crate::limits::{HTTP_FIRST, HTTP_KEPT_MIN, HTTP_REST, HTTP_SOON};
use crate::sql::{Sql, SqlError};

/// Cache of one query.
pub(crate) struct CachedQuery<T>(Arc<CachedQueryInner<T>>);

struct CachedQueryInner<T> {
    reading: Background,
    value: Mutex<Option<Arc<T>>>,
    /// Why the last reading failed, if it did.
    failure: Mutex<Option<ApiError>>,
}

impl<T> Default for CachedQuery<T> {
    fn default() -> Self {
        Self(Arc::new(CachedQueryInner {
            reading: Background::default(),
            value: Mutex::default(),
            failure: Mutex::default(),
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
        let inner = &self.0;
        let least = match background.is_shared() {
            true => HTTP_KEPT_MIN,
            false => Duration::ZERO,
        };
        let rest = |took: Duration| (took * HTTP_REST).max(least).min(kept);
        let ended = inner.reading.ended();
        if inner.reading.begin(rest) {
            let (inner, background) = (inner.clone(), background.clone());
            tokio::spawn(async move {
                let begun = Instant::now();
                let done = background.read(query).await;
                inner.end(begun, done);
            });
        }
        let patience = match inner.last() {
            None => HTTP_FIRST,
            Some(value) if !inner.reading.is_running() => return Ok(value),
            Some(_) if inner.reading.is_short() && background.away().is_none() => HTTP_SOON,
            Some(value) => return Ok(value),
        };
        let _ = tokio::time::timeout(patience, ended).await;
        inner.last().ok_or_else(|| inner.failure(background.away()))
    }
}

impl<T> CachedQueryInner<T> {
    /// The last answer, and its age.
    fn last(&self) -> Option<(Arc<T>, Duration)> {
        let value = self.value.lock().clone()?;
        Some((value, self.reading.age()))
    }

    fn failure(&self, away: Option<String>) -> ApiError {
        let failed = || {
            self.failure
                .lock()
                .as_ref()
                .map(|failure| failure.1.clone())
        };
        let text = away.or_else(failed);
        ApiError::busy(
            text.unwrap_or_else(|| "it is being read: try again in a few seconds".to_owned()),
        )
    }

    fn end(&self, begun: Instant, done: Result<T, ApiError>) {
        let failure = match done {
            Ok(value) => {
                *self.value.lock() = Some(Arc::new(value));
                None
            }
            Err(failure) => Some(failure),
        };
        let has_failed = failure.is_some();
        *self.failure.lock() = failure;
        self.reading.end(begun, has_failed);
    }
}
