//! How a server and the shared ledger do, for whoever asks from another thread.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use hstratum_core::units::Height;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::agreement::Terms;
use super::origin::Own;
use crate::limits::{ALIVE_MS, SHARED_SILENT};
use crate::store::dock::Dock;
use crate::store::unproven::Refused;

/// See the module.
#[derive(Debug)]
pub struct Standing {
    reading: Mutex<Reading>,
    /// What was sealed.
    dock: OnceLock<Arc<Dock>>,
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
    /// In what other servers that are alive differ from this one, a line each.
    pub differences: Vec<String>,
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
    /// The last batch that is known to be there; 0: not known.
    pub at: i64,
    /// When the shared ledger last answered the shipper, which asks it once a second.
    pub heard_at: Instant,
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
    /// What it should have in common with the others.
    pub terms: Terms,
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
    /// What came of workers that never had a share accepted: the ledger keeps nothing of them.
    pub refused: Vec<Refused>,
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
            "differences": self.differences,
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
            dock: OnceLock::new(),
        }
    }
}

impl Standing {
    /// How it was when the shipper last said something.
    pub fn read(&self) -> Reading {
        self.lock().clone()
    }

    /// This server there, and how often both were compared.
    pub(crate) fn own(&self) -> (Option<Own>, u64) {
        let reading = self.lock();
        (reading.own, reading.generation)
    }

    /// How it is now. The shipper says nothing while the database keeps it waiting, at a lock for
    /// instance: then this is what it would say, from how long it has been silent and what was sealed
    /// meanwhile.
    pub fn look(&self) -> Reading {
        let head = self.dock.get().and_then(|dock| dock.head());
        self.look_at(head.map(|head| (head.last.sequence, head.backlog)))
    }

    /// `sealed`: the last batch, and bytes of all that are not known to be there.
    fn look_at(&self, sealed: Option<(i64, u64)>) -> Reading {
        let mut reading = self.read();
        let silent = reading.heard_at.elapsed();
        if reading.link == Link::Up && silent > SHARED_SILENT {
            let silent_s = silent.as_secs();
            reading.link = Link::Away(format!("it has not answered for {silent_s} s"));
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

    pub(super) fn watch(&self, dock: &Arc<Dock>) {
        // Once for all: there is one dock.
        let _ = self.dock.set(dock.clone());
    }

    /// The shared ledger has answered.
    pub(super) fn heard(&self) {
        self.update(|reading| reading.heard_at = Instant::now());
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn silence_of_the_database_is_shown_while_the_shipper_waits() {
        let standing = Standing::default();
        standing.update(|reading| {
            reading.link = Link::Up;
            reading.at = 7;
            reading.own = Some(Own {
                origin: [1; 16],
                number: 1,
            });
        });
        assert_eq!(
            standing.look_at(Some((9, 50))).link,
            Link::Up,
            "it has just answered"
        );
        let long = SHARED_SILENT + Duration::from_secs(2);
        standing.update(|reading| reading.heard_at -= long);
        let now = standing.look_at(Some((9, 50)));
        assert!(matches!(now.link, Link::Away(_)), "{now:?}");
        assert_eq!(
            (now.behind, now.backlog, now.lag_s),
            (2, 50, long.as_secs())
        );
        assert_eq!(
            standing.read().link,
            Link::Up,
            "the shipper's word is as it was"
        );
        standing.heard();
        assert_eq!(standing.look_at(Some((9, 50))).link, Link::Up);
    }
}
