use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn weights(rows: &[(u8, f64, u64)]) -> BTreeMap<u8, Weight> {
    let mut weights: BTreeMap<u8, Weight> = BTreeMap::new();
    for (account, difficulty, count) in rows {
        let difficulty = Difficulty::new(*difficulty).expect("above zero");
        *weights.entry(*account).or_default() += &Weight::of(difficulty, *count);
    }
    weights
}

fn check_sum(reward: u64, fee: FeePpm, weights: &BTreeMap<u8, Weight>) -> Split<u8> {
    let split = split(reward, fee, weights);
    let credits: u64 = split.amounts.values().sum();
    assert_eq!(credits + split.fee + split.remainder, reward);
    let has_work = weights.values().any(|weight| *weight > Weight::default());
    assert!(!has_work || split.remainder == 0);
    assert!(split.amounts.values().all(|amount| *amount > 0));
    split
}

fn no_fee(reward: u64, rows: &[(u8, f64, u64)]) -> Vec<(u8, u64)> {
    let split = check_sum(reward, FeePpm::default(), &weights(rows));
    split.amounts.into_iter().collect()
}

/// Any valid difficulty, extreme ones often.
fn difficulty() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(f64::from_bits(1)),
        Just(1e-308),
        Just(1e300),
        Just(f64::MAX),
        Just(0.1),
        1e-10..1e10,
        any::<f64>().prop_filter_map("above zero", |value| {
            Some(value.abs()).filter(|value| value.is_finite() && *value > 0.0)
        }),
    ]
}

fn row() -> impl Strategy<Value = (u8, f64, u64)> {
    let count = prop_oneof![1_u64..1000, Just(i64::MAX as u64), Just(u64::MAX)];
    (0_u8..12, difficulty(), count)
}

fn reward() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        0_u64..20,
        0_u64..3_000_000_000,
        (i64::MAX as u64 - 20)..=i64::MAX as u64,
        any::<u64>(),
    ]
}

fn fee() -> impl Strategy<Value = FeePpm> {
    let ppm = prop_oneof![Just(0_u32), Just(1_000_000), 0_u32..=1_000_000];
    ppm.prop_map(|ppm| FeePpm::new(ppm).expect("at most all"))
}

