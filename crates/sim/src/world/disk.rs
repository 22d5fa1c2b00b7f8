//! The simulated disk: the ledger, with commits that fail, are lost in a crash, or succeed although they
//! seemed to fail; the spool and the share dumps beside it. It outlives the process.
//!
//! Half of the seeds keep the ledger in an SQLite file as well, and compare the two after each commit.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use hstratum::node::BlockQuery;
use hstratum::sql::Db;
use hstratum::store::dumps::read_owed;
use hstratum::store::ledger::{AccountSetting, Advanced, Batch, Compacted, Ledger, LedgerError};
use hstratum::store::ledger_status::LedgerStatus;
use hstratum::store::sqlite_ledger::SqliteLedger;
use hstratum_core::accounting::ledger::BlockState;
use hstratum_core::chain::address::Network;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::units::{Hash, Height, Seq};

use crate::miner::admin::Users;
use crate::server::{KNOWN_USER, stored};
use crate::world::injected_bug::InjectedBug;
use crate::world::ledger_model::LedgerModel;
use crate::world::oracle::CreditCounts;

/// Most heights below the highest known tip at which a share may be credited: the server accepts a node
/// that is six blocks behind, and a few blocks come while a commit waits.
const CREDITED_BELOW_MAX: u32 = 20;

/// The result of the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitFate {
    /// The commit succeeds.
    Fine,
    /// The commit fails.
    Fails,
    /// The commit succeeds but reports a failure, as when the answer of another machine is lost.
    SeemsToFail,
    /// The commit fails, but may be there after a crash if nothing was written since, as with SQLite's log.
    FailsUntilCrash,
    /// The commit finds the ledger locked by another process.
    Busy,
}

/// The SQLite file, opened by a process.
struct OpenLedger {
    ledger: SqliteLedger,
    path: PathBuf,
    network: Network,
}

/// A found block in the spool.
pub(crate) struct SpooledBlock {
    /// Recipient of its reward: its bytes do not tell it.
    pub(crate) payout: Payout,
    pub(crate) raw: Vec<u8>,
}

/// Everything on the disk.
pub(crate) struct SimDisk {
    pub(crate) ledger_model: LedgerModel,
    /// The greatest height of a tip that the ledger was shown.
    pub(crate) shown: Height,
    sqlite: Option<OpenLedger>,
    /// The folder of the SQLite file, which is removed together with this value.
    dir: Option<tempfile::TempDir>,
    network: Network,
    pub(crate) fate: CommitFate,
    /// Time until which the disk is full.
    pub(crate) full_until_ms: u64,
    /// True if writes refused by the full disk may still be written.
    pub(crate) full_and_written: bool,
    pub(crate) busy_until_ms: u64,
    /// Time until which no write returns.
    pub(crate) hung_until_ms: u64,
    pub(crate) injected_bug: Option<InjectedBug>,
    /// True if the last commit seemed to fail.
    has_failed: bool,
    /// A failed commit that a crash would bring back.
    in_log: Option<Batch>,
    /// Batches made durable since the last look, for the book.
    pub(crate) done: Vec<Batch>,
    /// Whole blocks in the spool, by hash.
    pub(crate) spool: BTreeMap<Hash, SpooledBlock>,
    /// The last block removed from the spool, which a power cut may bring back.
    pub(crate) removed: Option<(Hash, SpooledBlock)>,
    /// The users file.
    pub(crate) users: Users,
    /// Payout addresses of accounts in the ledger.
    pub(crate) addresses: BTreeMap<String, String>,
    /// Total of each share dump, by block.
    pub(crate) dumps: BTreeMap<Hash, f64>,
}

