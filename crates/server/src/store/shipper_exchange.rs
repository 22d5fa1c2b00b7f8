//! Exchange between the ledger's thread and the shipper of the shared ledger: sealed batches are announced in
//! one direction, shipped ones in the other. Neither thread blocks the other.

use std::time::Duration;

use hstratum_core::accounting::ledger::ChainView;
use hstratum_core::units::Height;
use parking_lot::{Condvar, Mutex};

use super::group_commit::StoreCommand;
use super::ledger::{BatchMark, OriginFork};
use crate::node::{BlockQuery, Look};

/// Progress of sealing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedHead {
    /// The last sealed batch.
    pub last: BatchMark,
    /// The sealed batches hold all shares from before the node had this tip.
    pub tip: Option<Height>,
    /// Bytes of batches not known to be shipped.
    pub backlog: u64,
    /// The backlog is so large that nothing more is sealed.
    pub is_full: bool,
}

/// State shared by the ledger's thread, the shipper and the coordinator.
#[derive(Debug, Default)]
pub struct ShipperExchange {
    state: Mutex<ShippingState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ShippingState {
    head: Option<SealedHead>,
    /// Height of the node's tip.
    tip: Option<Height>,
    shipped: Vec<BatchMark>,
    fork: Option<OriginFork>,
    /// Blocks of the shared ledger that the node is to be asked about.
    watch: Vec<BlockQuery>,
    /// The node's last answer about them, not taken yet.
    seen: Option<Look>,
    /// The node's view of the chain at its last look.
    view: Option<ChainView>,
    /// Wakes the shipper: a batch was sealed, or it is to stop.
    is_news: bool,
    is_closed: bool,
}

impl ShipperExchange {
    /// Announces that batches were sealed or marked as shipped.
    pub(super) fn sealed(&self, head: SealedHead) {
        let mut state = self.state.lock();
        let tip = head.tip.or(state.head.and_then(|before| before.tip));
        let is_more = state
            .head
            .is_none_or(|before| before.last != head.last || before.tip != tip);
        state.head = Some(SealedHead { tip, ..head });
        state.is_news |= is_more;
        self.changed.notify_all();
    }

    /// Takes what the shipper and the coordinator have left for the ledger's thread.
    pub(super) fn take(&self) -> Vec<StoreCommand> {
        let mut state = self.state.lock();
        let marks = std::mem::take(&mut state.shipped).into_iter();
        let fork = state.fork.take().map(StoreCommand::ForkOrigin);
        let watch = std::mem::take(&mut state.watch);
        let watch = (!watch.is_empty()).then_some(StoreCommand::Watch(watch));
        let mails = marks.map(StoreCommand::Shipped).chain(fork).chain(watch);
        mails.collect()
    }

    /// Requests that the node be asked where these blocks are.
    pub(crate) fn watch(&self, blocks: Vec<BlockQuery>) {
        self.state.lock().watch = blocks;
    }

    /// Records the node's answer.
    pub(super) fn set_seen(&self, seen: Look) {
        let mut state = self.state.lock();
        state.view = Some(seen.view);
        // A look at this server's blocks only must not replace one that includes the shared ledger's blocks.
        if !seen.places.is_empty() || state.seen.is_none() {
            state.seen = Some(seen);
        }
    }

    /// The node's view of the chain at its last look.
    pub(crate) fn view(&self) -> Option<ChainView> {
        self.state.lock().view
    }

    /// Takes the node's last answer.
    pub(crate) fn take_seen(&self) -> Option<Look> {
        self.state.lock().seen.take()
    }

    /// Declares that nothing more will be sealed, and wakes the shipper.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.is_news = true;
        self.changed.notify_all();
    }

    /// True once nothing more will be sealed.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    /// Height of the node's tip.
    pub(crate) fn tip(&self) -> Option<Height> {
        self.state.lock().tip
    }

    pub(super) fn set_tip(&self, tip: Height) {
        self.state.lock().tip = Some(tip);
    }

    /// Waits until nothing more will be sealed, or for `patience`.
    pub(crate) fn wait_for_close(&self, patience: Duration) {
        let mut state = self.state.lock();
        self.changed
            .wait_while_for(&mut state, |state| !state.is_closed, patience);
    }

    /// Progress of sealing; `None` before the first announcement.
    pub(crate) fn head(&self) -> Option<SealedHead> {
        self.state.lock().head
    }

    /// Records that the shared ledger has this batch and all before it.
    pub(crate) fn shipped(&self, mark: BatchMark) {
        let mut state = self.state.lock();
        state
            .shipped
            .retain(|earlier| earlier.origin != mark.origin);
        state.shipped.push(mark);
    }

    /// Waits until something was sealed or the dock was closed, or for `patience`.
    pub(crate) fn wait(&self, patience: Duration) {
        let mut state = self.state.lock();
        self.changed
            .wait_while_for(&mut state, |state| !state.is_news, patience);
        state.is_news = false;
    }

    /// Makes the ledger's thread begin a new origin for the file; returns false if it has not within
    /// `patience`.
    pub(crate) fn fork_origin(&self, fork: OriginFork, patience: Duration) -> bool {
        let mut state = self.state.lock();
        let from = fork.from;
        state.fork = Some(fork);
        let is_old =
            |state: &mut ShippingState| state.head.is_none_or(|head| head.last.origin == from);
        let waited = self.changed.wait_while_for(&mut state, is_old, patience);
        !waited.timed_out()
    }
}

#[cfg(test)]
mod tests {
    use hstratum_core::accounting::ledger::Tip;
    use hstratum_core::units::Hash;

    use super::*;

    #[test]
    fn look_without_blocks_of_others_leaves_the_one_that_has_them() {
        let shipper_exchange = ShipperExchange::default();
        let look = |places: &[(Hash, Option<Hash>)], is_synced| Look {
            view: ChainView {
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
        shipper_exchange.set_seen(look(&places, true));
        shipper_exchange.set_seen(look(&[], false));
        assert!(shipper_exchange.view().is_some_and(|view| !view.is_synced));
        assert_eq!(shipper_exchange.take_seen().expect("one").places, places);
        assert!(shipper_exchange.take_seen().is_none());
    }
}
