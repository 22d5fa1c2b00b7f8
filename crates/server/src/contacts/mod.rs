//! Contacts of accounts, and what they are to be told, in the ledger.

pub mod event;
pub mod table;
pub mod way;
