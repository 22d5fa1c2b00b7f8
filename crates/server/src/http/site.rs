//! State that every request may use: where answers come from, and what is kept of them. It imports no
//! handler.

use std::collections::BTreeSet;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hstratum_core::chain::address::Network;
use tokio::sync::Semaphore;

use super::answer::{Answers, ApiError};
use super::cached_query::CachedQuery;
use super::challenges::Challenges;
use super::conns::Conns;
use super::console::Console;
use super::estimates::{CachedEstimates, LedgerEstimates, NextPayout, PoolMoney};
use super::events::Events;
use super::host_guard::Public;
use super::jobs::ListenerPayouts;
use super::known_keys::KnownKeys;
use super::ledger_queries::{ApiRound, Balances, BlockCounts, BlocksShown, Records};
use super::ledger_reader::LedgerReader;
use super::listeners::Listeners;
use super::newest_split::NewestSplit;
use super::own_changes::OwnChanges;
use super::payer::PoolPayouts;
use super::server_list::ServerList;
use super::sessions::Sessions;
use super::work_history::WorkHistory;
use super::workers::{WorkerList, WorkerSources, Workers};
use crate::alarm_delivery::AlarmFeed;
use crate::alerts::Alerts;
use crate::clock::unix_s;
use crate::config::settings::Settings;
use crate::config::{Config, Dashboard};
use crate::limits::{
    CODES_SENT_AT_ONCE, HTTP_BANS_MAX, HTTP_CHANGES_MAX, HTTP_ORDERS_MAX, HTTP_SOON,
};
use crate::net::cidr::AddressRange;
use crate::operator::Orders;
use crate::payer::{PayerReading, PayerState, PayoutControl};
use crate::secret::Secret;
use crate::signature_checks::SignatureChecks;
use crate::statuses::Statuses;
use crate::telemetry::live::{Online, TelemetryReader};
use crate::values;

/// What every request may use.
pub(crate) struct Site {
    pub live: TelemetryReader,
    pub statuses: Statuses,
    pub alarm_feed: Arc<AlarmFeed>,
    pub network: Network,
    /// Who may mine: `users`, `open` or `address`.
    pub auth: &'static str,
    /// Names by which it may be asked, and by whom by any.
    pub public: Public,
    pub listeners: Listeners,
    pub payouts_of_listeners: ListenerPayouts,
    /// Kinds of payout of the listeners.
    pub payouts: BTreeSet<String>,
    pub newest_split: NewestSplit,
    /// Interval of this server's payouts.
    payout_every: Option<Duration>,
    pub dashboard: Dashboard,
    /// Digests of hidden names, by which rows are ordered.
    pub tie_digests: RandomState,
    pub explorer: Option<String>,
    pub started: Instant,
    /// None in memory.
    pub reader: Option<LedgerReader>,
    /// For what takes long.
    pub background: Option<LedgerReader>,
    /// For estimates, which take longest.
    estimating: Option<LedgerReader>,
    /// This server's name.
    pub server_id: String,
    pub pool_servers: Arc<ServerList>,
    pub worker_list: WorkerList,
    pub work_history: Arc<WorkHistory>,
    pub round: CachedQuery<ApiRound>,
    pub records: CachedQuery<Records>,
    pub balances: CachedQuery<Balances>,
    cached_estimates: CachedEstimates,
    pub events: Events,
    pub answers: Arc<Answers>,
    pub blocks_by_state: CachedQuery<BlockCounts>,
    pub conns: Arc<Conns>,
    /// Whether miners and the operator may sign in.
    pub has_login: bool,
    /// Peers that tell for whom they ask.
    pub proxies: Vec<AddressRange>,
    pub sign_in: SignInParts,
    pub orders: Orders,
    /// For miners' changes that wait.
    pub changes: Arc<Semaphore>,
    pub own_changes: OwnChanges,
    /// For codes that are being sent.
    pub codes: Arc<Semaphore>,
    /// What miners are told; none if the operator has set up no way.
    pub alerts: Option<Arc<Alerts>>,
    /// Who may give orders; none: nobody.
    pub operator: Option<Operator>,
}

