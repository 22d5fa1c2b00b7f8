//! Tests that measure, or take thousands of descriptors: alone in this process, one at a time.
//!
//! `round_memory` and `hostile` measure the memory of the whole process, `full_server` and `hostile` how long
//! honest miners wait, and each but `round_memory` has thousands of sockets, both ends of them: all at once
//! would be more than a process may open.

#[path = "../it/found.rs"]
mod found;
mod full_server;
#[path = "../it/harness/mod.rs"]
mod harness;
mod hostile;
#[path = "../it/ledgers.rs"]
mod ledgers;
mod load;
#[path = "../it/postgres/mod.rs"]
mod postgres;
mod round_memory;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits until no other test runs; the next one goes on when this is dropped.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that has failed is over, too.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
