//! The thread that looks after blocks in the shared ledger. Each server copies its own blocks there and
//! writes their share dumps. One at a time, the coordinator (holder of the lease), decides the state of all
//! blocks and compacts the ledger.
//!
//! The coordinator closes rounds in the transaction of the look that first finds a block on the main chain,
//! as in a file: the rules are in `store::blocks`. Transactions are serializable, so that blocks of different
//! servers have one order for everybody.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use hstratum_core::accounting::ledger::{ChainView, Knowledge, Tip};
use hstratum_core::chain::address::Network;
use hstratum_core::event::Level;
use hstratum_core::units::{Hash, Height};
use rusqlite::Connection;

use crate::cluster::blocks::found::Copied;
use crate::cluster::blocks::lease;
use crate::cluster::cluster_status::{ClusterLink, ClusterStatus};
use crate::cluster::origin::OwnOrigin;
use crate::cluster::restore_detection::WriteMark;
use crate::cluster::shipping::shipper::is_away;
use crate::files::share_dump::{DumpWritten, write_dump};
use crate::limits::{
    AWAITED_MS, BEHIND_TOLD, COMPACT_BEHIND, COMPACT_EVERY_MS, COMPACT_ROWS, COORDINATOR_EVERY,
    CREDIT_HEIGHTS_KEPT, DUMP_PATIENCE_S, SHARED_BATCHES_KEPT_S, SHARED_RETRY,
};
use crate::messages::{DriverHandle, EvidenceSource, WorkerEvent};
use crate::node::Node;
use crate::payout::{PayoutTerms, TermsHistory, put_agreed_terms, shipped_by_all};
use crate::repeated_log::LogOnce;
use crate::sql::sqlite_schema::open_to_read;
use crate::sql::url::PostgresUrl;
use crate::sql::{Db, NOW_MS, Postgres, Sql, SqlError};
use crate::store::blocks::{self, Rounds};
use crate::store::compaction;
use crate::store::dumps::{DUMPS_PER_TURN, read_dump};
use crate::store::ledger::Compacted;
use crate::store::shipper_exchange::ShipperExchange;
use crate::supervision::Duty;
use crate::values;

/// Duty under which its [`WriteMark`] is stored in the shared ledger.
const DUTY: &str = "blocks";

/// Parameters of the thread.
pub(crate) struct Coordinator {
    pub address: PostgresUrl,
    pub network: Network,
    /// The server's ledger file.
    pub ledger: PathBuf,
    /// Directory of share dumps.
    pub shares: PathBuf,
    /// The server's terms for miners, and its name.
    pub terms: PayoutTerms,
    pub label: String,
    pub shipper_exchange: Arc<ShipperExchange>,
    pub cluster_status: Arc<ClusterStatus>,
    pub duty: Arc<Duty>,
    pub to_driver: DriverHandle,
}

/// State of one connection.
struct CoordinatorSession<'a> {
    coordinator: &'a Coordinator,
    db: Db,
    file: Connection,
    /// Our row in the shared ledger, and the generation of the comparison that found it.
    own: (OwnOrigin, u64),
    /// The mark that we wrote last, by which a replaced ledger is recognized.
    mark: WriteMark,
    copied: Copied,
    compacted: compaction::Progress,
    compact_at: Instant,
    /// Subject of the last question to the node: its tip, and blocks whose round is open.
    asked_at: Option<(Tip, Vec<Hash>)>,
    turns: blocks::WatchTurns,
    /// Time since which the node knows less work than the shared ledger was shown, and whether that is
    /// logged.
    behind_since: Option<(Instant, bool)>,
    /// The last evidence sent to the driver.
    weighed: Option<(ChainView, Knowledge)>,
}

impl Coordinator {
    /// Runs until nothing more will be sealed.
    pub(crate) fn run(&self, node: &dyn Node) {
        let mut failing = LogOnce::default();
        while !self.shipper_exchange.is_closed() {
            let worked = catch_unwind(AssertUnwindSafe(|| self.work(node, &mut failing)));
            let worked = worked.unwrap_or_else(|_| Err(anyhow!("a bug, please report it")));
            if let Err(error) = worked {
                let text = format!("failed to look after blocks in the shared ledger: {error:#}");
                // That it is away is the shipper's to tell.
                if !is_away(&error) {
                    failing.say(node, Level::Error, &text);
                }
            }
            self.shipper_exchange.wait_for_close(SHARED_RETRY);
        }
    }

