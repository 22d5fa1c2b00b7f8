//! Shares submitted by each worker, counted on the connections and reported to the ledger every
//! [`TALLY_MS`].
//!
//! Statistics, not money: a pool that fails loses the counts since the last report. A share that the
//! ledger gives up later stays counted as accepted.

use crate::accounting::ledger::{Tallied, Tally};
use crate::event::{Action, Actions};
use crate::limits::{TALLIES_MAX, TALLY_MS};
use crate::session::{Authorized, Session, Sessions};
use crate::units::Difficulty;
use crate::wire::message::Reject;

/// The time of the next report, and the counts of connections that have ended since the last.
pub(crate) struct Tallies {
    next_ms: u64,
    left: Vec<Tallied>,
    /// Sum of all reports.
    sent: Tally,
}

impl Tallies {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            next_ms: now_ms + TALLY_MS,
            left: Vec::new(),
            sent: Tally::default(),
        }
    }

    /// True if a report is due; if so, the time of the next one is set.
    pub(crate) fn are_due(&mut self, now_ms: u64) -> bool {
        let are_due = now_ms >= self.next_ms;
        if are_due {
            self.next_ms = now_ms + TALLY_MS;
        }
        are_due
    }

    /// Removes an account from a connection, and keeps its counts.
    pub(crate) fn keep_account(&mut self, session: &mut Session, account: &str) {
        let gone = session
            .users
            .extract_if(.., |one| *one.user.account == *account);
        self.left.extend(gone.filter_map(|mut one| take(&mut one)));
    }

    /// Count of tallies kept of ended connections.
    pub(crate) fn len(&self) -> usize {
        self.left.len()
    }

    /// Keeps the counts of a connection that ends. At [`TALLIES_MAX`] they are reported at once.
    pub(crate) fn keep(&mut self, session: &mut Session, out: &mut Actions) {
        self.left.extend(session.users.iter_mut().filter_map(take));
        if self.left.len() >= TALLIES_MAX {
            let left = std::mem::take(&mut self.left);
            self.tell(left, out);
        }
    }

    /// Sum of all shares submitted: those reported and those not yet.
    pub(crate) fn sent(&self, sessions: &Sessions) -> Tally {
        let mut sent = self.sent;
        for one in &self.left {
            sent.add(&one.tally);
        }
        for one in sessions.iter().flat_map(|session| &session.users) {
            sent.add(&one.tally);
        }
        sent
    }

    /// Reports the shares since the last report.
    pub(crate) fn report(&mut self, sessions: &mut Sessions, out: &mut Actions) {
        let mut tallied = std::mem::take(&mut self.left);
        let users = sessions
            .iter_mut()
            .flat_map(|session| session.users.iter_mut());
        let room = TALLIES_MAX.saturating_sub(tallied.len());
        tallied.extend(users.filter_map(take).take(room));
        if !tallied.is_empty() {
            self.tell(tallied, out);
        }
    }

    fn tell(&mut self, tallied: Vec<Tallied>, out: &mut Actions) {
        for one in &tallied {
            self.sent.add(&one.tally);
        }
        out.push(Action::Tally(tallied));
    }
}

/// Takes the counts of a user for a report; `None` if there are none.
fn take(one: &mut Authorized) -> Option<Tallied> {
    let tally = std::mem::take(&mut one.tally);
    one.told.add(&tally);
    (tally != Tally::default()).then(|| Tallied {
        account: one.user.account.clone(),
        worker: one.user.worker.clone().unwrap_or_default(),
        tally,
    })
}

/// Counts a submit by its result. Rejects that say nothing about a miner's work are not counted.
pub(crate) fn count(
    tally: &mut Tally,
    verdict: Result<(), Reject>,
    difficulty: Difficulty,
    unix_s: u64,
) {
    let work = match verdict {
        Ok(()) => {
            let first = tally.times.map_or(unix_s, |(first, _)| first);
            tally.times = Some((first, unix_s));
            &mut tally.accepted
        }
        Err(Reject::JobNotFound | Reject::StalePrevblk) => &mut tally.stale,
        Err(Reject::HighHash) => &mut tally.low,
        Err(Reject::Duplicate) => &mut tally.duplicate,
        Err(_) => return,
    };
    work.add_share(difficulty);
}
