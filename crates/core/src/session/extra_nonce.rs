//! Assigns extranonce1, the first half of the extra nonce: no two open connections have the same.
//!
//! It is the session's id as well. It is no secret and carries no right. A resumed id only brings back
//! the difficulty that its session had, for a while.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::limits::HINT_MS;
use crate::units::{Difficulty, Now};

/// Ids that a server assigns itself begin with 00.
const DEALT_MAX: u32 = 0x00ff_ffff;

/// The extranonce1 values in use, and the difficulties of sessions that ended.
pub(crate) struct ExtraNonces {
    next: u32,
    in_use: HashSet<u32>,
    hints: HashMap<u32, Difficulty>,
    /// Expiry time and id of each hint, oldest first. An id may occur twice.
    hint_order: VecDeque<(u64, u32)>,
    hints_max: usize,
}

impl ExtraNonces {
    /// Starts with no id in use; `seed` is where counting begins.
    pub(crate) fn new(seed: u64, hints_max: usize) -> Self {
        Self {
            next: u32::try_from(seed & u64::from(DEALT_MAX)).expect("24 bits"),
            in_use: HashSet::new(),
            hints: HashMap::new(),
            hint_order: VecDeque::new(),
            hints_max,
        }
    }

    /// The wanted id, with the difficulty remembered for it, unless a connection has it; else a fresh id.
    pub(crate) fn deal(&mut self, wanted: Option<u32>, now: Now) -> (u32, Option<Difficulty>) {
        self.forget_old(now);
        if let Some(id) = wanted
            && self.in_use.insert(id)
        {
            return (id, self.hints.remove(&id));
        }
        loop {
            self.next = (self.next + 1) & DEALT_MAX;
            if self.in_use.insert(self.next) {
                self.hints.remove(&self.next);
                return (self.next, None);
            }
        }
    }

    /// Returns the id of a closed connection; its difficulty is remembered for [`HINT_MS`].
    pub(crate) fn free(&mut self, id: u32, difficulty: Difficulty, now: Now) {
        self.in_use.remove(&id);
        self.forget_old(now);
        if self.hint_order.len() >= self.hints_max {
            self.forget_oldest();
        }
        self.hints.insert(id, difficulty);
        self.hint_order.push_back((now.ms + HINT_MS, id));
    }

    /// Counts of ids in use and of hints.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let hints = self.hints.len().max(self.hint_order.len());
        (self.in_use.len(), hints)
    }

    fn forget_old(&mut self, now: Now) {
        while self
            .hint_order
            .front()
            .is_some_and(|(until, _)| *until <= now.ms)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.hint_order.pop_front() {
            self.hints.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { ms: 0, unix_s: 0 };

    #[test]
    fn an_id_in_use_is_never_taken_over() {
        let mut ids = ExtraNonces::new(0, 8);
        let (first, _) = ids.deal(Some(0x0100_0007), NOW);
        assert_eq!(first, 0x0100_0007);
        let (other, _) = ids.deal(Some(first), NOW);
        assert_eq!(other, 1, "a fresh one begins with 00");
    }

    #[test]
    fn a_difficulty_is_remembered_for_a_while() {
        let difficulty = Difficulty::new(64.0);
        let mut ids = ExtraNonces::new(0, 8);
        let (id, hint) = ids.deal(None, NOW);
        assert_eq!(hint, None);
        ids.free(id, difficulty.unwrap(), NOW);
        assert_eq!(ids.deal(Some(id), NOW), (id, difficulty));
        ids.free(id, difficulty.unwrap(), NOW);
        let later = Now {
            ms: HINT_MS,
            unix_s: 0,
        };
        assert_eq!(ids.deal(Some(id), later), (id, None));
    }

    #[test]
    fn so_many_hints_are_remembered_and_no_more() {
        let mut ids = ExtraNonces::new(0, 8);
        for id in 0..100 {
            ids.free(id, Difficulty::new(1.0).unwrap(), NOW);
        }
        assert_eq!((ids.hints.len(), ids.hint_order.len()), (8, 8));
    }
}