    /// Works on one connection, until the link is down, the shared ledger was replaced, or nothing more will
    /// be sealed.
    fn work(&self, node: &dyn Node, failing: &mut LogOnce) -> anyhow::Result<()> {
        // The shipper finds out whether we may write there, and under which number.
        let Some(own) = self.own() else {
            self.duty.again();
            return Ok(());
        };
        let mut db = Db::Postgres(Box::new(Postgres::connect(&self.address)?));
        let mark = WriteMark::new()?;
        let number = own.0.number;
        db.write(|sql: &mut dyn Sql| mark.begin(sql, number, DUTY))?;
        let mut session = CoordinatorSession {
            coordinator: self,
            db,
            file: open_to_read(&self.ledger).context("failed to open the ledger's file")?,
            own,
            mark,
            copied: Copied::default(),
            compacted: compaction::Progress::default(),
            compact_at: Instant::now(),
            asked_at: None,
            turns: blocks::WatchTurns::default(),
            behind_since: None,
            weighed: None,
        };
        let mut is_last = false;
        // When the shared ledger was restored to an earlier state, everything is copied again.
        while self.own() == Some(session.own) && session.is_same()? {
            let view = self.shipper_exchange.view().filter(|_| !is_last);
            if session.take_turn(view, node)? == TurnOutcome::Elsewhere {
                return Ok(());
            }
            self.duty.again();
            failing.end();
            if is_last {
                return Ok(());
            }
            self.shipper_exchange.wait_for_close(COORDINATOR_EVERY);
            is_last = self.shipper_exchange.is_closed();
        }
        Ok(())
    }

    /// Our row in the shared ledger, and the generation of the comparison, while it can be reached.
    fn own(&self) -> Option<(OwnOrigin, u64)> {
        let reading = self.cluster_status.read();
        let own = reading.own.filter(|_| reading.link == ClusterLink::Up)?;
        Some((own, reading.generation))
    }
}

/// Result of a turn: whether the shared ledger was still the known one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TurnOutcome {
    Here,
    Elsewhere,
}

