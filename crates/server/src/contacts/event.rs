//! What an account is told of, as it is kept in the ledger.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What happened to which account, and when, Unix seconds.
pub type Noted = (String, i64, AlertEvent);

/// Something that an account is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum AlertEvent {
    /// A worker has sent no share for as long as the account has set.
    Silent {
        /// Its name; empty if it has none.
        worker: String,
        /// Unix seconds.
        last_share_at: i64,
    },
    /// The account's hashrate has fallen.
    Drop {
        /// Hashes per second.
        now: f64,
        /// The same before.
        before: f64,
    },
    /// A share of the account has found a block of the main chain.
    Block {
        /// Its hash, hex.
        hash: String,
        /// Its height.
        height: u32,
    },
    /// That block is on the main chain no more.
    BlockLost {
        /// Its hash, hex.
        hash: String,
        /// Its height.
        height: u32,
    },
    /// The account was paid.
    Payment {
        /// Base units.
        amount: i64,
        /// Where.
        address: String,
        /// The transaction's hash, hex.
        txid: String,
    },
    /// Somebody has signed in to the dashboard.
    SignIn {
        /// From there.
        from: IpAddr,
    },
    /// The account was changed.
    Change {
        /// How.
        change: AccountChange,
    },
}

/// A change of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum AccountChange {
    /// It has another password, or was disabled.
    Password,
    /// It is paid at another address from now on.
    Address {
        /// The address; none: its name.
        address: Option<String>,
    },
    /// It is to be paid at another address later.
    NextAddress {
        /// The address.
        address: String,
        /// When, Unix seconds.
        holds_at: i64,
    },
    /// It is to be paid at no other address later.
    KeepAddress,
    /// It is paid from another balance on.
    Threshold {
        /// Base units; none: the pool's.
        threshold: Option<u64>,
    },
    /// It is told there from now on.
    Contact {
        /// By that way.
        way: String,
        /// There.
        target: String,
    },
    /// It is told there no more.
    ContactEnded {
        /// By that way.
        way: String,
        /// There.
        target: String,
    },
    /// It is told of other things.
    Alerts,
    /// It has a key or link more.
    Key {
        /// The owner's name for it.
        name: String,
        /// `read`, `settings` or `link`.
        may: String,
    },
    /// It has a key or link less.
    KeyRevoked,
}

impl AlertEvent {
    /// Its kind in the ledger.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Silent { .. } => "silent",
            Self::Drop { .. } => "drop",
            Self::Block { .. } | Self::BlockLost { .. } => "block",
            Self::Payment { .. } => "payment",
            Self::SignIn { .. } => "sign-in",
            Self::Change { .. } => "change",
        }
    }

    /// True for what whoever takes an account over does: it is told whatever the settings say, and first.
    pub fn is_takeover(&self) -> bool {
        use AccountChange as Change;
        match self {
            Self::Change { change } => match change {
                Change::Password
                | Change::Address { .. }
                | Change::NextAddress { .. }
                | Change::Contact { .. }
                | Change::ContactEnded { .. } => true,
                Change::KeepAddress
                | Change::Threshold { .. }
                | Change::Alerts
                | Change::Key { .. }
                | Change::KeyRevoked => false,
            },
            Self::SignIn { .. }
            | Self::Silent { .. }
            | Self::Drop { .. }
            | Self::Block { .. }
            | Self::BlockLost { .. }
            | Self::Payment { .. } => false,
        }
    }

    /// SQL for whether the settings `s` of an account want it.
    pub fn is_wanted(&self) -> &'static str {
        match self {
            Self::Silent { .. } => "s.silent_minutes IS NOT NULL",
            Self::Drop { .. } => "s.drop_percent IS NOT NULL",
            Self::Block { .. } | Self::BlockLost { .. } => "s.blocks = 1",
            Self::Payment { .. } => "s.payments = 1",
            Self::SignIn { .. } => "s.sign_ins = 1",
            Self::Change { .. } if self.is_takeover() => "1 = 1",
            Self::Change { .. } => "s.changes = 1",
        }
    }

    /// What tells it from others of its kind, so that it is told once. `at`: Unix seconds.
    pub fn subject(&self, at: i64) -> String {
        match self {
            Self::Silent {
                worker,
                last_share_at,
            } => format!("{last_share_at} {worker}"),
            Self::Block { hash, .. } => hash.clone(),
            Self::BlockLost { hash, .. } => format!("{hash} lost"),
            Self::Payment { txid, .. } => txid.clone(),
            Self::Drop { .. } | Self::SignIn { .. } | Self::Change { .. } => {
                format!("{at} {}", self.to_json())
            }
        }
    }

    /// It as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }
}
