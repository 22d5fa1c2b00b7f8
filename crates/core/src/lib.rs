//! Everything about Handshake stratum that must be right, and nothing that touches the world.
//!
//! No clock, socket, file, thread, logger or random source is named in this crate: time and
//! randomness are arguments, effects are returned as values.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod account;
pub mod address;
mod ban;
pub mod block;
pub mod client;
pub mod event;
mod extension;
mod extra_nonce;
mod found;
pub mod header;
pub mod job;
pub mod ledger;
pub mod limits;
pub mod line;
mod login;
pub mod merkle;
pub mod message;
pub mod pace;
pub mod password;
pub mod payout;
pub mod pool;
mod reader;
mod recorded;
pub mod redirect;
mod reply;
mod request;
mod session;
pub mod share;
mod submit;
pub mod summary;
mod tally;
pub mod template;
pub mod transaction;
pub mod units;
pub mod vardiff;
pub mod view;
