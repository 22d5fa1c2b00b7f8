//! HTTP: the dashboard, the API and metrics, on a thread and a runtime of their own. It reads the driver's
//! snapshots (`live`) and the ledger, and no other thread waits for it.
//!
//! Access is checked in `guard`. Every answer is made from one state of the pool and one of the ledger.

#![allow(unused_qualifications, reason = "what utoipa's macros write")]

mod accounts;
mod admin;
pub(crate) mod answer;
mod audit;
mod background;
mod cached_query;
pub(crate) mod challenges;
mod conditions;
mod conns;
mod console;
mod credits;
mod csv;
mod doctor;
mod estimates;
mod event_watch;
pub(crate) mod events;
mod history;
pub(crate) mod host_guard;
mod jobs;
mod keys;
pub(crate) mod known_keys;
mod last_day;
mod late_hours;
mod ledger_queries;
mod ledger_reader;
mod listeners;
mod log;
mod me;
mod me_alerts;
pub(crate) mod metrics;
mod newest_split;
mod openapi;
mod orders;
mod own_changes;
mod pages;
mod payer;
mod payout_plan;
mod payouts;
mod pool;
mod privacy;
pub(crate) mod prometheus;
pub(crate) mod refusals;
mod round;
mod server_list;
mod servers;
pub(crate) mod sessions;
mod sign_in;
mod site;
mod sorted_page;
mod splits;
mod users;
pub(crate) mod viewer;
mod work_history;
mod workers;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use hstratum_core::event::Level;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower_service::Service;

use self::answer::ApiError;
use self::conns::{ConnPermit, Conns};
pub(crate) use self::console::Console;
use self::host_guard::{LocalAddress, PeerAddress};
use self::privacy::{Shows, shown};
pub(crate) use self::site::{SignInParts, Site};
use crate::config::{Config, Dashboard, HTTP_PORT};
use crate::limits::{
    CODES_SENT_AT_ONCE, HTTP_BANS_MAX, HTTP_CHANGES_MAX, HTTP_CONN, HTTP_CONN_END, HTTP_HEAD,
    HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, HTTP_ORDERS_MAX, HTTP_QUERIES_MAX, HTTP_REQUEST,
    HTTP_STOP,
};
use crate::node::Node;

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
            if config.dashboard != Dashboard::Public && config.http_token.is_none() {
                let text = "the dashboard hides accounts from the operator too: without http-token there is nothing \
                            to sign in with";
                node.log(Level::Warning, text);
            }
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

/// Serves until the driver has stopped. A failure in here is logged and harms nobody else.
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
        // One thread for the background reader, one that sums up its results, one for estimates, and one for the
        // doctor.
        .max_blocking_threads(
            HTTP_QUERIES_MAX
                + HTTP_ORDERS_MAX
                + HTTP_BANS_MAX
                + HTTP_CHANGES_MAX
                + CODES_SENT_AT_ONCE
                + 4,
        )
        .build()
        .context("failed to start the runtime")?;
    let done = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let site = Arc::new(site);
        let router = router(site.clone());
        let (live, conns) = (site.live.clone(), site.conns.clone());
        let ledger_site = site.clone();
        tokio::spawn(keep(move || event_watch::watch_ledger(ledger_site.clone())));
        let keys_site = site.clone();
        tokio::spawn(keep(move || keys::watch(keys_site.clone())));
        tokio::spawn(keep(move || event_watch::run(site.clone())));
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

/// The paths that are answered from the cache, and what they show of accounts.
fn remembered_paths() -> [(&'static str, Shows, MethodRouter<Arc<Site>>); 16] {
    [
        ("/pool", Shows::Pool, get(pool::pool)),
        ("/listeners", Shows::Sums, get(listeners::listeners)),
        ("/pool/history", Shows::Sums, get(history::of_pool)),
        ("/servers", Shows::Operation, get(servers::servers)),
        ("/round", Shows::Blocks, get(round::round)),
        ("/records", Shows::Blocks, get(round::of_all_time)),
        ("/blocks", Shows::Blocks, get(round::blocks)),
        ("/blocks/{hash}", Shows::Blocks, get(splits::of_block)),
        ("/split", Shows::Accounts, get(splits::newest)),
        ("/accounts", Shows::Accounts, get(accounts::accounts)),
        (
            "/accounts/{name}",
            Shows::OneAccount,
            get(accounts::account),
        ),
        (
            "/accounts/{name}/history",
            Shows::OneAccount,
            get(history::of_account),
        ),
        (
            "/accounts/{name}/credits",
            Shows::OneAccount,
            get(credits::credits),
        ),
        ("/workers", Shows::Accounts, get(accounts::workers)),
        ("/payouts", Shows::Accounts, get(payouts::payouts)),
        ("/refusals", Shows::Refusals, get(refusals::refusals)),
    ]
}

fn router(site: Arc<Site>) -> Router {
    let mut api = Router::new();
    for (path, shows, methods) in remembered_paths() {
        api = api.route(path, shown(&site, shows, methods));
    }
    let api = api
        .layer(from_fn_with_state(site.answers.clone(), answer::remember))
        .route("/jobs/{id}", shown(&site, Shows::Job, get(jobs::job)))
        .route("/session", sign_in::route())
        .route("/session/challenge", post(sign_in::challenge))
        .nest("/me", me::routes())
        .route("/events", get(event_watch::events))
        .route("/openapi.json", get(openapi::document));
    let api = match site.operator {
        Some(_) => api.nest("/admin", admin::routes()),
        None => api,
    };
    pages::routes()
        .nest("/api/v1", api)
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(pool::health))
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::only_get)
        .layer(from_fn_with_state(site.clone(), sign_in::recognise))
        .layer(from_fn_with_state(site.public.clone(), host_guard::guard))
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
        let Some(permit) = conns.enter(peer.ip()) else {
            continue;
        };
        let (router, id) = (router.clone(), permit.id());
        let task = tokio::spawn(async move {
            // An error of a connection concerns only its client.
            let _ = serve(socket, router, Arc::new(permit)).await;
        });
        conns.began(id, task.abort_handle());
    }
}

async fn serve(socket: TcpStream, router: Router, permit: Arc<ConnPermit>) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let local = LocalAddress(socket.local_addr()?);
    let peer = PeerAddress(socket.peer_addr()?.ip());
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(local);
        request.extensions_mut().insert(peer);
        let mut busy = permit.busy();
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
