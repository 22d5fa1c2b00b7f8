//! The thread that writes share dumps. A dump is owed for each block in the ledger whose round is closed and
//! that has no dump yet. Since this follows from the ledger alone, each dump is written once, also after a
//! crash at any point, and retried until the disk accepts it.
//!
//! It has its own read-only connection; `GroupCommit` records which dumps are written.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use anyhow::Context;
use hstratum_core::accounting::share_dump::Dump;
use hstratum_core::chain::address::Network;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::event::Level;
use hstratum_core::units::Hash;

use super::frozen_splits;
use super::group_commit::StoreCommand;
use crate::files::share_dump::{DumpWritten, write_dump};
use crate::files::spooled_split;
use crate::limits::DISK_RETRY_MS;
use crate::node::Node;
use crate::repeated_log::LogOnce;
use crate::sql::{Db, EFFORT, Row, Sql, SqlError, Sqlite};
use crate::supervision::Duty;
use crate::values;

/// Blocks read at once; their dumps are made one at a time.
pub(crate) const DUMPS_PER_TURN: i64 = 100;

/// Writer of the dumps of one ledger.
pub(super) struct Dumps {
    pub ledger: PathBuf,
    /// Directory that dumps are written to.
    pub dir: PathBuf,
    pub network: Network,
    /// Sender to the ledger's thread.
    pub sender: Sender<StoreCommand>,
}

impl Dumps {
    /// Writes owed dumps at the start and whenever told to. Returns after a last try when all senders of
    /// `owed` are gone.
    pub(super) fn run(&self, owed: &Receiver<()>, duty: &Duty, node: &dyn Node) {
        let mut written = HashSet::new();
        let mut failing = LogOnce::default();
        let mut is_last = false;
        loop {
            duty.owe();
            let done = self.write_owed(&mut written, node);
            match &done {
                Ok(()) => {
                    failing.end();
                    duty.done();
                }
                Err(error) => {
                    let text = format!("{error:#}; it is tried again until it can be");
                    failing.say(node, Level::Error, &text);
                }
            }
            if is_last {
                return;
            }
            let received = match done {
                Ok(()) => owed.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Err(_) => owed.recv_timeout(Duration::from_millis(DISK_RETRY_MS)),
            };
            is_last = received == Err(RecvTimeoutError::Disconnected);
            // One pass serves all pending requests.
            owed.try_iter().for_each(drop);
        }
    }

    fn read<T>(&self, read: impl FnOnce(&mut dyn Sql) -> Result<T, SqlError>) -> anyhow::Result<T> {
        let read = || Db::Sqlite(Sqlite::open_to_read(&self.ledger)?).read(read);
        read().context("failed to read the ledger for share dumps")
    }

    /// Tries to write each owed dump, one at a time, and returns the first error.
    fn write_owed(&self, written: &mut HashSet<Hash>, node: &dyn Node) -> anyhow::Result<()> {
        let mut first_error = Ok(());
        let mut above = -1;
        loop {
            let owed = self.read(|sql| owed(sql, 0, above))?;
            let Some((last, _)) = owed.last() else {
                return first_error;
            };
            above = i64::from(*last);
            for (_, hash) in owed {
                if written.contains(&hash) {
                    continue;
                }
                let dump = self.read(|sql| read_dump(sql, self.network, &hash))?;
                let Some((dump, effort)) = dump else { continue };
                let name = dump.file_name();
                match write_dump(&self.dir, &dump) {
                    Ok(done) => {
                        if done == DumpWritten::Now {
                            node.log(Level::Info, &format!("share dump written: {name}"));
                        }
                        written.insert(dump.block);
                        // The ledger's thread outlives this one.
                        let _ = self.sender.send(StoreCommand::Dumped(dump.block, effort));
                    }
                    Err(error) if first_error.is_ok() => {
                        first_error =
                            Err(error).context(format!("failed to write the share dump {name}"));
                    }
                    Err(_) => {}
                }
            }
        }
    }
}

/// Columns of a block that its dump needs, in the order of [`OwedDump::read`].
const COLUMNS: &str = "height, round_from, hash, time, closed_at, txid, address, reward, payout";

/// Row of a block, as far as its dump needs it.
struct OwedDump {
    height: u32,
    from: u32,
    hash: Hash,
    ts: u64,
    time: u64,
    txid: Hash,
    address: String,
    reward: u64,
    payout: String,
}

/// Owed dumps of blocks above a height that a server found (0: in its own file), lowest first, each with its
/// round's effort. Those of one height are returned together.
///
/// # Errors
/// When the ledger cannot be read.
pub fn read_owed(
    sql: &mut dyn Sql,
    network: Network,
    origin: i64,
    above: i64,
) -> Result<Vec<(Dump, f64)>, SqlError> {
    let owed = owed(sql, origin, above)?.into_iter();
    let dumps = owed.map(|(_, hash)| read_dump(sql, network, &hash));
    dumps.filter_map(Result::transpose).collect()
}

