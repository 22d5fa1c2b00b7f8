//! Where the ledger's thread and the shared ledger's shipper meet: what was sealed goes one way, what
//! was shipped the other. Neither waits for the other.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use hstratum_core::accounting::ledger::View;
use hstratum_core::units::Height;

use super::keeper::StoreMail;
use super::ledger::{Mark, Parting};
use crate::node::{Asked, Look};

/// How far sealing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last batch.
    pub last: Mark,
    /// It and those before it hold all shares that came before the node had this tip.
    pub tip: Option<Height>,
    /// Bytes of batches that are not known to be shipped.
    pub backlog: u64,
    /// So much that nothing more is sealed.
    pub is_full: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Dock {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    head: Option<Head>,
    /// The node's height.
    tip: Option<Height>,
    shipped: Vec<Mark>,
    parting: Option<Parting>,
    /// Blocks of the shared ledger that the node is to be asked about.
    watch: Vec<Asked>,
    /// Where it saw them.
    seen: Option<Look>,
    /// What it knew of the chain when it last looked.
    view: Option<View>,
    /// Has the shipper look: something was sealed, or it is to stop.
    is_news: bool,
    is_closed: bool,
}

impl Dock {
    /// Something was sealed, or marked.
    pub(super) fn sealed(&self, head: Head) {
        let mut state = self.lock();
        let tip = head.tip.or(state.head.and_then(|before| before.tip));
        let is_more = state
            .head
            .is_none_or(|before| before.last != head.last || before.tip != tip);
        state.head = Some(Head { tip, ..head });
        state.is_news |= is_more;
        self.changed.notify_all();
    }

    /// What others have left for the ledger's thread.
    pub(super) fn take(&self) -> Vec<StoreMail> {
        let mut state = self.lock();
        let marks = std::mem::take(&mut state.shipped).into_iter();
        let parting = state.parting.take().map(StoreMail::Part);
        let watch = std::mem::take(&mut state.watch);
        let watch = (!watch.is_empty()).then_some(StoreMail::Watch(watch));
        let mails = marks.map(StoreMail::Shipped).chain(parting).chain(watch);
        mails.collect()
    }

    /// Has the node be asked where these blocks are.
    pub(crate) fn watch(&self, blocks: Vec<Asked>) {
        self.lock().watch = blocks;
    }

    /// It has answered.
    pub(super) fn set_seen(&self, seen: Look) {
        let mut state = self.lock();
        state.view = Some(seen.view);
        // A look at the server's own blocks alone takes nothing from who waits for others.
        if !seen.places.is_empty() || state.seen.is_none() {
            state.seen = Some(seen);
        }
    }

    /// What the node knew of the chain when it last looked.
    pub(crate) fn view(&self) -> Option<View> {
        self.lock().view
    }

    /// Its last answer, once.
    pub(crate) fn take_seen(&self) -> Option<Look> {
        self.lock().seen.take()
    }

    /// Nothing more will be sealed.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.is_news = true;
        self.changed.notify_all();
    }

    /// Whether nothing more will be sealed.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// The node's height.
    pub(crate) fn tip(&self) -> Option<Height> {
        self.lock().tip
    }

    pub(super) fn set_tip(&self, tip: Height) {
        self.lock().tip = Some(tip);
    }

    /// Waits until nothing more will be sealed, at most so long.
    pub(crate) fn wait_for_close(&self, patience: Duration) {
        let state = self.lock();
        let _closed = self
            .changed
            .wait_timeout_while(state, patience, |state| !state.is_closed)
            .expect("nothing panics while it is held");
    }

    /// How far sealing has come.
    pub(crate) fn head(&self) -> Option<Head> {
        self.lock().head
    }

    /// The shared ledger has this batch, and all before it.
    pub(crate) fn shipped(&self, mark: Mark) {
        let mut state = self.lock();
        state
            .shipped
            .retain(|earlier| earlier.origin != mark.origin);
        state.shipped.push(mark);
    }

    /// Waits for news, at most so long.
    pub(crate) fn wait(&self, patience: Duration) {
        let state = self.lock();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, patience, |state| !state.is_news)
            .expect("nothing panics while it is held");
        state.is_news = false;
    }

    /// Has the file begin a new origin; false when it has not after so long.
    pub(crate) fn part(&self, parting: Parting, patience: Duration) -> bool {
        let mut state = self.lock();
        let from = parting.from;
        state.parting = Some(parting);
        let is_old = |state: &mut State| state.head.is_none_or(|head| head.last.origin == from);
        let (state, waited) = self
            .changed
            .wait_timeout_while(state, patience, is_old)
            .expect("nothing panics while it is held");
        drop(state);
        !waited.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it is held")
    }
}

#[cfg(test)]
mod tests {
    use hstratum_core::accounting::ledger::Tip;
    use hstratum_core::units::Hash;

    use super::*;

    #[test]
    fn look_without_blocks_of_others_leaves_the_one_that_has_them() {
        let dock = Dock::default();
        let look = |places: &[(Hash, Option<Hash>)], is_synced| Look {
            view: View {
                tip: Tip {
                    height: Height(7),
                    hash: Hash::ZERO,
                    work: 7.into(),
                },
                is_synced,
            },
            places: places.to_vec(),
        };
        let places = [(Hash::ZERO, None)];
        dock.set_seen(look(&places, true));
        dock.set_seen(look(&[], false));
        assert!(dock.view().is_some_and(|view| !view.is_synced));
        assert_eq!(dock.take_seen().expect("one").places, places);
        assert!(dock.take_seen().is_none());
    }
}
