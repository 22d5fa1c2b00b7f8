//! Delivery of the pool's lines to miners, and the checks of each line.

use super::work::assert_hidden;
use super::{Miner, Output, PoolHarness};

impl PoolHarness {
    pub(super) fn deliver(&mut self, miner: Miner, bytes: &[u8]) {
        for solution in &self.solutions {
            assert_hidden(solution.mask, bytes);
        }
        let test_miner = &mut self.miners[miner.0];
        let is_first = test_miner.jobs.is_empty();
        let jobs = test_miner.jobs.len();
        for line in test_miner.receive(bytes) {
            self.output.push(Output::Line(miner, line));
        }
        for work in &test_miner.jobs[jobs..] {
            assert!(
                !is_first || !self.dealt.contains(&work.id),
                "its id was dealt before"
            );
            self.dealt_now.push(work.id.clone());
            self.works.insert(work.id.clone(), work.clone());
        }
    }

    /// The replies to [`PoolHarness::submit`] since the last call: `true` or the text of the reject.
    pub(crate) fn answers(&mut self, miner: Miner) -> Vec<String> {
        let lines = self.lines(miner);
        let replies = lines.iter().filter(|line| line.starts_with("{\"id\":9,"));
        replies
            .map(|line| match line.split('"').nth(7) {
                Some(text) if line.contains("\"result\":null") => text.to_owned(),
                _ => "true".to_owned(),
            })
            .collect()
    }
}
