//! The numbers and names that everything else is written in: hashes, targets, difficulties, ids, times.
//!
//! Hashes are bytes in memory order and compare as big-endian 256-bit numbers, as in hsd. Target
//! arithmetic is integer arithmetic: a rounded bound would refuse honest shares. The use of a hash is not
//! known here, but in `header`, `merkle` and `template`.

use blake2::{Blake2b256, Digest};
use std::fmt;

/// The number of a recorded share. Later ones have greater numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// The height of a block; the first block of the chain has height 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Height(pub u32);

/// The number of a connection, unique in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// 32 bytes in memory order, shown as 64 lower-case hex digits. Ordered as a big-endian number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// 32 zero bytes: the mask of a job that has none, the parent of the first block.
    pub const ZERO: Self = Self([0; 32]);

    /// Reads exactly 64 hex digits of either case; `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        unhex_into(&mut bytes, text.as_bytes())?;
        Some(Self(bytes))
    }

    /// BLAKE2b-256 of the parts, one after the other.
    #[must_use]
    pub fn blake2b(parts: &[&[u8]]) -> Self {
        let mut state = Blake2b256::new();
        for part in parts {
            state.update(part);
        }
        Self(state.finalize().into())
    }

    /// This hash with every bit flipped that is set in `mask`. It turns a share hash into the
    /// proof-of-work hash (hsd lib/primitives/abstractblock.js, powHash).
    #[must_use]
    pub fn xor(&self, mask: &Self) -> Self {
        let mut bytes = self.0;
        for (byte, flip) in bytes.iter_mut().zip(mask.0) {
            *byte ^= flip;
        }
        Self(bytes)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Seconds between two blocks of the network (hsd lib/protocol/consensus.js, TARGET_SPACING).
pub const BLOCK_S: f64 = 600.0;

/// Hashes that a unit of difficulty takes on average: 2^256 over the target of difficulty 1, which is
/// 2^224 − 1, rounded to a double.
pub const HASHES_PER_DIFFICULTY: f64 = 4_294_967_296.0;

/// The difficulty of a share or block: its target is (2^224 − 1) / difficulty. Finite and above zero.
///
/// Shown as `JSON.stringify` shows the same number, so it can be written into JSON as it is.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Difficulty(f64);

impl Difficulty {
    /// The greatest difficulty, above that of every network.
    pub(crate) const MAX: Self = Self(f64::MAX);

    /// Makes a difficulty; `None` unless `value` is finite and above zero.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        (value.is_finite() && value > 0.0).then_some(Self(value))
    }

    /// The number itself: finite and above zero.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// `(m, e)` such that m · 2^e is the exact value and 0 < m < 2^53.
    pub(crate) fn parts(self) -> (u64, i32) {
        let bits = self.0.to_bits();
        let fraction = bits & ((1 << 52) - 1);
        match (bits >> 52) as i32 {
            0 => (fraction, -1074),
            exponent => (fraction | 1 << 52, exponent - 1075),
        }
    }
}

impl fmt::Display for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ECMAScript's Number::toString: plain digits from 1e-6 up to 1e21, else an exponent with
        // a sign. Both languages print the fewest digits that read back as the same number.
        if self.0 >= 1e21 {
            f.write_str(&format!("{:e}", self.0).replace('e', "e+"))
        } else if self.0 < 1e-6 {
            write!(f, "{:e}", self.0)
        } else {
            write!(f, "{}", self.0)
        }
    }
}

/// The greatest hash that still meets a difficulty, as a big-endian 256-bit number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(pub [u8; 32]);

impl Target {
    /// 2^256 − 1: every hash meets it.
    pub const MAX: Self = Self([0xff; 32]);

