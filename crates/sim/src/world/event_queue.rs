//! A queue of future events, ordered by simulated time, and within a millisecond by the order of adding.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The queue.
pub(crate) struct EventQueue<T> {
    heap: BinaryHeap<Reverse<QueuedEvent<T>>>,
    order: u64,
}

struct QueuedEvent<T> {
    at_ms: u64,
    order: u64,
    what: T,
}

impl<T> EventQueue<T> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            order: 0,
        }
    }

    /// Adds an event at this time.
    pub(crate) fn add(&mut self, at_ms: u64, what: T) {
        self.order += 1;
        self.heap.push(Reverse(QueuedEvent {
            at_ms,
            order: self.order,
            what,
        }));
    }

    /// Time of the next event.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.at_ms)
    }

    /// Removes the next event; returns it with its time.
    pub(crate) fn next(&mut self) -> Option<(u64, T)> {
        let Reverse(entry) = self.heap.pop()?;
        Some((entry.at_ms, entry.what))
    }
}

impl<T> PartialEq for QueuedEvent<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ms, self.order) == (other.at_ms, other.order)
    }
}

impl<T> Eq for QueuedEvent<T> {}

impl<T> PartialOrd for QueuedEvent<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for QueuedEvent<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.order).cmp(&(other.at_ms, other.order))
    }
}
