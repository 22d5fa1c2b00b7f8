//! Checks that all tables, indexes and views exist, and that the file is intact.

use hstratum_core::chain::address::Network;

use super::Check;
use crate::sql::{postgres_schema, sqlite_schema};
use crate::values;

/// Everything in the schema of this version exists.
pub(super) fn schema_is_complete(check: &mut Check<'_>) -> anyhow::Result<()> {
    if check.is_file {
        for (kind, name, text) in sqlite_schema::parts()? {
            let found = check.sql.query_opt(
                "SELECT sql FROM sqlite_schema WHERE type = ?1 AND name = ?2",
                &values![&kind, &name],
            )?;
            match found.map(|row| row.get::<String>(0)).transpose()? {
                None => check.find(format!("the {kind} {name} is not there")),
                Some(found) if found != text => {
                    check.find(format!("the {kind} {name} is another than it was made"));
                }
                Some(_) => {}
            }
        }
    } else {
        for name in postgres_schema::parts() {
            let found = check.sql.query_opt(
                "SELECT 1 FROM pg_class WHERE CAST(relname AS TEXT) = ?1
                    AND relnamespace = CAST(CAST(current_schema() AS regnamespace) AS oid)",
                &values![&name],
            )?;
            if found.is_none() {
                check.find(format!("{name} is not there"));
            }
        }
    }
    if !check.findings.errors.is_empty() {
        return Ok(());
    }
    let rows = check.sql.query("SELECT network FROM meta", &[])?;
    match &rows[..] {
        [row] => {
            let network: String = row.get(0)?;
            if Network::from_name(&network).is_none() {
                check.find(format!("it is of no network: {network:?}"));
            }
        }
        rows => check.find(format!("meta has {} rows instead of one", rows.len())),
    }
    Ok(())
}

/// PostgreSQL checks its own storage.
pub(super) fn file_is_whole(check: &mut Check<'_>) -> anyhow::Result<()> {
    if !check.is_file {
        return Ok(());
    }
    for row in check.sql.query("PRAGMA integrity_check", &[])? {
        let text: String = row.get(0)?;
        if text != "ok" {
            check.find(format!("the file is damaged: {text:?}"));
        }
    }
    for row in check.sql.query("PRAGMA foreign_key_check", &[])? {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        check.find(format!(
            "a row of {table} refers to a row of {parent} that is not there"
        ));
    }
    Ok(())
}
