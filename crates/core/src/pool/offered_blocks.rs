//! Found blocks that the node has not answered yet, and the hashes of all blocks offered to it.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::chain::block::FoundBlock;
use crate::limits::{FOUND_BLOCKS_MAX, OFFERED_HASHES_MAX};
use crate::units::Hash;

/// Two bounded sets, each with the order in which its entries came.
#[derive(Default)]
pub(crate) struct OfferedBlocks {
    waiting: HashMap<Hash, FoundBlock>,
    waiting_order: VecDeque<Hash>,
    offered: HashSet<Hash>,
    offered_order: VecDeque<Hash>,
}

impl OfferedBlocks {
    /// Remembers that a block is offered; false if it was offered before.
    pub(crate) fn first_offer(&mut self, hash: Hash) -> bool {
        if !self.offered.insert(hash) {
            return false;
        }
        self.offered_order.push_back(hash);
        if self.offered_order.len() > OFFERED_HASHES_MAX
            && let Some(oldest) = self.offered_order.pop_front()
        {
            self.offered.remove(&oldest);
        }
        true
    }

    /// Waits for the node's answer to a block. Beyond [`FOUND_BLOCKS_MAX`] the oldest is forgotten.
    pub(crate) fn wait_for(&mut self, block: FoundBlock) {
        self.waiting_order.push_back(block.hash);
        self.waiting.insert(block.hash, block);
        if self.waiting_order.len() > FOUND_BLOCKS_MAX
            && let Some(oldest) = self.waiting_order.pop_front()
        {
            self.waiting.remove(&oldest);
        }
    }

    /// True if the node has not answered this block yet.
    pub(crate) fn is_waiting(&self, hash: Hash) -> bool {
        self.waiting.contains_key(&hash)
    }

    /// Counts of waiting blocks and of offered hashes.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let waiting = self.waiting.len().max(self.waiting_order.len());
        (waiting, self.offered.len().max(self.offered_order.len()))
    }

    /// Removes the block that an answer is about.
    pub(crate) fn take(&mut self, hash: Hash) -> Option<FoundBlock> {
        let block = self.waiting.remove(&hash)?;
        self.waiting_order.retain(|waiting| *waiting != hash);
        Some(block)
    }
}
