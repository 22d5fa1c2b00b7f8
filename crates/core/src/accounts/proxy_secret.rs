//! Admission of a miner through a proxy without another password check: the proxy proves that it knows
//! the secret it shares with the servers, and vouches for a miner that another server has admitted
//! before.
//!
//! The proof is bound to one connection, by a challenge of the server, and to one name with its options,
//! so it cannot be reused elsewhere, later, or for another name.

use std::fmt;

use blake2::Blake2bMac512;
use blake2::digest::{KeyInit, Mac};
use subtle::ConstantTimeEq;

use crate::units::{hex, unhex};

/// Domain separator, so that no other use of the secret can be taken for a proof.
const PURPOSE: &[u8] = b"hstratum.admit 1";
/// Bytes of the MAC that go over the wire.
const PROOF_BYTES: usize = 32;

/// Bytes of a server's challenge.
pub const CHALLENGE_BYTES: usize = 16;

/// The secret that servers and their proxies share. `Debug` hides it, so that no log shows it.
#[derive(Clone)]
pub struct ProxySecret(Blake2bMac512);

impl ProxySecret {
    /// Bytes of the shortest secret that is accepted: a shorter one could be guessed by anyone who sees a
    /// proof.
    pub const BYTES_MIN: usize = 16;
    /// Bytes of the longest secret that is accepted.
    pub const BYTES_MAX: usize = 64;

    /// Makes a secret of 16 to 64 bytes; `None` for any other length.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = (Self::BYTES_MIN..=Self::BYTES_MAX).contains(&text.len());
        let mac = fits.then(|| Blake2bMac512::new_from_slice(text.as_bytes()));
        Some(Self(mac?.ok()?))
    }

    /// The proof that admits `name` with `options` on the connection of `challenge`.
    #[must_use]
    pub fn prove(&self, challenge: &[u8], name: &str, options: &str) -> String {
        hex(&self.proof(challenge, name, options))
    }

    /// True if `proof` is the one for these values; compared in constant time.
    #[must_use]
    pub fn check(&self, challenge: &[u8], name: &str, options: &str, proof: &str) -> bool {
        let Some(given) = unhex(proof) else {
            return false;
        };
        self.proof(challenge, name, options)
            .as_slice()
            .ct_eq(&given)
            .into()
    }

    fn proof(&self, challenge: &[u8], name: &str, options: &str) -> [u8; PROOF_BYTES] {
        let mut mac = self.0.clone();
        for part in [PURPOSE, challenge, name.as_bytes(), options.as_bytes()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let bytes = mac.finalize().into_bytes();
        *bytes.first_chunk().expect("64 bytes are enough")
    }
}

/// Equal if both give the same proofs.
impl PartialEq for ProxySecret {
    fn eq(&self, other: &Self) -> bool {
        self.proof(&[], "", "")
            .ct_eq(&other.proof(&[], "", ""))
            .into()
    }
}

impl fmt::Debug for ProxySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"…\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_for_its_connection_name_and_options_only() {
        let secret = ProxySecret::new("0123456789abcdef").expect("long enough");
        let proof = secret.prove(&[1; 16], "alice.rig", "fd=8");
        let check = |challenge: &[u8], name, options| {
            let other = ProxySecret::new("0123456789abcdeg").expect("long enough");
            assert!(!other.check(challenge, name, options, &proof));
            secret.check(challenge, name, options, &proof)
        };
        assert!(check(&[1; 16], "alice.rig", "fd=8"));
        assert!(!check(&[2; 16], "alice.rig", "fd=8"));
        assert!(!check(&[1; 16], "alice.rigf", "d=8"));
        assert!(!check(&[1; 16], "alice", "fd=8"));
        for proof in ["", "00", "zz", &proof[2..]] {
            assert!(!secret.check(&[1; 16], "alice.rig", "fd=8", proof));
        }
    }

    #[test]
    fn a_secret_is_neither_short_nor_shown() {
        assert!(ProxySecret::new("0123456789abcde").is_none());
        assert!(ProxySecret::new(&"x".repeat(65)).is_none());
        let secret = ProxySecret::new(&"x".repeat(64)).expect("64 bytes");
        assert_eq!(format!("{secret:?}"), "\"…\"");
    }
}
