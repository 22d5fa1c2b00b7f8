//! Addresses that are refused: those that keep coming back with connections that have to be dropped,
//! and those that the operator has banned.
//!
//! A connection is dropped for what it does; its address is refused only when that happens again and
//! again while nobody at the address mines, so that one bad machine does not shut out a farm behind
//! one address. The operator's word holds whoever mines there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use crate::limits::{
    ADMIN_GUESSES_MAX, BAN_DROPS, BAN_MS, BANNED_ADDRESSES_MAX, GUESS_MS, OPERATOR_BANS_MAX,
};
use crate::units::Now;

/// An address that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// The address; of IPv6 the first of its /64, all of which is meant.
    pub address: IpAddr,
    /// Since when, Unix seconds.
    pub since_s: u64,
    /// Until when; none: until it is unbanned.
    pub until_s: Option<u64>,
    /// Why, for the operator.
    pub reason: String,
    /// Whose word it is.
    pub by: BannedBy,
}

/// Who has banned an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BannedBy {
    /// The operator: it outlives a restart.
    Operator,
    /// The pool, for what came from there.
    Pool,
}

/// What the operator has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BanChange {
    /// An address is banned, or banned anew.
    Banned(Ban),
    /// It is not, whoever had banned it.
    Lifted(IpAddr),
}

impl Ban {
    fn is_over(&self, now: Now) -> bool {
        self.until_s.is_some_and(|until| until <= now.unix_s)
    }
}

/// What is remembered of an address.
struct Offence {
    drops: u32,
    since_ms: u64,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Bans {
    offences: Offences<BAN_MS>,
    /// The operator's.
    ordered: HashMap<IpAddr, Ban>,
}

impl Bans {
    /// A connection from there was dropped while nobody mined from there; true when the address
    /// is refused from now on.
    pub(crate) fn drop_from(&mut self, address: IpAddr, now_ms: u64) -> bool {
        self.offences.add(network_of(address), now_ms) == BAN_DROPS
    }

    /// Whether connections from there are refused.
    pub(crate) fn is_banned(&mut self, address: IpAddr, now: Now) -> bool {
        let address = network_of(address);
        self.offences.count(address, now.ms) >= BAN_DROPS
            || (self.ordered.get(&address)).is_some_and(|ban| !ban.is_over(now))
    }

    /// Takes over the operator's bans as they are kept; gives the addresses that are refused anew. What
    /// speaks against one that was lifted is forgotten.
    pub(crate) fn restore(&mut self, bans: Vec<Ban>) -> HashSet<IpAddr> {
        let bans = bans.into_iter().take(OPERATOR_BANS_MAX);
        let bans = bans.map(|ban| {
            let address = network_of(ban.address);
            (address, Ban { address, ..ban })
        });
        let bans = bans.collect();
        let old = std::mem::replace(&mut self.ordered, bans);
        for address in old.keys() {
            if !self.ordered.contains_key(address) {
                self.offences.forget(*address);
            }
        }
        let new = self.ordered.keys();
        new.filter(|address| !old.contains_key(*address))
            .copied()
            .collect()
    }

    /// The operator bans an address, or bans it anew; false when there are too many.
    pub(crate) fn ban(&mut self, ban: Ban, now: Now) -> bool {
        let address = network_of(ban.address);
        self.ordered.retain(|_, old| !old.is_over(now));
        let fits = self.ordered.contains_key(&address) || self.ordered.len() < OPERATOR_BANS_MAX;
        if fits {
            self.ordered.insert(address, Ban { address, ..ban });
        }
        fits
    }

    /// Forgets all that speaks against an address; false when nothing had it refused.
    pub(crate) fn unban(&mut self, address: IpAddr, now: Now) -> bool {
        let was_banned = self.is_banned(address, now);
        let address = network_of(address);
        self.ordered.remove(&address);
        self.offences.forget(address);
        was_banned
    }

    /// The operator's bans that are not over, oldest first.
    pub(crate) fn ordered(&self, now: Now) -> Vec<Ban> {
        let open = self.ordered.values().filter(|ban| !ban.is_over(now));
        let mut open: Vec<Ban> = open.cloned().collect();
        open.sort_by_key(|ban| (ban.since_s, ban.address));
        open
    }

    /// Every address that is refused, oldest first, the operator's before the pool's.
    pub(crate) fn list(&mut self, now: Now) -> Vec<Ban> {
        self.offences.forget_old(now.ms);
        let mut list = self.ordered(now);
        for (address, offence) in self.offences.list() {
            let ago_s = (now.ms.saturating_sub(offence.since_ms)) / 1000;
            let since_s = now.unix_s.saturating_sub(ago_s);
            if offence.drops >= BAN_DROPS {
                list.push(Ban {
                    address: *address,
                    since_s,
                    until_s: Some(since_s + BAN_MS / 1000),
                    reason: "keeps misbehaving".to_owned(),
                    by: BannedBy::Pool,
                });
            }
        }
        list
    }

