//! What the operator's console shows beside the ledger and the pool.

use std::sync::Arc;

use crate::log_lines::LogLines;

/// State of the console of one server.
pub(crate) struct Console {
    pub log_lines: Arc<LogLines>,
}

impl Console {
    pub(crate) fn new(log_lines: Arc<LogLines>) -> Self {
        Self { log_lines }
    }
}
