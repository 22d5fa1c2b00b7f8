//! Banned addresses: those that keep sending connections that have to be dropped, and those that the
//! operator has banned.
//!
//! A connection is dropped for its own misbehaviour. Its address is banned only when that happens again
//! and again while nobody mines from it, so that one bad machine does not shut out a farm behind the same
//! address. A ban of the operator holds even if somebody mines from there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use crate::limits::{
    BAN_DROPS, BAN_MS, BANNED_ADDRESSES_MAX, GUESS_MS, GUESSES_MAX, OPERATOR_BANS_MAX,
};
use crate::units::Now;

/// The ban of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// The address; for IPv6 the first of the /64 that is banned.
    pub address: IpAddr,
    /// Start of the ban, in Unix seconds.
    pub since_s: u64,
    /// End of the ban, in Unix seconds; `None` until it is lifted.
    pub until_s: Option<u64>,
    /// Text for the operator.
    pub reason: String,
    /// The party that banned it.
    pub by: BannedBy,
}

/// The party that banned an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BannedBy {
    /// The operator; the ban outlives a restart.
    Operator,
    /// The pool, after connections from there had to be dropped.
    Pool,
}

/// A change of the operator's bans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BanChange {
    /// An address is banned, or its ban is replaced.
    Banned(Ban),
    /// A ban is lifted, the operator's or the pool's.
    Lifted(IpAddr),
}

impl Ban {
    fn is_over(&self, now: Now) -> bool {
        self.until_s.is_some_and(|until| until <= now.unix_s)
    }
}

/// The dropped connections or wrong guesses of an address.
struct Offence {
    drops: u32,
    since_ms: u64,
}

/// All bans in force, and the addresses close to one.
#[derive(Default)]
pub(crate) struct Bans {
    offences: Offences<BAN_MS>,
    /// The operator's bans.
    ordered: HashMap<IpAddr, Ban>,
}

impl Bans {
    /// Counts a dropped connection from an address that nobody mines from; true if this makes the address
    /// banned.
    pub(crate) fn drop_from(&mut self, address: IpAddr, now_ms: u64) -> bool {
        self.offences.add(network_of(address), now_ms) == BAN_DROPS
    }

    /// True if connections from the address are refused.
    pub(crate) fn is_banned(&mut self, address: IpAddr, now: Now) -> bool {
        let address = network_of(address);
        self.offences.count(address, now.ms) >= BAN_DROPS
            || (self.ordered.get(&address)).is_some_and(|ban| !ban.is_over(now))
    }

    /// Replaces the operator's bans by the stored ones; gives the newly banned addresses. For an address
    /// whose ban was lifted, the drops counted by the pool are forgotten too.
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

    /// Adds or replaces a ban of the operator; false if [`OPERATOR_BANS_MAX`] addresses are banned.
    pub(crate) fn ban(&mut self, ban: Ban, now: Now) -> bool {
        let address = network_of(ban.address);
        self.ordered.retain(|_, old| !old.is_over(now));
        let fits = self.ordered.contains_key(&address) || self.ordered.len() < OPERATOR_BANS_MAX;
        if fits {
            self.ordered.insert(address, Ban { address, ..ban });
        }
        fits
    }

    /// Lifts every ban of an address and forgets its drops; false if it was not banned.
    pub(crate) fn unban(&mut self, address: IpAddr, now: Now) -> bool {
        let was_banned = self.is_banned(address, now);
        let address = network_of(address);
        self.ordered.remove(&address);
        self.offences.forget(address);
        was_banned
    }

    /// The operator's bans in force, oldest first.
    pub(crate) fn ordered(&self, now: Now) -> Vec<Ban> {
        let open = self.ordered.values().filter(|ban| !ban.is_over(now));
        let mut open: Vec<Ban> = open.cloned().collect();
        open.sort_by_key(|ban| (ban.since_s, ban.address));
        open
    }

    /// All bans in force, the operator's first, each kind oldest first.
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

    /// Count of remembered addresses.
    pub(crate) fn len(&self) -> usize {
        self.offences.len()
    }

    /// Count of the operator's bans, expired ones included.
    pub(crate) fn ordered_len(&self) -> usize {
        self.ordered.len()
    }

    /// Count of addresses banned by the pool.
    pub(crate) fn banned(&self, now_ms: u64) -> usize {
        let is_banned =
            |one: &Offence| one.drops >= BAN_DROPS && now_ms.saturating_sub(one.since_ms) < BAN_MS;
        let offences = self.offences.list();
        offences.filter(|(_, one)| is_banned(one)).count()
    }
}

/// Counts wrong passwords by address: of the admin, or of those who sign in. Beyond [`GUESSES_MAX`] an address may go
/// on mining, but such a login from there is refused.
#[derive(Default)]
pub(crate) struct Guesses(Offences<GUESS_MS>);

impl Guesses {
    /// True if a password from the address is still checked.
    pub(crate) fn may_guess(&mut self, address: IpAddr, now_ms: u64) -> bool {
        self.0.count(network_of(address), now_ms) < GUESSES_MAX
    }

    /// Counts a wrong one; true if it was the last that is checked.
    pub(crate) fn guessed(&mut self, address: IpAddr, now_ms: u64) -> bool {
        self.0.add(network_of(address), now_ms) == GUESSES_MAX
    }

    /// Count of remembered addresses.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Offences counted by address, each for `KEPT_MS` from the first one. Beyond [`BANNED_ADDRESSES_MAX`]
/// addresses the oldest is forgotten.
#[derive(Default)]
struct Offences<const KEPT_MS: u64> {
    by_address: HashMap<IpAddr, Offence>,
    /// The same addresses, oldest first.
    order: VecDeque<IpAddr>,
}

impl<const KEPT_MS: u64> Offences<KEPT_MS> {
    /// Adds one; returns the count for the address.
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

    /// The addresses with their offences, oldest first.
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

/// The address that bans and counts use: an IPv4 address itself, an IPv6 address as the first of its /64,
/// because a customer is usually given a whole /64.
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
