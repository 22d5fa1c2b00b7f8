//! What the operator wants of a pool, and what comes of it: orders, their answers, and why one is refused.

use std::net::IpAddr;
use std::sync::Arc;

use crate::accounting::ledger::Tally;
use crate::accounts::ban::Ban;
use crate::accounts::password::StoredPassword;
use crate::accounts::refused_logins::{Reason, Refused};
use crate::occupancy::Door;
use crate::units::{Difficulty, Hash, Height};

/// Names an order to whoever waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderId(pub u64);

/// What the operator wants.
pub enum Order {
    /// A new user.
    AddUser(NewUser),
    /// Another password for a user; who is connected stays.
    SetPassword {
        /// Whose.
        name: String,
        /// In the clear.
        password: String,
    },
    /// A user is not to mine any more. It keeps its credit and its password.
    DisableUser(String),
    /// It may mine again.
    EnableUser(String),
    /// Refuse an address, and end its connections.
    Ban {
        /// Of IPv6, its /64 is meant.
        address: IpAddr,
        /// For how long; none: until it is unbanned.
        duration_s: Option<u64>,
        /// For the operator; may be empty.
        reason: String,
    },
    /// Take connections from an address again, whoever has banned it.
    Unban(IpAddr),
    /// Every address that is refused.
    ListBans,
    /// Take no more connections and move those there are away, spread over some time.
    Drain {
        /// Over how many seconds.
        over_s: u64,
    },
    /// Take connections again.
    Undrain,
    /// How the pool does.
    Info,
    /// Who is connected, in the order of names.
    ListWorkers {
        /// Of this account; none: of all.
        account: Option<String>,
        /// At most so many, and [`WORKERS_LISTED_MAX`](crate::limits::WORKERS_LISTED_MAX).
        count: usize,
        /// After so many.
        from: usize,
    },
}

/// What comes of an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It is so, and durable.
    Done,
    /// The addresses that are refused.
    Bans(Vec<Ban>),
    /// How the pool does.
    Info(Box<Info>),
    /// Workers, and how many there are in all.
    Workers(Vec<WorkerInfo>, usize),
}

/// Why an order is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not a name as miners can send it.
    InvalidName,
    /// Not a password as miners can send it.
    InvalidPassword,
    /// Nothing of this network that can be paid.
    InvalidAddress,
    /// A user of the name is there.
    UserExists,
    /// No user of the name is there.
    NoSuchUser,
    /// The admin, whose password is an option.
    AdminIsOption,
    /// The user is on its way to disk.
    UserBusy,
    /// The user could not be written to disk.
    UserNotStored,
    /// Another server has changed the user just before.
    UserChanged,
    /// Users are in a ledger that servers share, and it is away.
    LedgerAway,
    /// The reason is too long, or has control characters.
    InvalidReason,
    /// So many addresses are banned that there is no room.
    TooManyBans,
    /// Nothing speaks against the address.
    NotBanned,
    /// The ban could not be written to disk.
    BanNotStored,
    /// The ledger that servers share is away, and has the ban later.
    BanNotShared,
    /// A drain would take too long.
    DrainTooLong,
}

/// What kind of failure a [`Refusal`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The order is malformed.
    Malformed,
    /// It does not fit what is there.
    State,
    /// The disk refuses.
    Disk,
}