    /// The target that a block header's `bits` encode. `None` if it is negative, zero or above 2^256 − 1,
    /// which no hash can be compared with (hsd lib/mining/common.js, getTarget).
    #[must_use]
    pub fn from_compact(bits: u32) -> Option<Self> {
        let size = (bits >> 24) as usize;
        let mantissa = (bits & 0x007f_ffff).to_be_bytes();
        if bits & 0x0080_0000 != 0 {
            return None;
        }
        // The mantissa's last byte weighs 256^(size − 3). Bytes below weight 1 are cut off.
        let mut bytes = [0; 32];
        for (place, byte) in mantissa[1..].iter().rev().enumerate() {
            let weight = size + place;
            match weight.checked_sub(3) {
                Some(power @ 0..32) => bytes[31 - power] = *byte,
                Some(_) if *byte != 0 => return None,
                _ => {}
            }
        }
        (bytes != [0; 32]).then_some(Self(bytes))
    }

    /// The compact form: the three leading bytes and the size, rounded down (hsd
    /// lib/protocol/consensus.js, toCompact). 0 for a target of zero.
    #[must_use]
    pub fn to_compact(self) -> u32 {
        let Some(first) = self.0.iter().position(|byte| *byte != 0) else {
            return 0;
        };
        let lead = |place: usize| u32::from(self.0.get(first + place).copied().unwrap_or(0));
        let size = (32 - first) as u32;
        let mantissa = lead(0) << 16 | lead(1) << 8 | lead(2);
        // The top bit of the mantissa is a sign bit, so it is avoided with one more byte of size.
        if mantissa & 0x0080_0000 != 0 {
            (size + 1) << 24 | mantissa >> 8
        } else {
            size << 24 | mantissa
        }
    }

    /// min(⌊(2^224 − 1) / d⌋, 2^256 − 1), exact for every difficulty. Above 2^224 − 1 the result
    /// is zero, which only a hash of 32 zero bytes meets: no miner will ever find a share.
    #[must_use]
    pub fn of_difficulty(difficulty: Difficulty) -> Self {
        let (mantissa, exponent) = difficulty.parts();
        // ⌊N / (m · 2^e)⌋ is ⌊⌊N / 2^e⌋ / m⌋ for e ≥ 0 and ⌊(N · 2^−e) / m⌋ for e < 0. With
        // m < 2^53 the quotient is above 2^256 from e = −85 down, so five limbs hold the rest.
        let ones = match exponent {
            ..=-85 => return Self::MAX,
            -84..224 => (224 - exponent) as usize,
            _ => return Self([0; 32]),
        };
        let numerator = Wide::ones(ones, usize::try_from(-exponent).unwrap_or(0));
        let quotient = numerator.divided_by(mantissa);
        if quotient.0[4] != 0 {
            return Self::MAX;
        }
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.rchunks_exact_mut(8).zip(quotient.0) {
            chunk.copy_from_slice(&limb.to_be_bytes());
        }
        Self(bytes)
    }

    /// (2^224 − 1) / target, rounded to the nearest `f64`, ties to even. A target of zero gives
    /// `f64::MAX`. For display and statistics: the last bits of the difficulty that a target was made of
    /// are lost.
    #[must_use]
    pub fn difficulty(self) -> Difficulty {
        let Some(first) = self.0.iter().position(|byte| *byte != 0) else {
            return Difficulty(f64::MAX);
        };
        let length = 256 - first * 8 - self.0[first].leading_zeros() as usize;
        let divisor = Wide::from_be(&self.0);
        // Long division, one bit of 2^224 − 1 at a time (zeros after its 224 ones), until the
        // quotient has 54 bits. The first `length − 1` bits are below any divisor of `length`.
        let mut taken = length - 1;
        let mut rest = Wide::ones(taken, taken.saturating_sub(224));
        let mut quotient = 0_u64;
        while quotient < 1 << 53 {
            rest.push_bit(u64::from(taken < 224));
            taken += 1;
            quotient = quotient << 1 | u64::from(rest.reduce(&divisor));
        }
        // One more bit says whether anything was left, so that the conversion rounds right.
        let left = taken < 224 || rest != Wide::ZERO;
        let scale = 1023 + 224 - 1 - taken as i64;
        let power = f64::from_bits((scale as u64) << 52);
        Difficulty((quotient << 1 | u64::from(left)) as f64 * power)
    }

