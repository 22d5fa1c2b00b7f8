//! One pool on several servers: the ledger that they share, in PostgreSQL.
//!
//! A share is acknowledged when it is in a server's own file; from there it is shipped here, once.

pub mod address;
mod copy;
mod intake;
pub(crate) mod listen;
pub(crate) mod origin;
pub(crate) mod people;
pub mod relay;
mod roll;
pub mod schema;
pub(crate) mod start;
pub(crate) mod threads;
