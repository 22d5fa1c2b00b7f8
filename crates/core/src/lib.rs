//! Everything about Handshake stratum that must be right, and nothing that touches the world.
//!
//! No clock, socket, file, thread, logger or random source is named in this crate: time and
//! randomness are arguments, effects are returned as values.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod client;
pub mod header;
pub mod password;
pub mod summary;
pub mod units;
