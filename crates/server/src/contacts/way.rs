//! The ways to tell somebody something.

/// A way to tell somebody something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// Mail, by the operator's relay.
    Mail,
    /// A chat with the operator's bot.
    Telegram,
    /// A topic of ntfy.
    Ntfy,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mail, Self::Telegram, Self::Ntfy];

    /// Its name in the API and in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Telegram => "telegram",
            Self::Ntfy => "ntfy",
        }
    }

    /// Name of the work of sending by it.
    pub fn duty(self) -> &'static str {
        match self {
            Self::Mail => "alerts by mail",
            Self::Telegram => "alerts by telegram",
            Self::Ntfy => "alerts by ntfy",
        }
    }

    /// Name of the thread that does.
    pub fn thread(self) -> &'static str {
        match self {
            Self::Mail => "hstratum-mail",
            Self::Telegram => "hstratum-tgram",
            Self::Ntfy => "hstratum-ntfy",
        }
    }

    /// The way of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.name() == name)
    }
}
