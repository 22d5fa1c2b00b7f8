//! What an alarm is: its kind, how much that matters, and what is said.

use std::sync::Arc;

use crate::units::{Hash, Height};

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Something may be lost.
    Warning,
    /// Something is being lost.
    Error,
}

impl Severity {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What is told about. Its name is part of what others rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is its name")]
pub enum Kind {
    BlockFound,
    BlockAccepted,
    BlockConfirmed,
    BlockOrphaned,
    BlockRefused,
    NoJob,
    NoPeers,
    JobAgain,
    NodeOverdue,
    NodeBack,
    LedgerStalled,
    LedgerFailing,
    LedgerHealed,
    NodeBehind,
    NodeCaughtUp,
    LedgerLogLarge,
    LedgerLogSmall,
    SharedLedgerAway,
    SharedLedgerBack,
    ServerIdTwice,
    DutyLate,
    DutyDone,
    HashrateDrop,
    HashrateBack,
    WorkersGone,
    WorkersBack,
    ConnectionsRefused,
    ConnectionsTaken,
    PoolFailed,
    Stopping,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 30] = [
        Self::BlockFound,
        Self::BlockAccepted,
        Self::BlockConfirmed,
        Self::BlockOrphaned,
        Self::BlockRefused,
        Self::NoJob,
        Self::NoPeers,
        Self::JobAgain,
        Self::NodeOverdue,
        Self::NodeBack,
        Self::LedgerStalled,
        Self::LedgerFailing,
        Self::LedgerHealed,
        Self::NodeBehind,
        Self::NodeCaughtUp,
        Self::LedgerLogLarge,
        Self::LedgerLogSmall,
        Self::SharedLedgerAway,
        Self::SharedLedgerBack,
        Self::ServerIdTwice,
        Self::DutyLate,
        Self::DutyDone,
        Self::HashrateDrop,
        Self::HashrateBack,
        Self::WorkersGone,
        Self::WorkersBack,
        Self::ConnectionsRefused,
        Self::ConnectionsTaken,
        Self::PoolFailed,
        Self::Stopping,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::BlockFound => "block_found",
            Self::BlockAccepted => "block_accepted",
            Self::BlockConfirmed => "block_confirmed",
            Self::BlockOrphaned => "block_orphaned",
            Self::BlockRefused => "block_refused",
            Self::NoJob => "no_job",
            Self::NoPeers => "no_peers",
            Self::JobAgain => "job_again",
            Self::NodeOverdue => "node_overdue",
            Self::NodeBack => "node_back",
            Self::LedgerStalled => "ledger_stalled",
            Self::LedgerFailing => "ledger_failing",
            Self::LedgerHealed => "ledger_healed",
            Self::NodeBehind => "node_behind",
            Self::NodeCaughtUp => "node_caught_up",
            Self::LedgerLogLarge => "ledger_log_large",
            Self::LedgerLogSmall => "ledger_log_small",
            Self::SharedLedgerAway => "shared_ledger_away",
            Self::SharedLedgerBack => "shared_ledger_back",
            Self::ServerIdTwice => "server_id_twice",
            Self::DutyLate => "duty_late",
            Self::DutyDone => "duty_done",
            Self::HashrateDrop => "hashrate_drop",
            Self::HashrateBack => "hashrate_back",
            Self::WorkersGone => "workers_gone",
            Self::WorkersBack => "workers_back",
            Self::ConnectionsRefused => "connections_refused",
            Self::ConnectionsTaken => "connections_taken",
            Self::PoolFailed => "pool_failed",
            Self::Stopping => "stopping",
        }
    }

    /// How much it matters.
    pub fn severity(self) -> Severity {
        match self {
            Self::BlockFound
            | Self::BlockAccepted
            | Self::BlockConfirmed
            | Self::JobAgain
            | Self::NodeBack
            | Self::LedgerHealed
            | Self::NodeCaughtUp
            | Self::LedgerLogSmall
            | Self::SharedLedgerBack
            | Self::DutyDone
            | Self::HashrateBack
            | Self::WorkersBack
            | Self::ConnectionsTaken
            | Self::Stopping => Severity::Info,
            Self::BlockOrphaned
            | Self::ServerIdTwice
            | Self::NodeOverdue
            | Self::NodeBehind
            | Self::LedgerStalled
            | Self::LedgerLogLarge
            | Self::SharedLedgerAway
            | Self::HashrateDrop
            | Self::WorkersGone
            | Self::ConnectionsRefused => Severity::Warning,
            Self::BlockRefused
            | Self::NoJob
            | Self::NoPeers
            | Self::LedgerFailing
            | Self::DutyLate
            | Self::PoolFailed => Severity::Error,
        }
    }

    /// Whether the pool or the ledger has a log line of its own for it.
    pub fn is_logged_elsewhere(self) -> bool {
        !matches!(
            self,
            Self::DutyLate
                | Self::DutyDone
                | Self::HashrateDrop
                | Self::HashrateBack
                | Self::WorkersGone
                | Self::WorkersBack
                | Self::NodeOverdue
                | Self::NodeBack
                | Self::LedgerLogLarge
                | Self::LedgerLogSmall
                | Self::ConnectionsRefused
                | Self::ConnectionsTaken
        )
    }
}

/// What an operator is to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// What it is about.
    pub kind: Kind,
    /// In words.
    pub text: String,
    /// In numbers.
    pub detail: Detail,
}

/// An alarm's numbers and names.
#[derive(Debug, Clone, PartialEq)]
pub enum Detail {
    /// None.
    None,
    /// Why.
    Reason(String),
    /// Which block.
    Block {
        /// Its hash.
        hash: Hash,
        /// Its height, where it is known.
        height: Option<Height>,
        /// Whose share it was, where it is known.
        account: Option<Arc<str>>,
        /// Why it was refused.
        reason: Option<String>,
    },
    /// How fast the pool is and was, in hashes a second.
    Hashrate {
        /// In the last ten minutes.
        now: f64,
        /// In the half hour before them, or when it fell.
        before: f64,
    },
    /// How many workers, and the first few.
    Workers {
        /// All of them.
        count: usize,
        /// Some of them.
        names: Vec<String>,
    },
}
