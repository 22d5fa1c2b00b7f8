//! The node's chain: a tree of blocks, of which one branch is the main chain.

use std::collections::BTreeMap;

use hstratum_core::units::{Hash, Height};

/// A block of the tree.
#[derive(Debug, Clone, Copy)]
struct ChainBlock {
    prev: Hash,
    height: Height,
    /// Order of arrival; a power cut may lose the last blocks.
    order: u64,
}

/// The tree of blocks.
pub(crate) struct Chain {
    blocks: BTreeMap<Hash, ChainBlock>,
    /// The main chain's block at each height, from the first known height on.
    main: BTreeMap<Height, Hash>,
    /// The height of every block that ever existed, forgotten ones included.
    heights: BTreeMap<Hash, Height>,
    tip: Hash,
    made: u64,
}

/// Height of the first block.
const FIRST: Height = Height(1000);

impl Chain {
    pub(crate) fn new() -> Self {
        let tip = Hash::blake2b(&[b"the first block of the simulated chain"]);
        let block = ChainBlock {
            prev: Hash::ZERO,
            height: FIRST,
            order: 0,
        };
        Self {
            blocks: BTreeMap::from([(tip, block)]),
            main: BTreeMap::from([(FIRST, tip)]),
            heights: BTreeMap::from([(tip, FIRST)]),
            tip,
            made: 0,
        }
    }

    pub(crate) fn tip(&self) -> Hash {
        self.tip
    }

    pub(crate) fn tip_height(&self) -> Height {
        self.blocks[&self.tip].height
    }

    pub(crate) fn height_of(&self, hash: &Hash) -> Option<Height> {
        self.heights.get(hash).copied()
    }

    pub(crate) fn has(&self, hash: &Hash) -> bool {
        self.blocks.contains_key(hash)
    }

    /// The parent of a known block.
    pub(crate) fn parent_of(&self, hash: &Hash) -> Option<Hash> {
        self.blocks.get(hash).map(|block| block.prev)
    }

    pub(crate) fn is_main(&self, hash: &Hash) -> bool {
        let height = self.height_of(hash);
        height.is_some_and(|height| self.main.get(&height) == Some(hash))
    }

    /// The main chain's block this far below the tip.
    pub(crate) fn below_tip(&self, depth: u32) -> Option<Hash> {
        let height = Height(self.tip_height().0.checked_sub(depth)?);
        self.main.get(&height).copied()
    }

    /// Adds a block of another miner on a known parent.
    pub(crate) fn invent(&mut self, prev: Hash) -> Hash {
        self.made += 1;
        let hash = Hash::blake2b(&[&prev.0, &self.made.to_le_bytes()]);
        self.insert(hash, prev);
        hash
    }

    /// Adds a block whose parent is known; true if it becomes the tip, as the first block of the greatest
    /// height.
    pub(crate) fn insert(&mut self, hash: Hash, prev: Hash) -> bool {
        let height = Height(self.blocks[&prev].height.0 + 1);
        self.made += 1;
        let block = ChainBlock {
            prev,
            height,
            order: self.made,
        };
        self.blocks.entry(hash).or_insert(block);
        self.heights.insert(hash, height);
        if height <= self.tip_height() {
            return false;
        }
        self.make_tip(hash);
        true
    }

    /// Makes the branch that ends with this block the main chain.
    fn make_tip(&mut self, hash: Hash) {
        self.tip = hash;
        let height = self.blocks[&hash].height;
        self.main.split_off(&Height(height.0 + 1));
        let mut at = hash;
        while let Some(block) = self.blocks.get(&at)
            && self.main.insert(block.height, at) != Some(at)
        {
            at = block.prev;
        }
    }

    /// Removes blocks from the tip down, or all of them. Returns those of the main chain with their
    /// parents, the oldest first.
    pub(crate) fn wind_back(&mut self, count: u32) -> Vec<(Hash, Hash)> {
        let lowest = Height(self.tip_height().0.saturating_sub(count).max(FIRST.0));
        let main = self.main.split_off(&Height(lowest.0 + 1));
        let gone = main.values().map(|hash| (*hash, self.blocks[hash].prev));
        let gone: Vec<(Hash, Hash)> = gone.collect();
        self.blocks.retain(|_, block| block.height <= lowest);
        self.tip = self.main[&lowest];
        gone
    }

    /// The main chain's block at a height.
    pub(crate) fn at(&self, height: Height) -> Option<Hash> {
        self.main.get(&height).copied()
    }

    /// Removes the newest blocks of the main chain, which were not on the disk at a power cut. Returns
    /// them with their parents, the oldest first.
    pub(crate) fn forget_newest(&mut self, count: u32) -> Vec<(Hash, Hash)> {
        let mut forgotten = Vec::new();
        for _ in 0..count {
            let (tip, block) = (self.tip, self.blocks[&self.tip]);
            let has_child = self.blocks.values().any(|other| other.prev == tip);
            if block.height == FIRST || has_child || block.order + 50 < self.made {
                break;
            }
            self.blocks.remove(&tip);
            self.main.remove(&block.height);
            self.tip = block.prev;
            forgotten.push((tip, block.prev));
        }
        forgotten.reverse();
        forgotten
    }
}
