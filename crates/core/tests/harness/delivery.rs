//! Delivery of the pool's lines to miners, and the checks of each line.

use super::work::assert_hidden;
use super::{Miner, Output, Table};

impl Table {
    pub(super) fn deliver(&mut self, miner: Miner, bytes: &[u8]) {
        for solution in &self.solutions {
            assert_hidden(solution.mask, bytes);
        }
        let seat = &mut self.seats[miner.0];
        let is_first = seat.jobs.is_empty();
        let jobs = seat.jobs.len();
        for line in seat.receive(bytes) {
            self.output.push(Output::Line(miner, line));
        }
        for work in &seat.jobs[jobs..] {
            assert!(
                !is_first || !self.dealt.contains(&work.id),
                "its id was dealt before"
            );
            self.dealt_now.push(work.id.clone());
            self.works.insert(work.id.clone(), work.clone());
        }
    }

    /// The replies to [`Table::submit`] since the last call: `true` or the text of the reject.
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
