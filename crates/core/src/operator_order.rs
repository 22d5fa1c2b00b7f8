//! The operator's orders to a pool, their answers, and the reasons for a refusal.

use std::net::IpAddr;
use std::sync::Arc;

use crate::accounting::ledger::Tally;
use crate::accounts::ban::Ban;
use crate::accounts::password::StoredPassword;
use crate::accounts::refused_logins::{RefusalReason, RefusedAddress};
use crate::occupancy::Occupancy;
use crate::units::{Difficulty, Hash, Height};

/// Number of an order, by which its answer is matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderId(pub u64);

/// An order of the operator.
pub enum Order {
    /// Add a user.
    AddUser(NewUser),
    /// Replace a user's password; connected miners stay.
    SetPassword {
        /// The user.
        name: String,
        /// The new password in the clear.
        password: String,
    },
    /// Forbid a user to mine. It keeps its credit and its password.
    DisableUser(String),
    /// Let a disabled user mine again.
    EnableUser(String),
    /// Refuse an address, and close its connections.
    Ban {
        /// The address; for IPv6 its /64 is banned.
        address: IpAddr,
        /// Duration in seconds; `None` until the ban is lifted.
        duration_s: Option<u64>,
        /// Reason for the operator's own records; may be empty.
        reason: String,
    },
    /// Lift every ban of an address, the operator's or the pool's.
    Unban(IpAddr),
    /// List all bans in force.
    ListBans,
    /// Refuse new connections and close the open ones, spread over some time.
    Drain {
        /// Duration of the spread, in seconds.
        over_s: u64,
    },
    /// Accept connections again: end the drain.
    Undrain,
    /// Say whose account a name and a password are, for somebody who signs in to the dashboard.
    SignIn {
        /// The account, or the name of one of its workers.
        name: String,
        /// In the clear.
        password: String,
        /// The client's.
        address: IpAddr,
    },
    /// Report the status of the pool.
    Info,
    /// List the users, ordered by name.
    ListUsers {
        /// Only those whose name has this in it, in whatever case of ASCII letters; empty for all.
        search: String,
        /// Most users to list; capped at [`USERS_LISTED_MAX`](crate::limits::USERS_LISTED_MAX).
        count: usize,
        /// Count of users to skip.
        from: usize,
    },
    /// Find the user of this name.
    FindUser(String),
    /// List the connected workers, ordered by name.
    ListWorkers {
        /// Only those of this account; `None` for all.
        account: Option<String>,
        /// Most workers to list; capped at [`WORKERS_LISTED_MAX`](crate::limits::WORKERS_LISTED_MAX).
        count: usize,
        /// Count of workers to skip.
        from: usize,
    },
}

impl Order {
    /// True for what keeps attackers away, or miners mining elsewhere: it waits for nothing that can wait.
    pub fn is_protective(&self) -> bool {
        matches!(
            self,
            Self::Ban { .. } | Self::Unban(_) | Self::Drain { .. } | Self::Undrain
        )
    }
}

/// The answer to an order that was carried out.
#[derive(Debug, Clone, PartialEq)]
pub enum OrderOutcome {
    /// The change is made and durable.
    Done,
    /// The account of whoever signs in.
    Account(Arc<str>),
    /// All bans in force.
    Bans(Vec<Ban>),
    /// The status of the pool.
    Info(Box<Info>),
    /// The listed or found users, and the count of all that were searched for.
    Users(Vec<UserInfo>, usize),
    /// The listed workers, and the count of all.
    Workers(Vec<WorkerInfo>, usize),
}

/// The reason why an order is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderRefusal {
    /// Not a name that a miner could send.
    InvalidName,
    /// Not a password that a miner could send.
    InvalidPassword,
    /// Not a payable address of this network.
    InvalidAddress,
    /// A user of this name exists.
    UserExists,
    /// No user of this name exists.
    NoSuchUser,
    /// The admin's password is an option, so it cannot be changed by an order.
    AdminIsOption,
    /// The user is being written.
    UserBusy,
    /// The user could not be written to disk.
    UserNotStored,
    /// Another server has changed the user just before.
    UserChanged,
    /// The shared ledger, which holds the users, cannot be reached.
    LedgerAway,
    /// The reason is too long, or has control characters.
    InvalidReason,
    /// As many addresses are banned as there may be.
    TooManyBans,
    /// No ban of the address is in force.
    NotBanned,
    /// The ban could not be written to disk.
    BanNotStored,
    /// The shared ledger cannot be reached, and gets the ban later.
    BanNotShared,
    /// The drain would take too long.
    DrainTooLong,
    /// No account has this name and password, or it is disabled.
    WrongSignIn,
    /// Too many sign-ins of the address were refused.
    TooManyGuesses,
    /// Too many sign-ins wait, of the address or of all.
    SignInsWait,
}

/// The class of a [`OrderRefusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderRefusalKind {
    /// The order is malformed.
    Malformed,
    /// The order does not fit the current state.
    State,
    /// A write to the disk or the shared ledger has failed.
    Disk,
    /// Whoever orders is not who it says.
    SignIn,
    /// There were too many orders of its kind.
    TooMany,
}

