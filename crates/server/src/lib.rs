//! The I/O shell around `hstratum-core`: sockets, files, threads and the clock.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod clerk;
pub mod config;
mod disk;
mod driver;
pub mod dump;
mod limits;
mod mail;
mod net;
pub mod node;
pub mod password;
mod port;
pub mod server;
pub mod settings;
pub mod spool;
mod store;
pub mod users;
