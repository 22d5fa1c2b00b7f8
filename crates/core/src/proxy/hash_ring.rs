//! Assigns sessions to servers by rendezvous hashing: of the servers that may be chosen, the one whose
//! name gives the greatest hash together with the session's id.
//!
//! So a server that leaves moves only its own sessions, a server that joins takes only the sessions that
//! will be its own, and all proxies with the same key agree.

use sha2::{Digest, Sha256};

/// A hash seed for each server.
pub(crate) struct Ring {
    seeds: Vec<[u8; 32]>,
}

impl Ring {
    /// Makes the seeds from the servers' names. Proxies with the same key agree.
    pub(crate) fn new<'a>(key: &[u8], names: impl IntoIterator<Item = &'a str>) -> Self {
        let seed = |name: &str| {
            Sha256::new()
                .chain_update((key.len() as u64).to_be_bytes())
                .chain_update(key)
                .chain_update(name.as_bytes())
                .finalize()
                .into()
        };
        Self {
            seeds: names.into_iter().map(seed).collect(),
        }
    }

    /// The server that a session belongs to, of those for which `may` is true.
    pub(crate) fn home(&self, session: u32, mut may: impl FnMut(usize) -> bool) -> Option<usize> {
        let places = (0..self.seeds.len()).filter(|&place| may(place));
        places.max_by_key(|&place| self.score(place, session))
    }

    fn score(&self, place: usize, session: u32) -> u64 {
        let digest = Sha256::new()
            .chain_update(self.seeds[place])
            .chain_update(session.to_be_bytes())
            .finalize();
        let (first, _) = digest.split_first_chunk().expect("32 bytes are enough");
        u64::from_be_bytes(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSIONS: u32 = 20_000;

    fn homes(ring: &Ring, without: Option<usize>) -> Vec<usize> {
        (0..SESSIONS)
            .map(|session| {
                let home = ring.home(session, |place| Some(place) != without);
                home.expect("a server is left")
            })
            .collect()
    }

    #[test]
    fn sessions_are_spread_evenly() {
        let ring = Ring::new(b"", ["a:1", "b:1", "c:1", "d:1", "e:1"]);
        let homes = homes(&ring, None);
        for place in 0..5 {
            let count = homes.iter().filter(|&&home| home == place).count();
            assert!((3_800..4_200).contains(&count), "{place}: {count}");
        }
    }

    #[test]
    fn only_the_sessions_of_a_server_that_leaves_move_and_they_spread() {
        let ring = Ring::new(b"k", ["a:1", "b:1", "c:1", "d:1", "e:1"]);
        let (before, after) = (homes(&ring, None), homes(&ring, Some(2)));
        let mut taken = [0; 5];
        for (old, new) in before.iter().zip(&after) {
            if *old == 2 {
                taken[*new] += 1;
            } else {
                assert_eq!(old, new);
            }
        }
        assert_eq!(taken[2], 0);
        for place in [0, 1, 3, 4] {
            assert!((900..1_100).contains(&taken[place]), "{taken:?}");
        }
        assert_eq!(homes(&ring, None), before, "and they come back");
    }

    #[test]
    fn the_order_in_which_servers_are_named_does_not_matter() {
        let (one, other) = (["a:1", "b:1", "c:1"], ["c:1", "a:1", "b:1"]);
        let (first, second) = (Ring::new(b"", one), Ring::new(b"", other));
        for session in 0..1_000 {
            let name = one[first.home(session, |_| true).expect("three")];
            assert_eq!(name, other[second.home(session, |_| true).expect("three")]);
        }
    }

    #[test]
    fn nowhere_is_home_where_no_server_may_be_chosen() {
        assert_eq!(Ring::new(b"", ["a:1"]).home(1, |_| false), None);
    }
}