impl OrderRefusal {
    /// The text for the operator.
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
            Self::WrongSignIn => "wrong name or password",
            Self::TooManyGuesses => "too many wrong passwords, try again in ten minutes",
            Self::SignInsWait => "too many sign-ins at once, try again",
        }
    }

    /// The refusal for a change of a user that was not written.
    pub(crate) fn of(why: NotWritten, change: UserEdit) -> Self {
        match (why, change) {
            (NotWritten::Failed, _) => Self::UserNotStored,
            (NotWritten::Away, _) => Self::LedgerAway,
            (NotWritten::Changed | NotWritten::Owned, UserEdit::Added) => Self::UserExists,
            (NotWritten::Changed | NotWritten::Owned, _) => Self::UserChanged,
        }
    }

    /// The class of the refusal.
    pub fn kind(self) -> OrderRefusalKind {
        match self {
            Self::InvalidName
            | Self::InvalidPassword
            | Self::InvalidAddress
            | Self::InvalidReason
            | Self::DrainTooLong => OrderRefusalKind::Malformed,
            Self::UserExists
            | Self::NoSuchUser
            | Self::AdminIsOption
            | Self::UserBusy
            | Self::UserChanged
            | Self::TooManyBans
            | Self::NotBanned => OrderRefusalKind::State,
            Self::UserNotStored | Self::LedgerAway | Self::BanNotStored | Self::BanNotShared => {
                OrderRefusalKind::Disk
            }
            Self::WrongSignIn => OrderRefusalKind::SignIn,
            Self::TooManyGuesses | Self::SignInsWait => OrderRefusalKind::TooMany,
        }
    }
}

/// The kind of change that an order makes to a user, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserEdit {
    Added,
    Password,
    Disabled,
    Enabled,
}

/// The status of the pool at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// Open connections of miners that have sent something.
    pub connections: usize,
    /// Those of them that have a job.
    pub mining: usize,
    /// Workers on them.
    pub workers: usize,
    /// The current job.
    pub job: Option<JobInfo>,
    /// The node's reason for having no template, if it gave one.
    pub no_job: Option<String>,
    /// Estimated hashes per second.
    pub hashrate: f64,
    /// Shares submitted since the start, by result.
    pub sent: Tally,
    /// Occupancy of the sockets; filled in by the socket layer.
    pub door: Occupancy,
    /// Connections refused because their address is banned.
    pub refused_banned: u64,
    /// Count of bans in force.
    pub bans: usize,
    /// Refused logins since the start, by reason.
    pub refused_logins: [u64; RefusalReason::ALL.len()],
    /// The latest of them by address.
    pub refused: Vec<RefusedAddress>,
    /// True while new connections are refused, as ordered.
    pub is_draining: bool,
    /// The last block offered to the node since the start.
    pub last_block: Option<(Height, Hash)>,
}

/// The newest job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JobInfo {
    /// The height it mines.
    pub height: Height,
    /// Difficulty of a block.
    pub difficulty: Difficulty,
    /// Age of its template, in seconds.
    pub age_s: u64,
}

/// An account with a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserInfo {
    /// Its name. Untrusted text.
    pub name: Arc<str>,
    /// True if it may not mine.
    pub is_disabled: bool,
}

/// A connected worker.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerInfo {
    /// The account. Untrusted text.
    pub account: Arc<str>,
    /// The worker; empty if the name has no worker part. Untrusted text.
    pub worker: Box<str>,
    /// Count of its connections.
    pub connections: usize,
    /// The greatest difficulty of a last job on them; `None` before the first job.
    pub difficulty: Option<Difficulty>,
    /// Estimated hashes per second.
    pub hashrate: f64,
    /// Shares submitted on them, by result.
    pub sent: Tally,
    /// Age of the oldest of them, in seconds.
    pub connected_s: u64,
}

/// The reason why a user was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotWritten {
    /// The disk, or the shared ledger, refuses the write; the log says why.
    Failed,
    /// The user is no longer what the pool took it to be: another server has changed it.
    Changed,
    /// The account has earned, or has a payout address; see [`Owner::Spared`].
    Owned,
    /// The shared ledger cannot be reached.
    Away,
}

/// A user and its stored password as they are now; without a password the user was removed.
pub type UserChange = (String, Option<StoredPassword>);

/// A user to write.
#[derive(Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The name.
    pub name: String,
    /// The password in the clear.
    pub password: String,
    /// The payout address, of this network; `None` leaves the present one.
    pub address: Option<String>,
    /// True if the user is disabled.
    pub is_locked: bool,
    /// Address of the admin on the wire who adds it; `None`: the operator does.
    pub wire_admin: Option<IpAddr>,
}

impl NewUser {
    /// The treatment of an account of this name that has an owner already.
    pub fn owner(&self) -> Owner {
        match self.wire_admin {
            Some(_) => Owner::Spared,
            None => Owner::Overruled,
        }
    }
}

/// The treatment of an account without a password that has earned, or has a payout address: it has an
/// owner, whose miners could not log in any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The user is added on the operator's word. The owner's miners then need the new password.
    Overruled,
    /// The user is not added: an admin on the wire knows the name, but not its owner.
    Spared,
}
