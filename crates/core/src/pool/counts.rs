//! Counters of a pool since its start.

use crate::accounting::ledger::ShareTotals;
use crate::units::Difficulty;
use crate::wire::message::Reject;

/// Counters since this pool was started.
#[derive(Debug, Clone, Copy, Default)]
pub struct PoolCounts {
    /// Accepted shares and their difficulty.
    pub accepted: ShareTotals,
    /// Rejected submits, in the order of [`Reject::ALL`].
    pub rejected: [u64; Reject::ALL.len()],
    /// Connections that have sent their first bytes.
    pub opened: u64,
    /// Those of them that have ended.
    pub closed: u64,
    /// Open connections over which proxies ask for the server's status.
    pub probes: u64,
    /// Connections refused because their address is banned.
    pub refused_banned: u64,
    /// Blocks offered to the node.
    pub blocks: u64,
}

impl PoolCounts {
    /// Count of open connections of miners that have sent something.
    pub fn connections(&self) -> u64 {
        self.opened - self.closed - self.probes
    }

    pub(crate) fn count(&mut self, verdict: Result<Difficulty, Reject>) {
        match verdict {
            Ok(difficulty) => self.accepted.add_share(difficulty),
            Err(reject) => self.rejected[reject as usize] += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reject_has_its_counter() {
        let mut counts = PoolCounts::default();
        for (place, reject) in Reject::ALL.into_iter().enumerate() {
            counts.count(Err(reject));
            assert_eq!(counts.rejected[place], 1, "{}", reject.text());
        }
    }
}
