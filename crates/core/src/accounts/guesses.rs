//! Counts of wrong passwords, beyond which passwords are not looked at for a while.

use std::net::IpAddr;

use crate::accounts::ban::network_of;
use crate::accounts::offences::Offences;
use crate::limits::{GUESS_MS, GUESSES_MAX, GUESSES_OF_ACCOUNT_MAX};

/// Counts wrong admin passwords by address. Beyond [`GUESSES_MAX`] an address may go on mining, but its admin
/// logins are refused.
#[derive(Default)]
pub(crate) struct AdminGuesses(Offences<IpAddr, GUESS_MS>);

impl AdminGuesses {
    /// True if an admin password from the address is still checked.
    pub(crate) fn may_guess(&mut self, address: IpAddr, now_ms: u64) -> bool {
        self.0.count(&network_of(address), now_ms) < GUESSES_MAX
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

/// Counts refused sign-ins by address, and by name, known or not: an attacker has many addresses, but the account
/// that he wants is one.
#[derive(Default)]
pub(crate) struct SignInGuesses {
    by_address: Offences<IpAddr, GUESS_MS>,
    by_name: Offences<Box<str>, GUESS_MS>,
}

/// The state of sign-ins to an account from an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guessing {
    /// Passwords are checked.
    Allowed,
    /// The address has guessed too often.
    Address,
    /// The account was guessed at too often: passwords are checked only for an address that mines for it.
    Account,
}

impl SignInGuesses {
    pub(crate) fn state(&mut self, address: IpAddr, name: &str, now_ms: u64) -> Guessing {
        if self.by_address.count(&network_of(address), now_ms) >= GUESSES_MAX {
            return Guessing::Address;
        }
        match self.by_name.count(&name.into(), now_ms) {
            count if count >= GUESSES_OF_ACCOUNT_MAX => Guessing::Account,
            _ => Guessing::Allowed,
        }
    }

    /// Counts a refused one.
    pub(crate) fn guessed(&mut self, address: IpAddr, name: &str, now_ms: u64) {
        self.by_address.add(network_of(address), now_ms);
        self.by_name.add(name.into(), now_ms);
    }

    /// Counts of remembered addresses and names.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.by_address.len(), self.by_name.len())
    }
}
