//! Tools of the operator for a ledger, usable beside the server that may be writing to it: read it, check it,
//! copy it, import old work.
//!
//! No write transaction waits for anything, and each is short, since the server's own wait for it.

mod address;
mod backup;
mod check;
mod dump;
mod import;
mod report;
pub(crate) mod round_reader;
mod shares_file;

use anyhow::Context;
use hstratum_core::chain::address::Network;

use crate::sql::{Db, Sql};

pub use crate::sql::location::LedgerLocation;
pub use address::{set_address, set_threshold};
pub use backup::backup;
pub use check::{LedgerFindings, check};
pub use dump::{BlockChoice, dump};
pub use import::{Imported, Paid, import};
pub(crate) use report::open_round;
pub use report::{
    AccountReport, Activity, BlockReport, LedgerReport, OpenRound, RATE_SPANS_S, TermsReport,
    WorkerReport, report,
};

/// The network of a ledger.
///
/// # Errors
/// When it cannot be read, or hsd has no such network.
pub fn network(db: &mut Db) -> anyhow::Result<Network> {
    db.read(network_of)
}

fn network_of(sql: &mut dyn Sql) -> anyhow::Result<Network> {
    let name: String = sql
        .query_one("SELECT network FROM meta", &[])
        .context("failed to read the ledger's network")?
        .get(0)?;
    Network::from_name(&name).with_context(|| format!("the ledger is of the network {name:?}"))
}
