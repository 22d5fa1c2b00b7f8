//! hsd's own templates, with other bits and parents.

use std::sync::OnceLock;

use hstratum_core::chain::template::Template;
use hstratum_core::units::{Hash, Target};
use hstratum_harness::test_chain::TestChain;

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
        let mut chain = TestChain::default();
        [0, 3].map(|transactions| {
            chain.transactions = transactions;
            chain.template(TIME)
        })
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
