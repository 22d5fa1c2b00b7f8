//! The options that are the pool's terms for its miners.

use hstratum_core::accounting::reward_split::{Decimal, FeePpm, Hns};
use hstratum_core::accounting::terms::{PayoutTerms, Scheme};

/// Window of PPLNS, in network difficulties.
const WINDOW: &str = "2";

/// Smallest threshold that an account may choose where the pool's is not smaller, in base units.
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

/// The pool's terms. Thresholds are the pool's and the smallest of an account, in base units.
pub(super) fn payout_terms(
    scheme: SchemeName,
    window: Option<Decimal>,
    fee: FeePpm,
    (threshold, threshold_min): (u64, Option<u64>),
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
    let threshold_min = threshold_min.unwrap_or_else(|| THRESHOLD_MIN.min(threshold));
    if threshold_min > threshold {
        let (threshold, min) = (Hns(threshold.into()), Hns(threshold_min.into()));
        return Err(format!(
            "threshold-min is above threshold, found threshold-min: {min} and threshold: {threshold}"
        ));
    }
    Ok(PayoutTerms {
        scheme,
        fee,
        threshold,
        threshold_min,
    })
}
