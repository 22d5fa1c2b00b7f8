//! Accounts and workers.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use hstratum_core::units::HASHES_PER_DIFFICULTY;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{
    ApiError, ApiResult, NoParams, PathName, Problem, QueryParams, SortOrder, page_of, search_for,
};
use super::estimates::{AccountInLedger, AccountMoneyEstimate};
use super::ledger_queries::balances;
use super::privacy::TieOrder;
use super::round::read_round;
use super::site::Site;
use super::sorted_page::sorted_page;
use super::viewer::Viewer;
use super::workers::{AccountWork, WorkerRow};
use crate::limits::HTTP_KEPT;
use crate::sql::{EFFORT, Row, Sql, SqlError, WORK};
use crate::values;

/// A machine of an account.
#[derive(Serialize, ToSchema)]
pub(crate) struct Worker {
    /// Who is paid. Untrusted text.
    account: String,
    /// Untrusted text; empty where the miner names none.
    worker: String,
    /// Connections that it has now to this server.
    connections: u32,
    /// When the newest of these was made, Unix seconds.
    connected_at: Option<i64>,
    /// Servers that it mines on: this one where it is connected; where several share a ledger, each that
    /// has accepted a share of it within ten minutes. Empty where it is away. Untrusted text.
    servers: Vec<String>,
    /// What it works at, where it is connected.
    difficulty: Option<f64>,
    /// Whether it sends blocks only, as HandyMiner does in solo mode: its hashrate is known from its blocks
    /// alone.
    sends_blocks: bool,
    /// Hashes a second, estimated from the shares of the last minutes; where several servers share a
    /// ledger, of the last ten to twenty minutes, or since its first share in them, on all servers.
    hashrate: f64,
    /// Over the last hour.
    hashrate_1h: f64,
    /// Over the last day.
    hashrate_24h: f64,
    /// Of the last hour.
    shares: ApiSums,
    /// Refused submits among all of the last hour, from 0 to 1.
    reject_rate: Option<f64>,
    /// When a share was last accepted, Unix seconds. Of one before this version the begin of those ten
    /// minutes.
    last_share_at: Option<i64>,
    /// The greatest difficulty that a share of it has ever met.
    best_share: Option<f64>,
}

/// Submits by what came of them.
#[derive(Serialize, ToSchema)]
#[schema(as = Sums)]
pub(crate) struct ApiSums {
    accepted: i64,
    stale: i64,
    low: i64,
    duplicate: i64,
}

/// An account. Amounts in base units.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Account)]
pub(crate) struct ApiAccount {
    /// Untrusted text.
    name: String,
    /// Workers that are connected.
    workers_online: u32,
    /// Workers seen within a day.
    workers: u32,
    /// Hashes a second, estimated from the shares of the last minutes.
    hashrate: f64,
    /// Over the last hour.
    hashrate_1h: f64,
    /// Over the last day.
    hashrate_24h: f64,
    /// Refused submits among all of the last hour, from 0 to 1.
    reject_rate: Option<f64>,
    /// When a share was last accepted, Unix seconds.
    last_share_at: Option<i64>,
    /// All that it was ever credited.
    credited: i64,
    /// All that was paid, or is on its way.
    paid: i64,
    /// The difference.
    balance: i64,
}

/// One account in full.
#[derive(Serialize, ToSchema)]
pub(crate) struct AccountInFull {
    #[serde(flatten)]
    account: ApiAccount,
    /// Where it is paid, if that was set; else its name counts, if that is an address.
    address: Option<String>,
    /// What it will be, for its owner and the operator.
    next_address: Option<NextAddress>,
    /// Blocks that its shares were.
    blocks: i64,
    /// Its work in the open round.
    round_work: f64,
    /// The same as a part of all, from 0 to 1.
    round_share: Option<f64>,
    #[serde(flatten)]
    estimate: AccountMoneyEstimate,
    #[serde(flatten)]
    own_blocks: OwnBlocks,
}

impl AccountInFull {
    /// Adds what the ledger has of it, in a round with this work of all.
    fn add_kept(&mut self, kept: KeptAccount, all_work: f64) {
        self.address = kept.paid_at.address;
        self.next_address = kept.paid_at.next;
        self.blocks = kept.blocks;
        self.account.credited = kept.credited;
        self.account.paid = kept.paid;
        self.account.balance = kept.credited - kept.paid;
        self.round_work = kept.round_work;
        self.round_share = (all_work > 0.0).then(|| (kept.round_work / all_work).min(1.0));
        let own_blocks = &mut self.own_blocks;
        if let Some(best) = kept.best_share {
            own_blocks.add_best_share(best);
        }
        (own_blocks.blocks_month, own_blocks.blocks_expected_month) = kept.month;
    }
}

