//! HTTP: the dashboard, the API and metrics, on a thread and a runtime of their own. It reads the driver's
//! snapshots (`live`) and the ledger, and no other thread waits for it.
//!
//! Access is checked in `guard`. Every answer is made from one state of the pool and one of the ledger.

#![allow(unused_qualifications, reason = "what utoipa's macros write")]

mod admin;
pub(crate) mod answer;
mod ledger_reader;
mod conns;
mod last_day;
pub(crate) mod events;
mod servers;
mod cached_query;
mod history;
pub(crate) mod host_guard;
mod late_hours;
pub(crate) mod metrics;
mod openapi;
pub(crate) mod prometheus;
mod pages;
mod payouts;
mod accounts;
mod pool;
pub(crate) mod refusals;
mod workers;
mod round;
mod work_history;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use hstratum_core::chain::address::Network;
use hstratum_core::event::Level;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tower_service::Service;

use self::admin::Operator;
use self::answer::{Answers, ApiError};
use self::ledger_reader::LedgerReader;
use self::conns::{Conns, ConnPermit};
use self::events::Events;
use self::servers::ServerList;
use self::cached_query::CachedQuery;
use self::host_guard::Public;
use self::metrics::BlockCounts;
use self::accounts::Balances;
use self::workers::WorkerList;
use self::round::ApiRound;
use self::work_history::WorkHistory;
use crate::alerts::AlarmFeed;
use crate::cluster::cluster_status::ClusterStatus;
use crate::config::settings::Settings;
use crate::config::{Config, HTTP_PORT};
use crate::limits::{
    HTTP_CONN, HTTP_CONN_END, HTTP_HEAD, HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, HTTP_ORDERS_MAX,
    HTTP_QUERIES_MAX, HTTP_REQUEST, HTTP_STOP,
};
use crate::node::Node;
use crate::operator::Orders;
use crate::store::ledger_status::LedgerStatus;
use crate::telemetry::live::TelemetryReader;
use crate::telemetry::node_lag::NodeLag;
use crate::duty::Duties;

/// Data that HTTP shows.
pub(crate) struct Sources {
    pub live: TelemetryReader,
    pub status: Arc<LedgerStatus>,
    pub node_lag: Arc<NodeLag>,
    /// `None` without a shared ledger.
    pub shared: Option<Arc<ClusterStatus>>,
    pub duties: Duties,
    pub alarm_feed: Arc<AlarmFeed>,
}

impl Sources {
    /// This server's number in the shared ledger, if there is one.
    fn own_number(&self) -> Option<i64> {
        let (own, _) = self.shared.as_ref()?.own();
        own.map(|own| own.number)
    }
}

/// State shared by all requests.
pub(crate) struct Site {
    pub sources: Sources,
    pub network: Network,
    /// Authorization mode: `users`, `open` or `address`.
    pub auth: &'static str,
    pub public_host: Option<String>,
    /// Further names that requests may use for this server.
    pub host_names: Vec<String>,
    pub stratum_port: u16,
    pub explorer: Option<String>,
    pub started: Instant,
    /// Reader of the ledger; `None` if it is in memory.
    pub reader: Option<LedgerReader>,
    /// The same for long queries.
    pub background: Option<LedgerReader>,
    /// This server's name.
    pub server_id: String,
    pub pool_servers: ServerList,
    pub worker_list: WorkerList,
    pub work_history: Arc<WorkHistory>,
    pub round: CachedQuery<ApiRound>,
    pub balances: CachedQuery<Balances>,
    pub events: Events,
    pub answers: Answers,
    pub blocks_by_state: CachedQuery<BlockCounts>,
    pub conns: Arc<Conns>,
    /// Access for the operator; `None` if it is not configured.
    pub operator: Option<Operator>,
}

/// Our address of the connection.
#[derive(Clone, Copy)]
pub(crate) struct LocalAddress(pub SocketAddr);

/// Binds the port; `None` if HTTP is turned off. The default port may be in use, by another node on this
/// machine for example: mining goes on without a dashboard then.
///
/// # Errors
/// When a configured port cannot be bound.
pub(crate) fn bind(config: &Config, node: &dyn Node) -> anyhow::Result<Option<TcpListener>> {
    if config.http_port == Some(0) {
        return Ok(None);
    }
    let port = config.http_port.unwrap_or(HTTP_PORT);
    let address = SocketAddr::new(config.http_host, port);
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    match bound {
        Ok(listener) => {
            node.log(Level::Info, &format!("dashboard on http://{address}/"));
            Ok(Some(listener))
        }
        Err(error) if config.http_port.is_none() && error.kind() == io::ErrorKind::AddrInUse => {
            let text = format!(
                "no dashboard: {address} is taken; choose another http-port, or 0 for none"
            );
            node.log(Level::Warning, &text);
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| {
            format!("failed to listen on {address} for the dashboard (http-host, http-port)")
        }),
    }
}

