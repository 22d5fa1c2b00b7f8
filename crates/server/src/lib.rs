//! The I/O shell around `hstratum-core`: sockets, files, threads and the clock.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod account_keys;
mod alarm_delivery;
pub mod alerts;
pub mod audit_trail;
mod chat_text;
pub mod client_tls;
mod clock;
pub mod cluster;
pub mod config;
pub mod contacts;
pub mod doctor;
pub mod driver;
mod durable_fs;
pub mod files;
mod http;
pub mod ledger_tools;
pub mod limits;
mod log_lines;
pub mod messages;
mod miner_wire;
pub mod net;
pub mod node;
mod operator;
pub mod payer;
pub mod payout;
pub mod proxy;
mod repeated_log;
pub mod secret;
pub mod server;
mod signature_checks;
mod splitter;
pub mod sql;
mod statuses;
mod stderr;
pub mod store;
pub mod stratum_url;
mod supervision;
pub mod task_threads;
pub mod telemetry;
pub mod verify;
