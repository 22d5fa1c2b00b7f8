//! The I/O shell around `hstratum-core`: sockets, files, threads and the clock.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod address_range;
mod clerk;
pub mod config;
mod conn;
mod disk;
mod driver;
pub mod dump;
pub mod histogram;
mod http;
pub mod ledger;
mod limits;
pub mod listener;
mod live;
mod mail;
mod net;
pub mod node;
mod node_lag;
mod option_value;
pub mod password;
pub mod payout;
mod per_address;
mod port;
pub mod proxy_header;
pub mod server;
pub mod settings;
mod spelling;
pub mod spool;
pub mod store;
mod tls;
pub mod users;
