//! Injected bugs, which show that the checks find bugs of their kind. They are in the simulator's own
//! layers; the product's code does not know them.

use crate::Scene;

/// An injected bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InjectedBug {
    /// The pool is told that shares are durable when they are only handed to the ledger.
    ReplyBeforeSync,
    /// On a connection that resumed its session, duplicate shares are accepted.
    DuplicateAfterResume,
    /// A block found soon after a new tip is dropped on its way to the node.
    LostBlock,
    /// A block that returns to the main chain closes its round again.
    RoundClosedTwice,
    /// A batch that failed is committed again under another number.
    GroupCountedTwice,
    /// A crash can tear a group of shares in the ledger.
    TornCommit,
    /// The PPLNS window begins a height too low.
    WindowOffByOne,
    /// The pool is not told of the end of a connection that resumed its session.
    ForgottenEnd,
    /// Reports of submitted shares do not reach the ledger.
    LostTally,
    /// A user is reported as added, but is not written.
    ForgottenUser,
    /// The node's answers about blocks count even if it knows too little of the chain.
    JudgedWithoutEvidence,
    /// The driver is not told of the tip that the ledger was shown.
    JobWithoutEvidence,
    /// A proxy forwards a share for a job of the earlier server to the new one.
    OldJobPassedOn,
    /// A proxy's answers on behalf of a lost server are not sent.
    DroppedAnswer,
    /// A proxy answers that such a share was accepted.
    InventedAnswer,
    /// A proxy does not announce a new extranonce1 to its miner.
    SilentExtraNonce,
    /// A miner that leaves its server loses its own connection.
    DroppedMiner,
    /// A found block is offered only after it is on the disk.
    BlockWaitsForDisk,
    /// A proxy makes lines of the greatest length longer.
    LengthenedLine,
    /// A proxy that refuses miners because there was no server goes on refusing.
    DeafProxy,
    /// A proxy without a server goes on accepting miners.
    HeldNewcomers,
    /// A proxy keeps using the first address of a server's name.
    StaleAddress,
    /// A miner gets any difficulty that it requests, even below the minimum.
    FloorIgnored,
    /// The payout of a listener is not known to its connections.
    ForgottenPayout,
}

impl InjectedBug {
    /// Every bug with its name.
    pub const ALL: [(&str, Self); 24] = [
        ("reply-before-sync", Self::ReplyBeforeSync),
        ("duplicate-after-resume", Self::DuplicateAfterResume),
        ("lost-block", Self::LostBlock),
        ("round-closed-twice", Self::RoundClosedTwice),
        ("group-counted-twice", Self::GroupCountedTwice),
        ("torn-commit", Self::TornCommit),
        ("window-off-by-one", Self::WindowOffByOne),
        ("forgotten-end", Self::ForgottenEnd),
        ("lost-tally", Self::LostTally),
        ("forgotten-user", Self::ForgottenUser),
        ("judged-without-evidence", Self::JudgedWithoutEvidence),
        ("job-without-evidence", Self::JobWithoutEvidence),
        ("old-job-passed-on", Self::OldJobPassedOn),
        ("dropped-answer", Self::DroppedAnswer),
        ("invented-answer", Self::InventedAnswer),
        ("silent-extranonce", Self::SilentExtraNonce),
        ("dropped-miner", Self::DroppedMiner),
        ("block-waits-for-disk", Self::BlockWaitsForDisk),
        ("lengthened-line", Self::LengthenedLine),
        ("deaf-proxy", Self::DeafProxy),
        ("held-newcomers", Self::HeldNewcomers),
        ("stale-address", Self::StaleAddress),
        ("floor-ignored", Self::FloorIgnored),
        ("forgotten-payout", Self::ForgottenPayout),
    ];

    /// The set-up in which it can be found.
    #[must_use]
    pub fn scene(self) -> Scene {
        match self {
            Self::OldJobPassedOn
            | Self::DroppedAnswer
            | Self::InventedAnswer
            | Self::SilentExtraNonce
            | Self::DroppedMiner
            | Self::LengthenedLine
            | Self::DeafProxy
            | Self::HeldNewcomers
            | Self::StaleAddress => Scene::Proxy,
            _ => Scene::Server,
        }
    }
}
