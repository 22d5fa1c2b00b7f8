//! Log of the shared ledger's status: a line for each change of state.

use std::time::Instant;

use hstratum_core::event::Level;
use hstratum_core::plural::counted;

use super::cluster_status::{ClusterLink, ClusterStatus};
use crate::cluster::shipping::shipper::is_away;
use crate::limits::BEHIND_BATCHES;
use crate::node::Node;
use crate::sql::url::PostgresUrl;

/// States that were logged last.
pub(super) struct StatusLog<'a> {
    node: &'a dyn Node,
    cluster_status: &'a ClusterStatus,
    link: ClusterLink,
    since: Instant,
    is_behind: bool,
    is_twin: bool,
    is_apart: bool,
    differences: Vec<String>,
}

impl<'a> StatusLog<'a> {
    pub(super) fn new(node: &'a dyn Node, cluster_status: &'a ClusterStatus) -> Self {
        Self {
            node,
            cluster_status,
            link: ClusterLink::Starting,
            since: Instant::now(),
            is_behind: false,
            is_twin: false,
            is_apart: false,
            differences: Vec::new(),
        }
    }

    /// Both sides have been compared, and shipping begins.
    pub(super) fn up(&mut self, address: &PostgresUrl, label: &str, behind: i64) {
        let text = match self.link {
            ClusterLink::Up => return,
            ClusterLink::Starting => format!("shared ledger: {address}, as {label:?}"),
            ClusterLink::Away(_) | ClusterLink::Refused(_) => format!(
                "the shared ledger is back after {} s; to be sent: {}",
                self.since.elapsed().as_secs(),
                counted(behind, "batch")
            ),
        };
        self.node.log(Level::Info, &text);
        self.is_behind = behind >= BEHIND_BATCHES;
        self.set(ClusterLink::Up);
    }

    /// Everything that was sealed is shipped.
    pub(super) fn caught_up(&mut self) {
        if std::mem::take(&mut self.is_behind) {
            let text = "all shares are in the shared ledger again";
            self.node.log(Level::Info, text);
        }
    }

    /// The work on the connection has failed.
    pub(super) fn down(&mut self, error: &anyhow::Error) {
        let reason = format!("{error:#}");
        let link = if is_away(error) {
            ClusterLink::Away(reason)
        } else {
            ClusterLink::Refused(reason)
        };
        let is_new = match (&self.link, &link) {
            // The reason changes with each attempt, but not what the operator can do about it.
            (ClusterLink::Away(_), ClusterLink::Away(_)) => false,
            (before, now) => before != now,
        };
        if !is_new {
            return;
        }
        match &link {
            ClusterLink::Refused(reason) => {
                let text = format!(
                    "the shared ledger does not take our shares: {reason}; mining goes on, and they \
                     wait in ledger.db"
                );
                self.node.log(Level::Error, &text);
            }
            ClusterLink::Away(reason) => {
                let text = format!(
                    "the shared ledger is away: {reason}; mining goes on, and shares wait in \
                     ledger.db"
                );
                self.node.log(Level::Warning, &text);
            }
            ClusterLink::Starting | ClusterLink::Up => {}
        }
        self.set(link);
    }

    fn set(&mut self, link: ClusterLink) {
        let was_down = matches!(self.link, ClusterLink::Away(_) | ClusterLink::Refused(_));
        let is_down = matches!(link, ClusterLink::Away(_) | ClusterLink::Refused(_));
        if !(was_down && is_down) {
            self.since = Instant::now();
        }
        self.link = link.clone();
        let since = self.since;
        self.cluster_status.update(|reading| {
            reading.link = link;
            reading.since = since;
            reading.heard_at = Instant::now();
        });
    }

    /// Batches left unshipped at the stop.
    pub(super) fn left(&self, behind: i64) {
        if behind > 0 {
            let text = format!(
                "{} of shares not in the shared ledger yet: sent after the next start",
                counted(behind, "batch")
            );
            self.node.log(Level::Warning, &text);
        }
    }

    /// The file was recognized as an older copy.
    pub(super) fn parted(&self, new: i64) {
        let text = format!(
            "ledger.db is an older copy of a file whose later shares are in the shared ledger: from \
             here on it counts as another one, with {new} batches that are new there"
        );
        self.node.log(Level::Warning, &text);
    }

    /// The shared ledger is not the one that we wrote to last.
    pub(super) fn put_back(&self, again: i64) {
        let text = format!(
            "the shared ledger is not as this server left it: it was put back from a copy, it seems; \
             {again} batches of shares that it had are shipped again, and found blocks are brought again"
        );
        self.node.log(Level::Warning, &text);
    }

    /// The shared ledger has lost batches that the file no longer has.
    pub(super) fn missing(&self, first: i64, last: i64) {
        let text = format!(
            "THE SHARED LEDGER HAS LOST SHARES: it lacks batches {first} to {last} of this server, \
             and they are no longer in ledger.db; put a later backup in its place if there is one \
             (docs/operating.md)"
        );
        self.node.log(Level::Error, &text);
    }

    /// Another live server has our name, or no longer does.
    pub(super) fn twin(&mut self, is_there: bool, label: &str) {
        if is_there && !self.is_twin {
            let text = format!(
                "another server with the server-id {label:?} is alive: give each one of its own"
            );
            self.node.log(Level::Warning, &text);
        }
        if self.is_twin != is_there {
            self.cluster_status
                .update(|reading| reading.is_twin = is_there);
        }
        self.is_twin = is_there;
    }

    /// Settings in which other servers differ from this one: each is logged when it appears, and the end of
    /// all.
    pub(super) fn differ(&mut self, lines: Vec<String>) {
        if lines == self.differences {
            return;
        }
        for line in lines.iter().filter(|line| !self.differences.contains(line)) {
            let text = format!("servers of this pool differ: {line}");
            self.node.log(Level::Warning, &text);
        }
        if lines.is_empty() {
            self.node
                .log(Level::Info, "servers of this pool agree again");
        }
        self.differences.clone_from(&lines);
        self.cluster_status
            .update(|reading| reading.differences = lines);
    }

    /// Milliseconds by which the database's clock is ahead of ours.
    pub(super) fn apart(&mut self, ahead_ms: i64, is_far: bool) {
        if is_far && !self.is_apart {
            let seconds = ahead_ms / 1000;
            let text = format!(
                "the database's clock and this machine's are {seconds} s apart: statistics of \
                 several servers do not fit together until that is mended"
            );
            self.node.log(Level::Warning, &text);
        }
        self.is_apart = is_far;
    }
}
