//! Ranges of IP addresses (CIDR), to tell which peers are trusted proxies.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// An address, or all that share its first bits. IPv4 within IPv6 counts as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange(IpNet);

impl AddressRange {
    /// Parses `192.0.2.1`, `10.0.0.0/8` or `2001:db8::/32`. `None` too if bits behind the prefix are set,
    /// since that is more often a typing error than meant.
    pub fn parse(text: &str) -> Option<Self> {
        let one = |text: &str| text.parse().map(|address: IpAddr| IpNet::from(address));
        let given: IpNet = text.parse().or_else(|_| one(text)).ok()?;
        let base = given.addr().to_canonical();
        let range = match (given, base) {
            // The prefix of an IPv4 range in IPv6 form covers the 96 bits of the form too.
            (IpNet::V6(_), IpAddr::V4(_)) => {
                let bits = given.prefix_len().checked_sub(96)?;
                IpNet::new(base, bits).ok()?
            }
            _ => given,
        };
        (range.addr() == range.network()).then_some(Self(range))
    }

    /// True if the address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
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