proptest! {
    #[test]
    fn nothing_is_lost_or_made(rows in vec(row(), 0..40), reward in reward(), fee in fee()) {
        check_sum(reward, fee, &weights(&rows));
    }

    #[test]
    fn neither_order_nor_grouping_of_shares_matters(
        rows in vec(row(), 1..30),
        reward in reward(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut other = rows.clone();
        let (account, difficulty, count) = other.remove(cut.index(rows.len()));
        other.reverse();
        other.push((account, difficulty, count / 2));
        other.push((account, difficulty, count - count / 2));
        prop_assert_eq!(no_fee(reward, &rows), no_fee(reward, &other));
    }

    #[test]
    fn more_work_never_earns_less(
        rows in vec(row(), 1..20),
        more in row(),
        reward in reward(),
        fee in fee(),
    ) {
        let before = check_sum(reward, fee, &weights(&rows));
        let mut rows = rows;
        rows.push(more);
        let after = check_sum(reward, fee, &weights(&rows));
        let of = |split: &Split<u8>| split.amounts.get(&more.0).copied().unwrap_or(0);
        prop_assert!(of(&after) >= of(&before));
        let weights = weights(&rows);
        for (a, weight) in &weights {
            for (b, other) in &weights {
                let of = |key| after.amounts.get(key).copied().unwrap_or(0);
                prop_assert!(weight <= other || of(a) >= of(b));
            }
        }
    }

    #[test]
    fn every_part_is_within_one_unit_of_its_share(
        rows in vec((0_u8..6, 1_u32..1000, 1_u64..100), 1..20),
        reward in 0_u64..1_000_000_000,
    ) {
        let rows: Vec<_> = rows.iter().map(|(a, d, c)| (*a, f64::from(*d), *c)).collect();
        let work = |account: Option<u8>| -> u128 {
            let of = rows.iter().filter(|row| account == Some(row.0) || account.is_none());
            of.map(|row| row.1 as u128 * u128::from(row.2)).sum()
        };
        for (account, amount) in no_fee(reward, &rows) {
            let exact = u128::from(reward) * work(Some(account));
            let (low, total) = (exact / work(None), work(None));
            prop_assert!((low..=low + u128::from(exact % total > 0)).contains(&amount.into()));
        }
    }

    #[test]
    fn a_window_longer_than_history_is_all_of_it(rows in vec(row(), 0..20), reward in reward()) {
        let length = Decimal::parse_positive("18000000000").expect("a number");
        let mut window = PplnsWindow::new(length, Difficulty::new(f64::MAX).expect("finite"));
        let mut whole: BTreeMap<u8, Weight> = BTreeMap::new();
        for (account, difficulty, count) in &rows {
            let count = count % 100_000_000 + 1;
            let height = weights(&[(*account, *difficulty, count)]);
            *whole.entry(*account).or_default() += &height[account];
            window.push(height);
        }
        let fee = FeePpm::default();
        prop_assert_eq!(split(reward, fee, &window.into_weights()), split(reward, fee, &whole));
    }

    #[test]
    fn a_window_holds_exactly_its_length(
        heights in vec(vec((0_u8..6, 1_u32..50, 1_u64..20), 1..5), 1..20),
        length in 1_u32..5_000,
    ) {
        // In tenths of a network difficulty of 10: the length is the work.
        let text = format!("{}.{}", length / 10, length % 10);
        let length_of = Decimal::parse_positive(&text).expect("a number");
        let mut window = PplnsWindow::new(length_of, Difficulty::new(10.0).expect("a number"));
        let mut total = 0_u64;
        for height in &heights {
            let rows: Vec<_> = height.iter().map(|(a, d, c)| (*a, f64::from(*d), *c)).collect();
            let of_height: u64 = height.iter().map(|(_, d, c)| u64::from(*d) * c).sum();
            prop_assert_eq!(window.is_full(), total >= u64::from(length));
            window.push(weights(&rows));
            total += of_height;
        }
        // Each account's part of the window, against plain fractions over the same heights.
        let mut missing = u128::from(length);
        let mut parts: BTreeMap<u8, (u128, u128)> = BTreeMap::new();
        for height in &heights {
            let of_height: u128 = height.iter().map(|(_, d, c)| u128::from(*d) * u128::from(*c)).sum();
            let taken = missing.min(of_height);
            for (account, d, c) in height {
                let work = u128::from(*d) * u128::from(*c);
                let (n, m) = parts.get(account).copied().unwrap_or((0, 1));
                let (n2, m2) = (work * taken, of_height);
                let common = gcd(n * m2 + n2 * m, m * m2).max(1);
                parts.insert(*account, ((n * m2 + n2 * m) / common, m * m2 / common));
            }
            missing -= taken;
            if missing == 0 {
                break;
            }
        }
        let weights = window.into_weights();
        let sum: Weight = weights.values().sum();
        let all = u128::from(length) - missing;
        for (account, weight) in &weights {
            let (n, m) = parts.get(account).copied().unwrap_or((0, 1));
            prop_assert_eq!(&weight.0 * (m * all), &sum.0 * n);
        }
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[test]
fn units_left_over_go_to_the_largest_remainders_then_by_name() {
    assert_eq!(
        no_fee(10, &[(1, 1.0, 1), (2, 1.0, 1), (3, 1.0, 1)]),
        [(1, 4), (2, 3), (3, 3)]
    );
    assert_eq!(
        no_fee(10, &[(1, 1.0, 2), (2, 0.1, 1), (3, 1.0, 1)]),
        [(1, 7), (3, 3)]
    );
    assert_eq!(no_fee(1, &[(1, 1e-308, 1), (2, 1e300, 1)]), [(2, 1)]);
}

#[test]
fn work_is_summed_without_loss() {
    // As doubles, 0.1 added ten times is not 1, and 1e300 swallows everything.
    let ten = weights(&[(1, 0.1, 10)]);
    let mut one_by_one = BTreeMap::new();
    for _ in 0..10 {
        let share = Weight::of(Difficulty::new(0.1).expect("a number"), 1);
        *one_by_one.entry(1).or_insert(Weight::default()) += &share;
    }
    assert_eq!(ten, one_by_one);
    let with = weights(&[(1, 1e300, 1), (1, 1e-308, 1)]);
    assert!(with[&1] > weights(&[(1, 1e300, 1)])[&1]);
}

#[test]
fn without_work_the_pool_keeps_it_all() {
    let fee = FeePpm::parse_percent("2.5").expect("a percentage");
    let split = check_sum(1_000, fee, &BTreeMap::new());
    assert_eq!((split.fee, split.remainder), (25, 975));
    let all = FeePpm::parse_percent("100").expect("a percentage");
    let split = check_sum(1_000, all, &weights(&[(1, 1.0, 1)]));
    assert_eq!((split.fee, split.amounts.len()), (1_000, 0));
}

#[test]
fn fees_are_rounded_down() {
    let fee = FeePpm::parse_percent("0.0001").expect("a percentage");
    assert_eq!(fee.of(999_999), 0);
    assert_eq!(fee.of(1_000_000), 1);
    assert_eq!(FeePpm::new(1_000_000).expect("all").of(u64::MAX), u64::MAX);
}

#[test]
fn percentages_are_read_exactly_or_not_at_all() {
    for (text, ppm) in [
        ("1", 10_000),
        ("0.5", 5_000),
        ("1.25", 12_500),
        ("100", 1_000_000),
        ("0", 0),
    ] {
        assert_eq!(
            FeePpm::parse_percent(text).map(FeePpm::get),
            Ok(ppm),
            "{text}"
        );
    }
    for text in [
        "", ".5", "1.", "-1", "+1", " 1", "1e2", "1,5", "0x1", "NaN", "1 %", "1.2.3",
    ] {
        assert_eq!(
            FeePpm::parse_percent(text),
            Err(NotANumber::Malformed),
            "{text}"
        );
    }
    assert_eq!(
        FeePpm::parse_percent("1.00001"),
        Err(NotANumber::Decimals(4))
    );
    for text in ["100.0001", "99999999999999999999"] {
        assert_eq!(
            FeePpm::parse_percent(text),
            Err(NotANumber::NotPercent),
            "{text}"
        );
    }
    assert_eq!(
        FeePpm::parse_percent("1.25")
            .expect("a percentage")
            .to_string(),
        "1.25 %"
    );
}

#[test]
fn amounts_are_read_and_shown_exactly() {
    for (text, units) in [
        ("10", 10_000_000),
        ("0.5", 500_000),
        ("0.000001", 1),
        ("0", 0),
    ] {
        assert_eq!(parse_hns(text), Ok(units), "{text}");
    }
    assert_eq!(parse_hns("0.0000001"), Err(NotANumber::Decimals(6)));
    assert_eq!(parse_hns("9223372036854.775807"), Ok(i64::MAX as u64));
    assert_eq!(parse_hns("9223372036854.775808"), Err(NotANumber::TooGreat));
    assert_eq!(Hns(10_500_000).to_string(), "10.500000");
    assert_eq!(Hns(-1).to_string(), "-0.000001");
    assert_eq!(format!("{:>10}", Hns(1_000_000)), "  1.000000");
}

#[test]
fn windows_are_above_zero() {
    assert!(matches!(
        Decimal::parse_positive("0.000"),
        Err(NotANumber::Zero)
    ));
    for (text, shown) in [
        ("2", "2"),
        ("2.50", "2.5"),
        ("0.000000001", "0.000000001"),
        ("007", "7"),
    ] {
        assert_eq!(
            Decimal::parse_positive(text).expect("a number").to_string(),
            shown
        );
    }
    let read = |text| Decimal::parse_positive(text);
    assert_eq!(read("2.50"), read("02.5"));
    assert_ne!(read("2.5"), read("25"));
}