    /// Addresses that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.offences.len()
    }

    /// Bans of the operator, those that are over included.
    pub(crate) fn ordered_len(&self) -> usize {
        self.ordered.len()
    }

    /// How many addresses are refused.
    pub(crate) fn banned(&self, now_ms: u64) -> usize {
        let is_banned =
            |one: &Offence| one.drops >= BAN_DROPS && now_ms.saturating_sub(one.since_ms) < BAN_MS;
        let offences = self.offences.list();
        offences.filter(|(_, one)| is_banned(one)).count()
    }
}

/// Addresses that guess the admin's password. Who mines there is not refused, but its guesses are.
#[derive(Default)]
pub(crate) struct Guesses(Offences<GUESS_MS>);

impl Guesses {
    /// Whether the admin's password is still looked at from there.
    pub(crate) fn may_guess(&mut self, address: IpAddr, now_ms: u64) -> bool {
        self.0.count(network_of(address), now_ms) < ADMIN_GUESSES_MAX
    }

    /// A wrong one came from there; true when it was the last that is looked at.
    pub(crate) fn guessed(&mut self, address: IpAddr, now_ms: u64) -> bool {
        self.0.add(network_of(address), now_ms) == ADMIN_GUESSES_MAX
    }

    /// Addresses that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What speaks against addresses, each for so many milliseconds from its first offence. The oldest is
/// forgotten for a new one when there are too many.
#[derive(Default)]
struct Offences<const KEPT_MS: u64> {
    by_address: HashMap<IpAddr, Offence>,
    /// The same addresses, oldest first.
    order: VecDeque<IpAddr>,
}

impl<const KEPT_MS: u64> Offences<KEPT_MS> {
    /// One more; how many there are now.
    fn add(&mut self, address: IpAddr, now_ms: u64) -> u32 {
        self.forget_old(now_ms);
        if !self.by_address.contains_key(&address) {
            if self.order.len() == BANNED_ADDRESSES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_address.remove(&oldest);
            }
            self.order.push_back(address);
        }
        let offence = self.by_address.entry(address).or_insert(Offence {
            drops: 0,
            since_ms: now_ms,
        });
        offence.drops += 1;
        offence.drops
    }

    fn count(&mut self, address: IpAddr, now_ms: u64) -> u32 {
        self.forget_old(now_ms);
        self.by_address.get(&address).map_or(0, |one| one.drops)
    }

    fn forget(&mut self, address: IpAddr) {
        if self.by_address.remove(&address).is_some() {
            self.order.retain(|old| *old != address);
        }
    }

    /// Oldest first.
    fn list(&self) -> impl Iterator<Item = (&IpAddr, &Offence)> {
        let addresses = self.order.iter();
        addresses.map(|address| (address, &self.by_address[address]))
    }

    fn len(&self) -> usize {
        self.by_address.len().max(self.order.len())
    }

    fn forget_old(&mut self, now_ms: u64) {
        while let Some(address) = self.order.front()
            && let Some(offence) = self.by_address.get(address)
            && now_ms.saturating_sub(offence.since_ms) >= KEPT_MS
        {
            self.by_address.remove(address);
            self.order.pop_front();
        }
    }
}

/// Whoever has one IPv6 address has a whole /64 of them.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now {
            ms,
            unix_s: 1_000_000 + ms / 1000,
        }
    }

    #[test]
    fn an_address_is_refused_when_it_keeps_coming_back_and_forgiven_later() {
        let address = "2001:db8::1".parse().unwrap();
        let neighbour = "2001:db8::2".parse().unwrap();
        let mut bans = Bans::default();
        for drop in 1..BAN_DROPS {
            assert!(!bans.drop_from(address, u64::from(drop)));
            assert!(!bans.is_banned(address, at(u64::from(drop))));
        }
        assert!(bans.drop_from(neighbour, 100));
        assert!(bans.is_banned(address, at(BAN_MS)));
        assert!(!bans.is_banned("2001:db8:1::1".parse().unwrap(), at(BAN_MS)));
        assert!(!bans.is_banned(address, at(BAN_MS + 1)));
    }

    #[test]
    fn so_many_addresses_are_remembered_and_no_more() {
        let mut bans = Bans::default();
        for n in 0..BANNED_ADDRESSES_MAX as u32 + 10 {
            bans.drop_from(std::net::Ipv4Addr::from(n).into(), 0);
        }
        assert_eq!(bans.offences.len(), BANNED_ADDRESSES_MAX);
        assert_eq!(bans.offences.order.len(), BANNED_ADDRESSES_MAX);
    }
}