/// A payout address that holds later.
#[derive(Serialize, ToSchema)]
pub(crate) struct NextAddress {
    pub(super) address: String,
    /// From when on, in Unix seconds.
    pub(super) holds_at: i64,
}

/// Where an account is paid.
#[derive(Default)]
pub(super) struct PaidAt {
    pub(super) address: Option<String>,
    pub(super) next: Option<NextAddress>,
}

impl PaidAt {
    /// That of a row that begins with `address`, `next_address` and `next_address_at`.
    fn of(row: &Row) -> Result<Self, SqlError> {
        let (address, holds_at): (Option<String>, Option<i64>) = (row.get(1)?, row.get(2)?);
        let next = address.zip(holds_at);
        Ok(Self {
            address: row.get(0)?,
            next: next.map(|(address, holds_at)| NextAddress { address, holds_at }),
        })
    }
}

/// Reads where an account is paid; nowhere, if the ledger does not have it.
pub(super) fn paid_at(sql: &mut dyn Sql, name: &str) -> Result<PaidAt, SqlError> {
    let query = "SELECT address, next_address, next_address_at FROM payees WHERE name = ?1";
    let row = sql.query_opt(query, &values![name])?;
    let paid_at = row.as_ref().map(PaidAt::of).transpose()?;
    Ok(paid_at.unwrap_or_default())
}

/// What an account's own hashrate finds, whoever is paid for it.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct OwnBlocks {
    /// The greatest difficulty that a share of it has ever met; without a ledger, one of the miners that are
    /// connected, since they connected.
    best_share: Option<f64>,
    /// When the ledger took that share, Unix seconds; none for some seconds after a better one, and without a
    /// ledger.
    best_share_at: Option<i64>,
    /// Seconds that it takes to find a block, on average, at its hashrate of the last day and the network's
    /// difficulty now; none while either is not known.
    block_expected_s: Option<f64>,
    /// The probability that it finds a block within a day at that rate, from 0 to 1.
    block_odds_day: Option<f64>,
    /// Blocks that its shares were in the last 4,320 heights, which take about 30 days, but for those that paid their
    /// finder; and how many are expected of its work at these heights. Its luck is the first over the second.
    blocks_month: i64,
    blocks_expected_month: f64,
}

impl OwnBlocks {
    fn of(best_share: Option<f64>, hashrate: f64, network_difficulty: Option<f64>) -> Self {
        let expected_s = network_difficulty
            .filter(|_| hashrate > 0.0)
            .map(|difficulty| difficulty * HASHES_PER_DIFFICULTY / hashrate);
        Self {
            best_share,
            best_share_at: None,
            block_expected_s: expected_s,
            block_odds_day: expected_s.map(|expected_s| -(-DAY_S / expected_s).exp_m1()),
            blocks_month: 0,
            blocks_expected_month: 0.0,
        }
    }

    /// Adds the best share that the ledger has: its difficulty and time.
    fn add_best_share(&mut self, (difficulty, at): (f64, i64)) {
        if self.best_share.is_none_or(|best| best <= difficulty) {
            self.best_share = Some(difficulty);
            self.best_share_at = Some(at);
        }
    }
}

/// Seconds of a day.
const DAY_S: f64 = 86_400.0;

/// A page of a list.
#[derive(Serialize, ToSchema)]
#[schema(as = Workers)]
pub(crate) struct ApiWorkers {
    /// Rows of the whole list.
    total: usize,
    workers: Vec<Worker>,
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
#[schema(as = Accounts)]
pub(crate) struct ApiAccounts {
    /// Rows of the whole list.
    total: usize,
    accounts: Vec<ApiAccount>,
}

/// What workers are sorted by.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WorkerSort {
    Name,
    #[default]
    Hashrate,
    #[serde(rename = "hashrate_1h")]
    Hour,
    #[serde(rename = "hashrate_24h")]
    Day,
    Difficulty,
    RejectRate,
    LastShare,
    BestShare,
}

/// What accounts are sorted by.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AccountSort {
    Name,
    #[default]
    Hashrate,
    #[serde(rename = "hashrate_1h")]
    Hour,
    #[serde(rename = "hashrate_24h")]
    Day,
    Workers,
    RejectRate,
    LastShare,
    Balance,
}

