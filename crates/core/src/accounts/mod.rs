//! Maps names on the wire to accounts, and decides who may log in.
//!
//! A name on the wire is an account or `account.worker`. Credit belongs to the account. Argon2id
//! passwords are not checked here, since that takes milliseconds: [`Login::Ask`] leaves them to the
//! caller.

pub mod ban;
pub mod password;
pub mod proxy_secret;
pub mod refused_logins;

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::accounts::password::StoredPassword;
use crate::accounts::refused_logins::RefusalReason;
use crate::chain::address::{Address, Network};
use crate::limits::NAME_BYTES_MAX;

/// The account that the `admin-password` option creates.
pub const ADMIN: &str = "admin";

/// The rule for who may mine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Known accounts only.
    Users,
    /// Any name; a known account needs its password.
    Open,
    /// The account is a payable Handshake address of this network.
    Address,
}

impl Auth {
    const ALL: [Self; 3] = [Self::Users, Self::Open, Self::Address];

    /// The mode of that name; `None` for any other name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|auth| auth.name() == name)
    }

    /// The name in the option.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Open => "open",
            Self::Address => "address",
        }
    }
}

/// A name without its control characters; `None` if nothing is left, or more than [`NAME_BYTES_MAX`].
pub fn clean_name(raw: &str) -> Option<String> {
    let name: String = raw.chars().filter(|c| !c.is_control()).collect();
    (1..=NAME_BYTES_MAX).contains(&name.len()).then_some(name)
}

/// A name split into account and worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The whole name, cleaned.
    pub name: Box<str>,
    /// The account that earns the credit.
    pub account: Arc<str>,
    /// The worker part, if the name has one.
    pub worker: Option<Box<str>>,
}

/// Addresses that accounts are paid at, of those that have one beside their name.
pub type PayoutAddresses = HashMap<Box<str>, Address>;

/// The answer to a name and a password.
#[derive(Debug, PartialEq, Eq)]
pub enum Login {
    /// The user may mine.
    Yes(User),
    /// The user may not mine.
    No,
    /// The password hasher must decide if the password is this stored one.
    Ask(User, StoredPassword),
}

/// The known accounts: their passwords, and the rule for all other names.
pub struct Accounts {
    auth: Auth,
    network: Network,
    /// Key of the digests of verified passwords, so that they are worth nothing outside this process.
    secret: [u8; 32],
    known: HashMap<Arc<str>, Account>,
}

struct Account {
    password: StoredPassword,
    /// Digest of the password that was last found right, so that the slow hash is computed once.
    verified: Option<[u8; 32]>,
}

impl Accounts {
    /// Starts without accounts; `secret` is random.
    pub fn new(auth: Auth, network: Network, secret: [u8; 32]) -> Self {
        Self {
            auth,
            network,
            secret,
            known: HashMap::new(),
        }
    }

