//! Found blocks: complete, checked once more from their parts, and ready to be written whole.

use crate::chain::header::{
    HEADER_BYTES, HeaderFields, Proof, decode_header, encode_header, header_hash,
};
use crate::units::{Difficulty, Hash, Height};
use std::sync::Arc;

use crate::chain::template::{Coinbase, RawTransactions, Template, encode_block};

/// A share that meets the network's target.
pub struct Solution {
    /// The block's hash.
    pub hash: Hash,
    /// What it was made from.
    pub template: Arc<Template>,
    /// The header but for the proof.
    pub fields: HeaderFields,
    /// Nonce, time and extra nonce.
    pub proof: Proof,
    /// The mask of its job.
    pub mask: Hash,
    /// The coinbase of its job.
    pub coinbase: Coinbase,
    /// Whether its parent was the tip when it came; if not, the node only stores it.
    pub reach: Reach,
    /// Who found it.
    pub account: Arc<str>,
    /// The difficulty of the share that it is.
    pub difficulty: Difficulty,
}

/// How far a found block is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To the peers at once, and into the chain.
    Network,
    /// Into the chain only: its parent is no longer the tip.
    Chain,
}

impl Solution {
    /// Checks the whole block anew from its parts, since an invalid one gets the node banned.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self) -> Result<(), &'static str> {
        let template = &self.template;
        if self.coinbase.txid() != template.coinbase.txid()
            || self.fields.merkle_root != template.merkle_branch.root(&self.coinbase.txid())
        {
            return Err("merkle root");
        }
        if self.fields.witness_root != template.witness_root(&self.coinbase) {
            return Err("witness root");
        }
        if !(template.time_min..=template.time_max).contains(&self.proof.time) {
            return Err("time");
        }
        if header_hash(&self.fields, &self.proof, &self.mask) != self.hash
            || !template.target.is_met_by(&self.hash)
        {
            return Err("proof of work");
        }
        Ok(())
    }

    /// The whole raw block.
    pub fn encode(&self, transactions: &RawTransactions) -> Vec<u8> {
        let header = encode_header(&self.fields, &self.proof, &self.mask);
        encode_block(&header, &self.coinbase, transactions)
    }
}

/// What the node says of a found block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is on the main chain.
    Accepted,
    /// It is valid and stored, on a side chain.
    Side,
    /// It is not in the chain, for this reason.
    Refused(String),
    /// The node could not say: the block stays in the spool.
    Unknown(String),
}

/// A block that waits for the node's verdict.
#[derive(Clone)]
pub struct FoundBlock {
    /// Its hash.
    pub hash: Hash,
    /// Its height.
    pub height: Height,
    /// Its time, Unix seconds.
    pub time: u64,
    /// Its header's compact target.
    pub bits: u32,
    /// Its coinbase: whom it pays, and how much.
    pub coinbase: Coinbase,
    /// Whose share it was; unknown for one of an earlier run.
    pub account: Option<Arc<str>>,
}

impl FoundBlock {
    /// Reads a whole raw block; `None` when it is none.
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let (fields, proof, mask) = decode_header(raw.get(..HEADER_BYTES)?)?;
        let coinbase = Coinbase::of_block(raw)?;
        Some(Self {
            hash: header_hash(&fields, &proof, &mask),
            height: Height(coinbase.locktime()),
            time: proof.time,
            bits: fields.bits,
            coinbase,
            account: None,
        })
    }

    /// What is kept of a solution.
    pub fn of(solution: &Solution) -> Self {
        Self {
            hash: solution.hash,
            height: solution.template.height,
            time: solution.proof.time,
            bits: solution.fields.bits,
            coinbase: solution.coinbase.clone(),
            account: Some(solution.account.clone()),
        }
    }
}
