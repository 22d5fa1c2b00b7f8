//! Sets what accounts have of their own: payout address and threshold.

use anyhow::{Context, anyhow, bail};
use hstratum_core::chain::address::Address;

use crate::audit_trail::{Actor, AuditRecord};
use crate::messages::AccountSetting;
use crate::payout::TermsHistory;
use crate::sql::{Db, Sql, SqlError};

/// Sets an account's payout address, or removes it with `None`: then the account's name is its address, if it
/// is one. An address that was to hold later does not.
///
/// # Errors
/// When the address cannot be paid to on the ledger's network, or there is no such account.
pub fn set_address(db: &mut Db, account: &str, address: Option<&str>) -> anyhow::Result<()> {
    let network = super::network(db)?;
    if let Some(address) = address {
        Address::payable(address, network).map_err(|why| anyhow!(why))?;
    }
    set(
        db,
        account,
        &AccountSetting::Address(address.map(str::to_owned)),
    )
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
    set(db, account, &AccountSetting::Threshold(threshold))
}

fn set(db: &mut Db, account: &str, setting: &AccountSetting) -> anyhow::Result<()> {
    let record = AuditRecord {
        by: Actor::command(),
        server: String::new(),
        change: setting.recorded(account),
    };
    let changed = db
        .write(|sql: &mut dyn Sql| {
            let changed = setting.write(sql, account)?;
            record.write_if(sql, changed > 0)?;
            Ok::<_, SqlError>(changed)
        })
        .with_context(|| format!("failed to write the {}", setting.name()))?;
    if changed == 0 {
        bail!("the ledger has no account {account:?}: it has not mined yet");
    }
    Ok(())
}
