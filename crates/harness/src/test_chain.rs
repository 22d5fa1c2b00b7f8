//! The node of the harness: a chain of tips that only need to differ, and templates on them with hsd's
//! own coinbases and transactions.

use hstratum_core::chain::template::Template;
use hstratum_core::units::{Hash, Height};

use crate::templates::TemplateStock;

/// One hash in 256 is a block, so that a share can be a block or not.
const BITS_EASY: u32 = 0x2000_ffff;

/// A chain of which only the tip's hash and height are kept.
pub struct TestChain {
    /// The network's target in compact form for the next templates.
    pub bits: u32,
    /// Count of transactions in the next templates: 0, 1, 2, 3, 7, 64 or 333, as in the vectors.
    pub transactions: usize,
    /// The last template's number.
    pub template: u64,
    height: u32,
    tip: Hash,
    stocks: Vec<TemplateStock>,
}

impl Default for TestChain {
    fn default() -> Self {
        Self {
            bits: BITS_EASY,
            transactions: 0,
            template: 0,
            height: 100,
            tip: Hash::blake2b(&[b"the first tip"]),
            stocks: TemplateStock::all(),
        }
    }
}

impl TestChain {
    /// Adds a block to the chain.
    pub fn grow(&mut self) -> Hash {
        self.height += 1;
        self.tip = Hash::blake2b(&[&self.tip.0]);
        self.tip
    }

    /// A template on the tip.
    pub fn template(&mut self, unix_s: u64) -> Template {
        self.template += 1;
        let mut stocks = self.stocks.iter();
        let stock = stocks.find(|one| one.transactions() == self.transactions);
        let stock = stock.expect("a stock with as many transactions");
        let on = (self.tip, Height(self.height));
        let parts = stock.parts(self.template, self.bits, on, unix_s - 600);
        Template::new(parts).expect("the parts belong together")
    }
}
