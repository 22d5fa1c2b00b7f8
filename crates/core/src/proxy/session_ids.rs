//! Session ids, which are extranonce1 as well: unique over all miners of all proxies, and unguessable.
//!
//! The first byte is the proxy's own prefix; the rest is a counter through a keyed permutation of 24
//! bits.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

const HALF_BITS: u32 = 12;
const HALF_MASK: u32 = (1 << HALF_BITS) - 1;
const COUNTER_MASK: u32 = (1 << (2 * HALF_BITS)) - 1;
/// Four rounds make a permutation that cannot be told from a random one; two more cost nothing.
const ROUNDS: u8 = 6;

/// Assigns ids and knows those in use.
pub(crate) struct SessionIds {
    prefix: u8,
    key: [u8; 32],
    counter: u32,
    in_use: HashSet<u32>,
}

impl SessionIds {
    /// Starts with no id in use; `key` is random.
    pub(crate) fn new(prefix: u8, key: [u8; 32]) -> Self {
        Self {
            prefix,
            key,
            counter: 0,
            in_use: HashSet::new(),
        }
    }

    /// The wanted id, unless a miner has it; else a fresh one.
    pub(crate) fn deal(&mut self, wanted: Option<u32>) -> u32 {
        if let Some(id) = wanted
            && self.in_use.insert(id)
        {
            return id;
        }
        assert!(
            self.in_use.len() < COUNTER_MASK as usize,
            "connections are fewer than ids"
        );
        loop {
            let id = u32::from(self.prefix) << (2 * HALF_BITS) | self.permute(self.counter);
            self.counter = (self.counter + 1) & COUNTER_MASK;
            if self.in_use.insert(id) {
                return id;
            }
        }
    }

    /// Marks an id assigned by a server as in use. It is harmless if two servers have assigned the same.
    pub(crate) fn take(&mut self, id: u32) {
        self.in_use.insert(id);
    }

    /// Count of ids in use.
    pub(crate) fn len(&self) -> usize {
        self.in_use.len()
    }

    /// Frees an id.
    pub(crate) fn free(&mut self, id: u32) {
        self.in_use.remove(&id);
    }

    /// A Feistel network, which is a permutation whatever its round function computes.
    fn permute(&self, number: u32) -> u32 {
        let (mut left, mut right) = (number >> HALF_BITS & HALF_MASK, number & HALF_MASK);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.half(round, right));
        }
        left << HALF_BITS | right
    }

    fn half(&self, round: u8, half: u32) -> u32 {
        let digest = Sha256::new()
            .chain_update(self.key)
            .chain_update([round])
            .chain_update(half.to_be_bytes())
            .finalize();
        u32::from(u16::from_be_bytes([digest[0], digest[1]])) & HALF_MASK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_under_the_prefix_and_never_twice() {
        let mut ids = SessionIds::new(0x01, [7; 32]);
        let mut seen = HashSet::new();
        for _ in 0..20_000 {
            let id = ids.deal(None);
            assert_eq!(id >> 24, 0x01);
            assert!(seen.insert(id));
        }
    }

    #[test]
    fn the_permutation_reaches_every_number_once() {
        let ids = SessionIds::new(0x01, [3; 32]);
        let mut seen = vec![false; 1 << 16];
        // All numbers whose images are below 2^16, found in a quarter of a second.
        let images = (0..1 << 18).map(|number| ids.permute(number));
        for image in images.filter(|&image| image < 1 << 16) {
            assert!(!std::mem::replace(&mut seen[image as usize], true));
        }
        let hits = seen.iter().filter(|&&hit| hit).count();
        assert!((900..1150).contains(&hits), "{hits}: as random as that");
    }

    #[test]
    fn another_key_deals_other_ids() {
        let deal = |key| {
            let mut ids = SessionIds::new(0x02, key);
            [ids.deal(None), ids.deal(None), ids.deal(None)]
        };
        assert_ne!(deal([1; 32]), deal([2; 32]));
    }

    #[test]
    fn an_id_in_use_is_never_taken_over() {
        let mut ids = SessionIds::new(0x01, [7; 32]);
        assert_eq!(ids.deal(Some(5)), 5);
        let other = ids.deal(Some(5));
        assert_ne!(other, 5);
        ids.free(5);
        assert_eq!(ids.deal(Some(5)), 5);
    }
}