/// Heights and hashes of the blocks whose dumps are owed.
fn owed(sql: &mut dyn Sql, origin: i64, above: i64) -> Result<Vec<(u32, Hash)>, SqlError> {
    let rows = sql.query(
        "SELECT height, hash FROM blocks
         WHERE closed_at IS NOT NULL AND dumped_at IS NULL AND height > ?1 AND origin = ?3
           AND height <= coalesce((SELECT height FROM blocks
             WHERE closed_at IS NOT NULL AND dumped_at IS NULL AND height > ?1 AND origin = ?3
             ORDER BY height LIMIT 1 OFFSET ?2), 9223372036854775807)
         ORDER BY height, hash",
        &values![above, DUMPS_PER_TURN, origin],
    )?;
    let owed = rows
        .iter()
        .map(|row| Ok((row.get(0)?, hash_of(row.get(1)?)?)));
    owed.collect()
}

fn hash_of(text: String) -> Result<Hash, SqlError> {
    Hash::from_hex(&text).ok_or_else(|| SqlError::Failed(format!("not a hash: {text:?}")))
}

/// Dump of a block whose round is closed, and the round's effort.
///
/// # Errors
/// When the ledger cannot be read.
pub fn read_dump(
    sql: &mut dyn Sql,
    network: Network,
    hash: &Hash,
) -> Result<Option<(Dump, f64)>, SqlError> {
    let row = sql.query_opt(
        &format!("SELECT {COLUMNS} FROM blocks WHERE hash = ?1 AND closed_at IS NOT NULL"),
        &values![hash.to_string()],
    )?;
    row.map(|row| OwedDump::read(&row)?.dump(sql, network))
        .transpose()
}

impl OwedDump {
    fn read(row: &Row) -> Result<Self, SqlError> {
        Ok(Self {
            height: row.get(0)?,
            from: row.get(1)?,
            hash: hash_of(row.get(2)?)?,
            ts: row.get(3)?,
            time: row.get(4)?,
            txid: hash_of(row.get(5)?)?,
            address: row.get(6)?,
            reward: row.get(7)?,
            payout: row.get(8)?,
        })
    }

    fn dump(self, sql: &mut dyn Sql, network: Network) -> Result<(Dump, f64), SqlError> {
        let shares = shares(sql, self.from, self.height)?;
        let effort = effort(sql, self.from, self.height)?;
        let split = match self.payout == Payout::Split.name() {
            true => frozen_splits::read(sql, network, &self.hash)?,
            false => None,
        };
        let paid = split.as_ref().map(|split| {
            let lines = split.lines.iter();
            let paid =
                lines.filter_map(|line| Some((line.account.to_string(), line.output.as_ref()?.1)));
            paid.collect()
        });
        let dump = Dump {
            network: network.name().to_owned(),
            height: self.height,
            block: self.hash,
            ts: self.ts,
            time: self.time,
            txid: self.txid,
            address: self.address,
            reward: self.reward,
            total: shares.values().sum(),
            shares,
            payout: self.payout,
            paid,
            split: split.map(|split| spooled_split::to_json(&split, network)),
        };
        Ok((dump, effort))
    }
}

/// Total difficulty of each account in an interval of heights. The sum is taken in the order of the
/// difficulties, so that it is the same on every run.
#[expect(clippy::cast_precision_loss, reason = "a count stays far below 2^53")]
fn shares(sql: &mut dyn Sql, from: u32, to: u32) -> Result<BTreeMap<String, f64>, SqlError> {
    let mut shares = BTreeMap::new();
    sql.each(
        "SELECT name, difficulty, CAST(sum(count) AS BIGINT) FROM credit
         JOIN accounts ON id = account WHERE height BETWEEN ?1 AND ?2
         GROUP BY account, name, difficulty ORDER BY account, difficulty",
        &values![from, to],
        &mut |row| {
            let (difficulty, count): (f64, i64) = (row.get(1)?, row.get(2)?);
            *shares.entry(row.get(0)?).or_insert(0.0) += difficulty * count as f64;
            Ok(())
        },
    )?;
    Ok(shares)
}

/// Effort of a round: its work divided by the work that its blocks were expected to take.
fn effort(sql: &mut dyn Sql, from: u32, to: u32) -> Result<f64, SqlError> {
    let row = sql.query_one(
        &format!(
            "SELECT coalesce(sum({EFFORT}), 0.0)
               FROM credit AS c JOIN heights AS h USING (height) WHERE height BETWEEN ?1 AND ?2"
        ),
        &values![from, to],
    )?;
    row.get(0)
}
