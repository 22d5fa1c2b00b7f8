//! The I/O shell around `hstratum-core`: sockets, files, threads and the clock.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod address_range;
mod alarms;
mod bans;
mod clerk;
pub mod config;
mod conn;
mod disk;
pub mod doctor;
mod driver;
pub mod dump;
pub mod ledger;
mod legacy;
mod limits;
pub mod listener;
mod mail;
mod net;
pub mod node;
pub mod password;
pub mod payout;
mod per_address;
mod perform;
mod port;
pub mod proxy_header;
pub mod server;
pub mod settings;
mod spelling;
pub mod spool;
pub mod store;
mod tls;
pub mod users;
mod webhook;
