//! The parts of Handshake's chain that a pool reads and writes: addresses, headers, templates, blocks and
//! transactions. Bytes and hashes, and whom a coinbase pays: nothing here knows miners or jobs.

pub mod address;
pub mod block;
pub mod coinbase;
pub mod coinbase_split;
pub mod header;
pub mod merkle;
pub(crate) mod reader;
pub mod template;
pub mod transaction;
