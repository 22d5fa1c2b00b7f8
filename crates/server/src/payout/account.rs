//! The accounts of a ledger, sorted by name.
//!
//! The order breaks ties when a reward is divided, so it is that of the names' bytes and does not depend on
//! row ids, which differ between ledgers.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context;

use crate::sql::{Sql, SqlError};

/// An account's position in the order of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Rank(u32);

#[derive(Debug)]
pub(super) struct LedgerAccount {
    pub(super) id: i64,
    pub(super) name: String,
    /// The payout address that was set and holds now, if any.
    pub(super) address: Option<String>,
    /// Its own threshold, in base units, if it has one.
    pub(super) threshold: Option<u64>,
}

impl LedgerAccount {
    /// The address that it is paid at, if it is one.
    pub(super) fn payout_address(&self) -> &str {
        self.address.as_deref().unwrap_or(&self.name)
    }
}

/// Balance of each account (credits less payments) by row id, in base units, where it is not 0.
pub(super) fn balances(sql: &mut dyn Sql) -> Result<HashMap<i64, i64>, SqlError> {
    let query = "SELECT account, balance FROM balances WHERE balance <> 0";
    let rows = sql.query(query, &[])?;
    rows.iter()
        .map(|row| Ok((row.get(0)?, row.get(1)?)))
        .collect()
}

/// All accounts. Must be read in the transaction that reads the rows referring to them.
#[derive(Debug)]
pub(super) struct LedgerAccounts {
    by_name: Vec<LedgerAccount>,
    ranks: HashMap<i64, Rank>,
}

impl LedgerAccounts {
    pub(super) fn read(sql: &mut dyn Sql) -> Result<Self, SqlError> {
        let rows = sql.query("SELECT id, name, address, threshold FROM payees", &[])?;
        let rows = rows.iter().map(|row| {
            Ok(LedgerAccount {
                id: row.get(0)?,
                name: row.get(1)?,
                address: row.get(2)?,
                threshold: row.get(3)?,
            })
        });
        let mut by_name = rows.collect::<Result<Vec<_>, SqlError>>()?;
        by_name.sort_by(|a, b| a.name.cmp(&b.name));
        let ranks = (0..).zip(&by_name);
        let ranks = ranks.map(|(rank, account)| (account.id, Rank(rank)));
        let ranks = ranks.collect();
        Ok(Self { by_name, ranks })
    }

    /// The account with that row id.
    pub(super) fn rank(&self, id: i64) -> anyhow::Result<Rank> {
        let rank = self.ranks.get(&id).copied();
        rank.with_context(|| format!("the ledger refers to account {id}, which it does not have"))
    }

    pub(super) fn get(&self, rank: Rank) -> &LedgerAccount {
        &self.by_name[rank.0 as usize]
    }

    /// [`balances`] by rank.
    pub(super) fn balances(&self, sql: &mut dyn Sql) -> anyhow::Result<BTreeMap<Rank, i64>> {
        let balances = balances(sql).context("failed to read the balances")?;
        let ranked = balances.into_iter();
        ranked
            .map(|(id, balance)| Ok((self.rank(id)?, balance)))
            .collect()
    }
}
