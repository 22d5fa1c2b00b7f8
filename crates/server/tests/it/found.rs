//! Blocks as a server finds them.

use hstratum_core::chain::block::FoundBlock;
use hstratum_core::chain::coinbase::{Coinbase, Payout};
use hstratum_core::units::{Hash, Height};

/// The hash of the block with this name in a test.
pub(crate) fn hash(name: &str) -> Hash {
    Hash::blake2b(&[name.as_bytes()])
}

/// A block found by alice.
pub(crate) fn found_block(height: u32, name: &str) -> FoundBlock {
    FoundBlock {
        payout: Payout::Operator,
        split: None,
        hash: hash(name),
        height: Height(height),
        time: 5,
        bits: 0x207f_ffff,
        coinbase: coinbase(),
        account: Some("alice".into()),
    }
}

fn coinbase() -> Coinbase {
    let text = include_str!("../../../core/tests/vectors/templates.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(text).expect("JSON");
    let hex = vectors[0]["template"]["coinbase"]
        .as_str()
        .or_else(|| vectors[0]["coinbase"].as_str())
        .expect("a coinbase");
    let raw = hstratum_core::units::unhex(hex).expect("hex");
    Coinbase::parse(&raw).expect("a coinbase")
}
