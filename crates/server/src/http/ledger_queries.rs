//! Queries of the ledger whose answers are about everybody, or that several pages ask.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::ledger_tools;
use crate::limits::HTTP_ROUND_ACCOUNTS;
use crate::sql::{Row, Sql, SqlError, Value, WORK};
use crate::telemetry::block_races::{BlockRace, BlockRaces};
use crate::values;

/// The work since the pool's last block on the main chain.
#[derive(Clone, Default, Serialize, ToSchema)]
#[schema(as = Round)]
pub(crate) struct ApiRound {
    /// Its first height.
    pub(crate) from_height: u32,
    /// When the block before it was found, Unix seconds; none where there is none.
    since: Option<i64>,
    /// Number of shares.
    shares: i64,
    /// Their summed difficulty.
    pub(crate) work: f64,
    /// That work over the work expected for a block: at 1 a block is due.
    effort: f64,
    /// The accounts with the most work in it.
    accounts: Vec<RoundAccount>,
}

/// An account's part of a round.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct RoundAccount {
    /// Untrusted text.
    account: String,
    work: f64,
}

/// A block that the pool found.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Block)]
pub(crate) struct ApiBlock {
    pub(crate) hash: String,
    pub(crate) height: u32,
    /// `found`, `accepted`, `confirmed`, `orphaned` or `refused`.
    pub(crate) state: String,
    /// Why it was refused; empty else.
    pub(crate) reason: String,
    /// Unix seconds.
    pub(crate) found_at: i64,
    /// When its state last changed, Unix seconds.
    pub(crate) changed_at: i64,
    /// Whose share it was, where that is known. Untrusted text.
    pub(crate) account: Option<String>,
    /// In base units.
    reward: i64,
    /// The network's.
    difficulty: f64,
    /// Work of its round over the work expected; luck is its inverse.
    effort: Option<f64>,
    /// Blocks of the main chain from this one to the tip, both included; none where it is not on the main chain, or
    /// the tip is not known.
    confirmations: Option<u32>,
    /// Whether its reward is divided, or was by other means.
    is_settled: bool,
    /// `operator`, or `solo`: its coinbase has paid its finder, and nothing is divided.
    payout: String,
    /// The server that found it, where several share the ledger. Untrusted text.
    server: Option<String>,
    /// Where to see it, if an explorer is set.
    pub(crate) link: Option<String>,
    /// How it reached the network: of the last thousand blocks that this server found since its start.
    race: Option<ApiRace>,
}

/// How a block reached the network. Times are milliseconds after its solution was checked, negative ones
/// before.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Race)]
pub(crate) struct ApiRace {
    /// When it was announced to peers; none if it was not.
    announced_ms: Option<f64>,
    /// The peers that it was announced to.
    peers: u32,
    /// When the first of them asked for it.
    asked_ms: Option<f64>,
    /// Those that had asked for it a second after its announcement.
    asked_within_1s: Option<u32>,
    /// The first other block of its height that the node had.
    rival: Option<String>,
    /// When the node had that.
    rival_ms: Option<f64>,
}

impl ApiRace {
    fn of(race: BlockRace) -> Self {
        Self {
            announced_ms: race.announced_ms,
            peers: race.peers,
            asked_ms: race.asked_ms,
            asked_within_1s: race.asked_within_1s,
            rival: race.rival.map(|(hash, _)| hash.to_string()),
            rival_ms: race.rival.map(|(_, at_ms)| at_ms),
        }
    }
}

/// The open round.
pub(crate) fn open_round(sql: &mut dyn Sql) -> Result<ApiRound, SqlError> {
    let open = ledger_tools::open_round(sql)?;
    let last = sql.query_opt(
        "SELECT found_at FROM blocks
          WHERE state IN ('accepted', 'confirmed') AND payout <> 'solo'
          ORDER BY height DESC LIMIT 1",
        &[],
    )?;
    let rows = sql.query(
        &format!(
            "SELECT name, sum({WORK}) AS work FROM credit AS c
               JOIN accounts AS a ON a.id = c.account WHERE height >= ?1
              GROUP BY c.account, name ORDER BY work DESC, name LIMIT ?2"
        ),
        &values![open.from_height, HTTP_ROUND_ACCOUNTS],
    )?;
    let accounts = rows.iter().map(|row| {
        Ok(RoundAccount {
            account: row.get(0)?,
            work: row.get(1)?,
        })
    });
    Ok(ApiRound {
        from_height: open.from_height,
        since: last.map(|row| row.get(0)).transpose()?,
        shares: open.shares,
        work: open.work,
        effort: open.effort,
        accounts: accounts.collect::<Result<_, SqlError>>()?,
    })
}

/// How blocks are shown.
pub(crate) struct BlocksShown {
    pub explorer: Option<String>,
    pub is_shared: bool,
    pub races: Arc<BlockRaces>,
    /// The height that miners work on.
    pub next_height: Option<u32>,
}

