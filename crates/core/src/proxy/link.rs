//! A miner's connection to one server, from dialing to its end, and the login that moves an authorized
//! miner there.
//!
//! A login sends all its requests at once, and is complete when all are answered and a job has come. Jobs
//! and difficulties that the server sends meanwhile are held back until the miner has moved.

use std::collections::VecDeque;

use crate::limits::{JOBS_PER_LINK_MAX, LINK_DIAL_MS};
use crate::proxy::event::BackendIndex;
use crate::units::ConnId;
use crate::wire::line::LineBuffer;

/// The stage of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkStage {
    /// The connection is being made.
    Dialing,
    /// The login is in progress.
    LoggingIn,
    /// The login is complete; the miner can be moved to this connection.
    Ready,
}

/// A request of the proxy itself, whose answer is not passed on to the miner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginRequest {
    /// `hstratum.hello`, for the challenge.
    Hello,
    /// `mining.subscribe` with the session's id.
    Subscribe,
    /// A user that another server has admitted.
    User,
    /// A request whose answer is ignored.
    Other,
}

/// A connection to a server.
pub(crate) struct BackendLink {
    pub place: BackendIndex,
    /// `None` until the connection is dialed.
    pub conn: Option<ConnId>,
    pub stage: LinkStage,
    /// Time at which it is given up if it is not ready.
    pub due_ms: u64,
    pub lines: LineBuffer,
    /// The proxy's own requests that are not answered yet.
    pub login_requests: VecDeque<LoginRequest>,
    /// The extranonce1 that the server has given.
    pub extra_nonce1: Option<u32>,
    /// The last difficulty and job that came before the miner was moved to this link: whole lines.
    pub staged_difficulty: Option<Box<[u8]>>,
    pub staged_job: Option<Box<[u8]>>,
    /// Hashes of the ids of the jobs that came over it.
    pub jobs: VecDeque<u64>,
}

impl BackendLink {
    pub(crate) fn new(place: BackendIndex, now_ms: u64) -> Self {
        Self {
            place,
            conn: None,
            stage: LinkStage::Dialing,
            due_ms: now_ms + LINK_DIAL_MS,
            lines: LineBuffer::default(),
            login_requests: VecDeque::new(),
            extra_nonce1: None,
            staged_difficulty: None,
            staged_job: None,
            jobs: VecDeque::new(),
        }
    }

    /// Remembers a job; beyond [`JOBS_PER_LINK_MAX`] the oldest is forgotten.
    pub(crate) fn push_job(&mut self, id: &str) {
        if self.jobs.len() == JOBS_PER_LINK_MAX {
            self.jobs.pop_front();
        }
        self.jobs.push_back(hash(id));
    }

    /// True if a job came over this link. If the id of another server's job has the same hash, the server
    /// refuses the share itself.
    pub(crate) fn has_job(&self, id: &str) -> bool {
        let hash = hash(id);
        self.jobs.iter().rev().any(|&job| job == hash)
    }
}

/// FNV-1a. It must stay the same in every version of this program, because links are handed over to newer
/// processes.
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
        let mut link = BackendLink::new(0, 0);
        for n in 0..=JOBS_PER_LINK_MAX {
            link.push_job(&format!("job{n}"));
        }
        assert!(!link.has_job("job0"), "the oldest is forgotten");
        assert!(link.has_job("job1") && link.has_job(&format!("job{JOBS_PER_LINK_MAX}")));
        assert!(!link.has_job("other"));
    }
}
