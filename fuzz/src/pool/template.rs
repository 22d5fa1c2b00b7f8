//! hsd's own templates from the core's vectors, with other bits and parents.

use std::sync::OnceLock;

use hstratum_core::chain::template::{Template, TemplateParts};
use hstratum_core::units::{Hash, Height, Target, unhex};
use serde_json::Value;

/// One hash in two is a block.
const EASY_BITS: u32 = 0x207f_ffff;
/// No hash is a block.
const HARD_BITS: u32 = 0x1900_ffff;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocks {
    Easy,
    Hard,
}

/// The time of every template.
pub(super) const TIME: u64 = 1_700_000_000;

/// A template; without transactions, or with three.
pub(super) fn template(id: u64, blocks: Blocks, parent: Hash, transactions: bool) -> Template {
    static CHECKED: OnceLock<[Template; 2]> = OnceLock::new();
    let checked = CHECKED.get_or_init(|| {
        let text = include_str!("../../../crates/core/tests/vectors/templates.json");
        let vectors: Vec<Value> = serde_json::from_str(text).expect("the core's vectors");
        [0, 3].map(|at| Template::new(parts(&vectors[at])).expect("hsd's own template"))
    });
    let mut template = checked[usize::from(transactions)].clone();
    template.id = id;
    template.prev_block = parent;
    template.bits = match blocks {
        Blocks::Easy => EASY_BITS,
        Blocks::Hard => HARD_BITS,
    };
    template.target = Target::from_compact(template.bits).expect("good bits");
    template
}

fn parts(vector: &Value) -> TemplateParts {
    let list = |key: &str| vector[key].as_array().expect("a list").iter().map(hash);
    let pairs = list("txids").zip(list("witness_hashes"));
    let coinbase = vector["coinbase"].as_str().expect("a text");
    let height = vector["height"].as_u64().expect("a number");
    TemplateParts {
        id: 0,
        height: Height(u32::try_from(height).expect("32 bits")),
        version: 0,
        bits: HARD_BITS,
        time: TIME,
        mtp: TIME - 1_000,
        time_min: TIME - 999,
        time_max: TIME + 7_200,
        prev_block: hash(&vector["prev_block"]),
        tree_root: hash(&vector["tree_root"]),
        reserved_root: hash(&vector["reserved_root"]),
        merkle_root: hash(&vector["merkle_root"]),
        witness_root: hash(&vector["witness_root"]),
        coinbase: unhex(coinbase).expect("hex digits"),
        leaves: pairs.flat_map(|(a, b)| [a.0, b.0].concat()).collect(),
    }
}

fn hash(value: &Value) -> Hash {
    Hash::from_hex(value.as_str().expect("a text")).expect("64 digits")
}
