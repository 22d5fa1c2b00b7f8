//! The block header and its proof of work.
//!
//! One share costs one `HeaderHasher::share_hash`: everything that is the same for all shares of a job is
//! computed once. The layout and all hashes are hsd's (lib/primitives/abstractblock.js). Comparing a hash
//! with a target is not done here.

use crate::units::Hash;
use blake2::{Blake2b512, Digest};
use sha3::Sha3_256;

/// Size of a raw block header in bytes.
pub const HEADER_BYTES: usize = 236;

/// The header fields that all shares of a job have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderFields {
    /// Hash of the parent block.
    pub prev_block: Hash,
    /// Root of the name tree.
    pub tree_root: Hash,
    /// Reserved by the protocol, all zeros until now.
    pub reserved_root: Hash,
    /// Merkle root of the witness hashes.
    pub witness_root: Hash,
    /// Merkle root of the transaction ids.
    pub merkle_root: Hash,
    /// Block version.
    pub version: u32,
    /// Network target in compact form.
    pub bits: u32,
    /// `mask_hash` of the parent and the mask. Miners may know it; they must not know the mask.
    pub mask_hash: Hash,
}

/// The header fields that a miner chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Counted up by the device.
    pub nonce: u32,
    /// Seconds since 1970.
    pub time: u64,
    /// In practice made by `extra_nonce`.
    pub extra_nonce: [u8; 24],
}

/// The 24 bytes of extra nonce: both halves big-endian, as their hex reads, then 16 zeros.
#[must_use]
pub fn extra_nonce(n1: u32, n2: u32) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..4].copy_from_slice(&n1.to_be_bytes());
    bytes[4..8].copy_from_slice(&n2.to_be_bytes());
    bytes
}

/// The hash of parent and mask that the header commits to (hsd lib/primitives/abstractblock.js,
/// maskHash). The parent is hashed with it, so one mask used for two blocks gives two mask hashes.
#[must_use]
pub fn mask_hash(prev_block: &Hash, mask: &Hash) -> Hash {
    Hash::blake2b(&[&prev_block.0, &mask.0])
}

/// Computes share hashes for one job. Built once for a job; hashing allocates nothing.
#[derive(Clone, Debug)]
pub struct HeaderHasher {
    /// Extra nonce (left zero), roots, version, bits.
    subheader: [u8; 128],
    /// Nonce and time (left zero), padding, parent, tree root, commit hash (left zero).
    preheader: [u8; 128],
    mask_hash: Hash,
    padding: [u8; 32],
}

impl HeaderHasher {
    /// Lays out the constant parts of both hashed blocks.
    #[must_use]
    pub fn new(fields: &HeaderFields) -> Self {
        let padding = fields.prev_block.xor(&fields.tree_root).0;
        let mut subheader = [0; 128];
        subheader[24..56].copy_from_slice(&fields.reserved_root.0);
        subheader[56..88].copy_from_slice(&fields.witness_root.0);
        subheader[88..120].copy_from_slice(&fields.merkle_root.0);
        subheader[120..124].copy_from_slice(&fields.version.to_le_bytes());
        subheader[124..].copy_from_slice(&fields.bits.to_le_bytes());
        let mut preheader = [0; 128];
        preheader[12..32].copy_from_slice(&padding[..20]);
        preheader[32..64].copy_from_slice(&fields.prev_block.0);
        preheader[64..96].copy_from_slice(&fields.tree_root.0);
        Self {
            subheader,
            preheader,
            mask_hash: fields.mask_hash,
            padding,
        }
    }

    /// The hash compared with the share target (hsd lib/primitives/abstractblock.js, shareHash). Its xor
    /// with the mask is the hash compared with the network target.
    #[must_use]
    pub fn share_hash(&self, proof: &Proof) -> Hash {
        let preheader = self.fill_preheader(proof);
        let left = Blake2b512::digest(preheader);
        let right = Sha3_256::new()
            .chain_update(preheader)
            .chain_update(&self.padding[..8])
            .finalize();
        Hash::blake2b(&[&left, &self.padding, &right])
    }

