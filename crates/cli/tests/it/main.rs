//! The program `hstratum` as it is run: arguments, files, sockets and processes.
//!
//! No test here changes what all of this process share (its environment, limits and signals): they may run
//! beside each other.

mod front;
#[path = "../../../server/tests/it/harness/mod.rs"]
mod harness;
mod ledger;
mod ledger_check;
mod ledger_import;
#[path = "../../../server/tests/it/ledgers.rs"]
mod ledgers;
mod mine;
mod mistakes;
#[path = "../../../server/tests/it/postgres/mod.rs"]
mod postgres;
mod program;
mod proxy;
