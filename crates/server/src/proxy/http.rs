//! HTTP of a proxy: status, events, metrics. It runs on a thread of its own and reads the loop's snapshots;
//! nothing waits for it. Access is checked as in a server.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hstratum_core::accounts::refused_logins::RefusalReason;
use hstratum_core::proxy::BackendDrain;
use serde_json::{Value, json};
use socket2::SockRef;

use crate::http::answer::{self, ApiError, ApiResult};
use crate::http::host_guard::{self, Public};
use crate::http::metrics::{of_door, refusals};
use crate::http::prometheus::MetricsText;
use crate::http::refusals::by_reason;
use crate::http::viewer::Viewer;
use crate::proxy::status::{ProxyStatus, StatusWindow};
use crate::stderr;

/// State shared by all requests.
struct ProxySite {
    status_window: Arc<StatusWindow>,
    started: Instant,
}

/// Binds the socket, or uses that of another process.
///
/// # Errors
/// When the address cannot be bound.
pub(super) fn bind(
    address: SocketAddr,
    inherited: &mut Vec<OwnedFd>,
) -> anyhow::Result<TcpListener> {
    let is_it = |fd: &OwnedFd| {
        let own = SockRef::from(fd).local_addr();
        own.is_ok_and(|own| own.as_socket() == Some(address))
    };
    let listener = match inherited.iter().position(is_it) {
        Some(at) => TcpListener::from(inherited.swap_remove(at)),
        None => TcpListener::bind(address)
            .with_context(|| format!("failed to listen on {address} (http)"))?,
    };
    listener.set_nonblocking(true)?;
    stderr::line("info", format!("status on http://{address}/api/v1/status"));
    Ok(listener)
}

/// Serves as long as the process runs. A failure is logged and affects nothing else.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn start(
    listener: TcpListener,
    status_window: Arc<StatusWindow>,
    public: Public,
) -> anyhow::Result<()> {
    let site = Arc::new(ProxySite {
        status_window,
        started: Instant::now(),
    });
    thread::Builder::new()
        .name("hstratum-http".to_owned())
        .spawn(move || {
            let served = catch_unwind(AssertUnwindSafe(|| serve(listener, site, public)));
            let reason = match served {
                Ok(Ok(())) => return,
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => "a bug".to_owned(),
            };
            stderr::line("error", format!("HTTP has failed and is gone: {reason}"));
        })
        .context("failed to start the thread hstratum-http")?;
    Ok(())
}

fn serve(listener: TcpListener, site: Arc<ProxySite>, public: Public) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        crate::http::accept(&listener, &router(site, public), &Arc::default()).await;
        Ok(())
    })
}

fn router(site: Arc<ProxySite>, public: Public) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/api/v1/status", get(status))
        .route("/api/v1/events", get(events))
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::only_get)
        .layer(axum::middleware::from_fn_with_state(
            public,
            host_guard::guard,
        ))
        .with_state(site)
}

impl ProxySite {
    fn look(&self) -> Result<ProxyStatus, ApiError> {
        let proxy_status = self.status_window.look();
        proxy_status.ok_or_else(|| ApiError::busy("the proxy does not answer"))
    }
}

async fn status(State(site): State<Arc<ProxySite>>) -> ApiResult<Value> {
    Ok(Json(site.look()?.json()))
}

async fn events(State(site): State<Arc<ProxySite>>) -> Result<Response, ApiError> {
    site.status_window.events.answer(&Viewer::Nobody, false)
}

async fn health(State(site): State<Arc<ProxySite>>) -> Result<Response, ApiError> {
    let trouble = site.look()?.trouble();
    let code = match trouble {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = json!({"status": trouble.unwrap_or("ok")});
    Ok((code, Json(body)).into_response())
}

async fn metrics(State(site): State<Arc<ProxySite>>) -> Result<MetricsText, ApiError> {
    let proxy_status = site.look()?;
    let mut page = MetricsText::default();
    let info = [("version", env!("CARGO_PKG_VERSION"))];
    let name = "hstratum_proxy_info";
    page.begin(name, "gauge", "What is running; always 1.");
    page.line(name, &info, 1);
    let uptime_s = site.started.elapsed().as_secs_f64();
    let help = "Time since the start.";
    page.gauge("hstratum_proxy_uptime_seconds", help, uptime_s);
    let help = "Miners that are connected.";
    page.gauge("hstratum_proxy_miners", help, proxy_status.miners);
    of_door(
        &mut page,
        "hstratum_proxy",
        &proxy_status.door,
        &refusals(&proxy_status.door, None),
    );
    of_servers(&mut page, &proxy_status);
    of_work(&mut page, &proxy_status);
    Ok(page)
}

fn of_servers(page: &mut MetricsText, proxy_status: &ProxyStatus) {
    let mut each = |name: &str, help: &str, value: fn(&BackendGauge) -> Option<u64>| {
        page.begin(name, "gauge", help);
        for server in &proxy_status.servers {
            if let Some(value) = value(server) {
                page.line(name, &[("server", &server.name)], value);
            }
        }
    };
    let help = "1 while the server takes miners, as far as it is concerned, else 0.";
    each("hstratum_proxy_server_up", help, |server| {
        Some(u64::from(server.state == "up"))
    });
    let help = "1 while the operator has taken the server out, else 0.";
    each("hstratum_proxy_server_drained", help, |server| {
        Some(u64::from(server.drain == BackendDrain::Out))
    });
    let help = "Miners on the server.";
    each("hstratum_proxy_server_miners", help, |server| {
        Some(server.miners as u64)
    });
    let help = "The height that the server mines at.";
    each("hstratum_proxy_server_height", help, |server| {
        server.height.map(u64::from)
    });
}

type BackendGauge = hstratum_core::proxy::BackendStatus;

fn of_work(page: &mut MetricsText, proxy_status: &ProxyStatus) {
    let counts = proxy_status.counts;
    let name = "hstratum_proxy_shares_total";
    let help = "Shares by what came of them; the last two were refused by the proxy itself.";
    page.begin(name, "counter", help);
    for (outcome, count) in [
        ("accepted", counts.accepted),
        ("refused", counts.refused),
        ("refused_stale", counts.refused_stale),
        ("refused_in_flight", counts.refused_in_flight),
    ] {
        page.line(name, &[("outcome", outcome)], count);
    }
    let name = "hstratum_proxy_logins_refused_total";
    page.begin(name, "counter", "Logins that were refused, by reason.");
    for (reason, count) in by_reason(proxy_status.refused_logins) {
        if count > 0 || reason == RefusalReason::Server.name() {
            page.line(name, &[("reason", reason)], count);
        }
    }
    let name = "hstratum_proxy_moves_total";
    page.begin(name, "counter", "Miners moved to another server.");
    page.line(name, &[("from", "lost")], counts.moved_lost);
    page.line(name, &[("from", "alive")], counts.moved_alive);
    let help = "How long miners that moved had no job.";
    page.histogram(
        "hstratum_proxy_jobless_seconds",
        help,
        &proxy_status.jobless,
    );
    let help = "Miners that were told another extranonce1.";
    let changed = counts.extra_nonces_changed;
    page.counter("hstratum_proxy_extranonces_changed_total", help, changed);
    let help = "Miners reset because no server took them.";
    page.counter("hstratum_proxy_resets_total", help, counts.reset);
    let help = "Bugs that ended the rules; they began anew and miners reconnected.";
    page.counter("hstratum_proxy_failures_total", help, proxy_status.failures);
}
