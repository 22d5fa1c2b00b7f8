//! Bugs that are planted to show that the checks find such. They are in the simulator's own layers;
//! nothing of the product knows of them.

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
}

impl Plant {
    /// Every one, with its name.
    pub const ALL: [(&str, Self); 8] = [
        ("reply-before-sync", Self::ReplyBeforeSync),
        ("duplicate-after-resume", Self::DuplicateAfterResume),
        ("lost-block", Self::LostBlock),
        ("round-closed-twice", Self::RoundClosedTwice),
        ("group-counted-twice", Self::GroupCountedTwice),
        ("torn-commit", Self::TornCommit),
        ("window-off-by-one", Self::WindowOffByOne),
        ("forgotten-end", Self::ForgottenEnd),
    ];
}
