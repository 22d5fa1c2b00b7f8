//! Stored forms of a password: the old one (double SHA-256) and the new one (argon2id).
//!
//! Parses both forms and checks the old one, which takes no time. Argon2id takes milliseconds and memory,
//! so hashing and checking it is left to the server's worker threads.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::units::{Hash, hex};

/// Bytes of the longest PHC string that is accepted.
pub const PHC_BYTES_MAX: usize = 256;

const ARGON2ID_PREFIX: &str = "$argon2id$";

/// A password as `users.json` stores it.
#[derive(Clone, PartialEq, Eq)]
pub enum StoredPassword {
    /// Double SHA-256 without salt, as in the files of the JavaScript hstratum.
    Hash256([u8; 32]),
    /// A PHC string that begins `$argon2id$`.
    Argon2id(String),
    /// The password of a disabled account: it is kept, and no password matches it.
    Locked(Box<Self>),
}

impl StoredPassword {
    /// Reads 64 hex digits or an argon2id PHC string of printable ASCII.
    ///
    /// The inside of the PHC string is not checked: a damaged one matches no password.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with(ARGON2ID_PREFIX) {
            let fits = text.len() <= PHC_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic());
            return fits.then(|| Self::Argon2id(text.to_owned()));
        }
        Hash::from_hex(text).map(|hash| Self::Hash256(hash.0))
    }

    /// The text that [`StoredPassword::parse`] reads back. It does not show if the password is locked.
    pub fn to_text(&self) -> String {
        match self {
            Self::Hash256(hash) => hex(hash),
            Self::Argon2id(phc) => phc.clone(),
            Self::Locked(inner) => inner.to_text(),
        }
    }

    /// `Some(true)` if `password` is the stored one, compared in constant time; `None` for argon2id,
    /// which is not checked here.
    pub fn matches_hash256(&self, password: &str) -> Option<bool> {
        match self {
            Self::Hash256(hash) => Some(hash256(password.as_bytes()).ct_eq(hash).into()),
            Self::Argon2id(_) => None,
            Self::Locked(_) => Some(false),
        }
    }

    /// True if the account is disabled.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked(_))
    }

    /// The same password, for a disabled account.
    #[must_use]
    pub fn locked(self) -> Self {
        match self {
            Self::Locked(_) => self,
            open => Self::Locked(Box::new(open)),
        }
    }

    /// The same password, for an account that is not disabled.
    #[must_use]
    pub fn unlocked(self) -> Self {
        match self {
            Self::Locked(inner) => *inner,
            open => open,
        }
    }
}

/// Shows the kind only: a stored password does not belong in a log.
impl fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hash256(_) => "Hash256(…)",
            Self::Argon2id(_) => "Argon2id(…)",
            Self::Locked(_) => "Locked(…)",
        })
    }
}

/// Double SHA-256 (`bcrypto lib/hash256.js, digest`).
pub fn hash256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    // From bcrypto: hash256.digest(Buffer.from(password, 'utf8')).toString('hex').
    const VECTORS: [(&str, &str); 3] = [
        (
            "admin-pass",
            "9056335d0eae5afd8e32e69d53b6ddb5eabc5006f4030c1f8a8a346460e810a0",
        ),
        (
            "",
            "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456",
        ),
        (
            "pässwörd",
            "e2cd1a228188f0703ba30ffe5e1bc013f0ae431d6213e97a9d2b42f78079ceab",
        ),
    ];

    #[test]
    fn hash256_is_the_ancestors() {
        for (password, hex) in VECTORS {
            let stored = StoredPassword::parse(hex).expect("64 hex digits");
            assert_eq!(
                stored,
                StoredPassword::Hash256(hash256(password.as_bytes()))
            );
            assert_eq!(stored.to_text(), hex);
            assert_eq!(stored.matches_hash256(password), Some(true));
            assert_eq!(stored.matches_hash256("another"), Some(false));
        }
    }

    #[test]
    fn upper_case_hex_is_read_and_written_lower_case() {
        let hex = VECTORS[0].1;
        let stored = StoredPassword::parse(&hex.to_uppercase()).expect("64 hex digits");
        assert_eq!(stored.to_text(), hex);
    }

    #[test]
    fn argon2id_text_is_kept_as_it_is_and_not_judged_here() {
        let phc = "$argon2id$v=19$m=4096,t=1,p=1$c2FsdHNhbHQ$aGFzaA";
        let stored = StoredPassword::parse(phc).expect("a PHC string");
        assert_eq!(stored.to_text(), phc);
        assert_eq!(stored.matches_hash256("x"), None);
    }

    #[test]
    fn anything_else_is_refused() {
        let hex = VECTORS[0].1;
        let long = format!("$argon2id${}", "a".repeat(PHC_BYTES_MAX));
        let wide = "é".repeat(32);
        for text in [
            "",
            "hunter2",
            &hex[1..],
            &format!("{hex}0"),
            &format!("g{}", &hex[1..]),
            &format!("+{}", &hex[1..]),
            wide.as_str(),
            "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA",
            "$argon2id$v=19 m",
            "$argon2id$é",
            &long,
        ] {
            assert_eq!(StoredPassword::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn locked_password_matches_nothing_and_comes_back_as_it_was() {
        let stored = StoredPassword::parse(VECTORS[0].1).expect("64 hex digits");
        let locked = stored.clone().locked().locked();
        assert!(locked.is_locked());
        assert_eq!(locked.matches_hash256(VECTORS[0].0), Some(false));
        assert_eq!(locked.unlocked(), stored);
    }

    #[test]
    fn debug_shows_no_hash() {
        let stored = StoredPassword::parse(VECTORS[0].1).expect("64 hex digits");
        assert_eq!(format!("{stored:?}"), "Hash256(…)");
    }
}
