//! Status of this server in the shared ledger, and of the other servers, for other threads.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hstratum_core::units::Height;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::origin::OwnOrigin;
use super::settings_comparison::ServerSettings;
use crate::limits::{ALIVE_MS, SHARED_SILENT};
use crate::store::shipper_exchange::ShipperExchange;
use crate::store::unproven_workers::RefusedSubmits;

/// Status shared between threads.
#[derive(Debug)]
pub struct ClusterStatus {
    reading: Mutex<ClusterReading>,
    /// Exchange with the ledger's thread, which knows the last sealed batch.
    shipper_exchange: OnceLock<Arc<ShipperExchange>>,
}

/// The status at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterReading {
    /// State of the connection.
    pub link: ClusterLink,
    /// Time since which it is in that state.
    pub since: Instant,
    /// This server's row in the shared ledger; `None` before both sides were compared.
    pub own: Option<OwnOrigin>,
    /// Number of comparisons so far: data cached before the latest one is invalid.
    pub generation: u64,
    /// Height up to which all blocks of this server are there.
    pub brought: Option<Height>,
    /// Another live server has our name.
    pub is_twin: bool,
    /// Settings in which other live servers differ from this one, a line each.
    pub differences: Vec<String>,
    /// Batches not known to be there.
    pub behind: i64,
    /// Bytes of them.
    pub backlog: u64,
    /// The backlog is so large that nothing more is sealed.
    pub is_full: bool,
    /// Seconds since the oldest of them was sealed; 0 if there is none.
    pub lag_s: u64,
    /// Batches shipped since the start.
    pub batches: u64,
    /// Rows in the batches shipped since the start.
    pub rows: u64,
    /// The last batch known to be there; 0: not known.
    pub at: i64,
    /// Time when the shared ledger last answered the shipper, which asks it once a second.
    pub heard_at: Instant,
    /// All servers seen in the last day, as recorded in the shared ledger, including this one.
    pub servers: Vec<Member>,
}

/// State of the connection to the shared ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterLink {
    /// Not connected yet.
    Starting,
    /// Connected.
    Up,
    /// Not connected, for this reason; it is retried and expected to come back.
    Away(String),
    /// Refused, for this reason, which somebody has to fix.
    Refused(String),
}

impl ClusterLink {
    /// Name of the state in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Away(_) => "away",
            Self::Refused(_) => "refused",
        }
    }
}

/// A server of the pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its number in the shared ledger.
    pub origin: i64,
    /// Its name; untrusted text.
    pub label: String,
    /// Milliseconds since its last heartbeat.
    pub silent_ms: i64,
    /// Height of its node's tip.
    pub tip: Option<i64>,
    /// Height up to which all its shares are in the shared ledger.
    pub shipped_tip: Option<i64>,
    /// Sequence number of its last batch.
    pub sequence: i64,
    /// It is to drain.
    pub is_draining: bool,
    /// Its own report.
    pub report: ServerReport,
}

impl Member {
    /// True if its last heartbeat is recent.
    pub fn is_alive(&self) -> bool {
        self.silent_ms < ALIVE_MS
    }
}

/// Report of a server about itself, for the others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerReport {
    /// The program's version.
    pub version: String,
    /// Settings that it should have in common with the others.
    #[serde(alias = "terms")]
    pub settings: ServerSettings,
    /// Hashes per second, from the shares of the last minutes.
    pub hashrate: f64,
    /// Connections of miners.
    pub connections: u64,
    /// Workers that are logged in.
    pub workers: u64,
    /// Accounts of these workers.
    pub accounts: u64,
    /// Height of the current job; `None` before the first job.
    pub height: Option<u32>,
    /// Miners have a job on the node's tip.
    pub has_job: bool,
    /// Batches that are not in the shared ledger yet.
    pub behind: i64,
    /// Shares accepted since its start.
    pub accepted: u64,
    /// Statistics of workers that never had a share accepted, which the ledger does not keep.
    pub refused: Vec<RefusedSubmits>,
}

