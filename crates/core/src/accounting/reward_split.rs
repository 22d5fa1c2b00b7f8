//! Divides a block's reward by work, in exact arithmetic: the only rounding is the one to base units.
//!
//! Work is difficulty × count, summed without loss, so neither the order nor the grouping of shares can
//! change an amount. Only the proportions of work matter: the value of a unit of difficulty is never
//! computed. Invariant: amounts + fee + remainder = reward. Nothing here knows a ledger.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;
use std::ops::AddAssign;

use num_bigint::BigUint;

use crate::units::Difficulty;

/// Base units in one HNS, as a power of ten.
const HNS_DECIMALS: u8 = 6;

/// Decimals allowed in a percentage, which make whole millionths.
const PERCENT_DECIMALS: u8 = 4;

/// Decimals allowed in any other number that an operator writes.
const DECIMALS_MAX: u8 = 9;

/// The whole, in millionths.
const WHOLE_PPM: u32 = 1_000_000;

/// Exact work: an integer in units of 2^-1074, of which every difficulty is a multiple. The weights of a
/// [`PplnsWindow`] are in a smaller unit of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(BigUint);

impl Weight {
    /// The work of `count` shares.
    #[must_use]
    pub fn of(difficulty: Difficulty, count: u64) -> Self {
        let (mantissa, exponent) = difficulty.parts();
        let shift = u32::try_from(exponent + 1074).expect("no double has a smaller exponent");
        Self((BigUint::from(mantissa) * count) << shift)
    }
}

impl AddAssign<&Self> for Weight {
    fn add_assign(&mut self, other: &Self) {
        self.0 += &other.0;
    }
}

impl<'a> Sum<&'a Self> for Weight {
    fn sum<I: Iterator<Item = &'a Self>>(weights: I) -> Self {
        Self(weights.map(|weight| &weight.0).sum())
    }
}

/// Bits of a [`WorkShare`]: times any amount of coins it fits 128 bits.
pub const SHARE_BITS: u32 = 76;

/// A share of all work, rounded down to 2^-76, so that a reward is divided among 100,000 accounts in a
/// millisecond. A part computed from it differs from the exact one by a base unit, and only if the places of two
/// accounts in the order of what they lost by rounding are closer than 10^-13.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkShare(u128);

impl WorkShare {
    /// The share that `weight` is of `total`; none of nothing.
    #[must_use]
    pub fn new(weight: &Weight, total: &Weight) -> Self {
        if *total == Weight::default() {
            return Self::default();
        }
        let share = (&weight.0 << SHARE_BITS) / &total.0;
        Self(u128::try_from(share).expect("a part is at most the whole"))
    }

    /// Its part of an amount, in base units rounded down, and what it loses by that, in 2^-76 base units.
    #[must_use]
    pub fn of(self, amount: u64) -> (u64, u128) {
        let exact = self.0 * u128::from(amount);
        let whole = u64::try_from(exact >> SHARE_BITS).expect("a part is at most the whole");
        (whole, exact & ((1 << SHARE_BITS) - 1))
    }
}

/// A divided reward. `amounts` + fee + remainder is the reward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split<K> {
    /// The pool's fee, in base units.
    pub fee: u64,
    /// Base units that no account has earned: everything but the fee if there was no work.
    pub remainder: u64,
    /// Base units of each account; accounts that get nothing are left out.
    pub amounts: BTreeMap<K, u64>,
}

