//! A fair queue of password checks: addresses take turns, so that one address with many logins cannot
//! delay the others. A check whose connections have all gone is dropped.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Bound::{Excluded, Unbounded};

use crate::accounts::ban::network_of;
use crate::accounts::password::StoredPassword;
use crate::event::{Action, Actions, Ticket};
use crate::limits::QUESTIONS_ASKED_MAX;
use crate::units::ConnId;

/// A password that was not handed to the hasher yet.
struct QueuedPassword {
    address: IpAddr,
    stored: StoredPassword,
    password: String,
}

/// The queue, and the checks handed out.
#[derive(Default)]
pub(crate) struct PasswordQueue {
    /// The check that each connection waits for.
    asking: HashMap<ConnId, Ticket>,
    waiting: HashMap<Ticket, QueuedPassword>,
    /// Tickets in the queue, oldest first, by address.
    queues: BTreeMap<IpAddr, BTreeSet<Ticket>>,
    /// The address served last.
    last: Option<IpAddr>,
    /// Tickets handed to the hasher and not answered.
    asked: HashSet<Ticket>,
}

impl PasswordQueue {
    /// Notes that a connection waits for a check.
    pub(crate) fn wait(&mut self, conn: ConnId, ticket: Ticket) {
        self.asking.insert(conn, ticket);
    }

    /// Notes that a connection waits no longer; returns its check.
    pub(crate) fn leave(&mut self, conn: ConnId) -> Option<Ticket> {
        self.asking.remove(&conn)
    }

    /// Queues a check for a connection at `address`, and hands out the next one if there is room.
    pub(crate) fn add(
        &mut self,
        ticket: Ticket,
        address: IpAddr,
        stored: StoredPassword,
        password: &str,
        out: &mut Actions,
    ) {
        let address = network_of(address);
        self.queues.entry(address).or_default().insert(ticket);
        let waiting = QueuedPassword {
            address,
            stored,
            password: password.to_owned(),
        };
        self.waiting.insert(ticket, waiting);
        self.next(out);
    }

    /// Removes a check from the queue; false if it was handed out already.
    pub(crate) fn cancel(&mut self, ticket: Ticket) -> bool {
        self.take(ticket).is_some()
    }

    /// Handles an answer; if it is to a check of this queue, hands out the next one.
    pub(crate) fn answered(&mut self, ticket: Ticket, out: &mut Actions) {
        if self.asked.remove(&ticket) {
            self.next(out);
        }
    }

    /// Counts of queued checks and of those handed out.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let queued = self.queues.values().map(BTreeSet::len).sum::<usize>();
        (queued.max(self.waiting.len()), self.asked.len())
    }

    fn next(&mut self, out: &mut Actions) {
        while self.asked.len() < QUESTIONS_ASKED_MAX
            && let Some(ticket) = self.first()
            && let Some(next) = self.take(ticket)
        {
            self.last = Some(next.address);
            self.asked.insert(ticket);
            out.push(Action::CheckPassword(ticket, next.stored, next.password));
        }
    }

    /// The oldest check of the address next in turn.
    fn first(&self) -> Option<Ticket> {
        let from = self.last.map_or(Unbounded, Excluded);
        let mut after = self.queues.range((from, Unbounded));
        let (_, tickets) = after.next().or_else(|| self.queues.first_key_value())?;
        tickets.first().copied()
    }

    fn take(&mut self, ticket: Ticket) -> Option<QueuedPassword> {
        let waiting = self.waiting.remove(&ticket)?;
        if let Some(queue) = self.queues.get_mut(&waiting.address) {
            queue.remove(&ticket);
            if queue.is_empty() {
                self.queues.remove(&waiting.address);
            }
        }
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [Ticket; 0] = [];

    fn add(password_queue: &mut PasswordQueue, ticket: Ticket, host: u8) -> Vec<Ticket> {
        let mut out = Actions::default();
        let stored = StoredPassword::Argon2id(String::new());
        password_queue.add(ticket, [10, 0, 0, host].into(), stored, "x", &mut out);
        asked(&out)
    }

    fn asked(out: &Actions) -> Vec<Ticket> {
        let ticket = |action: &Action| match action {
            Action::CheckPassword(ticket, ..) => *ticket,
            _ => panic!("a question"),
        };
        out.list().iter().map(ticket).collect()
    }

    fn answer(password_queue: &mut PasswordQueue, ticket: Ticket) -> Vec<Ticket> {
        let mut out = Actions::default();
        password_queue.answered(ticket, &mut out);
        asked(&out)
    }

    #[test]
    fn addresses_take_turns() {
        let mut password_queue = PasswordQueue::default();
        let many = QUESTIONS_ASKED_MAX as Ticket;
        for ticket in 0..many {
            assert_eq!(add(&mut password_queue, ticket, 1), [ticket]);
        }
        for ticket in many..many + 100 {
            assert_eq!(add(&mut password_queue, ticket, 1), NONE);
        }
        assert_eq!(add(&mut password_queue, 900, 2), NONE);
        assert_eq!(add(&mut password_queue, 901, 2), NONE);
        assert_eq!(add(&mut password_queue, 902, 3), NONE);
        assert_eq!(answer(&mut password_queue, 0), [900]);
        assert_eq!(answer(&mut password_queue, 1), [902]);
        assert_eq!(answer(&mut password_queue, 2), [many]);
        assert_eq!(answer(&mut password_queue, 3), [901]);
        assert_eq!(answer(&mut password_queue, 4), [many + 1]);
    }

    #[test]
    fn what_nobody_waits_for_is_not_asked() {
        let mut password_queue = PasswordQueue::default();
        let many = QUESTIONS_ASKED_MAX as Ticket;
        for ticket in 0..many + 100 {
            add(&mut password_queue, ticket, 1);
        }
        for ticket in 0..many + 99 {
            assert_eq!(password_queue.cancel(ticket), ticket >= many);
        }
        assert_eq!(password_queue.sizes(), (1, QUESTIONS_ASKED_MAX));
        assert_eq!(answer(&mut password_queue, 0), [many + 99]);
        assert_eq!(
            answer(&mut password_queue, 0),
            NONE,
            "an answer counts once"
        );
        for ticket in 1..many + 100 {
            assert_eq!(answer(&mut password_queue, ticket), NONE);
        }
        assert_eq!(password_queue.sizes(), (0, 0));
    }
}
