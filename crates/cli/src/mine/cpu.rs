//! The hashing threads.
//!
//! Each has its own range of the second extra nonce and goes on through it over jobs and
//! connections, so that no header is hashed twice, also if a server sends the same job again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::Context;
use hstratum_core::wire::client::{Attempt, Work};

use super::LinkEvent;

/// Attempts between two looks at the clock and at the job: some milliseconds.
const BATCH: u32 = 2048;

/// The threads; they live as long as the process.
pub(super) struct Cpu {
    shared: Arc<HashingState>,
}

#[derive(Default)]
struct HashingState {
    task: Mutex<Task>,
    changed: Condvar,
    /// The task's number, to be looked at without the lock.
    generation: AtomicU64,
    hashes: AtomicU64,
}

#[derive(Default)]
struct Task {
    work: Option<(Arc<Work>, Instant)>,
    generation: u64,
}

impl Cpu {
    pub(super) fn start(threads: u32, events: &SyncSender<LinkEvent>) -> anyhow::Result<Self> {
        let shared = Arc::new(HashingState::default());
        for index in 0..threads {
            let (shared, events) = (shared.clone(), events.clone());
            let cursor = Cursor::new(index, threads);
            thread::Builder::new()
                .name(format!("hash-{index}"))
                .spawn(move || run_hashing(&shared, cursor, &events))
                .context("failed to start a thread")?;
        }
        Ok(Self { shared })
    }

    /// Sets what to hash and when it came. The same work again is not a new task.
    pub(super) fn hash(&self, work: Option<(Arc<Work>, Instant)>) {
        let mut task = self.shared.lock();
        let same = match (&task.work, &work) {
            (Some((old, _)), Some((new, _))) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        if !same {
            task.work = work;
            task.generation += 1;
            self.shared
                .generation
                .store(task.generation, Ordering::Release);
            self.shared.changed.notify_all();
        }
    }

    /// All hashes so far.
    pub(super) fn hashes(&self) -> u64 {
        self.shared.hashes.load(Ordering::Relaxed)
    }
}

impl HashingState {
    fn lock(&self) -> MutexGuard<'_, Task> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_work(&self) -> (Arc<Work>, Instant, u64) {
        let mut task = self.lock();
        loop {
            if let Some((work, since)) = &task.work {
                return (work.clone(), *since, task.generation);
            }
            task = self
                .changed
                .wait(task)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn run_hashing(shared: &HashingState, mut cursor: Cursor, events: &SyncSender<LinkEvent>) {
    loop {
        let (work, since, generation) = shared.wait_for_work();
        cursor.next_extra_nonce2();
        while shared.generation.load(Ordering::Acquire) == generation {
            let passed = u32::try_from(since.elapsed().as_secs()).unwrap_or(u32::MAX);
            let time = work.time.saturating_add(passed);
            let (hashes, found) = hash_batch(&work, time, &mut cursor);
            shared.hashes.fetch_add(hashes, Ordering::Relaxed);
            if let Some(attempt) = found
                && events
                    .send(LinkEvent::Found(work.clone(), attempt))
                    .is_err()
            {
                return;
            }
        }
    }
}

/// Hashes a batch, or up to the first share.
fn hash_batch(work: &Work, time: u32, cursor: &mut Cursor) -> (u64, Option<Attempt>) {
    for done in 1..=u64::from(BATCH) {
        let (extra_nonce2, nonce) = cursor.step();
        let attempt = Attempt {
            extra_nonce2,
            time,
            nonce,
        };
        if work.is_share(&work.hash(&attempt)) {
            return (done, Some(attempt));
        }
    }
    (u64::from(BATCH), None)
}

/// A thread's place in its range of extra nonces.
struct Cursor {
    first: u32,
    last: u32,
    extra_nonce2: u32,
    nonce: u32,
}

impl Cursor {
    fn new(index: u32, threads: u32) -> Self {
        let width = (1u64 << 32) / u64::from(threads);
        let first = u64::from(index) * width;
        let narrow = |value| u32::try_from(value).expect("the ranges divide 2^32");
        Self {
            first: narrow(first),
            last: narrow(first + width - 1),
            extra_nonce2: narrow(first + width - 1),
            nonce: 0,
        }
    }

    fn next_extra_nonce2(&mut self) {
        self.nonce = 0;
        self.extra_nonce2 = if self.extra_nonce2 == self.last {
            self.first
        } else {
            self.extra_nonce2 + 1
        };
    }

    /// The next pair; when the nonces run out, the extra nonce moves on.
    fn step(&mut self) -> (u32, u32) {
        let pair = (self.extra_nonce2, self.nonce);
        match self.nonce.checked_add(1) {
            Some(nonce) => self.nonce = nonce,
            None => self.next_extra_nonce2(),
        }
        pair
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_disjoint_and_begin_at_their_start() {
        for threads in [1, 2, 3, 1024] {
            let mut end = None;
            for index in 0..threads {
                let mut cursor = Cursor::new(index, threads);
                cursor.next_extra_nonce2();
                assert_eq!(cursor.step(), (cursor.first, 0));
                assert!(end.is_none_or(|end| end < cursor.first));
                assert!(cursor.first <= cursor.last);
                end = Some(cursor.last);
            }
        }
    }

    #[test]
    fn extra_nonce_moves_on_when_nonces_run_out_and_stays_in_its_range() {
        let mut cursor = Cursor::new(1, 2);
        cursor.next_extra_nonce2();
        cursor.nonce = u32::MAX;
        assert_eq!(cursor.step(), (0x8000_0000, u32::MAX));
        assert_eq!(cursor.step(), (0x8000_0001, 0));
        cursor.extra_nonce2 = u32::MAX;
        cursor.next_extra_nonce2();
        assert_eq!(cursor.step(), (0x8000_0000, 0));
    }
}
