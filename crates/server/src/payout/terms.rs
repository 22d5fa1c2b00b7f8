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
