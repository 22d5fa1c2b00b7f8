//! A `GroupCommit` on a file of its own, with a clock that the test moves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hstratum::node::{BlockQuery, Look};
use hstratum::store::StoreCommand;
use hstratum::store::group_commit::{GroupCommit, NextWork, StoreOutcome};
use hstratum::store::sqlite_ledger::SqliteLedger;
use hstratum_core::accounting::ledger::{ChainView, Credit, Tip, Verdict};
use hstratum_core::chain::address::Network;
use hstratum_core::units::{Difficulty, Hash, Height, Now, Seq};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::found::found_block;
pub(crate) use crate::found::hash;

/// A time after which a question to the node is no longer waited for.
pub const LATER_MS: u64 = 60_000;

/// A `GroupCommit` on its own file, with a clock that the test moves.
pub struct Rig {
    pub dir: TempDir,
    pub ledger: SqliteLedger,
    pub group_commit: GroupCommit,
    pub now: Now,
    pub seq: u64,
    pub told: Vec<String>,
    /// The node's height, and blocks of its main chain.
    pub tip: u32,
    pub on_main: Vec<Hash>,
}

/// View of a synchronized node whose chain has this many blocks.
pub fn view(tip: u32) -> ChainView {
    ChainView {
        tip: Tip {
            height: Height(tip),
            hash: Hash::blake2b(&[b"of others", &tip.to_le_bytes()]),
            work: u64::from(tip).into(),
        },
        is_synced: true,
    }
}

pub fn open(dir: &Path) -> anyhow::Result<SqliteLedger> {
    let path = dir.join("ledger.db");
    SqliteLedger::open(&path, Network::Regtest, 1, Arc::default(), &mut Vec::new())
}

pub fn difficulty(value: f64) -> Difficulty {
    Difficulty::new(value).expect("above zero")
}

impl Rig {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let now = Now {
            ms: 1_000,
            unix_s: 1_000_000_000,
        };
        Self {
            ledger: open(dir.path()).expect("opened"),
            group_commit: GroupCommit::new(now),
            dir,
            now,
            seq: 0,
            told: Vec::new(),
            tip: 0,
            on_main: Vec::new(),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("ledger.db")
    }

    pub fn credit(&mut self, height: u32, account: &str, value: f64) {
        self.seq += 1;
        let credit = Credit {
            seq: Seq(self.seq),
            height: Height(height),
            account: account.into(),
            difficulty: difficulty(value),
            network_difficulty: difficulty(100.0),
        };
        self.group_commit
            .take(StoreCommand::Credits(vec![credit]), self.now);
    }

    pub fn found(&mut self, height: u32, name: &str) {
        let mail = StoreCommand::BlockFound(Box::new(found_block(height, name)));
        self.group_commit.take(mail, self.now);
    }

    pub fn judged(&mut self, name: &str, verdict: Verdict) {
        if verdict == Verdict::Accepted {
            self.on_main.push(hash(name));
        }
        let mail = StoreCommand::BlockAnswered(hash(name), verdict);
        self.group_commit.take(mail, self.now);
    }

    pub fn accepted(&mut self, height: u32, name: &str) {
        self.found(height, name);
        self.judged(name, Verdict::Accepted);
        // The node's tip changes with it.
        let tip = self.tip.max(height);
        self.group_commit
            .take(StoreCommand::Chain(Height(tip)), self.now);
        self.tip = tip;
        let asked = self.work();
        self.look(asked, view(tip));
    }

    /// Sets the chain's height and our blocks in it, as the node sees them.
    pub fn chain(&mut self, tip: u32, on_main: &[&str]) {
        self.see(tip, Some(on_main));
    }

    /// Sets the chain's height; all blocks stay where they were.
    pub fn chain_as_it_is(&mut self, tip: u32) {
        self.see(tip, None);
    }

    /// The same; without names all blocks stay where they were.
    fn see(&mut self, tip: u32, on_main: Option<&[&str]>) {
        self.now.ms += LATER_MS;
        self.tip = tip;
        self.group_commit
            .take(StoreCommand::Chain(Height(tip)), self.now);
        let asked = self.work();
        if let Some(names) = on_main {
            self.on_main = names.iter().map(|name| hash(name)).collect();
        }
        self.look(asked, view(tip));
    }

    /// The node answers; returns the blocks of its next question.
    pub fn look(&mut self, asked: Vec<BlockQuery>, view: ChainView) -> Vec<BlockQuery> {
        let place = |(hash, height): BlockQuery| {
            let there = match self.on_main.contains(&hash) {
                true => hash,
                false => Hash::blake2b(&[b"of others", &height.0.to_le_bytes()]),
            };
            (hash, (height <= view.tip.height).then_some(there))
        };
        let places = asked.into_iter().map(place).collect();
        let mail = StoreCommand::Located(Look { view, places });
        self.group_commit.take(mail, self.now);
        self.work()
    }

    /// Works until nothing is left to do at this time; returns the blocks that the node was asked about.
    pub fn work(&mut self) -> Vec<BlockQuery> {
        let mut asked = Vec::new();
        loop {
            let mut out = Vec::new();
            let next = self.group_commit.work(&mut self.ledger, self.now, &mut out);
            for outcome in out {
                match outcome {
                    StoreOutcome::Locate(hashes) => asked = hashes,
                    // Changes in it are reported by other outcomes.
                    StoreOutcome::Weighed(..) => {}
                    outcome => self.told.push(line(outcome)),
                }
            }
            match next {
                NextWork::Now => {}
                NextWork::At(ms) if ms <= self.now.ms => {}
                NextWork::At(_) => return asked,
            }
        }
    }

    /// Lets time pass, in steps that allow retries.
    pub fn wait(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(100) {
            self.now.ms += 100;
            self.work();
        }
    }

    pub fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    pub fn db(&self) -> Connection {
        Connection::open(self.path()).expect("opened")
    }

    pub fn text(&self, sql: &str) -> String {
        let text = self
            .db()
            .query_row(sql, [], |row| row.get::<_, Option<String>>(0));
        text.expect("read").unwrap_or_default()
    }

    pub fn credits(&self) -> String {
        self.text(
            "SELECT group_concat(row, ' ') FROM (SELECT height || ':' || name || ':' ||
             difficulty || 'x' || count AS row FROM credit JOIN accounts ON id = account
             ORDER BY height, name, difficulty)",
        )
    }

    pub fn block(&self, name: &str) -> String {
        self.text(&format!(
            "SELECT state || ' ' || coalesce(round_from, '-') FROM blocks WHERE hash = '{}'",
            hash(name)
        ))
    }
}

pub fn line(outcome: StoreOutcome) -> String {
    if let Some((_, text)) = outcome.line() {
        return text;
    }
    match outcome {
        StoreOutcome::Durable(seq) => format!("durable {}", seq.0),
        StoreOutcome::NotDurable(seq) => format!("not durable {}", seq.0),
        StoreOutcome::Failing(_) => "failing".into(),
        StoreOutcome::RecoveredState => "recovered".into(),
        StoreOutcome::Answered(hash) => format!("answered {hash}"),
        StoreOutcome::DumpOwed => "dump owed".into(),
        StoreOutcome::AccountKept(_, kept) => format!("address {}", kept.is_ok()),
        _ => unreachable!("taken out before"),
    }
}
