//! Watches the pool and its ledger, and tells what has changed to every page that is open.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use hstratum_core::event::LedgerState;

use super::answer::{ApiError, Problem};
use super::events::ApiEvent;
use super::ledger_queries::read_blocks;
use super::ledger_reader::LedgerReader;
use super::pool::ApiPool;
use super::privacy::{is_cut, without_operation};
use super::site::Site;
use super::viewer::Viewer;
use crate::config::Dashboard;
use crate::telemetry::live::{Silent, Snapshot};

/// How often pages are told how the pool is.
const BEAT: Duration = Duration::from_secs(1);

/// Server-sent events: `event` for each of what happened lately and happens from now on, `pool`
/// each second with what `/api/v1/pool` gives.
#[utoipa::path(get, path = "/api/v1/events", tag = "pool", responses(
    (status = 200, content_type = "text/event-stream", body = ApiEvent),
    (status = 503, body = Problem)))]
pub(crate) async fn events(
    State(site): State<Arc<Site>>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Response, ApiError> {
    site.events.answer(&viewer, is_cut(&site, &viewer))
}

/// Watches and tells, for as long as the server runs.
pub(crate) async fn run(site: Arc<Site>) {
    let mut watch = StateWatch::default();
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let now = site.live.look().await;
        for event in watch.compare(now.as_deref()) {
            site.events.tell(event);
        }
        let notices = site.alarm_feed.take().into_iter();
        for event in notices.filter_map(ApiEvent::of_alarm) {
            site.events.tell(event);
        }
        if site.events.is_heard()
            && let Ok((now, workers)) = site.live.look_at_workers().await
        {
            let online = site.online().await;
            let pool = ApiPool::of(&site, &now, &workers, online, None);
            let pool = pool.with_money(&site, site.money().await);
            let cut = (site.dashboard == Dashboard::Private).then(|| {
                let mut cut = serde_json::to_value(&pool).expect("plain data is JSON");
                without_operation(&mut cut);
                cut
            });
            site.events.tell_pool(&pool, cut.as_ref());
        }
    }
}

/// Watches what is in the ledger: apart, since a shared one may not answer for a while.
pub(crate) async fn watch_ledger(site: Arc<Site>) {
    let Some(reader) = &site.reader else { return };
    let mut blocks = BlockStates::default();
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        blocks.compare(&site, reader).await;
        if reader.is_shared() {
            site.pool_servers.refresh(reader, site.own_number()).await;
        }
    }
}

/// What was seen last.
#[derive(Default)]
struct StateWatch {
    state: Option<PoolState>,
}

/// States of the latest blocks, by hash; none before the first look.
#[derive(Default)]
struct BlockStates(Option<HashMap<String, String>>);

#[derive(Clone, Copy, PartialEq, Eq)]
struct PoolState {
    answers: bool,
    has_job: bool,
    ledger: LedgerState,
}

impl StateWatch {
    fn compare(&mut self, now: Result<&Snapshot, &Silent>) -> Vec<ApiEvent> {
        let before = self.state;
        let seen = match now {
            Ok(now) => PoolState {
                answers: true,
                has_job: now.is_healthy(),
                ledger: now.view.ledger,
            },
            Err(Silent) => PoolState {
                answers: false,
                ..before.unwrap_or(PoolState {
                    answers: false,
                    has_job: false,
                    ledger: LedgerState::Open,
                })
            },
        };
        self.state = Some(seen);
        let Some(before) = before else {
            return Vec::new();
        };
        let mut happenings = Vec::new();
        if before.answers && !seen.answers {
            happenings.push(ApiEvent::new("silent", None));
        }
        if before.has_job != seen.has_job {
            let reason = now.ok().and_then(|now| now.view.no_template.clone());
            let kind = if seen.has_job { "job" } else { "no_job" };
            happenings.push(ApiEvent::new(kind, reason));
        }
        if before.ledger != seen.ledger {
            let kind = match seen.ledger {
                LedgerState::Open => "ledger_open",
                LedgerState::Failing => "ledger_failing",
            };
            happenings.push(ApiEvent::new(kind, None));
        }
        happenings
    }
}

impl BlockStates {
    /// Tells of blocks whose state has changed. The first time of the latest ones, as they are.
    async fn compare(&mut self, site: &Site, reader: &LedgerReader) {
        let shown = site.blocks_shown(reader);
        let latest = reader.read(move |sql| {
            let order = "ORDER BY changed_at DESC, height DESC LIMIT 30";
            read_blocks(sql, order, &[], &shown)
        });
        // What cannot be read now is read later.
        let Ok(latest) = latest.await else { return };
        let known = self.0.get_or_insert_default();
        for block in latest.iter().rev() {
            if known.get(&block.hash) != Some(&block.state) {
                let event = ApiEvent::of_block(block);
                site.events.tell(event);
            }
        }
        *known = latest
            .into_iter()
            .map(|block| (block.hash, block.state))
            .collect();
    }
}
