//! Addresses that keep coming back with connections that have to be dropped.
//!
//! A connection is dropped for what it does; its address is refused only when that happens again and
//! again while nobody at the address mines, so that one bad machine does not shut out a farm behind
//! one address.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use crate::limits::{BAN_DROPS, BAN_MS, BANNED_ADDRESSES_MAX};

/// What is remembered of an address.
struct Offence {
    drops: u32,
    since_ms: u64,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Bans {
    offences: HashMap<IpAddr, Offence>,
    /// The same addresses, oldest first.
    order: VecDeque<IpAddr>,
}

impl Bans {
    /// A connection from there was dropped while nobody mined from there; true when the address
    /// is refused from now on.
    pub(crate) fn drop_from(&mut self, address: IpAddr, now_ms: u64) -> bool {
        let address = network_of(address);
        self.forget_old(now_ms);
        if !self.offences.contains_key(&address) {
            if self.order.len() == BANNED_ADDRESSES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.offences.remove(&oldest);
            }
            self.order.push_back(address);
        }
        let offence = self.offences.entry(address).or_insert(Offence {
            drops: 0,
            since_ms: now_ms,
        });
        offence.drops += 1;
        offence.drops == BAN_DROPS
    }

    /// Whether connections from there are refused.
    pub(crate) fn is_banned(&mut self, address: IpAddr, now_ms: u64) -> bool {
        self.forget_old(now_ms);
        let offence = self.offences.get(&network_of(address));
        offence.is_some_and(|offence| offence.drops >= BAN_DROPS)
    }

    /// How many addresses are refused.
    pub(crate) fn banned(&self, now_ms: u64) -> usize {
        let offences = self.offences.values();
        let is_banned =
            |one: &&Offence| one.drops >= BAN_DROPS && now_ms.saturating_sub(one.since_ms) < BAN_MS;
        offences.filter(is_banned).count()
    }

    fn forget_old(&mut self, now_ms: u64) {
        while let Some(address) = self.order.front()
            && let Some(offence) = self.offences.get(address)
            && now_ms - offence.since_ms >= BAN_MS
        {
            self.offences.remove(address);
            self.order.pop_front();
        }
    }
}

/// Whoever has one IPv6 address has a whole /64 of them.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_refused_when_it_keeps_coming_back_and_forgiven_later() {
        let address = "2001:db8::1".parse().unwrap();
        let neighbour = "2001:db8::2".parse().unwrap();
        let mut bans = Bans::default();
        for drop in 1..BAN_DROPS {
            assert!(!bans.drop_from(address, u64::from(drop)));
            assert!(!bans.is_banned(address, u64::from(drop)));
        }
        assert!(bans.drop_from(neighbour, 100));
        assert!(bans.is_banned(address, BAN_MS));
        assert!(!bans.is_banned("2001:db8:1::1".parse().unwrap(), BAN_MS));
        assert!(!bans.is_banned(address, BAN_MS + 1));
    }

    #[test]
    fn so_many_addresses_are_remembered_and_no_more() {
        let mut bans = Bans::default();
        for n in 0..BANNED_ADDRESSES_MAX as u32 + 10 {
            bans.drop_from(std::net::Ipv4Addr::from(n).into(), 0);
        }
        assert_eq!(bans.offences.len(), BANNED_ADDRESSES_MAX);
        assert_eq!(bans.order.len(), BANNED_ADDRESSES_MAX);
    }
}
