//! Found blocks: a solution with all its parts, checked once more, and encoded as a whole raw block.

use crate::chain::header::{
    HEADER_BYTES, HeaderFields, Proof, decode_header, encode_header, header_hash,
};
use crate::units::{Difficulty, Hash, Height};
use std::sync::Arc;

use crate::chain::template::{Coinbase, RawTransactions, Template, encode_block};

/// A share that meets the network's target, with everything needed to build its block.
pub struct Solution {
    /// The block's hash.
    pub hash: Hash,
    /// The template it was mined on.
    pub template: Arc<Template>,
    /// The header without its proof.
    pub fields: HeaderFields,
    /// Nonce, time and extra nonce.
    pub proof: Proof,
    /// The mask of the job it was mined on.
    pub mask: Hash,
    /// The coinbase of the job it was mined on.
    pub coinbase: Coinbase,
    /// `Network` if its parent was still the tip when it came.
    pub reach: Reach,
    /// The account whose share it was.
    pub account: Arc<str>,
    /// The difficulty of that share.
    pub difficulty: Difficulty,
}

/// The spread of a found block: to the node's peers too, or into its chain only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To the peers at once, and into the chain.
    Network,
    /// Into the chain only: its parent is no longer the tip.
    Chain,
}

impl Solution {
    /// Checks the whole block anew from its parts, because a node that announces an invalid block is
    /// banned by its peers.
    ///
    /// # Errors
    /// The part that is wrong.
    pub fn verify(&self) -> Result<(), &'static str> {
        self.verify_parts()?;
        if self.template.target.is_met_by(&self.hash) {
            Ok(())
        } else {
            Err("proof of work")
        }
    }

    /// Checks all parts but the network's target.
    ///
    /// # Errors
    /// The part that is wrong.
    pub fn verify_parts(&self) -> Result<(), &'static str> {
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
        if header_hash(&self.fields, &self.proof, &self.mask) != self.hash {
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

/// The node's answer about a found block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// On the main chain.
    Accepted,
    /// Valid and stored, on a side chain.
    Side,
    /// Not in the chain, for the reason given.
    Refused(String),
    /// The node could not tell, for the reason given: the block stays in the spool.
    Unknown(String),
}

/// A found block that waits for the node's verdict: what the pool and the ledger keep of it, without its
/// transactions.
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
    /// Its coinbase, with the address and amount that it pays.
    pub coinbase: Coinbase,
    /// The account whose share it was; `None` for a block of an earlier run.
    pub account: Option<Arc<str>>,
}

impl FoundBlock {
    /// Reads a whole raw block; `None` if the bytes are not one.
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

    /// Takes from a solution what is kept of it.
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
