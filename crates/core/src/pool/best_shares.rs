//! The best share of each account since the pool began, for people: solo miners look at it.
//!
//! Only an accepted share makes an entry, so a stranger pays for it by work. At [`BEST_SHARES_MAX`] accounts no
//! more are added.

use std::collections::HashMap;
use std::sync::Arc;

use crate::limits::BEST_SHARES_MAX;
use crate::units::Difficulty;

/// The greatest difficulty that a share of each account has met.
#[derive(Default)]
pub(crate) struct BestShares(HashMap<Arc<str>, Difficulty>);

impl BestShares {
    /// Takes an accepted share whose hash meets `difficulty`.
    pub(crate) fn add(&mut self, account: &Arc<str>, difficulty: Difficulty) {
        let has_room = self.0.len() < BEST_SHARES_MAX;
        match self.0.get_mut(account) {
            Some(best) if *best < difficulty => *best = difficulty,
            None if has_room => _ = self.0.insert(account.clone(), difficulty),
            Some(_) | None => {}
        }
    }

    /// That of an account.
    pub(crate) fn of(&self, account: &str) -> Option<Difficulty> {
        self.0.get(account).copied()
    }

    /// Count of accounts.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
