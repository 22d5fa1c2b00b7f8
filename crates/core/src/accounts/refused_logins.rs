//! Refused logins: counts by reason, the latest addresses, and log lines at a limited rate.
//!
//! Strangers can cause refusals without limit, so an address causes one log line a minute, which counts
//! those left out. At most [`REFUSALS_MAX`] addresses are remembered; the one silent longest makes room
//! for a new one. An IPv6 address stands for its /64.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use crate::accounts::ban::network_of;
use crate::limits::{REFUSALS_MAX, REFUSALS_QUIET_MS};
use crate::units::Now;

/// The reason why a login was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// The account is known, but the password is wrong.
    WrongPassword,
    /// `auth: users`, and there is no such user.
    UnknownUser,
    /// `auth: address` or a solo listener, and the name is not a payable address.
    NoAddress,
    /// The operator has disabled the account.
    Disabled,
    /// `mining.authorize_admin` with a wrong password.
    AdminPassword,
    /// `mining.authorize_admin` while no `admin-password` is set.
    NoAdmin,
    /// Too many wrong admin passwords came from the address.
    Guesses,
    /// The connection has as many names as it may have.
    Names,
    /// On a solo listener, the connection pays another address.
    OtherPayee,
    /// The proof of a proxy is wrong.
    Proof,
    /// The name is missing, too long or not a string.
    Malformed,
    /// A server has refused it; only in a proxy.
    Server,
}

impl RefusalReason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::WrongPassword,
        Self::UnknownUser,
        Self::NoAddress,
        Self::Disabled,
        Self::AdminPassword,
        Self::NoAdmin,
        Self::Guesses,
        Self::Names,
        Self::OtherPayee,
        Self::Proof,
        Self::Malformed,
        Self::Server,
    ];

    /// The name in metrics and the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong_password",
            Self::UnknownUser => "unknown_user",
            Self::NoAddress => "no_address",
            Self::Disabled => "disabled",
            Self::AdminPassword => "admin_password",
            Self::NoAdmin => "no_admin",
            Self::Guesses => "guesses",
            Self::Names => "names",
            Self::OtherPayee => "other_payee",
            Self::Proof => "proof",
            Self::Malformed => "malformed",
            Self::Server => "server",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong password",
            Self::UnknownUser => "no such user",
            Self::NoAddress => "no address that can be paid",
            Self::Disabled => "the account is disabled",
            Self::AdminPassword => "wrong password of the admin",
            Self::NoAdmin => "no password of an admin is set",
            Self::Guesses => "too many wrong passwords of the admin from there",
            Self::Names => "too many names on a connection",
            Self::OtherPayee => "another address than that of its connection",
            Self::Proof => "a proxy with another secret",
            Self::Malformed => "no name, or too long",
            Self::Server => "by the server",
        }
    }
}

/// Counts of refused logins, in the order of [`RefusalReason::ALL`].
pub type RefusalCounts = [u64; RefusalReason::ALL.len()];

/// The refused logins of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedAddress {
    /// The address; for IPv6 the first of its /64.
    pub address: IpAddr,
    /// The name in the last one. Untrusted text.
    pub name: Arc<str>,
    /// The reason of the last one.
    pub reason: RefusalReason,
    /// Counts since the address is remembered, in the order of [`RefusalReason::ALL`].
    pub counts: RefusalCounts,
    /// Time of the first one, in Unix seconds.
    pub first_s: u64,
    /// Time of the last one, in Unix seconds.
    pub last_s: u64,
    said_ms: u64,
    left_out: u64,
}

/// Counts in all, and the addresses with refused logins of late.
#[derive(Default)]
pub struct RefusedLogins {
    counts: RefusalCounts,
    /// Ordered by the time of the last refusal, the latest at the back.
    list: VecDeque<RefusedAddress>,
}

impl RefusedLogins {
    /// Counts a refused login; returns a log line if one is due.
    pub fn note(
        &mut self,
        now: Now,
        from: IpAddr,
        name: &str,
        reason: RefusalReason,
    ) -> Option<String> {
        self.counts[reason as usize] += 1;
        let address = network_of(from);
        let at = self.list.iter().rposition(|one| one.address == address);
        let Some(mut one) = at.and_then(|at| self.list.remove(at)) else {
            if self.list.len() >= REFUSALS_MAX {
                self.list.pop_front();
            }
            let mut counts = RefusalCounts::default();
            counts[reason as usize] = 1;
            self.list.push_back(RefusedAddress {
                address,
                name: name.into(),
                reason,
                counts,
                first_s: now.unix_s,
                last_s: now.unix_s,
                said_ms: now.ms,
                left_out: 0,
            });
            let text = format!("login of {name:?} refused, from {from}: {}", reason.text());
            return Some(text);
        };
        if *one.name != *name {
            one.name = name.into();
        }
        one.reason = reason;
        one.counts[reason as usize] += 1;
        one.last_s = now.unix_s;
        one.left_out += 1;
        let line = one.line(now.ms);
        self.list.push_back(one);
        line
    }

