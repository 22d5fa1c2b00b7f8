//! The options that are the pool's terms for its miners.

use hstratum_core::accounting::reward_split::{Decimal, FeePpm};
use hstratum_core::accounting::terms::{PayoutTerms, Scheme};

/// Window of PPLNS, in network difficulties.
const WINDOW: &str = "2";

/// Smallest threshold that an account may choose, in base units.
const THRESHOLD_MIN: u64 = 1_000_000;

/// Value of the option `scheme`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SchemeName {
    Prop,
    Pplns,
}

impl SchemeName {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "prop" => Some(Self::Prop),
            "pplns" => Some(Self::Pplns),
            _ => None,
        }
    }
}

/// The pool's terms: `fee`, and `threshold` in base units, are as given.
pub(super) fn payout_terms(
    scheme: SchemeName,
    window: Option<Decimal>,
    fee: FeePpm,
    threshold: u64,
) -> Result<PayoutTerms, String> {
    let scheme = match (scheme, window) {
        (SchemeName::Prop, None) => Scheme::Prop,
        (SchemeName::Prop, Some(window)) => {
            return Err(format!(
                "window is for scheme: pplns, found window: {window} and scheme: prop"
            ));
        }
        (SchemeName::Pplns, window) => Scheme::Pplns {
            window: window.unwrap_or_else(|| Decimal::parse_positive(WINDOW).expect("a number")),
        },
    };
    Ok(PayoutTerms {
        scheme,
        fee,
        threshold,
        threshold_min: THRESHOLD_MIN.min(threshold),
    })
}
