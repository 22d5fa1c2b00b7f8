//! Payment transactions, read so that they can be checked before they are sent.
//!
//! Only the bytes are judged here. A node decides about everything else: that the coins exist, that the
//! signatures are right, that the network would relay it.

use crate::chain::address::Address;
use crate::chain::reader::Reader;
use crate::units::Hash;

/// Weight of a byte outside the witnesses (hsd lib/protocol/consensus.js, WITNESS_SCALE_FACTOR).
const WITNESS_SCALE: usize = 4;

/// Covenant type of an output that only pays money (hsd lib/covenants/rules.js, types).
const COVENANT_NONE: u8 = 0;

/// A reference to one output of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outpoint {
    /// Id of the transaction.
    pub txid: Hash,
    /// Index of the output, from 0.
    pub index: u32,
}

/// An input of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxInput {
    /// The output it spends.
    pub outpoint: Outpoint,
    /// 2^32 − 1 for no relative lock on time or height.
    pub sequence: u32,
    /// Signatures and keys that prove the right to spend; empty if it is not signed.
    pub witness: Vec<Vec<u8>>,
}

/// An output of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxOutput {
    /// Amount in base units.
    pub value: u64,
    /// Address that is paid.
    pub address: Address,
    /// True if it only pays money: its covenant is of type NONE and empty, so it has nothing to do with a
    /// name.
    pub plain: bool,
}

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Version; only 0 is relayed.
    pub version: u32,
    /// Inputs, at least one.
    pub inputs: Vec<TxInput>,
    /// Outputs.
    pub outputs: Vec<TxOutput>,
    /// Lock time; 0 allows any block.
    pub locktime: u32,
    /// Hash of the transaction without its witnesses; signing does not change it.
    pub txid: Hash,
    /// Hash of id and witnesses, a leaf of a block's witness root.
    pub witness_hash: Hash,
    /// Weight of the transaction in a block (hsd lib/primitives/tx.js, getWeight).
    pub weight: usize,
}

impl Transaction {
    /// Reads a transaction as hsd writes it (lib/primitives/tx.js, read): base, then witnesses, and
    /// nothing after them. `None` if the bytes are not one.
    #[must_use]
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let (transaction, rest) = Self::parse_first(raw)?;
        rest.is_empty().then_some(transaction)
    }

    /// The same with other bytes after it, which are the second value.
    pub(crate) fn parse_first(raw: &[u8]) -> Option<(Self, &[u8])> {
        let mut reader = Reader(raw);
        let version = reader.u32()?;
        let mut inputs = read_many(&mut reader, read_input)?;
        let outputs = read_many(&mut reader, read_output)?;
        let locktime = reader.u32()?;
        let base_bytes = raw.len() - reader.0.len();
        for input in &mut inputs {
            input.witness = read_many(&mut reader, |reader| Some(reader.var_bytes()?.to_vec()))?;
        }
        let rest = reader.0;
        let raw = &raw[..raw.len() - rest.len()];
        let txid = Hash::blake2b(&[&raw[..base_bytes]]);
        let transaction = Self {
            version,
            outputs,
            locktime,
            txid,
            witness_hash: witness_hash(&txid, &Hash::blake2b(&[&raw[base_bytes..]])),
            weight: base_bytes * (WITNESS_SCALE - 1) + raw.len(),
            inputs,
        };
        (!transaction.inputs.is_empty()).then_some((transaction, rest))
    }

    /// True if one of its inputs spends `outpoint`.
    #[must_use]
    pub fn spends(&self, outpoint: Outpoint) -> bool {
        self.inputs.iter().any(|input| input.outpoint == outpoint)
    }
}

/// Witness hash of a transaction with this id, whose witnesses have this hash.
pub(crate) fn witness_hash(txid: &Hash, witnesses: &Hash) -> Hash {
    Hash::blake2b(&[&txid.0, &witnesses.0])
}

