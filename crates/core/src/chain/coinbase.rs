//! Coinbases: read as hsd writes them, and made to pay a miner directly.
//!
//! Invariant: each coinbase made here of the node's has its inputs, its total value, and its outputs after the
//! first in their places: those of claims and airdrops belong to the inputs of the same number (hsd
//! lib/blockchain/chain.js, verify). [`Coinbase::is_variant_of`] checks that from the bytes.

use std::ops::Range;

use crate::chain::address::{ADDRESS_HASH_BYTES, Address};
use crate::chain::header::HEADER_BYTES;
use crate::chain::reader::Reader;
use crate::chain::transaction::witness_hash;
use crate::units::Hash;

/// Longest coinbase flags hsd's miner takes, in bytes (hsd lib/mining/miner.js, coinbaseFlags).
const FLAGS_BYTES_MAX: usize = 20;
/// Size of the second witness item of the coinbase.
const WITNESS_NONCE_BYTES: usize = 8;
/// Largest output that only pays: amount, address, covenant.
const OUTPUT_BYTES_MAX: usize = 8 + 2 + *ADDRESS_HASH_BYTES.end() + NO_COVENANT.len();
/// Covenant of an output that only pays: type NONE, no items.
const NO_COVENANT: [u8; 2] = [0, 0];

/// Recipient of the blocks that a listener's miners find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Payout {
    /// The address of the node's coinbase; shares are credit.
    #[default]
    Operator,
    /// The finder of the block; shares are statistics.
    Solo,
    /// The accounts of the window, each by its work; shares are credit.
    Split,
}

impl Payout {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Operator, Self::Solo, Self::Split];

    /// The one of that name; `None` for any other name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|payout| payout.name() == name)
    }

    /// The name in options and in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Solo => "solo",
            Self::Split => "split",
        }
    }
}

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
    inputs: u64,
    outputs: OutputPlaces,
    locktime: u32,
    txid: Hash,
    witness_hash: Hash,
}

