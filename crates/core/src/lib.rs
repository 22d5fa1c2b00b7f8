//! Everything about Handshake stratum that must be right, and nothing that touches the world.
//!
//! No clock, socket, file, thread, logger or random source is named in this crate: time and
//! randomness are arguments, effects are returned as values.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod absence;
pub mod account;
pub mod address;
pub mod admin;
pub mod admit;
pub mod alarm;
pub mod ban;
pub mod block;
pub mod client;
mod clock;
pub mod door;
mod drain;
mod elsewhere;
mod ends;
pub mod event;
mod extension;
mod extra_nonce;
mod found;
mod generation;
pub mod grid;
pub mod hashrate;
pub mod header;
pub mod info;
pub mod job;
pub mod ledger;
pub mod limits;
pub mod line;
pub mod log_limit;
mod login;
pub mod merkle;
pub mod message;
mod names;
pub mod pace;
pub mod password;
pub mod payout;
mod phase;
pub mod pool;
mod proxied;
pub mod proxy;
mod reader;
mod recorded;
pub mod redirect;
pub mod refusals;
mod reply;
mod request;
pub mod scan;
mod session;
pub mod share;
pub mod size;
mod stranger;
mod submit;
pub mod summary;
mod tally;
pub mod template;
pub mod transaction;
mod turn;
pub mod units;
pub mod vardiff;
pub mod view;
mod wire_admin;
