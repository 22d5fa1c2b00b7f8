//! Failures of a statement or a transaction.

use thiserror::Error;

/// Why a statement was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SqlError {
    /// Another process writes to the file: it will pass.
    #[error("another process writes to the ledger")]
    Busy,
    /// Another transaction was in the way: begun anew, this one may succeed.
    #[error("others write to the ledger all the time")]
    Conflict,
    /// It took longer than it may.
    #[error("the ledger took too long")]
    Interrupted,
    /// The server is gone, or says that it is about to be.
    #[error("{0}")]
    Lost(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// An error that may have been a transaction's bad luck.
pub trait Retry {
    /// True if the transaction, begun anew, may well succeed.
    fn is_conflict(&self) -> bool;
}

impl Retry for SqlError {
    fn is_conflict(&self) -> bool {
        *self == Self::Conflict
    }
}

impl Retry for anyhow::Error {
    fn is_conflict(&self) -> bool {
        self.downcast_ref::<SqlError>()
            .is_some_and(Retry::is_conflict)
    }
}
