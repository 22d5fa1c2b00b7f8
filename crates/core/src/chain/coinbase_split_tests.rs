use std::collections::BTreeMap;

use super::*;
use crate::accounting::reward_split::{self, Decimal, FeePpm, Weight};
use crate::units::Difficulty;

const HNS: u64 = 1_000_000;

/// Address, spare balance and debt of an account.
type Means = (bool, u64, u64);

const PAID: Means = (true, 0, 0);

fn weight(work: f64) -> Weight {
    Weight::of(Difficulty::new(work).expect("work"), 1)
}

fn address(account: usize) -> Address {
    let mut hash = [7; 20];
    hash[..8].copy_from_slice(&(account as u64).to_le_bytes());
    Address::new(0, hash.to_vec()).expect("an address")
}

/// A split over accounts with this work and these means: fee 1 %, outputs of 1 HNS on.
fn split(accounts: &[(f64, Means)]) -> Arc<CoinbaseSplit> {
    let total: Weight =
        accounts
            .iter()
            .map(|(work, _)| weight(*work))
            .fold(Weight::default(), |mut sum, one| {
                sum += &one;
                sum
            });
    let named = accounts.iter().zip(0..);
    let payees = named.clone().filter(|((_, means), _)| means.0);
    Arc::new(CoinbaseSplit {
        tip: Hash([1; 32]),
        height: Height(10),
        until: None,
        terms: PayoutTerms {
            scheme: Scheme::Pplns {
                window: Decimal::parse_positive("2").expect("a number"),
            },
            fee: FeePpm::new(10_000).expect("a percentage"),
            threshold: 10 * HNS,
            threshold_min: HNS,
        },
        from_height: 1,
        shares: accounts.len() as u64,
        knows_balances: true,
        output_min: HNS,
        outputs_max: 400,
        payees: payees
            .map(|((_, (_, spare, debt)), at)| SplitPayee {
                at,
                address: address(at),
                spare: *spare,
                debt: *debt,
            })
            .collect(),
        accounts: named
            .map(|((work, _), at)| SplitAccount {
                name: format!("account{at:06}").into(),
                share: WorkShare::new(&weight(*work), &total),
            })
            .collect(),
    })
}

fn with_room(split: &Arc<CoinbaseSplit>, outputs_max: usize) -> CoinbaseSplit {
    CoinbaseSplit {
        outputs_max,
        ..CoinbaseSplit::clone(split)
    }
}

fn operator(amounts: &SplitAmounts, reward: u64) -> u64 {
    reward - amounts.outputs.iter().sum::<u64>()
}

#[test]
fn largest_balances_ride_along_as_far_as_the_operators_output_bears_them() {
    // 1 HNS of 100 is the fee; the fourth account has 0.5 HNS of work, too little for an output.
    let split = split(&[
        (49.0, (true, HNS / 4, 0)),
        (29.5, (true, HNS, 0)),
        (20.0, (true, HNS / 2, 0)),
        (0.5, PAID),
    ]);
    let amounts = split.amounts(100 * HNS, true);
    assert_eq!(amounts.outputs, [49 * HNS, 30_500_000, 20_500_000, 0]);
    assert_eq!(operator(&amounts, 100 * HNS), 0, "0.25 HNS are not borne");
    let first = split.amounts(100 * HNS, false);
    assert_eq!(first.outputs, [49 * HNS, 29_500_000, 20 * HNS, 0]);
}

#[test]
fn small_part_and_balance_together_are_an_output() {
    let together = split(&[(98.5, PAID), (0.5, (true, HNS / 2, 0))]);
    let amounts = together.amounts(100 * HNS, true);
    assert_eq!(amounts.outputs, [98_500_000, HNS]);
    let poorer = split(&[(98.5, PAID), (0.5, (true, HNS / 2 - 1, 0))]);
    let amounts = poorer.amounts(100 * HNS, true);
    assert_eq!(amounts.outputs, [98_500_000, 0], "a base unit less is none");
}

