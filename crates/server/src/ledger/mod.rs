//! What an operator does with a ledger, beside the server that may be writing to it: read it,
//! check it, copy it, bring old work into it.
//!
//! Nothing here waits inside a transaction that writes, and each of those is short, since the
//! server's own wait for them.

mod address;
mod backup;
mod check;
mod import;
mod report;
mod shares_file;

use anyhow::Context;
use hstratum_core::address::Network;
use rusqlite::Connection;

pub use address::set_address;
pub use backup::backup;
pub use check::check;
pub use import::{Imported, Paid, import};
pub(crate) use report::open_round;
pub use report::{
    AccountReport, Activity, BlockReport, OpenRound, RATE_SPANS_S, Report, WorkerReport, report,
};

/// The network of a ledger.
///
/// # Errors
/// When it cannot be read, or hsd has no such network.
pub fn network(conn: &Connection) -> anyhow::Result<Network> {
    let name: String = conn
        .query_row("SELECT network FROM meta", [], |row| row.get(0))
        .context("failed to read the ledger's network")?;
    Network::from_name(&name).with_context(|| format!("the ledger is of the network {name:?}"))
}
