//! Counts of everything the pool keeps, each with its limit, for tests and simulations that check that
//! nothing grows without bound.
//!
//! Left out are accounts, which only an admin adds, and whatever is empty between two events.

use crate::limits::{
    ASSIGNMENTS_MAX, BANNED_ADDRESSES_MAX, CLOSING_LATER_MAX, FOUND_BLOCKS_MAX, LINE_BYTES_MAX,
    NAMES_UNPROVEN_ALL_MAX, OFFERED_HASHES_MAX, OPERATOR_BANS_MAX, OWN_JOBS_MAX,
    PENDING_REPLIES_MAX, PENDING_REPLY_BYTES_MAX, QUESTIONS_ASKED_MAX, SHARED_JOBS_MAX,
    SHARES_PER_JOB_MAX, SHARES_WAITING_MAX, SIGN_INS_WAITING_MAX, TALLIES_MAX, TEMPLATES_MAX,
    USERS_PER_SESSION_MAX,
};
use crate::pool::job_order::entries_max;
use crate::pool::state::Pool;

/// A count and its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// Name of the kept things. For things kept by each connection or job, the count is the largest of
    /// one of them.
    pub what: &'static str,
    /// The current count.
    pub count: usize,
    /// The limit.
    pub limit: usize,
}

fn size(what: &'static str, count: usize, limit: usize) -> MemoryUse {
    MemoryUse { what, count, limit }
}

impl Pool {
    /// Counts everything that the pool keeps; visits each session. The text of a connection may exceed
    /// its limit by the bytes of one read (`read_bytes`) and of one reply (`reply_bytes`).
    pub fn sizes(&self, read_bytes: usize, reply_bytes: usize) -> Vec<MemoryUse> {
        let shared = &self.shared;
        let sessions = self.sessions.iter().count();
        let (dealt, hints) = shared.extra_nonces.sizes();
        let (waiting, offered) = shared.found.sizes();
        let password_tasks = shared.password_tasks.count();
        let (queued, asked) = shared.password_queue.sizes();
        let line_bytes_max = LINE_BYTES_MAX + read_bytes;
        let reply_bytes_max = PENDING_REPLY_BYTES_MAX + reply_bytes;
        let mut sizes = vec![
            size("extra nonces", dealt, sessions),
            size("hints", hints, shared.config.hints_max),
            size("found blocks", waiting, FOUND_BLOCKS_MAX),
            size("offered blocks", offered, OFFERED_HASHES_MAX),
            size(
                "questions",
                password_tasks,
                sessions + QUESTIONS_ASKED_MAX + SIGN_INS_WAITING_MAX,
            ),
            size("queued questions", queued, sessions + SIGN_INS_WAITING_MAX),
            size("asked questions", asked, QUESTIONS_ASKED_MAX),
            size("askers", shared.password_tasks.askers(), sessions),
            size("shares that wait", shared.ledger.len(), SHARES_WAITING_MAX),
            size(
                "names without a share beyond those of each connection",
                shared.names_unproven,
                NAMES_UNPROVEN_ALL_MAX,
            ),
            size("ends", shared.conns.delayed_closes.len(), CLOSING_LATER_MAX),
            size(
                "tallies",
                self.tallies.len(),
                TALLIES_MAX + USERS_PER_SESSION_MAX,
            ),
            size("offenders", self.bans.len(), BANNED_ADDRESSES_MAX),
            size("guessers", shared.admin_guesses.len(), BANNED_ADDRESSES_MAX),
            size("ordered bans", self.bans.ordered_len(), OPERATOR_BANS_MAX),
        ];
        sizes.extend(self.sizes_of_sign_ins());
        sizes.extend(self.sizes_of_jobs());
        let mut most = |what, limit, of: fn(&crate::session::Session) -> usize| {
            let count = self.sessions.iter().map(|one| of(one)).max().unwrap_or(0);
            sizes.push(size(what, count, limit));
        };
        most("users", USERS_PER_SESSION_MAX, |one| one.users.len());
        most("assignments", ASSIGNMENTS_MAX, |one| one.assignments());
        most("own jobs", OWN_JOBS_MAX, |one| one.own_jobs.len());
        most("shares of an own job", 2 * SHARES_PER_JOB_MAX, |one| {
            let shares = one.own_jobs.iter().map(|job| job.remembered());
            shares.max().unwrap_or(0)
        });
        most("replies", PENDING_REPLIES_MAX, |one| one.replies().0);
        most("bytes of replies", reply_bytes_max, |one| one.replies().1);
        most("bytes of a line", line_bytes_max, |one| {
            one.conn.lines.len()
        });
        sizes
    }

    fn sizes_of_jobs(&self) -> [MemoryUse; 6] {
        let shared = &self.shared;
        let places_max = entries_max(self.sessions.slots());
        let jobs = shared.jobs.sizes();
        let own_jobs = self.sessions.iter().flat_map(|one| &one.own_jobs);
        let own_shares: usize = own_jobs.map(|job| job.remembered()).sum();
        let all_shares = jobs.all_shares + own_shares;
        let all_shares_max = shared.config.shares_remembered_max;
        [
            size(
                "places in the order of jobs",
                self.job_order.len(),
                places_max,
            ),
            size("templates", jobs.templates, TEMPLATES_MAX),
            size("jobs", jobs.shared, SHARED_JOBS_MAX),
            size("shares of a job", jobs.shares, 2 * SHARES_PER_JOB_MAX),
            size("shares of all jobs", all_shares, all_shares_max),
            size("unspooled blocks", jobs.unspooled, FOUND_BLOCKS_MAX),
        ]
    }

    fn sizes_of_sign_ins(&self) -> [MemoryUse; 2] {
        let guessing = self.shared.sign_in_guesses.len();
        let sign_ins = self.shared.password_tasks.sign_ins(None);
        [
            size("guessers who sign in", guessing, BANNED_ADDRESSES_MAX),
            size("sign-ins", sign_ins, SIGN_INS_WAITING_MAX),
        ]
    }
}
