//! How the hashrate of a pool is spread over its miners.

/// A spread. Each miner's part is a count of shares at one difficulty, which it sends before it only listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Hashrates {
    /// All have the same.
    Equal,
    /// A fifth of the miners has four fifths.
    Pareto,
    /// Three miners have a fifth each, all others the rest in equal parts.
    Whales,
}

/// The exponent of Pareto's distribution with which a fifth has four fifths: log 5 / log 4.
const PARETO_EXPONENT: f64 = 1.160_964;
const WHALES: usize = 3;
const WHALE_PART: f64 = 0.2;

impl Hashrates {
    /// Shares of each miner, at least one, without an order that a server could know.
    pub(crate) fn shares(self, miners: usize) -> Vec<u32> {
        let of_place = |place: usize| match self {
            Self::Equal => 1.0,
            Self::Pareto => {
                let above = (place as f64 + 0.5) / miners as f64;
                above.powf(-1.0 / PARETO_EXPONENT)
            }
            Self::Whales if place < WHALES && miners > WHALES => {
                let others = 1.0 - WHALES as f64 * WHALE_PART;
                WHALE_PART / others * (miners - WHALES) as f64
            }
            Self::Whales => 1.0,
        };
        let mut places: Vec<usize> = (0..miners).collect();
        // Multiples of an odd number, in their lowest bits, are in no order.
        places.sort_by_key(|&place| (place as u32).wrapping_mul(0x9e37_79b1));
        places
            .into_iter()
            .map(|place| of_place(place).round().max(1.0) as u32)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part_of_largest(of: Hashrates, count: usize) -> f64 {
        let mut shares = of.shares(10_000);
        shares.sort_unstable_by(|one, other| other.cmp(one));
        let largest: u32 = shares[..count].iter().sum();
        f64::from(largest) / f64::from(shares.iter().sum::<u32>())
    }

    #[test]
    fn parts_are_as_their_names_say() {
        assert!((part_of_largest(Hashrates::Equal, 2_000) - 0.2).abs() < 0.001);
        assert!((part_of_largest(Hashrates::Pareto, 2_000) - 0.8).abs() < 0.05);
        assert!((part_of_largest(Hashrates::Whales, 3) - 0.6).abs() < 0.001);
    }
}
