//! The thread that looks after blocks in the shared ledger. Each server brings its own there and
//! writes their dumps; one at a time, the judge, says what becomes of all of them, and tidies.
//!
//! Rounds are closed by the judge, in the transaction of the look that first finds a block on the main
//! chain, as in a file: the rules are `store::blocks`, transactions are serializable, so that one
//! server's block and another's follow each other in all eyes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hstratum_core::address::Network;
use hstratum_core::event::Level;
use hstratum_core::ledger::{Knowledge, Tip, View};
use hstratum_core::units::{Hash, Height};
use rusqlite::Connection;

use super::address::Address;
use super::found::Copied;
use super::lease;
use super::origin::NOW_MS;
use super::shipper::is_away;
use super::standing::{Link, Standing};
use crate::dump::write_dump;
use crate::limits::{
    AWAITED_MS, BEHIND_TOLD, DUMP_PATIENCE_S, JUDGE_EVERY, SHARED_BATCHES_KEPT_S, SHARED_RETRY,
    TIDY_EVERY_MS, TIDY_ROWS,
};
use crate::node::Node;
use crate::sql::{Db, Postgres, Sql, SqlError};
use crate::store::blocks::{self, Rounds};
use crate::store::dock::Dock;
use crate::store::dumps::{DUMPS_PER_TURN, read_dump};
use crate::store::ledger::Tidied;
use crate::store::schema::open_to_read;
use crate::store::tidy;
use crate::values;

/// See the module.
pub(crate) struct Judge {
    pub address: Address,
    pub network: Network,
    /// The server's file.
    pub ledger: PathBuf,
    /// Where dumps go.
    pub shares: PathBuf,
    pub dock: Arc<Dock>,
    pub standing: Arc<Standing>,
}

/// What is known for as long as a connection lasts.
struct Bench<'a> {
    judge: &'a Judge,
    db: Db,
    file: Connection,
    copied: Copied,
    tidied: tidy::Progress,
    tidy_at: Instant,
    /// What blocks were looked for last: the node's tip, and blocks whose round is open.
    asked_at: Option<(Tip, Vec<Hash>)>,
    turns: blocks::Turns,
    /// Since when the node knows less than the shared ledger was shown, and whether that is told.
    behind_since: Option<(Instant, bool)>,
}

impl Judge {
    /// Runs until nothing more will be sealed.
    pub(crate) fn run(&self, node: &dyn Node) {
        let mut last_error = None;
        while !self.dock.is_closed() {
            let Err(error) = self.work(node) else { return };
            let text = format!("failed to look after blocks in the shared ledger: {error:#}");
            // That it is away is the shipper's to tell.
            if !is_away(&error) && last_error.as_ref() != Some(&text) {
                node.log(Level::Error, &text);
                last_error = Some(text);
            }
            self.dock.wait_for_close(SHARED_RETRY);
        }
    }

    fn work(&self, node: &dyn Node) -> anyhow::Result<()> {
        // The shipper sees to it that the other side is ours to write to.
        while self.standing.read().link != Link::Up {
            if self.dock.is_closed() {
                return Ok(());
            }
            self.dock.wait_for_close(JUDGE_EVERY);
        }
        let mut bench = Bench {
            judge: self,
            db: Db::Postgres(Box::new(Postgres::connect(&self.address)?)),
            file: open_to_read(&self.ledger).context("failed to open the ledger's file")?,
            copied: Copied::default(),
            tidied: tidy::Progress::default(),
            tidy_at: Instant::now(),
            asked_at: None,
            turns: blocks::Turns::default(),
            behind_since: None,
        };
        let mut is_last = false;
        loop {
            let standing = self.standing.read();
            // After a fall-back of the shared ledger all is brought again.
            if standing.link != Link::Up {
                return Ok(());
            }
            if let Some(me) = standing.origin {
                let view = self.dock.view().filter(|_| !is_last);
                bench.sit(me, view, node)?;
            }
            if is_last {
                return Ok(());
            }
            self.dock.wait_for_close(JUDGE_EVERY);
            is_last = self.dock.is_closed();
        }
    }
}

