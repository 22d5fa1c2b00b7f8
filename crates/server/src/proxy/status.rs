//! Snapshots of a proxy's state: the loop publishes them, and readers take copies.

use std::time::Instant;

use hstratum_core::accounts::refused_logins::{RefusalReason, RefusedAddress};
use hstratum_core::occupancy::Occupancy;
use hstratum_core::proxy::{BackendDrain, BackendStatus, ProxyCounts};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::unix_s;
use crate::http::events::Events;
use crate::http::refusals::ApiRefusal;
use crate::limits::LIVE_ANSWER;
use crate::telemetry::histogram::Histogram;

/// State of a proxy.
#[derive(Clone)]
pub(super) struct ProxyStatus {
    pub servers: Vec<BackendStatus>,
    pub miners: usize,
    /// Occupancy of its sockets.
    pub door: Occupancy,
    /// Counters since the rules began.
    pub counts: ProxyCounts,
    /// Logins that servers refused, by address, and their number by reason.
    pub refused: Vec<RefusedAddress>,
    pub refused_logins: [u64; RefusalReason::ALL.len()],
    /// Number of panics of the rules.
    pub failures: u64,
    /// Times that moved miners were without a job, since the process began.
    pub jobless: Histogram,
    pub at: Instant,
}

impl ProxyStatus {
    pub(super) fn json(&self) -> Value {
        let servers = self.servers.iter().map(|server| {
            json!({
                "name": server.name,
                "state": server.state,
                "reason": server.reason,
                "drained": server.drain == BackendDrain::Out,
                "height": server.height,
                "miners": server.miners,
            })
        });
        let counts = self.counts;
        json!({
            "servers": servers.collect::<Vec<_>>(),
            "miners": self.miners,
            "shares": {
                "accepted": counts.accepted,
                "refused": counts.refused,
                "refused_stale": counts.refused_stale,
                "refused_in_flight": counts.refused_in_flight,
            },
            "moves": {"server_lost": counts.moved_lost, "server_left": counts.moved_alive},
            "extranonces_changed": counts.extra_nonces_changed,
            "reset": counts.reset,
            "refused_logins": self.refused_logins.iter().sum::<u64>(),
            "refusals": self.refused.iter().map(ApiRefusal::of).collect::<Vec<_>>(),
            "places": {
                "all": self.door.places,
                "taken": self.door.taken,
                "silent": self.door.silent,
                "not_logged_in": self.door.strangers,
                "unproven": self.door.unproven,
                "descriptors_left": self.door.descriptors_left,
                "refused_full": self.door.refused_full,
                "refused_per_address": self.door.refused_address,
                "refused_descriptors": self.door.refused_descriptors,
                "gave_way": self.door.gave_way,
                "gave_way_unproven": self.door.gave_way_unproven,
            },
            "failures": self.failures,
        })
    }

    /// Reason why miners cannot be served, if so.
    pub(super) fn trouble(&self) -> Option<&'static str> {
        let mut servers = self.servers.iter();
        let is_there = servers.any(|server| matches!(server.state, "up" | "unfit"));
        (!is_there).then_some("no server is up")
    }
}

/// An event.
#[derive(Clone, Serialize)]
pub(super) struct ProxyNotice {
    /// Number of the event, counting from the proxy's start.
    id: u64,
    /// Unix seconds.
    time: u64,
    /// A server's new state, `drained` or `filled`; `moved`; `failed`.
    kind: &'static str,
    server: Option<String>,
    reason: Option<&'static str>,
    /// Number of miners on the server, of miners that have lost it, or of miners that have moved.
    miners: Option<u64>,
    /// Times that moved miners were without a job.
    jobless_ms: Option<Jobless>,
}

/// Milliseconds without a job.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Jobless {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

impl Jobless {
    /// Of these, which are sorted; None of none.
    pub(super) fn of(times_ms: &mut [u64]) -> Option<Self> {
        times_ms.sort_unstable();
        let len = times_ms.len();
        let at_percent = |percent: usize| times_ms[(len * percent).div_ceil(100) - 1];
        (len > 0).then(|| Self {
            p50: at_percent(50),
            p99: at_percent(99),
            max: at_percent(100),
        })
    }
}

impl ProxyNotice {
    pub(super) fn new(kind: &'static str) -> Self {
        Self {
            id: 0,
            time: unix_s(),
            kind,
            server: None,
            reason: None,
            miners: None,
            jobless_ms: None,
        }
    }

    pub(super) fn moved(miners: u64, jobless: Jobless) -> Self {
        Self {
            miners: Some(miners),
            jobless_ms: Some(jobless),
            ..Self::new("moved")
        }
    }

    fn of_server(kind: &'static str, server: &BackendStatus) -> Self {
        Self {
            server: Some(server.name.clone()),
            reason: server.reason,
            miners: Some(match server.state {
                // Miners that were on it.
                "down" => server.lost,
                _ => server.miners,
            } as u64),
            ..Self::new(kind)
        }
    }
}

/// The last snapshot, and the stream of events.
#[derive(Default)]
pub(super) struct StatusWindow {
    latest: Mutex<Option<ProxyStatus>>,
    pub events: Events,
}

impl StatusWindow {
    /// Publishes the state, and sends events for servers whose state has changed.
    pub(super) fn show(&self, now: ProxyStatus) {
        let mut latest = self.latest.lock();
        let before = latest.as_ref().map_or(&[][..], |latest| &latest.servers);
        for (place, server) in now.servers.iter().enumerate() {
            let before = before.get(place);
            if before.map_or("starting", |before| before.state) != server.state {
                self.tell(&ProxyNotice::of_server(server.state, server));
            }
            if before.map_or(BackendDrain::In, |before| before.drain) != server.drain {
                let kind = match server.drain {
                    BackendDrain::Out => "drained",
                    BackendDrain::In => "filled",
                };
                self.tell(&ProxyNotice::of_server(kind, server));
            }
        }
        *latest = Some(now);
    }

    pub(super) fn tell(&self, happening: &ProxyNotice) {
        self.events.happened(|id| ProxyNotice {
            id,
            ..happening.clone()
        });
    }

    /// The last snapshot; `None` if the loop publishes none any more, which means trouble.
    pub(super) fn look(&self) -> Option<ProxyStatus> {
        let latest = self.latest.lock();
        latest
            .clone()
            .filter(|latest| latest.at.elapsed() < LIVE_ANSWER)
    }
}
