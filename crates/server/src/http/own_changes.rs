//! Miners' changes of what their accounts have: one of each kind at a time for each account, and not many in a while, so
//! that one who changes and changes keeps nobody else waiting. A change counts once it is known to be the owner's: whoever
//! has a session and no password cannot use up those of the password and the address.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::limits::{OWN_CHANGES_MAX, OWN_CHANGES_WITHIN};

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OwnSetting {
    Password,
    Threshold,
    Address,
    Alerts,
    Contact,
    Keys,
}

/// The changes of all accounts within a while.
#[derive(Default)]
pub(crate) struct OwnChanges(Mutex<HashMap<(Arc<str>, OwnSetting), AccountChanges>>);

struct AccountChanges {
    since: Instant,
    count: u32,
    is_under_way: bool,
}

/// A change under way, until dropped.
pub(crate) struct OwnChange<'a> {
    changes: &'a OwnChanges,
    of: (Arc<str>, OwnSetting),
}

impl OwnChanges {
    /// Begins a change; `None` if another is under way, or there were too many.
    pub(crate) fn begin(
        &self,
        account: &Arc<str>,
        setting: OwnSetting,
        now: Instant,
    ) -> Option<OwnChange<'_>> {
        let of = (account.clone(), setting);
        let mut all = self.0.lock();
        let is_over = |since| now.saturating_duration_since(since) >= OWN_CHANGES_WITHIN;
        all.retain(|_, one| one.is_under_way || !is_over(one.since));
        let own = all.entry(of.clone()).or_insert(AccountChanges {
            since: now,
            count: 0,
            is_under_way: false,
        });
        if is_over(own.since) {
            (own.since, own.count) = (now, 0);
        }
        if own.is_under_way || own.count >= OWN_CHANGES_MAX {
            return None;
        }
        own.count += 1;
        own.is_under_way = true;
        Some(OwnChange { changes: self, of })
    }
}

impl Drop for OwnChange<'_> {
    fn drop(&mut self) {
        if let Some(own) = self.changes.0.lock().get_mut(&self.of) {
            own.is_under_way = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_an_account_are_few_and_one_after_the_other() {
        let (changes, now) = (OwnChanges::default(), Instant::now());
        let [alice, bob] = ["alice", "bob"].map(Arc::<str>::from);
        let begin = |who, now| changes.begin(who, OwnSetting::Threshold, now);
        let first = begin(&alice, now).expect("the first");
        assert!(begin(&alice, now).is_none(), "one at a time");
        assert!(begin(&bob, now).is_some());
        drop(first);
        for _ in 1..OWN_CHANGES_MAX {
            assert!(begin(&alice, now).is_some());
        }
        assert!(begin(&alice, now).is_none(), "too many");
        assert!(begin(&bob, now).is_some());
        let other = changes.begin(&alice, OwnSetting::Password, now);
        assert!(other.is_some(), "of another kind");
        drop(other);
        let later = now + OWN_CHANGES_WITHIN;
        assert!(begin(&alice, later).is_some());
        assert_eq!(changes.0.lock().len(), 1, "bob's are forgotten");
    }
}
