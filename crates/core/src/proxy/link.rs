//! A miner's connection to one server, from the dialing to the end, and the login that takes an
//! authorized miner to another server.
//!
//! A login asks everything at once and is done when all is answered and a job is there; what the
//! server says meanwhile about work is kept back until the miner moves.

use std::collections::VecDeque;

use crate::limits::{JOBS_PER_LINK_MAX, LINK_DIAL_MS};
use crate::proxy::event::Place;
use crate::units::ConnId;
use crate::wire::line::LineBuffer;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is being made.
    Dialing,
    /// The login is on its way.
    LoggingIn,
    /// The miner can have it.
    Ready,
}

/// A request of the proxy itself, whose answer no miner sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    /// The challenge that admitting needs.
    Hello,
    /// The session by its id.
    Subscribe,
    /// A user whom another server has let in.
    User,
    /// Something whose answer does not matter.
    Other,
}

/// See the module.
pub(crate) struct Link {
    pub place: Place,
    /// None until the dialing has begun.
    pub conn: Option<ConnId>,
    pub stage: Stage,
    /// When it is given up if it is not ready.
    pub due_ms: u64,
    pub lines: LineBuffer,
    /// What the proxy has asked and not been answered.
    pub own: VecDeque<Own>,
    /// The extranonce1 that the server has given.
    pub extra_nonce1: Option<u32>,
    /// The last difficulty and job that came before the miner had this link: whole lines.
    pub staged_difficulty: Option<Box<[u8]>>,
    pub staged_job: Option<Box<[u8]>>,
    /// The jobs that came over it, by their hashes.
    pub jobs: VecDeque<u64>,
}

impl Link {
    pub(crate) fn new(place: Place, now_ms: u64) -> Self {
        Self {
            place,
            conn: None,
            stage: Stage::Dialing,
            due_ms: now_ms + LINK_DIAL_MS,
            lines: LineBuffer::default(),
            own: VecDeque::new(),
            extra_nonce1: None,
            staged_difficulty: None,
            staged_job: None,
            jobs: VecDeque::new(),
        }
    }

    /// A job has come. The oldest is forgotten when there are many.
    pub(crate) fn push_job(&mut self, id: &str) {
        if self.jobs.len() == JOBS_PER_LINK_MAX {
            self.jobs.pop_front();
        }
        self.jobs.push_back(hash(id));
    }

    /// Whether a job has come over this link. One of another server that only hashes as one of these
    /// is refused by the server itself.
    pub(crate) fn has_job(&self, id: &str) -> bool {
        let hash = hash(id);
        self.jobs.iter().rev().any(|&job| job == hash)
    }
}

/// FNV-1a: the same in every version of this program, since links outlive one.
fn hash(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_jobs_are_known_and_no_others() {
        let mut link = Link::new(0, 0);
        for n in 0..=JOBS_PER_LINK_MAX {
            link.push_job(&format!("job{n}"));
        }
        assert!(!link.has_job("job0"), "the oldest is forgotten");
        assert!(link.has_job("job1") && link.has_job(&format!("job{JOBS_PER_LINK_MAX}")));
        assert!(!link.has_job("other"));
    }
}