impl ClusterReading {
    /// JSON for an operator.
    pub fn to_json(&self) -> String {
        let servers = self.servers.iter().map(|one| {
            json!({
                "name": one.label,
                "alive": one.is_alive(),
                "silent": one.silent_ms / 1000,
                "height": one.tip,
                "shippedheight": one.shipped_tip,
                "behind": one.report.behind,
                "draining": one.is_draining,
            })
        });
        let reason = match &self.link {
            ClusterLink::Away(reason) | ClusterLink::Refused(reason) => Some(reason),
            ClusterLink::Starting | ClusterLink::Up => None,
        };
        json!({
            "state": self.link.name(),
            "reason": reason,
            "seconds": self.since.elapsed().as_secs(),
            "behind": self.behind,
            "bytes": self.backlog,
            "lag": self.lag_s,
            "servers": servers.collect::<Vec<_>>(),
            "differences": self.differences,
        })
        .to_string()
    }
}

impl Default for ClusterStatus {
    fn default() -> Self {
        Self {
            reading: Mutex::new(ClusterReading {
                link: ClusterLink::Starting,
                since: Instant::now(),
                own: None,
                generation: 0,
                brought: None,
                is_twin: false,
                differences: Vec::new(),
                behind: 0,
                backlog: 0,
                is_full: false,
                lag_s: 0,
                batches: 0,
                rows: 0,
                at: 0,
                heard_at: Instant::now(),
                servers: Vec::new(),
            }),
            shipper_exchange: OnceLock::new(),
        }
    }
}

impl ClusterStatus {
    /// The status as last reported by the shipper.
    pub fn read(&self) -> ClusterReading {
        self.reading.lock().clone()
    }

    /// This server's row there, and the number of comparisons.
    pub(crate) fn own(&self) -> (Option<OwnOrigin>, u64) {
        let reading = self.reading.lock();
        (reading.own, reading.generation)
    }

    /// The status now. While the database keeps the shipper waiting, at a lock for instance, the shipper
    /// reports nothing; then this is derived from the length of its silence and from what was sealed
    /// meanwhile.
    pub fn look(&self) -> ClusterReading {
        let head = self
            .shipper_exchange
            .get()
            .and_then(|shipper_exchange| shipper_exchange.head());
        self.look_at(head.map(|head| (head.last.sequence, head.backlog)))
    }

    /// `sealed` is the last batch, and the bytes of all not known to be there.
    fn look_at(&self, sealed: Option<(i64, u64)>) -> ClusterReading {
        let mut reading = self.read();
        let silent = reading.heard_at.elapsed();
        if reading.link == ClusterLink::Up && silent > SHARED_SILENT {
            let silent_s = silent.as_secs();
            reading.link = ClusterLink::Away(format!("it has not answered for {silent_s} s"));
            reading.since = reading.heard_at;
            if let Some((last, backlog)) = sealed.filter(|_| reading.own.is_some()) {
                reading.behind = reading.behind.max(last - reading.at);
                reading.backlog = reading.backlog.max(backlog);
            }
            if reading.behind > 0 {
                reading.lag_s = reading.lag_s.max(silent_s);
            }
        }
        reading
    }

    pub(super) fn watch(&self, shipper_exchange: &Arc<ShipperExchange>) {
        // Only the first call has an effect: there is one dock.
        let _ = self.shipper_exchange.set(shipper_exchange.clone());
    }

    /// Records that the shared ledger has answered.
    pub(super) fn heard(&self) {
        self.update(|reading| reading.heard_at = Instant::now());
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut ClusterReading)) {
        change(&mut self.reading.lock());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn silence_of_the_database_is_shown_while_the_shipper_waits() {
        let cluster_status = ClusterStatus::default();
        cluster_status.update(|reading| {
            reading.link = ClusterLink::Up;
            reading.at = 7;
            reading.own = Some(OwnOrigin {
                origin: [1; 16],
                number: 1,
            });
        });
        assert_eq!(
            cluster_status.look_at(Some((9, 50))).link,
            ClusterLink::Up,
            "it has just answered"
        );
        let long = SHARED_SILENT + Duration::from_secs(2);
        cluster_status.update(|reading| reading.heard_at -= long);
        let now = cluster_status.look_at(Some((9, 50)));
        assert!(matches!(now.link, ClusterLink::Away(_)), "{now:?}");
        assert_eq!(
            (now.behind, now.backlog, now.lag_s),
            (2, 50, long.as_secs())
        );
        assert_eq!(
            cluster_status.read().link,
            ClusterLink::Up,
            "the shipper's word is as it was"
        );
        cluster_status.heard();
        assert_eq!(cluster_status.look_at(Some((9, 50))).link, ClusterLink::Up);
    }
}