    /// True if the hash, read as a big-endian number, is not above this target.
    #[must_use]
    pub fn is_met_by(&self, hash: &Hash) -> bool {
        hash.0 <= self.0
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A 320-bit number, least significant limb first, with only the operations that the two divisions above
/// need.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Wide([u64; 5]);

impl Wide {
    const ZERO: Self = Self([0; 5]);

    /// Bits `zeros..length` set, all others clear.
    fn ones(length: usize, zeros: usize) -> Self {
        let below = |limb: usize, bit: usize| match bit.saturating_sub(limb * 64) {
            64.. => u64::MAX,
            bits => (1 << bits) - 1,
        };
        Self(std::array::from_fn(|limb| {
            below(limb, length) & !below(limb, zeros)
        }))
    }

    fn from_be(bytes: &[u8; 32]) -> Self {
        let mut limbs = [0; 5];
        for (limb, chunk) in limbs.iter_mut().zip(bytes.rchunks_exact(8)) {
            *limb = u64::from_be_bytes(chunk.try_into().expect("chunks of eight bytes"));
        }
        Self(limbs)
    }

    fn divided_by(mut self, divisor: u64) -> Self {
        let mut rest = 0;
        for limb in self.0.iter_mut().rev() {
            let part = rest << 64 | u128::from(*limb);
            *limb = (part / u128::from(divisor)) as u64;
            rest = part % u128::from(divisor);
        }
        self
    }

    /// Doubles the number and adds `bit`. The top bit must be clear.
    fn push_bit(&mut self, bit: u64) {
        let mut carry = bit;
        for limb in &mut self.0 {
            let out = *limb >> 63;
            *limb = *limb << 1 | carry;
            carry = out;
        }
    }

    /// Subtracts `divisor` if it is not greater; returns true if it did.
    fn reduce(&mut self, divisor: &Self) -> bool {
        let mut difference = [0; 5];
        let mut borrow = false;
        for (out, (a, b)) in difference.iter_mut().zip(self.0.iter().zip(divisor.0)) {
            let (part, under) = a.overflowing_sub(b);
            let (part, under_again) = part.overflowing_sub(u64::from(borrow));
            *out = part;
            borrow = under || under_again;
        }
        if !borrow {
            self.0 = difference;
        }
        !borrow
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Appends two lower-case hex digits a byte.
pub fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len() * 2, 0);
    put_hex(&mut out[start..], bytes);
}

/// Writes two lower-case hex digits a byte over `digits`.
pub fn put_hex(digits: &mut [u8], bytes: &[u8]) {
    for (digits, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// The bytes as lower-case hex, two digits each.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    push_hex(&mut out, bytes);
    String::from_utf8(out).expect("hex digits are ASCII")
}

/// Reads exactly eight hex digits of either case, most significant first; no sign, no prefix.
#[must_use]
pub fn parse_hex_u32(text: &str) -> Option<u32> {
    let mut bytes = [0; 4];
    unhex_into(&mut bytes, text.as_bytes())?;
    Some(u32::from_be_bytes(bytes))
}

/// Reads an even number of hex digits of either case; `None` for anything else.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; text.len() / 2];
    unhex_into(&mut bytes, text.as_bytes())?;
    Some(bytes)
}

fn unhex_into(out: &mut [u8], text: &[u8]) -> Option<()> {
    if text.len() != out.len() * 2 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(())
}

/// The time by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a monotonic clock.
    pub ms: u64,
    /// Unix time in seconds.
    pub unix_s: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target_of(value: f64) -> String {
        Target::of_difficulty(Difficulty::new(value).unwrap()).to_string()
    }

    #[test]
    fn hex_is_read_in_either_case_and_nothing_else_is() {
        assert_eq!(unhex("00fFAb"), Some(vec![0, 255, 171]));
        assert_eq!(hex(&[0, 255, 171]), "00ffab");
        for bad in ["0", "0x", "+1", "g0", " 1", "é"] {
            assert_eq!(unhex(bad), None, "{bad:?}");
        }
        assert_eq!(parse_hex_u32("5fC5a7b8"), Some(0x5fc5_a7b8));
        for bad in ["", "+fc5a7b8", "5fc5a7b", "5fc5a7b80", "0x5fc5a7"] {
            assert_eq!(parse_hex_u32(bad), None, "{bad:?}");
        }
        assert_eq!(Hash::from_hex(&"0".repeat(64)), Some(Hash::ZERO));
        assert_eq!(Hash::from_hex(&"0".repeat(62)), None);
    }

    #[test]
    fn difficulty_is_shown_as_javascript_shows_it() {
        for (value, text) in [
            (8.0, "8"),
            (0.5, "0.5"),
            (4.656_612_873_077_393e-10, "4.656612873077393e-10"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1e20, "100000000000000000000"),
            (295_147_905_179_352_830_000.0, "295147905179352830000"),
            (1e21, "1e+21"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::from_bits(1), "5e-324"),
            (0.1 + 0.2, "0.30000000000000004"),
        ] {
            assert_eq!(Difficulty::new(value).unwrap().to_string(), text);
        }
        for bad in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Difficulty::new(bad), None);
        }
    }

    #[test]
    fn target_of_a_difficulty_is_exact_at_the_edges() {
        let one = format!("00000000{}", "f".repeat(56));
        assert_eq!(target_of(1.0), one);
        assert_eq!(target_of(256.0), format!("0000000000{}", "f".repeat(54)));
        let third = format!("00000000{}", "5".repeat(56));
        assert_eq!(target_of(3.0), third);
        let lowest = 0.5_f64.powi(32);
        assert_eq!(target_of(lowest), format!("{}00000000", "f".repeat(56)));
        for tiny in [lowest / 1.5, f64::MIN_POSITIVE, f64::from_bits(1)] {
            assert_eq!(target_of(tiny), Target::MAX.to_string());
        }
        assert_eq!(target_of(2_f64.powi(223)), format!("{:064x}", 1));
        for huge in [2_f64.powi(224), f64::MAX] {
            assert_eq!(target_of(huge), Hash::ZERO.to_string());
        }
    }

    #[test]
    fn difficulty_of_a_target_is_the_nearest_number() {
        let difficulty = |hex: &str| Target(Hash::from_hex(hex).unwrap().0).difficulty().get();
        assert_eq!(difficulty(&format!("00000000{}", "f".repeat(56))), 1.0);
        assert_eq!(difficulty(&format!("00000000{}", "5".repeat(56))), 3.0);
        assert_eq!(difficulty(&format!("{:064x}", 1)), 2_f64.powi(224));
        assert_eq!(Target([0; 32]).difficulty().get(), f64::MAX);
        assert_eq!(Target::MAX.difficulty().get(), 0.5_f64.powi(32));
    }

    #[test]
    fn compact_bits_that_are_no_target_are_refused() {
        for bad in [
            0,
            0x0100_0000,
            0x0200_00ff,
            0x0112_0000 | 0x0080_0000,
            0x2112_3456,
            0x2200_ffff,
            0xff00_0001,
        ] {
            assert_eq!(Target::from_compact(bad), None, "{bad:08x}");
        }
        for good in [
            0x2100_ffff,
            0x2200_00ff,
            0x207f_ffff,
            0x0300_0001,
            0x0112_0000,
        ] {
            let target = Target::from_compact(good).unwrap();
            assert_eq!(Target::from_compact(target.to_compact()), Some(target));
        }
        assert_eq!(Target([0; 32]).to_compact(), 0);
    }
}
