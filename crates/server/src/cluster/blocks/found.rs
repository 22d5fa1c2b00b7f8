//! Copies blocks that this server found from its file to the shared ledger: each once, with its node's
//! verdict. Their further states there are the coordinator's to decide.

use std::collections::HashMap;
use std::sync::Arc;

use hstratum_core::accounting::ledger::{BlockState, Verdict};
use hstratum_core::chain::address::Network;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::chain::coinbase_split::SplitRecord;
use hstratum_core::units::Hash;
use rusqlite::Connection;

use crate::cluster::storable_names::storable;
use crate::limits::FOUND_COPIED_MAX;
use crate::sql::{Row, Sql, SqlError, Value};
use crate::store::blocks::{self, Rounds};
use crate::store::frozen_splits;
use crate::values;

/// Columns of a block that are the same in both ledgers.
const COLUMNS: &str = "hash, height, time, found_at, txid, address, reward, difficulty, state, reason, \
                       changed_at, closed_at, round_from, effort, dumped_at, payout";

/// A block in the file.
pub(crate) struct FileBlock {
    hash: Hash,
    state: BlockState,
    /// Its round was closed before the ledger was shared.
    is_old: bool,
    account: Option<String>,
    split: Option<Arc<SplitRecord>>,
    values: Vec<Value>,
}

/// Blocks copied on this connection, and their state then.
#[derive(Default)]
pub(crate) struct Copied(HashMap<Hash, BlockState>);

impl Copied {
    /// Blocks new in the file or changed since, lowest height first.
    pub(crate) fn missing(
        &self,
        mut file: &Connection,
        network: Network,
    ) -> Result<Vec<FileBlock>, SqlError> {
        let mut all = read(file)?;
        all.retain(|found| self.0.get(&found.hash) != Some(&found.state));
        for found in &mut all {
            if found.is_split() {
                found.split = frozen_splits::read(&mut file, network, &found.hash)?;
            }
        }
        Ok(all)
    }

    /// Records that the block is there.
    pub(crate) fn add(&mut self, found: &FileBlock) {
        self.0.insert(found.hash, found.state);
    }
}

/// The newest blocks of the file.
fn read(mut file: &Connection) -> Result<Vec<FileBlock>, SqlError> {
    let rows = file.query(
        &format!(
            "SELECT {COLUMNS}, (SELECT name FROM accounts WHERE id = account) FROM blocks
             ORDER BY height DESC LIMIT ?1"
        ),
        &values![FOUND_COPIED_MAX],
    )?;
    // Lowest height first, since each closes the round above the one before.
    rows.iter().rev().map(FileBlock::of).collect()
}

impl FileBlock {
    fn of(row: &Row) -> Result<Self, SqlError> {
        let wrong = |what: String| SqlError::Failed(format!("a block of the file is {what:?}"));
        let (hash, state): (String, String) = (row.get(0)?, row.get(8)?);
        let closed_at: Option<i64> = row.get(11)?;
        Ok(Self {
            hash: Hash::from_hex(&hash).ok_or_else(|| wrong(hash))?,
            state: BlockState::from_name(&state).ok_or_else(|| wrong(state))?,
            is_old: closed_at.is_some(),
            account: row.get(16)?,
            split: None,
            values: row.values()[..16].to_vec(),
        })
    }

    /// Copies one block. If its round is not closed in the file, it arrives as merely found, and the verdict
    /// is then applied there by the same rules as everywhere; if that was done before, nothing changes. Its
    /// round there is closed by the coordinator, who looks at the blocks of all servers.
    pub(crate) fn bring(
        &self,
        sql: &mut dyn Sql,
        network: Network,
        origin: i64,
        unix_s: i64,
    ) -> Result<(), SqlError> {
        let found = self;
        let mut params = found.values.clone();
        if !found.is_old {
            params[8] = BlockState::Found.name().into();
            params[9] = "".into();
        }
        params.push(match &found.account {
            Some(name) => account(sql, name)?.into(),
            None => Value::Null,
        });
        params.push(origin.into());
        let inserted = sql.execute(
            &format!(
                "INSERT INTO blocks ({COLUMNS}, account, origin)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
             ON CONFLICT (hash) DO NOTHING"
            ),
            &params,
        )?;
        if let Some(split) = found.split.as_ref().filter(|_| inserted == 1) {
            let ids = (&*found.hash.to_string(), found.txid()?);
            frozen_splits::write(sql, network, ids, split, unix_s)?;
            if found.is_old && found.state == BlockState::Confirmed {
                frozen_splits::enforce(sql, &found.hash, unix_s)?;
            }
        }
        let state = "SELECT state FROM blocks WHERE hash = ?1";
        let state: String = sql
            .query_one(state, &values![found.hash.to_string()])?
            .get(0)?;
        if let Some(verdict) = found.verdict()
            && state == BlockState::Found.name()
        {
            let verdicts = [(found.hash, verdict)];
            blocks::advance(sql, network, &[], &verdicts, Rounds::Leave, unix_s)?;
        }
        Ok(())
    }

    fn is_split(&self) -> bool {
        matches!(&self.values[15], Value::Text(payout) if payout == Payout::Split.name())
    }

    /// Of its coinbase.
    fn txid(&self) -> Result<&str, SqlError> {
        match &self.values[4] {
            Value::Text(txid) => Ok(txid),
            other => Err(SqlError::Failed(format!(
                "a block of the file has txid {other:?}"
            ))),
        }
    }

    /// The node's verdict, as far as the state shows it.
    fn verdict(&self) -> Option<Verdict> {
        match self.state {
            BlockState::Found => None,
            BlockState::Accepted | BlockState::Confirmed => Some(Verdict::Accepted),
            BlockState::Orphaned => Some(Verdict::Side),
            BlockState::Refused => match &self.values[9] {
                Value::Text(reason) => Some(Verdict::Refused(reason.clone())),
                _ => None,
            },
        }
    }
}

fn account(sql: &mut dyn Sql, name: &str) -> Result<i64, SqlError> {
    let name = &storable(name.as_bytes());
    sql.execute(
        "INSERT INTO accounts (name) VALUES (?1) ON CONFLICT (name) DO NOTHING",
        &values![name],
    )?;
    sql.query_one("SELECT id FROM accounts WHERE name = ?1", &values![name])?
        .get(0)
}
