//! Ranges of IP addresses (CIDR), to tell which peers are trusted proxies.

use std::fmt;
use std::net::IpAddr;

/// An address, or all addresses with a common prefix. IPv4-mapped IPv6 counts as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    base: IpAddr,
    bits: u32,
}

impl AddressRange {
    /// Parses `192.0.2.1`, `10.0.0.0/8` or `2001:db8::/32`. `None` too if bits behind the prefix are set,
    /// since that is more often a typing error than meant.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            None => (text, None),
            Some((address, bits)) => (address, Some(parse_bits(bits)?)),
        };
        let given: IpAddr = address.parse().ok()?;
        let given_width = number(given).1;
        let bits = bits.unwrap_or(given_width);
        let base = given.to_canonical();
        let (base_number, width) = number(base);
        // The prefix of an IPv4-mapped range includes the 96 bits of the mapping.
        let bits = bits.checked_sub(given_width - width)?;
        let fits = bits <= width && base_number & host_mask(width - bits) == 0;
        fits.then_some(Self { base, bits })
    }

    /// True if the address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (base, width) = number(self.base);
        let (address, address_width) = number(address.to_canonical());
        width == address_width && (base ^ address) & !host_mask(width - self.bits) == 0
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

fn parse_bits(text: &str) -> Option<u32> {
    let plain = text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

/// The address as a number, and its width in bits.
fn number(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u32::from(address).into(), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    }
}

fn host_mask(bits: u32) -> u128 {
    1_u128
        .checked_shl(bits)
        .map_or(u128::MAX, |above| above - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: &str, inside: &[&str], outside: &[&str]) {
        let parsed = AddressRange::parse(range).expect("a range");
        for (addresses, expected) in [(inside, true), (outside, false)] {
            for address in addresses {
                let found = parsed.contains(address.parse().expect("an address"));
                assert_eq!(found, expected, "{address} in {range}");
            }
        }
    }

    #[test]
    fn ranges_hold_what_shares_their_bits() {
        check(
            "192.0.2.1",
            &["192.0.2.1", "::ffff:192.0.2.1"],
            &["192.0.2.2", "::1"],
        );
        check(
            "10.0.0.0/8",
            &["10.255.0.1", "::ffff:10.0.0.1"],
            &["11.0.0.0", "::a00:1"],
        );
        check("::ffff:10.0.0.0/104", &["10.1.2.3"], &["11.0.0.1"]);
        check("::ffff:192.0.2.1", &["192.0.2.1"], &["192.0.2.2"]);
        check(
            "2001:db8::/32",
            &["2001:db8:ffff::1"],
            &["2001:db9::", "10.0.0.1"],
        );
        check(
            "0.0.0.0/0",
            &["1.2.3.4", "::ffff:1.2.3.4"],
            &["::", "2001:db8::"],
        );
        check("::/0", &["::", "ffff::"], &["1.2.3.4", "::ffff:1.2.3.4"]);
        check("::1/128", &["::1"], &["::2"]);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/+8",
            "10.0.0.0/0008",
            "::/129",
            "::ffff:10.0.0.0/8",
            "2001:db8::1/32",
            "10.0.0",
            "localhost",
            " 10.0.0.1",
        ] {
            assert_eq!(AddressRange::parse(text), None, "{text:?}");
        }
    }
}
