//! Accounts that are due for payment, and the reasons why others wait.

use hstratum_core::chain::address::{Address, Network};

use super::PayoutTerms;
use super::account::{LedgerAccount, LedgerAccounts};
use super::awaited_servers::AwaitedServers;
use super::promises;
use crate::sql::{Db, Sql};

/// An account that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payee {
    /// Its row in `accounts`.
    pub account_id: i64,
    /// Its name: untrusted text.
    pub name: String,
    /// An address of the ledger's network.
    pub address: String,
    /// Its balance, less what coinbases pay of it, in base units.
    pub amount: u64,
}

/// Smallest output that nodes relay to either kind of address, in base units (hsd lib/primitives/output.js,
/// getDustThreshold): 297 to a key, 333 to a script.
const DUST: u64 = 333;

/// Reason why an account is not paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It was paid more than it has earned, after a block was lost.
    Owes,
    /// Its balance is below the threshold, or so small that nodes would not relay the output.
    BelowThreshold,
    /// Coinbases pay so much of its balance that the rest is too little: those of jobs that are out, or of a block
    /// whose reward cannot be spent yet.
    InCoinbase,
    /// It has no payable address: none was set, and its name is not an address.
    NoAddress,
}

impl Wait {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Owes,
        Self::BelowThreshold,
        Self::InCoinbase,
        Self::NoAddress,
    ];

    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Owes => "owes",
            Self::BelowThreshold => "below_threshold",
            Self::InCoinbase => "in_coinbase",
            Self::NoAddress => "no_address",
        }
    }

    /// The reason in words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Owes => "owes: a block was lost after it was paid",
            Self::BelowThreshold => "below the threshold",
            Self::InCoinbase => "paid by the blocks themselves",
            Self::NoAddress => "no address",
        }
    }
}

/// All accounts with an address whose balance reaches the threshold, the account's own or the pool's, by name.
/// A balance below 333 base units is never due, whatever the threshold: nodes would not relay the output.
///
/// # Errors
/// When the ledger cannot be read.
pub fn payees(
    db: &mut Db,
    network: Network,
    terms: &PayoutTerms,
    awaited_servers: &AwaitedServers,
) -> anyhow::Result<Vec<Payee>> {
    let (accounts, balances, held) = db.read(|sql: &mut dyn Sql| {
        let accounts = LedgerAccounts::read(sql)?;
        let balances = accounts.balances(sql)?;
        anyhow::Ok((
            accounts,
            balances,
            promises::held(sql, network, awaited_servers)?,
        ))
    })?;
    let due = balances.into_iter().filter_map(|(rank, balance)| {
        let account = accounts.get(rank);
        let held = held.get(&account.id).copied().unwrap_or(0);
        let (address, amount) = judge(account, balance, held, network, terms).ok()?;
        Some(Payee {
            account_id: account.id,
            name: account.name.clone(),
            address: address.to_owned(),
            amount,
        })
    });
    Ok(due.collect())
}

/// Decides whether an account with that balance, of which coinbases hold so much, is paid, where, and how much.
pub(super) fn judge<'a>(
    account: &'a LedgerAccount,
    balance: i64,
    held: u64,
    network: Network,
    terms: &PayoutTerms,
) -> Result<(&'a str, u64), Wait> {
    let balance = u64::try_from(balance).map_err(|_| Wait::Owes)?;
    let amount = balance.saturating_sub(held);
    let threshold = terms.threshold_of(account.threshold).max(DUST);
    if amount < threshold {
        return Err(match balance < threshold {
            true => Wait::BelowThreshold,
            false => Wait::InCoinbase,
        });
    }
    let address = account.payout_address();
    if Address::parse_payable(address, network).is_none() {
        return Err(Wait::NoAddress);
    }
    Ok((address, amount))
}
