//! Offences counted by whoever commits them, for a limited time and of a limited number.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use crate::limits::OFFENDERS_MAX;

/// The offences of one.
pub(crate) struct Offence {
    pub count: u32,
    pub since_ms: u64,
}

/// Offences by address or name, each for `KEPT_MS` from the first one. Beyond [`OFFENDERS_MAX`] the oldest is
/// forgotten.
pub(crate) struct Offences<K, const KEPT_MS: u64> {
    by_key: HashMap<K, Offence>,
    /// The same keys, oldest first.
    order: VecDeque<K>,
}

impl<K, const KEPT_MS: u64> Default for Offences<K, KEPT_MS> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Hash + Eq + Clone, const KEPT_MS: u64> Offences<K, KEPT_MS> {
    /// Adds one; returns the count.
    pub(crate) fn add(&mut self, key: K, now_ms: u64) -> u32 {
        self.forget_old(now_ms);
        if !self.by_key.contains_key(&key) {
            if self.order.len() == OFFENDERS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_key.remove(&oldest);
            }
            self.order.push_back(key.clone());
        }
        let offence = self.by_key.entry(key).or_insert(Offence {
            count: 0,
            since_ms: now_ms,
        });
        offence.count += 1;
        offence.count
    }

    pub(crate) fn count(&mut self, key: &K, now_ms: u64) -> u32 {
        self.forget_old(now_ms);
        self.by_key.get(key).map_or(0, |one| one.count)
    }

    pub(crate) fn forget(&mut self, key: &K) {
        if self.by_key.remove(key).is_some() {
            self.order.retain(|old| old != key);
        }
    }

    /// The keys with their offences, oldest first.
    pub(crate) fn list(&self) -> impl Iterator<Item = (&K, &Offence)> {
        let keys = self.order.iter();
        keys.map(|key| (key, &self.by_key[key]))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len().max(self.order.len())
    }

    pub(crate) fn forget_old(&mut self, now_ms: u64) {
        while let Some(key) = self.order.front()
            && let Some(offence) = self.by_key.get(key)
            && now_ms.saturating_sub(offence.since_ms) >= KEPT_MS
        {
            self.by_key.remove(key);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let mut offences = Offences::<usize, 1_000>::default();
        for n in 0..OFFENDERS_MAX + 10 {
            offences.add(n, 0);
        }
        assert_eq!(offences.by_key.len(), OFFENDERS_MAX);
        assert_eq!(offences.order.len(), OFFENDERS_MAX);
    }
}
