//! The I/O shell around `hstratum-core`: sockets, files, threads and the clock.

#![forbid(unsafe_code)]

mod disk;
pub mod password;
pub mod users;
