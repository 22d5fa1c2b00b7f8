//! Payout addresses of accounts, read from the ledger for solo listeners: the pool needs them at a login, and
//! must not wait for a disk or a database there. They are read again every [`PAYOUT_ADDRESSES_EVERY`], since
//! any server and any command may have changed them, and some hold from a time on; while the ledger is away
//! those read last hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hstratum_core::accounts::PayoutAddresses;
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::event::Level;

use crate::limits::{PAYOUT_ADDRESSES_EVERY, PAYOUT_ADDRESSES_TIME};
use crate::messages::{DriverHandle, WorkerEvent};
use crate::node::Node;
use crate::repeated_log::LogOnce;
use crate::sql::SqlError;
use crate::sql::location::LedgerLocation;
use crate::supervision::wait_until;

/// Reads them until the server stops, and tells the driver when they have changed.
pub(crate) fn run(
    location: &LedgerLocation,
    network: Network,
    is_stopping: &AtomicBool,
    to_driver: &DriverHandle,
    node: &dyn Node,
) {
    let mut told = None;
    let mut failure = LogOnce::default();
    while !is_stopping.load(Ordering::Relaxed) {
        let due = Instant::now() + PAYOUT_ADDRESSES_EVERY;
        match read(location, network) {
            Ok(addresses) => {
                failure.end();
                if told.as_ref() != Some(&addresses) {
                    let event = WorkerEvent::PayoutAddresses(Arc::new(addresses.clone()));
                    if to_driver.work(event).is_err() {
                        return;
                    }
                    told = Some(addresses);
                }
            }
            Err(error) => {
                let text = format!("failed to read the payout addresses of accounts: {error}");
                failure.say(node, Level::Warning, &text);
            }
        }
        wait_until(due, is_stopping);
    }
}

/// The accounts that have an address of their own which can be paid.
fn read(location: &LedgerLocation, network: Network) -> Result<PayoutAddresses, SqlError> {
    let mut db = location.open_for_a_look(PAYOUT_ADDRESSES_TIME)?;
    let query = "SELECT name, address FROM payees WHERE address IS NOT NULL";
    let rows = db.read(|sql| sql.query(query, &[]))?;
    let mut addresses = PayoutAddresses::new();
    for row in rows {
        let (name, address): (String, String) = (row.get(0)?, row.get(1)?);
        if let Some(address) = Address::parse_payable(&address, network) {
            addresses.insert(name.into(), address);
        }
    }
    Ok(addresses)
}