/// The outputs in a coinbase's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OutputPlaces {
    count: u64,
    /// Sum of their amounts, in base units.
    total: u64,
    /// Their count and all of them.
    all: Range<usize>,
    /// Begin of the first one's covenant.
    covenant_at: usize,
    /// Begin of the second one.
    second_at: usize,
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
        let (value, address, outputs) = read_outputs(&mut reader, bytes.len())?;
        let locktime = reader.u32()?;
        let base_bytes = bytes.len() - reader.0.len();
        let nonce_at = bytes.len() - read_first_witness(&mut reader)?;
        for _ in 1..input_count {
            reader.skip_items()?;
        }
        let raw = bytes[..bytes.len() - reader.0.len()].to_vec();
        let txid = Hash::blake2b(&[&raw[..base_bytes]]);
        let witness_hash = witness_hash(&txid, &Hash::blake2b(&[&raw[base_bytes..]]));
        let coinbase = Self {
            raw,
            base_bytes,
            nonce_at,
            value,
            address,
            inputs: input_count,
            outputs,
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
        changed.witness_hash = witness_hash(&self.txid, &changed.hash_of_witnesses());
        changed
    }

    /// The same transaction with another witness nonce and other payments: `first` has the place of the first
    /// output, and the others come after all outputs. Together they have the amount of the first output.
    #[must_use]
    pub fn paying<'a>(
        &self,
        first: &Address,
        others: impl ExactSizeIterator<Item = (u64, &'a Address)>,
        nonce: [u8; WITNESS_NONCE_BYTES],
    ) -> Self {
        let mut raw = self.base_paying(first, others);
        raw.extend_from_slice(&self.raw[self.base_bytes..self.nonce_at]);
        raw.extend_from_slice(&nonce);
        raw.extend_from_slice(&self.raw[self.nonce_at + WITNESS_NONCE_BYTES..]);
        Self::parse(&raw).expect("a coinbase with other outputs is a coinbase")
    }

    /// The id of [`Self::paying`], whatever the witness nonce.
    #[must_use]
    pub fn txid_paying<'a>(
        &self,
        first: &Address,
        others: impl ExactSizeIterator<Item = (u64, &'a Address)>,
    ) -> Hash {
        Hash::blake2b(&[&self.base_paying(first, others)])
    }

    /// [`Self::paying`] without the witnesses.
    fn base_paying<'a>(
        &self,
        first: &Address,
        others: impl ExactSizeIterator<Item = (u64, &'a Address)>,
    ) -> Vec<u8> {
        let OutputPlaces {
            count,
            all,
            covenant_at,
            ..
        } = &self.outputs;
        let more = others.len();
        let mut raw = Vec::with_capacity(self.raw.len() + (more + 1) * OUTPUT_BYTES_MAX);
        raw.extend_from_slice(&self.raw[..all.start]);
        push_varint(&mut raw, count + more as u64);
        let first_at = raw.len();
        let mut first_value = self.value;
        push_payment(&mut raw, first_value, first);
        raw.extend_from_slice(&self.raw[*covenant_at..all.end]);
        for (value, address) in others {
            first_value -= value;
            push_payment(&mut raw, value, address);
            raw.extend_from_slice(&NO_COVENANT);
        }
        let first_value = first_value.to_le_bytes();
        raw[first_at..][..first_value.len()].copy_from_slice(&first_value);
        raw.extend_from_slice(&self.raw[all.end..self.base_bytes]);
        raw
    }

    /// The same transaction, of whose first output these payments are taken; they come after all outputs.
    #[must_use]
    pub fn sharing<'a>(&self, payments: impl ExactSizeIterator<Item = (u64, &'a Address)>) -> Self {
        let nonce = self.raw[self.nonce_at..][..WITNESS_NONCE_BYTES].try_into();
        let nonce = nonce.expect("a coinbase has its nonce");
        self.paying(&self.address, payments, nonce)
    }

    /// True if it is what the node's coinbase may become: with the same inputs, total value, height, covenant
    /// of the first output and further outputs, behind which others only pay somebody, and no fewer outputs than
    /// inputs. All is read anew from the bytes.
    #[must_use]
    pub fn is_variant_of(&self, node: &Self) -> bool {
        let (inputs, covenant, further) = self.kept_parts();
        let (node_inputs, node_covenant, node_further) = node.kept_parts();
        Self::parse(&self.raw).as_ref() == Some(self)
            && inputs == node_inputs
            && covenant == node_covenant
            && further.strip_prefix(node_further).is_some_and(only_pay)
            && self.outputs.count >= self.inputs
            && self.outputs.total == node.outputs.total
            && self.locktime == node.locktime
    }

    /// The bytes up to the inputs' end, the covenant of the first output, and the outputs after it.
    fn kept_parts(&self) -> (&[u8], &[u8], &[u8]) {
        let OutputPlaces {
            all,
            covenant_at,
            second_at,
            ..
        } = &self.outputs;
        (
            &self.raw[..all.start],
            &self.raw[*covenant_at..*second_at],
            &self.raw[*second_at..all.end],
        )
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

    /// Hash of the witnesses alone.
    #[must_use]
    pub fn hash_of_witnesses(&self) -> Hash {
        Hash::blake2b(&[&self.raw[self.base_bytes..]])
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

/// Value and address of the first output, and the places of all in a transaction of `size` bytes.
fn read_outputs(reader: &mut Reader<'_>, size: usize) -> Option<(u64, Address, OutputPlaces)> {
    let start = size - reader.0.len();
    let count = reader.varint()?;
    let (mut total, mut first) = (0_u64, None);
    for _ in 0..count {
        let value = reader.u64()?;
        total = total.checked_add(value)?;
        let address = reader.address()?;
        let covenant_at = size - reader.0.len();
        let _covenant_type = reader.u8()?;
        reader.skip_items()?;
        first.get_or_insert_with(|| (value, address, covenant_at, size - reader.0.len()));
    }
    let (value, address, covenant_at, second_at) = first?;
    let places = OutputPlaces {
        count,
        total,
        all: start..size - reader.0.len(),
        covenant_at,
        second_at,
    };
    Some((value, address, places))
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

/// True if the bytes are outputs without a covenant, or none.
fn only_pay(outputs: &[u8]) -> bool {
    let mut reader = Reader(outputs);
    while !reader.0.is_empty() {
        let paid = reader.u64().and_then(|_| reader.address());
        if paid.is_none() || reader.take(NO_COVENANT.len()) != Some(&NO_COVENANT[..]) {
            return false;
        }
    }
    true
}

/// Appends amount and address of an output (hsd lib/primitives/output.js, write).
fn push_payment(raw: &mut Vec<u8>, value: u64, address: &Address) {
    raw.extend_from_slice(&value.to_le_bytes());
    let size = u8::try_from(address.hash().len()).expect("an address has at most 40 bytes");
    raw.extend_from_slice(&[address.version(), size]);
    raw.extend_from_slice(address.hash());
}

/// Appends a number as [`Reader::varint`] reads it.
pub(crate) fn push_varint(out: &mut Vec<u8>, value: u64) {
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