impl SimDisk {
    pub(crate) fn new(
        network: Network,
        kept: LedgerBacking,
        injected_bug: Option<InjectedBug>,
    ) -> Self {
        // An injected bug is in the model, so SQLite would only disagree with it.
        let kept = match injected_bug {
            None | Some(InjectedBug::WindowOffByOne) => kept,
            Some(_) => LedgerBacking::InModel,
        };
        let dir = (kept == LedgerBacking::InSqlite).then(|| {
            let shared = PathBuf::from("/dev/shm");
            let place = if shared.is_dir() {
                shared
            } else {
                std::env::temp_dir()
            };
            tempfile::tempdir_in(place).expect("a directory for the ledger")
        });
        Self {
            ledger_model: LedgerModel::new(network.coinbase_maturity()),
            shown: Height(0),
            sqlite: None,
            dir,
            network,
            fate: CommitFate::Fine,
            full_until_ms: 0,
            full_and_written: false,
            busy_until_ms: 0,
            hung_until_ms: 0,
            injected_bug,
            has_failed: false,
            in_log: None,
            done: Vec::new(),
            spool: BTreeMap::new(),
            removed: None,
            users: Users::from([(KNOWN_USER.to_owned(), stored("x"))]),
            addresses: BTreeMap::new(),
            dumps: BTreeMap::new(),
        }
    }

    /// Milliseconds for which a write that begins now hangs, beyond its usual time.
    pub(crate) fn hangs_ms(&self, now_ms: u64) -> u64 {
        self.hung_until_ms.saturating_sub(now_ms)
    }

    /// Opens the ledger for a new process.
    pub(crate) fn open(&mut self, unix_s: u64) {
        let Some(dir) = &self.dir else { return };
        let path = dir.path().join("ledger.db");
        let status = Arc::new(LedgerStatus::default());
        let ledger = SqliteLedger::open(&path, self.network, unix_s, status, &mut Vec::new());
        let ledger = ledger.expect("the ledger opens after any crash");
        let seq = ledger.last_seq().expect("the ledger can be read");
        assert_eq!(
            seq, self.ledger_model.seq,
            "the last share in the ledger's file"
        );
        self.sqlite = Some(OpenLedger {
            ledger,
            path,
            network: self.network,
        });
    }

    /// Closes the ledger of a process that has ended.
    pub(crate) fn close(&mut self) {
        self.sqlite = None;
    }

    /// The SQLite file and its network, if there is one.
    pub(crate) fn path(&self) -> Option<(PathBuf, Network)> {
        let open = self.sqlite.as_ref()?;
        Some((open.path.clone(), open.network))
    }

    /// The share dumps still to be written: block, height, total and effort.
    pub(crate) fn owed_dumps(&self) -> Vec<(Hash, Height, f64, f64)> {
        if let Some((path, network)) = self.path() {
            let mut db = Db::Sqlite(
                hstratum::sql::Sqlite::open_to_read(&path).expect("the ledger can be read"),
            );
            let owed = db.read(|sql| read_owed(sql, network, 0, -1));
            let owed = owed.expect("the ledger can be read");
            let owed = owed.into_iter();
            return owed
                .map(|(dump, effort)| (dump.block, Height(dump.height), dump.total, effort))
                .collect();
        }
        let rows = self.ledger_model.blocks.iter();
        let rows = rows.filter(|(_, row)| row.round_from.is_some() && !row.is_dumped);
        rows.map(|(hash, row)| (*hash, row.height, self.ledger_model.work_of(row), 0.0))
            .collect()
    }

    /// Recovers a failed commit that is found in the log by the next process.
    pub(crate) fn recover(&mut self) {
        if let Some(batch) = self.in_log.take() {
            self.fate = CommitFate::Fine;
            let recovered = self.commit(&batch);
            recovered.expect("this disk does not refuse");
        }
    }

    /// Halves the last group of shares, as an injected bug.
    pub(crate) fn tear(&mut self) {
        if let Some(mut entry) = self.ledger_model.credit.last_entry() {
            *entry.get_mut() /= 2;
        }
    }

