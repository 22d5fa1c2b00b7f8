//! Conditions that an operator must know of, as they hold now, each with what to do; and the last alarms.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use hstratum_core::alarm::{AlarmKind, Severity};
use hstratum_core::limits::LEDGER_LOG_LARGE;
use hstratum_core::operator_order::{Order, OrderOutcome};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{ApiResult, NoParams, Problem};
use super::orders;
use super::pool::ApiPool;
use super::site::Site;
use crate::alarm_delivery::Notice;

/// A condition that holds now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Condition)]
struct ApiCondition {
    /// The `event` of its alarm; else `draining`, `payout_paused`, `payout_waits`, `wallet_trouble`, `settings_differ` or
    /// `extra_node_away`.
    kind: &'static str,
    /// `info`, `warning` or `error`.
    severity: &'static str,
    /// What is so, and why. Untrusted text.
    reason: String,
    /// What to do, with the heading in the documents that says more.
    advice: &'static str,
}

/// An alarm that was raised.
#[derive(Serialize, ToSchema)]
#[schema(as = RaisedAlarm)]
struct ApiAlarm {
    /// Unix seconds.
    time: u64,
    /// As in a webhook's `event`.
    kind: &'static str,
    /// `info`, `warning` or `error`.
    severity: &'static str,
    /// Untrusted text.
    text: String,
}

/// The conditions that hold now, and the last alarms of this server.
#[derive(Serialize, ToSchema)]
#[schema(as = Alarms)]
pub(super) struct ApiAlarms {
    /// The gravest first.
    conditions: Vec<ApiCondition>,
    /// Since the server started, newest first, at most 50.
    alarms: Vec<ApiAlarm>,
}

impl From<Notice> for ApiAlarm {
    fn from(notice: Notice) -> Self {
        Self {
            time: notice.at,
            kind: notice.kind.name(),
            severity: notice.kind.severity().name(),
            text: notice.text,
        }
    }
}

/// The conditions that hold now on this server, with what to do about each, and its last alarms.
#[utoipa::path(get, path = "/api/v1/admin/alarms", tag = "admin", responses(
    (status = 200, body = ApiAlarms), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn alarms(State(site): State<Arc<Site>>, _: NoParams) -> ApiResult<ApiAlarms> {
    let (now, workers) = site.live.look_at_workers().await?;
    let pool = ApiPool::of(&site, &now, &workers, None, None);
    let pool = pool.with_money(&site, site.money().await);
    let cluster = site.statuses.cluster.as_ref();
    let is_twin = cluster.is_some_and(|cluster| cluster.look().is_twin);
    let log_bytes = site.statuses.ledger.wal_bytes();
    let recent = site.alarm_feed.recent().into_iter();
    let mut conditions = conditions(&pool, is_twin, log_bytes);
    of_orders(&site, &mut conditions).await;
    sort(&mut conditions);
    Ok(Json(ApiAlarms {
        conditions,
        alarms: recent.map(ApiAlarm::from).collect(),
    }))
}

/// All that the pool's state tells.
fn conditions(pool: &ApiPool, is_twin: bool, log_bytes: u64) -> Vec<ApiCondition> {
    let mut found = Vec::new();
    of_node(pool, &mut found);
    of_ledger(pool, log_bytes, &mut found);
    of_servers(pool, is_twin, &mut found);
    of_payouts(pool, &mut found);
    found
}

/// What the operator has ordered and may have forgotten. What does not answer is not told here.
async fn of_orders(site: &Site, found: &mut Vec<ApiCondition>) {
    if let Ok(OrderOutcome::Info(info)) = orders::ask(&site.orders, Order::Info).await
        && info.is_draining
    {
        let advice = "No miner is taken before the drain ends: on the console, or by drainstratum stop of the \
                      node's RPC. See docs/operating.md, \"Calls of the node's RPC\".";
        let reason = "the server drains, as ordered";
        found.push(condition("draining", Severity::Warning, reason, advice));
    }
    let Some(operator) = site.operator.as_ref() else {
        return;
    };
    if found.iter().any(|one| one.kind == PAUSED) {
        return;
    }
    let payouts = operator.payouts.clone();
    if let Ok(Ok(report)) = orders::wait(&operator.places, move || payouts.report()).await
        && report.paused_at.is_some()
    {
        found.push(paused(report.reason.unwrap_or_default()));
    }
}

/// The name of the condition of paused payouts.
const PAUSED: &str = "payout_paused";

