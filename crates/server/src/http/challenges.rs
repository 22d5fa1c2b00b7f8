//! Challenges: texts that whoever owns an address signs to sign in, or to be paid at another address.
//!
//! A challenge is computed and not kept, so that strangers fill nothing: it is the address's for some minutes, names this
//! server and its network, and is worth nothing once it has served.

use std::collections::HashMap;

use hstratum_core::units::hex;
use parking_lot::Mutex;
use ring::hmac;

use crate::limits::CHALLENGE_S;

/// The challenges of one server.
pub(crate) struct Challenges {
    /// Random, of this process.
    key: hmac::Key,
    /// How often an address has signed within a period, and which.
    used: Mutex<HashMap<(String, u64), u64>>,
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose<'a> {
    /// Sign in.
    SignIn,
    /// Be paid at this address from some time on, in its one spelling.
    PayTo(&'a str),
}

/// A text to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// In its one spelling.
    pub address: String,
    period: u64,
    uses: u64,
    /// The text.
    pub text: String,
}

impl Challenges {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            used: Mutex::default(),
        })
    }

    /// The challenges of an address that may be signed now at this host, newest first.
    pub(crate) fn of(
        &self,
        purpose: Purpose<'_>,
        address: &str,
        host: &str,
        network: &str,
        unix_s: u64,
    ) -> [Challenge; 2] {
        let text = match purpose {
            Purpose::SignIn => format!("Sign in to {host} (hstratum, {network}) as {address}"),
            Purpose::PayTo(other) => {
                format!("Have {host} (hstratum, {network}) pay {address} at {other}")
            }
        };
        let now = unix_s / CHALLENGE_S;
        [now, now.saturating_sub(1)].map(|period| {
            let key = (address.to_owned(), period);
            let uses = self.used.lock().get(&key).copied().unwrap_or(0);
            let secret = format!("{text} {period} {uses}");
            let nonce = hmac::sign(&self.key, secret.as_bytes());
            let nonce = hex(&nonce.as_ref()[..16]);
            Challenge {
                text: format!("{text}: {nonce}"),
                address: key.0,
                period,
                uses,
            }
        })
    }

    /// Uses one up; false if somebody was faster.
    pub(crate) fn take(&self, challenge: Challenge, unix_s: u64) -> bool {
        let oldest = (unix_s / CHALLENGE_S).saturating_sub(1);
        let mut used = self.used.lock();
        used.retain(|(_, period), _| *period >= oldest);
        let uses = used
            .entry((challenge.address, challenge.period))
            .or_default();
        let is_fresh = *uses == challenge.uses;
        *uses += u64::from(is_fresh);
        is_fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 100 * CHALLENGE_S;

    fn texts(challenges: &Challenges, address: &str, unix_s: u64) -> [String; 2] {
        let all = challenges.of(Purpose::SignIn, address, "pool.example", "main", unix_s);
        all.map(|one| one.text)
    }

    #[test]
    fn challenge_is_the_addresses_for_a_while_and_for_one_use() {
        let challenges = Challenges::new().expect("random bytes");
        let first = texts(&challenges, "hs1a", NOW);
        assert_eq!(first, texts(&challenges, "hs1a", NOW + CHALLENGE_S - 1));
        assert_eq!(first[0], texts(&challenges, "hs1a", NOW + CHALLENGE_S)[1]);
        let late = texts(&challenges, "hs1a", NOW + 2 * CHALLENGE_S);
        assert!(!late.contains(&first[0]));

        let [newest, before] = challenges.of(Purpose::SignIn, "hs1a", "pool.example", "main", NOW);
        assert!(challenges.take(newest.clone(), NOW));
        assert!(!challenges.take(newest.clone(), NOW), "once");
        assert!(challenges.take(before, NOW));
        assert_ne!(texts(&challenges, "hs1a", NOW)[0], newest.text);
        // Nothing is kept of periods that are over.
        let [other, _] = challenges.of(
            Purpose::SignIn,
            "hs1b",
            "pool.example",
            "main",
            NOW + 5 * CHALLENGE_S,
        );
        assert!(challenges.take(other, NOW + 5 * CHALLENGE_S));
        assert_eq!(challenges.used.lock().len(), 1);
    }

    #[test]
    fn challenge_is_of_one_purpose_address_host_network_and_server() {
        let challenges = Challenges::new().expect("random bytes");
        let other = Challenges::new().expect("random bytes");
        let text = |challenges: &Challenges, address, host, network| {
            let [newest, _] = challenges.of(Purpose::SignIn, address, host, network, NOW);
            newest.text
        };
        let pay_to = |other| {
            let purpose = Purpose::PayTo(other);
            let [newest, _] = challenges.of(purpose, "hs1a", "pool.example", "main", NOW);
            newest.text
        };
        let own = text(&challenges, "hs1a", "pool.example", "main");
        assert!(
            pay_to("hs1b").starts_with("Have pool.example (hstratum, main) pay hs1a at hs1b: ")
        );
        let nonce = |text: &str| text.rsplit(' ').next().expect("a nonce").to_owned();
        for another in [
            text(&challenges, "hs1b", "pool.example", "main"),
            text(&challenges, "hs1a", "pool.test", "main"),
            text(&challenges, "hs1a", "pool.example", "regtest"),
            text(&other, "hs1a", "pool.example", "main"),
            pay_to("hs1b"),
            pay_to("hs1c"),
        ] {
            assert_ne!(nonce(&own), nonce(&another), "{another}");
        }
        assert_ne!(nonce(&pay_to("hs1b")), nonce(&pay_to("hs1c")));
    }
}
