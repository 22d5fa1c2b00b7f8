//! Messages of the node to the pool.

use std::sync::Arc;

use hstratum_core::event::Event;
use hstratum_core::pool::drill::Drill;

use super::PoolHarness;

impl PoolHarness {
    /// Reports a new tip, without a template on it yet.
    pub(crate) fn tip(&mut self) {
        let tip = self.chain.grow();
        self.handle(Event::Tip(tip));
    }

    /// Sends a template on the tip; a block without transactions needs nothing more.
    pub(crate) fn template(&mut self) {
        let template = self.chain.template(self.now.unix_s + self.clock_behind_s);
        self.handle(Event::Template(Box::new(template)));
    }

    /// Reports a new tip and sends its template.
    pub(crate) fn block(&mut self) {
        self.tip();
        self.template();
    }

    /// Sends the raw transactions of the newest template.
    pub(crate) fn transactions(&mut self) {
        let bytes: Arc<[u8]> = vec![0xee; self.chain.transactions * 100].into();
        self.handle(Event::Transactions(self.chain.template, bytes));
    }

    /// A made-up solution of the newest job.
    pub(crate) fn drill(&self) -> Option<Result<Drill, &'static str>> {
        self.pool.drill(self.now)
    }

    pub(crate) fn no_template(&mut self, reason: &str) {
        self.handle(Event::NoTemplate(reason.to_owned()));
    }
}
