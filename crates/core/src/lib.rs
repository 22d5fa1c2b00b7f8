//! The core of hstratum: everything about Handshake stratum that must be right, without any input or
//! output.
//!
//! Invariant: no clock, socket, file, thread, logger or random source is named in this crate. Time and
//! randomness are arguments, effects are returned as values.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod accounting;
pub mod accounts;
pub mod alarm;
pub mod chain;
mod conn;
pub mod event;
pub mod job;
pub mod limits;
pub mod log_limit;
pub mod occupancy;
pub mod operator_order;
pub mod plural;
pub mod pool;
pub mod proxy;
pub mod session;
pub mod units;
pub mod wire;