    fn fill_preheader(&self, proof: &Proof) -> [u8; 128] {
        let mut subheader = self.subheader;
        subheader[..24].copy_from_slice(&proof.extra_nonce);
        let sub_hash = Hash::blake2b(&[&subheader]);
        let commit_hash = Hash::blake2b(&[&sub_hash.0, &self.mask_hash.0]);
        let mut preheader = self.preheader;
        preheader[..4].copy_from_slice(&proof.nonce.to_le_bytes());
        preheader[4..12].copy_from_slice(&proof.time.to_le_bytes());
        preheader[96..].copy_from_slice(&commit_hash.0);
        preheader
    }
}

/// Encodes the raw header of a block (hsd lib/primitives/abstractblock.js, writeHead). It holds the mask,
/// not `fields.mask_hash`: the two must belong together, or the block has another hash.
#[must_use]
pub fn encode_header(fields: &HeaderFields, proof: &Proof, mask: &Hash) -> [u8; HEADER_BYTES] {
    let mut raw = [0; HEADER_BYTES];
    raw[..4].copy_from_slice(&proof.nonce.to_le_bytes());
    raw[4..12].copy_from_slice(&proof.time.to_le_bytes());
    raw[12..44].copy_from_slice(&fields.prev_block.0);
    raw[44..76].copy_from_slice(&fields.tree_root.0);
    raw[76..100].copy_from_slice(&proof.extra_nonce);
    raw[100..132].copy_from_slice(&fields.reserved_root.0);
    raw[132..164].copy_from_slice(&fields.witness_root.0);
    raw[164..196].copy_from_slice(&fields.merkle_root.0);
    raw[196..200].copy_from_slice(&fields.version.to_le_bytes());
    raw[200..204].copy_from_slice(&fields.bits.to_le_bytes());
    raw[204..].copy_from_slice(&mask.0);
    raw
}

/// Reads a raw header and gives the fields (with the mask hash computed), the proof and the mask.
/// `None` unless there are exactly 236 bytes; any 236 bytes are a header.
#[must_use]
pub fn decode_header(raw: &[u8]) -> Option<(HeaderFields, Proof, Hash)> {
    if raw.len() != HEADER_BYTES {
        return None;
    }
    let prev_block = Hash(array_at(raw, 12)?);
    let mask = Hash(array_at(raw, 204)?);
    let fields = HeaderFields {
        prev_block,
        tree_root: Hash(array_at(raw, 44)?),
        reserved_root: Hash(array_at(raw, 100)?),
        witness_root: Hash(array_at(raw, 132)?),
        merkle_root: Hash(array_at(raw, 164)?),
        version: u32::from_le_bytes(array_at(raw, 196)?),
        bits: u32::from_le_bytes(array_at(raw, 200)?),
        mask_hash: mask_hash(&prev_block, &mask),
    };
    let proof = Proof {
        nonce: u32::from_le_bytes(array_at(raw, 0)?),
        time: u64::from_le_bytes(array_at(raw, 4)?),
        extra_nonce: array_at(raw, 76)?,
    };
    Some((fields, proof, mask))
}

/// The hash of the block `encode_header` writes with the same arguments: its share hash under the
/// hash of `mask` (whatever `fields.mask_hash` says), xor `mask`.
#[must_use]
pub fn header_hash(fields: &HeaderFields, proof: &Proof, mask: &Hash) -> Hash {
    let fields = HeaderFields {
        mask_hash: mask_hash(&fields.prev_block, mask),
        ..fields.clone()
    };
    HeaderHasher::new(&fields).share_hash(proof).xor(mask)
}

fn array_at<const N: usize>(raw: &[u8], start: usize) -> Option<[u8; N]> {
    raw.get(start..)?.first_chunk().copied()
}
