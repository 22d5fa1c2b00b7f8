//! Target arithmetic for any number, compared with plain big integers and with a second implementation.

use hns_header_consensus::{DecodedTarget, Header};
use hstratum_core::units::{Difficulty, Target};
use proptest::prelude::*;

/// An unsigned number of any size, 32 bits a limb, least significant first, no leading zero.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Big(Vec<u32>);

impl Big {
    fn new(mut limbs: Vec<u32>) -> Self {
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        Self(limbs)
    }

    fn of(value: u64) -> Self {
        Self::new(vec![value as u32, (value >> 32) as u32])
    }

    fn of_target(target: &Target) -> Self {
        let limbs = target.0.rchunks_exact(4);
        Self::new(
            limbs
                .map(|limb| u32::from_be_bytes(limb.try_into().unwrap()))
                .collect(),
        )
    }

    fn times(&self, other: &Self) -> Self {
        let mut limbs = vec![0_u32; self.0.len() + other.0.len()];
        for (i, a) in self.0.iter().enumerate() {
            let mut carry = 0_u64;
            for (j, b) in other.0.iter().enumerate() {
                let sum = u64::from(*a) * u64::from(*b) + u64::from(limbs[i + j]) + carry;
                limbs[i + j] = sum as u32;
                carry = sum >> 32;
            }
            limbs[i + other.0.len()] = carry as u32;
        }
        Self::new(limbs)
    }

    fn shifted(&self, bits: usize) -> Self {
        let mut limbs = vec![0; bits / 32];
        limbs.push(1 << (bits % 32));
        self.times(&Self::new(limbs))
    }

    fn plus_one(&self) -> Self {
        let mut limbs = self.0.clone();
        limbs.push(0);
        for limb in &mut limbs {
            *limb = limb.wrapping_add(1);
            if *limb != 0 {
                break;
            }
        }
        Self::new(limbs)
    }

    fn is_at_most(&self, other: &Self) -> bool {
        let key = |big: &Self| (big.0.len(), big.0.iter().rev().copied().collect::<Vec<_>>());
        key(self) <= key(other)
    }
}

/// 2^224 − 1.
fn difficulty_one() -> Big {
    Big(vec![u32::MAX; 7])
}

/// `(m, e)` such that m · 2^e is the value, found by multiplying and not from its bits.
fn split(value: f64) -> (u64, i32) {
    let (mut mantissa, mut exponent) = (value, 0);
    while mantissa < 2_f64.powi(52) && exponent > -1074 {
        mantissa *= 2.0;
        exponent -= 1;
    }
    while mantissa >= 2_f64.powi(53) {
        mantissa /= 2.0;
        exponent += 1;
    }
    (mantissa as u64, exponent)
}

/// Checks t · d ≤ 2^224 − 1 < (t + 1) · d; at the top of the range only the first half.
fn check_target(value: f64) {
    let target = Target::of_difficulty(Difficulty::new(value).unwrap());
    let (mantissa, exponent) = split(value);
    let d = Big::of(mantissa).shifted(usize::try_from(exponent).unwrap_or(0));
    let one = difficulty_one().shifted(usize::try_from(-exponent).unwrap_or(0));
    let t = Big::of_target(&target);
    assert!(
        t.times(&d).is_at_most(&one),
        "{value:e}: {target} is too great"
    );
    if target != Target::MAX {
        let above = t.plus_one().times(&d);
        assert!(!above.is_at_most(&one), "{value:e}: {target} is too small");
    }
}

/// Checks that the exact quotient is between the halves of the gaps below and above the given double.
fn check_difficulty(raw: &[u8; 32]) {
    let value = Target(*raw).difficulty().get();
    let (mantissa, exponent) = split(value);
    // Below a power of two the gap is half of that above. In quarters of a gap all are integers.
    let below = if mantissa == 1 << 52 { 1 } else { 2 };
    let up = usize::try_from(exponent - 2).unwrap_or(0);
    let down = usize::try_from(2 - exponent).unwrap_or(0);
    let t = Big::of_target(&Target(*raw)).shifted(up);
    let one = difficulty_one().shifted(down);
    assert!(
        Big::of(mantissa * 4 - below).times(&t).is_at_most(&one),
        "{value:e} is too great"
    );
    assert!(
        one.is_at_most(&Big::of(mantissa * 4 + 2).times(&t)),
        "{value:e} is too small"
    );
}

fn second_opinion(bits: u32) -> DecodedTarget {
    let mut raw = [0; 236];
    raw[200..204].copy_from_slice(&bits.to_le_bytes());
    DecodedTarget::from_compact(Header::decode(&raw).expect("236 bytes").bits)
}

#[test]
fn target_is_exact_at_every_power_of_two_and_beside_it() {
    for exponent in -1074..1024 {
        let power = if exponent < -1022 {
            f64::from_bits(1 << (exponent + 1074))
        } else {
            f64::from_bits(((exponent + 1023) as u64) << 52)
        };
        for value in [power.next_down(), power, power.next_up()] {
            if value > 0.0 {
                check_target(value);
            }
        }
    }
    check_target(f64::MAX);
}

#[test]
fn difficulty_is_nearest_at_every_power_of_two_and_beside_it() {
    for bit in 0..256 {
        let mut raw = [0; 32];
        raw[31 - bit / 8] = 1 << (bit % 8);
        check_difficulty(&raw);
        let mut ones = raw;
        ones[31 - bit / 8] = (1_u16 << (bit % 8 + 1)).wrapping_sub(1) as u8;
        ones[32 - bit / 8..].fill(0xff);
        check_difficulty(&ones);
        raw[31] |= 1;
        check_difficulty(&raw);
    }
}

proptest! {
    #[test]
    fn any_bits_are_the_target_they_are_in_a_second_implementation(bits: u32, size in 0_u32..40) {
        for bits in [bits, size << 24 | bits & 0x00ff_ffff] {
            let theirs = second_opinion(bits);
            let ours = Target::from_compact(bits);
            prop_assert_eq!(ours.is_some(), theirs.is_valid());
            let Some(ours) = ours else { continue };
            prop_assert_eq!(&ours.0, theirs.bytes());
            prop_assert_eq!(Target::from_compact(ours.to_compact()), Some(ours));
        }
    }

    #[test]
    fn compact_form_rounds_down_and_no_more_than_it_must(raw: [u8; 32], zeros in 0_usize..32) {
        let mut raw = raw;
        raw[..zeros].fill(0);
        let target = Target(raw);
        prop_assume!(target != Target([0; 32]));
        let again = Target::from_compact(target.to_compact()).unwrap();
        prop_assert!(again <= target);
        let first = raw.iter().position(|byte| *byte != 0).unwrap();
        let kept = 32.min(first + 2);
        prop_assert_eq!(&again.0[..kept], &raw[..kept]);
    }

    #[test]
    fn target_of_any_difficulty_is_exact(bits in 1_u64..0x7ff0_0000_0000_0000) {
        check_target(f64::from_bits(bits));
    }

    #[test]
    fn target_of_a_usual_difficulty_is_exact(scale in -90_i32..230, fraction in 1.0..2.0_f64) {
        check_target(fraction * 2_f64.powi(scale));
    }

    #[test]
    fn difficulty_of_any_target_is_the_nearest_number(raw: [u8; 32], zeros in 0_usize..32) {
        let mut raw = raw;
        raw[..zeros].fill(0);
        prop_assume!(raw != [0; 32]);
        check_difficulty(&raw);
    }
}
