//! The difficulties that are announced to miners: [`GRID_STEPS`] in each doubling, and none between.
//!
//! Credit is summed by difficulty, so a miner that requested another number for each share would make one
//! ledger row each; on the grid it makes few. The number is rounded before it is announced, so that a
//! miner earns exactly the difficulty it was told.

use crate::units::Difficulty;

/// Steps from one power of two to the next.
pub const GRID_STEPS: u64 = 16;

/// Distance of two steps in the bits of a double.
const CUT: u64 = (1 << 52) / GRID_STEPS;

impl Difficulty {
    /// The nearest difficulty on the grid.
    #[must_use]
    pub fn on_grid(self) -> Self {
        self.to_grid(CUT / 2)
    }

    /// The lowest difficulty on the grid that is not below this one.
    #[must_use]
    pub fn on_grid_above(self) -> Self {
        self.to_grid(CUT - 1)
    }

    fn to_grid(self, bias: u64) -> Self {
        let cut = |bits: u64| f64::from_bits((bits & !(CUT - 1)).max(CUT));
        // A value that would be rounded up to infinity is rounded down.
        let rounded = Self::new(cut(self.get().to_bits() + bias));
        rounded.unwrap_or_else(|| Self::new(cut(f64::MAX.to_bits())).expect("finite"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn miners_are_told_sixteen_difficulties_to_each_doubling() {
        let on_grid = |value: f64| Difficulty::new(value).unwrap().on_grid().get();
        let above = |value: f64| Difficulty::new(value).unwrap().on_grid_above().get();
        for exact in [
            1.0,
            1.0625,
            0.75,
            100.0,
            131_072.0,
            2_f64.powi(-16),
            2_f64.powi(900),
        ] {
            assert_eq!((on_grid(exact), above(exact)), (exact, exact));
        }
        assert_eq!((on_grid(1000.0), above(1000.0)), (992.0, 1024.0));
        assert_eq!((on_grid(1.03), above(1.0001)), (1.0, 1.0625));
        // No number is off by more than half a step, and every number has a step.
        for value in [f64::from_bits(1), 1e-300, 0.1, 3.3, 1e9, f64::MAX] {
            assert!(
                on_grid(value) > 0.0 && on_grid(value).is_finite(),
                "{value}"
            );
            assert!(above(value).is_finite(), "{value}");
        }
        for value in [1e-300, 0.1, 3.3, 1e9] {
            assert!(
                (on_grid(value) / value - 1.0).abs() <= 0.5 / 16.0,
                "{value}"
            );
        }
        let mut steps = std::collections::BTreeSet::new();
        for n in 0..100_000 {
            steps.insert(on_grid(1.0 + f64::from(n) / 100_000.0).to_bits());
        }
        assert_eq!(steps.len(), 17, "both ends are steps");
    }
}
