//! The keys of all accounts in memory, by their digests: a token that is no key costs a hash and a look-up here, and no
//! query. They are read anew when the ledger says that they have changed, wherever that was done; what is changed by this
//! server holds at once. While the ledger is away those read last hold.

use std::collections::HashMap;

use axum::http::StatusCode;
use hstratum_core::units::Hash;
use parking_lot::Mutex;

use super::answer::ApiError;
use crate::account_keys::{self, KeyHolder};

/// All keys.
#[derive(Default)]
pub(crate) struct KnownKeys(Mutex<KeysRead>);

#[derive(Default)]
struct KeysRead {
    /// None before they were read.
    holders: Option<HashMap<Hash, KeyHolder>>,
    mark: ReadMark,
}

/// A state of the keys.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReadMark {
    /// The ledger's number of changes as it was read; none: they are to be read whatever it is.
    pub number: Option<i64>,
    /// Changes told here. What was read before the last one is out of date.
    told: u64,
}

impl KnownKeys {
    /// In whose name a request with that key is.
    pub(crate) fn holder(&self, digest: &Hash) -> Result<KeyHolder, ApiError> {
        let keys = self.0.lock();
        let Some(holders) = &keys.holders else {
            return Err(ApiError::busy("keys are not read yet, try again"));
        };
        holders.get(digest).cloned().ok_or_else(|| {
            let text = "no such key: it was revoked, or is another pool's";
            ApiError(StatusCode::UNAUTHORIZED, text.to_owned())
        })
    }

    /// The state before a reading.
    pub(crate) fn mark(&self) -> ReadMark {
        self.0.lock().mark
    }

    /// Takes what was read since `before`, unless something was told meanwhile: it is read again then.
    pub(crate) fn read(
        &self,
        before: ReadMark,
        number: Option<i64>,
        holders: HashMap<Hash, KeyHolder>,
    ) {
        let mut keys = self.0.lock();
        if keys.mark == before {
            keys.mark.number = number;
            keys.holders = Some(holders);
        }
    }

    /// Adds a key that the ledger has from now on.
    pub(crate) fn add(&self, digest: Hash, holder: KeyHolder) {
        self.0.lock().change(|holders| {
            holders.insert(digest, holder);
        });
    }

    /// Forgets the keys of an account that the ledger has no more: the one with this id, or all.
    pub(crate) fn forget(&self, account: &str, id: Option<&str>) {
        self.0.lock().change(|holders| {
            holders.retain(|digest, holder| {
                let is_it = || id.is_none_or(|id| account_keys::id(digest) == id);
                *holder.account != *account || !is_it()
            });
        });
    }
}

impl KeysRead {
    /// Changes those that were read, until they are read again.
    fn change(&mut self, change: impl FnOnce(&mut HashMap<Hash, KeyHolder>)) {
        self.mark = ReadMark {
            number: None,
            told: self.mark.told + 1,
        };
        if let Some(holders) = &mut self.holders {
            change(holders);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account_keys::KeyRight;

    fn key(number: u8, account: &str) -> (Hash, KeyHolder) {
        let account = account.into();
        let right = KeyRight::Read;
        (Hash([number; 32]), KeyHolder { account, right })
    }

    fn status(keys: &KnownKeys, digest: Hash) -> u16 {
        let found = keys.holder(&digest);
        found.map_or_else(|ApiError(status, _)| status.as_u16(), |_| 200)
    }

    #[test]
    fn what_is_told_while_keys_are_read_outlives_the_reading() {
        let keys = KnownKeys::default();
        let ((a, alices), (b, bobs)) = (key(1, "alice"), key(2, "bob"));
        assert_eq!(status(&keys, a), 503, "before the first reading");
        let all = HashMap::from([(a, alices.clone()), (b, bobs)]);
        keys.read(keys.mark(), Some(7), all.clone());
        assert_eq!(keys.holder(&a).expect("a key"), alices);

        let before = keys.mark();
        keys.forget("alice", None);
        assert_eq!([a, b].map(|one| status(&keys, one)), [401, 200]);
        keys.read(before, Some(8), all);
        assert_eq!([a, b].map(|one| status(&keys, one)), [401, 200]);
        assert_eq!(keys.mark().number, None, "they are read again");

        keys.add(a, alices);
        let id = account_keys::id(&a);
        keys.forget("bob", Some(&id));
        assert_eq!([a, b].map(|one| status(&keys, one)), [200, 200], "hers");
        keys.forget("alice", Some(&id));
        assert_eq!([a, b].map(|one| status(&keys, one)), [401, 200]);
    }
}
