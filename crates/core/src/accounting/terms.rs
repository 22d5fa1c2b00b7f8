//! Terms between a pool and its miners.

use std::fmt;

use super::reward_split::{Decimal, FeePpm, Hns};

/// Method of dividing a reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Over the work of the block's round: the heights above the pool's previous block.
    Prop,
    /// Over the last work before the block, whichever round it was in.
    Pplns {
        /// Amount of that work, in network difficulties of the block.
        window: Decimal,
    },
}

impl Scheme {
    /// Its name in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prop => "prop",
            Self::Pplns { .. } => "pplns",
        }
    }

    /// The window as stored in the ledger: a decimal number, or empty.
    #[must_use]
    pub fn window(self) -> String {
        match self {
            Self::Prop => String::new(),
            Self::Pplns { window } => window.to_string(),
        }
    }

    /// Reads what a ledger has; `None` if it is malformed.
    #[must_use]
    pub fn from_stored(name: &str, window: &str) -> Option<Self> {
        match name {
            "prop" => Some(Self::Prop),
            "pplns" => {
                let window = Decimal::parse_positive(window).ok()?;
                Some(Self::Pplns { window })
            }
            _ => None,
        }
    }
}

/// Terms between the pool and its miners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayoutTerms {
    /// Method of dividing a reward.
    pub scheme: Scheme,
    /// The pool's share of it.
    pub fee: FeePpm,
    /// The balance from which an account is paid, in base units.
    pub threshold: u64,
    /// The smallest threshold that an account may choose, in base units.
    pub threshold_min: u64,
}

impl PayoutTerms {
    /// A text for each part that differs from that of others, as in `fee 2 % instead of 1 %`; `whose` names
    /// the others, as in `the pool's `.
    #[must_use]
    pub fn differences(&self, others: &Self, whose: &str) -> Vec<String> {
        let (own, others) = (self.parts(), others.parts());
        let pairs = own.iter().zip(&others).filter(|(own, other)| own != other);
        let texts = pairs
            .map(|((name, own), (_, other))| format!("{name} {own} instead of {whose}{other}"));
        texts.collect()
    }

    /// The balance from which an account is paid that has this threshold of its own, in base units.
    #[must_use]
    pub fn threshold_of(&self, own: Option<u64>) -> u64 {
        own.map_or(self.threshold, |own| own.max(self.threshold_min))
    }

    /// Checks the threshold that an account is to have of its own, in base units.
    ///
    /// # Errors
    /// A text with it and the smallest one, if it is below that.
    pub fn check_threshold(&self, threshold: u64) -> Result<(), String> {
        if threshold < self.threshold_min {
            let (own, min) = (Hns(threshold.into()), Hns(self.threshold_min.into()));
            return Err(format!(
                "{own} HNS is below threshold-min, which is {min} HNS"
            ));
        }
        Ok(())
    }

    /// Names and values of its parts, as they are shown.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, String); 4] {
        let hns = |amount: u64| format!("{} HNS", Hns(amount.into()));
        [
            ("scheme", self.scheme.to_string()),
            ("fee", self.fee.to_string()),
            ("threshold", hns(self.threshold)),
            ("threshold-min", hns(self.threshold_min)),
        ]
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prop => f.write_str("prop"),
            Self::Pplns { window } => write!(f, "pplns over {window} x network difficulty"),
        }
    }
}

impl fmt::Display for PayoutTerms {
    /// As in `pplns over 2 x network difficulty, fee 1 %, paid from 10.000000 HNS on`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threshold = Hns(self.threshold.into());
        write!(
            f,
            "{}, fee {}, paid from {threshold} HNS on",
            self.scheme, self.fee
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_with_both_values() {
        let window = |text| Scheme::Pplns {
            window: Decimal::parse_positive(text).expect("a number"),
        };
        let fee = |text| FeePpm::parse_percent(text).expect("a percentage");
        let own = PayoutTerms {
            scheme: window("2"),
            fee: fee("1"),
            threshold: 10_000_000,
            threshold_min: 1_000_000,
        };
        let same = PayoutTerms {
            scheme: window("2.0"),
            ..own
        };
        assert_eq!(own, same);
        assert!(own.differences(&same, "").is_empty());
        let other = PayoutTerms {
            scheme: Scheme::Prop,
            fee: fee("2.5"),
            ..own
        };
        assert_eq!(
            own.differences(&other, "the pool's "),
            [
                "scheme pplns over 2 x network difficulty instead of the pool's prop",
                "fee 1 % instead of the pool's 2.5 %"
            ]
        );
        assert_eq!(
            own.to_string(),
            "pplns over 2 x network difficulty, fee 1 %, paid from 10.000000 HNS on"
        );
    }
}
