//! Sets what accounts have of their own: payout address and threshold.

use anyhow::{Context, anyhow, bail, ensure};
use hstratum_core::chain::address::Address;

use crate::payout::TermsHistory;
use crate::sql::{Db, Sql};
use crate::values;

/// Sets an account's payout address, or removes it with `None`: then the account's name is its address, if it
/// is one.
///
/// # Errors
/// When the address cannot be paid to on the ledger's network, or there is no such account.
pub fn set_address(db: &mut Db, account: &str, address: Option<&str>) -> anyhow::Result<()> {
    let network = super::network(db)?;
    if let Some(address) = address {
        ensure!(
            Address::parse_payable(address, network).is_some(),
            "{}",
            Address::why_not_payable(address, network)
        );
    }
    let set = "UPDATE accounts SET address = ?2 WHERE name = ?1";
    let changed = db
        .write(|sql: &mut dyn Sql| sql.execute(set, &values![account, address]))
        .context("failed to write the address")?;
    known(changed, account)
}

/// Sets the balance from which an account is paid, in base units, or removes it with `None`: then it is the
/// pool's.
///
/// # Errors
/// When it is below the smallest one of the ledger's terms, or there is no such account.
pub fn set_threshold(db: &mut Db, account: &str, threshold: Option<u64>) -> anyhow::Result<()> {
    if let Some(threshold) = threshold {
        let history = db.read(TermsHistory::read)?;
        let history = history.context("the ledger has no terms yet: start the server once")?;
        let allowed = history.newest().check_threshold(threshold);
        allowed.map_err(|error| anyhow!(error))?;
    }
    let set = "UPDATE accounts SET threshold = ?2 WHERE name = ?1";
    let changed = db
        .write(|sql: &mut dyn Sql| sql.execute(set, &values![account, threshold]))
        .context("failed to write the threshold")?;
    known(changed, account)
}

fn known(changed: u64, account: &str) -> anyhow::Result<()> {
    if changed == 0 {
        bail!("the ledger has no account {account:?}: it has not mined yet");
    }
    Ok(())
}