/// What signing in needs.
pub(crate) struct SignInParts {
    pub sessions: Arc<Sessions>,
    pub known_keys: Arc<KnownKeys>,
    pub challenges: Challenges,
    pub signature_checks: Arc<SignatureChecks>,
}

/// Who may give orders over HTTP.
pub(crate) struct Operator {
    pub token: Secret,
    pub payouts: PayoutControl,
    pub console: Console,
    /// For those that wait.
    pub places: Arc<Semaphore>,
    /// For bans, which wait for none of the others.
    pub ban_places: Arc<Semaphore>,
}

fn public_of(config: &Config) -> Public {
    Public::of(
        config.public_host.as_deref(),
        &config.http_host_names,
        &config.http_proxies,
    )
}

impl Site {
    pub(crate) fn new(
        settings: &Settings,
        live: TelemetryReader,
        alarm_feed: &Arc<AlarmFeed>,
        statuses: &Statuses,
        (orders, payouts, console): (&Orders, &PayoutControl, Console),
        sign_in: SignInParts,
        alerts: Option<Arc<Alerts>>,
    ) -> Self {
        let config = &settings.config;
        let ledger = settings.ledger();
        let slow = || Some(LedgerReader::slow(ledger.clone()?, statuses.ledger.clone()));
        let (background, pool_servers) = (slow(), Arc::<ServerList>::default());
        Self {
            network: settings.network,
            auth: config.auth.name(),
            public: public_of(config),
            listeners: Listeners::of(settings),
            payouts_of_listeners: ListenerPayouts::of(settings),
            payouts: config.payouts(),
            newest_split: NewestSplit::default(),
            payout_every: config.payout.every,
            dashboard: config.dashboard,
            tie_digests: RandomState::new(),
            explorer: config.explorer.clone(),
            started: Instant::now(),
            reader: ledger
                .clone()
                .map(|place| LedgerReader::new(place, statuses.ledger.clone())),
            background: background.clone(),
            estimating: slow(),
            live: live.clone(),
            statuses: statuses.clone(),
            alarm_feed: alarm_feed.clone(),
            server_id: config.server_id.clone(),
            pool_servers: pool_servers.clone(),
            worker_list: WorkerList::new(WorkerSources {
                live,
                status: statuses.ledger.clone(),
                background,
                servers: pool_servers,
                server_id: config.server_id.as_str().into(),
            }),
            work_history: Arc::default(),
            round: CachedQuery::default(),
            records: CachedQuery::default(),
            balances: CachedQuery::default(),
            cached_estimates: CachedEstimates::default(),
            events: Events::default(),
            answers: Arc::default(),
            blocks_by_state: CachedQuery::default(),
            conns: Arc::default(),
            has_login: config.http_login,
            proxies: config.proxy_protocol.clone(),
            sign_in,
            orders: orders.clone(),
            changes: Arc::new(Semaphore::new(HTTP_CHANGES_MAX)),
            own_changes: OwnChanges::default(),
            codes: Arc::new(Semaphore::new(CODES_SENT_AT_ONCE)),
            alerts,
            operator: config.http_token.clone().map(|token| Operator {
                token,
                payouts: payouts.clone(),
                console,
                places: Arc::new(Semaphore::new(HTTP_ORDERS_MAX)),
                ban_places: Arc::new(Semaphore::new(HTTP_BANS_MAX)),
            }),
        }
    }

    /// This server's number in the shared ledger, where there is one.
    pub(crate) fn own_number(&self) -> Option<i64> {
        let (own, _) = self.statuses.cluster.as_ref()?.own();
        own.map(|own| own.number)
    }

    /// The ledger; 503 where all is in memory.
    pub(crate) fn ledger(&self) -> Result<&LedgerReader, ApiError> {
        let reader = self.reader.as_ref();
        reader.ok_or_else(|| ApiError::busy("there is no ledger"))
    }

