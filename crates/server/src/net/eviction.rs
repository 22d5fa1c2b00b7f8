//! Choice of the connection that is closed for a new one when all places are taken.
//!
//! Only connections without an accepted share are candidates. There are two kinds: not logged in, and logged
//! in. The kind with more connections loses one: of it the address that holds most, and of that its oldest
//! connection. So even if one address takes every place, with or without logins, a newcomer from another one
//! still gets in. An address of IPv6 is its /64, as for bans.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use hstratum_core::accounts::ban::network_of;
use hstratum_core::units::ConnId;

use crate::limits::UNPROVEN_MS;

/// Connections without an accepted share, by kind.
#[derive(Default)]
pub(super) struct EvictionOrder {
    /// Network under which each connection is counted.
    networks: HashMap<ConnId, IpAddr>,
    strangers: ConnsOfClass,
    unproven: ConnsOfClass,
}

/// Connections of one kind, each with the time in milliseconds since which it is of that kind. Ids grow, so
/// that the smallest is the oldest.
#[derive(Default)]
struct ConnsOfClass {
    len: usize,
    networks: HashMap<IpAddr, BTreeMap<ConnId, u64>>,
    /// Ordered so that the last network holds most; among equals, the one with the oldest connection.
    order: BTreeSet<(usize, Reverse<ConnId>, IpAddr)>,
}

/// Kind of a connection that is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EvictionClass {
    Stranger,
    Unproven,
}

impl EvictionOrder {
    /// Adds a connection that has not logged in, or changes its address.
    pub(super) fn enter(&mut self, id: ConnId, address: IpAddr, now_ms: u64) {
        self.leave(id);
        let network = network_of(address);
        self.networks.insert(id, network);
        self.strangers.insert(id, network, now_ms);
    }

    /// Moves a connection to those that have logged in.
    pub(super) fn log_in(&mut self, id: ConnId, now_ms: u64) {
        if let Some(&network) = self.networks.get(&id)
            && self.strangers.remove(id, network)
        {
            self.unproven.insert(id, network, now_ms);
        }
    }

    /// Removes a connection that is gone or has an accepted share.
    pub(super) fn leave(&mut self, id: ConnId) {
        if let Some(network) = self.networks.remove(&id)
            && !self.strangers.remove(id, network)
        {
            self.unproven.remove(id, network);
        }
    }

    /// The connection to close for a newcomer from an address, if any. A logged-in one has [`UNPROVEN_MS`] to
    /// send an accepted share before it is closed for an address that would hold as many, so that a farm that
    /// connects all at once to too few places does not displace its own miners.
    pub(super) fn next(&self, newcomer: IpAddr, now_ms: u64) -> Option<(ConnId, EvictionClass)> {
        let newcomer = network_of(newcomer);
        let held = 1 + self.strangers.held(newcomer) + self.unproven.held(newcomer);
        let stranger = || Some((self.strangers.next()?.0, EvictionClass::Stranger));
        let unproven = || {
            let (id, since_ms, count) = self.unproven.next()?;
            let is_due = count > held || now_ms.saturating_sub(since_ms) >= UNPROVEN_MS;
            is_due.then_some((id, EvictionClass::Unproven))
        };
        if self.strangers.len > self.unproven.len {
            stranger().or_else(unproven)
        } else {
            unproven().or_else(stranger)
        }
    }

    pub(super) fn strangers(&self) -> usize {
        self.strangers.len
    }

    pub(super) fn unproven(&self) -> usize {
        self.unproven.len
    }

    /// The address that holds most of the kind that loses the next connection, and how many.
    pub(super) fn most(&self) -> Option<(IpAddr, usize)> {
        let kind = match self.strangers.len > self.unproven.len {
            true => &self.strangers,
            false => &self.unproven,
        };
        let &(count, _, network) = kind.order.last()?;
        Some((network, count))
    }
}

impl ConnsOfClass {
    fn insert(&mut self, id: ConnId, network: IpAddr, now_ms: u64) {
        self.change(network, |conns| {
            conns.insert(id, now_ms);
        });
    }

