//! Bugs that are planted to show that the checks find such. They are in the simulator's own layers;
//! nothing of the product knows of them.

use crate::Scene;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// The pool is told that shares are durable when they are handed to the ledger.
    ReplyBeforeSync,
    /// On a connection that resumed its session, shares are taken again.
    DuplicateAfterResume,
    /// A block that comes soon after a new tip finds the way to the node full, and is dropped.
    LostBlock,
    /// A block that comes back to the main chain closes its round again.
    RoundClosedTwice,
    /// A batch that failed is offered again under another number.
    GroupCountedTwice,
    /// What the ledger keeps of a group can be torn by a crash.
    TornCommit,
    /// The window of PPLNS begins a height too low.
    WindowOffByOne,
    /// The end of a connection that resumed its session is not told.
    ForgottenEnd,
    /// What the pool tells of miners' work does not get to the ledger.
    LostTally,
    /// A user is said to be added and is in no file.
    ForgottenUser,
    /// The node's word on blocks counts whatever it knows of the chain.
    JudgedWithoutEvidence,
    /// The driver is told nothing of what the ledger was shown.
    JobWithoutEvidence,
    /// A proxy passes a share of a job of the server before to the new one.
    OldJobPassedOn,
    /// What a proxy answers for a server that is lost does not leave.
    DroppedAnswer,
    /// It says that the share counts.
    InventedAnswer,
    /// A proxy does not tell a miner of its new extranonce1.
    SilentExtraNonce,
    /// A miner that leaves its server loses its connection.
    DroppedMiner,
    /// A found block waits for the disk.
    BlockWaitsForDisk,
    /// A proxy lengthens lines that are as long as may be.
    LengthenedLine,
    /// One that refuses, since there was no server, goes on refusing.
    DeafProxy,
    /// One without a server goes on taking miners.
    HeldNewcomers,
    /// A proxy goes on with the address that a server's name had first.
    StaleAddress,
    /// A miner's difficulty is what it asks for.
    FloorIgnored,
}

impl Plant {
    /// Every one, with its name.
    pub const ALL: [(&str, Self); 23] = [
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
    ];

    /// What has to be run to find it.
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
