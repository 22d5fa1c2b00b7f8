//! Sets payout addresses of accounts.

use anyhow::{Context, bail, ensure};
use hstratum_core::chain::address::Address;

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
    if changed == 0 {
        bail!("the ledger has no account {account:?}: it has not mined yet");
    }
    Ok(())
}
