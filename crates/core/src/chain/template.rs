//! Block templates of the node: a header without its proof, a coinbase, and the ids of the transactions.
//!
//! A `Template` is checked when it is made: its roots are computed anew from the coinbase and the
//! leaves, so that a job never sends miners after a block the node would refuse. The transactions
//! themselves are not needed for mining; they come back in `encode_block`.

use std::sync::Arc;

use crate::chain::address::Address;
use crate::chain::header::HEADER_BYTES;
use crate::chain::merkle::Branch;
use crate::chain::reader::Reader;
use crate::units::{Hash, Height, Target};
use std::fmt;

/// Longest coinbase flags hsd's miner takes, in bytes (hsd lib/mining/miner.js, coinbaseFlags).
const FLAGS_BYTES_MAX: usize = 20;
/// Size of the second witness item of the coinbase.
const WITNESS_NONCE_BYTES: usize = 8;
/// Bytes of `TemplateParts::leaves` for each transaction.
const LEAF_BYTES: usize = 64;

/// The first transaction of a block: it has the block's height and pays its reward.
///
/// Its first input has the witness hsd gives it (lib/mining/template.js, createCoinbase): the flags,
/// eight random bytes, and more. Those eight bytes enter the witness hash alone, so they make jobs differ
/// without changing the transaction's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coinbase {
    raw: Vec<u8>,
    /// The first bytes of `raw`, without the witnesses.
    base_bytes: usize,
    /// Offset of the witness nonce in `raw`.
    nonce_at: usize,
    value: u64,
    address: Address,
    locktime: u32,
    txid: Hash,
    witness_hash: Hash,
}

impl Coinbase {
    /// Reads a transaction as hsd writes it (lib/primitives/tx.js, read): base, then witnesses,
    /// and nothing after them. `None` if it is no coinbase with an output, or its first witness is
    /// not at most 20 bytes of flags, eight bytes, and whatever follows.
    #[must_use]
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let (coinbase, rest) = Self::read(raw)?;
        rest.is_empty().then_some(coinbase)
    }

    /// Reads the first transaction of a whole raw block, as [`encode_block`] writes it.
    #[must_use]
    pub fn of_block(block: &[u8]) -> Option<Self> {
        let mut reader = Reader(block.get(HEADER_BYTES..)?);
        let _count = reader.varint()?;
        Self::read(reader.0).map(|(coinbase, _)| coinbase)
    }

    /// Reads a transaction at the start of `bytes`; also gives the bytes after it.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut reader = Reader(bytes);
        let _version = reader.u32()?;
        let input_count = reader.varint()?;
        read_inputs(&mut reader, input_count)?;
        let (value, address) = read_outputs(&mut reader)?;
        let locktime = reader.u32()?;
        let base_bytes = bytes.len() - reader.0.len();
        let nonce_at = bytes.len() - read_first_witness(&mut reader)?;
        for _ in 1..input_count {
            reader.skip_items()?;
        }
        let raw = bytes[..bytes.len() - reader.0.len()].to_vec();
        let txid = Hash::blake2b(&[&raw[..base_bytes]]);
        let witness_hash = witness_hash(&txid, &raw[base_bytes..]);
        let coinbase = Self {
            raw,
            base_bytes,
            nonce_at,
            value,
            address,
            locktime,
            txid,
            witness_hash,
        };
        Some((coinbase, reader.0))
    }

    /// The same transaction with the eight bytes that are the second item of its first witness replaced:
    /// the witness hash changes, the id does not.
    #[must_use]
    pub fn with_witness_nonce(&self, nonce: [u8; WITNESS_NONCE_BYTES]) -> Self {
        let mut changed = self.clone();
        changed.raw[self.nonce_at..][..WITNESS_NONCE_BYTES].copy_from_slice(&nonce);
        changed.witness_hash = witness_hash(&self.txid, &changed.raw[self.base_bytes..]);
        changed
    }

    /// The whole transaction, with witnesses.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    /// Hash of the transaction without witnesses (hsd lib/primitives/tx.js, left).
    #[must_use]
    pub fn txid(&self) -> Hash {
        self.txid
    }

    /// Hash of the id and the hash of the witnesses (hsd lib/primitives/tx.js, root).
    #[must_use]
    pub fn witness_hash(&self) -> Hash {
        self.witness_hash
    }

    /// Amount of the first output, reward and fees, in base units (a millionth of a coin).
    #[must_use]
    pub fn value(&self) -> u64 {
        self.value
    }

    /// Address of the first output.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The lock time, which is the height of the coinbase's block.
    #[must_use]
    pub fn locktime(&self) -> u32 {
        self.locktime
    }
}

