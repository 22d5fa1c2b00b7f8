//! Hashes and verifies passwords: milliseconds of time and megabytes of memory each, so never on the pool's
//! thread.

use anyhow::{Context, anyhow};
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use hstratum_core::accounts::password::StoredPassword;

/// Memory for one hash, in KiB; small, since ten thousand miners may come back at once after a network fault,
/// each with a password to check.
const MEMORY_KIB: u32 = 4096;
const PASSES: u32 = 1;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;

/// Greatest cost of a stored hash that is still checked: the file is the operator's, but a failed allocation
/// would abort the node's process.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;

/// Hashes a password with argon2id and a fresh salt.
///
/// # Errors
///
/// When the system has no random bytes.
pub fn hash(password: &str) -> anyhow::Result<StoredPassword> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).context("failed to get random bytes for a salt")?;
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are within its limits");
    let phc: PasswordHash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| anyhow!("failed to hash a password: {error}"))?;
    Ok(StoredPassword::Argon2id(phc.to_string()))
}

/// True if `password` is the one stored. A damaged or absurdly expensive hash matches nothing.
pub fn verify(stored: &StoredPassword, password: &str) -> bool {
    match stored {
        StoredPassword::Hash256(_) => stored.matches_hash256(password) == Some(true),
        StoredPassword::Argon2id(phc) => verify_argon2id(phc, password),
        StoredPassword::Locked(_) => false,
    }
}

fn verify_argon2id(phc: &str, password: &str) -> bool {
    let Ok(hash) = PasswordHash::new(phc) else {
        return false;
    };
    let affordable = Params::try_from(&hash)
        .is_ok_and(|params| params.m_cost() <= MEMORY_KIB_MAX && params.t_cost() <= PASSES_MAX);
    affordable
        && Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_verifies_its_own_password_only() {
        let stored = hash("pässwörd").expect("hashed");
        assert!(verify(&stored, "pässwörd"));
        assert!(!verify(&stored, "password"));
        assert!(!verify(&stored, ""));
    }

    #[test]
    fn hash_is_salted_and_states_its_cost() {
        let first = hash("x").expect("hashed").to_text();
        let second = hash("x").expect("hashed").to_text();
        assert_ne!(first, second);
        assert!(
            first.starts_with("$argon2id$v=19$m=4096,t=1,p=1$"),
            "{first}"
        );
        assert_eq!(
            StoredPassword::parse(&first).expect("parsed").to_text(),
            first
        );
    }

    #[test]
    fn old_hash_still_verifies() {
        let hex = "9056335d0eae5afd8e32e69d53b6ddb5eabc5006f4030c1f8a8a346460e810a0";
        let stored = StoredPassword::parse(hex).expect("parsed");
        assert!(verify(&stored, "admin-pass"));
        assert!(!verify(&stored, "admin"));
    }

    #[test]
    fn damaged_or_unaffordable_hash_matches_nothing() {
        let whole = hash("x").expect("hashed").to_text();
        for phc in [
            "$argon2id$".to_owned(),
            whole[..whole.len() - 4].to_owned(),
            whole.replace("m=4096", "m=1073741824"),
            whole.replace("t=1", "t=4000000000"),
        ] {
            assert!(
                !verify(&StoredPassword::Argon2id(phc.clone()), "x"),
                "{phc}"
            );
        }
    }
}
