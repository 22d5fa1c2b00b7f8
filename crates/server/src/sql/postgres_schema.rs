//! Schema of the shared ledger: its tables and its version.
//!
//! A database of another network, or one written to by a newer program, is not changed.

use anyhow::{Context, ensure};
use hstratum_core::chain::address::Network;
use postgres::error::SqlState;
use postgres::{Client, IsolationLevel, Transaction};

use crate::limits::SQL_TRIES_MAX;
use crate::sql::url::PostgresUrl;
use crate::sql::{Db, Postgres, SqlError, version};

/// Migrations from each version to the next; the first makes version 1 of an empty database.
const STEPS: [&str; 13] = [
    include_str!("postgres_schema.sql"),
    include_str!("postgres_schema_2.sql"),
    include_str!("postgres_schema_3.sql"),
    include_str!("postgres_schema_4.sql"),
    include_str!("postgres_schema_5.sql"),
    include_str!("postgres_schema_6.sql"),
    include_str!("postgres_schema_7.sql"),
    include_str!("postgres_schema_8.sql"),
    include_str!("postgres_schema_9.sql"),
    include_str!("postgres_schema_10.sql"),
    include_str!("postgres_schema_11.sql"),
    include_str!("postgres_schema_12.sql"),
    include_str!("postgres_schema_13.sql"),
];

/// Advice on a newer ledger.
const NEWER_ADVICE: &str = "install the newer hstratum again, or restore a dump of the database from before its \
                            upgrade (docs/ledger.md, Back to an older release)";

/// Opens a shared ledger: creates it if there is none, and upgrades it if it is of an earlier version.
///
/// # Errors
/// [`SqlError::Lost`] inside if nobody answers; else one line that says what to do.
pub fn open(address: &PostgresUrl, network: Network, unix_s: u64) -> anyhow::Result<Postgres> {
    let mut postgres = Postgres::connect(address)?;
    prepare_at(address, postgres.client()?, network, unix_s)?;
    Ok(postgres)
}

/// The same, as a bare connection.
///
/// # Errors
/// As [`open`].
pub(crate) fn connect(
    address: &PostgresUrl,
    network: Network,
    unix_s: u64,
) -> anyhow::Result<Client> {
    let mut client = address.connect()?;
    prepare_at(address, &mut client, network, unix_s)?;
    Ok(client)
}

fn prepare_at(
    address: &PostgresUrl,
    client: &mut Client,
    network: Network,
    unix_s: u64,
) -> anyhow::Result<()> {
    let context = || format!("failed to open the shared ledger {address}");
    prepare(client, network, unix_s).with_context(context)
}

/// Opens an existing shared ledger.
///
/// # Errors
/// As [`open`]; when there is none, or its version is not this program's.
pub fn open_existing(address: &PostgresUrl) -> anyhow::Result<Db> {
    let mut postgres = Postgres::connect(address)?;
    let client = postgres.client()?;
    let mut tx = client.transaction().map_err(SqlError::from)?;
    let found = version(&mut tx).map_err(SqlError::from)?;
    drop(tx);
    let found = found.with_context(|| format!("there is no ledger of hstratum in {address}"))?;
    version::require(found, known(), NEWER_ADVICE)
        .with_context(|| format!("the shared ledger {address} is not opened"))?;
    Ok(Db::Postgres(Box::new(postgres)))
}

/// Names of all tables, indexes and views that the schema of this version has.
pub(crate) fn parts() -> Vec<String> {
    let kinds = [
        "CREATE TABLE ",
        "CREATE INDEX ",
        "CREATE UNIQUE INDEX ",
        "CREATE VIEW ",
    ];
    let lines = STEPS.iter().flat_map(|step| step.lines());
    let named = lines.filter_map(|line| {
        let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
        rest.split([' ', '(']).next().map(str::to_owned)
    });
    named.collect()
}

fn known() -> i64 {
    i64::try_from(STEPS.len()).expect("a few steps")
}

/// Creates or upgrades the schema. Several servers may start at the same time: one does it, the others find
/// it done.
fn prepare(client: &mut Client, network: Network, unix_s: u64) -> anyhow::Result<()> {
    let mut tries = 0;
    loop {
        let done = prepare_once(client, network, unix_s);
        tries += 1;
        match done {
            Err(error) if tries < SQL_TRIES_MAX && was_in_the_way(&error) => {}
            done => return done.map_err(said),
        }
    }
}

/// Converts an error of PostgreSQL's library to [`SqlError`].
fn said(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<postgres::Error>() {
        Ok(error) => SqlError::from(error).into(),
        Err(error) => error,
    }
}

fn was_in_the_way(error: &anyhow::Error) -> bool {
    let codes = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_COLUMN,
        SqlState::DUPLICATE_OBJECT,
        SqlState::UNIQUE_VIOLATION,
    ];
    let code = error
        .downcast_ref::<postgres::Error>()
        .and_then(postgres::Error::code);
    code.is_some_and(|code| codes.contains(code))
}

fn prepare_once(client: &mut Client, network: Network, unix_s: u64) -> anyhow::Result<()> {
    let mut tx = client
        .build_transaction()
        .isolation_level(IsolationLevel::Serializable)
        .start()?;
    let first = match version(&mut tx)? {
        Some(found) => {
            let of: String = tx.query_one("SELECT network FROM meta", &[])?.get(0);
            let name = network.name();
            ensure!(
                of == name,
                "it is of the network {of:?}, the node's is {name}"
            );
            version::refuse_newer(found, known()).context(NEWER_ADVICE)?;
            usize::try_from(found).context("it has no version")?
        }
        None => 0,
    };
    if first == STEPS.len() {
        return Ok(());
    }
    for step in &STEPS[first..] {
        tx.batch_execute(step)?;
    }
    let unix_s = i64::try_from(unix_s).context("the clock")?;
    if first == 0 {
        tx.execute(
            "INSERT INTO meta (id, version, network, created_at) VALUES (1, $1, $2, $3)",
            &[&known(), &network.name(), &unix_s],
        )?;
    } else {
        tx.execute("UPDATE meta SET version = $1", &[&known()])?;
    }
    tx.commit()?;
    Ok(())
}

/// Version of the ledger; `None` for a database without one.
fn version(tx: &mut Transaction<'_>) -> Result<Option<i64>, postgres::Error> {
    let tables = "SELECT count(*) FROM information_schema.tables
                  WHERE table_schema = current_schema() AND table_name IN ('meta', 'origins')";
    let count: i64 = tx.query_one(tables, &[])?.get(0);
    if count < 2 {
        return Ok(None);
    }
    let row = tx.query_opt("SELECT version FROM meta", &[])?;
    Ok(row.map(|row| row.get(0)))
}
