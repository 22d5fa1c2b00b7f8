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

/// A made-up solution that is treated as a found block, except that nobody is told of it.
pub struct Drill {
    /// The node has its transactions, by the template's id.
    pub solution: Solution,
    /// Its block, as the spool would have it.
    pub raw: Vec<u8>,
    /// Milliseconds that the checks of core took.
    pub check_ms: f64,
    /// Milliseconds that the encoding of the block took.
    pub encode_ms: f64,
}

/// The node. Its methods are called from any thread and must not block.
pub trait Node: Send + Sync {
    /// Offers a block; the answer comes as [`crate::server::Server::block_result`].
    fn offer(&self, offer: Offer);

    /// Builds and verifies the block of a made-up solution; the answer comes as
    /// [`crate::server::Server::drilled`]. A node that cannot do that does nothing.
    fn drill(&self, drill: Drill) {
        drop(drill);
    }

    /// Asks for its view of the chain, and which blocks its main chain has at the heights of these; the
    /// answer comes as [`crate::server::Server::located`].
    fn locate(&self, blocks: Vec<BlockQuery>);

    /// Asks if a message was signed with the key of an address; the answer comes as
    /// [`crate::server::Server::message_verified`] with this number. A node that cannot tell does nothing.
    fn verify_message(&self, id: u64, message: SignedMessage) {
        let _ = (id, message);
    }

    /// Writes to the operator's log.
    fn log(&self, level: Level, text: &str);
}

/// A message that somebody may have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedMessage {
    /// The address, of the node's network.
    pub address: String,
    /// In base64, as `signmessage` gives it.
    pub signature: String,
    /// The text.
    pub text: String,
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
