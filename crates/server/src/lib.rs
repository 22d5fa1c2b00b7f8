//! The I/O shell around `hstratum-core`: sockets, files, threads and the clock.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod config;
mod disk;
pub mod dump;
pub mod password;
pub mod spool;
pub mod users;
