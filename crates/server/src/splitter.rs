//! The thread that computes splits: at each template, beside the path of shares and jobs.
//!
//! Only the newest block counts: what was asked for meanwhile is passed over. A split that lacks balances, because a
//! block that this server found is not in the ledger yet, is computed again soon. While the ledger is away the pool
//! uses the split that it has, for a few heights; that this thread is late is told like that of any other duty.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use hstratum_core::event::Level;

use crate::config::settings::Settings;
use crate::limits::SPLIT_RETRY;
use crate::messages::{DriverHandle, MinedBlock, WorkerEvent};
use crate::node::Node;
use crate::payout::split::{SplitTerms, Splitter};
use crate::repeated_log::LogOnce;
use crate::sql::location::LedgerLocation;
use crate::supervision::Duty;

/// The state of the thread.
pub(crate) struct SplitThread {
    terms: SplitTerms,
    splitter: Splitter,
    duty: Arc<Duty>,
    to_driver: DriverHandle,
    node: Arc<dyn Node>,
    failure: LogOnce,
}

impl SplitThread {
    /// That of a server with this ledger.
    pub(crate) fn new(
        location: LedgerLocation,
        settings: &Settings,
        duty: Arc<Duty>,
        to_driver: DriverHandle,
        node: Arc<dyn Node>,
    ) -> Self {
        let terms = SplitTerms {
            location,
            network: settings.network,
            server: settings.config.server_id.clone(),
            output_min: settings.config.output_min,
            outputs_max: settings.config.outputs_max as usize,
        };
        Self {
            terms,
            splitter: Splitter::default(),
            duty,
            to_driver,
            node,
            failure: LogOnce::default(),
        }
    }

    /// Runs until the driver is gone.
    pub(crate) fn run(&mut self, blocks: &Receiver<MinedBlock>) {
        let mut owed: Option<MinedBlock> = None;
        loop {
            let received = match owed {
                None => blocks.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => blocks.recv_timeout(SPLIT_RETRY),
            };
            let block = match (received, owed) {
                (Ok(first), _) => blocks.try_iter().last().unwrap_or(first),
                (Err(RecvTimeoutError::Timeout), Some(owed)) => owed,
                (Err(_), _) => return,
            };
            self.duty.owe();
            let is_done = self.tell(&block);
            if is_done {
                self.duty.done();
            }
            owed = (!is_done).then_some(block);
        }
    }

    /// Computes the split of a block and tells the driver; false if that is to be done again.
    fn tell(&mut self, block: &MinedBlock) -> bool {
        let opened = self.terms.location.open_in_server();
        let split = opened.and_then(|mut db| self.splitter.compute(&mut db, &self.terms, block));
        match split {
            Ok(Some(split)) => {
                self.failure.end();
                let is_whole = split.knows_balances;
                let _ = self.to_driver.work(WorkerEvent::Split(Arc::new(split)));
                is_whole
            }
            Ok(None) => {
                self.failure.end();
                true
            }
            Err(error) => {
                let text = format!(
                    "failed to compute what blocks pay to whom: {error:#}; the last split is used for \
                     a few heights, then blocks pay the operator"
                );
                self.failure.say(&*self.node, Level::Warning, &text);
                false
            }
        }
    }
}
