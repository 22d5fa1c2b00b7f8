//! Interface of the server to the node it runs in.

use hstratum_core::accounting::ledger::ChainView;
use hstratum_core::units::{Hash, Height};
use std::sync::Arc;

use hstratum_core::chain::block::Solution;
use hstratum_core::event::Level;

/// A block offered to the node.
pub enum Offer {
    /// Found just now; the node has its transactions, under the template's id.
    Found(Arc<Solution>),
    /// Left over from an earlier run, with all its bytes.
    Spooled {
        /// The block's hash.
        hash: Hash,
        /// The raw block.
        raw: Vec<u8>,
    },
    /// Found on another server of the pool, with all its bytes. The node gives no answer.
    Relayed {
        /// The block's hash.
        hash: Hash,
        /// The raw block.
        raw: Vec<u8>,
    },
}

/// A made-up solution that goes the way of a found block, short of telling anybody.
pub struct Drill {
    /// The node has its transactions, by the template's id.
    pub solution: Solution,
    /// Its block, as the spool would have it.
    pub raw: Vec<u8>,
    /// How long its checks took.
    pub check_ms: f64,
    /// How long the block took to be written.
    pub encode_ms: f64,
}

/// The node. Its methods are called from any thread and must not wait.
pub trait Node: Send + Sync {
    /// Offers a block; the answer comes as [`crate::server::Server::block_result`].
    fn offer(&self, offer: Offer);

    /// Has it build and verify the block of a made-up solution; the answer comes as
    /// [`crate::server::Server::drilled`]. One that cannot does nothing.
    fn drill(&self, drill: Drill) {
        drop(drill);
    }

    /// Asks what it knows of the chain, and which blocks its main chain has at the heights of these;
    /// the answer comes as [`crate::server::Server::located`].
    fn locate(&self, blocks: Vec<BlockQuery>);

    /// Writes to the operator's log.
    fn log(&self, level: Level, text: &str);
}

/// Hash and height of a block that a node is asked about.
pub type BlockQuery = (Hash, Height);

/// Result of a look at the chain: the node's view, and the places of the pool's blocks.
#[derive(Debug, Clone)]
pub struct Look {
    /// The node's view of the chain.
    pub view: ChainView,
    /// For each block, the main chain's block at its height; `None` if the chain does not reach it.
    pub places: Vec<(Hash, Option<Hash>)>,
}
