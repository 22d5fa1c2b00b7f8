//! How a server and the shared ledger do, for whoever asks from another thread.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use hstratum_core::units::Height;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::origin::Own;
use crate::limits::ALIVE_MS;

/// See the module.
#[derive(Debug)]
pub struct Standing {
    reading: Mutex<Reading>,
}

/// The standing at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Whether there is a connection.
    pub link: Link,
    /// Since when.
    pub since: Instant,
    /// This server in the shared ledger; none before both were compared.
    pub own: Option<Own>,
    /// Counts how often they were: what was remembered of it before is worth nothing.
    pub generation: u64,
    /// All blocks of this server that are at or below this height are there.
    pub brought: Option<Height>,
    /// Another server that is alive has our name.
    pub is_twin: bool,
    /// Batches that are not known to be there.
    pub behind: i64,
    /// Bytes of them.
    pub backlog: u64,
    /// So many that what is new is no longer sealed.
    pub is_full: bool,
    /// Seconds since the oldest of them was sealed; 0 where there is none.
    pub lag_s: u64,
    /// Batches shipped since the start.
    pub batches: u64,
    /// Rows of them.
    pub rows: u64,
    /// All servers of the last day, as the shared ledger has them, this one too.
    pub servers: Vec<Member>,
}

/// Whether there is a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Not yet.
    Starting,
    /// There is.
    Up,
    /// There is none, for this reason; it will be back by itself.
    Away(String),
    /// It does not take us, for this reason: somebody has to do something.
    Refused(String),
}

impl Link {
    /// In a word.
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
    /// Milliseconds since it said that it is alive.
    pub silent_ms: i64,
    /// Its node's height.
    pub tip: Option<i64>,
    /// Up to this height all its shares are in the shared ledger.
    pub shipped_tip: Option<i64>,
    /// Its last batch.
    pub sequence: i64,
    /// Miners are to leave it.
    pub is_draining: bool,
    /// How it does.
    pub report: Report,
}

impl Member {
    /// Whether it has said so lately.
    pub fn is_alive(&self) -> bool {
        self.silent_ms < ALIVE_MS
    }
}

/// What a server tells the others of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The program's version.
    pub version: String,
    /// Hashes a second, from the shares of the last minutes.
    pub hashrate: f64,
    /// Connections of miners.
    pub connections: u64,
    /// Workers that may have work.
    pub workers: u64,
    /// Their accounts.
    pub accounts: u64,
    /// The height that miners work on; none before the first job.
    pub height: Option<u32>,
    /// Whether miners have a job on the tip.
    pub has_job: bool,
    /// Batches that are not in the shared ledger yet.
    pub behind: i64,
    /// Shares accepted since its start.
    pub accepted: u64,
}

impl Reading {
    /// For an operator.
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
            Link::Away(reason) | Link::Refused(reason) => Some(reason),
            Link::Starting | Link::Up => None,
        };
        json!({
            "state": self.link.name(),
            "reason": reason,
            "seconds": self.since.elapsed().as_secs(),
            "behind": self.behind,
            "bytes": self.backlog,
            "lag": self.lag_s,
            "servers": servers.collect::<Vec<_>>(),
        })
        .to_string()
    }
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            reading: Mutex::new(Reading {
                link: Link::Starting,
                since: Instant::now(),
                own: None,
                generation: 0,
                brought: None,
                is_twin: false,
                behind: 0,
                backlog: 0,
                is_full: false,
                lag_s: 0,
                batches: 0,
                rows: 0,
                servers: Vec::new(),
            }),
        }
    }
}

impl Standing {
    /// How it is now.
    pub fn read(&self) -> Reading {
        self.lock().clone()
    }

    /// This server there, and how often both were compared.
    pub(crate) fn own(&self) -> (Option<Own>, u64) {
        let reading = self.lock();
        (reading.own, reading.generation)
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Reading)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.reading
            .lock()
            .expect("nothing panics while it is held")
    }
}