impl BlocksShown {
    /// The name of the server that found it, in SQL.
    fn finder(&self) -> &'static str {
        if self.is_shared {
            "(SELECT label FROM origins WHERE origins.id = b.origin)"
        } else {
            "CAST(NULL AS TEXT)"
        }
    }

    fn confirmations(&self, height: u32, state: &str) -> Option<u32> {
        let next = self.next_height?;
        let is_on_chain = matches!(state, "accepted" | "confirmed");
        // A block may be known before the job on top of it.
        is_on_chain.then(|| next.saturating_sub(height).max(1))
    }
}

/// Reads blocks; `rest` follows after the tables.
pub(crate) fn read_blocks(
    sql: &mut dyn Sql,
    rest: &str,
    params: &[Value],
    shown: &BlocksShown,
) -> Result<Vec<ApiBlock>, SqlError> {
    let rows = sql.query(
        &format!(
            "SELECT hash, height, state, reason, found_at, changed_at, a.name, reward, difficulty,
                    effort, CASE WHEN EXISTS
                      (SELECT 1 FROM settlements WHERE block = hash AND state = 'settled')
                      THEN 1 ELSE 0 END,
                    {}, b.payout
               FROM blocks AS b LEFT JOIN accounts AS a ON a.id = b.account {rest}",
            shown.finder()
        ),
        params,
    )?;
    let blocks = rows.iter().map(|row| {
        let (hash, height): (String, u32) = (row.get(0)?, row.get(1)?);
        let state: String = row.get(2)?;
        let link = shown.explorer.as_deref().map(|explorer| {
            let link = explorer.replace("%h", &height.to_string());
            link.replace("%s", &hash)
        });
        Ok(ApiBlock {
            confirmations: shown.confirmations(height, &state),
            state,
            reason: row.get(3)?,
            found_at: row.get(4)?,
            changed_at: row.get(5)?,
            account: row.get(6)?,
            reward: row.get(7)?,
            difficulty: row.get(8)?,
            effort: row.get(9)?,
            is_settled: row.get::<i64>(10)? == 1,
            server: row.get(11)?,
            payout: row.get(12)?,
            race: shown.races.of(&hash).map(ApiRace::of),
            hash,
            height,
            link,
        })
    });
    blocks.collect()
}

/// The pool's luckiest and unluckiest block, those of the least and the greatest effort, and its best share.
#[derive(Clone, Default, Serialize, ToSchema)]
pub(crate) struct Records {
    /// None before the first block on the main chain with an effort that is known.
    luckiest: Option<ApiBlock>,
    unluckiest: Option<ApiBlock>,
    /// None before the first.
    best_share: Option<ApiBestShare>,
}

/// The share with the smallest hash of all time.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = BestShare)]
pub(crate) struct ApiBestShare {
    /// Whose it was; none where names are hidden. Untrusted text.
    account: Option<String>,
    /// Untrusted text; empty where the miner names none, none where names are hidden.
    worker: Option<String>,
    /// The greatest that its hash meets.
    difficulty: f64,
    /// Unix seconds.
    at: i64,
}

/// Reads all blocks for them.
pub(crate) fn records(sql: &mut dyn Sql, shown: &BlocksShown) -> Result<Records, SqlError> {
    let mut first_by = |order: &str| {
        let rest = format!(
            "WHERE state IN ('accepted', 'confirmed') AND effort IS NOT NULL
              ORDER BY effort {order}, height LIMIT 1"
        );
        let found = read_blocks(sql, &rest, &[], shown);
        found.map(|blocks| blocks.into_iter().next())
    };
    Ok(Records {
        luckiest: first_by("")?,
        unluckiest: first_by("DESC")?,
        best_share: best_share(sql)?,
    })
}

fn best_share(sql: &mut dyn Sql) -> Result<Option<ApiBestShare>, SqlError> {
    let found = sql.query_opt(
        "SELECT a.name, w.name, b.difficulty, b.at FROM best_shares AS b
           JOIN workers AS w ON w.id = b.worker JOIN accounts AS a ON a.id = w.account
          ORDER BY b.difficulty DESC LIMIT 1",
        &[],
    )?;
    let of = |row: Row| {
        Ok(ApiBestShare {
            account: row.get(0)?,
            worker: row.get(1)?,
            difficulty: row.get(2)?,
            at: row.get(3)?,
        })
    };
    found.map(of).transpose()
}

/// Accounts that have ever been credited something, with that and what was paid.
pub(crate) type Balances = Vec<(String, i64, i64)>;

/// The accounts of [`Balances`].
pub(crate) fn balances(sql: &mut dyn Sql) -> Result<Balances, SqlError> {
    let rows = sql.query(
        "SELECT name, credited, paid FROM balances WHERE credited <> 0 OR paid <> 0",
        &[],
    )?;
    let balances = rows
        .iter()
        .map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    balances.collect()
}

/// Blocks by the name of their state.
pub(crate) type BlockCounts = Vec<(String, i64)>;

/// Counts them.
pub(crate) fn count_blocks(sql: &mut dyn Sql) -> Result<BlockCounts, SqlError> {
    let rows = sql.query("SELECT state, count(*) FROM blocks GROUP BY state", &[])?;
    let counts = rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?)));
    counts.collect()
}