impl Refusal {
    /// For the operator.
    pub fn text(self) -> &'static str {
        match self {
            Self::InvalidName => {
                "not an account name: expected 1 to 128 bytes without control characters"
            }
            Self::InvalidPassword => {
                "not a password: expected 1 to 256 bytes without control characters, and not d= or fd= \
                 with a number"
            }
            Self::InvalidAddress => "not a payable address of this network",
            Self::UserExists => "the user already exists",
            Self::NoSuchUser => "no such user",
            Self::AdminIsOption => "the admin's password is an option",
            Self::UserBusy => "the user is being written just now, try again",
            Self::UserNotStored => "the user could not be written: see the log",
            Self::UserChanged => "another server has changed the user just now, look again",
            Self::LedgerAway => {
                "nothing was changed: the shared ledger is away, try again when it is back"
            }
            Self::InvalidReason => "the reason is longer than 256 bytes or has control characters",
            Self::TooManyBans => "too many addresses are banned, unban some",
            Self::NotBanned => "the address is not banned",
            Self::BanNotStored => {
                "it holds until a restart only, since it could not be written: see the log"
            }
            Self::BanNotShared => {
                "it holds on this server; the shared ledger is away, and the other servers hear of \
                 it when it is back, unless this one restarts before"
            }
            Self::DrainTooLong => "a drain takes 0 to 3600 seconds",
        }
    }

    /// Why a change of a user was not written.
    pub(crate) fn of(why: NotWritten, change: Change) -> Self {
        match (why, change) {
            (NotWritten::Failed, _) => Self::UserNotStored,
            (NotWritten::Away, _) => Self::LedgerAway,
            (NotWritten::Changed | NotWritten::Owned, Change::Added) => Self::UserExists,
            (NotWritten::Changed | NotWritten::Owned, _) => Self::UserChanged,
        }
    }

    /// What kind of failure it is.
    pub fn kind(self) -> RefusalKind {
        match self {
            Self::InvalidName
            | Self::InvalidPassword
            | Self::InvalidAddress
            | Self::InvalidReason
            | Self::DrainTooLong => RefusalKind::Malformed,
            Self::UserExists
            | Self::NoSuchUser
            | Self::AdminIsOption
            | Self::UserBusy
            | Self::UserChanged
            | Self::TooManyBans
            | Self::NotBanned => RefusalKind::State,
            Self::UserNotStored | Self::LedgerAway | Self::BanNotStored | Self::BanNotShared => {
                RefusalKind::Disk
            }
        }
    }
}

/// What a written user is to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Password,
    Disabled,
    Enabled,
}

/// The pool at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// Connections that have spoken.
    pub connections: usize,
    /// Those of them that have work.
    pub mining: usize,
    /// Workers on them.
    pub workers: usize,
    /// What miners work on.
    pub job: Option<JobInfo>,
    /// Why there is none, where the node has said so.
    pub no_job: Option<String>,
    /// Hashes a second, of late.
    pub hashrate: f64,
    /// What miners have sent since the start, by outcome.
    pub sent: Tally,
    /// How full the sockets are: for whoever owns them to fill in.
    pub door: Door,
    /// Connections refused because their address is banned.
    pub refused_banned: u64,
    /// Addresses that are refused.
    pub bans: usize,
    /// Logins that were refused since the start, by why, and the latest of them by address.
    pub refused_logins: [u64; Reason::ALL.len()],
    /// See `refused_logins`.
    pub refused: Vec<Refused>,
    /// No connections are taken, as ordered.
    pub is_draining: bool,
    /// The last block that was offered to the node since the start.
    pub last_block: Option<(Height, Hash)>,
}

/// The newest job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JobInfo {
    /// The height that it mines.
    pub height: Height,
    /// What a block takes.
    pub difficulty: Difficulty,
    /// How long ago its template came, in seconds.
    pub age_s: u64,
}

/// A worker that is connected.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerInfo {
    /// Who is paid. Untrusted text.
    pub account: Arc<str>,
    /// Which machine; empty where the name says none. Untrusted text.
    pub worker: Box<str>,
    /// How many connections have it.
    pub connections: usize,
    /// The greatest difficulty that one of them was told; none before its first job.
    pub difficulty: Option<Difficulty>,
    /// Hashes a second, of late.
    pub hashrate: f64,
    /// What it sent on them, by outcome.
    pub sent: Tally,
    /// For how long the oldest of them has been there, in seconds.
    pub connected_s: u64,
}

/// Why a user was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotWritten {
    /// The disk, or the ledger that servers share, refuses; the log says why.
    Failed,
    /// It is no longer what the pool took it to be: another server was quicker.
    Changed,
    /// The account has earned, or is paid somewhere; see [`Owner::Spared`].
    Owned,
    /// The ledger that servers share is away.
    Away,
}

/// A user as it is now: its name and its password; without one it is no user any more.
pub type UserChange = (String, Option<StoredPassword>);

/// A user to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct NewUser {
    /// Its name.
    pub name: String,
    /// Its password in the clear.
    pub password: String,
    /// Where it is to be paid, an address of this network; none: where it is now.
    pub address: Option<String>,
    /// Whether it is disabled.
    pub is_locked: bool,
    /// What becomes of the account's owner, if it has one already.
    pub owner: Owner,
}

/// What becomes of the owner of an account that has earned, or is paid somewhere, without a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The user is added: the operator has said so. The owner's miners need the new password then.
    Overruled,
    /// It is not: an admin on the wire knows a name, and not whose it is.
    Spared,
}
