//! The suites of manners, of real miners' recordings and of the pool's rules once more, with a proxy
//! before the pool: the table lays itself so where this is the test.

#![allow(clippy::duplicate_mod, reason = "each suite brings its table")]

#[path = "manners.rs"]
mod manners;
#[path = "pool.rs"]
mod pool;
#[path = "recordings.rs"]
mod recordings;
