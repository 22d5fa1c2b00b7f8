//! Found blocks: offered to the node at once, spooled with their transactions, and noted with its answer.
//!
//! Invariant: [`Action::SubmitBlock`] is the first action of its event.

use std::sync::Arc;

use crate::accounting::ledger::Verdict;
use crate::chain::block::{FoundBlock, Reach, Solution};
use crate::event::{Action, Actions, Level};
use crate::pool::state::{Pool, PoolShared};
use crate::units::Hash;

impl Pool {
    /// Spools the found blocks that have waited for the transactions of their template.
    pub(crate) fn handle_transactions(
        &mut self,
        template: u64,
        bytes: Arc<[u8]>,
        out: &mut Actions,
    ) {
        for (solution, transactions) in self.shared.jobs.set_transactions(template, bytes) {
            // If it is not waited for, the node has answered already, and a spooled copy is not needed.
            if self.shared.found.is_waiting(solution.hash) {
                out.push(Action::Spool(solution, transactions));
            }
        }
    }

    /// Waits for the node's answer to a block that an earlier run left in the spool.
    pub(crate) fn handle_spooled(&mut self, block: FoundBlock, out: &mut Actions) {
        out.log(
            Level::Info,
            format!("offered again from the spool: {}", block.hash),
        );
        self.shared.found.first_offer(block.hash);
        out.push(Action::BlockFound(Box::new(block.clone())));
        self.shared.found.wait_for(block);
    }

    pub(crate) fn handle_block_result(&mut self, hash: Hash, verdict: Verdict, out: &mut Actions) {
        let Some(block) = self.shared.found.take(hash) else {
            return;
        };
        let height = block.height.0;
        match &verdict {
            Verdict::Accepted => {
                out.log(Level::Info, format!("block accepted: {height} {hash}"));
            }
            Verdict::Side => {
                let text = format!("block on a side chain, no reward: {height} {hash}");
                out.log(Level::Warning, text);
            }
            Verdict::Refused(reason) => {
                out.log(
                    Level::Error,
                    format!("block refused: {height} {hash}: {reason}"),
                );
            }
            Verdict::Unknown(reason) => {
                let text = format!(
                    "the node did not judge block {height} {hash}: {reason}; it stays in \
                     the spool and is offered again"
                );
                out.log(Level::Error, text);
                // Its transactions may still come; then it is spooled with them.
                return self.shared.found.wait_for(block);
            }
        }
        out.push(Action::BlockAnswered(hash, verdict));
    }
}

impl PoolShared {
    /// Offers a block to the node, only once however often it is submitted, and announces it to the
    /// ledger and the spool.
    pub(crate) fn offer(&mut self, solution: Solution, out: &mut Actions) {
        if !self.found.first_offer(solution.hash) {
            return;
        }
        let (height, hash) = (solution.template.height.0, solution.hash);
        if let Err(wrong) = solution.verify() {
            let text =
                format!("block {height} {hash} is not offered, it would be invalid: {wrong}");
            return out.log(Level::Error, text);
        }
        let solution = Arc::new(solution);
        let found = FoundBlock::of(&solution);
        self.found.wait_for(found.clone());
        self.last_block = Some((found.height, found.hash));
        self.counts.blocks += 1;
        out.push_first(Action::SubmitBlock(solution.clone()));
        out.push(Action::BlockFound(Box::new(found)));
        let late = match solution.reach {
            Reach::Network => "",
            Reach::Chain => ", too late: its parent is no longer the tip",
        };
        let account = &solution.account;
        out.log(
            Level::Info,
            format!("block found: {height} {hash} by {account:?}{late}"),
        );
        if let Some(transactions) = self.jobs.transactions_for(&solution) {
            out.push(Action::Spool(solution, transactions));
        }
    }
}
