//! Found blocks of one pool on several servers: relayed to all nodes, kept in the shared ledger, and what
//! becomes of them.

pub(crate) mod coordinator;
pub(crate) mod found;
pub(crate) mod lease;
pub mod relay;
