//! The ledger of a case.

use hstratum::node::BlockQuery;
use hstratum::store::ledger::{Advanced, Batch, Compacted, Ledger, LedgerError};
use hstratum_core::units::Height;
use hstratum_sim::ledger_model::LedgerModel;

use super::Step;

/// The ledger, and the result of the next commit.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) ledger_model: LedgerModel,
    pub(crate) fate: Step,
}

impl Ledger for Disk {
    fn commit(&mut self, batch: &Batch) -> Result<Advanced, LedgerError> {
        let failed = Err(LedgerError::Failed("simulated".to_owned()));
        match self.fate {
            Step::FailedCommit => failed,
            Step::SeeminglyFailedCommit => self.ledger_model.commit(batch).and(failed),
            _ => self.ledger_model.commit(batch),
        }
    }

    fn probe(&mut self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn watched(&mut self, tip: Height) -> Result<Vec<BlockQuery>, LedgerError> {
        self.ledger_model.watched(tip)
    }

    fn compact(&mut self, _: Option<Height>, _: u64) -> Result<Compacted, LedgerError> {
        Ok(Compacted::All)
    }
}