fn paused(reason: impl Into<String>) -> ApiCondition {
    let advice = "Nobody is paid before they are resumed: on the console, by hstratum payout resume, or by \
                  stratumpayout resume of the node's RPC. See docs/operating.md, \"Payments by the server\".";
    condition(PAUSED, Severity::Warning, reason, advice)
}

/// The gravest first.
fn sort(found: &mut [ApiCondition]) {
    found.sort_by_key(|one| match one.severity {
        "error" => 0,
        "warning" => 1,
        _ => 2,
    });
}

/// A condition that has an alarm.
fn alarm(kind: AlarmKind, reason: impl Into<String>, advice: &'static str) -> ApiCondition {
    condition(kind.name(), kind.severity(), reason, advice)
}

fn condition(
    kind: &'static str,
    severity: Severity,
    reason: impl Into<String>,
    advice: &'static str,
) -> ApiCondition {
    ApiCondition {
        kind,
        severity: severity.name(),
        reason: reason.into(),
        advice,
    }
}

fn of_node(pool: &ApiPool, found: &mut Vec<ApiCondition>) {
    if !pool.has_job {
        let reason = pool.no_job_reason.as_deref();
        found.push(match reason {
            Some(reason @ "no peers") => alarm(
                AlarmKind::NoPeers,
                reason,
                "Look at the node's connection and firewall; --nodes=HOST names a peer. Miners return by \
                 themselves. See docs/operating.md, \"Recovery by case\".",
            ),
            _ => alarm(
                AlarmKind::NoJob,
                reason.unwrap_or("the node has not given one yet"),
                "See what the node waits for: its chain, its peers, a coinbase-address. hstratum doctor \
                 names it. See docs/operating.md, \"Recovery by case\".",
            ),
        });
    }
    if let Some(reason) = &pool.block_path_broken {
        let advice = "Start the node again: the next drill comes with its first job. If that fails too, send \
                      miners to another server. See docs/operating.md, \"Drills of the path of a found \
                      block\".";
        found.push(alarm(AlarmKind::BlockPathBroken, reason, advice));
    }
    if let Some(reason) = &pool.template_invalid {
        let advice = "Miners get what is valid, so there is no hurry. If it lasts for more than a minute, run \
                      the node without other plugins and start it again. See docs/operating.md, \"Templates \
                      that would be refused\".";
        found.push(alarm(AlarmKind::TemplateInvalid, reason, advice));
    }
    if let Some(reason) = &pool.node_overdue {
        let advice = "See what holds the node: another plugin, a lock, a slow disk. If it does not end by \
                      itself, start the node again. See docs/operating.md, \"Alarms\".";
        found.push(alarm(AlarmKind::NodeOverdue, reason, advice));
    }
    if let Some(reason) = &pool.node_behind {
        let advice = "Wait until the node has caught up: no block is judged and nobody is paid meanwhile. See \
                      docs/ledger.md, \"What a node's word is worth\".";
        found.push(alarm(AlarmKind::NodeBehind, reason, advice));
    }
    for node in pool.extra_nodes.iter().filter(|node| !node.is_connected) {
        let advice = "Found blocks reach it later, from other nodes: look at that node, its port for peers \
                      and the network. See docs/operating.md, \"Races\".";
        let reason = match node.reason.as_str() {
            "" => format!("{} is not connected yet", node.address),
            reason => format!("{}: {reason}", node.address),
        };
        found.push(condition("extra_node_away", Severity::Info, reason, advice));
    }
}

fn of_ledger(pool: &ApiPool, log_bytes: u64, found: &mut Vec<ApiCondition>) {
    if let Some(reason) = &pool.ledger_failing {
        let advice = "Make room on the disk, or mend it: shares are taken again by themselves. Do not stop \
                      the node before. See docs/operating.md, \"Recovery by case\".";
        found.push(alarm(AlarmKind::LedgerFailing, reason, advice));
    }
    if pool.ledger_stalled {
        let advice = "End the other process that writes to the ledger: fuser -v ledger.db names it. See \
                      docs/operating.md, \"Recovery by case\".";
        let reason = "another process writes to the ledger, and shares wait";
        found.push(alarm(AlarmKind::LedgerStalled, reason, advice));
    }
    if log_bytes >= LEDGER_LOG_LARGE {
        let advice = "End the process that reads the ledger all the time: fuser -v ledger.db names it. See \
                      docs/operating.md, \"Alarms\".";
        let reason = format!("ledger.db-wal has {} MiB", log_bytes >> 20);
        found.push(alarm(AlarmKind::LedgerLogLarge, reason, advice));
    }
    if !pool.undone.is_empty() {
        let advice = "See the log for what keeps it: a full disk, the shared ledger, a bug. It is done as \
                      soon as it can be. See docs/operating.md, \"Alarms\".";
        found.push(alarm(AlarmKind::DutyLate, pool.undone.join(", "), advice));
    }
    if pool.places.is_crowded {
        let advice = "Raise max-inbound, or bound with a firewall what one address may connect; proxies \
                      belong into proxy-protocol. See docs/operating.md, \"Strangers\".";
        let reason = "connections found no place within the last minute";
        found.push(alarm(AlarmKind::ConnectionsRefused, reason, advice));
    }
}