/// Which workers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WorkersAsked {
    /// Of this account only.
    account: Option<String>,
    /// This one of the account only; empty is the one without a name.
    worker: Option<String>,
    /// Whose account or worker has this in its name, in upper or lower case.
    #[param(max_length = 128)]
    search: Option<String>,
    /// Connected ones only, or those that are away only.
    online: Option<bool>,
    sort: Option<WorkerSort>,
    order: Option<SortOrder>,
    /// Rows of the answer, at most.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// Rows left out before them.
    #[param(minimum = 0, maximum = 4_294_967_295_u32, default = 0, format = Int64)]
    offset: Option<u32>,
}

/// Which accounts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AccountsAsked {
    /// Whose name has this in it, in upper or lower case.
    #[param(max_length = 128)]
    search: Option<String>,
    sort: Option<AccountSort>,
    order: Option<SortOrder>,
    /// Rows of the answer, at most.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// Rows left out before them.
    #[param(minimum = 0, maximum = 4_294_967_295_u32, default = 0, format = Int64)]
    offset: Option<u32>,
}

/// Workers that are connected or were within a day.
#[utoipa::path(get, path = "/api/v1/workers", tag = "miners", params(WorkersAsked), responses(
    (status = 200, body = ApiWorkers), (status = 400, body = Problem), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn workers(
    State(site): State<Arc<Site>>,
    Extension(viewer): Extension<Viewer>,
    QueryParams(asked): QueryParams<WorkersAsked>,
) -> ApiResult<ApiWorkers> {
    let (limit, offset) = page_of(asked.limit, asked.offset)?;
    let search = search_for(asked.search)?;
    if asked.worker.is_some() && asked.account.is_none() {
        return Err(ApiError::wrong(
            "worker: account is missing, which says whose",
        ));
    }
    let workers = site.workers().await?;
    let found = workers
        .rows
        .iter()
        .filter(|row| {
            asked
                .account
                .as_deref()
                .is_none_or(|account| account == &*row.account)
        })
        .filter(|row| {
            asked
                .worker
                .as_deref()
                .is_none_or(|worker| worker == &*row.worker)
        })
        .filter(|row| asked.online.is_none_or(|online| online == row.is_online()))
        .filter(|row| has(&row.account, &search) || has(&row.worker, &search))
        .collect::<Vec<_>>();
    let sort = asked.sort.unwrap_or_default();
    let by = |a: &&WorkerRow, b: &&WorkerRow| compare_workers(sort, a, b);
    let ties = TieOrder::of(&site, &viewer);
    let total = found.len();
    let page = sorted_page(found, (limit, offset), asked.order, by, |a, b| {
        ties.compare(&(&a.account, &a.worker), &(&b.account, &b.worker))
    });
    Ok(Json(ApiWorkers {
        total,
        workers: page.into_iter().map(Worker::of).collect(),
    }))
}

/// Accounts that have workers, connected or seen within a day, or that are owed something.
#[utoipa::path(get, path = "/api/v1/accounts", tag = "miners", params(AccountsAsked), responses(
    (status = 200, body = ApiAccounts), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn accounts(
    State(site): State<Arc<Site>>,
    Extension(viewer): Extension<Viewer>,
    QueryParams(asked): QueryParams<AccountsAsked>,
) -> ApiResult<ApiAccounts> {
    let (limit, offset) = page_of(asked.limit, asked.offset)?;
    let search = search_for(asked.search)?;
    let workers = site.workers().await?;
    let owed = match &site.reader {
        None => Arc::default(),
        Some(_) => {
            site.balances
                .get(site.background(), HTTP_KEPT, balances)
                .await?
        }
    };
    let accounts = workers.accounts.iter();
    let mut all: HashMap<&str, ApiAccount> = accounts
        .map(|(name, work)| (&**name, ApiAccount::of(name, work)))
        .collect();
    for (name, credited, paid) in owed.iter() {
        let account = all
            .entry(name)
            .or_insert_with(|| ApiAccount::of(name, &AccountWork::default()));
        (account.credited, account.paid) = (*credited, *paid);
        account.balance = credited - paid;
    }
    let mut found: Vec<ApiAccount> = all.into_values().collect();
    found.retain(|one| has(&one.name, &search));
    let total = found.len();
    let sort = asked.sort.unwrap_or_default();
    let by = |a: &ApiAccount, b: &ApiAccount| compare_accounts(sort, a, b);
    let ties = TieOrder::of(&site, &viewer);
    let accounts = sorted_page(found, (limit, offset), asked.order, by, |a, b| {
        ties.compare(&a.name, &b.name)
    });
    Ok(Json(ApiAccounts { total, accounts }))
}