    /// The operator's console. There is an operator.
    pub(crate) fn console(&self) -> &Console {
        let operator = self.operator.as_ref();
        &operator
            .expect("the paths are there for an operator")
            .console
    }

    /// For queries that take long. There is a ledger.
    pub(crate) fn background(&self) -> &LedgerReader {
        self.background.as_ref().expect("there is a ledger")
    }

    /// Everybody who mines or has mined within a day.
    pub(crate) async fn workers(&self) -> Result<Arc<Workers>, ApiError> {
        self.worker_list.workers().await
    }

    /// How many are online on all servers, where several share the ledger. None where that is not known
    /// soon.
    pub(crate) async fn online(&self) -> Option<Online> {
        self.worker_list.online().await
    }

    /// Estimates as last computed, and their age. Must be called only if there is a ledger.
    pub(crate) async fn estimates(&self) -> Result<(Arc<LedgerEstimates>, Duration), ApiError> {
        let reader = self.estimating.as_ref().expect("there is a ledger");
        let now = self.live.look().await?;
        self.cached_estimates.get(reader, &now).await
    }

    /// True if somebody has mined under that name: a login alone, which costs nothing, is not enough.
    pub(crate) async fn has_account(&self, name: &str) -> Result<bool, ApiError> {
        let Some(reader) = &self.reader else {
            let workers = self.workers().await?;
            let own = workers.accounts.get(name);
            return Ok(own.is_some_and(|own| own.last_share_at.is_some()));
        };
        let name = name.to_owned();
        reader
            .read(move |sql| {
                let known = "SELECT 1 FROM accounts WHERE name = ?1";
                Ok(sql.query_opt(known, &values![name])?.is_some())
            })
            .await
    }

    /// The network's difficulty, as of the newest job; none before the first.
    pub(crate) async fn network_difficulty(&self) -> Option<f64> {
        let job = self.live.look().await.ok()?.view.job?;
        Some(job.network_difficulty.get())
    }

    /// The server's payouts. Those of a node that knows too little of the chain wait.
    pub(crate) fn payouts(&self) -> PayerReading {
        let mut reading = self.statuses.payer.read();
        if let (PayerState::Scheduled, Some(behind)) =
            (&reading.state, self.statuses.node_lag.behind())
        {
            reading.state = PayerState::Waits(format!("the node: {behind}"));
        }
        reading
    }

    /// This server's next payment, if it pays by itself and nothing is in its way.
    pub(crate) fn next_payout(&self) -> Option<NextPayout> {
        let reading = self.payouts();
        let pays = matches!(reading.state, PayerState::Scheduled | PayerState::Pays);
        let in_s = reading
            .until_payment(self.payout_every.filter(|_| pays)?)?
            .as_secs();
        Some(NextPayout {
            at: unix_s().saturating_add(in_s),
            in_s,
            maturity: self.network.coinbase_maturity(),
        })
    }

    /// The server's payouts and its wallet, which may fall short of what the pool owes.
    pub(crate) fn own_payouts(&self, money: &PoolMoney) -> PoolPayouts {
        let next = self.next_payout().map(|next| next.at);
        let payer = &self.statuses.payer;
        let shortfall = money.owed().and_then(|owed| payer.shortfall(owed));
        PoolPayouts::of(self.payouts(), next, shortfall)
    }

    /// What the pool owes and its terms; nothing where that is not known soon.
    pub(crate) async fn money(&self) -> PoolMoney {
        if self.estimating.is_none() {
            return PoolMoney::default();
        }
        match tokio::time::timeout(HTTP_SOON, self.estimates()).await {
            Ok(Ok((estimates, age))) => estimates.of_pool(self.payout_every, age),
            Ok(Err(_)) | Err(_) => PoolMoney::default(),
        }
    }

    /// How blocks of that ledger are shown.
    pub(crate) fn blocks_shown(&self, reader: &LedgerReader) -> BlocksShown {
        BlocksShown {
            explorer: self.explorer.clone(),
            is_shared: reader.is_shared(),
            races: self.live.races().clone(),
            next_height: self.live.height(),
        }
    }
}