    /// True if `name` is a known account.
    pub fn contains(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    /// The stored password of a known account.
    pub fn password(&self, account: &str) -> Option<&StoredPassword> {
        self.known.get(account).map(|known| &known.password)
    }

    /// The accounts whose name has this text in it, in whatever case of ASCII letters, ordered by name, and whether they
    /// are disabled.
    pub fn search(&self, text: &str) -> Vec<(&Arc<str>, bool)> {
        let text = text.as_bytes();
        let has = |name: &str| {
            let mut places = name.as_bytes().windows(text.len().max(1));
            text.is_empty() || places.any(|place| place.eq_ignore_ascii_case(text))
        };
        let found = self.known.iter().filter(|(name, _)| has(name));
        let mut found: Vec<_> = found
            .map(|(name, account)| (name, account.password.is_locked()))
            .collect();
        found.sort_unstable();
        found
    }

    /// True if the account's password is still stored in the old form, which is no longer written.
    pub fn is_of_old_kind(&self, account: &str) -> bool {
        let account = self.known.get(account);
        account.is_some_and(|a| matches!(a.password, StoredPassword::Hash256(_)))
    }

    /// Adds an account, or replaces its password.
    pub fn insert(&mut self, name: &str, password: StoredPassword) {
        let account = Account {
            password,
            verified: None,
        };
        self.known.insert(name.into(), account);
    }

    /// Forgets an account.
    pub fn remove(&mut self, name: &str) {
        self.known.remove(name);
    }

    /// Splits a cleaned name into account and worker. The account is the longest known one that the name
    /// begins with, followed by a dot, or by an underscore if the account has a dot itself, since a
    /// Goldshell appends `_SERIAL` to such a name. Without a known account it is the part before the
    /// first dot.
    pub fn user(&self, name: &str) -> User {
        let (account, worker) = self.split(name);
        let worker = worker.filter(|worker| !worker.is_empty()).map(Into::into);
        let account = match self.known.get_key_value(account) {
            Some((known, _)) => known.clone(),
            None => self.one_spelling(account).map_or_else(
                || account.into(),
                |text| {
                    let known = self.known.get_key_value(&*text);
                    known.map_or_else(|| text.into(), |(known, _)| known.clone())
                },
            ),
        };
        User {
            name: name.into(),
            account,
            worker,
        }
    }

    fn split<'a>(&self, name: &'a str) -> (&'a str, Option<&'a str>) {
        if self.contains(name) {
            return (name, None);
        }
        let ends = name.rmatch_indices(['.', '_']);
        let mut parts = ends.map(|(at, end)| (&name[..at], end, &name[at + 1..]));
        let known = parts.find(|(account, end, _)| {
            self.contains(account) && (*end == "." || account.contains('.'))
        });
        if let Some((account, _, worker)) = known {
            return (account, Some(worker));
        }
        match name.split_once('.') {
            Some((account, worker)) if !account.is_empty() => (account, Some(worker)),
            _ => (name, None),
        }
    }

    /// The one spelling of a payable address: an address in capitals is the same account. `None` if the
    /// account is not such an address.
    pub(crate) fn one_spelling(&self, account: &str) -> Option<String> {
        let address = Address::parse_payable(account, self.network)?;
        Some(address.encode(self.network))
    }

    /// Judges a cleaned name and a password.
    pub fn login(&self, name: &str, password: &str) -> Login {
        let user = self.user(name);
        let Some(account) = self.known.get(&user.account) else {
            let open = self.may_mine(&user.account);
            return if open { Login::Yes(user) } else { Login::No };
        };
        match account.password.matches_hash256(password) {
            Some(true) => Login::Yes(user),
            Some(false) => Login::No,
            None if account.was_verified(&self.digest(password)) => Login::Yes(user),
            None => Login::Ask(user, account.password.clone()),
        }
    }

    /// True if the account may mine once its password is right: it is known and not disabled, or needs no
    /// password.
    pub fn may_mine(&self, account: &str) -> bool {
        match (self.known.get(account), self.auth) {
            (Some(known), _) => !known.password.is_locked(),
            (None, Auth::Users) => false,
            (None, Auth::Open) => true,
            (None, Auth::Address) => self.one_spelling(account).is_some(),
        }
    }

    /// The reason of a refusal, for a cleaned name that was refused.
    pub(crate) fn why_refused(&self, name: &str) -> RefusalReason {
        match (self.known.get(&self.user(name).account), self.auth) {
            (Some(known), _) if known.password.is_locked() => RefusalReason::Disabled,
            (Some(_), _) => RefusalReason::WrongPassword,
            (None, Auth::Address) => RefusalReason::NoAddress,
            (None, _) => RefusalReason::UnknownUser,
        }
    }

    /// Remembers that `password` was verified as the account's.
    pub fn verified(&mut self, account: &str, password: &str) {
        let digest = self.digest(password);
        if let Some(account) = self.known.get_mut(account) {
            account.verified = Some(digest);
        }
    }

    fn digest(&self, password: &str) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.secret)
            .chain_update(password.as_bytes())
            .finalize()
            .into()
    }
}

