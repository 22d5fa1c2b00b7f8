//! Metrics for Prometheus, in its text format.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hstratum_core::accounting::ledger::BlockState;
use hstratum_core::occupancy::Occupancy;
use hstratum_core::units::HASHES_PER_DIFFICULTY;
use hstratum_core::wire::message::Reject;

use super::answer::{ApiError, Problem};
use super::ledger_queries::count_blocks;
use super::pool::network_hashrate;
use super::prometheus::MetricsText;
use super::refusals::by_reason;
use super::site::Site;
use crate::cluster::cluster_status::{ClusterLink, ClusterReading};
use crate::limits::{HTTP_KEPT, HTTP_SOON};
use crate::telemetry::block_races::BLOCK_STEPS;
use crate::telemetry::chain_sync::SyncStatus;
use crate::telemetry::job_trace::JOB_STEPS;
use crate::telemetry::live::{Online, Snapshot};

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "monitoring", responses(
    (status = 200, content_type = "text/plain", body = String), (status = 503, body = Problem)))]
pub(crate) async fn metrics(State(site): State<Arc<Site>>) -> Result<Response, ApiError> {
    let (now, workers) = site.live.look_at_workers().await?;
    // If the ledger hangs, the other metrics are still given.
    let blocks = match &site.reader {
        None => Some((Arc::default(), Duration::ZERO)),
        Some(_) => {
            let counted =
                site.blocks_by_state
                    .get_with_age(site.background(), HTTP_KEPT, count_blocks);
            let counted = tokio::time::timeout(HTTP_SOON, counted).await;
            counted.ok().and_then(Result::ok)
        }
    };
    let mut page = MetricsText::default();
    of_pool(&mut page, &site, &now, Online::of(&workers).workers);
    of_shares(&mut page, &now);
    if let Some((blocks, age)) = blocks {
        let help = "Blocks that the pool found, by what became of them.";
        page.begin("hstratum_blocks", "gauge", help);
        for state in BlockState::ALL.map(BlockState::name) {
            let count = blocks.iter().find(|(name, _)| name == state);
            let count = count.map_or(0, |(_, count)| *count);
            page.line("hstratum_blocks", &[("state", state)], count);
        }
        let help = "How long ago the blocks were counted.";
        page.gauge("hstratum_blocks_age_seconds", help, age.as_secs_f64());
    }
    let (conns, refused, evicted) = site.conns.counts();
    let help = "Connections of HTTP.";
    page.gauge("hstratum_http_connections", help, conns);
    let help = "Connections of HTTP that were closed at once, since all others were answering.";
    page.counter("hstratum_http_refused_total", help, refused);
    let help = "Connections of HTTP that answered nothing and made room for others.";
    page.counter("hstratum_http_evicted_total", help, evicted);
    of_sync(&mut page, &site);
    of_times(&mut page, &site, &now);
    of_races(&mut page, &site);
    let name = "hstratum_duty_age_seconds";
    let help = "How long what a thread is there to do has been undone; 0: nothing is.";
    page.begin(name, "gauge", help);
    for (duty, age) in site.statuses.duties.ages() {
        page.line(name, &[("duty", duty)], age.as_secs_f64());
    }
    if let Some(shared) = &site.statuses.cluster {
        of_shared(&mut page, &shared.look());
    }
    Ok(page.into_response())
}

fn of_pool(page: &mut MetricsText, site: &Site, now: &Snapshot, workers: u64) {
    let info = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("network", site.network.name()),
    ];
    page.begin("hstratum_info", "gauge", "What is running; always 1.");
    page.line("hstratum_info", &info, 1);
    let uptime_s = site.started.elapsed().as_secs_f64();
    page.gauge("hstratum_uptime_seconds", "Time since the start.", uptime_s);
    let healthy = u8::from(now.is_healthy());
    page.gauge(
        "hstratum_job_fresh",
        "1 while miners have a job on the tip, else 0.",
        healthy,
    );
    if let Some(age) = now.template_age() {
        let help = "Time since the newest template came.";
        page.gauge("hstratum_template_age_seconds", help, age.as_secs_f64());
    }
    if let Some(job) = now.view.job {
        let difficulty = job.network_difficulty.get();
        page.gauge(
            "hstratum_height",
            "The height that miners work on.",
            job.height.0,
        );
        page.gauge(
            "hstratum_network_difficulty",
            "What a block takes.",
            difficulty,
        );
        let rate = network_hashrate(difficulty);
        let help = "Hashes a second of the network, from its difficulty.";
        page.gauge("hstratum_network_hashrate", help, rate);
    }
    let help = "Hashes a second of the pool, from the shares of the last minutes.";
    page.gauge("hstratum_hashrate", help, now.view.hashrate);
    page.gauge(
        "hstratum_connections",
        "Connections of miners.",
        now.connections(),
    );
    page.gauge(
        "hstratum_workers",
        "Users of connections that may have work.",
        workers,
    );
    let counts = now.view.counts;
    let help = "Connections that spoke.";
    page.counter("hstratum_connections_opened_total", help, counts.opened);
    let help = "Connections that spoke and have ended.";
    page.counter("hstratum_connections_closed_total", help, counts.closed);
    let refusals = refusals(&now.door, Some(counts.refused_banned));
    of_door(page, "hstratum", &now.door, &refusals);
    page.gauge(
        "hstratum_banned_addresses",
        "Addresses that are refused.",
        now.view.banned,
    );
    let name = "hstratum_logins_refused_total";
    page.begin(name, "counter", "Logins that were refused, by reason.");
    for (reason, count) in by_reason(now.view.refused_logins) {
        page.line(name, &[("reason", reason)], count);
    }
}

