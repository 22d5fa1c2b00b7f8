//! An alarm: its kind, its severity, its text and its data.

use std::sync::Arc;

use crate::units::{Hash, Height};

/// The severity of an alarm.
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
    /// The name in the API and in webhooks.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The kind of an alarm. Its name is part of the API and of webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is its name")]
pub enum AlarmKind {
    BlockFound,
    BlockAccepted,
    BlockConfirmed,
    BlockOrphaned,
    BlockRefused,
    BlockUnjudged,
    NoJob,
    NoPeers,
    JobAgain,
    TemplateInvalid,
    TemplateValid,
    BlockPathBroken,
    BlockPathWorks,
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
    PayoutSent,
    PayoutFailed,
    PoolFailed,
    Stopping,
}

impl AlarmKind {
    /// Every kind.
    pub const ALL: [Self; 37] = [
        Self::BlockFound,
        Self::BlockAccepted,
        Self::BlockConfirmed,
        Self::BlockOrphaned,
        Self::BlockRefused,
        Self::BlockUnjudged,
        Self::NoJob,
        Self::NoPeers,
        Self::JobAgain,
        Self::TemplateInvalid,
        Self::TemplateValid,
        Self::BlockPathBroken,
        Self::BlockPathWorks,
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
        Self::PayoutSent,
        Self::PayoutFailed,
        Self::PoolFailed,
        Self::Stopping,
    ];

    /// The name in the API and in webhooks.
    pub fn name(self) -> &'static str {
        match self {
            Self::BlockFound => "block_found",
            Self::BlockAccepted => "block_accepted",
            Self::BlockConfirmed => "block_confirmed",
            Self::BlockOrphaned => "block_orphaned",
            Self::BlockRefused => "block_refused",
            Self::BlockUnjudged => "block_unjudged",
            Self::NoJob => "no_job",
            Self::NoPeers => "no_peers",
            Self::JobAgain => "job_again",
            Self::TemplateInvalid => "template_invalid",
            Self::TemplateValid => "template_valid",
            Self::BlockPathBroken => "block_path_broken",
            Self::BlockPathWorks => "block_path_works",
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
            Self::PayoutSent => "payout_sent",
            Self::PayoutFailed => "payout_failed",
            Self::PoolFailed => "pool_failed",
            Self::Stopping => "stopping",
        }
    }

    /// The severity of this kind.
    pub fn severity(self) -> Severity {
        match self {
            Self::BlockFound
            | Self::BlockAccepted
            | Self::BlockConfirmed
            | Self::JobAgain
            | Self::TemplateValid
            | Self::BlockPathWorks
            | Self::NodeBack
            | Self::LedgerHealed
            | Self::NodeCaughtUp
            | Self::LedgerLogSmall
            | Self::SharedLedgerBack
            | Self::DutyDone
            | Self::HashrateBack
            | Self::WorkersBack
            | Self::ConnectionsTaken
            | Self::PayoutSent
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
            | Self::BlockUnjudged
            | Self::NoJob
            | Self::NoPeers
            | Self::TemplateInvalid
            | Self::BlockPathBroken
            | Self::LedgerFailing
            | Self::DutyLate
            | Self::PayoutFailed
            | Self::PoolFailed => Severity::Error,
        }
    }

    /// True if the pool or the ledger writes a log line of its own for it.
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
                | Self::PayoutFailed
        )
    }
}

/// A message to the operator.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// The kind.
    pub kind: AlarmKind,
    /// The text.
    pub text: String,
    /// The data.
    pub detail: Detail,
}

/// The data of an alarm.
#[derive(Debug, Clone, PartialEq)]
pub enum Detail {
    /// No data.
    None,
    /// The reason.
    Reason(String),
    /// A block.
    Block {
        /// Its hash.
        hash: Hash,
        /// Its height, if known.
        height: Option<Height>,
        /// The account whose share it was, if known.
        account: Option<Arc<str>>,
        /// The reason of its refusal.
        reason: Option<String>,
    },
    /// The hashrate now and before, in hashes per second.
    Hashrate {
        /// In the last ten minutes.
        now: f64,
        /// In the half hour before them, or before the fall.
        before: f64,
    },
    /// Workers.
    Workers {
        /// Count of all.
        count: usize,
        /// Names of the first [`ALARM_NAMES_MAX`](crate::limits::ALARM_NAMES_MAX).
        names: Vec<String>,
    },
}

/// An alarm that its text says in full.
pub(super) fn plain(kind: AlarmKind, text: String) -> Alarm {
    Alarm {
        kind,
        text,
        detail: Detail::None,
    }
}
