//! Number of connections of each address. One user of IPv6 has any number of addresses, so there the /64
//! network counts, as for bans.

use std::collections::HashMap;
use std::net::IpAddr;

use hstratum_core::accounts::ban::network_of;

/// Counters of connections; counts nothing if there is no limit.
pub(crate) struct PerAddress {
    /// Limit for one address; 0 is any number.
    max: u32,
    counts: HashMap<IpAddr, u32>,
}

impl PerAddress {
    pub(crate) fn new(max: u32) -> Self {
        Self {
            max,
            counts: HashMap::new(),
        }
    }

    /// Counts a connection; returns false if its address has as many as allowed.
    pub(crate) fn enter(&mut self, address: IpAddr) -> bool {
        if self.max == 0 {
            return true;
        }
        let count = self.counts.entry(network_of(address)).or_default();
        let is_wanted = *count < self.max;
        *count += u32::from(is_wanted);
        is_wanted
    }

    /// Removes a connection that was counted.
    pub(crate) fn leave(&mut self, address: IpAddr) {
        let network = network_of(address);
        if let Some(count) = self.counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&network);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.counts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let mut counts = PerAddress::new(2);
        let addresses = ["2001:db8::1", "2001:db8::2", "2001:db8::3"];
        let [one, two, three] = addresses.map(|text| text.parse().expect("an address"));
        assert!(counts.enter(one) && counts.enter(two));
        assert!(!counts.enter(three));
        let other = "2001:db8:0:1::1".parse().expect("an address");
        assert!(counts.enter(other));
        counts.leave(two);
        assert!(counts.enter(three) && !counts.enter(two));
        for v4 in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            assert!(counts.enter(v4.parse().expect("an address")), "{v4}");
        }
    }
}