/// Skips the inputs. `None` unless the first spends nothing, as a coinbase's does: an outpoint of zeros
/// with index 2^32 − 1. Further inputs are claims and airdrops.
fn read_inputs(reader: &mut Reader<'_>, count: u64) -> Option<()> {
    for place in 0..count {
        let hash = reader.take(32)?;
        let index = reader.u32()?;
        let _sequence = reader.u32()?;
        if place == 0 && (hash != Hash::ZERO.0 || index != u32::MAX) {
            return None;
        }
    }
    (count > 0).then_some(())
}

/// Value and address of the first output; the others are skipped.
fn read_outputs(reader: &mut Reader<'_>) -> Option<(u64, Address)> {
    let mut first = None;
    for _ in 0..reader.varint()? {
        let value = reader.u64()?;
        let address = reader.address()?;
        let _covenant_type = reader.u8()?;
        reader.skip_items()?;
        first.get_or_insert((value, address));
    }
    first
}

/// Skips the first witness; gives the count of unread bytes at the start of its nonce.
fn read_first_witness(reader: &mut Reader<'_>) -> Option<usize> {
    let count = reader.varint()?;
    if count < 2 || reader.var_bytes()?.len() > FLAGS_BYTES_MAX {
        return None;
    }
    let nonce_bytes = reader.varint()?;
    let left = reader.0.len();
    reader.take(WITNESS_NONCE_BYTES)?;
    for _ in 2..count {
        reader.var_bytes()?;
    }
    (nonce_bytes == WITNESS_NONCE_BYTES as u64).then_some(left)
}

fn witness_hash(txid: &Hash, witnesses: &[u8]) -> Hash {
    Hash::blake2b(&[&txid.0, &Hash::blake2b(&[witnesses]).0])
}

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

/// A checked template. Made by `Template::new` only, and never changed.
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
    pub coinbase: Coinbase,
    /// Merkle root with the node's coinbase, and with any coinbase of the same id.
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
        if merkle_branch.root(&coinbase.txid) != parts.merkle_root {
            return Err(TemplateError::MerkleRootMismatch);
        }
        let witness_branch = Branch::of_first(witness_hashes);
        if witness_branch.root(&coinbase.witness_hash) != parts.witness_root {
            return Err(TemplateError::WitnessRootMismatch);
        }
        let target = Target::from_compact(parts.bits).ok_or(TemplateError::BadBits)?;
        if coinbase.locktime != parts.height.0 {
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
            coinbase,
            merkle_root: parts.merkle_root,
            merkle_branch,
            witness_branch,
            txids,
            target,
        })
    }

    /// The witness root of the block with this coinbase in place of the node's.
    #[must_use]
    pub fn witness_root(&self, coinbase: &Coinbase) -> Hash {
        self.witness_branch.root(&coinbase.witness_hash)
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
    let size = HEADER_BYTES + 9 + coinbase.raw.len() + transactions.bytes.len();
    let mut block = Vec::with_capacity(size);
    block.extend_from_slice(header);
    push_varint(&mut block, transactions.count as u64 + 1);
    block.extend_from_slice(&coinbase.raw);
    block.extend_from_slice(&transactions.bytes);
    block
}

fn push_varint(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_le_bytes();
    let (tag, size) = match value {
        0..0xfd => (None, 1),
        0xfd..=0xffff => (Some(0xfd), 2),
        0x1_0000..=0xffff_ffff => (Some(0xfe), 4),
        _ => (Some(0xff), 8),
    };
    out.extend(tag);
    out.extend_from_slice(&bytes[..size]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_and_longer_forms_are_refused() {
        for value in [
            0,
            0xfc,
            0xfd,
            0xffff,
            0x1_0000,
            u64::from(u32::MAX),
            1 << 32,
            u64::MAX,
        ] {
            let mut raw = Vec::new();
            push_varint(&mut raw, value);
            assert_eq!(Reader(&raw).varint(), Some(value));
            assert_eq!(Reader(&raw[..raw.len() - 1]).varint(), None);
        }
        for long in [
            &[0xfd, 0xfc, 0][..],
            &[0xfe, 0xff, 0xff, 0, 0],
            &[0xff, 1, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(Reader(long).varint(), None);
        }
    }
}
