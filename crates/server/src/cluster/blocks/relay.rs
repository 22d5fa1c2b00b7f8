//! Relay of found blocks to the other servers of the pool: whole blocks, each announced by every node to its
//! own peers, so that one server's poor connectivity does not orphan a block of the pool.
//!
//! A block is written to the shared ledger at once, ahead of everything else, when the finder's own node has
//! it already. A block from another server is offered to our node, which verifies it like any other; it does
//! not count as found here, and nobody waits for the answer.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hstratum_core::chain::block::Solution;
use hstratum_core::chain::header::{HEADER_BYTES, decode_header, header_hash};
use hstratum_core::chain::template::RawTransactions;
use hstratum_core::event::Level;
use hstratum_core::units::{Hash, Target};
use postgres::types::ToSql;
use postgres::{Client, Statement};

use crate::cluster::context::ClusterContext;
use crate::cluster::notifications::{self, News};
use crate::limits::{
    BLOCK_BYTES_MAX, RELAY_KEPT_S, RELAY_LISTED_MAX, RELAY_OWED_MAX, RELAY_S, SHARED_LOOK,
};
use crate::node::{Node, Offer};
use crate::sql::signed;
use crate::sql::sqlite_schema::FileId;
use crate::sql::{NOW_MS, Postgres, SqlError};
use crate::supervision::Duty;

/// Messages to the relay.
pub enum RelayCommand {
    /// A block was found here.
    Found(Arc<Solution>, Arc<RawTransactions>),
    /// A block found by an earlier run.
    Spooled(Hash, Vec<u8>),
    /// Another server may have found a block.
    Look,
    /// The driver is gone.
    Stop,
}

/// State of the thread.
pub(crate) struct Relay {
    context: ClusterContext,
    node: Arc<dyn Node>,
    open: Option<RelayConnection>,
    /// Blocks not in the shared ledger yet, oldest first.
    owed: VecDeque<UnrelayedBlock>,
    /// Blocks of others that were offered to our node, as long as they are listed.
    offered: HashSet<Hash>,
    next_look: Instant,
    is_away: bool,
    duty: Arc<Duty>,
}

struct UnrelayedBlock {
    hash: Hash,
    raw: Vec<u8>,
    since: Instant,
}

/// A connection and its prepared statements.
struct RelayConnection {
    postgres: Postgres,
    put: Statement,
    list: Statement,
    get: Statement,
}

impl Relay {
    pub(crate) fn new(context: ClusterContext, duty: Arc<Duty>, node: Arc<dyn Node>) -> Self {
        Self {
            context,
            node,
            open: None,
            owed: VecDeque::new(),
            offered: HashSet::new(),
            next_look: Instant::now(),
            is_away: false,
            duty,
        }
    }

    /// Runs until the driver is gone.
    pub(crate) fn run(&mut self, commands: &Receiver<RelayCommand>) {
        self.duty.again();
        loop {
            // While the shared ledger is away the duty is not late: that is reported separately.
            if !self.is_away || !self.context.is_up() {
                self.duty.again();
            }
            let wait = self.next_look.saturating_duration_since(Instant::now());
            match commands.recv_timeout(wait) {
                Ok(RelayCommand::Found(solution, transactions)) => {
                    self.owe(solution.hash, solution.encode(&transactions));
                }
                Ok(RelayCommand::Spooled(hash, raw)) => self.owe(hash, raw),
                Ok(RelayCommand::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    return self.settle();
                }
                Ok(RelayCommand::Look) | Err(RecvTimeoutError::Timeout) => {
                    self.next_look = Instant::now();
                }
            }
            // Blocks found here go first.
            self.settle();
            if Instant::now() >= self.next_look {
                self.next_look = Instant::now() + SHARED_LOOK;
                self.look();
            }
        }
    }

    /// Queues a block. At the limit the oldest is dropped: the chain has moved on.
    fn owe(&mut self, hash: Hash, raw: Vec<u8>) {
        if self.owed.len() >= RELAY_OWED_MAX {
            self.owed.pop_front();
        }
        let since = Instant::now();
        self.owed.push_back(UnrelayedBlock { hash, raw, since });
    }

    /// Writes queued blocks to the shared ledger.
    fn settle(&mut self) {
        let is_late = |owed: &UnrelayedBlock| owed.since.elapsed() > Duration::from_secs(RELAY_S);
        self.owed.retain(|owed| !is_late(owed));
        while let Some(UnrelayedBlock { hash, raw, since }) = self.owed.pop_front() {
            let age_s = signed(since.elapsed().as_secs());
            let (origin, _) = self.context.own_origin();
            if let Err(error) = self.ask(|open| open.put(&hash, &origin, &raw, age_s)) {
                self.owed.push_front(UnrelayedBlock { hash, raw, since });
                return self.complain(&error);
            }
            self.is_away = false;
            let text = format!("block {hash} is on its way to the other servers");
            self.node.log(Level::Info, &text);
        }
    }