fn of_servers(pool: &ApiPool, is_twin: bool, found: &mut Vec<ApiCondition>) {
    if let Some(reason) = &pool.shared_ledger_away {
        let advice = "Mining goes on, and shares wait in the file. See that the database runs and can be \
                      reached. See docs/operating.md, \"Several servers, one pool\".";
        found.push(alarm(AlarmKind::SharedLedgerAway, reason, advice));
    }
    if is_twin {
        let advice = "Give one of the two another server-id, and start it again. See docs/operating.md, \
                      \"Several servers, one pool\".";
        let reason = "another server that is alive has this server's server-id";
        found.push(alarm(AlarmKind::ServerIdTwice, reason, advice));
    }
    for reason in &pool.differences {
        let advice = "Give all servers the same, and start those again that had another. See \
                      docs/operating.md, \"Several servers, one pool\".";
        found.push(condition(
            "settings_differ",
            Severity::Warning,
            reason,
            advice,
        ));
    }
}

fn of_payouts(pool: &ApiPool, found: &mut Vec<ApiCondition>) {
    let reason = pool.payouts.payout_reason.clone().unwrap_or_default();
    match pool.payouts.payout_state {
        "failed" => {
            let advice = "Remove the obstacle that the reason names: nothing is lost, and it is tried again \
                          every minute. See docs/ledger.md, \"Sending\".";
            found.push(alarm(AlarmKind::PayoutFailed, reason, advice));
        }
        "waits" => {
            let advice = "It passes by itself once the reason has. See docs/operating.md, \"Payments by the server\".";
            found.push(condition("payout_waits", Severity::Info, reason, advice));
        }
        "paused" => {
            found.push(paused(reason));
        }
        _ => {}
    }
    let wallet = pool.payouts.wallet.as_ref();
    if let Some((wallet, trouble)) = wallet.and_then(|one| Some((one, one.trouble.as_ref()?))) {
        let advice = "See the wallet payout-wallet, its passphrase, its coins and the address that blocks \
                      pay. See docs/operating.md, \"Payments by the server\".";
        let reason = format!("{}: {trouble}", wallet.name);
        found.push(condition(
            "wallet_trouble",
            Severity::Warning,
            reason,
            advice,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Advice names a page and its heading as `See docs/PAGE.md, "HEADING".` at its end.
    #[test]
    fn advice_names_a_heading_that_is_there() {
        let source = include_str!("conditions.rs");
        let code = source.split("#[cfg(test)]").next().expect("it is above");
        let words: Vec<&str> = code
            .split_whitespace()
            .filter(|word| *word != "\\")
            .collect();
        let text = words.join(" ");
        let mut count = 0;
        for (page, lines) in [
            ("operating", include_str!("../../../../docs/operating.md")),
            ("ledger", include_str!("../../../../docs/ledger.md")),
        ] {
            for rest in text.split(&format!("See docs/{page}.md, \\\"")).skip(1) {
                let heading = rest.split("\\\"").next().expect("its end");
                let found = lines
                    .lines()
                    .any(|line| line.trim_start_matches('#') == format!(" {heading}"));
                assert!(found, "{page}.md has no heading {heading:?}");
                count += 1;
            }
        }
        assert_eq!(count, 20, "one for each condition");
    }

    #[test]
    fn the_gravest_condition_comes_first() {
        let mut found = vec![
            condition("payout_waits", Severity::Info, "", ""),
            alarm(AlarmKind::NodeOverdue, "", ""),
            alarm(AlarmKind::DutyLate, "", ""),
        ];
        sort(&mut found);
        let severities: Vec<_> = found.iter().map(|one| one.severity).collect();
        assert_eq!(severities, ["error", "warning", "info"]);
    }
}
