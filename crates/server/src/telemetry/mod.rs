//! Measurements of the running server: snapshots and counters, read without making any thread wait.

pub(crate) mod block_races;
pub(crate) mod chain_sync;
pub mod histogram;
pub(crate) mod job_trace;
pub(crate) mod live;
pub(crate) mod node_lag;
pub(crate) mod node_reports;
pub(crate) mod shown_jobs;
