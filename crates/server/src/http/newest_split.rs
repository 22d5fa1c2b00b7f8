//! The amounts of the newest job, kept for those who page through them.

use std::cmp::Reverse;
use std::sync::Arc;

use hstratum_core::chain::coinbase_split::{FrozenSplit, SplitRecord};
use parking_lot::Mutex;

/// The lines of the newest job, which do not change while its template is the newest.
#[derive(Default)]
pub(crate) struct NewestSplit(Mutex<Option<(Arc<FrozenSplit>, Arc<SplitRecord>)>>);

impl NewestSplit {
    /// The record of a split, the largest part first.
    pub(crate) fn record(&self, split: &Arc<FrozenSplit>) -> Arc<SplitRecord> {
        let mut kept = self.0.lock();
        match &*kept {
            Some((of, record)) if Arc::ptr_eq(of, split) => record.clone(),
            _ => {
                let mut record = split.record();
                // Of equals the first by name comes first, as before.
                record.lines.sort_by_key(|line| Reverse(line.part));
                let record = Arc::new(record);
                *kept = Some((split.clone(), record.clone()));
                record
            }
        }
    }
}
