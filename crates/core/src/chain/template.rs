//! Block templates of the node: a header without its proof, a coinbase, and the ids of the transactions.
//!
//! A `Template` is checked when it is made: its roots are computed anew from the coinbase and the
//! leaves, so that a job never sends miners after a block the node would refuse. The transactions
//! themselves are not needed for mining; they come back in `encode_block`.

use std::sync::Arc;

use crate::chain::coinbase::{Coinbase, push_varint};
use crate::chain::coinbase_split::{CoinbaseSplit, FrozenSplit};
use crate::chain::header::HEADER_BYTES;
use crate::chain::merkle::Branch;
use crate::units::{Hash, Height, Target};
use std::fmt;

/// Bytes of `TemplateParts::leaves` for each transaction.
const LEAF_BYTES: usize = 64;

/// A template as the node gives it, unchecked.
#[derive(Clone, Debug)]
pub struct TemplateParts {
    /// Number of the template, given by the plugin that asked the node for it.
    pub id: u64,
    /// Height of the block.
    pub height: Height,
    /// Block version.
    pub version: u32,
    /// Network target in compact form.
    pub bits: u32,
    /// The node's time for the block, in seconds since 1970.
    pub time: u64,
    /// Median time past of the parent: the block must be later.
    pub mtp: u64,
    /// Earliest time a share may have.
    pub time_min: u64,
    /// Latest time a share may have.
    pub time_max: u64,
    /// Hash of the parent block.
    pub prev_block: Hash,
    /// Root of the name tree.
    pub tree_root: Hash,
    /// Reserved by the protocol.
    pub reserved_root: Hash,
    /// The node's own merkle root, compared with the computed one.
    pub merkle_root: Hash,
    /// The node's own witness root, compared with the computed one.
    pub witness_root: Hash,
    /// The raw coinbase, base then witnesses.
    pub coinbase: Vec<u8>,
    /// 64 bytes for each transaction except the coinbase: id, then witness hash.
    pub leaves: Vec<u8>,
}

/// A checked template. Made by `Template::new` only, and changed by [`Template::pay`] only.
#[derive(Clone, Debug)]
pub struct Template {
    /// Number of the template.
    pub id: u64,
    /// Height of the block, the same as in the coinbase.
    pub height: Height,
    /// Block version.
    pub version: u32,
    /// Network target in compact form.
    pub bits: u32,
    /// The node's time for the block, in seconds since 1970; fits the wire's eight hex digits.
    pub time: u64,
    /// Median time past of the parent.
    pub mtp: u64,
    /// Earliest time a share may have, above `mtp`.
    pub time_min: u64,
    /// Latest time a share may have.
    pub time_max: u64,
    /// Hash of the parent block.
    pub prev_block: Hash,
    /// Root of the name tree.
    pub tree_root: Hash,
    /// Reserved by the protocol.
    pub reserved_root: Hash,
    /// The node's coinbase.
    pub node_coinbase: Coinbase,
    /// The coinbase of jobs that pay nobody in particular: the node's, or one that pays `split`.
    pub coinbase: Coinbase,
    /// The split of `coinbase`.
    pub split: Option<Arc<FrozenSplit>>,
    /// Merkle root with `coinbase`, and with any coinbase of the same id.
    pub merkle_root: Hash,
    /// Computes the merkle root for another coinbase id.
    pub merkle_branch: Branch,
    /// Computes the witness root for another coinbase witness hash.
    pub witness_branch: Branch,
    /// Ids of the transactions in block order, without the coinbase.
    pub txids: Vec<Hash>,
    /// The target that `bits` encodes.
    pub target: Target,
}