    /// The log lines that are due about refusals left out.
    pub fn tick(&mut self, now_ms: u64) -> Vec<String> {
        let lines = self.list.iter_mut().filter_map(|one| one.line(now_ms));
        lines.collect()
    }

    /// Counts in all, in the order of [`RefusalReason::ALL`].
    #[must_use]
    pub fn counts(&self) -> RefusalCounts {
        self.counts
    }

    /// The remembered addresses, the latest first.
    #[must_use]
    pub fn list(&self) -> Vec<RefusedAddress> {
        self.list.iter().rev().cloned().collect()
    }
}

impl RefusedAddress {
    /// Count of refusals, for all reasons together.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The reasons that occurred, with their counts.
    pub fn reasons(&self) -> impl Iterator<Item = (RefusalReason, u64)> {
        let all = RefusalReason::ALL.into_iter().zip(self.counts);
        all.filter(|(_, count)| *count > 0)
    }

    fn line(&mut self, now_ms: u64) -> Option<String> {
        let is_due = now_ms.saturating_sub(self.said_ms) >= REFUSALS_QUIET_MS;
        if self.left_out == 0 || !is_due {
            return None;
        }
        self.said_ms = now_ms;
        let count = std::mem::take(&mut self.left_out);
        let (address, name, why) = (self.address, &self.name, self.reason.text());
        Some(format!(
            "{count} more logins refused, from {address}; the last was {name:?}: {why}"
        ))
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
    fn an_address_has_a_line_a_minute_which_counts_the_others() {
        let mut refusals = RefusedLogins::default();
        let from = "192.0.2.7".parse().expect("an address");
        let mut lines = Vec::new();
        for second in 0..150 {
            let now = at(second * 1000);
            lines.extend(refusals.note(now, from, "bob.rig", RefusalReason::UnknownUser));
            lines.extend(refusals.tick(now.ms));
        }
        lines.extend(refusals.tick(200_000));
        lines.extend(refusals.tick(300_000));
        assert_eq!(
            lines,
            [
                r#"login of "bob.rig" refused, from 192.0.2.7: no such user"#,
                r#"60 more logins refused, from 192.0.2.7; the last was "bob.rig": no such user"#,
                r#"60 more logins refused, from 192.0.2.7; the last was "bob.rig": no such user"#,
                r#"29 more logins refused, from 192.0.2.7; the last was "bob.rig": no such user"#,
            ]
        );
        let [one] = &refusals.list()[..] else {
            panic!("one address")
        };
        assert_eq!((one.count(), one.last_s - one.first_s), (150, 149));
        assert_eq!(refusals.counts()[RefusalReason::UnknownUser as usize], 150);
    }

    #[test]
    fn so_many_addresses_are_remembered_and_the_latest_of_them() {
        let mut refusals = RefusedLogins::default();
        for n in 0..2 * REFUSALS_MAX as u32 {
            let from = std::net::Ipv4Addr::from(n).into();
            assert!(
                refusals
                    .note(at(0), from, "x", RefusalReason::Malformed)
                    .is_some()
            );
        }
        let list = refusals.list();
        assert_eq!(list.len(), REFUSALS_MAX);
        let last = std::net::Ipv4Addr::from(2 * REFUSALS_MAX as u32 - 1);
        assert_eq!(list[0].address, IpAddr::from(last));
        // The addresses of a /64 are counted as one.
        for host in ["2001:db8::1", "2001:db8::2"] {
            let from = host.parse().expect("an address");
            refusals.note(at(0), from, "x", RefusalReason::Malformed);
        }
        assert_eq!(refusals.list()[0].count(), 2);
    }

    #[test]
    fn a_row_counts_each_reason() {
        let mut refusals = RefusedLogins::default();
        let from = "192.0.2.7".parse().expect("an address");
        for reason in [
            RefusalReason::UnknownUser,
            RefusalReason::Names,
            RefusalReason::UnknownUser,
        ] {
            refusals.note(at(0), from, "bob", reason);
        }
        let list = refusals.list();
        let reasons: Vec<_> = list[0].reasons().collect();
        assert_eq!(
            reasons,
            [(RefusalReason::UnknownUser, 2), (RefusalReason::Names, 1)]
        );
        assert_eq!(list[0].count(), 3);
    }

    #[test]
    fn reasons_are_in_the_order_of_their_counts() {
        for (place, reason) in RefusalReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }
}
