//! Found blocks: a solution with all its parts, checked once more, and encoded as a whole raw block.

use crate::chain::header::{
    HEADER_BYTES, HeaderFields, Proof, decode_header, encode_header, header_hash,
};
use crate::units::{Difficulty, Hash, Height};
use std::sync::Arc;

use crate::chain::address::Address;
use crate::chain::coinbase::{Coinbase, Payout};
use crate::chain::coinbase_split::{FrozenSplit, SplitRecord};
use crate::chain::merkle::Branch;
use crate::chain::reader::Reader;
use crate::chain::template::{RawTransactions, Template, encode_block};
use crate::chain::transaction::Transaction;

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
    /// Address that the coinbase pays in place of the node's, if it pays its finder.
    pub payee: Option<Address>,
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
        if !self.coinbase.is_variant_of(&template.node_coinbase) {
            return Err("coinbase");
        }
        let is_paid = match &self.payee {
            None => self.coinbase.txid() == template.coinbase.txid(),
            Some(payee) => self.coinbase.address() == payee,
        };
        if !is_paid {
            return Err("recipient");
        }
        if self.fields.merkle_root != template.merkle_branch.root(&self.coinbase.txid()) {
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

    /// Recipient of its reward.
    pub fn payout(&self) -> Payout {
        match (&self.payee, &self.template.split) {
            (Some(_), _) => Payout::Solo,
            (None, Some(_)) => Payout::Split,
            (None, None) => Payout::Operator,
        }
    }

    /// The split of its coinbase.
    pub fn split(&self) -> Option<Arc<FrozenSplit>> {
        self.template.split.clone().filter(|_| self.payee.is_none())
    }

    /// The whole raw block.
    pub fn encode(&self, transactions: &RawTransactions) -> Vec<u8> {
        let header = encode_header(&self.fields, &self.proof, &self.mask);
        encode_block(&header, &self.coinbase, transactions)
    }
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
    /// Recipient of its reward.
    pub payout: Payout,
    /// How its reward is split; `None` if it is not.
    pub split: Option<BlockSplit>,
    /// The account whose share it was; `None` for a block of an earlier run.
    pub account: Option<Arc<str>>,
}

/// True if a whole raw block has the transactions that its header's roots are of.
#[must_use]
pub fn is_whole(raw: &[u8]) -> bool {
    let roots = || -> Option<(Hash, Hash)> {
        let mut reader = Reader(raw.get(HEADER_BYTES..)?);
        let count = reader.varint()?;
        let mut rest = reader.0;
        let (mut ids, mut witnesses) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let transaction;
            (transaction, rest) = Transaction::parse_first(rest)?;
            ids.push(transaction.txid);
            witnesses.push(transaction.witness_hash);
        }
        let root = |leaves: &[Hash]| {
            let (first, others) = leaves.split_first()?;
            Some(Branch::of_first(others.iter().copied()).root(first))
        };
        Some((root(&ids)?, root(&witnesses)?)).filter(|_| rest.is_empty())
    };
    let header = raw.get(..HEADER_BYTES).and_then(decode_header);
    let expected = header.map(|(fields, ..)| (fields.merkle_root, fields.witness_root));
    expected.is_some() && roots() == expected
}

/// How the coinbase of a found block splits its reward.
#[derive(Clone)]
pub enum BlockSplit {
    /// As the job was frozen.
    Frozen(Arc<FrozenSplit>),
    /// As an earlier run has recorded it.
    Recorded(Arc<SplitRecord>),
}

impl BlockSplit {
    /// What the ledger keeps of it; see [`FrozenSplit::record`].
    #[must_use]
    pub fn record(&self) -> Arc<SplitRecord> {
        match self {
            Self::Frozen(frozen) => Arc::new(frozen.record()),
            Self::Recorded(record) => record.clone(),
        }
    }
}

impl FoundBlock {
    /// Reads a whole raw block; `None` if the bytes are not one. They do not tell its kind of payout, nor its
    /// split.
    pub fn parse(raw: &[u8], payout: Payout) -> Option<Self> {
        let (fields, proof, mask) = decode_header(raw.get(..HEADER_BYTES)?)?;
        let coinbase = Coinbase::of_block(raw)?;
        Some(Self {
            hash: header_hash(&fields, &proof, &mask),
            height: Height(coinbase.locktime()),
            time: proof.time,
            bits: fields.bits,
            coinbase,
            payout,
            split: None,
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
            payout: solution.payout(),
            split: solution.split().map(BlockSplit::Frozen),
            account: Some(solution.account.clone()),
        }
    }
}
