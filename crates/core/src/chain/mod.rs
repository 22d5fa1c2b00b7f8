//! The parts of Handshake's chain that a pool reads and writes: addresses, headers, templates, blocks and
//! transactions. Bytes and hashes only: nothing here knows miners, jobs or accounts.

pub mod address;
pub mod block;
pub mod header;
pub mod merkle;
pub(crate) mod reader;
pub mod template;
pub mod transaction;