/// Refused connections by reason.
pub(crate) fn refusals(door: &Occupancy, banned: Option<u64>) -> Vec<(&'static str, u64)> {
    let mut refusals = vec![
        ("full", door.refused_full),
        ("per_address", door.refused_address),
        ("descriptors", door.refused_descriptors),
        ("gave_way", door.gave_way),
        ("gave_way_unproven", door.gave_way_unproven),
    ];
    refusals.extend(banned.map(|count| ("banned", count)));
    refusals
}

/// Occupancy of the sockets, of a server or a proxy.
pub(crate) fn of_door(
    page: &mut MetricsText,
    of: &str,
    door: &Occupancy,
    refusals: &[(&'static str, u64)],
) {
    let mut gauge = |name: &str, help, value: u64| page.gauge(&format!("{of}_{name}"), help, value);
    let help = "Connections that there may be.";
    gauge("connections_max", help, door.places as u64);
    let help = "Connections that there are, silent ones too.";
    gauge("connections_open", help, door.taken as u64);
    let help = "Connections that have said nothing yet.";
    gauge("connections_silent", help, door.silent as u64);
    let help = "Connections that have not logged in yet, silent ones too.";
    gauge("connections_not_logged_in", help, door.strangers as u64);
    let help = "Connections that have logged in and have no accepted share yet.";
    gauge("connections_unproven", help, door.unproven as u64);
    if let Some(left) = door.descriptors_left {
        gauge(
            "descriptors_left",
            "Descriptors that the process may still open.",
            left,
        );
    }
    let name = format!("{of}_connections_refused_total");
    let help = "Connections that were refused, or gave way to others before they had logged in.";
    page.begin(&name, "counter", help);
    for (reason, count) in refusals {
        page.line(&name, &[("reason", reason)], *count);
    }
}

fn of_shares(page: &mut MetricsText, now: &Snapshot) {
    let counts = now.view.counts;
    let name = "hstratum_shares_total";
    page.begin(name, "counter", "Submits, by what came of them.");
    page.line(name, &[("outcome", "accepted")], counts.accepted.count);
    for reject in Reject::ALL {
        if let Some(outcome) = reject.outcome() {
            let count = counts.rejected[reject as usize];
            page.line(name, &[("outcome", outcome)], count);
        }
    }
    let hashes = counts.accepted.difficulty * HASHES_PER_DIFFICULTY;
    let help = "Hashes that the accepted shares stand for.";
    page.counter("hstratum_hashes_total", help, hashes);
    let help = "Blocks offered to the node since the start.";
    page.counter("hstratum_blocks_found_total", help, counts.blocks);
}

/// Metrics of the node's download of the chain.
fn of_sync(page: &mut MetricsText, site: &Site) {
    let sync = site.statuses.node_reports.sync.read();
    let help = "1 while the node is not synchronized, else 0.";
    page.gauge("hstratum_node_syncing", help, u8::from(sync.is_some()));
    let Some(SyncStatus { report, .. }) = sync else {
        return;
    };
    let help = "The part of the chain that the node has, 0 to 1.";
    page.gauge("hstratum_node_sync_progress", help, report.progress);
    let help = "Height of the node's chain.";
    page.gauge("hstratum_node_sync_height", help, report.height);
    let help = "Time of its newest block, Unix seconds.";
    page.gauge("hstratum_node_sync_tip_seconds", help, report.tip_time);
    let help = "Peers that the node is connected to.";
    page.gauge("hstratum_node_sync_peers", help, report.peers);
}

fn of_times(page: &mut MetricsText, site: &Site, now: &Snapshot) {
    let help = "From an accepted share's record to its reply.";
    page.histogram("hstratum_reply_seconds", help, &now.replies);
    let help = "From a template's arrival until the last miner was told.";
    page.histogram("hstratum_notify_seconds", help, &now.fan_out);
    let jobs = &now.jobs;
    let help = "From the node's new tip until the first miner's job on it was written.";
    page.histogram("hstratum_tip_to_first_job_seconds", help, &jobs.first);
    let help = "From the node's new tip until the last miner's job on it was written.";
    page.histogram("hstratum_tip_to_last_job_seconds", help, &jobs.last);
    let name = "hstratum_tip_to_job_step_seconds";
    let help = "The steps from the node's new tip to the last miner's job on it.";
    page.steps(name, help, &JOB_STEPS, &jobs.steps);
    let status = site.statuses.ledger.read();
    let help = "How long the ledger's commits took.";
    page.histogram("hstratum_ledger_commit_seconds", help, &status.commits);
    let help = "1 while the ledger cannot be written and shares are refused, else 0.";
    let failing = u8::from(status.failing.is_some());
    page.gauge("hstratum_ledger_failing", help, failing);
    let help = "1 while another process holds the ledger and shares wait, else 0.";
    page.gauge("hstratum_ledger_stalled", help, u8::from(status.is_stalled));
    let help = "What waits in the ledger's log to be copied into its file.";
    page.gauge("hstratum_ledger_log_bytes", help, status.wal_bytes);
    let help = "1 while the node has not answered for too long, else 0.";
    let is_overdue = site.statuses.node_lag.overdue().is_some();
    page.gauge("hstratum_node_overdue", help, u8::from(is_overdue));
    let help = "1 while the node would refuse the block of its own template, else 0.";
    let is_invalid = site.statuses.node_lag.invalid().is_some();
    page.gauge("hstratum_template_invalid", help, u8::from(is_invalid));
    let help = "1 while a found block would be lost, by the last drill, else 0.";
    let is_broken = site.statuses.node_lag.block_path_broken().is_some();
    page.gauge("hstratum_block_path_broken", help, u8::from(is_broken));
    let help = "1 while the node knows less of the chain than the ledger was shown, else 0.";
    let is_behind = site.statuses.node_lag.behind().is_some();
    page.gauge("hstratum_node_behind", help, u8::from(is_behind));
    if let Some(lag) = site.statuses.node_lag.read() {
        let name = "hstratum_node_event_loop_lag_seconds";
        page.begin(
            name,
            "gauge",
            "How late the node's event loop was in the last ten seconds.",
        );
        for (quantile, value) in [("mean", lag.mean_s), ("p99", lag.p99_s), ("max", lag.max_s)] {
            page.line(name, &[("stat", quantile)], value);
        }
    }
}

/// Metrics of found blocks' way to the network, and of the nodes that they are to reach first.
fn of_races(page: &mut MetricsText, site: &Site) {
    let totals = site.live.races().totals();
    let help = "From a block's solution to its announcement.";
    page.histogram("hstratum_block_announced_seconds", help, &totals.announced);
    let help = "From a block's solution until the first peer asked for it.";
    page.histogram("hstratum_block_asked_seconds", help, &totals.asked);
    let help = "From the reading of a block's share until the first peer asked for the block.";
    page.histogram("hstratum_share_to_request_seconds", help, &totals.whole);
    let name = "hstratum_share_to_request_step_seconds";
    let help = "The steps from the reading of a block's share until the first peer asked.";
    page.steps(name, help, &BLOCK_STEPS, &totals.steps);
    let help = "Found blocks for which the node had another block of their height.";
    page.counter("hstratum_block_rivals_total", help, totals.rivals);
    if let Some((peers, asked)) = totals.last {
        let help = "Peers that the last found block was announced to.";
        page.gauge("hstratum_block_peers", help, peers);
        let help = "Of them, those that had asked for it a second later.";
        page.gauge("hstratum_block_peers_asked", help, asked);
    }
    let nodes = site.statuses.node_reports.extra_nodes();
    if !nodes.is_empty() {
        let name = "hstratum_extra_node_connected";
        let help = "1 while a node of extra-nodes is connected, else 0.";
        page.begin(name, "gauge", help);
        for node in &nodes {
            let is_connected = u8::from(node.is_connected);
            page.line(name, &[("node", &node.address)], is_connected);
        }
    }
}

/// Metrics of the ledger that several servers share.
fn of_shared(page: &mut MetricsText, reading: &ClusterReading) {
    let help = "1 while the shared ledger can be reached and takes shares, else 0.";
    let is_up = u8::from(reading.link == ClusterLink::Up);
    page.gauge("hstratum_shared_up", help, is_up);
    let help = "Batches of shares that wait for the shared ledger.";
    page.gauge("hstratum_shared_behind_batches", help, reading.behind);
    let help = "Bytes of them.";
    page.gauge("hstratum_shared_behind_bytes", help, reading.backlog);
    let help = "How long the oldest of them waits.";
    page.gauge("hstratum_shared_lag_seconds", help, reading.lag_s);
    let help = "Batches shipped since the start.";
    page.counter("hstratum_shared_batches_total", help, reading.batches);
    let help = "Rows in them.";
    page.counter("hstratum_shared_rows_total", help, reading.rows);
    let alive = reading.servers.iter().filter(|one| one.is_alive()).count();
    let help = "Servers that are alive, this one too.";
    page.gauge("hstratum_shared_servers", help, alive);
    let help = "1 while another server that is alive has this one's server-id, else 0.";
    let is_twin = u8::from(reading.is_twin);
    page.gauge("hstratum_shared_server_id_twice", help, is_twin);
}
