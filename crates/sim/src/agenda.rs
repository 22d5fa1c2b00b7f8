//! What happens when: a queue by simulated time, and by the order of asking within a millisecond.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// See the module.
pub(crate) struct Agenda<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    order: u64,
}

struct Entry<T> {
    at_ms: u64,
    order: u64,
    what: T,
}

impl<T> Agenda<T> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            order: 0,
        }
    }

    /// Something is to happen then.
    pub(crate) fn add(&mut self, at_ms: u64, what: T) {
        self.order += 1;
        self.heap.push(Reverse(Entry {
            at_ms,
            order: self.order,
            what,
        }));
    }

    /// When the next thing happens.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.at_ms)
    }

    /// What happens next, and when.
    pub(crate) fn next(&mut self) -> Option<(u64, T)> {
        let Reverse(entry) = self.heap.pop()?;
        Some((entry.at_ms, entry.what))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ms, self.order) == (other.at_ms, other.order)
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.order).cmp(&(other.at_ms, other.order))
    }
}