impl Account {
    fn was_verified(&self, digest: &[u8; 32]) -> bool {
        self.verified
            .is_some_and(|verified| verified.ct_eq(digest).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::password::hash256;

    fn accounts(auth: Auth) -> Accounts {
        let mut accounts = Accounts::new(auth, Network::Regtest, [7; 32]);
        accounts.insert("alice", StoredPassword::Hash256(hash256(b"pw")));
        accounts.insert("b.c", StoredPassword::Hash256(hash256(b"pw")));
        accounts.insert("al@ex.org", StoredPassword::Hash256(hash256(b"pw")));
        accounts
    }

    #[test]
    fn the_longest_known_account_that_begins_a_name_is_meant() {
        let accounts = accounts(Auth::Open);
        for (name, account, worker) in [
            ("alice", "alice", None),
            ("alice.rig", "alice", Some("rig")),
            ("alice.rig.2", "alice", Some("rig.2")),
            ("alice.", "alice", None),
            ("b.c", "b.c", None),
            ("b.d", "b", Some("d")),
            (".x", ".x", None),
            ("al@ex.org", "al@ex.org", None),
            ("al@ex.org.rig1", "al@ex.org", Some("rig1")),
            ("al@ex.org.rig.2", "al@ex.org", Some("rig.2")),
            ("al@ex.org_H1FAKE", "al@ex.org", Some("H1FAKE")),
            ("al@ex.org.rig_H1FAKE", "al@ex.org", Some("rig_H1FAKE")),
            ("al@ex.organic", "al@ex", Some("organic")),
            ("alice_2", "alice_2", None),
            ("alice_2.rig", "alice_2", Some("rig")),
        ] {
            let user = accounts.user(name);
            assert_eq!((&*user.account, user.worker.as_deref()), (account, worker));
        }
    }

    #[test]
    fn names_lose_control_characters_and_nothing_else() {
        assert_eq!(
            clean_name("a\tl\u{7}i ce\u{85}é").as_deref(),
            Some("ali ceé")
        );
        assert_eq!(clean_name("\t\n"), None);
        assert_eq!(clean_name(&"x".repeat(NAME_BYTES_MAX + 1)), None);
    }

    #[test]
    fn a_known_account_needs_its_password_in_every_mode() {
        for auth in [Auth::Users, Auth::Open, Auth::Address] {
            let accounts = accounts(auth);
            assert!(matches!(accounts.login("alice.rig", "pw"), Login::Yes(_)));
            assert_eq!(accounts.login("alice.rig", "no"), Login::No);
        }
    }

    #[test]
    fn an_unknown_account_is_judged_by_the_mode() {
        let address = "rs1qhmgjemz69l0hnkv8st2ahkrld9w45xrjztms54.rig";
        let main = "hs1qeqj7ltuelujxtrh0m88ccwzfndwf8798n3wkwy";
        let later = Address::new(1, vec![7; 32]).expect("an address");
        let unpayable = later.encode(Network::Regtest);
        for (auth, name, yes) in [
            (Auth::Users, "bob", false),
            (Auth::Open, "bob", true),
            (Auth::Address, "bob", false),
            (Auth::Address, address, true),
            (Auth::Address, &address.to_uppercase(), true),
            (Auth::Address, main, false),
            (Auth::Address, &unpayable, false),
        ] {
            let login = accounts(auth).login(name, "");
            assert_eq!(matches!(login, Login::Yes(_)), yes, "{auth:?} {name}");
        }
    }

    #[test]
    fn an_address_in_capitals_is_the_same_account() {
        let address = "rs1qhmgjemz69l0hnkv8st2ahkrld9w45xrjztms54";
        for auth in [Auth::Open, Auth::Address] {
            let mut accounts = accounts(auth);
            let upper = accounts.user(&format!("{}.rig", address.to_uppercase()));
            assert_eq!(
                (&*upper.account, upper.worker.as_deref()),
                (address, Some("rig"))
            );
            accounts.insert(address, StoredPassword::Hash256(hash256(b"pw")));
            assert_eq!(accounts.login(&address.to_uppercase(), "no"), Login::No);
        }
    }

    #[test]
    fn a_slow_password_is_asked_for_once() {
        let mut accounts = accounts(Auth::Users);
        accounts.insert("carol", StoredPassword::Argon2id("$argon2id$x".into()));
        assert!(matches!(accounts.login("carol", "pw"), Login::Ask(..)));
        accounts.verified("carol", "pw");
        assert!(matches!(accounts.login("carol", "pw"), Login::Yes(_)));
        assert!(matches!(accounts.login("carol", "other"), Login::Ask(..)));
    }
}
