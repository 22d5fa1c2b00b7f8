//! The servers whose credit a payout waits for, if several share a ledger.
//!
//! A server ships its credit a little later than it accepts shares, or much later after a failure. Only the
//! server knows what is still to come, so blocks above the height that it has shipped up to wait. A server is
//! identified by its file, not by its name, which others may have. Not waited for are servers that were not
//! seen for a week, those that the operator names, and files that their server has replaced by a later one.

use std::time::Duration;

use anyhow::bail;

use crate::limits::SERVER_AWAITED;
use crate::sql::{Db, NOW_MS, Sql};
use crate::values;

/// A server's ledger file, as recorded in the shared ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwaitedServer {
    /// Its number there.
    pub number: i64,
    /// Its name: untrusted text.
    pub label: String,
    /// Time since it was last seen.
    pub seen: Duration,
    /// Height up to which its credit is in the shared ledger; `None` before its first batch.
    pub shipped_tip: Option<u32>,
    /// Blocks above that height wait for it.
    pub is_awaited: bool,
}

/// The servers that a payout waits for.
#[derive(Debug, Clone)]
pub struct AwaitedServers {
    is_shared: bool,
    /// Numbers of the servers that are not waited for.
    without: Vec<i64>,
}

/// Height up to which all credit and all blocks of a shared ledger's servers are in it.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn shipped_by_all(sql: &mut dyn Sql) -> anyhow::Result<i64> {
    AwaitedServers::all(true).shipped(sql)
}

impl AwaitedServers {
    /// All servers of a ledger, which is shared or a file.
    pub(crate) fn all(is_shared: bool) -> Self {
        Self {
            is_shared,
            without: Vec::new(),
        }
    }

    /// The servers of a ledger without those given, each by its name or as `#` and its number.
    ///
    /// # Errors
    /// When it has no such server, or several of that name.
    pub fn of(db: &mut Db, without: &[String]) -> anyhow::Result<Self> {
        let mut awaited_servers = Self::all(matches!(db, Db::Postgres(_)));
        let servers = db.read(|sql| awaited_servers.servers(sql))?;
        for name in without {
            let is_meant = |server: &&AwaitedServer| {
                server.label == *name || format!("#{}", server.number) == *name
            };
            let meant: Vec<&AwaitedServer> = servers.iter().filter(is_meant).collect();
            match meant[..] {
                [] => bail!("the ledger knows no server {name:?}"),
                [only] => awaited_servers.without.push(only.number),
                _ => {
                    let seen =
                        |one: &&AwaitedServer| format!("#{} {} s", one.number, one.seen.as_secs());
                    let seen: Vec<String> = meant.iter().map(seen).collect();
                    bail!(
                        "several servers have the name {name:?}: say which by its number (seen {} ago)",
                        seen.join(", ")
                    );
                }
            }
        }
        Ok(awaited_servers)
    }

    /// All servers that were ever seen, by name; none if the ledger is a file.
    pub(super) fn servers(&self, sql: &mut dyn Sql) -> anyhow::Result<Vec<AwaitedServer>> {
        if !self.is_shared {
            return Ok(Vec::new());
        }
        let rows = sql.query(
            &format!(
                "SELECT label, {NOW_MS} - seen_at_ms, shipped_tip, id, successor
                 FROM origins ORDER BY label, id"
            ),
            &values![],
        )?;
        let servers = rows.iter().map(|row| {
            let label: String = row.get(0)?;
            let seen_ms = row.get::<i64>(1)?.unsigned_abs();
            let number = row.get(3)?;
            let successor: Option<i64> = row.get(4)?;
            let seen = Duration::from_millis(seen_ms);
            Ok(AwaitedServer {
                number,
                seen,
                shipped_tip: row.get(2)?,
                is_awaited: seen <= SERVER_AWAITED
                    && successor.is_none()
                    && !self.without.contains(&number),
                label,
            })
        });
        servers.collect()
    }

    /// Height up to which all credit is in the ledger.
    pub(super) fn shipped(&self, sql: &mut dyn Sql) -> anyhow::Result<i64> {
        let servers = self.servers(sql)?;
        let awaited = servers.iter().filter(|server| server.is_awaited);
        let tips = awaited.map(|server| server.shipped_tip.map_or(-1, i64::from));
        Ok(tips.min().unwrap_or(i64::MAX))
    }
}
