//! Runs the suites of misbehaviour, of miners' recordings and of the pool once more, with a proxy before
//! the pool: the harness adds it if it is built for this test.

#![allow(clippy::duplicate_mod, reason = "each suite brings its table")]

#[path = "manners.rs"]
mod manners;
#[path = "pool.rs"]
mod pool;
#[path = "recordings.rs"]
mod recordings;