impl Bench<'_> {
    /// Does what there is to do now, as the server of this number.
    /// As long as the node has not said what it knows of the chain, it is no judge.
    fn sit(&mut self, me: i64, view: Option<View>, node: &dyn Node) -> anyhow::Result<()> {
        let network = self.judge.network;
        let now_ms = self.clock()?;
        let unix_s = now_ms / 1000;
        self.copied
            .copy(&self.file, &mut self.db, network, me, unix_s)?;
        let (is_judge, knowledge) = self.db.write(|sql: &mut dyn Sql| -> Result<_, SqlError> {
            lease::contend(sql, me, view.as_ref(), now_ms)
        })?;
        self.tell(knowledge, node);
        if is_judge && let Some(view) = view {
            self.judge(me, view.tip, now_ms)?;
            self.tidy(me, view.tip.height, now_ms)?;
        } else {
            self.asked_at = None;
        }
        self.dump(now_ms, node)
    }

    /// A line when the node begins to know less than the shared ledger, and when that is over. For a
    /// moment one server is always ahead of another.
    fn tell(&mut self, knowledge: Option<Knowledge>, node: &dyn Node) {
        let Some(Knowledge::Behind(tip)) = knowledge else {
            if self.behind_since.take().is_some_and(|(_, told)| told) {
                let text = "the node knows all of the chain that the shared ledger was ever shown";
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

    /// The one clock that all servers share.
    fn clock(&mut self) -> Result<i64, SqlError> {
        let now = format!("SELECT {NOW_MS}");
        self.db.read(|sql| sql.query_one(&now, &[])?.get(0))
    }

    /// Asks the node where blocks are, once for each tip and for what its servers bring, and judges
    /// by its answer.
    fn judge(&mut self, me: i64, tip: Tip, now_ms: i64) -> Result<(), SqlError> {
        let network = self.judge.network;
        if let Some(look) = self.judge.dock.take_seen() {
            self.db.write(|sql: &mut dyn Sql| -> Result<_, SqlError> {
                // Another may have become the judge while the node looked. That it knows enough is
                // seen to where it is used.
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
            self.judge.dock.watch(watched);
            self.asked_at = asked_at;
        }
        Ok(())
    }

    /// A slice of the upkeep.
    fn tidy(&mut self, me: i64, tip: Height, now_ms: i64) -> Result<(), SqlError> {
        if Instant::now() < self.tidy_at {
            return Ok(());
        }
        let (progress, unix_s) = (self.tidied, now_ms / 1000);
        let done = self.db.write(|sql: &mut dyn Sql| -> Result<_, SqlError> {
            if !lease::is_held(sql, me, now_ms)? {
                return Ok(None);
            }
            let forgotten = sql.execute(
                "DELETE FROM batches WHERE (origin, sequence) IN (
                   SELECT origin, sequence FROM batches WHERE applied_at < ?1
                   ORDER BY applied_at LIMIT ?2)",
                &values![unix_s - SHARED_BATCHES_KEPT_S, TIDY_ROWS],
            )?;
            let (tidied, progress) = tidy::slice(sql, progress, Some(tip), unix_s)?;
            let is_more = forgotten > 0 || tidied == Tidied::More;
            Ok(Some((is_more, progress)))
        })?;
        if let Some((is_more, progress)) = done {
            self.tidied = progress;
            if !is_more {
                self.tidy_at = Instant::now() + Duration::from_millis(TIDY_EVERY_MS);
            }
        }
        Ok(())
    }

    /// Writes the dumps of this server's blocks whose rounds are closed, when all servers have shipped
    /// what belongs to them, or soon after. A round is read only then.
    fn dump(&mut self, now_ms: i64, node: &dyn Node) -> anyhow::Result<()> {
        let network = self.judge.network;
        for origin in self.own_origins()? {
            let due = self.db.read(|sql| due(sql, origin, now_ms))?;
            for hash in due {
                let read = self.db.read(|sql| read_dump(sql, network, &hash))?;
                let Some((dump, effort)) = read else { continue };
                let name = dump.file_name();
                write_dump(&self.judge.shares, &dump)
                    .with_context(|| format!("failed to write the share dump {name}"))?;
                node.log(Level::Info, &format!("share dump written: {name}"));
                self.db.write(|sql: &mut dyn Sql| -> Result<_, SqlError> {
                    blocks::dumped(sql, &dump.block, effort, now_ms / 1000)
                })?;
            }
        }
        Ok(())
    }

    /// The numbers in the shared ledger of all that the file was shipped as.
    fn own_origins(&mut self) -> Result<Vec<i64>, SqlError> {
        let rows = (&mut &self.file).query("SELECT origin FROM outbox_origins", &[])?;
        let mut numbers = Vec::new();
        for row in rows {
            let origin: Vec<u8> = row.get(0)?;
            let number = "SELECT id FROM origins WHERE origin = ?1";
            let found = self
                .db
                .read(|sql| sql.query_opt(number, &values![&origin[..]]))?;
            if let Some(row) = found {
                numbers.push(row.get(0)?);
            }
        }
        Ok(numbers)
    }
}

/// Blocks of a server whose dump is owed and has waited for nobody, or long enough: the lowest first.
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
    // Somebody else may have written a row that is none of ours.
    hashes
        .filter_map(|text| text.map(|text| Hash::from_hex(&text)).transpose())
        .collect()
}