    /// Offers blocks of other servers to our node.
    fn look(&mut self) {
        let (origin, _) = self.context.own_origin();
        let listed = match self.ask(|open| open.list(&origin)) {
            Ok(listed) => listed,
            Err(error) => return self.complain(&error),
        };
        self.is_away = false;
        self.offered.retain(|hash| listed.contains(hash));
        for hash in listed {
            if self.offered.contains(&hash) {
                continue;
            }
            let raw = match self.ask(|open| open.get(&hash)) {
                Ok(raw) => raw,
                Err(error) => return self.complain(&error),
            };
            self.offered.insert(hash);
            match raw.filter(|raw| is_block(&hash, raw)) {
                Some(raw) => self.node.offer(Offer::Relayed { hash, raw }),
                None => {
                    let text = format!("what another server sent as block {hash} is not a block");
                    self.node.log(Level::Warning, &text);
                }
            }
        }
    }

    /// Asks the shared ledger; once more on a new connection, where the old one was lost.
    fn ask<T>(
        &mut self,
        ask: impl Fn(&mut RelayConnection) -> Result<T, SqlError>,
    ) -> anyhow::Result<T> {
        self.open.take_if(|open| open.postgres.is_lost());
        let was_open = self.open.is_some();
        let mut asked = self.ask_once(&ask);
        if asked.is_err() && was_open {
            asked = self.ask_once(&ask);
        }
        asked
    }

    fn ask_once<T>(
        &mut self,
        ask: &impl Fn(&mut RelayConnection) -> Result<T, SqlError>,
    ) -> anyhow::Result<T> {
        let open = match self.open.take() {
            Some(open) => open,
            None => RelayConnection::connect(&self.context)?,
        };
        // The connection is kept only if it has answered.
        let open = self.open.insert(open);
        let asked = ask(open);
        if asked.is_err() {
            self.open = None;
        }
        Ok(asked?)
    }

    fn complain(&mut self, error: &anyhow::Error) {
        if !std::mem::replace(&mut self.is_away, true) {
            let text = format!("found blocks do not travel between the servers: {error:#}");
            self.node.log(Level::Warning, &text);
        }
    }
}

impl RelayConnection {
    fn connect(context: &ClusterContext) -> anyhow::Result<Self> {
        let (mut postgres, _) = context.connect()?;
        let client = postgres.client()?;
        let now_s = format!("{NOW_MS} / 1000");
        let put = format!(
            "INSERT INTO raw_blocks (hash, origin, found_at, raw)
             SELECT $1, id, {now_s} - CAST($3 AS BIGINT), $4 FROM origins WHERE origin = $2
             ON CONFLICT (hash) DO UPDATE SET hash = excluded.hash"
        );
        let list = format!(
            "SELECT hash FROM raw_blocks
             WHERE found_at > {now_s} - {RELAY_S}
               AND origin NOT IN (SELECT id FROM origins WHERE origin = $1)
             ORDER BY found_at DESC LIMIT {RELAY_LISTED_MAX}"
        );
        let get = format!(
            "SELECT raw FROM raw_blocks WHERE hash = $1 AND octet_length(raw) <= {BLOCK_BYTES_MAX}"
        );
        let ready = |client: &mut Client, sql: &str| client.prepare(sql).map_err(SqlError::from);
        Ok(Self {
            put: ready(client, &put)?,
            list: ready(client, &list)?,
            get: ready(client, &get)?,
            postgres,
        })
    }

    fn put(
        &mut self,
        hash: &Hash,
        origin: &FileId,
        raw: &[u8],
        age_s: i64,
    ) -> Result<(), SqlError> {
        let client = self.postgres.client()?;
        let params: [&(dyn ToSql + Sync); 4] = [&hash.to_string(), &&origin[..], &age_s, &raw];
        if client.execute(&self.put, &params)? == 0 {
            // The ledger was restored from an older copy; a new connection registers this server again.
            return Err(SqlError::Lost("this server is not known there".to_owned()));
        }
        notifications::tell(client, News::Block);
        let forget =
            format!("DELETE FROM raw_blocks WHERE found_at < {NOW_MS} / 1000 - {RELAY_KEPT_S}");
        // If it fails now, the next server to run it does it.
        let _ = client.batch_execute(&forget);
        Ok(())
    }

    /// Blocks of other servers, oldest first.
    fn list(&mut self, origin: &FileId) -> Result<Vec<Hash>, SqlError> {
        let client = self.postgres.client()?;
        let rows = client.query(&self.list, &[&&origin[..]])?;
        let hashes = rows.iter().rev().map(|row| row.try_get::<_, String>(0));
        let hashes: Vec<String> = hashes.collect::<Result<_, _>>()?;
        Ok(hashes
            .iter()
            .filter_map(|text| Hash::from_hex(text))
            .collect())
    }

    /// The bytes of a block; `None` if there are too many.
    fn get(&mut self, hash: &Hash) -> Result<Option<Vec<u8>>, SqlError> {
        let client = self.postgres.client()?;
        let row = client.query_opt(&self.get, &[&hash.to_string()])?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }
}

/// True if the bytes begin with the header of that block and it has proof of work; our node verifies the
/// rest.
fn is_block(hash: &Hash, raw: &[u8]) -> bool {
    let header = raw.get(..HEADER_BYTES).and_then(decode_header);
    header.is_some_and(|(fields, proof, mask)| {
        let target = Target::from_compact(fields.bits);
        header_hash(&fields, &proof, &mask) == *hash
            && target.is_some_and(|target| target.is_met_by(hash))
    })
}