impl Site {
    pub(crate) fn new(settings: &Settings, sources: Sources, orders: &Orders) -> Self {
        let config = &settings.config;
        let ledger = settings.ledger();
        Self {
            network: settings.network,
            auth: config.auth.name(),
            public_host: config.public_host.clone(),
            host_names: config.http_host_names.clone(),
            stratum_port: config.public_port,
            explorer: config.explorer.clone(),
            started: Instant::now(),
            reader: ledger
                .clone()
                .map(|place| LedgerReader::new(place, sources.status.clone())),
            background: ledger.map(|place| LedgerReader::slow(place, sources.status.clone())),
            sources,
            server_id: config.server_id.clone(),
            pool_servers: ServerList::default(),
            worker_list: WorkerList::default(),
            work_history: Arc::default(),
            round: CachedQuery::default(),
            balances: CachedQuery::default(),
            events: Events::default(),
            answers: Answers::default(),
            blocks_by_state: CachedQuery::default(),
            conns: Arc::default(),
            operator: config.http_token.clone().map(|token| Operator {
                token,
                orders: orders.clone(),
                places: Semaphore::new(HTTP_ORDERS_MAX),
            }),
        }
    }
}

/// Serves until the driver has stopped. A failure is logged and affects nothing outside HTTP.
pub(crate) fn run(listener: TcpListener, site: Site, node: &dyn Node) {
    let served = catch_unwind(AssertUnwindSafe(|| serve_all(listener, site)));
    let reason = match served {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => "a bug".to_owned(),
    };
    node.log(
        Level::Error,
        &format!("the dashboard has failed and is gone until the next start: {reason}"),
    );
}

fn serve_all(listener: TcpListener, site: Site) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("hstratum-query")
        // One thread for the background reader, and one that sums up its results.
        .max_blocking_threads(HTTP_QUERIES_MAX + HTTP_ORDERS_MAX + 2)
        .build()
        .context("failed to start the runtime")?;
    let done = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let site = Arc::new(site);
        let router = router(site.clone());
        let (live, conns) = (site.sources.live.clone(), site.conns.clone());
        let ledger_site = site.clone();
        tokio::spawn(keep(move || events::watch_ledger(ledger_site.clone())));
        tokio::spawn(keep(move || events::run(site.clone())));
        tokio::spawn(async move { accept(&listener, &router, &conns).await });
        live.ended().await;
        anyhow::Ok(())
    });
    runtime.shutdown_timeout(HTTP_STOP);
    done
}

/// Runs a task, and restarts it when it panics.
async fn keep<F: Future<Output = ()> + Send + 'static>(work: impl Fn() -> F) {
    while tokio::spawn(work()).await.is_err() {
        tokio::time::sleep(crate::limits::DUTY_AGAIN).await;
    }
}

fn router(site: Arc<Site>) -> Router {
    let api = Router::new()
        .route("/pool", get(pool::pool))
        .route("/pool/history", get(history::of_pool))
        .route("/servers", get(servers::servers))
        .route("/round", get(round::round))
        .route("/blocks", get(round::blocks))
        .route("/accounts", get(accounts::accounts))
        .route("/accounts/{name}", get(accounts::account))
        .route("/accounts/{name}/history", get(history::of_account))
        .route("/workers", get(accounts::workers))
        .route("/payouts", get(payouts::payouts))
        .route("/refusals", get(refusals::refusals))
        .layer(axum::middleware::from_fn_with_state(
            site.clone(),
            answer::remember,
        ))
        .route("/events", get(events::events))
        .route("/openapi.json", get(openapi::document));
    let api = match site.operator {
        Some(_) => api.nest("/admin", admin::routes(&site)),
        None => api,
    };
    pages::routes()
        .nest("/api/v1", api)
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(pool::health))
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::only_get)
        .layer(axum::middleware::from_fn_with_state(
            Public::of(site.public_host.as_deref(), &site.host_names),
            host_guard::guard,
        ))
        .with_state(site)
}

/// Accepts connections in an endless loop.
pub(crate) async fn accept(
    listener: &tokio::net::TcpListener,
    router: &Router,
    conns: &Arc<Conns>,
) {
    loop {
        let Ok((socket, peer)) = listener.accept().await else {
            // Most likely there are no descriptors left; wait until some are closed.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let Some(place) = conns.enter(peer.ip()) else {
            continue;
        };
        let (router, id) = (router.clone(), place.id());
        let task = tokio::spawn(async move {
            // An error of a connection concerns only its client.
            let _ = serve(socket, router, Arc::new(place)).await;
        });
        conns.began(id, task.abort_handle());
    }
}

async fn serve(socket: TcpStream, router: Router, place: Arc<ConnPermit>) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let local = LocalAddress(socket.local_addr()?);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(local);
        let mut busy = place.busy();
        let answering = router.clone().call(request);
        async move {
            let Some(answer) = within(HTTP_REQUEST, answering).await else {
                return Ok(ApiError::busy("this took too long").into_response());
            };
            let answer = answer.unwrap_or_else(|never| match never {});
            if events::is_stream(&answer) {
                busy.stay();
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let conn = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_HEAD)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .max_headers(HTTP_HEADERS_MAX)
        .serve_connection(TokioIo::new(socket), service);
    let mut conn = pin!(conn);
    if let Some(done) = within(HTTP_CONN, conn.as_mut()).await {
        return Ok(done?);
    }
    conn.as_mut().graceful_shutdown();
    if let Some(done) = within(HTTP_CONN_END, conn).await {
        done?;
    }
    Ok(())
}

async fn within<T>(time: std::time::Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time, work).await.ok()
}
