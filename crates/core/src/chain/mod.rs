//! What Handshake's chain is made of, as far as a pool reads and writes it: addresses, headers, templates,
//! blocks and transactions.

pub mod address;
pub mod block;
pub mod header;
pub mod merkle;
pub(crate) mod reader;
pub mod template;
pub mod transaction;
