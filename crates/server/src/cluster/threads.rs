//! The threads that wait for the shared ledger. A stop waits for them, but not for as long as they may wait
//! for a ledger that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::Context;

use crate::limits::SHARED_STOP;

/// Group of threads that are stopped together.
pub(crate) struct Threads {
    /// Each thread holds a clone; the channel closes when all have ended.
    running: Sender<()>,
    ended: Receiver<()>,
    is_stopping: Arc<AtomicBool>,
}

impl Threads {
    /// An empty group.
    pub(crate) fn none() -> Self {
        let (running, ended) = channel();
        Self {
            running,
            ended,
            is_stopping: Arc::default(),
        }
    }

    /// Starts a thread. It gets a flag and must return soon after the flag becomes true.
    pub(crate) fn spawn(
        &self,
        name: &str,
        run: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> anyhow::Result<()> {
        let (running, is_stopping) = (self.running.clone(), self.is_stopping.clone());
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                run(&is_stopping);
                drop(running);
            })
            .map(drop)
            .with_context(|| format!("failed to start the thread {name}"))
    }

    /// Sets the flag, and waits up to [`SHARED_STOP`] for the threads to end.
    pub(crate) fn stop(self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        drop(self.running);
        // Nothing is ever sent; this returns when the channel closes or the time is over.
        let _ = self.ended.recv_timeout(SHARED_STOP);
    }
}
