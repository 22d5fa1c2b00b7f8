//! Batches of shares on their way from a server's file to the shared ledger: in order, each once.

pub(crate) mod batch_writer;
pub(crate) mod comparison;
pub(crate) mod reconcile;
pub(crate) mod shipper;