impl Template {
    /// Checks that the parts belong together.
    ///
    /// # Errors
    ///
    /// The first mismatch found, in the order of `TemplateError`.
    pub fn new(parts: TemplateParts) -> Result<Self, TemplateError> {
        let coinbase = Coinbase::parse(&parts.coinbase).ok_or(TemplateError::BadCoinbase)?;
        let (txids, witness_hashes) =
            split_leaves(&parts.leaves).ok_or(TemplateError::BadLeaves)?;
        let merkle_branch = Branch::of_first(txids.iter().copied());
        if merkle_branch.root(&coinbase.txid()) != parts.merkle_root {
            return Err(TemplateError::MerkleRootMismatch);
        }
        let witness_branch = Branch::of_first(witness_hashes);
        if witness_branch.root(&coinbase.witness_hash()) != parts.witness_root {
            return Err(TemplateError::WitnessRootMismatch);
        }
        let target = Target::from_compact(parts.bits).ok_or(TemplateError::BadBits)?;
        if coinbase.locktime() != parts.height.0 {
            return Err(TemplateError::HeightMismatch);
        }
        let in_order = parts.mtp < parts.time_min
            && parts.time_min <= parts.time
            && parts.time <= parts.time_max;
        if !in_order || parts.time > u64::from(u32::MAX) {
            return Err(TemplateError::TimeBounds);
        }
        Ok(Self {
            id: parts.id,
            height: parts.height,
            version: parts.version,
            bits: parts.bits,
            time: parts.time,
            mtp: parts.mtp,
            time_min: parts.time_min,
            time_max: parts.time_max,
            prev_block: parts.prev_block,
            tree_root: parts.tree_root,
            reserved_root: parts.reserved_root,
            node_coinbase: coinbase.clone(),
            coinbase,
            split: None,
            merkle_root: parts.merkle_root,
            merkle_branch,
            witness_branch,
            txids,
            target,
        })
    }

    /// Has its blocks pay the accounts of a split.
    pub fn pay(&mut self, split: &Arc<CoinbaseSplit>) {
        let node = &self.node_coinbase;
        let frozen = split.freeze(self.prev_block, node.value());
        let payments = frozen.outputs.iter();
        self.coinbase = node.sharing(payments.map(|output| (output.value, &output.address)));
        self.merkle_root = self.merkle_branch.root(&self.coinbase.txid());
        self.split = Some(Arc::new(frozen));
    }

    /// The witness root of the block with this coinbase in place of the node's.
    #[must_use]
    pub fn witness_root(&self, coinbase: &Coinbase) -> Hash {
        self.witness_branch.root(&coinbase.witness_hash())
    }
}

fn split_leaves(leaves: &[u8]) -> Option<(Vec<Hash>, Vec<Hash>)> {
    let records = leaves.chunks_exact(LEAF_BYTES);
    if !records.remainder().is_empty() {
        return None;
    }
    let halves = records.map(|record| {
        let (txid, witness_hash) = record.split_at(LEAF_BYTES / 2);
        let hash = |half: &[u8]| Hash(half.try_into().expect("half a record is 32 bytes"));
        (hash(txid), hash(witness_hash))
    });
    Some(halves.unzip())
}

/// Reasons why a template is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// The coinbase is malformed, or its first witness does not have the shape hsd gives it.
    BadCoinbase,
    /// The leaves are not a multiple of 64 bytes.
    BadLeaves,
    /// Coinbase and leaves give a merkle root other than the node's.
    MerkleRootMismatch,
    /// Coinbase and leaves give a witness root other than the node's.
    WitnessRootMismatch,
    /// `bits` encodes no target.
    BadBits,
    /// The coinbase's height is not the template's.
    HeightMismatch,
    /// Not `mtp < time_min <= time <= time_max`, or `time` needs more than 32 bits.
    TimeBounds,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadCoinbase => "template has a malformed coinbase",
            Self::BadLeaves => "template leaves are not 64 bytes a transaction",
            Self::MerkleRootMismatch => "template has another merkle root than its transactions",
            Self::WitnessRootMismatch => "template has another witness root than its transactions",
            Self::BadBits => "template bits are no target",
            Self::HeightMismatch => "template has another height than its coinbase",
            Self::TimeBounds => "template times are out of order",
        })
    }
}

impl std::error::Error for TemplateError {}

/// The raw transactions of a block in block order, without the coinbase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTransactions {
    /// Number of transactions in `bytes`.
    pub count: usize,
    /// All of them, one after the other, each with its witnesses.
    pub bytes: Arc<[u8]>,
}

/// Encodes the whole raw block (hsd lib/primitives/block.js, write): header, count, coinbase,
/// transactions.
#[must_use]
pub fn encode_block(
    header: &[u8; HEADER_BYTES],
    coinbase: &Coinbase,
    transactions: &RawTransactions,
) -> Vec<u8> {
    let size = HEADER_BYTES + 9 + coinbase.as_bytes().len() + transactions.bytes.len();
    let mut block = Vec::with_capacity(size);
    block.extend_from_slice(header);
    push_varint(&mut block, transactions.count as u64 + 1);
    block.extend_from_slice(coinbase.as_bytes());
    block.extend_from_slice(&transactions.bytes);
    block
}