/// Reads a count and that many items. The count alone allocates nothing.
fn read_many<T>(
    reader: &mut Reader<'_>,
    read: impl Fn(&mut Reader<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut many = Vec::new();
    for _ in 0..reader.varint()? {
        many.push(read(reader)?);
    }
    Some(many)
}

fn read_input(reader: &mut Reader<'_>) -> Option<TxInput> {
    let txid = Hash(reader.array()?);
    let index = reader.u32()?;
    let sequence = reader.u32()?;
    let outpoint = Outpoint { txid, index };
    Some(TxInput {
        outpoint,
        sequence,
        witness: Vec::new(),
    })
}

fn read_output(reader: &mut Reader<'_>) -> Option<TxOutput> {
    let value = reader.u64()?;
    let address = reader.address()?;
    let covenant = reader.u8()?;
    let items = read_many(reader, |reader| reader.var_bytes().map(drop))?;
    Some(TxOutput {
        value,
        address,
        plain: covenant == COVENANT_NONE && items.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::address::Network;
    use crate::units::unhex;

    /// Made by hsd: two coins of one key, a payment, change.
    const RAW: &str = "0000000002010101010101010101010101010101010101010101010101010101010101010100000000ffffffff040404040404040404040404040404040404040404040404040404040404040403000000ffffffff0287d612000000000000140000000000000000000000000000000000000000000060ae0a000000000000146bb5dca053ae9d10a5344d7ab99db4c2a8daf60400000000000002410a9c4da40652addccd7c3d3b5f47dd0dc29ad8ff218921081eec1600c22b491a1735cee71f58bf3282d149e89def466d11f5bf3fa9ebccf4635503f15b604684012102989c0b76cb563971fdc9bef31ec06c3560f3249d6ee9e5d83c57625596e05f6f02418192ed2fd296603ca830060ab04a7989d207f17b425733c87dda3b0910cb37161c7063141542afaa78c4e8b23575bc86898f6e1cf3f7e361826697a5010019f1012102989c0b76cb563971fdc9bef31ec06c3560f3249d6ee9e5d83c57625596e05f6f";

    #[test]
    fn a_payment_of_hsd_is_read() {
        let raw = unhex(RAW).unwrap();
        let tx = Transaction::parse(&raw).expect("hsd's own transaction");
        let txid = "434193ecad344b07be8aa02a34a53a9d099fac65a0e96ee73f3ff7e35d51dc73";
        assert_eq!(tx.txid, Hash::from_hex(txid).unwrap());
        assert_eq!((tx.version, tx.locktime, tx.weight), (0, 0, 818));
        for (place, index) in [(0, 0), (1, 3)] {
            let txid = Hash([index as u8 + 1; 32]);
            let input = &tx.inputs[place];
            assert_eq!(input.outpoint, Outpoint { txid, index });
            let sizes: Vec<usize> = input.witness.iter().map(Vec::len).collect();
            assert_eq!(sizes, [65, 33]);
            assert_eq!(input.sequence, u32::MAX);
            assert!(tx.spends(input.outpoint));
        }
        let txid = Hash([1; 32]);
        assert!(!tx.spends(Outpoint { txid, index: 1 }));
        let paid = [
            "rs1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqn6kda",
            "rs1qdw6aegzn46w3pff5f4atn8d5c25d4asyetvy2a",
        ];
        let values = [1_234_567, 700_000];
        for ((output, value), address) in tx.outputs.iter().zip(values).zip(paid) {
            let address = Address::parse(address, Network::Regtest).unwrap();
            assert_eq!(
                *output,
                TxOutput {
                    value,
                    address,
                    plain: true
                }
            );
        }
        assert_eq!(tx.outputs.len(), 2);
    }

    #[test]
    fn what_is_cut_or_longer_is_no_transaction() {
        let mut raw = unhex(RAW).unwrap();
        for cut in 0..raw.len() {
            assert_eq!(Transaction::parse(&raw[..cut]), None, "{cut}");
        }
        raw.push(0);
        assert_eq!(Transaction::parse(&raw), None);
        assert_eq!(Transaction::parse(&[0xff; 64]), None);
    }

    #[test]
    fn an_output_with_a_covenant_is_not_plain() {
        let raw = unhex(RAW).unwrap();
        // The covenant's type is the byte before its count, behind the first output's address.
        let at = 4 + 1 + 2 * 40 + 1 + 8 + 2 + 20;
        for (offset, byte) in [(0, 2), (1, 0)] {
            let mut other = raw.clone();
            assert_eq!(other[at + offset], 0);
            other[at + offset] = byte;
            let plain = Transaction::parse(&other).unwrap().outputs[0].plain;
            assert_eq!(plain, byte == 0);
        }
    }
}
