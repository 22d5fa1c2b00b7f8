//! The servers whose credit a payout waits for, where several share a ledger.
//!
//! A server ships what it has gathered a little later, or much later when it could not. What it owes
//! nobody else knows, so that blocks above the height that it has shipped up to wait. One that was
//! not seen for a week is not waited for, nor one whose name another file has taken over since, nor
//! one that the operator names.

use std::time::Duration;

use anyhow::ensure;

use crate::limits::{SERVER_AWAITED, SERVER_LIVE_MS};
use crate::shared::origin::NOW_MS;
use crate::sql::{Db, Sql};
use crate::values;

/// A server's ledger file, as the shared ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name: untrusted text.
    pub label: String,
    /// How long ago it was seen.
    pub seen: Duration,
    /// Up to which height its credit is here; none before its first.
    pub shipped_tip: Option<u32>,
    /// Whether blocks above that wait for it.
    pub is_awaited: bool,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Fleet {
    is_shared: bool,
    without: Vec<String>,
}

impl Fleet {
    /// That of a ledger, without those whose names are given.
    ///
    /// # Errors
    /// When it has no server of a name that is given.
    pub fn of(db: &mut Db, without: &[String]) -> anyhow::Result<Self> {
        let fleet = Self {
            is_shared: matches!(db, Db::Postgres(_)),
            without: without.to_vec(),
        };
        let servers = db.read(|sql| fleet.servers(sql))?;
        for name in without {
            ensure!(
                servers.iter().any(|server| server.label == *name),
                "the ledger knows no server {name:?}"
            );
        }
        Ok(fleet)
    }

    /// All that were ever seen, by name. None where the ledger is a file.
    pub(super) fn servers(&self, sql: &mut dyn Sql) -> anyhow::Result<Vec<Server>> {
        if !self.is_shared {
            return Ok(Vec::new());
        }
        let rows = sql.query(
            &format!(
                "SELECT label, {NOW_MS} - seen_at_ms, shipped_tip,
                   CASE WHEN EXISTS (SELECT 1 FROM origins AS later
                     WHERE later.label = origins.label AND later.id > origins.id) THEN 1 ELSE 0 END
                 FROM origins ORDER BY label, id"
            ),
            &values![],
        )?;
        let servers = rows.iter().map(|row| {
            let label: String = row.get(0)?;
            let seen_ms = row.get::<i64>(1)?.unsigned_abs();
            let is_replaced = row.get::<i64>(3)? == 1 && seen_ms > SERVER_LIVE_MS;
            let seen = Duration::from_millis(seen_ms);
            Ok(Server {
                seen,
                shipped_tip: row.get(2)?,
                is_awaited: seen <= SERVER_AWAITED
                    && !is_replaced
                    && !self.without.contains(&label),
                label,
            })
        });
        servers.collect()
    }

    /// Up to which height all credit is here.
    pub(super) fn shipped(&self, sql: &mut dyn Sql) -> anyhow::Result<i64> {
        let servers = self.servers(sql)?;
        let awaited = servers.iter().filter(|server| server.is_awaited);
        let tips = awaited.map(|server| server.shipped_tip.map_or(-1, i64::from));
        Ok(tips.min().unwrap_or(i64::MAX))
    }
}
