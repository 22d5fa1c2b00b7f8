//! What the node says to the pool at the table.

use std::sync::Arc;

use hstratum_core::event::Event;

use super::Table;

impl Table {
    /// The chain has a new tip, and no template on it yet.
    pub(crate) fn tip(&mut self) {
        let tip = self.chain.grow();
        self.handle(Event::Tip(tip));
    }

    /// A template on the tip; a block without transactions needs no more.
    pub(crate) fn template(&mut self) {
        let template = self.chain.template(self.now.unix_s + self.clock_behind_s);
        self.handle(Event::Template(Box::new(template)));
    }

    /// A new tip with its template.
    pub(crate) fn block(&mut self) {
        self.tip();
        self.template();
    }

    /// The raw transactions of the newest template.
    pub(crate) fn transactions(&mut self) {
        let bytes: Arc<[u8]> = vec![0xee; self.chain.transactions * 100].into();
        self.handle(Event::Transactions(self.chain.template, bytes));
    }

    pub(crate) fn no_template(&mut self, reason: &str) {
        self.handle(Event::NoTemplate(reason.to_owned()));
    }
}