/// Divides a reward in proportion to work, by largest remainder: each account gets its part rounded down,
/// and the base units left over go one each to the accounts that lost most by the rounding; between
/// equals the lower key comes first.
#[must_use]
pub fn split<K: Ord + Clone>(reward: u64, fee: FeePpm, weights: &BTreeMap<K, Weight>) -> Split<K> {
    let fee = fee.of(reward);
    let rest = reward - fee;
    let total: Weight = weights.values().sum();
    if total == Weight::default() {
        let amounts = BTreeMap::new();
        return Split {
            fee,
            remainder: rest,
            amounts,
        };
    }
    let mut shares: Vec<(&K, u64, BigUint)> = Vec::with_capacity(weights.len());
    for (key, weight) in weights {
        let exact = &weight.0 * rest;
        let whole = &exact / &total.0;
        let lost = exact - &whole * &total.0;
        let whole = u64::try_from(whole).expect("a part is at most the whole");
        shares.push((key, whole, lost));
    }
    let given: u64 = shares.iter().map(|(_, whole, _)| whole).sum();
    let left = usize::try_from(rest - given).expect("less than one for each account");
    // A stable sort: equals stay in the order of keys.
    shares.sort_by(|(_, _, a), (_, _, b)| b.cmp(a));
    for (_, whole, _) in &mut shares[..left] {
        *whole += 1;
    }
    let amounts = shares.into_iter().filter(|(_, amount, _)| *amount > 0);
    Split {
        fee,
        remainder: 0,
        amounts: amounts
            .map(|(key, amount, _)| (key.clone(), amount))
            .collect(),
    }
}

/// The PPLNS window: the last N × network difficulty of work before a block. Heights are pushed from the
/// block's downwards; the one that crosses the window's edge counts in proportion.
#[derive(Clone, Debug)]
pub struct PplnsWindow<K> {
    /// Work that the window holds, times 10^decimals.
    wanted: BigUint,
    /// 10^decimals.
    scale: BigUint,
    taken: Weight,
    weights: BTreeMap<K, Weight>,
    full: bool,
}

impl<K: Ord> PplnsWindow<K> {
    /// An empty window of `length` times the block's network difficulty.
    #[must_use]
    pub fn new(length: Decimal, network: Difficulty) -> Self {
        Self {
            wanted: Weight::of(network, length.digits).0,
            scale: BigUint::from(10_u8).pow(u32::from(length.decimals)),
            taken: Weight::default(),
            weights: BTreeMap::new(),
            full: false,
        }
    }

    /// True if no lower height counts any more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Adds the next lower height; ignored once the window is full.
    pub fn push(&mut self, height: BTreeMap<K, Weight>) {
        if self.full {
            return;
        }
        let total: Weight = height.values().sum();
        let missing = &self.wanted - &self.taken.0 * &self.scale;
        let offered = &total.0 * &self.scale;
        self.full = offered >= missing;
        if offered > missing {
            // The part missing / offered of this height counts. Instead of dividing, all others are
            // multiplied.
            for weight in self.weights.values_mut() {
                weight.0 *= &offered;
            }
            for (key, weight) in height {
                self.weights.entry(key).or_default().0 += weight.0 * &missing;
            }
        } else {
            for (key, weight) in height {
                *self.weights.entry(key).or_default() += &weight;
            }
            self.taken += &total;
        }
    }

    /// The work of each account in the window, in a unit of its own: only the proportions have a meaning.
    #[must_use]
    pub fn into_weights(self) -> BTreeMap<K, Weight> {
        self.weights
    }
}

/// The pool's fee, in millionths of a reward: 0 to 1,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeePpm(u32);

impl FeePpm {
    /// Makes a fee; `None` above 1,000,000.
    #[must_use]
    pub fn new(ppm: u32) -> Option<Self> {
        (ppm <= WHOLE_PPM).then_some(Self(ppm))
    }

    /// Reads a percentage with at most four decimals, such as `1.25`.
    ///
    /// # Errors
    /// A text that is not such a number, or above 100.
    pub fn parse_percent(text: &str) -> Result<Self, NotANumber> {
        let ppm = parse_decimal(text, PERCENT_DECIMALS)
            .and_then(|decimal| decimal.scaled(PERCENT_DECIMALS))
            .map_err(|error| match error {
                NotANumber::TooGreat => NotANumber::NotPercent,
                other => other,
            })?;
        let fee = u32::try_from(ppm).ok().and_then(Self::new);
        fee.ok_or(NotANumber::NotPercent)
    }

    /// The fee in millionths.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }

    /// The fee on a reward, rounded down; both in base units.
    #[must_use]
    pub fn of(self, reward: u64) -> u64 {
        let exact = u128::from(reward) * u128::from(self.0) / u128::from(WHOLE_PPM);
        u64::try_from(exact).expect("a part is at most the whole")
    }
}