#[test]
fn debt_is_withheld_and_without_an_address_everything_is_kept() {
    let split = split(&[
        (50.0, (true, 0, 7 * HNS)),
        (45.0, (false, 5 * HNS, 0)),
        (4.0, (true, 0, 3_500_000)),
    ]);
    let amounts = split.amounts(100 * HNS, true);
    assert_eq!(amounts.outputs, [43 * HNS, 0], "half an HNS is no output");
    assert_eq!(operator(&amounts, 100 * HNS), 57 * HNS);
    let record = split.freeze(split.tip, 100 * HNS).record();
    let kept: Vec<u64> = record
        .lines
        .iter()
        .map(|line| line.part - line.output.as_ref().map_or(0, |(_, value)| *value))
        .collect();
    assert_eq!(kept, [7 * HNS, 45 * HNS, 4 * HNS]);
}

#[test]
fn tail_is_cut_at_the_smallest_outputs() {
    let split = split(&[
        (20.0, PAID),
        (30.0, PAID),
        (29.0, PAID),
        (20.0, (true, HNS, 0)),
    ]);
    let cut = with_room(&split, 3).amounts(100 * HNS, true);
    assert_eq!(cut.outputs, [0, 30 * HNS, 29 * HNS, 21 * HNS]);
    let none = with_room(&split, 0).amounts(100 * HNS, true);
    assert_eq!(operator(&none, 100 * HNS), 100 * HNS);
}

#[test]
fn balances_ride_only_on_the_tip_that_they_were_read_on() {
    let split = split(&[(50.0, (true, HNS, 0)), (49.0, (true, 0, HNS))]);
    let pays = |parent| {
        let frozen = split.freeze(parent, 100 * HNS);
        let values: Vec<u64> = frozen.outputs.iter().map(|output| output.value).collect();
        values
    };
    assert_eq!(pays(split.tip), [51 * HNS, 48 * HNS]);
    assert_eq!(pays(Hash([2; 32])), [50 * HNS, 49 * HNS]);
}

#[test]
fn split_serves_three_heights_and_no_terms_but_its_own() {
    let split = CoinbaseSplit {
        until: Some(Height(12)),
        ..CoinbaseSplit::clone(&split(&[(1.0, PAID)]))
    };
    let serves = [9, 10, 11, 12, 13, 14].map(|height| split.serves(Height(height), HNS));
    assert_eq!(serves, [false, true, true, false, false, false]);
    let lasting = CoinbaseSplit {
        until: None,
        ..split.clone()
    };
    let serves = [12, 13, 14].map(|height| lasting.serves(Height(height), HNS));
    assert_eq!(serves, [true, true, false]);
    assert!(!lasting.serves(Height(10), SPLIT_REWARD_MAX));
    let nobody = CoinbaseSplit {
        accounts: Vec::new(),
        ..lasting
    };
    assert!(!nobody.serves(Height(10), HNS));
}

#[test]
fn parts_are_those_of_a_reward_that_is_divided_later() {
    let mut state = 12_345_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for count in [1, 2, 3, 7, 100, 1_000] {
        for reward in [1, 999, 2_000 * HNS, 2_000 * HNS + random() % HNS, 1 << 50] {
            // Few different works, so that many lose as much by rounding.
            let accounts: Vec<(f64, Means)> = (0..count)
                .map(|_| ((random() % 5 + 1) as f64 * 0.1, PAID))
                .collect();
            let weights: BTreeMap<usize, Weight> = accounts
                .iter()
                .map(|(work, _)| weight(*work))
                .enumerate()
                .collect();
            let split = split(&accounts);
            let later = reward_split::split(reward, split.terms.fee, &weights);
            let amounts = split.amounts(reward, false);
            let earned = amounts.parts.iter().copied().enumerate();
            let earned: BTreeMap<usize, u64> = earned.filter(|(_, part)| *part > 0).collect();
            assert_eq!(earned, later.amounts, "{count} accounts, {reward}");
            assert_eq!(
                (amounts.fee, amounts.remainder),
                (later.fee, later.remainder)
            );
        }
    }
}