/// One account.
#[utoipa::path(get, path = "/api/v1/accounts/{name}", tag = "miners",
    params(("name" = String, Path, description = "The account's name.")), responses(
    (status = 200, body = AccountInFull), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn account(
    State(site): State<Arc<Site>>,
    Extension(viewer): Extension<Viewer>,
    PathName(name): PathName,
    _: NoParams,
) -> ApiResult<AccountInFull> {
    let is_owner = viewer.owns(&name);
    let workers = site.workers().await?;
    let own = workers.accounts.get(&*name);
    let (is_mining, own) = (own.is_some(), own.cloned().unwrap_or_default());
    let account = ApiAccount::of(&name, &own);
    let (hashrate, difficulty) = (account.hashrate_24h, site.network_difficulty().await);
    let mut full = AccountInFull {
        account,
        address: None,
        next_address: None,
        blocks: 0,
        round_work: 0.0,
        round_share: None,
        estimate: AccountMoneyEstimate::default(),
        own_blocks: OwnBlocks::of(own.best_share, hashrate, difficulty),
    };
    let mut all_work = 0.0;
    let (mut own_threshold, mut id) = (None, None);
    let kept = match &site.reader {
        None => None,
        Some(reader) => {
            let round = read_round(&site).await?;
            let from_height = round.from_height;
            all_work = round.work;
            reader
                .read(move |sql| kept(sql, &name, from_height))
                .await?
        }
    };
    match kept {
        Some(kept) => {
            (own_threshold, id) = (kept.threshold, Some(kept.id));
            full.add_kept(kept, all_work);
            full.next_address = full
                .next_address
                .filter(|_| is_owner || viewer.is_operator());
        }
        None if is_mining => {}
        None => return Err(ApiError::missing("no such account")),
    }
    // Without estimates all else is shown.
    if site.reader.is_some()
        && let Ok((known, age)) = site.estimates().await
    {
        let account = AccountInLedger {
            name: &full.account.name,
            id,
            hashrate: full.account.hashrate_24h,
            balance: full.account.balance,
            own_threshold,
        };
        let estimate = known.of_account(&account, age);
        full.estimate = match site.next_payout() {
            Some(next) => estimate.with_next(&account, &known, next),
            None => estimate,
        };
    }
    Ok(Json(full))
}

/// An account's data in the ledger.
struct KeptAccount {
    id: i64,
    paid_at: PaidAt,
    threshold: Option<u64>,
    credited: i64,
    paid: i64,
    blocks: i64,
    round_work: f64,
    /// Difficulty and time of its best share.
    best_share: Option<(f64, i64)>,
    /// Blocks of the last month, and those expected of its work.
    month: (i64, f64),
}

/// Heights of about 30 days, at ten minutes a block.
const MONTH_HEIGHTS: i64 = 4_320;

/// Blocks of an account's shares in the last month, and those expected of its work. Heights whose credit was pruned
/// count for neither.
fn month(sql: &mut dyn Sql, account: i64) -> Result<(i64, f64), SqlError> {
    let row = sql.query_one(
        "SELECT pruned_to, (SELECT coalesce(max(height), 0) FROM heights) FROM meta",
        &[],
    )?;
    let (pruned_to, tip): (i64, i64) = (row.get(0)?, row.get(1)?);
    let above = pruned_to.max(tip - MONTH_HEIGHTS);
    let found = sql.query_one(
        "SELECT count(*) FROM blocks WHERE account = ?1 AND height > ?2 AND payout <> 'solo'
            AND state IN ('accepted', 'confirmed')",
        &values![account, above],
    )?;
    let expected = sum_of_credit(sql, EFFORT, account, above + 1)?;
    Ok((found.get(0)?, expected))
}

/// The sum of a term over an account's credit from a height on. Height by height, since credit is in their order.
fn sum_of_credit(
    sql: &mut dyn Sql,
    term: &str,
    account: i64,
    from_height: i64,
) -> Result<f64, SqlError> {
    let query = format!(
        "SELECT coalesce(sum({term}), 0.0)
           FROM heights AS h CROSS JOIN credit AS c
          WHERE h.height >= ?2 AND c.height = h.height AND c.account = ?1"
    );
    sql.query_one(&query, &values![account, from_height])?
        .get(0)
}

fn kept(sql: &mut dyn Sql, name: &str, from_height: u32) -> Result<Option<KeptAccount>, SqlError> {
    let found = sql.query_opt(
        "SELECT a.address, a.next_address, a.next_address_at, a.id, b.credited, b.paid,
                (SELECT count(*) FROM blocks WHERE blocks.account = a.id), a.threshold
           FROM payees AS a JOIN balances AS b ON b.account = a.id WHERE a.name = ?1",
        &values![name],
    )?;
    let Some(row) = found else {
        return Ok(None);
    };
    let id: i64 = row.get(3)?;
    let best_share = sql.query_opt(
        "SELECT difficulty, at FROM workers JOIN best_shares ON worker = workers.id
          WHERE account = ?1 ORDER BY difficulty DESC, at LIMIT 1",
        &values![id],
    )?;
    Ok(Some(KeptAccount {
        id,
        paid_at: PaidAt::of(&row)?,
        credited: row.get(4)?,
        paid: row.get(5)?,
        blocks: row.get(6)?,
        threshold: row.get(7)?,
        round_work: sum_of_credit(sql, WORK, id, from_height.into())?,
        best_share: match best_share {
            None => None,
            Some(best) => Some((best.get(0)?, best.get(1)?)),
        },
        month: month(sql, id)?,
    }))
}

impl ApiAccount {
    /// That of a name and the sums of its workers, without money.
    fn of(name: &str, work: &AccountWork) -> Self {
        let [hashrate, hashrate_1h, hashrate_24h] = work.rates;
        Self {
            name: name.to_owned(),
            workers_online: work.workers_online,
            workers: work.workers,
            hashrate,
            hashrate_1h,
            hashrate_24h,
            reject_rate: work.sent.reject_rate(),
            last_share_at: work.last_share_at,
            credited: 0,
            paid: 0,
            balance: 0,
        }
    }
}

impl Worker {
    fn of(row: &WorkerRow) -> Self {
        let [hashrate, hashrate_1h, hashrate_24h] = row.rates;
        Self {
            account: row.account.to_string(),
            worker: row.worker.to_string(),
            connections: row.connections,
            connected_at: row.connected_at,
            servers: row.servers.iter().map(ToString::to_string).collect(),
            difficulty: row.difficulty.filter(|_| row.connections > 0),
            sends_blocks: row.sends_blocks,
            hashrate,
            hashrate_1h,
            hashrate_24h,
            shares: ApiSums {
                accepted: row.sent.accepted,
                stale: row.sent.stale,
                low: row.sent.low,
                duplicate: row.sent.duplicate,
            },
            reject_rate: row.sent.reject_rate(),
            last_share_at: row.last_share_at,
            best_share: row.best_share,
        }
    }
}

fn has(name: &str, search: &str) -> bool {
    search.is_empty() || name.to_lowercase().contains(search)
}

fn compare_workers(sort: WorkerSort, a: &WorkerRow, b: &WorkerRow) -> Ordering {
    match sort {
        WorkerSort::Name => (&a.account, &a.worker).cmp(&(&b.account, &b.worker)),
        WorkerSort::Hashrate => a.rates[0].total_cmp(&b.rates[0]),
        WorkerSort::Hour => a.rates[1].total_cmp(&b.rates[1]),
        WorkerSort::Day => a.rates[2].total_cmp(&b.rates[2]),
        WorkerSort::Difficulty => numbers(a.difficulty, b.difficulty),
        WorkerSort::RejectRate => numbers(a.sent.reject_rate(), b.sent.reject_rate()),
        WorkerSort::LastShare => a.last_share_at.cmp(&b.last_share_at),
        WorkerSort::BestShare => numbers(a.best_share, b.best_share),
    }
}

fn compare_accounts(sort: AccountSort, a: &ApiAccount, b: &ApiAccount) -> Ordering {
    match sort {
        AccountSort::Name => a.name.cmp(&b.name),
        AccountSort::Hashrate => a.hashrate.total_cmp(&b.hashrate),
        AccountSort::Hour => a.hashrate_1h.total_cmp(&b.hashrate_1h),
        AccountSort::Day => a.hashrate_24h.total_cmp(&b.hashrate_24h),
        AccountSort::Workers => a.workers_online.cmp(&b.workers_online),
        AccountSort::RejectRate => numbers(a.reject_rate, b.reject_rate),
        AccountSort::LastShare => a.last_share_at.cmp(&b.last_share_at),
        AccountSort::Balance => a.balance.cmp(&b.balance),
    }
}

fn numbers(a: Option<f64>, b: Option<f64>) -> Ordering {
    a.unwrap_or(-1.0).total_cmp(&b.unwrap_or(-1.0))
}
