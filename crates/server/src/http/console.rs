//! What the operator's console shows beside the ledger and the pool.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::answer::ApiError;
use super::background::Background;
use super::cached_query::CachedQuery;
use super::payout_plan::ApiPlan;
use crate::doctor::{Finding, Setup, examine};
use crate::limits::{EXAMINATION, EXAMINATION_KEPT};
use crate::log_lines::LogLines;

/// State of the console of one server.
pub(crate) struct Console {
    pub log_lines: Arc<LogLines>,
    pub examination: Examination,
    pub plan: CachedQuery<ApiPlan>,
}

impl Console {
    pub(crate) fn new(log_lines: Arc<LogLines>, setup: Setup) -> Self {
        Self {
            log_lines,
            examination: Examination(Arc::new(ExaminationInner {
                setup,
                running: Background::default(),
                found: Mutex::default(),
            })),
            plan: CachedQuery::default(),
        }
    }
}

/// The doctor's examination of the own server: one at a time, on a thread that may block.
pub(crate) struct Examination(Arc<ExaminationInner>);

struct ExaminationInner {
    setup: Setup,
    running: Background,
    found: Mutex<Option<Arc<Vec<Finding>>>>,
}

impl Examination {
    /// The findings, and their age. Without those of the last minute the server is examined anew.
    pub(crate) async fn findings(&self) -> Result<(Arc<Vec<Finding>>, Duration), ApiError> {
        let inner = &self.0;
        let ended = inner.running.ended();
        if inner.running.begin(|_| EXAMINATION_KEPT) {
            let inner = inner.clone();
            tokio::task::spawn_blocking(move || inner.examine());
        }
        if inner.running.is_running() {
            let _ = tokio::time::timeout(EXAMINATION, ended).await;
        }
        let found = inner.found.lock().clone();
        let found = found.ok_or_else(|| {
            ApiError::busy("the examination is still under way: ask again in a few seconds")
        })?;
        Ok((found, inner.running.age()))
    }
}

impl ExaminationInner {
    fn examine(&self) {
        let begun = Instant::now();
        let found = catch_unwind(AssertUnwindSafe(|| examine(&self.setup)));
        let has_failed = found.is_err();
        if let Ok(found) = found {
            *self.found.lock() = Some(Arc::new(found));
        }
        self.running.end(begun, has_failed);
    }
}
