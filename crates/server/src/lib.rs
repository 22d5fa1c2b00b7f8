//! The I/O shell around `hstratum-core`: sockets, files, threads and the clock.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod address_range;
mod alarms;
mod bans;
pub mod clerk;
mod clerks;
mod complaint;
pub mod config;
mod conn;
mod descriptors;
mod disk;
pub mod doctor;
pub mod driver;
pub mod dump;
mod duty;
mod files;
pub mod histogram;
mod http;
pub mod in_force;
pub mod ledger;
pub mod legacy;
mod limits;
pub mod listener;
mod live;
pub mod mail;
mod net;
pub mod node;
mod node_lag;
mod open_round;
mod option_value;
mod orders;
pub mod password;
pub mod payout;
mod per_address;
mod perform;
mod port;
pub mod proxy;
pub mod proxy_header;
mod raw_option;
pub mod server;
pub mod settings;
pub mod shared;
mod spelling;
pub mod spool;
pub mod sql;
mod stderr;
pub mod store;
pub mod surroundings;
mod tls;
pub mod users;
mod webhook;
