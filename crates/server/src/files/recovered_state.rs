//! State recovered from earlier runs and from pools that failed, for a new pool.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hstratum_core::accounts::ban::Ban;
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::chain::block::{FoundBlock, Solution};
use hstratum_core::units::{Hash, Height, Seq};

use crate::clock::unix_s;
use crate::limits::RELAY_S;
use crate::node::Offer;

/// A found block that the node has not answered.
pub enum Unanswered {
    /// Found in this run.
    Found(Arc<Solution>),
    /// Left by an earlier run, with the block's bytes.
    Spooled(Box<FoundBlock>, Vec<u8>),
}

/// Everything recovered from earlier runs.
pub struct RecoveredState {
    /// Accounts and their passwords.
    pub users: HashMap<String, StoredPassword>,
    /// The operator's bans.
    pub bans: Vec<Ban>,
    /// Found blocks that the node has not answered.
    pub unanswered: BTreeMap<Hash, Unanswered>,
    /// Sequence number of the last share in the ledger.
    pub durable: Seq,
    /// Height of the highest tip that the ledger was shown.
    pub highest: Option<Height>,
}

impl Unanswered {
    /// The block, if an earlier run left it and it is recent enough to be useful to other nodes.
    pub(crate) fn recent(&self) -> Option<(Hash, Vec<u8>)> {
        match self {
            Self::Spooled(found, raw) if found.time + RELAY_S > unix_s() => {
                Some((found.hash, raw.clone()))
            }
            _ => None,
        }
    }

    /// The block's record, and the offer to the node.
    pub fn offer_again(&self) -> (FoundBlock, Offer) {
        match self {
            Self::Found(solution) => (FoundBlock::of(solution), Offer::Found(solution.clone())),
            Self::Spooled(found, raw) => {
                let offer = Offer::Spooled {
                    hash: found.hash,
                    raw: raw.clone(),
                };
                (FoundBlock::clone(found), offer)
            }
        }
    }
}