    fn refuse(&self) -> Result<(), LedgerError> {
        match self.fate {
            CommitFate::Fine | CommitFate::SeemsToFail => Ok(()),
            CommitFate::Fails | CommitFate::FailsUntilCrash => {
                Err(LedgerError::Failed("simulated".to_owned()))
            }
            CommitFate::Busy => Err(LedgerError::Busy),
        }
    }

    /// The credit, as another reader of the file sees it.
    pub(crate) fn read_credit(&self) -> CreditCounts {
        let Some((path, _)) = self.path() else {
            return self.ledger_model.credit.clone();
        };
        let conn =
            hstratum::sql::sqlite_schema::open_beside(&path).expect("the ledger can be read");
        let mut statement = conn
            .prepare(
                "SELECT height, name, difficulty, count FROM credit JOIN accounts ON id = account",
            )
            .expect("the tables are as they are documented");
        let rows = statement.query_map([], |row| {
            let name: String = row.get(1)?;
            let difficulty: f64 = row.get(2)?;
            let key = (Height(row.get(0)?), Arc::from(name), difficulty.to_bits());
            Ok((key, row.get::<_, i64>(3)?.unsigned_abs()))
        });
        let rows = rows.expect("credit can be read");
        rows.map(|row| row.expect("a row of credit")).collect()
    }

    /// Maps a height to the one at which its credit is kept after heights were merged. A block that is
    /// found later inside a merged span does not split it, and is never settled.
    pub(crate) fn merged_into(&self) -> impl Fn(Height) -> Height + use<> {
        let spans = self.path().map(|(path, _)| {
            let conn =
                hstratum::sql::sqlite_schema::open_beside(&path).expect("the ledger can be read");
            let mut statement = conn
                .prepare("SELECT first, last FROM spans")
                .expect("the tables are as they are documented");
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
            let rows = rows.expect("spans can be read");
            rows.map(|row| row.expect("a span")).collect()
        });
        let spans: Vec<(u32, u32)> = spans.unwrap_or_default();
        move |height| {
            let within = |(first, last): &&(u32, u32)| (*first..*last).contains(&height.0);
            let last = spans.iter().filter(within).map(|(_, last)| *last).max();
            last.map_or(height, Height)
        }
    }

    /// Checks the addresses in the SQLite file, if there is one.
    pub(crate) fn check_addresses(&self) {
        let Some((path, _)) = self.path() else { return };
        let conn =
            hstratum::sql::sqlite_schema::open_beside(&path).expect("the ledger can be read");
        let mut statement = conn
            .prepare("SELECT name, address FROM accounts WHERE address IS NOT NULL")
            .expect("the tables are as they are documented");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        let rows = rows.expect("accounts can be read");
        let kept: BTreeMap<String, String> = rows.map(|row| row.expect("a row")).collect();
        assert_eq!(kept, self.addresses, "addresses in the ledger");
    }

    /// Checks the states of blocks and their rounds in the SQLite file, if there is one, against the
    /// model.
    pub(crate) fn check_blocks(&self) {
        let Some((path, _)) = self.path() else { return };
        let conn =
            hstratum::sql::sqlite_schema::open_beside(&path).expect("the ledger can be read");
        let mut statement = conn
            .prepare("SELECT hash, state, round_from, dumped_at IS NOT NULL, payout FROM blocks")
            .expect("the tables are as they are documented");
        let rows = statement.query_map([], |row| {
            let hash: String = row.get(0)?;
            let state: String = row.get(1)?;
            let round_from: Option<u32> = row.get(2)?;
            let payout: String = row.get(4)?;
            Ok((hash, state, round_from, row.get::<_, bool>(3)?, payout))
        });
        let mut seen = 0;
        for row in rows.expect("blocks can be read") {
            let (hash, state, round_from, is_dumped, payout) = row.expect("a row of blocks");
            let hash = Hash::from_hex(&hash).expect("a hash");
            let known = &self.ledger_model.blocks[&hash];
            assert_eq!(state, known.state.name(), "state of {hash}");
            assert_eq!(round_from, known.round_from.map(|h| h.0), "round of {hash}");
            assert_eq!(is_dumped, known.is_dumped, "dump of {hash}");
            assert_eq!(payout, known.payout.name(), "payout of {hash}");
            seen += 1;
        }
        assert_eq!(seen, self.ledger_model.blocks.len(), "blocks in the ledger");
    }
}

