//! Order in which sessions get a job: those with the most hashrate first, since a hash for an old job is lost,
//! whoever makes it.
//!
//! The order is made at each sweep, so that a job waits for none. Sessions with about the same hashrate take
//! turns, so that none of them is always the last.

use crate::event::{Action, Actions};
use crate::session::Sessions;
use crate::units::{ConnId, Now};

/// Bits of a hashrate as f64 that do not tell its class: all but the exponent and the first bit after it, so that
/// hashrates of a class differ by a factor of less than 1.5.
const BITS_IN_CLASS: u32 = 51;
/// By what part of a class its first place moves on with each sort: the golden ratio, by which no two sorts begin
/// near each other.
const TURN: f64 = 0.618_033_988_749_895;
/// How many times the mean hashrate of all that have any a connection has that is read first.
const READ_FIRST_FACTOR: f64 = 4.0;
/// Entries beyond twice the slots, after which those of closed connections are dropped.
const ENTRIES_SPARE: usize = 64;

/// What a session's place follows from.
struct Key {
    class: u16,
    slot: usize,
    conn: ConnId,
}

/// The order of all sessions, and how far solo listeners' sessions have their job.
#[derive(Default)]
pub(crate) struct JobOrder {
    /// Every open session once, and some that are closed.
    conns: Vec<ConnId>,
    /// Space for sorting, kept between sorts.
    keys: Vec<Key>,
    sorts: u32,
    /// Place in the order from which on sessions of solo listeners are to get the newest job.
    solo_jobs_from: Option<usize>,
}

impl JobOrder {
    /// Adds a new session, whose hashrate is not known: it is the last until the next sort.
    pub(crate) fn add(&mut self, conn: ConnId, sessions: &Sessions) {
        if self.conns.len() >= entries_max(sessions.slots()) {
            self.conns.retain(|&conn| sessions.get(conn).is_some());
            self.begin_solo_jobs_again();
        }
        self.conns.push(conn);
    }

    /// Sorts all sessions by their hashrate, and has those with far more than others read first.
    pub(crate) fn sort(&mut self, sessions: &mut Sessions, now: Now, out: &mut Actions) {
        self.sorts = self.sorts.wrapping_add(1);
        self.keys.clear();
        let (mut all, mut mining) = (0.0, 0.0);
        for (slot, session) in sessions.iter_from(0) {
            let hashrate = session.hashrate(now);
            if hashrate > 0.0 {
                all += hashrate;
                mining += 1.0;
            }
            let conn = session.conn.id;
            self.keys.push(Key {
                class: class_of(hashrate),
                slot,
                conn,
            });
        }
        self.keys.sort_unstable_by_key(|key| (key.class, key.slot));
        let turn = (f64::from(self.sorts) * TURN).fract();
        for equals in self
            .keys
            .chunk_by_mut(|one, other| one.class == other.class)
        {
            equals.rotate_left((turn * equals.len() as f64) as usize);
        }
        self.conns.clear();
        self.conns.extend(self.keys.iter().map(|key| key.conn));
        self.begin_solo_jobs_again();
        let first = class_of(READ_FIRST_FACTOR * all / f64::max(mining, 1.0));
        for key in &self.keys {
            let is_first = key.class < first;
            if let Some(session) = sessions.get_mut(key.conn)
                && session.is_read_first != is_first
            {
                session.is_read_first = is_first;
                out.push(Action::ReadFirst(key.conn, is_first));
            }
        }
    }

    /// The connections from this place on, each with its place. Some may be closed.
    pub(crate) fn iter_from(&self, place: usize) -> impl Iterator<Item = (usize, ConnId)> {
        self.conns.iter().copied().enumerate().skip(place)
    }

    /// True if sessions of solo listeners are owed a job.
    pub(crate) fn owes_solo_jobs(&self) -> bool {
        self.solo_jobs_from.is_some()
    }

    /// Sessions of solo listeners from this place on are owed a job.
    pub(crate) fn owe_solo_jobs(&mut self, from: usize) {
        self.solo_jobs_from = Some(from);
    }

    /// The place from which on sessions of solo listeners were owed a job.
    pub(crate) fn take_solo_jobs(&mut self) -> Option<usize> {
        self.solo_jobs_from.take()
    }

    /// Places have changed. A session that has the job already is passed over.
    fn begin_solo_jobs_again(&mut self) {
        if self.owes_solo_jobs() {
            self.owe_solo_jobs(0);
        }
    }

    /// Count of entries.
    pub(crate) fn len(&self) -> usize {
        self.conns.len()
    }
}

/// The largest count of entries for so many slots.
pub(crate) fn entries_max(slots: usize) -> usize {
    2 * slots + ENTRIES_SPARE
}

/// The class of a hashrate: the smaller, the more hashes.
fn class_of(hashrate: f64) -> u16 {
    // The bits of numbers that are not negative are in the order of the numbers.
    u16::MAX - (hashrate.to_bits() >> BITS_IN_CLASS) as u16
}
