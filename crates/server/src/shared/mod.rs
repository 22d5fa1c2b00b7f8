//! One pool on several servers: the ledger that they share, in PostgreSQL.
//!
//! A share is acknowledged when it is in a server's own file; from there it is shipped here, once.

pub mod address;
pub(crate) mod origin;
pub mod schema;