impl CoordinatorSession<'_> {
    /// True if the shared ledger is still the one with our mark.
    fn is_same(&mut self) -> Result<bool, SqlError> {
        let (mark, number) = (self.mark, self.own.0.number);
        self.db.read(|sql| mark.is_there(sql, number, DUTY))
    }

    /// Does what there is to do now. As long as the node has not said what it knows of the chain, it is
    /// no judge.
    fn take_turn(
        &mut self,
        view: Option<ChainView>,
        node: &dyn Node,
    ) -> anyhow::Result<TurnOutcome> {
        let now_ms = self.clock()?;
        let me = self.own.0.number;
        if self.bring(now_ms / 1000)? == TurnOutcome::Elsewhere {
            return Ok(TurnOutcome::Elsewhere);
        }
        let (is_coordinator, knowledge) =
            self.db.write(|sql: &mut dyn Sql| -> Result<_, SqlError> {
                lease::contend(sql, me, view.as_ref(), now_ms)
            })?;
        self.tell(knowledge, node);
        self.tell_driver(view.zip(knowledge));
        if is_coordinator && let Some(view) = view {
            self.coordinator(me, view.tip, now_ms)?;
            self.compact(me, view.tip.height, now_ms)?;
            self.put_terms(me, now_ms, node)?;
        } else {
            self.asked_at = None;
        }
        self.dump(now_ms, node)?;
        Ok(TurnOutcome::Here)
    }

    /// Copies our blocks from the file, and publishes the height up to which all of them are there: a batch
    /// sealed with a tip comes after the blocks below it.
    fn bring(&mut self, unix_s: i64) -> Result<TurnOutcome, SqlError> {
        let sealed = self
            .coordinator
            .shipper_exchange
            .head()
            .and_then(|head| head.tip);
        let (network, (own, generation)) = (self.coordinator.network, self.own);
        for found in self.copied.missing(&self.file, network)? {
            let (mark, next) = (self.mark, self.mark.next());
            let is_here = self.db.write(|sql: &mut dyn Sql| -> Result<_, SqlError> {
                let is_here = mark.renew(sql, own.number, DUTY, next)?;
                if is_here {
                    found.bring(sql, network, own.number, unix_s)?;
                }
                Ok(is_here)
            })?;
            if !is_here {
                return Ok(TurnOutcome::Elsewhere);
            }
            self.mark = next;
            self.copied.add(&found);
        }
        self.coordinator.cluster_status.update(|reading| {
            if reading.generation == generation {
                reading.brought = sealed;
            }
        });
        Ok(TurnOutcome::Here)
    }

    /// Logs when the node begins to know less work than the shared ledger, and when that is over. For a
    /// moment one server is always ahead of another, so it waits for [`BEHIND_TOLD`].
    fn tell(&mut self, knowledge: Option<Knowledge>, node: &dyn Node) {
        let Some(Knowledge::Behind(tip)) = knowledge else {
            if self.behind_since.take().is_some_and(|(_, told)| told) {
                let text = "the node has caught up with the chain that the shared ledger was shown";
                node.log(Level::Info, text);
            }
            return;
        };
        let (since, told) = self.behind_since.get_or_insert((Instant::now(), false));
        if !*told && since.elapsed() > BEHIND_TOLD {
            *told = true;
            let text = format!(
                "the node knows less of the chain than the shared ledger was shown, up to {} {}: this \
                 server judges no blocks",
                tip.height.0, tip.hash
            );
            node.log(Level::Warning, &text);
        }
    }

    /// Tells the driver changed evidence: no job is made on a chain that lacks too much work.
    fn tell_driver(&mut self, weighed: Option<(ChainView, Knowledge)>) {
        if let Some((view, knowledge)) = weighed
            && self.weighed != weighed
        {
            self.weighed = weighed;
            // The driver may have stopped.
            let _ = self.coordinator.to_driver.work(WorkerEvent::Evidence(
                EvidenceSource::Shared,
                view,
                knowledge,
            ));
        }
    }

    /// The database's clock, the one clock that all servers share.
    fn clock(&mut self) -> Result<i64, SqlError> {
        let now = format!("SELECT {NOW_MS}");
        self.db.read(|sql| sql.query_one(&now, &[])?.get(0))
    }

    /// Asks the node where blocks are, once for each tip and each new block, and applies its answer.
    fn coordinator(&mut self, me: i64, tip: Tip, now_ms: i64) -> Result<(), SqlError> {
        let network = self.coordinator.network;
        if let Some(look) = self.coordinator.shipper_exchange.take_seen() {
            self.db.write(|sql: &mut dyn Sql| -> Result<_, SqlError> {
                // Another server may have become the coordinator while the node looked. That the node knows
                // enough work is checked where the look is applied.
                if lease::is_held(sql, me, now_ms)? {
                    let (looks, rounds) = (std::slice::from_ref(&look), Rounds::Close);
                    blocks::advance(sql, network, looks, &[], rounds, now_ms / 1000)?;
                }
                Ok(())
            })?;
        }
        let unclosed = self.db.read(blocks::unclosed)?;
        let asked_at = Some((tip, unclosed));
        if self.asked_at != asked_at {
            let turns = &mut self.turns;
            let watched = self
                .db
                .read(|sql| blocks::watched(sql, tip.height, turns))?;
            self.coordinator.shipper_exchange.watch(watched);
            self.asked_at = asked_at;
        }
        Ok(())
    }

    /// Runs a slice of compaction.
    fn compact(&mut self, me: i64, tip: Height, now_ms: i64) -> anyhow::Result<()> {
        if Instant::now() < self.compact_at {
            return Ok(());
        }
        let (progress, unix_s) = (self.compacted, now_ms / 1000);
        // A block that a server has not copied yet would come too late to end a span of merged credit.
        let shipped = self.db.read(shipped_by_all)?;
        let highest = u32::try_from(shipped.saturating_add(1).max(0)).unwrap_or(u32::MAX);
        let merged = tip.min(Height(highest.saturating_add(CREDIT_HEIGHTS_KEPT)));
        let done = self.db.write(|sql: &mut dyn Sql| -> Result<_, SqlError> {
            if !lease::is_held(sql, me, now_ms)? {
                return Ok(None);
            }
            let forgotten = sql.execute(
                "DELETE FROM batches WHERE (origin, sequence) IN (
                   SELECT origin, sequence FROM batches AS old WHERE applied_at < ?1
                     AND sequence > (SELECT min(sequence) FROM batches AS same
                       WHERE same.origin = old.origin AND same.life = old.life)
                   ORDER BY applied_at LIMIT ?2)",
                &values![unix_s - SHARED_BATCHES_KEPT_S, COMPACT_ROWS],
            )?;
            let (compacted, progress) = compaction::slice(sql, progress, Some(merged), unix_s)?;
            let is_more = forgotten > 0 || compacted == Compacted::More;
            Ok(Some((is_more, progress)))
        })?;
        if let Some((is_more, progress)) = done {
            self.compacted = progress;
            if !is_more {
                let wait = if merged < tip {
                    COMPACT_BEHIND
                } else {
                    Duration::from_millis(COMPACT_EVERY_MS)
                };
                self.compact_at = Instant::now() + wait;
            }
        }
        Ok(())
    }

    /// Writes this server's terms, once all live servers have the same.
    fn put_terms(&mut self, me: i64, now_ms: i64, node: &dyn Node) -> Result<(), SqlError> {
        let Coordinator { terms, label, .. } = self.coordinator;
        let history = self.db.read(TermsHistory::read)?;
        if history.is_some_and(|history| history.newest() == terms) {
            return Ok(());
        }
        let unix_s = now_ms.unsigned_abs() / 1000;
        let change = self.db.write(|sql: &mut dyn Sql| {
            if !lease::is_held(sql, me, now_ms)? {
                return Ok(None);
            }
            put_agreed_terms(sql, terms, unix_s, label)
        })?;
        if let Some(change) = change {
            node.log(Level::Info, &change.line(terms));
        }
        Ok(())
    }

    /// Writes the dumps of this server's blocks whose rounds are closed, once all servers have shipped what
    /// belongs to them, or after [`DUMP_PATIENCE_S`]. A round is read only then.
    fn dump(&mut self, now_ms: i64, node: &dyn Node) -> anyhow::Result<()> {
        let network = self.coordinator.network;
        for origin in self.own_origins()? {
            let due = self.db.read(|sql| due(sql, origin, now_ms))?;
            for hash in due {
                let read = self.db.read(|sql| read_dump(sql, network, &hash))?;
                let Some((dump, effort)) = read else { continue };
                let name = dump.file_name();
                let done = write_dump(&self.coordinator.shares, &dump)
                    .with_context(|| format!("failed to write the share dump {name}"))?;
                // When the shared ledger was restored to an earlier state, written dumps are owed again.
                if done == DumpWritten::Now {
                    node.log(Level::Info, &format!("share dump written: {name}"));
                }
                self.db.write(|sql: &mut dyn Sql| -> Result<_, SqlError> {
                    blocks::dumped(sql, &dump.block, effort, now_ms / 1000)
                })?;
            }
        }
        Ok(())
    }

    /// Numbers in the shared ledger of this server's file and of its earlier files.
    fn own_origins(&mut self) -> Result<Vec<i64>, SqlError> {
        let me = self.own.0.number;
        let numbers = "SELECT id FROM origins WHERE id = ?1 OR successor = ?1 ORDER BY id";
        let rows = self.db.read(|sql| sql.query(numbers, &values![me]))?;
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// Blocks of a server whose dump is owed and no longer waits for other servers, lowest height first.
fn due(sql: &mut dyn Sql, origin: i64, now_ms: i64) -> Result<Vec<Hash>, SqlError> {
    let rows = sql.query(
        "SELECT hash FROM blocks
         WHERE closed_at IS NOT NULL AND dumped_at IS NULL AND origin = ?1
           AND (closed_at <= ?2 OR NOT EXISTS (SELECT 1 FROM origins
             WHERE seen_at_ms > ?3 AND (shipped_tip IS NULL OR shipped_tip < blocks.height)))
         ORDER BY height, hash LIMIT ?4",
        &values![
            origin,
            now_ms / 1000 - DUMP_PATIENCE_S,
            now_ms - AWAITED_MS,
            DUMPS_PER_TURN
        ],
    )?;
    let hashes = rows.iter().map(|row| row.get::<String>(0));
    // Another program may have written a malformed row.
    hashes
        .filter_map(|text| text.map(|text| Hash::from_hex(&text)).transpose())
        .collect()
}
