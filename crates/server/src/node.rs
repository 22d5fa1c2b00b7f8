//! What the server needs of the node it serves.

use hstratum_core::accounting::ledger::View;
use hstratum_core::units::{Hash, Height};
use std::sync::Arc;

use hstratum_core::chain::block::Solution;
use hstratum_core::event::Level;

/// A block for the node.
pub enum Offer {
    /// Found just now: the node has its transactions, by the template's id.
    Found(Arc<Solution>),
    /// Left over from an earlier run: whole.
    Spooled {
        /// The block's hash.
        hash: Hash,
        /// The raw block.
        raw: Vec<u8>,
    },
    /// Found on another server of the pool: whole. There is no answer.
    Relayed {
        /// The block's hash.
        hash: Hash,
        /// The raw block.
        raw: Vec<u8>,
    },
}

/// The node. Its methods are called from any thread and must not wait.
pub trait Node: Send + Sync {
    /// Offers a block; the answer comes as [`crate::server::Server::block_result`].
    fn offer(&self, offer: Offer);

    /// Asks what it knows of the chain, and which blocks its main chain has at the heights of these;
    /// the answer comes as [`crate::server::Server::located`].
    fn locate(&self, blocks: Vec<Asked>);

    /// Writes to the operator's log.
    fn log(&self, level: Level, text: &str);
}

/// A block that a node is asked about: its hash and its height.
pub type Asked = (Hash, Height);

/// A look at the chain: what the node knew of it, and where it saw blocks of ours.
#[derive(Debug, Clone)]
pub struct Look {
    /// What it knew.
    pub view: View,
    /// Of each block the main chain's one at its height; none where the chain does not reach it.
    pub places: Vec<(Hash, Option<Hash>)>,
}