    fn remove(&mut self, id: ConnId, network: IpAddr) -> bool {
        let is_there = |conns: &BTreeMap<ConnId, u64>| conns.contains_key(&id);
        let was_there = self.networks.get(&network).is_some_and(is_there);
        if was_there {
            self.change(network, |conns| {
                conns.remove(&id);
            });
        }
        was_there
    }

    fn change(&mut self, network: IpAddr, change: impl FnOnce(&mut BTreeMap<ConnId, u64>)) {
        let place = |conns: &BTreeMap<ConnId, u64>| {
            let (&oldest, _) = conns.first_key_value()?;
            Some((conns.len(), Reverse(oldest), network))
        };
        let conns = self.networks.entry(network).or_default();
        let before = place(conns);
        change(conns);
        let after = place(conns);
        if let Some(before) = before {
            self.order.remove(&before);
            self.len -= before.0;
        }
        match after {
            Some(after) => {
                self.len += after.0;
                self.order.insert(after);
            }
            None => drop(self.networks.remove(&network)),
        }
    }

    fn held(&self, network: IpAddr) -> usize {
        self.networks.get(&network).map_or(0, BTreeMap::len)
    }

    /// The next connection to close, since when it is of this kind, and how many its address holds.
    fn next(&self) -> Option<(ConnId, u64, usize)> {
        let &(count, Reverse(id), network) = self.order.last()?;
        Some((id, self.networks[&network][&id], count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// Adds logged-in connections of one address, with these numbers.
    fn log_in(of: &mut EvictionOrder, address: &str, numbers: std::ops::Range<u64>, now_ms: u64) {
        for number in numbers {
            of.enter(ConnId(number), ip(address), now_ms);
            of.log_in(ConnId(number), now_ms);
        }
    }

    #[test]
    fn the_address_that_holds_most_gives_way_whether_it_logged_in_or_not() {
        let mut of = EvictionOrder::default();
        log_in(&mut of, "192.0.2.1", 0..10, 0);
        // A /64 counts as one address.
        for (number, host) in [
            (20, "2001:db8::1"),
            (21, "2001:db8::2"),
            (22, "2001:db8::3"),
        ] {
            log_in(&mut of, host, number..number + 1, 0);
        }
        of.enter(ConnId(30), ip("192.0.2.9"), 0);
        assert_eq!((of.strangers(), of.unproven()), (1, 13));
        let newcomer = ip("198.51.100.1");
        let mut gone = Vec::new();
        for _ in 0..10 {
            let (id, _) = of.next(newcomer, 0).expect("somebody gives way");
            gone.push(id.0);
            of.leave(id);
        }
        assert_eq!(
            gone,
            [0, 1, 2, 3, 4, 5, 6, 7, 20, 8],
            "the oldest of the largest"
        );
        assert_eq!(of.most(), Some((ip("2001:db8::"), 2)));
    }

    #[test]
    fn the_kind_that_takes_more_places_pays() {
        let mut of = EvictionOrder::default();
        // A farm that has just reconnected, and many addresses that send nothing.
        log_in(&mut of, "192.0.2.1", 0..50, 0);
        for number in 0..51 {
            of.enter(ConnId(100 + number), ip(&format!("10.0.0.{number}")), 0);
        }
        let next = of.next(ip("198.51.100.1"), 0);
        assert_eq!(next, Some((ConnId(100), EvictionClass::Stranger)));
    }

    #[test]
    fn a_farm_does_not_drive_itself_out_before_it_could_earn() {
        let mut of = EvictionOrder::default();
        log_in(&mut of, "192.0.2.1", 0..50, 1_000);
        let own = ip("192.0.2.1");
        assert_eq!(of.next(own, 1_000 + UNPROVEN_MS - 1), None);
        let later = of.next(own, 1_000 + UNPROVEN_MS);
        assert_eq!(later, Some((ConnId(0), EvictionClass::Unproven)));
        // A connection with an accepted share is in no list.
        for number in 0..50 {
            of.leave(ConnId(number));
        }
        assert_eq!(of.next(ip("198.51.100.1"), u64::MAX), None);
        assert!(
            of.unproven.order.is_empty()
                && of.networks.is_empty()
                && of.unproven.networks.is_empty()
        );
    }
}
