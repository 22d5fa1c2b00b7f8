//! Sign-ins that are not in the ledger yet: by account, so that whoever signs in and signs in takes no place of others.

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;

use crate::contacts::event::{AlertEvent, Noted};
use crate::limits::{ALERTS_NOTED_MAX, SIGN_INS_NOTED_MAX};

/// The sign-ins of this server since the last look.
#[derive(Default)]
pub(super) struct SignIns(Mutex<HashMap<String, Vec<(i64, IpAddr)>>>);

impl SignIns {
    /// Notes one. Of those of an account from one address the last counts.
    pub(super) fn note(&self, account: &str, at: i64, from: IpAddr) {
        let mut all = self.0.lock();
        if all.len() >= ALERTS_NOTED_MAX && !all.contains_key(account) {
            return;
        }
        let own = all.entry(account.to_owned()).or_default();
        if let Some(known) = own.iter_mut().find(|(_, known)| *known == from) {
            known.0 = at;
        } else if own.len() < SIGN_INS_NOTED_MAX {
            own.push((at, from));
        }
    }

    /// Takes all.
    pub(super) fn take(&self) -> Vec<Noted> {
        let all = std::mem::take(&mut *self.0.lock());
        let each = all.into_iter().flat_map(|(account, own)| {
            own.into_iter()
                .map(move |(at, from)| (account.clone(), at, AlertEvent::SignIn { from }))
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_signs_in_and_signs_in_takes_no_place_of_others() {
        let sign_ins = SignIns::default();
        let from = |number: u32| IpAddr::from(number.to_be_bytes());
        for at in 0..100 {
            sign_ins.note("bob", at, from(1));
        }
        for number in 0..100 {
            sign_ins.note("carol", 7, from(number));
        }
        sign_ins.note("alice", 8, from(3));
        let noted = sign_ins.take();
        let of = |account: &str| noted.iter().filter(|(name, ..)| name == account).count();
        assert_eq!(
            ["bob", "carol", "alice"].map(of),
            [1, SIGN_INS_NOTED_MAX, 1]
        );
        let bobs = noted.iter().find(|(name, ..)| name == "bob");
        assert_eq!(bobs.map(|(_, at, _)| *at), Some(99));
        assert!(sign_ins.take().is_empty());
    }
}
