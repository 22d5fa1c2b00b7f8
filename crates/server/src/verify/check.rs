//! Comparison of a job with the API's answer about it. Pure.

use std::fmt;

use hstratum_core::accounting::reward_split::Hns;
use hstratum_core::chain::address::Network;
use hstratum_core::chain::coinbase::{Coinbase, Payout};
use hstratum_core::chain::header::HeaderFields;
use hstratum_core::chain::merkle::Branch;
use hstratum_core::chain::transaction::{Transaction, TxOutput};
use hstratum_core::units::{Hash, hex};

use super::api::{ShownJob, ShownOutput};
use super::{JobReport, Owner, PaidOutput, address_of_any_network};

/// Faults of outputs that are listed; the rest is counted.
const OUTPUT_FAULTS_MAX: usize = 5;

/// Something that is not as the API says. Texts of the API are untrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The API does not know the job, in its words.
    NotKnown(String),
    /// The answer is about another job.
    OtherJob(String),
    /// A part of the header, by name, as the API says and as in the job.
    Header(&'static str, String, String),
    /// The coinbase shown is none.
    NoCoinbase,
    /// A root, by name: that of the coinbase and branch shown, and the job's.
    Root(&'static str, Hash, Hash),
    /// The height, as the API says and as in the coinbase.
    Height(u32, u32),
    /// Number of outputs, as the API says and as in the coinbase.
    OutputCount(usize, usize),
    /// Address of an output, from 1, as the API says and as in the coinbase.
    Address(usize, String, String),
    /// Amount of an output, from 1, as the API says and as in the coinbase.
    Amount(usize, u64, u64),
    /// Further outputs that differ.
    FurtherOutputs(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |units: &u64| Hns(i128::from(*units));
        match self {
            Self::NotKnown(text) => write!(f, "the API does not know the job: {text:?}"),
            Self::OtherJob(id) => write!(f, "the API answers about another job: {id:?}"),
            Self::Header(name, shown, given) => {
                write!(f, "{name}: the API says {shown}, the job has {given}")
            }
            Self::NoCoinbase => f.write_str("the coinbase that the API shows is none"),
            Self::Root(name, shown, given) => write!(
                f,
                "{name}: the API's coinbase and branch give {}, the job has {}",
                hex(&shown.0),
                hex(&given.0)
            ),
            Self::Height(shown, given) => {
                write!(f, "height: the API says {shown}, the coinbase has {given}")
            }
            Self::OutputCount(shown, given) => {
                write!(
                    f,
                    "outputs: the API lists {shown}, the coinbase has {given}"
                )
            }
            Self::Address(number, shown, given) => write!(
                f,
                "output {number}: the API says that it pays {shown:?}, the coinbase pays {given}"
            ),
            Self::Amount(number, shown, given) => write!(
                f,
                "output {number}: the API says {} HNS, the coinbase has {} HNS",
                amount(shown),
                amount(given)
            ),
            Self::FurtherOutputs(1) => f.write_str("1 more output differs"),
            Self::FurtherOutputs(count) => write!(f, "{count} more outputs differ"),
        }
    }
}

/// Checks an answer about the job with this id and header.
pub(super) fn check(
    job: &str,
    header: &HeaderFields,
    shown: &ShownJob,
    owner: &Owner,
) -> JobReport {
    let mut faults = Vec::new();
    if shown.id != job {
        faults.push(Fault::OtherJob(shown.id.chars().take(100).collect()));
    }
    check_header(shown, header, &mut faults);
    let outputs = check_coinbase(shown, header, &mut faults);
    let is_job = outputs.is_some();
    JobReport {
        job: job.to_owned(),
        prev_block: header.prev_block,
        height: Coinbase::parse(&shown.coinbase)
            .filter(|_| is_job)
            .map(|coinbase| coinbase.locktime()),
        faults,
        outputs: paid(outputs.unwrap_or_default(), shown, owner),
        payout: Payout::from_name(&shown.payout),
        is_own_by_name: owner.is_name(),
    }
}

fn check_header(shown: &ShownJob, header: &HeaderFields, faults: &mut Vec<Fault>) {
    let hash = |hash: &Hash| hex(&hash.0);
    let word = |word: u32| format!("{word:08x}");
    for (name, shown, given) in [
        (
            "previous block",
            hash(&shown.prev_block),
            hash(&header.prev_block),
        ),
        ("tree root", hash(&shown.tree_root), hash(&header.tree_root)),
        (
            "reserved root",
            hash(&shown.reserved_root),
            hash(&header.reserved_root),
        ),
        ("version", word(shown.version), word(header.version)),
        ("bits", word(shown.bits), word(header.bits)),
    ] {
        if shown != given {
            faults.push(Fault::Header(name, shown, given));
        }
    }
}

/// Checks the coinbase against the job's roots, and what the API says of it against its bytes. The outputs in its
/// bytes, if it is the job's.
fn check_coinbase(
    shown: &ShownJob,
    header: &HeaderFields,
    faults: &mut Vec<Fault>,
) -> Option<Vec<TxOutput>> {
    let coinbase = Coinbase::parse(&shown.coinbase);
    let transaction = Transaction::parse(&shown.coinbase);
    let (Some(coinbase), Some(transaction)) = (coinbase, transaction) else {
        faults.push(Fault::NoCoinbase);
        return None;
    };
    let before = faults.len();
    for (name, branch, leaf, given) in [
        (
            "merkle root",
            &shown.merkle_branch,
            coinbase.txid(),
            header.merkle_root,
        ),
        (
            "witness root",
            &shown.witness_branch,
            coinbase.witness_hash(),
            header.witness_root,
        ),
    ] {
        let root = Branch::of_nodes(branch.clone()).root(&leaf);
        if root != given {
            faults.push(Fault::Root(name, root, given));
        }
    }
    let is_job = faults.len() == before;
    if shown.height != coinbase.locktime() {
        faults.push(Fault::Height(shown.height, coinbase.locktime()));
    }
    check_outputs(&shown.outputs, &transaction.outputs, faults);
    is_job.then_some(transaction.outputs)
}

fn check_outputs(shown: &[ShownOutput], given: &[TxOutput], faults: &mut Vec<Fault>) {
    if shown.len() != given.len() {
        faults.push(Fault::OutputCount(shown.len(), given.len()));
    }
    let network = network_of(shown);
    let mut found = Vec::new();
    for (number, (shown, given)) in (1..).zip(shown.iter().zip(given)) {
        let address = given.address.encode(network);
        if shown.address != address {
            let shown = shown.address.chars().take(100).collect();
            found.push(Fault::Address(number, shown, address));
        }
        if shown.value != given.value {
            found.push(Fault::Amount(number, shown.value, given.value));
        }
    }
    let further = found.len().saturating_sub(OUTPUT_FAULTS_MAX);
    faults.extend(found.into_iter().take(OUTPUT_FAULTS_MAX));
    if further > 0 {
        faults.push(Fault::FurtherOutputs(further));
    }
}

/// The network of the addresses shown, which is not in a coinbase's bytes.
fn network_of(shown: &[ShownOutput]) -> Network {
    let mut networks = shown
        .iter()
        .filter_map(|output| address_of_any_network(&output.address));
    networks
        .next()
        .map_or(Network::Main, |(network, _)| network)
}

/// Outputs with the accounts that the API says they are for.
fn paid(outputs: Vec<TxOutput>, shown: &ShownJob, owner: &Owner) -> Vec<PaidOutput> {
    let network = network_of(&shown.outputs);
    let accounts = shown.outputs.iter().map(|output| output.account.clone());
    let accounts = accounts.chain(std::iter::repeat(None));
    let paid = outputs.into_iter().zip(accounts);
    paid.map(|(output, account)| PaidOutput {
        address: output.address.encode(network),
        value: output.value,
        // An output with a covenant does not pay alone.
        is_own: output.plain && owner.owns(&output.address, account.as_deref()),
        account,
    })
    .collect()
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