impl fmt::Display for FeePpm {
    /// In percent, such as `1.25 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimal = Decimal {
            digits: self.0.into(),
            decimals: PERCENT_DECIMALS,
        };
        write!(f, "{decimal} %")
    }
}

/// A number as an operator writes it: digits × 10^-decimals, exactly, with no more decimals than needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    digits: u64,
    decimals: u8,
}

impl Decimal {
    /// Reads a number above zero with at most nine decimals, such as `2` or `0.5`.
    ///
    /// # Errors
    /// A text that is not such a number.
    pub fn parse_positive(text: &str) -> Result<Self, NotANumber> {
        let decimal = parse_decimal(text, DECIMALS_MAX)?;
        if decimal.digits == 0 {
            return Err(NotANumber::Zero);
        }
        Ok(decimal)
    }

    /// The number as an integer of 10^-`decimals`.
    fn scaled(self, decimals: u8) -> Result<u64, NotANumber> {
        let power = 10_u64.pow(u32::from(decimals - self.decimals));
        self.digits.checked_mul(power).ok_or(NotANumber::TooGreat)
    }
}

impl fmt::Display for Decimal {
    /// With no more decimals than needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10_u64.pow(self.decimals.into());
        let (whole, part) = (self.digits / one, self.digits % one);
        let width = usize::from(self.decimals);
        let part = format!("{part:0width$}");
        match part.trim_end_matches('0') {
            "" => write!(f, "{whole}"),
            part => write!(f, "{whole}.{part}"),
        }
    }
}

/// Reads an amount of HNS with at most six decimals, such as `10` or `0.5`, as base units.
///
/// # Errors
/// A text that is not such a number, or an amount above `i64::MAX`, which a ledger cannot hold.
pub fn parse_hns(text: &str) -> Result<u64, NotANumber> {
    let units = parse_decimal(text, HNS_DECIMALS)?.scaled(HNS_DECIMALS)?;
    i64::try_from(units).map_err(|_| NotANumber::TooGreat)?;
    Ok(units)
}

/// Base units, displayed as HNS with six decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hns(pub i128);

impl fmt::Display for Hns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10_u128.pow(HNS_DECIMALS.into());
        let sign = if self.0 < 0 { "-" } else { "" };
        let units = self.0.unsigned_abs();
        f.pad(&format!("{sign}{}.{:06}", units / one, units % one))
    }
}

/// The reason why a text is not the expected number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotANumber {
    /// Not digits with at most one point between them.
    Malformed,
    /// More decimals than this.
    Decimals(u8),
    /// Too large.
    TooGreat,
    /// Above a hundred percent.
    NotPercent,
    /// Zero, where the number must be above it.
    Zero,
}

impl fmt::Display for NotANumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("expected a number such as 2 or 0.5"),
            Self::Decimals(most) => write!(f, "at most {most} decimals are taken"),
            Self::TooGreat => f.write_str("the number is too large"),
            Self::NotPercent => f.write_str("expected 0 to 100"),
            Self::Zero => f.write_str("the number must be above zero"),
        }
    }
}

impl std::error::Error for NotANumber {}

/// Parses digits, and optionally a point with more of them; no sign, exponent or space.
fn parse_decimal(text: &str, decimals_max: u8) -> Result<Decimal, NotANumber> {
    let (whole, part) = match text.split_once('.') {
        Some((whole, part)) if !part.is_empty() => (whole, part),
        Some(_) => return Err(NotANumber::Malformed),
        None => (text, ""),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(part) {
        return Err(NotANumber::Malformed);
    }
    let decimals = u8::try_from(part.len())
        .ok()
        .filter(|&decimals| decimals <= decimals_max)
        .ok_or(NotANumber::Decimals(decimals_max))?;
    let digits = format!("{whole}{part}").parse();
    let mut digits: u64 = digits.map_err(|_| NotANumber::TooGreat)?;
    let mut decimals = decimals;
    while decimals > 0 && digits.is_multiple_of(10) {
        digits /= 10;
        decimals -= 1;
    }
    Ok(Decimal { digits, decimals })
}

#[cfg(test)]
#[path = "reward_split_tests.rs"]
mod tests;
