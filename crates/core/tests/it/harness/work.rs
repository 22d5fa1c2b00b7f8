//! A miner's work: reads jobs from the wire and finds nonces of the kind that a test needs.

use hstratum_core::chain::address::{Address, Network};
use hstratum_core::units::Hash;
use hstratum_harness::job::ReceivedJob;

/// The kind of submit that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// A share that is a block.
    Block,
    /// A share that is not a block.
    Share,
    /// A hash above the share target.
    Low,
}

/// The address that a miner of a solo listener has as its name, one for each number.
pub(crate) fn payee(number: u16) -> String {
    let address = Address::new(0, number.to_be_bytes().repeat(10)).expect("an address");
    address.encode(Network::Regtest)
}

/// The values that a miner puts into a submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubmitFields {
    pub(crate) n2: u32,
    pub(crate) time: u32,
    pub(crate) nonce: u32,
}

impl SubmitFields {
    /// The last three fields of a submit.
    pub(crate) fn fields(&self) -> String {
        let Self { n2, time, nonce } = self;
        format!("\"{n2:08x}\",\"{time:08x}\",\"{nonce:08x}\"")
    }
}

impl Want {
    /// The first nonce from that of `from` on that gives it.
    pub(crate) fn find(self, job: &ReceivedJob, n1: u32, from: SubmitFields) -> SubmitFields {
        let nonce = job.find((n1, from.n2), from.time, from.nonce, |hash| {
            let (is_block, is_share) = (job.network.is_met_by(hash), job.share.is_met_by(hash));
            match self {
                Self::Block => is_block,
                Self::Share => is_share && !is_block,
                Self::Low => !is_share && !is_block,
            }
        });
        SubmitFields { nonce, ..from }
    }
}

/// A submit of five fields.
pub(crate) fn submit_line(id: &str, user: &str, job: &str, found: &SubmitFields) -> String {
    let fields = found.fields();
    format!(r#"{{"id":{id},"method":"mining.submit","params":["{user}","{job}",{fields}]}}"#)
}

/// Checks that the mask is not in the bytes sent to a miner.
pub(crate) fn assert_hidden(mask: Hash, bytes: &[u8]) {
    let text = mask.to_string();
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(mask == Hash::ZERO || !holds(text.as_bytes()) && !holds(&mask.0));
}