/// Copies a batch without the senders that wait for it.
fn copy(batch: &Batch) -> Batch {
    Batch {
        unix_s: batch.unix_s,
        shares: batch.shares.clone(),
        found: batch.found.clone(),
        verdicts: batch.verdicts.clone(),
        looks: batch.looks.clone(),
        dumped: batch.dumped.clone(),
        tallies: batch.tallies.clone(),
        ..Batch::default()
    }
}

/// The place where the ledger is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LedgerBacking {
    /// In the model only, which is fast.
    InModel,
    /// In an SQLite file too.
    InSqlite,
}

impl Ledger for SimDisk {
    fn commit(&mut self, batch: &Batch) -> Result<Advanced, LedgerError> {
        if self.fate == CommitFate::FailsUntilCrash {
            self.in_log = Some(copy(batch));
        }
        self.refuse()?;
        self.in_log = None;
        let mut done = Batch {
            unix_s: batch.unix_s,
            found: batch.found.clone(),
            ..Batch::default()
        };
        if self.ledger_model.is_new(batch) {
            done.shares = batch.shares.clone();
        }
        if self.injected_bug == Some(InjectedBug::GroupCountedTwice) && self.has_failed {
            self.ledger_model.seq = Seq(0);
            done.shares = batch.shares.clone();
        }
        self.has_failed = self.fate == CommitFate::SeemsToFail;
        if self.injected_bug == Some(InjectedBug::RoundClosedTwice) {
            // The injected bug of a ledger that forgets a round when its block is orphaned.
            for row in self.ledger_model.blocks.values_mut() {
                if row.state == BlockState::Orphaned {
                    row.round_from = None;
                }
            }
        }
        for (height, ..) in batch.shares.counts.keys() {
            assert!(
                height.0 + CREDITED_BELOW_MAX >= self.shown.0,
                "a share was credited at height {}, where the ledger was shown {}",
                height.0,
                self.shown.0
            );
        }
        let advanced = self.ledger_model.commit(batch)?;
        for look in &batch.looks {
            self.shown = self.shown.max(look.view.tip.height);
        }
        if let Some(open) = &mut self.sqlite {
            let same = open
                .ledger
                .commit(batch)
                .expect("this disk does not refuse");
            assert_eq!(advanced, same, "SQLite and the model disagree about blocks");
        }
        for mail in &batch.accounts {
            if let AccountSetting::Address(Some(address)) = &mail.setting {
                self.addresses.insert(mail.account.clone(), address.clone());
            }
        }
        self.done.push(done);
        if self.fate == CommitFate::SeemsToFail {
            return Err(LedgerError::Failed(
                "simulated, but it is written".to_owned(),
            ));
        }
        Ok(advanced)
    }

    fn probe(&mut self) -> Result<(), LedgerError> {
        self.refuse()?;
        self.in_log = None;
        Ok(())
    }

    fn watched(&mut self, tip: Height) -> Result<Vec<BlockQuery>, LedgerError> {
        match &mut self.sqlite {
            Some(open) => open.ledger.watched(tip),
            None => self.ledger_model.watched(tip),
        }
    }

    fn compact(&mut self, tip: Option<Height>, unix_s: u64) -> Result<Compacted, LedgerError> {
        self.refuse()?;
        match &mut self.sqlite {
            Some(open) => open.ledger.compact(tip, unix_s),
            None => Ok(Compacted::All),
        }
    }
}
