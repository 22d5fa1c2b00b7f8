//! What an operator does with a ledger, beside the server that may be writing to it: read it,
//! check it, copy it, bring old work into it.
//!
//! Nothing here waits inside a transaction that writes, and each of those is short, since the
//! server's own wait for them.

use anyhow::Context;
use hstratum_core::address::Network;
use rusqlite::Connection;

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
